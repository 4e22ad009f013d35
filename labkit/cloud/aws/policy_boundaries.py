"""Permissions boundaries of users and roles.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import access, moto_base
from labkit.cloud.aws.errors import AwsError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]


def put(call: Call, parameters: Parameters) -> None:
    """PutUserPermissionsBoundary and PutRolePermissionsBoundary."""
    with moto_base.lock("iam"):
        records = call.cloud.identities.iam()
        holder = _holder(records, parameters)
        check(records, parameters["PermissionsBoundary"])
        holder.permissions_boundary_arn = parameters["PermissionsBoundary"]
        call.cloud.identities.forget_changed()


def delete(call: Call, parameters: Parameters) -> None:
    """DeleteUserPermissionsBoundary and DeleteRolePermissionsBoundary."""
    with moto_base.lock("iam"):
        holder = _holder(call.cloud.identities.iam(), parameters)
        if not getattr(holder, "permissions_boundary_arn", None):
            kind = "role" if "RoleName" in parameters else "user"
            raise AwsError("NoSuchEntity", f"The {kind} with name {holder.name} has no permissions boundary.", 404)
        holder.permissions_boundary_arn = None
        call.cloud.identities.forget_changed()


def check(records: Any, arn: str) -> None:
    """Raises ``NoSuchEntity`` for a boundary that is no managed policy."""
    if arn not in records.managed_policies:
        raise AwsError("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404)


def is_used(records: Any, arn: str) -> bool:
    """Whether a managed policy is somebody's boundary."""
    holders = [*records.users.values(), *records.roles.values()]
    return any(getattr(each, "permissions_boundary_arn", None) == arn for each in holders)


def of_user(records: Any, name: str) -> Parameters | None:
    """``PermissionsBoundary`` as GetUser tells it."""
    arn = getattr(records.users.get(name), "permissions_boundary_arn", None)
    if not arn:
        return None
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}


def _holder(records: Any, parameters: Parameters) -> Any:
    kind = "role" if "RoleName" in parameters else "user"
    name = parameters["RoleName" if kind == "role" else "UserName"]
    found = access.role_named(records, name) if kind == "role" else records.users.get(name)
    if found is None:
        raise AwsError("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)
    return found


OPERATIONS = {
    "DeleteRolePermissionsBoundary": delete,
    "DeleteUserPermissionsBoundary": delete,
    "PutRolePermissionsBoundary": put,
    "PutUserPermissionsBoundary": put,
}
