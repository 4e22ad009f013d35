"""``oauth2.googleapis.com``: what a token is. Exchanging keys or grants for tokens refuses: the lab has none to give.

https://cloud.google.com/docs/authentication/token-types#access
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from labkit.cloud.gcp.hosts import Target
from labkit.cloud.gcp.identity import ServiceAccount
from labkit.cloud.gcp.tokens import Rejected
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud


def answer(cloud: GcpCloud, target: Target, request: Request) -> Response:
    """Answers one request; errors included."""
    if request.path in ("/tokeninfo", "/v3/tokeninfo", "/v1/tokeninfo") and request.method in ("GET", "POST"):
        return _token_info(cloud, request)
    if request.path == "/token":
        return _error(
            501,
            "unsupported_grant_type",
            "The local clouds give out tokens through the metadata server only, where google.auth.default() finds it; "
            "service account keys and refresh tokens are not served yet.",
        )
    return _error(501, "not_implemented", f"The local clouds do not serve {request.method} {request.path} yet.")


def _token_info(cloud: GcpCloud, request: Request) -> Response:
    sent = dict(parse_qsl(request.query)) | dict(parse_qsl(request.body.decode("latin-1")))
    try:
        claims = cloud.identities.tokens.verify(sent.get("access_token", ""))
    except Rejected:
        return _error(400, "invalid_token", "Invalid Value")
    unique_id = ServiceAccount(claims.email, "").unique_id
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


def _error(status: int, error: str, description: str) -> Response:
    return _json(status, {"error": error, "error_description": description})


def _json(status: int, value: dict[str, str]) -> Response:
    return Response(status, [("Content-Type", "application/json; charset=utf-8")], json.dumps(value).encode())
