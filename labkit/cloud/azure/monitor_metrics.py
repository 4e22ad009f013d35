"""Azure Monitor's metrics, read in two ways: through Resource Manager, and through a region's own host, many at once.

https://learn.microsoft.com/rest/api/monitor/metrics/list and
https://learn.microsoft.com/rest/api/monitor/metrics-data-plane/metrics-batch/batch
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from labkit.cloud.azure import durations, monitor_series, tokens
from labkit.cloud.azure.errors import AzureError, Codes, arm_response, refusal
from labkit.cloud.azure.monitor import DEPLOYMENTS, ENDPOINTS, METRICS, Definition
from labkit.cloud.azure.monitor_series import bad
from labkit.cloud.azure.online_hosting import Endpoint
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import WORKSPACE, Route
from labkit.cloud.azure.wire import json_response, time_text
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

ERRORS: Codes = {}
#: Operation of the regions' hosts -> note, for ``docs/fidelity.md``.
SERVED = {"Metrics Batch": "of online endpoints and their deployments, as above"}
READ = "Microsoft.Insights/metrics/read"
AUDIENCE = "https://metrics.monitor.azure.com"
#: Resources that one batch may ask about.
MOST_RESOURCES = 50
#: The batch interface's versions.
VERSIONS = ("2023-05-01-preview", "2023-10-01", "2024-02-01")

_BATCH = re.compile(r"/subscriptions/([^/]+)/metrics:getBatch", re.IGNORECASE)
_accepts = tokens.one_of([AUDIENCE])


# -- through Resource Manager ------------------------------------------------------------------------------------------


def list_metrics(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The values of a resource's metrics."""
    resource = _resource(call)
    kind = _kind(resource)
    _check_namespace(call.query.get("metricnamespace", ""), kind)
    start, end = _timespan(call.query.get("timespan", ""))
    query = monitor_series.read(call.engine, call.query, start, end)
    wanted = monitor_series.definitions(kind, call.query.get("metricnames", ""))
    return {
        "cost": len(wanted) * int((query.end - query.start) / monitor_series.MINUTE),
        "timespan": f"{time_text(query.start)}/{time_text(query.end)}",
        "interval": durations.text(query.interval),
        "value": _values(call, resource, wanted, query),
        "namespace": kind,
        "resourceregion": resource.location,
    }


