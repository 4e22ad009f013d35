"""AWS STS: who is calling, and temporary credentials.

https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import trust
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.identity import Key

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

SERVICE = "sts"

#: The longest session of a role that was assumed by a role, in seconds (role chaining).
CHAINED_MAXIMUM = 3600


def get_caller_identity(call: Call, _: dict[str, Any]) -> dict[str, Any]:
    key = call.key
    user_id = key.user_id
    if not user_id:
        call.cloud.identities.iam()
        known = call.cloud.identities.find(key.access_key)
        user_id = known.user_id if known else ""
    return {"UserId": user_id, "Account": call.account, "Arn": key.principal}


def get_access_key_info(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    if call.cloud.identities.find(parameters["AccessKeyId"]) is None:
        raise AwsError("ValidationError", "Access key does not exist or has been deleted.", 400)
    return {"Account": call.account}


def assume_role(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    arn, session_name = parameters["RoleArn"], parameters["RoleSessionName"]
    if not re.fullmatch(r"arn:aws:iam::\d{12}:role/.+", arn):
        raise AwsError("ValidationError", f"{arn} is invalid", 400)
    if not re.fullmatch(r"[\w+=,.@-]{2,64}", session_name, re.ASCII):
        constraint = r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
        if len(session_name) > 64:
            constraint = "Member must have length less than or equal to 64"
        elif len(session_name) < 2:
            constraint = "Member must have length greater than or equal to 2"
        text = (
            f"1 validation error detected: Value '{session_name}' at 'roleSessionName' failed to satisfy constraint: "
        )
        raise AwsError("ValidationError", text + constraint, 400)
    identities, key = call.cloud.identities, call.key
    role = identities.role(arn)
    context = {"aws:PrincipalArn": key.issuer, "aws:PrincipalAccount": call.account}
    if external_id := parameters.get("ExternalId"):
        context["sts:ExternalId"] = external_id
    if role is None or not trust.allows(
        role.assume_role_policy_document, "sts:AssumeRole", context, principals=_names(call, key)
    ):
        message = f"User: {key.principal} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        raise AwsError("AccessDenied", message, 403)
    seconds = parameters.get("DurationSeconds", 3600)
    if seconds > int(role.max_session_duration or 3600):
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise AwsError("ValidationError", message, 400)
    if key.token and seconds > CHAINED_MAXIMUM:
        message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        raise AwsError("ValidationError", message, 400)
    session = identities.assume(role, session_name, seconds, parameters.get("Policy", ""))
    return {
        "Credentials": _credentials(session),
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.principal},
    }


def get_session_token(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    key = _long_term(call, "GetSessionToken")
    session = call.cloud.identities.start_session(
        key.principal, key.issuer, get_caller_identity(call, {})["UserId"], parameters.get("DurationSeconds", 43200)
    )
    return {"Credentials": _credentials(session)}


def get_federation_token(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    key = _long_term(call, "GetFederationToken")
    name = parameters["Name"]
    session = call.cloud.identities.start_session(
        f"arn:aws:sts::{call.account}:federated-user/{name}",
        key.issuer,
        f"{call.account}:{name}",
        parameters.get("DurationSeconds", 43200),
        parameters.get("Policy", ""),
    )
    user = {"FederatedUserId": session.user_id, "Arn": session.principal}
    return {"Credentials": _credentials(session), "FederatedUser": user}


def _long_term(call: Call, operation: str) -> Key:
    if call.key.token:
        raise AwsError("AccessDenied", f"Cannot call {operation} with session credentials", 403)
    return call.key


def _names(call: Call, key: Key) -> set[str]:
    """Every way in which a trust policy may name the caller."""
    return {key.principal, key.issuer, call.account, f"arn:aws:iam::{call.account}:root"}


def _credentials(key: Key) -> dict[str, Any]:
    return {
        "AccessKeyId": key.access_key,
        "SecretAccessKey": key.secret,
        "SessionToken": key.token,
        "Expiration": key.expires,
    }


NOTES = {
    "AssumeRole": "the role's trust policy is evaluated; a condition operator that is not evaluated refuses; session "
    "policies are kept and not enforced yet",
    "GetFederationToken": "the policy is kept and not enforced yet",
}

OPERATIONS = {
    "AssumeRole": assume_role,
    "GetAccessKeyInfo": get_access_key_info,
    "GetCallerIdentity": get_caller_identity,
    "GetFederationToken": get_federation_token,
    "GetSessionToken": get_session_token,
}
