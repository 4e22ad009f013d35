"""Role definitions: listed, read; custom ones made, changed and deleted.

https://learn.microsoft.com/rest/api/authorization/role-definitions
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import roles, scopes
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.roles import CUSTOM, TYPE, Permission, Role
from labkit.cloud.azure.routes import SCOPE, Route
from labkit.cloud.azure.shapes import conditions, section, text
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

WRITE = f"{TYPE}/write"
#: Custom roles that a tenant may have, and characters of a role's name.
MOST, LONGEST_NAME = 5000, 512
_FILTER = re.compile(r"\s*(?P<field>roleName|type)\s+eq\s+'(?P<value>[^']*)'\s*", re.IGNORECASE)
#: What an action or a pattern of actions looks like.
_ACTION = re.compile(r"\*|[A-Za-z0-9.*]+(?:/[A-Za-z0-9._*-]+)+")


def list_roles(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The roles that can be given on a scope; ``$filter`` by ``roleName``, ``type``, ``atScopeAndBelow()``."""
    below = "atscopeandbelow()" in call.query.get("$filter", "").lower().replace(" ", "")
    found = [each for each in call.cloud.authorization.roles() if _assignable(each, names["scope"], below=below)]
    for part in conditions(call.query.get("$filter", "")):
        if part.lower() in ("atscopeandbelow()", "atscope()"):
            continue
        matched = _FILTER.fullmatch(part)
        if matched is None:
            raise refusal(f"the filter {part!r} of role definitions")
        wanted = matched["value"].lower()
        if matched["field"].lower() == "rolename":
            found = [each for each in found if each.name.lower() == wanted]
        else:
            found = [each for each in found if each.kind.lower().removesuffix("role") == wanted.removesuffix("role")]
    return page(call, [each.view(subscription(names["scope"])) for each in found], size=1000)


