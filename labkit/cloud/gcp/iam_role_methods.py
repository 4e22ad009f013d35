"""The IAM API: roles, Google's own and a project's custom ones, and which of them go with a resource.

https://cloud.google.com/iam/docs/reference/rest/v1/projects.roles, https://cloud.google.com/iam/docs/roles-overview
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import iam_policy_service, iam_roles, paging, schema
from labkit.cloud.gcp import permissions as iam_permissions
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.iam_policies import PROJECT
from labkit.cloud.gcp.iam_roles import CustomRole, Role

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

admin = schema.Package("google.iam.admin.v1")

#: Custom roles of a project, and permissions of one, at most. https://cloud.google.com/iam/quotas#limits
MOST_ROLES, MOST_PERMISSIONS = 300, 3000
#: How long a deleted role can be brought back, and when its id is free again.
UNDELETE = timedelta(days=7)
_ID = re.compile(r"[A-Za-z0-9_.]{3,64}")
#: Stages that the API has a number for.
_STAGES = ("ALPHA", "BETA", "GA", "DEPRECATED", "DISABLED", "EAP")
_FIELDS = {"title", "description", "included_permissions", "stage"}
#: Permissions that no custom role may have: they are given above projects only.
_ABOVE = re.compile(r"resourcemanager\.(organizations|folders)\.|iam\.denypolicies\.|resourcemanager\.projects\.list$")


def list_roles(call: Call, request: Any) -> Any:
    """Google's roles, or with ``parent`` a project's own; their permissions only with ``view=FULL``."""
    full = admin.RoleView.Name(request.view) == "FULL"
    if request.parent:
        _check_project(request.parent)
        shown = [
            _custom(each, full=full)
            for each in call.cloud.iam.roles.of_project(call.project.id)
            if request.show_deleted or each.deleted is None
        ]
    else:
        shown = [_predefined(each, full=full) for each in iam_roles.predefined().values()]
    page, token = paging.page(shown, request.page_size, request.page_token, usual=300, largest=1000)
    return admin.ListRolesResponse(roles=page, next_page_token=token)


def get_role(call: Call, request: Any) -> Any:
    """One role with its permissions."""
    if request.name.startswith("roles/"):
        role = iam_roles.predefined().get(request.name)
        if role is None:
            raise GcpError("NOT_FOUND", f"The role named {request.name} was not found.")
        return _predefined(role, full=True)
    return _custom(_find(call, request.name), full=True)


def create_role(call: Call, request: Any) -> Any:
    """Makes a custom role of a project."""
    _check_project(request.parent)
    name = f"projects/{call.project.id}/roles/{request.role_id}"
    if not _ID.fullmatch(request.role_id):
        raise invalid(f"The role_id {request.role_id!r} is not valid: it has 3 to 64 of [A-Za-z0-9_.].", "role_id")
    asked, roles = request.role, call.cloud.iam.roles
    role = CustomRole(name)
    _fill(role, asked, _FIELDS)
    with roles.lock:
        held = roles.find(name)
        if held is not None:
            raise GcpError(
                "FAILED_PRECONDITION" if held.deleted else "ALREADY_EXISTS",
                f"You can't create a role with role_id ({request.role_id}) where there is an existing role with that "
                "role_id in a deleted state."
                if held.deleted
                else f"A role named {request.role_id} in projects/{call.project.id} already exists.",
            )
        if sum(1 for _ in roles.of_project(call.project.id)) >= MOST_ROLES:
            raise GcpError("FAILED_PRECONDITION", f"Maximum number of roles reached. Maximum is: {MOST_ROLES}")
        roles.add(role)
    call.cloud.iam.policies.changed()
    return _custom(role, full=True)


def update_role(call: Call, request: Any) -> Any:
    """Changes the fields of a mask, all if there is none."""
    role, asked = _find(call, request.name), request.role
    paths = {re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", each) for each in request.update_mask.paths}
    if wrong := paths - _FIELDS:
        raise invalid(f"The update mask has {sorted(wrong)[0]}, which is no field that can be changed.", "update_mask")
    with call.cloud.iam.roles.lock:
        if asked.etag and asked.etag != _etag(role):
            raise GcpError("ABORTED", "There were concurrent policy changes. Please retry the whole read-modify-write.")
        if role.deleted:
            raise GcpError("FAILED_PRECONDITION", f"You can't update role {role.name} in a deleted state.")
        _fill(role, asked, paths or {each.name for each, _ in asked.ListFields()} & _FIELDS)
        role.version += 1
    call.cloud.iam.policies.changed()
    return _custom(role, full=True)


def delete_role(call: Call, request: Any) -> Any:
    """Deletes a role; bindings to it stay and give nothing. It can be brought back for seven days."""
    role = _find(call, request.name)
    with call.cloud.iam.roles.lock:
        if request.etag and request.etag != _etag(role):
            raise GcpError("ABORTED", "There were concurrent policy changes. Please retry the whole read-modify-write.")
        if role.deleted:
            raise GcpError("FAILED_PRECONDITION", f"The role {role.name} is deleted already.")
        role.deleted = call.engine.clock.now()
        role.version += 1
    call.cloud.iam.policies.changed()
    return _custom(role, full=True)


def undelete_role(call: Call, request: Any) -> Any:
    """Brings a deleted role back."""
    role = _find(call, request.name)
    with call.cloud.iam.roles.lock:
        if role.deleted is None or call.engine.clock.now() - role.deleted > UNDELETE:
            raise GcpError("FAILED_PRECONDITION", f"The role {role.name} is not deleted, or was too long ago.")
        role.deleted = None
        role.version += 1
    call.cloud.iam.policies.changed()
    return _custom(role, full=True)


def query_grantable_roles(call: Call, request: Any) -> Any:
    """The roles of Google's that can be granted on a resource, named in full."""
    name = request.full_resource_name
    if not name.startswith("//"):
        raise invalid(f"Invalid full resource name {name!r}: it begins with //SERVICE.googleapis.com/.")
    full = admin.RoleView.Name(request.view) == "FULL"
    found = [
        _predefined(each, full=full)
        for each in iam_roles.predefined().values()
        if iam_policy_service.grantable(each.name, name)
    ]
    page, token = paging.page(found, request.page_size, request.page_token, usual=300, largest=2000)
    return admin.QueryGrantableRolesResponse(roles=page, next_page_token=token)


