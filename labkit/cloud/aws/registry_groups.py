"""SageMaker's model registry: model package groups and their policies.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackageGroup.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.registry_records import PackageGroup
from labkit.cloud.aws.sagemaker_listing import page
from labkit.cloud.aws.sagemaker_state import State, arn
from labkit.cloud.aws.sagemaker_tags import as_dict

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call


def create_model_package_group(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    name = parameters["ModelPackageGroupName"]
    if "ManagedConfiguration" in parameters:
        raise part_of(call, "managed groups (ManagedConfiguration)")
    tags, state = as_dict(parameters.get("Tags")), call.store(State)
    with state.lock:
        if name.lower() in state.groups:
            existing = state.groups[name.lower()].arn
            raise AwsError("ValidationException", f"Model Package Group already exists: {existing}")
        group = PackageGroup(
            name=name,
            arn=arn(call, "model-package-group", name),
            created=call.engine.clock.now(),
            created_by=user_of(call),
            request=parameters,
            tags=tags,
        )
        state.groups[name.lower()] = group
    return {"ModelPackageGroupArn": group.arn}


def describe_model_package_group(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    group = find_group(call, parameters["ModelPackageGroupName"])
    return {**_summary(group), "CreatedBy": group.created_by}


def list_model_package_groups(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    if parameters.get("CrossAccountFilterOption", "SameAccount") != "SameAccount":
        raise part_of(call, "groups of other accounts (CrossAccountFilterOption)")
    state = call.store(State)
    with state.lock:
        groups = list(state.groups.values())
    shown, token = page(parameters, groups)
    return {"ModelPackageGroupSummaryList": [_summary(each) for each in shown], "NextToken": token}


def delete_model_package_group(call: Call, parameters: dict[str, Any]) -> None:
    """Deletes a group that holds no package."""
    state = call.store(State)
    with state.lock:
        group = find_group(call, parameters["ModelPackageGroupName"])
        if any(each.group == group.name for each in state.packages.values()):
            message = f"Cannot delete Model Package Group: {group.arn} because it contains ModelPackages."
            raise AwsError("ConflictException", message)
        del state.groups[group.name.lower()]


def put_model_package_group_policy(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    group = find_group(call, parameters["ModelPackageGroupName"])
    try:
        document = json.loads(parameters["ResourcePolicy"])
        statements = document["Statement"]
    except (ValueError, KeyError, TypeError):
        raise AwsError("ValidationException", "Invalid resource policy: it is no JSON policy document.") from None
    if not statements:
        raise AwsError("ValidationException", "Invalid resource policy: it has no statement.")
    group.policy = parameters["ResourcePolicy"]
    return {"ModelPackageGroupArn": group.arn}


def get_model_package_group_policy(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    group = find_group(call, parameters["ModelPackageGroupName"])
    if not group.policy:
        message = f"Cannot find resource policy for: {group.arn}"
        raise AwsError("ValidationException", message)
    return {"ResourcePolicy": group.policy}


def delete_model_package_group_policy(call: Call, parameters: dict[str, Any]) -> None:
    find_group(call, parameters["ModelPackageGroupName"]).policy = ""


def find_group(call: Call, name: str) -> PackageGroup:
    """The group with a name or ARN; the error that SageMaker answers when there is none."""
    name = name.rpartition("/")[2] if name.startswith("arn:") else name
    group: PackageGroup | None = call.store(State).groups.get(name.lower())
    if group is None:
        message = f"ModelPackageGroup {arn(call, 'model-package-group', name)} does not exist."
        raise AwsError("ValidationException", message)
    return group


def user_of(call: Call) -> dict[str, Any]:
    """CreatedBy and LastModifiedBy: who called."""
    return {"IamIdentity": {"Arn": call.key.principal, "PrincipalId": call.key.user_id or call.key.access_key}}


def _summary(group: PackageGroup) -> dict[str, Any]:
    return {
        "ModelPackageGroupName": group.name,
        "ModelPackageGroupArn": group.arn,
        "ModelPackageGroupDescription": group.request.get("ModelPackageGroupDescription"),
        "CreationTime": group.created,
        "ModelPackageGroupStatus": "Completed",
    }
