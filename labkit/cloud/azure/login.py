"""Microsoft Entra ID's sign-in host: what it says of the tenant, its keys, and which ways of signing in are refused.

The tenant has no registered applications and no people who can sign in: programs get their tokens from the identity
endpoint (:mod:`labkit.cloud.azure.identity`). https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labkit.cloud.azure.errors import AzureError, Codes
from labkit.cloud.azure.wire import json_response
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

ERRORS: Codes = {}
#: Operation -> note, for ``docs/fidelity.md``.
SERVED = {
    "Instance discovery": "",
    "OpenID configuration": "",
    "Signing keys": "",
    "Token": "always refused (AADSTS700016): the tenant has no registered applications",
}
_HOST = "https://login.microsoftonline.com"
#: Names that stand for whichever tenant it is.
_ANY_TENANT = ("common", "organizations")


def answer(call: Call) -> Response:
    """Answers one call to login.microsoftonline.com. No call has a credential yet: it is where they come from."""
    call.operation = f"{call.request.method} {call.request.path}"
    call.read_only = True
    tenant, _, path = call.request.path.strip("/").partition("/")
    if path == "discovery/instance":
        return _instance(call)
    if tenant not in (*_ANY_TENANT, call.cloud.identities.tenant):
        raise _refused(
            90002, "invalid_request", f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
        )
    if path in ("v2.0/.well-known/openid-configuration", ".well-known/openid-configuration"):
        return json_response(200, _configuration(call, "v2.0/" if path.startswith("v2.0") else ""))
    if path in ("discovery/v2.0/keys", "discovery/keys"):
        return json_response(200, call.cloud.identities.tokens.public_keys())
    if path in ("oauth2/v2.0/token", "oauth2/token") and call.request.method == "POST":
        raise _no_token(call)
    raise _refused(
        900144,
        "invalid_request",
        f"The local clouds do not serve {call.operation} of the sign-in host; see docs/fidelity.md.",
    )


def failure(call: Call, error: AzureError) -> Response:
    now = datetime.now(UTC)
    body: dict[str, Any] = {
        "error": error.code,
        "error_description": (
            f"{error.message} Trace ID: {call.request_id} Correlation ID: {call.request_id} "
            f"Timestamp: {now:%Y-%m-%d %H:%M:%SZ}"
        ),
        "error_codes": error.info.get("codes", []),
        "timestamp": f"{now:%Y-%m-%d %H:%M:%SZ}",
        "trace_id": call.request_id,
        "correlation_id": call.request_id,
    }
    return Response(error.status, [("Content-Type", "application/json; charset=utf-8")], json.dumps(body).encode())


def _instance(call: Call) -> Response:
    tenant = call.cloud.identities.tenant
    hosts = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
    return json_response(
        200,
        {
            "tenant_discovery_endpoint": f"{_HOST}/{tenant}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [{"preferred_network": hosts[0], "preferred_cache": hosts[1], "aliases": hosts}],
        },
    )


def _configuration(call: Call, version: str) -> dict[str, Any]:
    identities = call.cloud.identities
    base = f"{_HOST}/{identities.tenant}"
    return {
        "token_endpoint": f"{base}/oauth2/{version}token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": f"{base}/discovery/{version}keys",
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": identities.tokens.issuer,
        "authorization_endpoint": f"{base}/oauth2/{version}authorize",
        "device_authorization_endpoint": f"{base}/oauth2/{version}devicecode",
        "tenant_region_scope": None,
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
    }


def _no_token(call: Call) -> AzureError:
    """Why a token endpoint gives no token: what Entra ID says where there is no such application, or no such way."""
    form = dict(parse_qsl(call.request.body.decode("utf-8", "replace")))
    grant, client = form.get("grant_type", ""), form.get("client_id", "")
    if not grant:
        return _refused(
            900144, "invalid_request", "The request body must contain the following parameter: 'grant_type'."
        )
    if grant not in ("client_credentials", "refresh_token", "authorization_code", "password"):
        return _refused(70003, "unsupported_grant_type", f"The app requested an unsupported grant type '{grant}'.")
    return _refused(
        700016,
        "unauthorized_client",
        f"Application with identifier '{client}' was not found in the directory 'Local clouds'. The tenant of the "
        "local clouds has no registered applications: use DefaultAzureCredential() or ManagedIdentityCredential().",
    )


def _refused(number: int, code: str, message: str) -> AzureError:
    return AzureError(code, f"AADSTS{number}: {message}", 400, info={"codes": [number]})
