"""Cloud Monitoring's MetricService: time series of what the clouds measured and of what callers wrote.

https://cloud.google.com/monitoring/api/ref_v3/rpc/google.monitoring.v3#metricservice
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import metric_filters, metric_store, paging
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.metric_alignment import Aggregation, Form, Point
from labkit.cloud.gcp.metric_descriptors import (
    OWN,
    RESOURCES,
    WRITABLE,
    Custom,
    Descriptor,
    message,
    resource_message,
)
from labkit.cloud.gcp.metric_messages import time_series, v3
from labkit.cloud.gcp.metric_store import Series
from labkit.cloud.gcp.schema import Package

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: Time series that one request writes at most.
MOST_WRITTEN = 200
#: How far from now a point may be written.
_OLDEST, _NEWEST = timedelta(hours=25), timedelta(minutes=5)
#: Points or descriptors on a page at most.
_LARGEST_PAGE = 100_000
_CUSTOM = re.compile(r"(custom\.googleapis\.com|external\.googleapis\.com/user)/[A-Za-z0-9_./-]{1,175}")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


def list_time_series(call: Call, request: Any) -> Any:
    """The time series of one metric that a filter holds for, in a window of lab time, aggregated or not."""
    if request.order_by:
        raise refusal("order_by of time series")
    if request.HasField("secondary_aggregation"):
        raise refusal("secondary_aggregation of time series")
    wanted = metric_filters.of_series(request.filter)
    descriptor = OWN.get(wanted.metric_type) or call.store(Custom).find(wanted.metric_type)
    if descriptor is None:
        raise GcpError(
            "NOT_FOUND",
            f'Cannot find metric(s) that match type = "{wanted.metric_type}". If a metric was created recently, it '
            "could take up to 10 minutes to become available. Please try again soon.",
        )
    start, end = _window(call, request.interval)
    aggregation, fields = _aggregation(request.aggregation)
    form = Form(descriptor.kind, descriptor.value)
    aligned, reduced = aggregation.check(form)
    found = [each for each in metric_store.series(call.engine, call.scope, descriptor.type) if wanted.holds(each)]
    points = [(each, _points(call, each, aggregation, form, start, end)) for each in found]
    points = [(series, held) for series, held in points if held]
    if aggregation.reducer == "REDUCE_NONE":
        shown = [
            _shown(series, series.metric_labels, series.resource_labels, aligned, held, descriptor)
            for series, held in points
        ]
    else:
        shown = _reduce(points, aggregation, fields, aligned, reduced, descriptor)
    if request.view == v3.ListTimeSeriesRequest.HEADERS:
        for each in shown:
            each.ClearField("points")
    page, token = paging.page(shown, request.page_size, request.page_token, usual=_LARGEST_PAGE, largest=_LARGEST_PAGE)
    return v3.ListTimeSeriesResponse(time_series=page, next_page_token=token)


def create_time_series(call: Call, request: Any) -> Any:
    """Writes one point to each of some time series of custom metrics, which are defined by it when they are new."""
    if not 1 <= len(request.time_series) <= MOST_WRITTEN:
        raise invalid(f"A request writes 1 to {MOST_WRITTEN} time series.", "time_series")
    ready = [_writable(call, index, each) for index, each in enumerate(request.time_series)]
    custom = call.store(Custom)
    for each, (descriptor, value, at) in zip(request.time_series, ready, strict=True):
        custom.put(descriptor)
        resource = dict(each.resource.labels)
        resource.setdefault("project_id", call.project.id)
        metric_store.put(
            call.engine, call.scope, descriptor.type, dict(each.metric.labels), each.resource.type, resource, value, at
        )
    return Package("google.protobuf").Empty()


def list_metric_descriptors(call: Call, request: Any) -> Any:
    """The metrics that there are, or those that a filter by ``metric.type`` holds for."""
    holds = metric_filters.of_types(request.filter, "metric.type")
    known = [*OWN.values(), *call.store(Custom).all()]
    shown = [message(each, call.project.id) for each in known if holds(each.type)]
    page, token = paging.page(shown, request.page_size, request.page_token, usual=10_000, largest=10_000)
    return v3.ListMetricDescriptorsResponse(metric_descriptors=page, next_page_token=token)


def get_metric_descriptor(call: Call, request: Any) -> Any:
    """One metric."""
    return message(_descriptor(call, request.name), call.project.id)


def create_metric_descriptor(call: Call, request: Any) -> Any:
    """Defines a custom metric, or defines it anew."""
    asked = request.metric_descriptor
    api = Package("google.api").MetricDescriptor
    kind, value = api.MetricKind.Name(asked.metric_kind), api.ValueType.Name(asked.value_type)
    _check_type(asked.type)
    if kind != "GAUGE" or value not in ("INT64", "DOUBLE"):
        raise refusal(f"custom metrics of kind {kind} and value type {value}")
    made = Descriptor(
        asked.type,
        kind,
        value,
        asked.unit,
        asked.display_name,
        asked.description,
        {label.key: label.description for label in asked.labels},
    )
    call.store(Custom).put(made)
    return message(made, call.project.id)


def delete_metric_descriptor(call: Call, request: Any) -> Any:
    """Forgets a custom metric; its time series cannot be listed until it is defined again."""
    descriptor = _descriptor(call, request.name)
    if descriptor.type in OWN:
        raise invalid(f"{descriptor.type} is Google Cloud's own: only custom metrics can be deleted.", "name")
    call.store(Custom).remove(descriptor.type)
    return Package("google.protobuf").Empty()


def list_monitored_resource_descriptors(call: Call, request: Any) -> Any:
    """The kinds of resources that time series can be about."""
    holds = metric_filters.of_types(request.filter, "resource.type")
    shown = [resource_message(each, call.project.id) for each in RESOURCES if holds(each)]
    page, token = paging.page(shown, request.page_size, request.page_token)
    return v3.ListMonitoredResourceDescriptorsResponse(resource_descriptors=page, next_page_token=token)


def get_monitored_resource_descriptor(call: Call, request: Any) -> Any:
    """One kind of resource."""
    kind = request.name.partition("/monitoredResourceDescriptors/")[2]
    if kind not in RESOURCES:
        raise GcpError("NOT_FOUND", f"Could not find descriptor for monitored resource '{kind}'.")
    return resource_message(kind, call.project.id)


METHODS = {
    "ListTimeSeries": list_time_series,
    "CreateTimeSeries": create_time_series,
    "ListMetricDescriptors": list_metric_descriptors,
    "GetMetricDescriptor": get_metric_descriptor,
    "CreateMetricDescriptor": create_metric_descriptor,
    "DeleteMetricDescriptor": delete_metric_descriptor,
    "ListMonitoredResourceDescriptors": list_monitored_resource_descriptors,
    "GetMonitoredResourceDescriptor": get_monitored_resource_descriptor,
}

PERMISSIONS = {"ListTimeSeries": "monitoring.timeSeries.list", "CreateTimeSeries": "monitoring.timeSeries.create"}

NOTES = {
    "ListTimeSeries": "one metric by type, labels and resource; aligners and reducers that are not exact refuse, as do "
    "order_by and secondary aggregations",
    "CreateTimeSeries": "custom gauges with whole or floating-point values",
    "CreateMetricDescriptor": "custom gauges with whole or floating-point values",
}


def _window(call: Call, interval: Any) -> tuple[datetime, datetime]:
    if not interval.HasField("end_time"):
        raise invalid("Field interval.endTime is required.", "interval.end_time")
    end = interval.end_time.ToDatetime(UTC)
    start = interval.start_time.ToDatetime(UTC) if interval.HasField("start_time") else end
    if start > end:
        raise invalid(
            f"Field interval.startTime had an invalid value of {start.isoformat()}: it is later than interval.endTime.",
            "interval.start_time",
        )
    return call.engine.clock.window(start, end)


def _aggregation(asked: Any) -> tuple[Aggregation, list[tuple[str, str]]]:
    """The aggregation, and the labels to group by: whose they are and their keys."""
    fields = []
    for field in asked.group_by_fields:
        found = re.fullmatch(r"(metric|resource)\.labels?\.(\w+)", field)
        if not found:
            raise invalid(
                f"The field {field!r} to group by is not served: name metric.labels.KEY or resource.labels.KEY.",
                "aggregation.group_by_fields",
            )
        fields.append((found[1], found[2]))
    kinds = v3.Aggregation
    aligner, reducer = kinds.Aligner.Name(asked.per_series_aligner), kinds.Reducer.Name(asked.cross_series_reducer)
    return Aggregation(aligner, int(asked.alignment_period.ToTimedelta().total_seconds()), reducer), fields


def _points(
    call: Call, series: Series, aggregation: Aggregation, form: Form, start: datetime, end: datetime
) -> list[Point]:
    width, first = aggregation.period, aggregation.start(start, end)
    # A gauge's window and periods hold their end, not their beginning; its buckets are of a second.
    shift = timedelta(seconds=1) if form.kind == "GAUGE" else timedelta(0)
    if aggregation.aligner == "ALIGN_NONE":
        width = 60 if form.kind == "DELTA" else 1
        first = datetime.fromtimestamp(start.timestamp() // width * width, UTC)
    held = call.engine.metrics.buckets(call.scope, [series.held], first + shift, end + shift, width)
    return aggregation.align([(at - shift, bucket) for at, _, bucket in held], form, width)


def _shown(
    series: Series, metric_labels: Any, resource_labels: Any, form: Form, points: Sequence[Point], of: Descriptor
) -> Any:
    unit = f"{of.unit}/s" if form.value == "DOUBLE" and of.kind == "DELTA" and of.value == "INT64" else of.unit
    return time_series(of.type, metric_labels, series.resource_type, resource_labels, form, unit, points)


def _reduce(
    points: Sequence[tuple[Series, list[Point]]],
    aggregation: Aggregation,
    fields: Sequence[tuple[str, str]],
    aligned: Form,
    reduced: Form,
    descriptor: Descriptor,
) -> list[Any]:
    """One time series for each combination of the labels to group by; no other label is left."""
    groups: dict[tuple[str, ...], list[tuple[Series, list[Point]]]] = {}
    for series, held in points:
        labels = {"metric": series.metric_labels, "resource": series.resource_labels}
        groups.setdefault(tuple(labels[whose].get(key, "") for whose, key in fields), []).append((series, held))
    shown = []
    for values, members in sorted(groups.items()):
        own = {
            whose: {key: value for (its, key), value in zip(fields, values, strict=True) if its == whose and value}
            for whose in ("metric", "resource")
        }
        together = aggregation.reduce([held for _, held in members], aligned)
        shown.append(_shown(members[0][0], own["metric"], own["resource"], reduced, together, descriptor))
    return shown


def _descriptor(call: Call, name: str) -> Descriptor:
    kind = name.partition("/metricDescriptors/")[2]
    found = OWN.get(kind) or call.store(Custom).find(kind)
    if found is None:
        raise GcpError("NOT_FOUND", f"Could not find descriptor for metric '{kind}'.")
    return found


def _check_type(metric_type: str) -> None:
    if not _CUSTOM.fullmatch(metric_type):
        raise invalid(
            f"The metric type {metric_type!r} cannot be written: custom metrics begin with custom.googleapis.com/.",
            "metric.type",
        )


def _writable(call: Call, index: int, asked: Any) -> tuple[Descriptor, float, datetime]:
    """The metric, value and time of a point to write; raises what the API answers for one that cannot be."""
    where = f"timeSeries[{index}]"
    _check_type(asked.metric.type)
    if asked.resource.type not in WRITABLE:
        raise invalid(
            f"{where}: custom metrics are written for resources of type {', '.join(WRITABLE)}, not "
            f"{asked.resource.type!r}.",
            f"{where}.resource.type",
        )
    if any(not _LABEL.fullmatch(key) for key in asked.metric.labels) or len(asked.metric.labels) > 30:
        raise invalid(f"{where}: a metric has at most 30 labels, of letters, digits and underscores.", where)
    unknown = sorted(set(asked.resource.labels) - set(RESOURCES[asked.resource.type][1]))
    if unknown:
        raise invalid(f"{where}: {asked.resource.type} has no label {unknown[0]!r}.", f"{where}.resource.labels")
    if len(asked.points) != 1:
        raise invalid(f"{where}: a time series is written with exactly one point.", f"{where}.points")
    kinds = Package("google.api").MetricDescriptor
    kind = "GAUGE" if asked.metric_kind == kinds.METRIC_KIND_UNSPECIFIED else kinds.MetricKind.Name(asked.metric_kind)
    point = asked.points[0]
    held = {"int64_value": "INT64", "double_value": "DOUBLE"}.get(point.value.WhichOneof("value") or "")
    if kind != "GAUGE" or held is None:
        raise refusal(f"custom metrics of kind {kind} and value {point.value.WhichOneof('value')}")
    known = call.store(Custom).find(asked.metric.type)
    if known is not None and known.value != held:
        raise invalid(
            f"{where}: {asked.metric.type} has values of type {known.value}, and {held} was written.",
            f"{where}.points[0].value",
        )
    if not point.interval.HasField("end_time"):
        raise invalid(f"{where}: points[0].interval.endTime is required.", f"{where}.points[0].interval.end_time")
    at, now = call.engine.clock.instant(point.interval.end_time.ToDatetime(UTC)), call.engine.clock.now()
    if not now - _OLDEST <= at <= now + _NEWEST:
        raise invalid(
            f"{where}: the end time of points[0] must be in the last 25 hours and at most 5 minutes from now.",
            f"{where}.points[0].interval.end_time",
        )
    labels = dict.fromkeys(asked.metric.labels, "")
    value = point.value.int64_value if held == "INT64" else point.value.double_value
    return known or Descriptor(asked.metric.type, kind, held, labels=labels), float(value), at
