"""Cloud Logging's LoggingServiceV2: entries that the clouds' containers and callers wrote.

https://cloud.google.com/logging/docs/reference/v2/rpc/google.logging.v2#loggingservicev2
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from labkit.cloud.engine.errors import NotFound
from labkit.cloud.gcp import audit_logs, iam_resources, log_store, paging, schema
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.log_filters import Filter
from labkit.cloud.gcp.projects import Project
from labkit.cloud.gcp.schema import Package

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

v2 = Package("google.logging.v2")

#: Entries on a page if no number is asked for, and at most.
_USUAL_PAGE, _LARGEST_PAGE = 50, 1000
#: How far ahead an entry's time may be.
_AHEAD = timedelta(hours=24)
_PROJECT = re.compile(r"projects/([^/]+)")
_LOG = re.compile(r"projects/([^/]+)/logs/([A-Za-z0-9_./%-]{1,511})")
_AUDIT = "cloudaudit.googleapis.com/"
_ORDERS = {"": False, "timestamp asc": False, "timestamp": False, "timestamp desc": True}


def list_log_entries(call: Call, request: Any) -> Any:
    """The entries of some projects that a filter holds for, the oldest first if nothing else is asked for."""
    if request.order_by not in _ORDERS:
        raise invalid(f"order_by {request.order_by!r} is not served: it is 'timestamp asc' or 'timestamp desc'.")
    names = list(request.resource_names)
    if not names:
        raise invalid("resource_names has to name a project: projects/PROJECT_ID.", "resource_names")
    asked = Filter(request.filter)
    found: list[tuple[datetime, datetime, dict[str, Any]]] = []
    for project in [_project(call, name) for name in dict.fromkeys(names)]:
        private = _may_read_private(call, project)
        for log in log_store.logs(call.engine, _scope(project)):
            if log == audit_logs.DATA_ACCESS and not private:
                continue
            for received, entry in log_store.entries(call.engine, _scope(project), log):
                entry["logName"] = f"projects/{project.id}/logs/{quote(log, safe='')}"
                entry["receiveTimestamp"] = received.isoformat()
                when = datetime.fromisoformat(entry["timestamp"])
                if asked.holds(entry, call.engine.clock.instant):
                    found.append((when, received, entry))
    found.sort(key=lambda each: each[0], reverse=_ORDERS[request.order_by])
    page, token = paging.page(found, request.page_size, request.page_token, usual=_USUAL_PAGE, largest=_LARGEST_PAGE)
    return v2.ListLogEntriesResponse(entries=[_message(each) for _, _, each in page], next_page_token=token)


def write_log_entries(call: Call, request: Any) -> Any:
    """Writes entries; what they leave out is the request's log, resource, labels, and now."""
    ready = []
    for index, each in enumerate(request.entries):
        entry = v2.LogEntry()
        entry.CopyFrom(each)
        entry.log_name = each.log_name or request.log_name
        if not each.HasField("resource"):
            entry.resource.CopyFrom(request.resource)
        for key, value in request.labels.items():
            if key not in entry.labels:
                entry.labels[key] = value
        ready.append((index, entry))
    for _, entry in ready:
        if unquote(entry.log_name.rpartition("/")[2]).startswith(_AUDIT):
            why = f"Permission denied on {entry.log_name}: only Google Cloud writes audit logs."
            raise GcpError("PERMISSION_DENIED", why)
    written = []
    for index, entry in ready:
        project, log = _log(call, entry.log_name)
        written.append((project, log, *_kept(call, project, index, entry)))
    if not request.dry_run:
        for project, log, kept, at in written:
            log_store.write(call.engine, _scope(project), log, kept, at)
    return v2.WriteLogEntriesResponse()


def list_logs(call: Call, request: Any) -> Any:
    """The names of the logs in which there are entries."""
    names = [name for name in (request.parent, *request.resource_names) if name]
    found: list[str] = []
    for project in [_project(call, name) for name in dict.fromkeys(names)]:
        logs = log_store.logs(call.engine, _scope(project))
        found += [f"projects/{project.id}/logs/{quote(log, safe='')}" for log in logs]
    page, token = paging.page(found, request.page_size, request.page_token)
    return v2.ListLogsResponse(log_names=page, next_page_token=token)


