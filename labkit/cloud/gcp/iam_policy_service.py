"""Policies over gRPC and REST: read, set and asked about, on projects, service accounts and Vertex AI's resources.

https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/setIamPolicy,
https://cloud.google.com/resource-manager/reference/rest/v3/projects/setIamPolicy,
https://cloud.google.com/vertex-ai/docs/general/endpoint-access-control
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import audit_logs, iam_members, iam_roles, schema
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.iam_conditions import Condition
from labkit.cloud.gcp.iam_members import ALL_AUTHENTICATED, ALL_USERS
from labkit.cloud.gcp.iam_policies import BASIC, BUCKET, PROJECT, Binding, Policy, check_size, merged
from labkit.cloud.gcp.identity import LEARNER

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call
    from labkit.cloud.gcp.iam import Iam

v1 = schema.Package("google.iam.v1")

NOTE = (
    "conditions on request.time and resource.name, type and service; others refuse by name, as do principal:// "
    "members. Users, groups and domains are kept, and nobody calls as one"
)
#: Resources on which everyone may be given a role. https://cloud.google.com/iam/docs/principals-overview#all-users
_PUBLIC = (BUCKET, "//aiplatform.googleapis.com/")
_LOG_TYPES = ("ADMIN_READ", "DATA_READ", "DATA_WRITE")
#: Vertex AI's resources that can have a policy and that the kit has.
_OF_VERTEX = ("endpoints", "models")


def get_iam_policy(call: Call, request: Any) -> Any:
    """The policy of the resource that the call names."""
    return message(_held(call), request.options.requested_policy_version)


def set_iam_policy(call: Call, request: Any) -> Any:
    """Puts a policy in the place of the resource's; a mask says whether bindings, audit configurations or both."""
    paths = set(request.update_mask.paths) or {"bindings", "etag"}
    if unknown := paths - {"bindings", "etag", "version", "audit_configs", "auditConfigs"}:
        raise invalid(f"Invalid update mask path: {sorted(unknown)[0]}.", "update_mask")
    iam, name, asked = call.cloud.iam, _name(call), request.policy
    held = _held(call)
    made = Policy(held.bindings, held.audits)
    if "bindings" in paths:
        made = replace(made, bindings=read_bindings(iam, name, [_plain(each) for each in asked.bindings]))
        if name.startswith(PROJECT):
            _check_owners(held, made)
    if paths & {"audit_configs", "auditConfigs"}:
        if not name.startswith(PROJECT):
            raise invalid("Audit configurations are set in the policies of projects.", "policy.audit_configs")
        made = replace(made, audits=_audits(iam, asked.audit_configs))
    made = iam.policies.set(name, made, version=asked.version, etag=asked.etag)
    call.policy_change = audit_logs.policy_change(held, made)
    return message(made, max(asked.version, 1))


def test_iam_permissions(call: Call, request: Any) -> Any:
    """Those of the named permissions that the caller has on the resource."""
    return v1.TestIamPermissionsResponse(permissions=held_of(call.cloud.iam, call, list(request.permissions)))


def held_of(iam: Iam, call: Call, asked: list[str]) -> list[str]:
    """Which of these permissions the caller has; raises for wildcards and for permissions that are not there."""
    for each in asked:
        if "*" in each or each not in iam_roles.permissions():
            raise invalid(f"Permission {each} is not valid for this resource.", "permissions")
    return [
        each
        for each in dict.fromkeys(asked)
        if (place := iam.place(each, call.resource, call.target.api)) is None
        or iam.allowed(call.caller.principal, each, place)
    ]


def message(policy: Policy, version: int) -> Any:
    """The policy as Google shows it to a reader of this policy version."""
    shown = v1.Policy(version=policy.version if version >= 3 else 1, etag=policy.etag)
    for each in policy.bindings:
        binding = shown.bindings.add(role=policy.shown_as(each, version), members=each.members)
        if each.condition is not None and version >= 3:
            binding.condition.expression = each.condition.expression
            binding.condition.title, binding.condition.description = each.title, each.description
    for service, logs in policy.audits.items():
        config = shown.audit_configs.add(service=service)
        for kind, exempted in logs.items():
            number = v1.AuditLogConfig.LogType.Value(kind)
            config.audit_log_configs.add(log_type=number, exempted_members=exempted)
    return shown


def read_bindings(iam: Iam, resource: str, sent: list[dict[str, Any]]) -> tuple[Binding, ...]:
    """The bindings that a caller sent for a resource, as they are kept; raises :class:`GcpError`."""
    found = []
    for each in sent:
        role = str(each.get("role", ""))
        check_role(iam, resource, role)
        if not resource.startswith(_PUBLIC) and (
            public := {ALL_USERS, ALL_AUTHENTICATED} & set(each.get("members") or ())
        ):
            raise invalid(f"Member {min(public)} is invalid due to membership type restrictions on the resource.")
        members = tuple(
            iam_members.check(str(member), iam.accounts.exists, convenience=resource.startswith(BUCKET))
            for member in each.get("members") or ()
        )
        about = each.get("condition") or {}
        condition = None
        if about:
            if role in BASIC:
                raise invalid(f"Conditions cannot be set on the basic role {role}.", "policy.bindings.condition")
            if not about.get("title"):
                raise invalid("A condition has to have a title.", "policy.bindings.condition.title")
            condition = Condition(str(about.get("expression", "")))
        title, description = str(about.get("title", "")), str(about.get("description", ""))
        found.append(Binding(role, members, condition, title, description))
    check_size(found)
    return tuple(merged(found))


