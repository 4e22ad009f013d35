"""The Activity Log: what was written, deleted or done through Resource Manager, by whom, and what was denied.

Reads are not in it, as on Azure, nor is what is done with data; its events are in the lab's time and are kept for 90
days. https://learn.microsoft.com/rest/api/monitor/activity-logs/list and
https://learn.microsoft.com/azure/azure-monitor/platform/activity-log-schema
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.routes import SUBSCRIPTION, Route
from labkit.cloud.azure.shapes import conditions
from labkit.cloud.azure.wire import page, time_text
from labkit.cloud.engine.audit import Event

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

#: How long events are kept.
KEPT = timedelta(days=90)
#: A condition; Azure's own samples write some values, times above all, without quotation marks.
_CONDITION = re.compile(
    r"(?P<field>\w+)\s+(?P<how>eq|ge|le|gt|lt)\s+(?:'(?P<value>[^']*)'|(?P<bare>[^'\s()]+(?:\s[\d:.+Zz-]+)?))",
    re.IGNORECASE,
)
_BY_TIME: dict[str, Callable[[datetime, datetime], bool]] = {
    "ge": lambda at, bound: at >= bound,
    "gt": lambda at, bound: at > bound,
    "le": lambda at, bound: at <= bound,
    "lt": lambda at, bound: at < bound,
}
_NAMESPACE = uuid.UUID("3b0d6ad4-8f1c-4a38-9b55-6f6d5cf0f3a7")


def list_events(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A page of events, the newest first; ``$filter`` chooses among them, ``$select`` among their members."""
    keep = _filter(call.query.get("$filter", ""))
    found = [event for event in events(call.cloud) if keep(event)]
    if chosen := [each.strip() for each in call.query.get("$select", "").split(",") if each.strip()]:
        if unknown := [each for each in chosen if found and each not in found[0]]:
            raise _bad(f"The property '{unknown[0]}' of $select is no property of an event.")
        found = [{name: event[name] for name in chosen} for event in found]
    return page(call, found, size=200)


