"""CloudWatch Logs: groups, streams, retention and tags; the events are in :mod:`labkit.cloud.aws.log_events`.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/Welcome.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.log_events import filter_log_events, get_log_events, put_log_events
from labkit.cloud.aws.log_names import (
    NO_GROUP,
    NO_STREAM,
    group_arn,
    group_of,
    page,
    resource_group,
    sequence_token,
    stream_arn,
)
from labkit.cloud.aws.log_policies import delete_resource_policy, describe_resource_policies, put_resource_policy
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.errors import Conflict, NotFound
from labkit.cloud.engine.logs import Group, Stream

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

SERVICE = "logs"

Parameters = dict[str, Any]

#: The retention periods there are, in days.
RETENTIONS: tuple[int, ...] = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)
RETENTIONS += (1096, 1827, 2192, 2557, 2922, 3288, 3653)
#: Groups or streams in a page, at most and unless another limit is given.
PAGE = 50


def create_log_group(call: Call, parameters: Parameters) -> None:
    name = parameters["logGroupName"]
    if name.lower().startswith("aws/"):
        raise AwsError("InvalidParameterException", "Log groups starting with AWS/ are reserved for AWS.")
    if "kmsKeyId" in parameters:
        message = "The specified KMS key does not exist or is not allowed to be used."
        raise AwsError("InvalidParameterException", message)
    if parameters.get("logGroupClass", "STANDARD") != "STANDARD":
        raise part_of(call, f"log groups of class {parameters['logGroupClass']}")
    if parameters.get("deletionProtectionEnabled"):
        raise part_of(call, "deletion protection")
    try:
        call.engine.logs.create_group(call.scope, name, parameters.get("tags"))
    except Conflict:
        raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists") from None


def delete_log_group(call: Call, parameters: Parameters) -> None:
    try:
        call.engine.logs.delete_group(call.scope, parameters["logGroupName"])
    except NotFound:
        raise NO_GROUP() from None


def describe_log_groups(call: Call, parameters: Parameters) -> Parameters:
    if parameters.get("includeLinkedAccounts") or parameters.get("accountIdentifiers"):
        raise part_of(call, "the log groups of linked accounts")
    if "logGroupNamePrefix" in parameters and "logGroupNamePattern" in parameters:
        message = "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
        raise AwsError("InvalidParameterException", message)
    groups = call.engine.logs.groups(call.scope)
    if "logGroupIdentifiers" in parameters:
        if set(parameters) - {"logGroupIdentifiers", "includeLinkedAccounts"}:
            message = "logGroupIdentifiers cannot be combined with other parameters than includeLinkedAccounts."
            raise AwsError("InvalidParameterException", message)
        wanted = {resource_group(call, identifier) for identifier in parameters["logGroupIdentifiers"]}
        groups = [group for group in groups if group.name in wanted]
    prefix, pattern = parameters.get("logGroupNamePrefix", ""), parameters.get("logGroupNamePattern", "")
    by_class = parameters.get("logGroupClass", "STANDARD") == "STANDARD"
    groups = [each for each in groups if by_class and each.name.startswith(prefix) and pattern in each.name]
    shown, token = page(parameters, groups, lambda group: [group.name], PAGE)
    described = [_group(call, each) for each in shown]
    if pattern:
        described = [{key: each[key] for key in ("arn", "creationTime", "logGroupName")} for each in described]
    return {"logGroups": described, "nextToken": token}


def create_log_stream(call: Call, parameters: Parameters) -> None:
    try:
        call.engine.logs.create_stream(call.scope, parameters["logGroupName"], parameters["logStreamName"])
    except NotFound:
        raise NO_GROUP() from None
    except Conflict:
        raise AwsError("ResourceAlreadyExistsException", "The specified log stream already exists") from None


def delete_log_stream(call: Call, parameters: Parameters) -> None:
    group = group_of(call, parameters)
    try:
        call.engine.logs.delete_stream(call.scope, group.name, parameters["logStreamName"])
    except NotFound:
        raise NO_STREAM() from None


def describe_log_streams(call: Call, parameters: Parameters) -> Parameters:
    group = group_of(call, parameters)
    prefix = parameters.get("logStreamNamePrefix", "")
    by_time = parameters.get("orderBy") == "LastEventTime"
    if by_time and prefix:
        message = "Cannot order by LastEventTime with a logStreamNamePrefix."
        raise AwsError("InvalidParameterException", message)
    streams = [each for each in call.engine.logs.streams(call.scope, group.name) if each.name.startswith(prefix)]
    descending = bool(parameters.get("descending"))
    shown, token = page(
        parameters,
        streams,
        lambda stream: [stream.last or 0, stream.name] if by_time else [stream.name],
        PAGE,
        descending=descending,
    )
    return {"logStreams": [_stream(call, group.name, each) for each in shown], "nextToken": token}


def put_retention_policy(call: Call, parameters: Parameters) -> None:
    days = parameters["retentionInDays"]
    if days not in RETENTIONS:
        message = (
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {list(RETENTIONS)}"
        )
        raise AwsError("InvalidParameterException", message)
    call.engine.logs.retain(call.scope, group_of(call, parameters).name, days)


def delete_retention_policy(call: Call, parameters: Parameters) -> None:
    call.engine.logs.retain(call.scope, group_of(call, parameters).name, None)


def tag_resource(call: Call, parameters: Parameters) -> None:
    _tag(call, resource_group(call, parameters["resourceArn"]), add=parameters["tags"])


def untag_resource(call: Call, parameters: Parameters) -> None:
    _tag(call, resource_group(call, parameters["resourceArn"]), remove=parameters["tagKeys"])


def list_tags_for_resource(call: Call, parameters: Parameters) -> Parameters:
    name = resource_group(call, parameters["resourceArn"])
    return {"tags": dict(group_of(call, {"logGroupName": name}).labels)}


def tag_log_group(call: Call, parameters: Parameters) -> None:
    _tag(call, parameters["logGroupName"], add=parameters["tags"])


def untag_log_group(call: Call, parameters: Parameters) -> None:
    _tag(call, parameters["logGroupName"], remove=parameters["tags"])


def list_tags_log_group(call: Call, parameters: Parameters) -> Parameters:
    return {"tags": dict(group_of(call, parameters).labels)}


def _tag(call: Call, name: str, add: dict[str, str] | None = None, remove: list[str] | None = None) -> None:
    group = group_of(call, {"logGroupName": name})
    if len({*group.labels, *(add or ())}) > 50:
        raise AwsError("TooManyTagsException", "A log group can have 50 tags at most.", resourceName=name)
    call.engine.logs.label(call.scope, name, add or {}, remove or [])


def _group(call: Call, group: Group) -> Parameters:
    arn = group_arn(call, group.name)
    return {
        "logGroupName": group.name,
        "creationTime": group.created,
        "retentionInDays": group.retention_days,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "storedBytes": group.stored_bytes,
        "logGroupClass": "STANDARD",
        "deletionProtectionEnabled": False,
    }


def _stream(call: Call, group: str, stream: Stream) -> Parameters:
    return {
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "firstEventTimestamp": stream.first,
        "lastEventTimestamp": stream.last,
        "lastIngestionTime": stream.last_ingested,
        "uploadSequenceToken": sequence_token(stream.last_ingested or stream.created),
        "arn": stream_arn(call, group, stream.name),
        # As documented, always zero for streams since 2019.
        "storedBytes": 0,
    }


OPERATIONS = {
    "CreateLogGroup": create_log_group,
    "CreateLogStream": create_log_stream,
    "DeleteLogGroup": delete_log_group,
    "DeleteLogStream": delete_log_stream,
    "DeleteRetentionPolicy": delete_retention_policy,
    "DeleteResourcePolicy": delete_resource_policy,
    "DescribeLogGroups": describe_log_groups,
    "DescribeLogStreams": describe_log_streams,
    "DescribeResourcePolicies": describe_resource_policies,
    "FilterLogEvents": filter_log_events,
    "GetLogEvents": get_log_events,
    "ListTagsForResource": list_tags_for_resource,
    "ListTagsLogGroup": list_tags_log_group,
    "PutLogEvents": put_log_events,
    "PutResourcePolicy": put_resource_policy,
    "PutRetentionPolicy": put_retention_policy,
    "TagLogGroup": tag_log_group,
    "TagResource": tag_resource,
    "UntagLogGroup": untag_log_group,
    "UntagResource": untag_resource,
}
SHAPE_ONLY = frozenset(
    (
        "ListTagsForResource",
        "ListTagsLogGroup",
        "TagLogGroup",
        "TagResource",
        "UntagLogGroup",
        "UntagResource",
    )
)
NOTES = {
    "CreateLogGroup": "of class STANDARD; there are no KMS keys and no deletion protection",
    "DescribeLogGroups": "no linked accounts",
    "FilterLogEvents": "every kind of filter pattern",
    "PutResourcePolicy": "policies of the whole account; they let EventBridge write to log groups",
    "PutLogEvents": "no entities; nothing is forwarded, since there are no subscription and metric filters",
}


def inventory(cloud: AwsCloud) -> dict[str, list[str]]:
    """The log groups there are, in every region."""
    logs = cloud.engine.logs
    names = {group.name for scope in logs.scopes() if scope.startswith("aws:") for group in logs.groups(scope)}
    return {"log groups": sorted(names)}
