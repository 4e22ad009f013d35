"""``oauth2.googleapis.com``: tokens for those who sign with a service account's key, and what a token is.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest,
https://cloud.google.com/docs/authentication/token-types#access
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labkit.cloud.gcp import service_account_keys
from labkit.cloud.gcp.hosts import Target
from labkit.cloud.gcp.identity import ServiceAccount
from labkit.cloud.gcp.service_account_keys import TOKEN_URI
from labkit.cloud.gcp.tokens import LIFETIME, Rejected
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud
    from labkit.cloud.gcp.service_account_keys import Key
    from labkit.cloud.gcp.service_accounts import Account

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_AUDIENCES = (TOKEN_URI, "https://accounts.google.com/o/oauth2/token", "https://www.googleapis.com/oauth2/v4/token")
#: Seconds that an assertion may be good for, and that its clock may differ.
_LONGEST, _SKEW = 3600, 300
_TIME = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)


def answer(cloud: GcpCloud, target: Target, request: Request) -> Response:
    """Answers one request; errors included."""
    if request.path in ("/tokeninfo", "/v3/tokeninfo", "/v1/tokeninfo") and request.method in ("GET", "POST"):
        return _token_info(cloud, request)
    if request.path in ("/token", "/oauth2/v4/token") and request.method == "POST":
        sent = dict(parse_qsl(request.body.decode("latin-1")))
        if sent.get("grant_type") == _JWT_GRANT:
            return _exchanged(cloud, sent.get("assertion", ""))
        return _error(
            501,
            "unsupported_grant_type",
            "The local clouds give out tokens for service account keys and through the metadata server, where "
            "google.auth.default() finds it; refresh tokens and other grants are not served.",
        )
    if request.method == "GET" and request.path in ("/oauth2/v3/certs", "/oauth2/v1/certs"):
        key = cloud.identities.signing_key
        if request.path.startswith("/oauth2/v3"):
            return _json(200, {"keys": [service_account_keys.jwk(key)]})
        return _json(200, {key.id: service_account_keys.certificate(key, "federated-signon").decode()})
    return _error(501, "not_implemented", f"The local clouds do not serve {request.method} {request.path} yet.")


def _exchanged(cloud: GcpCloud, assertion: str) -> Response:
    """A token for whoever signed the assertion."""
    sent = service_account_keys.parsed(assertion)
    if sent is None or sent.header.get("alg") != "RS256":
        return _error(400, "invalid_grant", "Bad Request")
    email = str(sent.claims.get("iss", ""))
    account = cloud.iam.account(email)
    if account is None:
        return _error(400, "invalid_grant", "Invalid grant: account not found")
    key = account.keys.get(str(sent.header.get("kid", "")))
    if key is None or key.disabled or not service_account_keys.verifies(key, sent.content, sent.signature):
        return _error(400, "invalid_grant", "Invalid JWT Signature.")
    if account.disabled:
        return _error(401, "disabled_client", "The OAuth client was disabled.")
    return _granted(cloud, account, key, sent.claims)


def _granted(cloud: GcpCloud, account: Account, key: Key, claims: dict[str, Any]) -> Response:
    if claims.get("sub", account.email) != account.email:
        return _error(
            401,
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of "
            "the scopes requested.",
        )
    issued, expires, now = claims.get("iat"), claims.get("exp"), time.time()
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        return _error(400, "invalid_grant", _TIME)
    if expires - issued > _LONGEST or issued > now + _SKEW or expires < now - _SKEW:
        return _error(400, "invalid_grant", _TIME)
    if claims.get("aud") not in _AUDIENCES:
        return _error(400, "invalid_grant", "Invalid JWT: Failed audience check.")
    if audience := claims.get("target_audience"):
        identity = cloud.identities.identity_token(account.email, account.unique_id, str(audience), include_email=True)
        return _json(200, {"id_token": identity})
    scopes = tuple(str(claims.get("scope", "")).split())
    if not scopes:
        return _error(
            400, "invalid_scope", "Empty or missing scope not allowed: name one such as .../auth/cloud-platform."
        )
    token = cloud.identities.tokens.issue(account.email, scopes, key=account.key_name(key))
    return _json(200, {"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"})


def _token_info(cloud: GcpCloud, request: Request) -> Response:
    sent = dict(parse_qsl(request.query)) | dict(parse_qsl(request.body.decode("latin-1")))
    if "id_token" in sent:
        return _identity_info(cloud, sent["id_token"])
    try:
        claims = cloud.identities.tokens.verify(sent.get("access_token", ""))
    except Rejected:
        return _error(400, "invalid_token", "Invalid Value")
    account = cloud.iam.account(claims.email)
    unique_id = account.unique_id if account else ServiceAccount(claims.email, "").unique_id
    return _json(
        200,
        {
            "azp": unique_id,
            "aud": unique_id,
            "scope": " ".join(claims.scopes),
            "exp": str(claims.expires),
            "expires_in": str(int(claims.expires - time.time())),
            "email": claims.email,
            "email_verified": "true",
            "access_type": "online",
        },
    )


def _identity_info(cloud: GcpCloud, token: str) -> Response:
    """The claims of an identity token that Google has signed, as texts."""
    sent, key = service_account_keys.parsed(token), cloud.identities.signing_key
    if sent is None or not service_account_keys.verifies(key, sent.content, sent.signature):
        return _error(400, "invalid_token", "Invalid Value")
    if time.time() >= sent.claims["exp"]:
        return _error(400, "invalid_token", "Invalid Value")
    told = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in sent.claims.items()}
    return _json(200, told | {name: str(sent.header[name]) for name in ("alg", "kid", "typ")})


def _error(status: int, error: str, description: str) -> Response:
    return _json(status, {"error": error, "error_description": description})


def _json(status: int, value: dict[str, Any]) -> Response:
    return Response(status, [("Content-Type", "application/json; charset=utf-8")], json.dumps(value).encode())