def list_definitions(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The metrics that a resource has here."""
    resource = _resource(call)
    kind = _kind(resource)
    _check_namespace(call.query.get("metricnamespace", ""), kind)
    return {"value": [_definition(resource.id, kind, each) for each in METRICS[kind]]}


def list_namespaces(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The namespaces of a resource's metrics: its type's."""
    resource = _resource(call)
    kind = _kind(resource)
    return {
        "value": [
            {
                "id": f"{resource.id}/providers/microsoft.insights/metricNamespaces/{kind}",
                "name": kind.rpartition("/")[2],
                "type": "Microsoft.Insights/metricNamespaces",
                "classification": "Platform",
                "properties": {"metricNamespaceName": kind},
            }
        ]
    }


def _resource(call: Call) -> Resource:
    """The resource that a path of Microsoft.Insights is about."""
    path = call.request.path
    return call.cloud.resources.require(path[: path.lower().rindex("/providers/microsoft.insights/")])


def _definition(resource_id: str, kind: str, definition: Definition) -> dict[str, Any]:
    intervals = [{"timeGrain": each, "retention": "P93D"} for each in monitor_series.INTERVALS]
    shown: dict[str, Any] = {
        "id": f"{resource_id}/providers/microsoft.insights/metricdefinitions/{definition.name}",
        "resourceId": resource_id,
        "namespace": kind,
        "category": definition.category,
        "name": {"value": definition.name, "localizedValue": definition.shown},
        "displayDescription": definition.description,
        "isDimensionRequired": False,
        "unit": "MilliSeconds" if definition.unit == "Milliseconds" else definition.unit,
        "primaryAggregationType": "Average",
        "supportedAggregationTypes": [each.capitalize() for each in monitor_series.AGGREGATIONS],
        "metricAvailabilities": intervals,
    }
    if definition.dimensions:
        shown["dimensions"] = [{"value": name, "localizedValue": name} for name in definition.dimensions]
    return shown


#: What has metrics, and which.
_TARGETS = {
    f"{WORKSPACE}/onlineEndpoints/{{endpoint}}": "online endpoints: latency, requests, bytes; no connections",
    f"{WORKSPACE}/onlineEndpoints/{{endpoint}}/deployments/{{deployment}}": (
        "online deployments: capacity; no processors, memory and disks"
    ),
}
ROUTES = [
    route
    for target, note in _TARGETS.items()
    for route in (
        Route("GET", f"{target}/providers/Microsoft.Insights/metrics", list_metrics, note=note),
        Route("GET", f"{target}/providers/Microsoft.Insights/metricDefinitions", list_definitions),
        Route("GET", f"{target}/providers/Microsoft.Insights/metricNamespaces", list_namespaces),
    )
]


# -- through a region's host -------------------------------------------------------------------------------------------


def answer(call: Call) -> Response:
    """Answers one call to a region's host: the metrics of several resources of one kind."""
    call.operation, call.read_only, call.resource = READ, True, f"/subscriptions/{call.subscription}"
    _authenticate(call)
    found = _BATCH.fullmatch(unquote(call.request.raw_path))
    if found is None or call.request.method != "POST":
        raise refusal(f"{call.request.method} {call.request.path} of Azure Monitor's metrics")
    if call.api_version not in VERSIONS:
        raise bad(f"The api-version {call.api_version!r} is not one of {', '.join(VERSIONS)}.")
    if found[1].lower() != call.subscription:
        raise AzureError("SubscriptionNotFound", f"The subscription '{found[1]}' could not be found.", 404)
    resources = _batch_resources(call)
    kind = _kind(resources[0])
    _check_namespace(call.query.get("metricnamespace", ""), kind)
    start, end = _time(call.query.get("starttime", "")), _time(call.query.get("endtime", ""))
    query = monitor_series.read(call.engine, call.query, start, end)
    wanted = monitor_series.definitions(kind, call.query.get("metricnames", ""))
    values = []
    for resource in resources:
        call.engine.access.authorize(call.caller, READ, resource.id)
        values.append(
            {
                "starttime": time_text(query.start),
                "endtime": time_text(query.end),
                "interval": durations.text(query.interval),
                "namespace": kind,
                "resourceregion": resource.location,
                "resourceid": resource.id,
                "value": _values(call, resource, wanted, query),
            }
        )
    return json_response(200, {"values": values})


def failure(call: Call, error: AzureError) -> Response:
    return arm_response(error, call.request_id)


def _authenticate(call: Call) -> None:
    _, _, token = call.request.headers.get("authorization").partition(" ")
    try:
        claims = call.cloud.identities.verify(token.strip(), _accepts)
    except tokens.Rejected as rejected:
        message = f"Azure Monitor takes a token of the tenant's for {AUDIENCE}; the one given failed over: {rejected}."
        raise AzureError("InvalidAuthenticationToken", message, 401) from None
    call._caller = Caller("azure", claims.object_id, claims.tenant, call.target.region, claims.identifier)


def _batch_resources(call: Call) -> list[Resource]:
    try:
        ids = json.loads(call.request.body)["resourceids"]
    except (ValueError, KeyError, TypeError):
        raise bad("The body has to be a JSON object with the list resourceids.") from None
    if not isinstance(ids, list) or not ids or not all(isinstance(each, str) for each in ids):
        raise bad("resourceids has to be a list of resource ids.")
    if len(ids) > MOST_RESOURCES:
        raise bad(f"{len(ids)} resources were asked about; one request takes {MOST_RESOURCES} at most.")
    found = [call.cloud.resources.require(each) for each in ids]
    for resource in found:
        if resource.location != call.target.region:
            raise bad(f"{resource.id} is in {resource.location}: ask {resource.location}.metrics.monitor.azure.com.")
        if _kind(resource) != _kind(found[0]):
            raise bad("All resources of one request have to be of the same type.")
    return found


# -- both --------------------------------------------------------------------------------------------------------------


def _values(
    call: Call, resource: Resource, wanted: Sequence[Definition], query: monitor_series.Query
) -> list[dict[str, Any]]:
    endpoint, levels = _behind(call, resource)
    return [
        monitor_series.answer(call.engine, endpoint.scope, resource.id, definition, query, levels)
        for definition in wanted
    ]


def _behind(call: Call, resource: Resource) -> tuple[Endpoint, Sequence[tuple[datetime, int]]]:
    """The endpoint that a resource is, or is part of, and how many instances a deployment had, and since when."""
    endpoint_id, _, deployment = resource.id.partition("/deployments/")
    endpoint: Endpoint = call.cloud.resources.require(endpoint_id).state
    return endpoint, endpoint.capacity.get(deployment, []) if deployment else []


def _kind(resource: Resource) -> str:
    """The kind of a resource that has metrics here."""
    for kind in (ENDPOINTS, DEPLOYMENTS):
        if resource.type.lower() == kind.lower():
            return kind
    raise refusal(f"metrics of {resource.type}")


def _check_namespace(given: str, kind: str) -> None:
    if given and given.lower() != kind.lower():
        raise bad(f"The metric namespace {given} is not one of the resource's: {kind}.")


def _timespan(text: str) -> tuple[datetime | None, datetime | None]:
    """The ends of ``start/end``, ``start/PT1H`` or ``PT1H``."""
    if not text:
        return None, None
    first, _, second = text.partition("/")
    length = durations.parse(second or first)
    if not second:
        if length is None:
            raise bad(f"The timespan {text!r} is none: write start/end, as 2026-01-01T00:00:00Z/2026-01-01T01:00:00Z.")
        return datetime.now(UTC) - length, None
    start = _time(first)
    assert start is not None
    return start, start + length if length is not None else _time(second)


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        # A plus sign that a client left unquoted has become a space.
        when = datetime.fromisoformat(text.replace(" ", "+").replace("Z", "+00:00"))
    except ValueError:
        raise bad(f"{text!r} is no time in ISO 8601.") from None
    return when
