"""What IAM takes: names once, policies of a size, few policies attached, no principals in policies of identities.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from labkit.cloud.aws import access
from labkit.cloud.aws.errors import AwsError

#: The longest policies, in characters that are no white space; inline policies together.
LONGEST_MANAGED = 6144
LONGEST_TRUST = 2048
LONGEST_INLINE = {"User": 2048, "Group": 5120, "Role": 10240}
#: Managed policies that a user, a group or a role may have.
MOST_ATTACHED = 10
_INLINE = re.compile(r"Put(User|Group|Role)Policy")
_ATTACHING = re.compile(r"Attach(User|Group|Role)Policy")
_NAMED = re.compile(r"Create(User|Group|Role)")


def check(records: Any, operation: str, parameters: dict[str, Any]) -> None:
    """Raises :class:`AwsError` for what goes over a quota, is there already or stands in a policy without reason."""
    _check_tags(parameters.get("Tags") or [])
    if operation in ("CreatePolicy", "CreatePolicyVersion") or _INLINE.fullmatch(operation):
        _check_document(parameters["PolicyDocument"])
    if operation in ("CreatePolicy", "CreatePolicyVersion") and _size(parameters["PolicyDocument"]) > LONGEST_MANAGED:
        raise _over("PolicySize", LONGEST_MANAGED)
    if operation == "CreatePolicy":
        own = (each.name for each in records.managed_policies.values() if ":aws:policy/" not in each.arn)
        if _taken(own, name := parameters["PolicyName"]):
            message = f"A policy called {name} already exists. Duplicate names are not allowed."
            raise AwsError("EntityAlreadyExists", message, 409)
    if operation in ("CreateRole", "UpdateAssumeRolePolicy"):
        trust = parameters.get("AssumeRolePolicyDocument") or parameters.get("PolicyDocument", "")
        if _size(trust) > LONGEST_TRUST:
            raise _over("ACLSizePerRole", LONGEST_TRUST)
    if found := _NAMED.fullmatch(operation):
        kind = found[1]
        if _taken((each.name for each in _all(records, kind)), name := parameters[f"{kind}Name"]):
            raise AwsError("EntityAlreadyExists", f"{kind} with name {name} already exists.", 409)
    if found := _INLINE.fullmatch(operation):
        _check_inline(records, found[1], parameters)
    if found := _ATTACHING.fullmatch(operation):
        holder = _holder(records, found[1], parameters)
        attached = set(holder.managed_policies) if holder is not None else set()
        if len(attached | {parameters["PolicyArn"]}) > MOST_ATTACHED:
            raise _over(f"PoliciesPer{found[1]}", MOST_ATTACHED)


def _all(records: Any, kind: str) -> Iterable[Any]:
    return {"User": records.users, "Group": records.groups, "Role": records.roles}[kind].values()


def _holder(records: Any, kind: str, parameters: dict[str, Any]) -> Any | None:
    name = parameters[f"{kind}Name"]
    if kind == "Role":
        return access.role_named(records, name)
    return (records.users if kind == "User" else records.groups).get(name)


def _taken(names: Iterable[str], name: str) -> bool:
    """Names of IAM are told apart without regard to case."""
    return name.lower() in (each.lower() for each in names)


def _size(text: str) -> int:
    return len(re.sub(r"\s", "", text))


def _over(quota: str, most: int) -> AwsError:
    return AwsError("LimitExceeded", f"Cannot exceed quota for {quota}: {most}", 409)


def _check_inline(records: Any, kind: str, parameters: dict[str, Any]) -> None:
    holder = _holder(records, kind, parameters)
    kept = dict(holder.policies) if holder is not None else {}
    kept[parameters["PolicyName"]] = parameters["PolicyDocument"]
    texts = (each if isinstance(each, str) else json.dumps(each) for each in kept.values())
    if sum(_size(each) for each in texts) > LONGEST_INLINE[kind]:
        message = (
            f"Maximum policy size of {LONGEST_INLINE[kind]} bytes exceeded for {kind.lower()} "
            f"{parameters[f'{kind}Name']}"
        )
        raise AwsError("LimitExceeded", message, 409)


def _check_document(text: str) -> None:
    try:
        statements = json.loads(text)["Statement"]
    except (ValueError, TypeError, KeyError):
        return
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict):
            return
        if {"Principal", "NotPrincipal"} & statement.keys():
            raise _malformed("Policy document should not specify a principal.")
        if not re.fullmatch(r"[0-9A-Za-z]*", str(statement.get("Sid", ""))):
            raise _malformed(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression "
                "[0-9A-Za-z]*"
            )


def _malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicyDocument", message, 400)


def _check_tags(tags: Iterable[Any]) -> None:
    if any(str(each.get("Key", "")).lower().startswith("aws:") for each in tags):
        raise AwsError("InvalidInput", "aws: prefixed tag key names are not allowed for external use.", 400)
