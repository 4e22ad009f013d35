"""AWS IAM, over moto's records: what AWS refuses and moto does not, and AWS's wording of the rest.

https://docs.aws.amazon.com/IAM/latest/APIReference/welcome.html
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkit.cloud.aws import iam_limits, moto_base, policy_boundaries, simulate
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.protocols import Operation, model_of, serialize
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

SERVICE = "iam"

#: Operations that mean the caller's own user when no name is given.
_OF_CALLER = frozenset(
    (
        "CreateAccessKey",
        "DeleteAccessKey",
        "GetUser",
        "ListAccessKeys",
        "ListMFADevices",
        "ListUserTags",
        "UpdateAccessKey",
    )
)
#: moto's messages -> AWS's.
_MESSAGES = [
    (r"Role (\S+) not found", r"The role with name \1 cannot be found."),
    (r"User (\S+) not found", r"The user with name \1 cannot be found."),
    (r"Group (\S+) not found", r"The group with name \1 cannot be found."),
    (r"Instance profile (\S+) not found", r"Instance Profile \1 cannot be found."),
    (r"Policy (arn:\S+) not found", r"Policy \1 was not found."),
    (r"Policy Document (\S+) not attached to role (\S+)", r"The role policy with name \1 cannot be found."),
    (r"Policy (\S+) not found", r"The user policy with name \1 cannot be found."),
    (r"User (\S+) already exists", r"User with name \1 already exists."),
    (r"Group (\S+) already exists", r"Group with name \1 already exists."),
    (r"(The Access Key with id \S+ cannot be found)", r"\1."),
]


def reword(message: str) -> str:
    """moto's message as AWS writes it."""
    for pattern, words in _MESSAGES:
        if re.fullmatch(pattern, message):
            return re.sub(pattern, words, message)
    return message


def prepare(call: Call, parameters: dict[str, Any]) -> None:
    """Names the caller's user where the request leaves it out."""
    if call.operation in _OF_CALLER and "UserName" not in parameters:
        user = re.fullmatch(r"arn:aws:iam::\d+:user/(?:.*/)?([^/]+)", call.key.principal)
        if user is None:
            message = "Must specify userName when calling with non-User credentials"
            raise AwsError("ValidationError", message, 400)
        parameters["UserName"] = user[1]
        call.body += f"&UserName={quote(user[1])}".encode()


def check(call: Call, parameters: dict[str, Any]) -> None:
    """Raises :class:`AwsError` for what AWS would refuse and moto would not."""
    with moto_base.lock("iam"):
        records = call.cloud.identities.iam()
        iam_limits.check(records, call.operation, parameters)
        if rule := _RULES.get(call.operation):
            rule(records, parameters)


# -- pages ---------------------------------------------------------------------------------------------------------

#: Lists that moto gives whole, whatever ``MaxItems`` and ``Marker`` ask -> the member that holds them.
_WHOLE = {
    "GetGroup": "Users",
    "ListAccessKeys": "AccessKeyMetadata",
    "ListGroupPolicies": "PolicyNames",
    "ListGroups": "Groups",
    "ListGroupsForUser": "Groups",
    "ListInstanceProfiles": "InstanceProfiles",
    "ListInstanceProfilesForRole": "InstanceProfiles",
    "ListPolicyVersions": "Versions",
    "ListRolePolicies": "PolicyNames",
    "ListUserPolicies": "PolicyNames",
    "ListUserTags": "Tags",
    "ListUsers": "Users",
}


def finish(call: Call, parameters: dict[str, Any], response: Response) -> Response:
    """moto's answer, cut to the page that was asked for, a user's permissions boundary in it."""
    member = _WHOLE.get(call.operation)
    boundary = _boundary(call, parameters)
    if member is None and boundary is None:
        return response
    from botocore.parsers import QueryParser

    model = model_of("iam").operation_model(call.operation)
    sent = {"status_code": response.status, "headers": dict(response.headers), "body": response.body}
    result: dict[str, Any] = QueryParser().parse(sent, model.output_shape)
    if boundary is not None:
        result["User"]["PermissionsBoundary"] = boundary
    else:
        assert member is not None
        items, most = result.get(member, []), parameters.get("MaxItems", 100)
        start = _start(parameters.get("Marker"))
        more = start + most < len(items)
        result |= {member: items[start : start + most], "IsTruncated": more}
        if more:
            result["Marker"] = b64encode(str(start + most).encode()).decode()
    return serialize(Operation("iam", call.operation, "query", model, {}), result, call.request_id)


