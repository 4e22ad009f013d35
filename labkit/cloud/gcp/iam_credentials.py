"""The Service Account Credentials API: tokens and signatures of an account for those who may act as it.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts,
https://cloud.google.com/iam/docs/create-short-lived-credentials-direct
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import schema, service_account_keys
from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.service_accounts import Account

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

credentials = schema.Package("google.iam.credentials.v1")

#: Seconds that a token is good for: if nothing is asked, and at most.
USUAL = LONGEST = 3600
#: Seconds ahead that a signed token may expire.
_FARTHEST = 12 * 3600


def generate_access_token(call: Call, request: Any) -> Any:
    """An access token of the account, for up to an hour of the machine's time."""
    account = _authorized(call, request, "iam.serviceAccounts.getAccessToken")
    if not request.scope:
        raise invalid("Scope required.", "scope")
    seconds = request.lifetime.seconds or USUAL
    if not 0 < seconds <= LONGEST:
        raise invalid(f"The lifetime has to be from 1 to {LONGEST} seconds.", "lifetime")
    token = call.cloud.identities.tokens.issue(
        account.email, tuple(request.scope), int(seconds), delegation=_delegation(call, request)
    )
    answer = credentials.GenerateAccessTokenResponse(access_token=token)
    answer.expire_time.FromDatetime(datetime.fromtimestamp(int(time.time() + seconds), UTC))
    return answer


def generate_id_token(call: Call, request: Any) -> Any:
    """An identity token of the account for an audience."""
    account = _authorized(call, request, "iam.serviceAccounts.getOpenIdToken")
    if not request.audience:
        raise invalid("Audience required.", "audience")
    token = call.cloud.identities.identity_token(
        account.email, account.unique_id, request.audience, include_email=request.include_email
    )
    return credentials.GenerateIdTokenResponse(token=token)


def sign_blob(call: Call, request: Any) -> Any:
    """A signature with Google's own key of the account."""
    account = _authorized(call, request, "iam.serviceAccounts.signBlob")
    key = account.system_key
    signature = service_account_keys.sign(key, request.payload)
    return credentials.SignBlobResponse(key_id=key.id, signed_blob=signature)


def sign_jwt(call: Call, request: Any) -> Any:
    """A token of these claims, signed with Google's own key of the account."""
    account = _authorized(call, request, "iam.serviceAccounts.signJwt")
    try:
        claims = json.loads(request.payload)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise invalid("The payload is no JSON object with claims.", "payload")
    expires = claims.get("exp")
    if expires is not None and (not isinstance(expires, int) or expires > time.time() + _FARTHEST):
        raise invalid("The claim exp has to be a time less than 12 hours from now.", "payload")
    key = account.system_key
    return credentials.SignJwtResponse(key_id=key.id, signed_jwt=service_account_keys.signed(key, claims))


def _authorized(call: Call, request: Any, permission: str) -> Account:
    """The account, if the caller may have this of it, directly or along a chain of delegates.

    Each in the chain needs ``implicitDelegation`` on the next one, and the last one the permission itself.
    https://cloud.google.com/iam/docs/create-short-lived-credentials-delegated
    """
    caller = call.caller
    for each in request.delegates:
        delegate = _find(call, each)
        name = f"projects/-/serviceAccounts/{delegate.email}"
        call.authorize("iam.serviceAccounts.implicitDelegation", name, caller)
        caller = call.cloud.iam.caller(delegate.email)
    email = call.names.get("serviceAccounts", "")
    call.authorize(permission, f"projects/-/serviceAccounts/{email}", caller)
    account = _find(call, call.resource)
    if account.disabled:
        raise GcpError("FAILED_PRECONDITION", f"Service account {account.email} is disabled.")
    return account


def _delegation(call: Call, request: Any) -> tuple[str, ...]:
    """Who had the token made: the caller, those whom the caller acts for, and the delegates, in order."""
    claims = call.cloud.identities.claims(call.request, call.target)
    delegates = [_find(call, each).email for each in request.delegates]
    return (*(claims.delegation if claims else ()), call.caller.principal, *delegates)


def _find(call: Call, name: str) -> Account:
    email = name.rpartition("/")[2]
    account = call.cloud.iam.accounts.find(email)
    if account is None:
        raise GcpError("NOT_FOUND", f"Not found; Gaia id not found for email {email}")
    return account


METHODS = {
    "GenerateAccessToken": generate_access_token,
    "GenerateIdToken": generate_id_token,
    "SignBlob": sign_blob,
    "SignJwt": sign_jwt,
}
#: Checked here: which of the chain needs what depends on the request.
PERMISSIONS = dict.fromkeys(METHODS, "")