def get_role(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return find(call, names["name"]).view(subscription(names["scope"]))


def put_role(call: Call, names: dict[str, str]) -> Response:
    """Makes a custom role, or changes one."""
    guid, asked = names["name"].lower(), section(call.body(), "properties")
    _check_guid(guid)
    authorization = call.cloud.authorization
    with authorization.lock:
        old = authorization.role(guid)
        if old is not None and old.kind != CUSTOM:
            raise AzureError(
                "RoleDefinitionUpdateNotPermitted", "Built-in role definitions are not allowed to be updated.", 403
            )
        role = _read(call, guid, asked, old)
        _check_scopes(call, role, names["scope"])
        authorization.define(role)
    return json_response(201, role.view(subscription(names["scope"])))


def delete_role(call: Call, names: dict[str, str]) -> Response:
    """Deletes a custom role that nobody has: 200 with what it was, or 204."""
    authorization = call.cloud.authorization
    with authorization.lock:
        role = authorization.role(names["name"])
        if role is None:
            return Response(204)
        if role.kind != CUSTOM:
            raise AzureError(
                "RoleDefinitionDeleteNotPermitted", "Built-in role definitions are not allowed to be deleted.", 403
            )
        if any(each.role.guid == role.guid for each in authorization.assignments()):
            raise AzureError(
                "RoleDefinitionHasAssignments", "There are existing role assignments referencing role.", 400
            )
        authorization.undefine(role)
    return json_response(200, role.view(subscription(names["scope"])))


def find(call: Call, given: str) -> Role:
    """The role whose GUID, or whole id, this is; raises ``RoleDefinitionDoesNotExist``."""
    guid = given.rstrip("/").rpartition("/")[2]
    role = call.cloud.authorization.role(guid)
    if role is None:
        plain = guid.replace("-", "")
        raise AzureError(
            "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{plain}' does not exist.", 404
        )
    return role


def subscription(scope: str) -> str:
    """The part of a scope that a role's id begins with."""
    return "/".join(scope.split("/")[:3])


def _read(call: Call, guid: str, asked: dict[str, Any], old: Role | None) -> Role:
    """The role that a request describes, checked."""
    name = text(asked, "roleName")
    if not name or len(name) > LONGEST_NAME:
        raise _invalid("The role definition needs a name (roleName) of at most 512 characters.")
    if text(asked, "type", CUSTOM).lower() not in (CUSTOM.lower(), "custom"):
        raise _invalid(f"The type of a role definition that is made has to be {CUSTOM}.")
    others = [each for each in call.cloud.authorization.roles() if each.guid != guid]
    if any(each.name.lower() == name.lower() for each in others):
        raise AzureError(
            "RoleDefinitionWithSameNameExists",
            "A custom role with the same name already exists in this directory. Use a different name.",
            409,
        )
    if sum(each.kind == CUSTOM for each in others) >= MOST:
        raise AzureError(
            "RoleDefinitionLimitExceeded",
            "Role definition limit exceeded. No more role definitions can be created.",
            400,
        )
    listed = asked.get("permissions")
    if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
        raise _invalid("The role definition needs permissions, a list of objects.")
    now, who = call.engine.clock.now(), call.caller.principal
    return Role(
        guid,
        name,
        text(asked, "description"),
        CUSTOM,
        tuple(_permission(each) for each in listed),
        _scopes(asked),
        created=old.created if old else now,
        updated=now,
        created_by=old.created_by if old else who,
        updated_by=who,
    )


def _permission(given: dict[str, Any]) -> Permission:
    if given.get("condition"):
        raise refusal("conditions of a role definition")
    for part in roles.PARTS:
        patterns = given.get(part) or []
        if not isinstance(patterns, list):
            raise _invalid(f"{part} of a permission has to be a list.")
        for each in patterns:
            if not isinstance(each, str) or not _ACTION.fullmatch(each):
                code = "InvalidActionOrNotAction" if "ata" not in part else "InvalidDataActionOrNotDataAction"
                message = f"'{each}' does not match any of the actions supported by the providers."
                raise AzureError(code, message, 400)
    read = Permission.read(given)
    data = [each for each in (*read.actions, *read.not_actions) if roles.is_data_action(each)]
    plain = [each for each in (*read.data_actions, *read.not_data_actions) if "*" not in each and not _is_data(each)]
    if data:
        message = f"'{data[0]}' does not match any of the actions supported by the providers."
        raise AzureError("InvalidActionOrNotAction", f"{message} It is a data action.", 400)
    if plain:
        message = f"'{plain[0]}' does not match any of the data actions supported by the providers."
        raise AzureError("InvalidDataActionOrNotDataAction", f"{message} It is not a data action.", 400)
    return read


def _is_data(action: str) -> bool:
    """Whether an action is, or may be, one on data: only those of what is served are known."""
    return roles.is_data_action(action) or not action.lower().startswith(
        (
            "microsoft.storage/storageaccounts/blobservices/",
            "microsoft.machinelearningservices/",
            "microsoft.resources/",
        )
    )


def _scopes(asked: dict[str, Any]) -> tuple[str, ...]:
    listed = asked.get("assignableScopes")
    if not isinstance(listed, list) or not listed or not all(isinstance(each, str) for each in listed):
        raise _invalid("The role definition needs assignableScopes, a list of scopes.")
    for each in listed:
        if each == "/" or "*" in each:
            raise _invalid(f"The assignable scope '{each}' is not valid for a custom role.")
    return tuple(each.rstrip("/") for each in listed)


def _check_scopes(call: Call, role: Role, scope: str) -> None:
    """Sees that the scopes exist, are among the call's own, and that the caller may define roles on each."""
    for each in role.scopes:
        scopes.find(call.cloud, each)
    authorization, who = call.cloud.authorization, call.caller.principal
    if missing := authorization.missing(who, WRITE, role.scopes):
        raise linked(call, scope, WRITE, missing, action=WRITE)


def linked(call: Call, scope: str, needs: str, missing: list[str], *, action: str) -> AzureError:
    """What is answered to who may do the one thing, and not the other one that it implies."""
    return AzureError(
        "LinkedAuthorizationFailed",
        f"{call.cloud.authorization.client(call.caller.principal)} has permission to perform action '{action}' on "
        f"scope '{scope}'; however, it does not have permission to perform action(s) '{needs}' on the linked scope(s) "
        f"'{','.join(missing)}' (respectively) or the linked scope(s) are invalid.",
        403,
    )


def _assignable(role: Role, scope: str, *, below: bool = False) -> bool:
    """Whether a role can be given on a scope or, with ``below``, on something below it."""
    mine = [f"{each.lower().rstrip('/')}/" for each in role.scopes]
    asked = f"{scope.lower()}/"
    return any(asked.startswith(each) or (below and each.startswith(asked)) for each in mine)


def check_assignable(role: Role, scope: str) -> None:
    """Raises the error for a custom role on a scope that is not among its own."""
    if not _assignable(role, scope):
        raise AzureError(
            "RoleDefinitionNotAssignable",
            f"The role '{role.name}' cannot be assigned at scope '{scope}': its assignableScopes are "
            f"{', '.join(role.scopes)}.",
            400,
        )


def _check_guid(name: str) -> None:
    try:
        uuid.UUID(name)
    except ValueError:
        raise AzureError(
            "InvalidRoleDefinitionId",
            f"The role definition ID '{name}' is not valid. The role definition ID must be a GUID.",
            400,
        ) from None


def _invalid(message: str) -> AzureError:
    return AzureError("InvalidRoleDefinition", message, 400)


_ROLES = f"{SCOPE}/providers/{TYPE}"
ROUTES = [
    Route("GET", _ROLES, list_roles, note="those that concern what is served, and custom ones"),
    Route("GET", f"{_ROLES}/{{name}}", get_role),
    Route("PUT", f"{_ROLES}/{{name}}", put_role, note="without conditions; names of actions are checked for form"),
    Route("DELETE", f"{_ROLES}/{{name}}", delete_role),
]