def delete_log(call: Call, request: Any) -> Any:
    """Deletes a log with all its entries."""
    project, log = _log(call, request.log_name)
    if log == audit_logs.ACTIVITY:
        raise GcpError("PERMISSION_DENIED", "Admin Activity audit logs cannot be deleted.")
    try:
        log_store.delete(call.engine, _scope(project), log)
    except NotFound:
        raise GcpError("NOT_FOUND", f"Log {request.log_name} does not exist.") from None
    return Package("google.protobuf").Empty()


def list_monitored_resource_descriptors(call: Call, request: Any) -> Any:
    """The kinds of resources that entries can be about."""
    from labkit.cloud.gcp.metric_descriptors import RESOURCES, resource_message

    shown = [resource_message(each, call.project.id) for each in RESOURCES]
    for each in shown:
        each.ClearField("name")
    page, token = paging.page(shown, request.page_size, request.page_token)
    return v2.ListMonitoredResourceDescriptorsResponse(resource_descriptors=page, next_page_token=token)


METHODS = {
    "ListLogEntries": list_log_entries,
    "WriteLogEntries": write_log_entries,
    "ListLogs": list_logs,
    "DeleteLog": delete_log,
    "ListMonitoredResourceDescriptors": list_monitored_resource_descriptors,
}

PERMISSIONS = {
    "ListLogEntries": "logging.logEntries.list",
    "WriteLogEntries": "logging.logEntries.create",
    "ListLogs": "logging.logs.list",
    "DeleteLog": "logging.logs.delete",
    "ListMonitoredResourceDescriptors": "",
}

#: What a request is about, where it names several projects or logs.
RESOURCES = {
    "ListLogEntries": lambda request: request.resource_names,
    "ListLogs": lambda request: [name for name in (request.parent, *request.resource_names) if name],
    "WriteLogEntries": lambda request: {
        f"projects/{name.split('/')[1]}"
        for name in (request.log_name, *(each.log_name for each in request.entries))
        if name.startswith("projects/")
    },
}

NOTES = {
    "ListLogEntries": "projects; of the functions, filters have log_id() and SEARCH(); others refuse",
    "WriteLogEntries": "text and JSON payloads into projects' logs",
}


def _may_read_private(call: Call, project: Project) -> bool:
    """Whether the caller may read Data Access audit logs. https://cloud.google.com/logging/docs/access-control"""
    permission = "logging.privateLogEntries.list"
    place = iam_resources.project_place(project.id, project.number)
    return call.cloud.iam.allowed(call.caller.principal, permission, place)


def _scope(project: Project) -> str:
    return f"gcp:{project.id}"


def _project(call: Call, name: str) -> Project:
    found = _PROJECT.fullmatch(name)
    if found is None:
        raise refusal(f"logs of {name}", f"The local clouds keep logs of projects only, and {name!r} is none.")
    return call.cloud.projects.find(found[1])


def _log(call: Call, name: str) -> tuple[Project, str]:
    """The project and the id of a log by its name; raises :class:`GcpError`."""
    found = _LOG.fullmatch(name)
    if found is None:
        raise invalid(
            f"The log name {name!r} is not valid: it is projects/PROJECT_ID/logs/LOG_ID, the LOG_ID URL-encoded.",
            "log_name",
        )
    return call.cloud.projects.find(found[1]), unquote(found[2])


def _kept(call: Call, project: Project, index: int, entry: Any) -> tuple[dict[str, Any], datetime]:
    """An entry to keep, as JSON, and its time; raises :class:`GcpError` for one that cannot be written."""
    from google.protobuf.json_format import MessageToDict

    if entry.WhichOneof("payload") == "proto_payload":
        raise refusal("entries with a protoPayload")
    if not entry.resource.type:
        raise invalid(f"entries[{index}] has no resource, which has to have a type such as global.", "entries.resource")
    if entry.resource.type == "global" and "project_id" not in entry.resource.labels:
        entry.resource.labels["project_id"] = project.id
    now = call.engine.clock.now()
    at = call.engine.clock.instant(entry.timestamp.ToDatetime(UTC)) if entry.HasField("timestamp") else now
    if at > now + _AHEAD or at < now - timedelta(days=log_store.RETENTION_DAYS):
        raise invalid(f"entries[{index}] has a time that is more than 24 hours ahead or 30 days ago.", "timestamp")
    kept = MessageToDict(entry, descriptor_pool=schema.pool())
    for field in ("logName", "timestamp", "receiveTimestamp"):
        kept.pop(field, None)
    return kept, at


def _message(entry: dict[str, Any]) -> Any:
    from google.protobuf.json_format import ParseDict

    return ParseDict(entry, v2.LogEntry(), descriptor_pool=schema.pool())
