"""Cloud Audit Logs: each call that the policies want logged becomes an entry in Cloud Logging.

Admin Activity (what changes something) is always logged; Data Access (what reads a setting, or reads or writes data)
only where the project's policy has an ``auditConfigs`` for the service and the kind of access.
https://cloud.google.com/logging/docs/audit, https://cloud.google.com/logging/docs/audit/configure-data-access,
https://cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import log_store
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.iam_policies import PROJECT, Policy

if TYPE_CHECKING:
    from labkit.cloud.engine.access import Caller
    from labkit.cloud.gcp.front import Call, GcpCloud
    from labkit.cloud.gcp.hosts import Target
    from labkit.cloud.gcp.storage import StorageCall
    from labkit.cloud.http import Request

#: The logs' ids.
ACTIVITY, DATA_ACCESS = "cloudaudit.googleapis.com/activity", "cloudaudit.googleapis.com/data_access"
#: Days for which the bucket ``_Required`` keeps Admin Activity.
RETENTION_DAYS = 400
#: Characters of a request that an entry has at most.
_LONGEST = 4096

_TYPE = "type.googleapis.com/google.cloud.audit.AuditLog"
_POLICY_CHANGE = "type.googleapis.com/google.iam.v1.logging.AuditData"
#: Fields of messages that no log shows.
_SECRET = ("privateKeyData",)
#: Permissions whose use is access to data, by kind; what else reads is ADMIN_READ, and what changes is not in a policy.
_DATA_READ = re.compile(
    r"storage\.objects\.(get|list)$|aiplatform\.endpoints\.predict$|logging\.logEntries\.list$|logging\.logs\.list$"
    r"|monitoring\.timeSeries\.list$|iam\.serviceAccounts\.(getAccessToken|getOpenIdToken|signBlob|signJwt)$"
    r"|iam\.serviceAccounts\.implicitDelegation$"
)
_DATA_WRITE = re.compile(
    r"storage\.objects\.|monitoring\.timeSeries\.create$|aiplatform\.(tensorboard\w+|artifacts|contexts|executions)"
    r"\.(write|create|update|delete|add\w+|batchCreate)$"
)
_READ = re.compile(r"\.(get|list|search|query\w*|getIamPolicy|batchRead|read)$")
#: Services whose methods entries name without their service.
_SHORT = {
    "google.cloud.resourcemanager.v3.Projects": "",
    "google.iam.admin.v1.IAM": "google.iam.admin.v1.",
    "google.iam.credentials.v1.IAMCredentials": "",
}
#: Permissions of Cloud Storage whose method is named otherwise.
_OF_STORAGE = {
    "storage.buckets.getIamPolicy": "storage.getIamPermissions",
    "storage.buckets.setIamPolicy": "storage.setIamPermissions",
}
#: Calls that are not audited at all.
_NEVER = ("logging.logEntries.create",)


@dataclass(frozen=True, slots=True)
class Audited:
    """What an entry says of one call. ``authorized`` is (permission, resource, granted) for each that was asked."""

    project: str
    service: str
    method: str
    permission: str
    resource: str
    caller: Caller | None
    request: Request
    authorized: Sequence[tuple[str, str, bool]]
    target: Target
    described: Callable[[], Mapping[str, Any]]
    responded: Callable[[], Mapping[str, Any]]
    service_data: Mapping[str, Any]
    monitored: Callable[[], Mapping[str, Any]]
    failure: GcpError | None


def kind(permission: str) -> str:
    """``ADMIN_WRITE``, ``ADMIN_READ``, ``DATA_READ`` or ``DATA_WRITE``: what the use of a permission is."""
    if _DATA_READ.search(permission):
        return "DATA_READ"
    if _DATA_WRITE.match(permission):
        return "DATA_WRITE"
    return "ADMIN_READ" if _READ.search(permission) else "ADMIN_WRITE"


def write(cloud: GcpCloud, audited: Audited) -> None:
    """Writes the call's entry, if one is to be written."""
    if audited.caller is None or not audited.permission or audited.permission in _NEVER:
        return
    accessed = kind(audited.permission)
    member = f"serviceAccount:{audited.caller.principal}"
    if accessed != "ADMIN_WRITE" and not _wanted(cloud, audited.project, audited.service, accessed, member):
        return
    failure = audited.failure
    payload: dict[str, Any] = {
        "@type": _TYPE,
        "serviceName": audited.service,
        "methodName": audited.method,
        "resourceName": audited.resource,
        "authenticationInfo": _authentication(cloud, audited),
        "authorizationInfo": [
            {"resource": resource, "permission": permission, **({"granted": True} if granted else {})}
            for permission, resource, granted in audited.authorized
        ],
        "requestMetadata": {
            "callerIp": "127.0.0.1",
            "callerSuppliedUserAgent": audited.request.headers.get("user-agent") or "",
        },
        "status": {"code": failure.number, "message": failure.message} if failure else {},
    }
    if accessed == "ADMIN_WRITE":
        shown = {"request": audited.described(), "response": audited.responded(), "serviceData": audited.service_data}
        payload |= {name: content for name, content in shown.items() if content}
    entry = {
        "protoPayload": payload,
        "resource": audited.monitored(),
        "severity": "ERROR" if failure else "NOTICE" if accessed == "ADMIN_WRITE" else "INFO",
    }
    log, days = (ACTIVITY, RETENTION_DAYS) if accessed == "ADMIN_WRITE" else (DATA_ACCESS, log_store.RETENTION_DAYS)
    log_store.write(cloud.engine, f"gcp:{audited.project}", log, entry, days=days)


