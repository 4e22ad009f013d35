"""Managed identities: user-assigned ones as resources, and which ones a resource has.

https://learn.microsoft.com/rest/api/managedidentity/user-assigned-identities and
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/overview
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import role_definitions
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.groups import location_of, tags_of
from labkit.cloud.azure.identity import Identity
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import GROUP, SUBSCRIPTION, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
#: What a role must allow on an identity for it to be given to a resource.
ASSIGN = f"{TYPE}/assign/action"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}")
_NONE, _SYSTEM, _USER = "None", "SystemAssigned", "UserAssigned"


def put(call: Call, names: dict[str, str]) -> Response:
    """Makes an identity, or changes its tags."""
    body = call.body()
    if not _NAME.fullmatch(names["name"]):
        raise AzureError(
            "BadRequest",
            f"The name '{names['name']}' is not valid: it has to be 3 to 128 characters long, begin with a letter or a "
            "digit, and hold letters, digits, hyphens and underscores only.",
            400,
        )
    cloud = call.cloud
    with cloud.resources.lock:
        made = cloud.resources.get(call.resource)
        status = 200 if made else 201
        if made is None:
            location = location_of(body)
            own = cloud.identities.assign(call.resource)
            made = Resource(
                call.resource,
                {"tenantId": cloud.identities.tenant, "principalId": own.object_id, "clientId": own.client_id},
                location,
                closing=lambda: cloud.identities.unassign(call.resource),
            )
            cloud.resources.put(made)
        made.tags = tags_of(body)
        made.touch(call.engine.clock.now(), call.caller)
    return json_response(status, made.view())


def patch(call: Call, names: dict[str, str]) -> dict[str, Any]:
    made = call.cloud.resources.require(call.resource)
    body = call.body()
    made.tags = tags_of(body) if "tags" in body else made.tags
    made.touch(call.engine.clock.now(), call.caller)
    return made.view()


def get(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return call.cloud.resources.require(call.resource).view()


def list_all(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return page(call, [each.view() for each in call.cloud.resources.below(call.resource, TYPE)])


def delete(call: Call, names: dict[str, str]) -> Response:
    """Deletes the identity: its tokens are refused from now on. Assignments of roles to it stay, as on Azure."""
    return Response(200 if call.cloud.resources.delete(call.resource) else 204)


# -- the identities of resources -------------------------------------------------------------------------------------


def section_of(call: Call, body: Mapping[str, Any], resource_id: str, *, default: str = _SYSTEM) -> dict[str, Any]:
    """The ``identity`` of a new resource as Azure shows it, with the identities that it asks for; ``{}`` for none.

    A system-assigned identity is made for ``resource_id``. Raises :class:`AzureError` for a kind that there is not,
    and for a user-assigned identity that does not exist.
    """
    asked = section(body, "identity")
    wanted = {part.strip().lower() for part in text(asked, "type", default).split(",")}
    if unknown := wanted - {_NONE.lower(), _SYSTEM.lower(), _USER.lower()}:
        raise AzureError("InvalidIdentityType", f"The identity type '{', '.join(unknown)}' is not valid.", 400)
    listed = section(asked, "userAssignedIdentities")
    if (_USER.lower() in wanted) != bool(listed):
        raise AzureError(
            "InvalidIdentityValues",
            f"Invalid value for the identities '{', '.join(listed)}'. The 'UserAssigned' identity type needs "
            "userAssignedIdentities, and no other type has them.",
            400,
        )
    shown: dict[str, Any] = {}
    kinds = [kind for kind in (_SYSTEM, _USER) if kind.lower() in wanted]
    if not kinds:
        return shown
    identities = call.cloud.identities
    users = {each: call.cloud.resources.require(each) for each in listed}
    shown["type"] = ",".join(kinds)
    if _SYSTEM in kinds:
        shown |= {"principalId": identities.assign(resource_id).object_id, "tenantId": identities.tenant}
    if users:
        shown["userAssignedIdentities"] = {
            found.id: {name: found.properties[name] for name in ("principalId", "clientId")} for found in users.values()
        }
    return shown


def of(cloud: AzureCloud, resource: Resource | None) -> list[Identity]:
    """The managed identities that a resource has, its own first; those that are no more are left out."""
    shown = (resource.identity if resource else None) or {}
    ids = [shown.get("principalId")]
    ids += [(each or {}).get("principalId") for each in (shown.get("userAssignedIdentities") or {}).values()]
    found = [cloud.identities.find(str(each)) for each in ids if each]
    return [each for each in found if each is not None]


def acting_as(cloud: AzureCloud, identity: Identity | None, region: str = "") -> Caller:
    """The caller that an identity makes, to be asked of access; nobody's, who may nothing, where there is none."""
    return Caller("azure", identity.object_id if identity else "", cloud.identities.tenant, region)


def check_linked(call: Call, needs: str) -> None:
    """Sees that the caller may give away the user-assigned identities that a request gives to a resource."""
    if b"userAssignedIdentities" not in call.request.body:
        return
    identity = call.body().get("identity")
    listed = identity.get("userAssignedIdentities") if isinstance(identity, dict) else None
    if isinstance(listed, dict) and listed:
        missing = call.cloud.authorization.missing(call.caller.principal, ASSIGN, list(listed))
        if missing:
            raise role_definitions.linked(call, call.resource, ASSIGN, missing, action=needs)


_ONE = f"{GROUP}/providers/{TYPE}/{{name}}"
ROUTES = [
    Route("GET", f"{SUBSCRIPTION}/providers/{TYPE}", list_all),
    Route("GET", f"{GROUP}/providers/{TYPE}", list_all),
    Route("PUT", _ONE, put),
    Route("PATCH", _ONE, patch, note="tags"),
    Route("GET", _ONE, get),
    Route("DELETE", _ONE, delete),
]
