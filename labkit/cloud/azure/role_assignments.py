"""Role assignments, at subscription, group, resource and container scope; what a caller may do; deny assignments.

https://learn.microsoft.com/rest/api/authorization/role-assignments
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import role_definitions
from labkit.cloud.azure.authorization import TYPE, Assignment
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.role_definitions import subscription
from labkit.cloud.azure.routes import SCOPE, Route
from labkit.cloud.azure.shapes import conditions, section, text
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: Assignments that a subscription may have.
MOST = 4000
_BY_PRINCIPAL = re.compile(r"(?:principalId\s+eq\s+|assignedTo\s*\(\s*)('?)(?P<id>[^'\s()]+)\1\s*\)?", re.IGNORECASE)


def list_assignments(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The assignments on a scope, above and below it; ``$filter`` has ``atScope()`` (not below), ``principalId``."""
    scope, found = names["scope"], []
    at_scope, principal = _filter(call.query.get("$filter", ""))
    for each in call.cloud.authorization.assignments():
        below = replace(each, scope=scope).covers(each.scope)
        if (each.covers(scope) or (below and not at_scope)) and principal in ("", each.principal.lower()):
            found.append(each)
    return page(call, [each.view(subscription(scope)) for each in found], size=1000)


def get_assignment(call: Call, names: dict[str, str]) -> dict[str, Any]:
    found = _find(call, names)
    if found is None:
        raise AzureError("RoleAssignmentNotFound", f"The role assignment '{names['name']}' is not found.", 404)
    return found.view(subscription(names["scope"]))


def put_assignment(call: Call, names: dict[str, str]) -> Response:
    """Gives a principal a role on a scope."""
    body, scope = call.body(), names["scope"]
    asked = section(body, "properties") or body
    _check_guid(names["name"])
    for name in ("condition", "delegatedManagedIdentityResourceId"):
        if asked.get(name):
            raise refusal(f"{name} of a role assignment")
    for name in ("roleDefinitionId", "principalId"):
        if not text(asked, name):
            raise AzureError("BadRequestFormat", f"The request was incorrectly formatted: {name} is missing.", 400)
    role = role_definitions.find(call, text(asked, "roleDefinitionId"))
    role_definitions.check_assignable(role, scope)
    principal = _principal(call, text(asked, "principalId"), text(asked, "principalType"))
    authorization = call.cloud.authorization
    with authorization.lock:
        known = authorization.assignments()
        for each in known:
            if each.name.lower() == names["name"].lower():
                if (each.scope.lower(), each.principal, each.role.guid) != (scope.lower(), principal, role.guid):
                    raise AzureError(
                        "RoleAssignmentUpdateNotPermitted",
                        "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
                        400,
                    )
            elif (each.scope.lower(), each.principal, each.role.guid) == (scope.lower(), principal, role.guid):
                plain = each.name.replace("-", "")
                message = f"The role assignment already exists. The ID of the existing role assignment is {plain}."
                raise AzureError("RoleAssignmentExists", message, 409)
        if len(known) >= MOST:
            raise AzureError("RoleAssignmentLimitExceeded", "The role assignment limit has been exceeded.", 400)
        made = authorization.assign(
            role,
            principal,
            scope,
            name=names["name"],
            by=call.caller.principal,
            description=text(asked, "description") or None,
        )
    return json_response(201, made.view(subscription(scope)))


def delete_assignment(call: Call, names: dict[str, str]) -> Response:
    """Takes a role away: 200 with what it was, or 204. The last one that can give roles away stays."""
    authorization = call.cloud.authorization
    with authorization.lock:
        found = _find(call, names)
        if found is None:
            return Response(204)
        top = f"/subscriptions/{call.subscription}"
        keepers = [each for each in authorization.assignments() if each.scope == top and each.role.manages_access]
        if keepers == [found]:
            raise AzureError(
                "LastRbacAdminAssignmentDeleteNotPermitted", "Cannot delete the last RBAC admin assignment.", 403
            )
        authorization.remove(found)
    return json_response(200, found.view(subscription(names["scope"])))


def list_permissions(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """What the caller's roles grant on a group or a resource."""
    mine = [each for each in call.cloud.authorization.of(call.caller.principal) if each.covers(names["scope"])]
    return {"value": [permission.view() for each in mine for permission in each.role.permissions]}


def list_deny_assignments(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """None: only Azure itself makes deny assignments."""
    return {"value": []}


def _filter(given: str) -> tuple[bool, str]:
    """``$filter``'s meaning: whether what is below the scope is left out, and whose assignments are asked for."""
    at_scope, principal = False, ""
    for part in conditions(given):
        if part.lower().replace(" ", "") == "atscope()":
            at_scope = True
        elif matched := _BY_PRINCIPAL.fullmatch(part):
            principal = matched["id"].strip("{}").lower()
        else:
            message = f"The filter '{part}' is not supported. Supported are atScope(), principalId eq and assignedTo()."
            raise AzureError("InvalidFilter", message, 400)
    return at_scope, principal


def _find(call: Call, names: dict[str, str]) -> Assignment | None:
    """The assignment of this name on this very scope."""
    found = call.cloud.authorization.assignment(names["name"])
    return found if found is not None and found.scope.lower() == names["scope"].lower() else None


def _principal(call: Call, given: str, kind: str) -> str:
    """The object id of the principal, if there is one of this kind in the tenant."""
    found = call.cloud.identities.named(object_id=given)
    if found is None:
        tenant = call.cloud.identities.tenant.replace("-", "")
        raise AzureError(
            "PrincipalNotFound",
            f"Principal {given.replace('-', '')} does not exist in the directory {tenant}. Check that you have the "
            "correct principal ID. If you are creating this principal and then immediately assigning a role, this "
            "error might be related to a replication delay. In this case, set the role assignment principalType "
            "property to a value, such as ServicePrincipal, User, or Group. See https://aka.ms/docs-principaltype",
            400,
        )
    if kind and kind.lower() != "serviceprincipal":
        raise AzureError(
            "UnmatchedPrincipalType",
            f"The PrincipalId '{given.replace('-', '')}' has type 'ServicePrincipal' , which is different from "
            f"specified PrinciaplType '{kind}'.",
            400,
        )
    return found.object_id


def _check_guid(name: str) -> None:
    try:
        uuid.UUID(name)
    except ValueError:
        raise AzureError(
            "InvalidRoleAssignmentId",
            f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.",
            400,
        ) from None


_ASSIGNMENTS = f"{SCOPE}/providers/{TYPE}"
_AUTHORIZATION = "providers/Microsoft.Authorization"
ROUTES = [
    Route("GET", _ASSIGNMENTS, list_assignments, note="filter by atScope(), principalId and assignedTo()"),
    Route("GET", f"{_ASSIGNMENTS}/{{name}}", get_assignment),
    Route("PUT", f"{_ASSIGNMENTS}/{{name}}", put_assignment, note="without conditions"),
    Route("DELETE", f"{_ASSIGNMENTS}/{{name}}", delete_assignment),
    Route("GET", f"{SCOPE}/{_AUTHORIZATION}/permissions", list_permissions),
    Route(
        "GET",
        f"{SCOPE}/{_AUTHORIZATION}/denyAssignments",
        list_deny_assignments,
        note="there are none: Azure makes them",
    ),
]