def query_testable_permissions(call: Call, request: Any) -> Any:
    """The permissions that can be asked about on a resource, named in full."""
    name = request.full_resource_name
    if not name.startswith("//"):
        raise invalid(f"Invalid full resource name {name!r}: it begins with //SERVICE.googleapis.com/.")
    service = "" if name.startswith(PROJECT) else f"{name[2:].partition('.')[0]}."
    names = sorted(each for each in iam_roles.permissions() if each.startswith(service))
    levels = admin.Permission.CustomRolesSupportLevel
    shown = [
        admin.Permission(
            name=each,
            stage=admin.Permission.PermissionLaunchStage.Value("GA"),
            custom_roles_support_level=levels.Value("NOT_SUPPORTED" if _ABOVE.match(each) else "SUPPORTED"),
        )
        for each in names
    ]
    page, token = paging.page(shown, request.page_size, request.page_token, usual=100, largest=1000)
    return admin.QueryTestablePermissionsResponse(permissions=page, next_page_token=token)


def _check_project(parent: str) -> None:
    if not parent.startswith("projects/"):
        raise refusal(
            f"roles of {parent}", f"The local clouds keep custom roles of projects only, and not of {parent}."
        )


def _find(call: Call, name: str) -> CustomRole:
    _check_project(name)
    role = call.cloud.iam.roles.find(f"projects/{call.project.id}/roles/{call.names.get('roles', '')}")
    if role is None:
        raise GcpError("NOT_FOUND", f"The role named {name} was not found.")
    return role


def _fill(role: CustomRole, asked: Any, fields: set[str]) -> None:
    if "included_permissions" in fields:
        included = frozenset(asked.included_permissions)
        for each in sorted(included):
            if each not in iam_roles.permissions() or _ABOVE.match(each):
                raise invalid(f"Permission {each} is not valid.", "role.included_permissions")
        if len(included) > MOST_PERMISSIONS:
            raise invalid(f"The role has more than {MOST_PERMISSIONS} permissions.", "role.included_permissions")
        role.permissions = included
    if "title" in fields:
        if len(asked.title) > 100:
            raise invalid("The role title exceeds the maximum length of 100.", "role.title")
        role.title = asked.title
    if "description" in fields:
        if len(asked.description) > 300:
            raise invalid("The role description exceeds the maximum length of 300.", "role.description")
        role.description = asked.description
    if "stage" in fields:
        role.stage = admin.Role.RoleLaunchStage.Name(asked.stage)


def _etag(role: CustomRole) -> bytes:
    return b"\x07\x06\x3b" + role.version.to_bytes(4, "big")


def _custom(role: CustomRole, *, full: bool) -> Any:
    return admin.Role(
        name=role.name,
        title=role.title,
        description=role.description,
        stage=admin.Role.RoleLaunchStage.Value(role.stage),
        included_permissions=sorted(role.permissions) if full else (),
        deleted=role.deleted is not None,
        etag=_etag(role),
    )


def _predefined(role: Role, *, full: bool) -> Any:
    stages = admin.Role.RoleLaunchStage
    return admin.Role(
        name=role.name,
        title=role.title,
        description=role.description,
        stage=stages.Value(role.stage if role.stage in _STAGES else "GA"),
        included_permissions=sorted(role.permissions) if full else (),
        etag=b"\0",
    )


def _of_project(permission: str) -> iam_permissions.Needed:
    """Google's own roles are for everyone to read."""
    return lambda resource: permission if resource.startswith("projects/") else ""


METHODS = {
    "ListRoles": list_roles,
    "GetRole": get_role,
    "CreateRole": create_role,
    "UpdateRole": update_role,
    "DeleteRole": delete_role,
    "UndeleteRole": undelete_role,
    "QueryGrantableRoles": query_grantable_roles,
    "QueryTestablePermissions": query_testable_permissions,
}
PERMISSIONS: dict[str, iam_permissions.Needed] = {
    "ListRoles": _of_project("iam.roles.list"),
    "GetRole": _of_project("iam.roles.get"),
    "UndeleteRole": "iam.roles.undelete",
    "QueryGrantableRoles": "",
    "QueryTestablePermissions": "",
}
NOTES = {
    "ListRoles": "Google's roles of the services named in iam_roles.py, with their real permissions in these services",
    "CreateRole": "of projects; organizations have none here",
}