def check_role(iam: Iam, resource: str, role: str) -> None:
    """Raises unless the role exists and can be granted on a resource (its full name).

    Bindings to a custom role that was deleted stay until they are taken out, so they may be sent back.
    """
    if not role:
        raise invalid("Role is required for each binding.", "policy.bindings.role")
    project = iam_roles.custom_project(role)
    if project:
        custom = iam.roles.find(role)
        held = iam.policies.get(resource) or Policy()
        gone = custom is None or (custom.deleted and all(each.role != role for each in held.bindings))
        if gone or iam.project_of(resource) != project:
            raise invalid(f"Role ({role}) does not exist in the resource's hierarchy.")
        return
    if not grantable(role, resource):
        raise invalid(f"Role {role} is not supported for this resource.")


def grantable(role: str, resource: str) -> bool:
    """Whether one of Google's roles can be granted on a resource (its full name).

    https://cloud.google.com/iam/docs/roles-overview
    """
    found = iam_roles.predefined().get(role)
    if found is None:
        return False
    if resource.startswith(PROJECT):
        return not role.startswith(
            ("roles/storage.legacy", "roles/resourcemanager.folder", "roles/resourcemanager.organ")
        )
    service = resource[2:].partition(".")[0]
    if resource.startswith(BUCKET):
        return role.startswith("roles/storage.")
    if service == "iam":
        return role in BASIC or any(each.startswith("iam.serviceAccount") for each in found.permissions)
    return role.startswith(f"roles/{service}.")


def _plain(binding: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": binding.role, "members": list(binding.members)}
    if binding.HasField("condition"):
        of = binding.condition
        plain["condition"] = {"expression": of.expression, "title": of.title, "description": of.description}
    return plain


def _name(call: Call) -> str:
    """The full name of the resource whose policy the call is about; raises for one that has none here."""
    iam = call.cloud.iam
    if call.target.api == "aiplatform":
        collection = call.resource.split("/")[-2]
        if collection not in _OF_VERTEX or len(call.names) != 3:
            raise refusal(f"policies of {collection}")
    elif call.target.api == "iam" and iam.accounts.find(call.names.get("serviceAccounts", "")) is None:
        raise GcpError("NOT_FOUND", f"Service account {call.resource} does not exist.")
    place = iam.place(f"{call.target.api}.any", call.resource, call.target.api)
    assert place is not None
    return place.policies[0]


def _held(call: Call) -> Policy:
    name = _name(call)
    if call.target.api == "aiplatform":
        from labkit.cloud.gcp.vertex_state import State

        state = call.store(State)
        if call.names.get("endpoints"):
            state.endpoint(call, call.resource)
        else:
            state.model(call, call.resource)
    return call.cloud.iam.policies.get(name) or Policy()


def _audits(iam: Iam, configs: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for config in configs:
        if not config.service:
            raise invalid("An audit configuration has to name a service, such as allServices.", "audit_configs.service")
        if config.service != "allServices" and not config.service.endswith(".googleapis.com"):
            raise invalid(
                f"Audit logs of {config.service} cannot be configured: it is no service.", "audit_configs.service"
            )
        logs = found.setdefault(config.service, {})
        for each in config.audit_log_configs:
            kind = v1.AuditLogConfig.LogType.Name(each.log_type)
            if kind not in _LOG_TYPES:
                raise invalid(f"The log type has to be one of {', '.join(_LOG_TYPES)}.", "audit_configs.log_type")
            logs[kind] = tuple(iam_members.check(member, iam.accounts.exists) for member in each.exempted_members)
    return found


def _check_owners(held: Policy, made: Policy) -> None:
    """A project keeps an owner who accepted the terms of service; users are invited to be one, not made one."""
    owners = {member for each in made.bindings if each.role == "roles/owner" for member in each.members}
    before = {member for each in held.bindings if each.role == "roles/owner" for member in each.members}
    learner = f"serviceAccount:{LEARNER.email}"
    wrong = ""
    if learner in before and learner not in owners:
        wrong = f"SOLO_REQUIRE_TOS_ACCEPTOR: roles/owner has to stay with {learner}"
    elif invited := [each for each in sorted(owners - before) if each.startswith("user:")]:
        wrong = f"SOLO_MUST_INVITE_OWNERS: {invited[0]} has to be invited to be an owner, in the console"
    elif groups := [each for each in sorted(owners) if not each.startswith(("user:", "serviceAccount:", "deleted:"))]:
        wrong = f"roles/owner can be granted to users and service accounts only, and not to {groups[0]}"
    if wrong:
        raise invalid(f"Request contains an invalid argument. {wrong}.", "policy.bindings")


def _of_collection(verb: str) -> Any:
    """The permission by the collection that the resource is in: ``aiplatform.endpoints.setIamPolicy``."""

    def permission(resource: str) -> str:
        parts = resource.split("/")
        return f"aiplatform.{parts[-2] if len(parts) > 1 else 'endpoints'}.{verb}"

    return permission


METHODS = {
    "GetIamPolicy": get_iam_policy,
    "SetIamPolicy": set_iam_policy,
    "TestIamPermissions": test_iam_permissions,
}
PERMISSIONS = {
    "GetIamPolicy": _of_collection("getIamPolicy"),
    "SetIamPolicy": _of_collection("setIamPolicy"),
    "TestIamPermissions": "",
}
NOTES = dict.fromkeys(METHODS, "endpoints (over REST in v1beta1, as Google has it) and models")
