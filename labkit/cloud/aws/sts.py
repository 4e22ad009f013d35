"""AWS STS: who is calling, and temporary credentials.

https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import policy_document
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.identity import Key
from labkit.cloud.aws.refusals import part_of

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


def prepare(call: Call, parameters: dict[str, Any]) -> None:
    """Raises ``ValidationError`` for a role's ARN or a session's name that cannot be one."""
    if call.operation != "AssumeRole" or not {"RoleArn", "RoleSessionName"} <= parameters.keys():
        return
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


def assume_role(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    arn, session_name = parameters["RoleArn"], parameters["RoleSessionName"]
    for name in ("TransitiveTagKeys", "SourceIdentity", "ProvidedContexts", "SerialNumber"):
        if parameters.get(name):
            raise part_of(call, name)
    identities, key = call.cloud.identities, call.key
    role = identities.role(arn)
    # The front has asked the role's trust policy, which a role that is not there cannot have.
    assert role is not None
    seconds = parameters.get("DurationSeconds", 3600)
    if seconds > int(role.max_session_duration or 3600):
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise AwsError("ValidationError", message, 400)
    if key.token and seconds > CHAINED_MAXIMUM:
        message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        raise AwsError("ValidationError", message, 400)
    session = identities.assume(role, session_name, seconds, **_limits(parameters), tags=_tags(parameters))
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
        **_limits(parameters),
        tags=_tags(parameters),
    )
    user = {"FederatedUserId": session.user_id, "Arn": session.principal}
    return {"Credentials": _credentials(session), "FederatedUser": user}


def _long_term(call: Call, operation: str) -> Key:
    if call.key.token:
        raise AwsError("AccessDenied", f"Cannot call {operation} with session credentials", 403)
    return call.key


def _limits(parameters: dict[str, Any]) -> dict[str, Any]:
    """The session's policies. Raises ``MalformedPolicyDocument``."""
    text = parameters.get("Policy", "")
    if text:
        try:
            policy_document.parse(text)
        except policy_document.Malformed as error:
            raise AwsError("MalformedPolicyDocument", str(error), 400) from None
    return {"policy": text, "policy_arns": tuple(each["arn"] for each in parameters.get("PolicyArns", []))}


def _tags(parameters: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((each["Key"], each["Value"]) for each in parameters.get("Tags", []))


def _credentials(key: Key) -> dict[str, Any]:
    return {
        "AccessKeyId": key.access_key,
        "SecretAccessKey": key.secret,
        "SessionToken": key.token,
        "Expiration": key.expires,
    }


NOTES = {
    "AssumeRole": "MFA, source identities, transitive tags and contexts of identity providers refuse",
}

OPERATIONS = {
    "AssumeRole": assume_role,
    "GetAccessKeyInfo": get_access_key_info,
    "GetCallerIdentity": get_caller_identity,
    "GetFederationToken": get_federation_token,
    "GetSessionToken": get_session_token,
}