def _authentication(cloud: GcpCloud, audited: Audited) -> dict[str, Any]:
    """Who called, with the key that the token was given for, and those who had it made for the account.

    https://cloud.google.com/iam/docs/audit-logging/examples-service-accounts
    """
    assert audited.caller is not None
    if not (email := audited.caller.principal):
        return {}
    who: dict[str, Any] = {"principalEmail": email, "principalSubject": f"serviceAccount:{email}"}
    claims = cloud.identities.claims(audited.request, audited.target)
    if claims and claims.email == email:
        if claims.key:
            who["serviceAccountKeyName"] = claims.key
        if claims.delegation:
            who["serviceAccountDelegationInfo"] = [
                {"principalSubject": f"serviceAccount:{each}", "firstPartyPrincipal": {"principalEmail": each}}
                for each in claims.delegation
            ]
    return who


def policy_change(before: Policy, after: Policy) -> dict[str, Any]:
    """An entry's ``serviceData`` for a policy that was set: who was given which role, and who lost it."""
    held, made = (
        {(each.role, member, each.condition_fields) for each in policy.bindings for member in each.members}
        for policy in (before, after)
    )
    deltas = [
        {"action": action, "role": role, "member": member, **({"condition": dict(condition)} if condition else {})}
        for action, changed in (("REMOVE", held - made), ("ADD", made - held))
        for role, member, condition in sorted(changed)
    ]
    return {"@type": _POLICY_CHANGE, "policyDelta": {"bindingDeltas": deltas} if deltas else {}}


def _wanted(cloud: GcpCloud, project: str, service: str, accessed: str, member: str) -> bool:
    """Whether the project's policy has this kind of access to a service logged, for this caller."""
    policy = cloud.iam.policies.get(f"{PROJECT}{project}")
    if policy is None or not policy.audits:
        return False
    configs = [policy.audits.get(each, {}) for each in ("allServices", service)]
    logs = [config[accessed] for config in configs if accessed in config]
    return bool(logs) and not any(member in exempted for exempted in logs)


def of_call(call: Call, failure: GcpError | None) -> Audited:
    """What there is to log of a call over gRPC or REST."""
    method, permission = call.method, call.permission
    if not permission and call.authorized:
        permission = call.authorized[-1][0]
    short = method.service in _SHORT
    return Audited(
        project=call.project.id,
        service=f"{call.target.api}.googleapis.com",
        method=f"{_SHORT[method.service]}{method.name}" if short else method.dotted,
        permission=permission,
        resource=call.resource,
        caller=call._caller,
        request=call.request,
        authorized=call.authorized,
        target=call.target,
        described=lambda: described(call.message),
        responded=lambda: described(call.response),
        service_data=call.policy_change,
        monitored=lambda: monitored(call),
        failure=failure,
    )


def of_storage(call: StorageCall, failure: GcpError | None) -> Audited:
    """What there is to log of a call of Cloud Storage."""
    permission = call.authorized[-1][0] if call.authorized and not call.authorized[-1][2] else call.permission
    bucket = call.buckets.find(call.bucket) if call.bucket else None
    project = bucket.project if bucket else call.query.get("project") or call.cloud.projects.own.id
    resource, authorized, named = call.resource, call.authorized, call.bucket
    if call.permission == "storage.buckets.create" and (named := _created(call)):
        resource = f"projects/_/buckets/{named}"
        authorized = [(asked, resource, granted) for asked, _, granted in authorized]
    names = {"project_id": project, "bucket_name": named} | ({"location": bucket.location.lower()} if bucket else {})
    return Audited(
        project=project,
        service="storage.googleapis.com",
        method=_OF_STORAGE.get(call.permission, call.permission),
        permission=permission,
        resource=resource,
        caller=call.caller,
        request=call.request,
        authorized=authorized,
        target=call.target,
        described=dict,
        responded=dict,
        service_data=call.policy_change,
        monitored=lambda: {"type": "gcs_bucket", "labels": names},
        failure=failure,
    )


def _created(call: StorageCall) -> str:
    """The name of the bucket that a call is to make."""
    try:
        return str(call.body().get("name", ""))
    except GcpError:
        return ""


def described(message: Any) -> dict[str, Any]:
    """A request's message as an entry has it, without what is long or secret."""
    from google.protobuf.json_format import MessageToDict

    from labkit.cloud.gcp import schema

    if message is None or message.ByteSize() > _LONGEST:
        return {}
    fields = MessageToDict(message, descriptor_pool=schema.pool())
    for secret in _SECRET:
        fields.pop(secret, None)
    return {"@type": f"type.googleapis.com/{message.DESCRIPTOR.full_name}", **fields}


def monitored(call: Call) -> dict[str, Any]:
    """The monitored resource that an entry is about. https://cloud.google.com/monitoring/api/resources"""
    api, names = call.target.api, call.names
    service = f"{api}.googleapis.com"
    labels = {"project_id": call.project.id}
    if api == "aiplatform" and "endpoints" in names:
        more = {"location": names.get("locations", ""), "endpoint_id": names["endpoints"]}
        return {"type": "aiplatform.googleapis.com/Endpoint", "labels": labels | more}
    named = names.get("serviceAccounts") or getattr(call.response, "email", "")
    if api in ("iam", "iamcredentials") and named:
        account = call.cloud.iam.account(named)
        more = {"email_id": account.email, "unique_id": account.unique_id} if account else {"email_id": named}
        return {"type": "service_account", "labels": labels | more}
    if api == "iam" and (role := names.get("roles") or getattr(call.message, "role_id", "")):
        role_name = f"projects/{call.project.id}/roles/{role}"
        return {"type": "iam_role", "labels": labels | {"role_name": role_name}}
    if api == "cloudresourcemanager":
        return {"type": "project", "labels": labels}
    return {"type": "audited_resource", "labels": labels | {"service": service, "method": call.method.dotted}}
