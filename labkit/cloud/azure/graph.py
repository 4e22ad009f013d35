"""Microsoft Graph, as far as programs' identities go: applications, service principals, their client secrets.

https://learn.microsoft.com/graph/api/resources/application and .../serviceprincipal (REST v1.0). The learner is the
tenant's administrator; other principals have no permission of Microsoft Graph.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from labkit.cloud.azure import tokens
from labkit.cloud.azure.directory import MOST_SECRETS, Application, Secret, new_secret
from labkit.cloud.azure.errors import AzureError, Codes, refusal
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

ERRORS: Codes = {}
AUDIENCES = ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000")
_ROOT = "https://graph.microsoft.com/v1.0"
#: How long a secret is good for that is given no end.
_TWO_YEARS = timedelta(days=730)
_accepts = tokens.one_of(AUDIENCES)
_BY_CLIENT = re.compile(r"(?P<kind>\w+)\(appId='(?P<id>[^']*)'\)", re.IGNORECASE)
_FILTER = re.compile(r"\s*(?P<field>appId|displayName|id)\s+eq\s+'(?P<value>(?:[^']|'')*)'\s*", re.IGNORECASE)

Function = Callable[["Call", str], Any]
#: Operation -> note, for ``docs/fidelity.md``.
SERVED = {
    "applications: list, create, get, update, delete": "filter by appId, displayName or id; displayName and tags",
    "applications: addPassword, removePassword": "a secret expires by the lab's clock",
    "servicePrincipals: list, create, get, delete, addPassword, removePassword": "of the tenant's own applications",
    "users: list": "the tenant has none",
    "me": "always refused, as for every program: the learner is a service principal",
    "organization: list": "",
}


def answer(call: Call) -> Response:
    """Answers one call to graph.microsoft.com."""
    parts = [unquote(part) for part in call.request.raw_path.split("/") if part]
    call.operation = f"{call.request.method} /{'/'.join(parts)}"
    call.resource, call.read_only = f"/{'/'.join(parts)}", call.request.method == "GET"
    _authenticate(call)
    if not parts or parts[0] != "v1.0":
        raise refusal(f"{call.operation} of Microsoft Graph (only v1.0 is served)")
    if len(parts) > 1 and (matched := _BY_CLIENT.fullmatch(parts[1])):
        parts[1:2] = [matched["kind"], _by_client(call, matched["kind"], matched["id"])]
    kind, identifier, action = [*parts[1:4], "", "", ""][:3]
    shape = f"{call.request.method} {kind.lower()}"
    shape += ("/{id}" if identifier else "") + (f"/{action.lower().removeprefix('microsoft.graph.')}" if action else "")
    function = _OPERATIONS.get(shape) if len(parts) <= 4 else None
    if function is None:
        raise refusal(f"{call.request.method} /{'/'.join(parts[1:])} of Microsoft Graph")
    if call.caller.principal != call.cloud.identities.learner.object_id:
        raise AzureError("Authorization_RequestDenied", "Insufficient privileges to complete the operation.", 403)
    result = function(call, identifier)
    response = result if isinstance(result, Response) else json_response(200, result)
    response.headers.append(("request-id", call.request_id))
    return response


def failure(call: Call, error: AzureError) -> Response:
    inner = {
        "date": call.engine.clock.now().strftime("%Y-%m-%dT%H:%M:%S"),
        "request-id": call.request_id,
        "client-request-id": call.request.headers.get("client-request-id") or call.request_id,
    }
    body = {"error": {"code": error.code, "message": error.message, "innerError": inner}}
    return Response(
        error.status,
        [("Content-Type", "application/json"), ("request-id", call.request_id)],
        json.dumps(body).encode(),
    )


def _authenticate(call: Call) -> None:
    scheme, _, token = call.request.headers.get("authorization").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise AzureError("InvalidAuthenticationToken", "Access token is empty.", 401)
    try:
        claims = call.cloud.identities.verify(token.strip(), _accepts)
    except tokens.Rejected as rejected:
        message = {
            "audience": "Access token validation failure. Invalid audience.",
            "expired": "Lifetime validation failed, the token is expired.",
            "signature": "Access token validation failure. Invalid signature.",
            "issuer": "Access token validation failure. Invalid issuer.",
        }.get(rejected.reason, "CompactToken parsing failed with error code: 80049217")
        raise AzureError("InvalidAuthenticationToken", message, 401) from None
    call._caller = Caller("azure", claims.object_id, claims.tenant, "", claims.identifier)


# -- applications ----------------------------------------------------------------------------------------------------


def list_applications(call: Call, identifier: str) -> dict[str, Any]:
    return _listed(call, "applications", [_application(each) for each in call.cloud.directory.applications()])


def create_application(call: Call, identifier: str) -> Response:
    body = call.body()
    name = text(body, "displayName")
    if not name or len(name) > 256:
        raise _bad("A value without a type name was found and no expected type is available: displayName is needed.")
    _refuse_others(body, ("displayName", "tags", "signInAudience", "description"))
    tags = _tags(body, [])
    made = call.cloud.directory.create(name)
    made.tags = tags
    return _created("applications", _application(made))


def get_application(call: Call, identifier: str) -> dict[str, Any]:
    return {"@odata.context": f"{_ROOT}/$metadata#applications/$entity", **_application(_of(call, identifier))}


def update_application(call: Call, identifier: str) -> Response:
    application, body = _of(call, identifier), call.body()
    _refuse_others(body, ("displayName", "tags"))
    application.name, application.tags = text(body, "displayName", application.name), _tags(body, application.tags)
    return Response(204)


def _tags(body: dict[str, Any], kept: list[str]) -> list[str]:
    tags = body.get("tags", kept)
    if tags is not None and not isinstance(tags, list):
        raise _bad("A 'StartArray' node was expected when reading the value of the property 'tags'.")
    return [str(each) for each in tags or []]


def delete_application(call: Call, identifier: str) -> Response:
    call.cloud.directory.delete(_of(call, identifier))
    return Response(204)


def add_password(call: Call, identifier: str) -> dict[str, Any]:
    """A new secret of an application: its text is in this answer, and nowhere else."""
    return _add_secret(call, _of(call, identifier).secrets)


def remove_password(call: Call, identifier: str) -> Response:
    return _remove_secret(call, _of(call, identifier).secrets)


# -- service principals ----------------------------------------------------------------------------------------------


def list_principals(call: Call, identifier: str) -> dict[str, Any]:
    found = [_principal(each) for each in call.cloud.directory.applications() if each.principal]
    return _listed(call, "servicePrincipals", found)


def create_principal(call: Call, identifier: str) -> Response:
    """Gives an application its service principal."""
    body = call.body()
    client_id = text(body, "appId")
    _refuse_others(body, ("appId", "tags", "displayName"))
    application = call.cloud.directory.find(client_id=client_id) if client_id else None
    if application is None:
        raise _bad(f"The appId '{client_id}' of the service principal does not reference a valid application object.")
    with call.cloud.directory.lock:
        if application.principal is not None:
            raise AzureError(
                "Request_MultipleObjectsWithSameKeyValue",
                "The service principal cannot be created, updated, or restored because the service principal name "
                f"{client_id} is already in use.",
                409,
            )
        call.cloud.directory.enable(application)
    return _created("servicePrincipals", _principal(application))


def get_principal(call: Call, identifier: str) -> dict[str, Any]:
    return {"@odata.context": f"{_ROOT}/$metadata#servicePrincipals/$entity", **_principal(_with(call, identifier))}


def delete_principal(call: Call, identifier: str) -> Response:
    call.cloud.directory.disable(_with(call, identifier))
    return Response(204)


def add_principals_password(call: Call, identifier: str) -> dict[str, Any]:
    return _add_secret(call, _with(call, identifier).own_secrets)


def remove_principals_password(call: Call, identifier: str) -> Response:
    return _remove_secret(call, _with(call, identifier).own_secrets)


# -- people and the tenant -------------------------------------------------------------------------------------------


def list_users(call: Call, identifier: str) -> dict[str, Any]:
    return _listed(call, "users", [])


def me(call: Call, identifier: str) -> Response:
    raise _bad("/me request is only valid with delegated authentication flow.")


def list_organizations(call: Call, identifier: str) -> dict[str, Any]:
    return _listed(call, "organization", [{"id": call.cloud.identities.tenant, "displayName": "Local clouds"}])


# -- shapes ----------------------------------------------------------------------------------------------------------


def _application(application: Application) -> dict[str, Any]:
    return {
        "id": application.id,
        "appId": application.client_id,
        "createdDateTime": application.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "displayName": application.name,
        "signInAudience": "AzureADMyOrg",
        "tags": application.tags,
        "keyCredentials": [],
        "passwordCredentials": [each.view() for each in application.secrets],
    }


def _principal(application: Application) -> dict[str, Any]:
    assert application.principal is not None
    return {
        "id": application.principal.object_id,
        "accountEnabled": True,
        "appId": application.client_id,
        "appDisplayName": application.name,
        "displayName": application.name,
        "servicePrincipalNames": [application.client_id],
        "servicePrincipalType": "Application",
        "tags": application.tags,
        "keyCredentials": [],
        "passwordCredentials": [each.view() for each in application.own_secrets],
    }


def _listed(call: Call, kind: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    for name in call.query:
        if name.startswith("$") and name not in ("$filter", "$select", "$top", "$count"):
            raise refusal(f"{name} of Microsoft Graph")
    if condition := call.query.get("$filter", ""):
        matched = _FILTER.fullmatch(condition)
        if matched is None:
            raise refusal(f"the filter {condition!r} of Microsoft Graph")
        wanted = matched["value"].replace("''", "'").lower()
        key = {"appid": "appId", "displayname": "displayName", "id": "id"}[matched["field"].lower()]
        found = [each for each in found if str(each.get(key, "")).lower() == wanted]
    if chosen := [each for each in call.query.get("$select", "").split(",") if each]:
        found = [{name: value for name, value in each.items() if name in chosen} for each in found]
    if (top := call.query.get("$top", "")).isdigit():
        found = found[: int(top)]
    return {"@odata.context": f"{_ROOT}/$metadata#{kind}", "value": found}


def _created(kind: str, shown: dict[str, Any]) -> Response:
    return json_response(201, {"@odata.context": f"{_ROOT}/$metadata#{kind}/$entity", **shown})


def _add_secret(call: Call, held: list[Secret]) -> dict[str, Any]:
    asked = section(call.body(), "passwordCredential")
    now = call.engine.clock.now()
    starts, ends = _moment(asked, "startDateTime", now), _moment(asked, "endDateTime", now + _TWO_YEARS)
    if ends <= starts:
        raise _bad("The credential's endDateTime has to be after its startDateTime.")
    with call.cloud.directory.lock:
        if len(held) >= MOST_SECRETS:
            raise _bad(f"The object has {MOST_SECRETS} credentials, the most that it can have.")
        made, written = new_secret(starts, ends, text(asked, "displayName") or None)
        held.append(made)
    return {"@odata.context": f"{_ROOT}/$metadata#microsoft.graph.passwordCredential", **made.view(written)}


def _remove_secret(call: Call, held: list[Secret]) -> Response:
    key_id = text(call.body(), "keyId").lower()
    with call.cloud.directory.lock:
        found = next((each for each in held if each.key_id == key_id), None)
        if found is None:
            raise _bad(f"No password credential found with keyId '{key_id}'.")
        held.remove(found)
    return Response(204)


def _moment(asked: dict[str, Any], name: str, default: datetime) -> datetime:
    given = text(asked, name)
    if not given:
        return default
    try:
        read = datetime.fromisoformat(given)
    except ValueError:
        raise _bad(f"The value '{given}' of {name} is no time.") from None
    return read if read.tzinfo else read.replace(tzinfo=default.tzinfo)


def _of(call: Call, identifier: str) -> Application:
    return _found(call.cloud.directory.find(id=identifier), identifier)


def _with(call: Call, identifier: str) -> Application:
    return _found(call.cloud.directory.find(principal=identifier), identifier)


def _by_client(call: Call, kind: str, client_id: str) -> str:
    """The object id of what ``kind(appId='..')`` names."""
    found = _found(call.cloud.directory.find(client_id=client_id), client_id)
    if kind.lower() == "serviceprincipals":
        if found.principal is None:
            raise _missing(client_id)
        return found.principal.object_id
    return found.id


def _found(application: Application | None, identifier: str) -> Application:
    if application is None:
        raise _missing(identifier)
    return application


def _missing(identifier: str) -> AzureError:
    message = (
        f"Resource '{identifier}' does not exist or one of its queried reference-property objects are not present."
    )
    return AzureError("Request_ResourceNotFound", message, 404)


def _bad(message: str) -> AzureError:
    return AzureError("Request_BadRequest", message, 400)


def _refuse_others(body: dict[str, Any], served: tuple[str, ...]) -> None:
    if others := sorted(name for name, value in body.items() if name not in served and value not in (None, [], {})):
        raise refusal(f"the property {others[0]} in Microsoft Graph")


_OPERATIONS: dict[str, Function] = {
    "GET applications": list_applications,
    "POST applications": create_application,
    "GET applications/{id}": get_application,
    "PATCH applications/{id}": update_application,
    "DELETE applications/{id}": delete_application,
    "POST applications/{id}/addpassword": add_password,
    "POST applications/{id}/removepassword": remove_password,
    "GET serviceprincipals": list_principals,
    "POST serviceprincipals": create_principal,
    "GET serviceprincipals/{id}": get_principal,
    "DELETE serviceprincipals/{id}": delete_principal,
    "POST serviceprincipals/{id}/addpassword": add_principals_password,
    "POST serviceprincipals/{id}/removepassword": remove_principals_password,
    "GET users": list_users,
    "GET me": me,
    "GET organization": list_organizations,
}