def list_categories(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The categories of events."""
    values = ("Administrative", "Security", "ServiceHealth", "Alert", "Recommendation", "Policy")
    return {"value": [{"value": value, "localizedValue": value} for value in values]}


def events(cloud: AzureCloud) -> Iterator[dict[str, Any]]:
    """The events that are kept, the newest first."""
    oldest = cloud.engine.clock.now() - KEPT
    for each in cloud.engine.audit.events():
        if each.at < oldest:
            return
        if each.cloud == cloud.name and each.service == "arm" and _is_logged(each):
            yield _shown(cloud, each, ended=True)
            if each.status != HTTPStatus.FORBIDDEN:
                yield _shown(cloud, each, ended=False)


def _is_logged(event: Event) -> bool:
    """Whether a call is one that the log has: of a known caller, and no read."""
    verb = event.operation.rpartition("/")[2].lower()
    known = " " not in event.operation and event.caller is not None
    return known and verb in ("write", "delete", "action") and event.status != HTTPStatus.NOT_IMPLEMENTED


def _shown(cloud: AzureCloud, event: Event, *, ended: bool) -> dict[str, Any]:
    """One event: that a request began, or how it ended."""
    caller = event.caller
    assert caller is not None
    parameters = event.parameters or {}
    method, correlation = str(parameters.get("method", "")), str(parameters.get("correlation", event.request_id))
    failed = event.status >= HTTPStatus.BAD_REQUEST
    status = "Started"
    if ended:
        status = "Failed" if failed else "Accepted" if event.status == HTTPStatus.ACCEPTED else "Succeeded"
    properties: dict[str, str] = {
        "eventCategory": "Administrative",
        "entity": event.resource,
        "hierarchy": caller.scope,
    }
    if ended:
        properties["statusCode"] = _phrase(event.status)
        if failed:
            properties["statusMessage"] = json.dumps({"error": {"code": event.error, "message": event.message}})
    name = str(uuid.uuid5(_NAMESPACE, f"{event.id} {ended}"))
    ticks = int((event.at - datetime(1, 1, 1, tzinfo=UTC)).total_seconds() * 10_000_000)
    identity = cloud.identities.find(caller.principal)
    return {
        "authorization": {"action": event.operation, "scope": event.resource},
        "caller": caller.principal,
        "channels": "Operation",
        "claims": {
            "aud": "https://management.azure.com/",
            "iss": cloud.identities.tokens.issuer,
            "appid": identity.client_id if identity else "",
            "appidacr": "2",
            "http://schemas.microsoft.com/identity/claims/objectidentifier": caller.principal,
            "http://schemas.microsoft.com/identity/claims/tenantid": caller.scope,
            "uti": caller.credential,
            "ver": "1.0",
        },
        "correlationId": correlation,
        "description": "",
        "eventDataId": name,
        "eventName": _text("EndRequest" if ended else "BeginRequest", "End request" if ended else "Begin request"),
        "category": _text("Administrative"),
        "eventTimestamp": time_text(event.at),
        "httpRequest": {
            "clientRequestId": event.request_id,
            "clientIpAddress": "127.0.0.1",
            "method": method,
        },
        "id": f"{event.resource}/events/{name}/ticks/{ticks}",
        "level": "Error" if ended and failed else "Informational",
        "operationId": correlation,
        "operationName": _text(event.operation),
        "properties": properties,
        "resourceGroupName": _group(event.resource),
        "resourceId": event.resource,
        "resourceProviderName": _text(event.operation.partition("/")[0]),
        "resourceType": _text(event.operation.rpartition("/")[0].removesuffix("/action")),
        "status": _text(status),
        "subStatus": _text(_phrase(event.status), f"{_words(event.status)} (HTTP Status Code: {event.status})")
        if ended
        else _text(""),
        "submissionTimestamp": time_text(event.at),
        "subscriptionId": cloud.identities.subscription,
        "tenantId": cloud.identities.tenant,
    }


def _filter(given: str) -> Callable[[dict[str, Any]], bool]:
    """What ``$filter`` asks for. It has to say since when, at most 90 days ago."""
    tests: list[Callable[[dict[str, Any]], bool]] = []
    since = False
    for part in conditions(given):
        matched = _CONDITION.fullmatch(part)
        field, how = (matched["field"].lower(), matched["how"].lower()) if matched else ("", "")
        value = (matched["value"] or matched["bare"] or "") if matched else ""
        if field == "eventtimestamp" and how in _BY_TIME:
            since = since or how in ("ge", "gt")
            tests.append(partial(_is_then, _BY_TIME[how], _moment(value)))
        elif field in _FIELDS and how == "eq":
            tests.append(partial(_is_one_of, _FIELDS[field], {value.lower()}))
        elif field == "levels" and how == "eq":
            levels = {each.strip().lower() for each in value.split(",")}
            tests.append(partial(_is_one_of, lambda event: str(event["level"]), levels))
        elif field != "eventchannels":
            raise _bad(f"The filter '{part}' is not supported by the Activity Log.")
    if not since:
        raise _bad("The $filter has to say since when: eventTimestamp ge '2026-01-31T00:00:00Z'.")
    return lambda event: all(test(event) for test in tests)


def _is_then(how: Callable[[datetime, datetime], bool], bound: datetime, event: dict[str, Any]) -> bool:
    return how(_moment(event["eventTimestamp"]), bound)


def _is_one_of(member: Callable[[dict[str, Any]], str], wanted: set[str], event: dict[str, Any]) -> bool:
    return member(event).lower() in wanted


#: What a filter may compare, beside the time.
_FIELDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "resourcegroupname": lambda event: str(event["resourceGroupName"]),
    "resourceuri": lambda event: str(event["resourceId"]),
    "resourceid": lambda event: str(event["resourceId"]),
    "resourceprovider": lambda event: str(event["resourceProviderName"]["value"]),
    "resourcetype": lambda event: str(event["resourceType"]["value"]),
    "correlationid": lambda event: str(event["correlationId"]),
    "caller": lambda event: str(event["caller"]),
    "status": lambda event: str(event["status"]["value"]),
    "operations": lambda event: str(event["operationName"]["value"]),
}


def _moment(text: str) -> datetime:
    try:
        # Azure's seventh digit after the second is more than Python reads.
        read = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        raise _bad(f"'{text}' is no time: write 2026-01-31T00:00:00Z.") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _text(value: str, shown: str = "") -> dict[str, str]:
    return {"value": value, "localizedValue": shown or value}


def _group(resource: str) -> str:
    parts = resource.split("/")
    return parts[4] if len(parts) > 4 and parts[3].lower() == "resourcegroups" else ""


def _words(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)


def _phrase(status: int) -> str:
    return _words(status).replace(" ", "")


def _bad(message: str) -> AzureError:
    return AzureError("BadRequest", message, 400)


ROUTES = [
    Route(
        "GET",
        f"{SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values",
        list_events,
        note="no reads; an event for a request's begin and one for its end; a long operation's own end is not in it",
    ),
    Route("GET", "/providers/Microsoft.Insights/eventcategories", list_categories),
]
