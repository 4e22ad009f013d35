"""Who may use a storage account: tokens, Shared Key signatures and shared access signatures, verified and applied.

https://learn.microsoft.com/rest/api/storageservices/authorize-requests-to-azure-storage
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from labkit.cloud.azure import sas, shared_key, tokens
from labkit.cloud.azure.blob_containers import delegation_key
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_request import BlobCall
from labkit.cloud.azure.routes import Level
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import Denied
from labkit.cloud.http import Response

RESOURCE = "https://storage.azure.com"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``permissions`` are the letters of a shared access signature any one of which allows it.

    ``kind`` are the levels any one of which a signature must reach: service (``s``), container (``c``), object (``o``)
    or the list of a container's blobs (``l``).
    """

    name: str
    function: Callable[[BlobCall], Response]
    action: str
    permissions: str
    kind: str
    level: Level = "works"
    note: str = ""
    read_only: bool = False


def authenticate(at: BlobCall, operation: Operation) -> None:
    """Verifies the request's credential: a signature in its address, a Shared Key signature, or a token."""
    call = at.call
    scheme = call.request.headers.get("authorization").partition(" ")[0].lower()
    identities = call.cloud.identities
    if scheme == "bearer":
        claims = _claims(at)
        call._caller = Caller("azure", claims.object_id, claims.tenant, "", claims.identifier)
    elif scheme == "sharedkey":
        if not at.resource.properties["allowSharedKeyAccess"]:
            raise error("KeyBasedAuthenticationNotPermitted")
        number = shared_key.verify(call.request, at.account.name, at.account.keys, datetime.now(UTC))
        call._caller = Caller("azure", f"{at.account.name} key{number + 1}", identities.tenant, "", f"key{number + 1}")
    elif "sig" in call.query:
        at.grant = _grant(at)
        principal = at.grant.object_id or f"{at.account.name} {at.grant.kind} SAS"
        call._caller = Caller("azure", principal, identities.tenant, "", f"{at.grant.kind} SAS")
        _check_grant(at, at.grant, operation)
    elif scheme:
        raise error("AuthenticationFailed", AuthenticationErrorDetail=f"The scheme {scheme} is not served.")
    elif operation.read_only:
        raise error("PublicAccessNotPermitted")
    else:
        raise error("NoAuthenticationInformation", headers=_challenge(at))


def authorize(at: BlobCall, operation: Operation) -> None:
    """Sees that the caller's roles allow the operation; raises ``AuthorizationPermissionMismatch``.

    A key of the account is its owner's: no role is asked of who has it, or a signature that was made with it.
    """
    call = at.call
    by_key = call.request.headers.get("authorization").partition(" ")[0].lower() == "sharedkey"
    if by_key or (at.grant is not None and not at.grant.object_id):
        return
    try:
        call.engine.access.authorize(call.caller, operation.action, call.resource)
    except Denied:
        raise error("AuthorizationPermissionMismatch") from None


def _claims(at: BlobCall) -> tokens.Claims:
    identities = at.call.cloud.identities
    token = at.header("authorization").partition(" ")[2].strip()
    mine = (RESOURCE, f"https://{at.account.name}.blob.core.windows.net")
    try:
        return identities.verify(token, tokens.one_of(mine))
    except tokens.Rejected as rejected:
        detail = {
            "audience": "Audience validation failed. Audience did not match.",
            "expired": "Lifetime validation failed. The token is expired.",
            "early": "Lifetime validation failed. The token is not yet valid.",
            "issuer": "Issuer validation failed. Issuer did not match.",
            "signature": "Signature validation failed.",
        }.get(rejected.reason, "The token is invalid.")
        raise error("InvalidAuthenticationInfo", headers=_challenge(at), AuthenticationErrorDetail=detail) from None


def _challenge(at: BlobCall) -> list[tuple[str, str]]:
    tenant = at.call.cloud.identities.tenant
    uri = f"https://login.microsoftonline.com/{tenant}/oauth2/authorize"
    return [("WWW-Authenticate", f"Bearer authorization_uri={uri} resource_id={RESOURCE}")]


def _grant(at: BlobCall) -> sas.Granted:
    granted = sas.verify(
        at.query,
        at.account.name,
        at.container,
        at.blob,
        keys=at.account.keys,
        delegation_key=lambda *claims: delegation_key(at, *claims),
        secure=at.call.request.secure,
        now=datetime.now(UTC),
    )
    if granted.object_id:
        if at.call.cloud.identities.find(granted.object_id) is None:
            raise error("AuthenticationFailed", AuthenticationErrorDetail="The key's principal is not in the tenant.")
    elif not at.resource.properties["allowSharedKeyAccess"]:
        raise error("KeyBasedAuthenticationNotPermitted")
    return granted


def _check_grant(at: BlobCall, granted: sas.Granted, operation: Operation) -> None:
    """Raises Storage's error where a shared access signature does not reach the operation."""
    if granted.kind == "account":
        if not set(operation.kind) & set(granted.types):
            raise error("AuthorizationResourceTypeMismatch")
        # An account's signature may do what a container's own may not: read its properties.
        permissions = operation.permissions or ("r" if operation.read_only and operation.kind else "")
    else:
        permissions = operation.permissions if set(operation.kind) & set(granted.types) else ""
    if not set(permissions) & set(granted.permissions):
        raise error("AuthorizationPermissionMismatch")
    if "w" not in granted.permissions and permissions == "cw" and at.blob:
        # Create alone writes what is not there yet, and nothing over it.
        container = at.account.containers.get(at.container)
        if container is not None and at.blob in container.blobs:
            raise error("AuthorizationPermissionMismatch")