def _boundary(call: Call, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """The boundary of the user that is told, which moto does not keep."""
    if call.operation not in ("CreateUser", "GetUser"):
        return None
    with moto_base.lock("iam"):
        records, name = call.cloud.identities.iam(), parameters["UserName"]
        if arn := parameters.get("PermissionsBoundary"):
            records.users[name].permissions_boundary_arn = arn
            call.cloud.identities.forget_changed()
        return policy_boundaries.of_user(records, name)


def _start(marker: str | None) -> int:
    try:
        return int(b64decode(marker or "", validate=True) or b"0")
    except ValueError:
        raise AwsError("ValidationError", "Invalid Marker.", 400) from None


# -- trust policies ------------------------------------------------------------------------------------------------


def _trust(records: Any, parameters: dict[str, Any]) -> None:
    check_trust_policy(records, parameters.get("AssumeRolePolicyDocument") or parameters.get("PolicyDocument", ""))


def _boundary_exists(records: Any, parameters: dict[str, Any]) -> None:
    if arn := parameters.get("PermissionsBoundary"):
        policy_boundaries.check(records, arn)


def _create_role(records: Any, parameters: dict[str, Any]) -> None:
    _boundary_exists(records, parameters)
    _trust(records, parameters)


def check_trust_policy(records: Any, text: str) -> None:
    """Raises ``MalformedPolicyDocument`` in AWS's words for a trust policy that it would not take."""
    try:
        document = json.loads(text)
    except ValueError:
        raise _malformed("This policy contains invalid Json") from None
    statements = document.get("Statement") if isinstance(document, dict) else None
    if not statements or document.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        raise _malformed("Syntax errors in policy.")
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise _malformed("Syntax errors in policy.")
        if {"Resource", "NotResource"} & statement.keys():
            raise _malformed("Has prohibited field Resource")
        if not {"Principal", "NotPrincipal"} & statement.keys():
            raise _malformed("Missing required field Principal")
        if not {"Action", "NotAction"} & statement.keys():
            raise _malformed("Missing required field Action")
        if any(not re.match(r"(sts:|\*$)", each) for each in _listed(statement.get("Action", []))):
            raise _malformed("AssumeRole policy may only specify STS AssumeRole actions.")
        _check_principals(records, statement.get("Principal", {}))


def _check_principals(records: Any, principal: Any) -> None:
    if principal == "*":
        return
    if not isinstance(principal, dict):
        raise _malformed("Syntax errors in policy.")
    for kind, named in principal.items():
        if kind not in ("AWS", "Service", "Federated", "CanonicalUser"):
            raise _malformed("Syntax errors in policy.")
        for each in _listed(named):
            if (kind == "AWS" and not _exists(records, each)) or (
                kind == "Service" and not re.fullmatch(r"[\w.-]+\.\w+", each)
            ):
                raise _malformed(f'Invalid principal in policy: "{kind.upper()}":"{each}"')


def _exists(records: Any, principal: str) -> bool:
    """Whether a principal of the form that trust policies use is one; other accounts' are taken on trust."""
    if principal == "*" or re.fullmatch(r"\d{12}", principal):
        return True
    matched = re.fullmatch(
        r"arn:aws:(iam|sts)::(\d{12}):(root|user/.+|role/.+|assumed-role/.+|federated-user/.+)", principal
    )
    if matched is None:
        return False
    kind, _, _ = matched[3].partition("/")
    if matched[2] != records.account_id or kind not in ("user", "role"):
        return True
    kept = records.users if kind == "user" else records.roles
    return any(each.arn == principal for each in kept.values())


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicyDocument", message, 400)


# -- deleting ------------------------------------------------------------------------------------------------------


def _conflict(message: str) -> AwsError:
    return AwsError("DeleteConflict", message, 409)


def _delete_policy(records: Any, parameters: dict[str, Any]) -> None:
    policy = records.managed_policies.get(parameters["PolicyArn"])
    if policy is None:
        return
    if policy.attachment_count or policy_boundaries.is_used(records, policy.arn):
        raise _conflict("Cannot delete a policy attached to entities.")
    if len(policy.versions) > 1:
        raise _conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy."
        )


def _delete_user(records: Any, parameters: dict[str, Any]) -> None:
    user = records.users.get(parameters["UserName"])
    if user is None:
        return
    grouped = any(user in group.users for group in records.groups.values())
    for holds, first in (
        (user.access_keys, "delete access keys"),
        (user.managed_policies, "detach all policies"),
        (user.policies, "delete policies"),
        (grouped, "remove users from group"),
    ):
        if holds:
            raise _conflict(f"Cannot delete entity, must {first} first.")


def _delete_group(records: Any, parameters: dict[str, Any]) -> None:
    group = records.groups.get(parameters["GroupName"])
    if group is None:
        return
    for holds, first in (
        (group.users, "remove users from group"),
        (group.managed_policies, "detach all policies"),
        (group.policies, "delete policies"),
    ):
        if holds:
            raise _conflict(f"Cannot delete entity, must {first} first.")


def _delete_instance_profile(records: Any, parameters: dict[str, Any]) -> None:
    profile = records.instance_profiles.get(parameters["InstanceProfileName"])
    if profile is not None and profile.roles:
        raise _conflict("Cannot delete entity, must remove roles from instance profile first.")


_RULES: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "CreateRole": _create_role,
    "CreateUser": _boundary_exists,
    "DeleteGroup": _delete_group,
    "DeleteInstanceProfile": _delete_instance_profile,
    "DeletePolicy": _delete_policy,
    "DeleteUser": _delete_user,
    "UpdateAssumeRolePolicy": _trust,
}


# -- the kit's own operations --------------------------------------------------------------------------------------


def get_access_key_last_used(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    access_key = parameters["AccessKeyId"]
    with moto_base.lock("iam"):
        users = call.cloud.identities.iam().users.values()
        owner = next((u for u in users if any(k.access_key_id == access_key for k in u.access_keys)), None)
    if owner is None:
        action = f"iam:GetAccessKeyLastUsed on resource: access key {access_key}"
        message = f"User: {call.key.principal} is not authorized to perform: {action}"
        raise AwsError("AccessDenied", message, 403)
    used = call.cloud.identities.last_used(access_key)
    if used is None:
        return {"UserName": owner.name, "AccessKeyLastUsed": {"ServiceName": "N/A", "Region": "N/A"}}
    when, service, region = used
    told = {"LastUsedDate": when, "ServiceName": service, "Region": region}
    return {"UserName": owner.name, "AccessKeyLastUsed": told}


OPERATIONS = {
    **policy_boundaries.OPERATIONS,
    **simulate.OPERATIONS,
    "GetAccessKeyLastUsed": get_access_key_last_used,
}
