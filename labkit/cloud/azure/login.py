"""Microsoft Entra ID's sign-in host: what it says of the tenant, its keys, and tokens for applications.

An application signs in with its client secret (:mod:`labkit.cloud.azure.directory`); the tenant has no people.
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and
https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from labkit.cloud.azure.errors import AzureError, Codes
from labkit.cloud.azure.wire import json_response
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

ERRORS: Codes = {}
#: Seconds that an application's token is good for.
LIFETIME = 3599
#: Operation -> note, for ``docs/fidelity.md``.
SERVED = {
    "Instance discovery": "",
    "OpenID configuration": "",
    "Signing keys": "",
    "Token": "by client_credentials with a client secret; no person can sign in",
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
        return _token(call, version=2 if path.startswith("oauth2/v2.0") else 1)
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
        "error_uri": "".join(f"{_HOST}/error?code={number}" for number in error.info.get("codes", [])),
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


def _token(call: Call, version: int) -> Response:
    """A token for an application that shows its client secret."""
    form = dict(parse_qsl(call.request.body.decode("utf-8", "replace")))
    client, secret = _client(call, form)
    _check_grant(form, client)
    application = call.cloud.directory.find(client_id=client)
    if application is None:
        raise _refused(
            700016,
            "unauthorized_client",
            f"Application with identifier '{client}' was not found in the directory 'Local clouds'. This can happen if "
            "the application has not been installed by the administrator of the tenant or consented to by any user in "
            "the tenant. You may have sent your authentication request to the wrong tenant.",
        )
    if form.get("client_assertion"):
        raise _refused(700027, "invalid_client", "The local clouds serve no client assertions: use a secret.", 401)
    if not secret:
        raise _refused(
            7000216,
            "invalid_client",
            "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
            401,
        )
    held = [each for each in (*application.secrets, *application.own_secrets) if each.is_of(secret)]
    if not held:
        raise _refused(
            7000215,
            "invalid_client",
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
            f"not the client secret ID, for a secret added to app '{client}'.",
            401,
        )
    if not held[0].starts <= call.engine.clock.now() < held[0].ends:
        raise _refused(
            7000222,
            "invalid_client",
            f"The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new "
            "keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added "
            "security: https://aka.ms/certCreds.",
            401,
        )
    if application.principal is None:
        raise _refused(
            7000229,
            "unauthorized_client",
            f"The client application {client} is missing service principal in the tenant "
            f"{call.cloud.identities.tenant}. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119",
        )
    token, expires = call.cloud.identities.tokens.issue(application.principal, _audience(form, version), LIFETIME)
    body: dict[str, Any] = {"token_type": "Bearer", "expires_in": LIFETIME, "ext_expires_in": LIFETIME}
    if version == 1:
        body |= {"expires_in": str(LIFETIME), "expires_on": str(expires), "resource": form.get("resource", "")}
    return json_response(200, {**body, "access_token": token})


def _client(call: Call, form: dict[str, str]) -> tuple[str, str]:
    """The client's id and secret, from the form or by HTTP Basic."""
    scheme, _, given = call.request.headers.get("authorization").partition(" ")
    if scheme.lower() == "basic":
        try:
            client, _, secret = b64decode(given, validate=True).decode().partition(":")
        except ValueError:
            raise _refused(900144, "invalid_request", "The Authorization header is malformed.") from None
        return unquote(client), unquote(secret)
    return form.get("client_id", ""), form.get("client_secret", "")


def _check_grant(form: dict[str, str], client: str) -> None:
    grant = form.get("grant_type", "")
    for name, value in (("grant_type", grant), ("client_id", client)):
        if not value:
            raise _refused(
                900144, "invalid_request", f"The request body must contain the following parameter: '{name}'."
            )
    if grant in ("refresh_token", "authorization_code", "password"):
        raise _refused(
            50034,
            "invalid_grant",
            "The user account does not exist in the Local clouds directory: the tenant of the local clouds has no "
            "people who can sign in. Use DefaultAzureCredential() or ClientSecretCredential().",
        )
    if grant != "client_credentials":
        raise _refused(70003, "unsupported_grant_type", f"The app requested an unsupported grant type '{grant}'.")


def _audience(form: dict[str, str], version: int) -> str:
    """For whom the token is: the resource of the ``.default`` scope, or of version 1.0's ``resource``."""
    if version == 1:
        if not form.get("resource"):
            raise _refused(
                900144, "invalid_request", "The request body must contain the following parameter: 'resource'."
            )
        return form["resource"]
    scopes = [each for each in form.get("scope", "").split() if each not in ("openid", "profile", "offline_access")]
    if not scopes:
        raise _refused(900144, "invalid_request", "The request body must contain the following parameter: 'scope'.")
    resource, _, default = scopes[0].rpartition("/")
    if default != ".default" or len(scopes) > 1:
        raise _refused(
            1002012,
            "invalid_scope",
            f"The provided value for scope {' '.join(scopes)} is not valid. Client credential flows must have a scope "
            "value with /.default suffixed to the resource identifier (application ID URI).",
        )
    return resource


def _refused(number: int, code: str, message: str, status: int = 400) -> AzureError:
    return AzureError(code, f"AADSTS{number}: {message}", status, info={"codes": [number]})
