"""AWS Lambda: the table from operation to function.

https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import (
    lambda_event_config,
    lambda_functions,
    lambda_invoke,
    lambda_mappings,
    lambda_permissions,
    lambda_versions,
)
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.lambda_state import CONCURRENCY, State
from labkit.cloud.aws.place import Place

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

SERVICE = "lambda"

OPERATIONS: dict[str, Callable[[Call, dict[str, Any]], dict[str, Any] | None]] = {
    "AddPermission": lambda_permissions.add_permission,
    "CreateAlias": lambda_versions.create_alias,
    "CreateEventSourceMapping": lambda_mappings.create_event_source_mapping,
    "CreateFunction": lambda_functions.create_function,
    "DeleteAlias": lambda_versions.delete_alias,
    "DeleteEventSourceMapping": lambda_mappings.delete_event_source_mapping,
    "DeleteFunction": lambda_functions.delete_function,
    "DeleteFunctionConcurrency": lambda_functions.delete_function_concurrency,
    "DeleteFunctionEventInvokeConfig": lambda_event_config.delete,
    "GetAccountSettings": lambda_functions.get_account_settings,
    "GetAlias": lambda_versions.get_alias,
    "GetEventSourceMapping": lambda_mappings.get_event_source_mapping,
    "GetFunction": lambda_functions.get_function,
    "GetFunctionConcurrency": lambda_functions.get_function_concurrency,
    "GetFunctionEventInvokeConfig": lambda_event_config.get,
    "GetFunctionConfiguration": lambda_functions.get_function_configuration,
    "GetPolicy": lambda_permissions.get_policy,
    "Invoke": lambda_invoke.invoke,
    "ListAliases": lambda_versions.list_aliases,
    "ListEventSourceMappings": lambda_mappings.list_event_source_mappings,
    "ListFunctionEventInvokeConfigs": lambda_event_config.list_all,
    "ListFunctions": lambda_functions.list_functions,
    "ListTags": lambda_functions.list_tags,
    "ListVersionsByFunction": lambda_functions.list_versions_by_function,
    "PublishVersion": lambda_versions.publish_version,
    "PutFunctionConcurrency": lambda_functions.put_function_concurrency,
    "PutFunctionEventInvokeConfig": lambda_event_config.put,
    "RemovePermission": lambda_permissions.remove_permission,
    "TagResource": lambda_functions.tag_resource,
    "UntagResource": lambda_functions.untag_resource,
    "UpdateAlias": lambda_versions.update_alias,
    "UpdateEventSourceMapping": lambda_mappings.update_event_source_mapping,
    "UpdateFunctionCode": lambda_functions.update_function_code,
    "UpdateFunctionConfiguration": lambda_functions.update_function_configuration,
    "UpdateFunctionEventInvokeConfig": lambda_event_config.update,
}
SHAPE_ONLY = frozenset(("ListTags", "TagResource", "UntagResource"))
NOTES = {
    "CreateEventSourceMapping": "queues of SQS; batches of up to 10, filters by body, ReportBatchItemFailures; no "
    "windows, no scaling settings",
    "CreateFunction": "zip archives, also from S3; the runtimes of Python, each on this environment's own Python and "
    "packages; no layers, images, file systems, VPCs, SnapStart, tracing, JSON logs or code signing; a function's "
    "code lies in LAMBDA_TASK_ROOT, which is /var/task where the system allows private mounts; /tmp is the machine's",
    "PutFunctionEventInvokeConfig": "no destinations",
    "GetFunction": "without the address to download the code from",
    "Invoke": f"{CONCURRENCY} events at once in an account; memory is what the process uses of its own",
}


def resource_policy(cloud: AwsCloud, arn: str) -> str | None:
    """The policy of the function that an ARN names, or None: it has none, or there is no such function."""
    try:
        return lambda_permissions.policy_of(Place(cloud, arn.split(":")[3]), arn)
    except (AwsError, IndexError):
        return None


def inventory(cloud: AwsCloud) -> dict[str, list[str]]:
    """The functions there are, in every region."""
    return {"functions": sorted(name for state in cloud.stores(State) for name in state.functions)}
