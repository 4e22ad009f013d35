"""Queries of metrics: a window of time, an interval, aggregations and a filter, and the series that answer them.

https://learn.microsoft.com/azure/azure-monitor/essentials/metrics-aggregation-explained
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from labkit.cloud.azure import durations
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.monitor import ENDPOINTS, METRICS, RESOURCE, Definition
from labkit.cloud.azure.wire import time_text
from labkit.cloud.engine import Engine
from labkit.cloud.engine.clock import utc
from labkit.cloud.engine.metrics import Metric

#: Lengths of time over which values may be taken together.
INTERVALS = ("PT1M", "PT5M", "PT15M", "PT30M", "PT1H", "PT6H", "PT12H", "P1D")
AGGREGATIONS = ("average", "minimum", "maximum", "total", "count")
MINUTE = timedelta(minutes=1)
#: What is asked about where a query does not say.
_USUAL_SPAN = timedelta(hours=1)
#: Series that one metric's answer has, unless ``top`` says otherwise.
_TOP = 10
#: The engine's name for each aggregation of measured values.
_STATISTICS = {
    "average": "Average",
    "minimum": "Minimum",
    "maximum": "Maximum",
    "total": "Sum",
    "count": "SampleCount",
}
_CONDITION = re.compile(r"\s*(?P<name>[\w.%() -]+?)\s+(?P<operator>\w+)\s+'(?P<value>(?:[^']|'')*)'\s*", re.IGNORECASE)
_ORDER = re.compile(r"\s*(?P<what>\w+)(?:\s+(?P<way>asc|desc))?\s*", re.IGNORECASE)

#: One point: when its interval begins, and the value of each aggregation that was asked for.
Point = tuple[datetime, dict[str, float]]
#: Condition on each dimension that a filter names: the values it may have; ``{"*"}`` stands for any.
Filter = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Query:
    """What is asked of some metrics; times are lab time."""

    start: datetime
    end: datetime
    interval: timedelta
    aggregations: Sequence[str]
    condition: Filter
    rolled_up: frozenset[str]
    top: int
    order: tuple[str, bool] | None
    only_metadata: bool


def read(engine: Engine, given: Mapping[str, str], start: datetime | None, end: datetime | None) -> Query:
    """A query from a request's parameters (lower-case names) and its window; raises :class:`AzureError`."""
    end = end or datetime.now(UTC)
    start = start or end - _USUAL_SPAN
    start, end = engine.clock.window(start, end)
    if start >= end:
        raise bad(f"The time span ends at {time_text(end)}, before it begins at {time_text(start)}.")
    interval = given.get("interval") or INTERVALS[0]
    if interval.upper() == "FULL":
        length = end - start
    elif durations.parse(interval) not in [durations.parse(each) for each in INTERVALS]:
        raise bad(f"The interval {interval} is not one of the supported time grains: {', '.join(INTERVALS)}.")
    else:
        length = durations.parse(interval) or MINUTE
        start = _floor(start, length)
    asked = [each.strip().lower() for each in (given.get("aggregation") or "average").split(",") if each.strip()]
    for name in asked:
        if name not in AGGREGATIONS:
            raise bad(f"The aggregation {name} is not one of {', '.join(AGGREGATIONS)}.")
    text = given.get("$filter") or given.get("filter") or ""
    top = given.get("top") or str(_TOP)
    if not top.isdecimal() or int(top) < 1:
        raise bad(f"top {top!r} has to be a whole number from 1.")
    rolled_up = frozenset(each.strip().lower() for each in (given.get("rollupby") or "").split(",") if each.strip())
    only_metadata = (given.get("resulttype") or "Data").lower() == "metadata"
    return Query(start, end, length, asked, _filter(text), rolled_up, int(top), _order(given), only_metadata)


def definitions(kind: str, names: str) -> list[Definition]:
    """The metrics of a kind of resource that a query names, by commas; the first one if it names none."""
    known = METRICS[kind]
    wanted = [each.strip() for each in names.split(",") if each.strip()]
    if not wanted:
        return [known[0]]
    by_name = {each.name.lower(): each for each in known}
    for name in wanted:
        if name.lower() not in by_name:
            provider, _, kinds = kind.partition("/")
            raise bad(
                f"Failed to find metric configuration for provider: {provider}, resource Type: {kinds}, metric: "
                f"{name}, Valid metrics: {','.join(each.name for each in known)}"
            )
    return [by_name[name.lower()] for name in wanted]


def answer(
    engine: Engine,
    scope: str,
    resource_id: str,
    definition: Definition,
    query: Query,
    levels: Sequence[tuple[datetime, int]] = (),
) -> dict[str, Any]:
    """One metric of one resource, as Azure Monitor answers it. ``levels`` is a level's history, the oldest first."""
    _check_dimensions(definition, query)
    if definition.how == "level":
        series: list[tuple[dict[str, str], list[Point]]] = [({}, _levels(query, levels))]
    else:
        series = [
            (split, _points(engine, scope, definition, metrics, query))
            for split, metrics in _groups(engine, scope, resource_id, definition, query)
        ]
    series = _ordered(series, query)[: query.top] if query.condition else series
    return {
        "id": f"{resource_id}/providers/Microsoft.Insights/metrics/{definition.name}",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": definition.name, "localizedValue": definition.shown},
        "displayDescription": definition.description,
        "unit": "MilliSeconds" if definition.unit == "Milliseconds" else definition.unit,
        "timeseries": [_series(split, points, query) for split, points in series],
        "errorCode": "Success",
    }


def bad(message: str) -> AzureError:
    """A query that breaks a rule."""
    return AzureError("BadRequest", message, 400)


def _groups(
    engine: Engine, scope: str, resource_id: str, definition: Definition, query: Query
) -> list[tuple[dict[str, str], list[Metric]]]:
    """The engine's metrics that a query is about, by the values of the dimensions that it splits by."""
    named = {name.lower(): name for name in definition.dimensions}
    split_by = [named[name] for name in query.condition if name not in query.rolled_up]
    found: dict[tuple[str, ...], list[Metric]] = {} if split_by else {(): []}
    for metric in engine.metrics.list(scope, ENDPOINTS, definition.source, {RESOURCE: resource_id.lower()}):
        values = dict(metric.dimensions)
        if all({"*", values[named[name]].lower()} & allowed for name, allowed in query.condition.items()):
            found.setdefault(tuple(values[name] for name in split_by), []).append(metric)
    return [(dict(zip(split_by, split, strict=True)), metrics) for split, metrics in found.items()]


def _points(engine: Engine, scope: str, definition: Definition, metrics: Sequence[Metric], query: Query) -> list[Point]:
    def statistics(period: timedelta, *names: str) -> list[tuple[datetime, Mapping[str, float | None]]]:
        seconds = int(period.total_seconds())
        found = engine.metrics.together(scope, metrics, query.start, query.end, seconds, names)
        return [(point.at, point.values) for point in found]

    if definition.how == "values":
        return [
            (at, {name: values[_STATISTICS[name]] or 0.0 for name in query.aggregations})
            for at, values in statistics(query.interval, *(_STATISTICS[name] for name in query.aggregations))
        ]
    statistic = {"percentile": definition.percentile, "count": "Sum", "rate": "Sum"}[definition.how]
    divisor = 60.0 if definition.how == "rate" else 1.0
    minutes = [(at, (values[statistic] or 0.0) / divisor) for at, values in statistics(MINUTE, statistic)]
    points = _over_minutes(minutes, query)
    if definition.how == "percentile" and query.interval != MINUTE and "average" in query.aggregations:
        # Of all the values in the interval, as the metric's description has it, not of the minutes' percentiles.
        whole = dict(statistics(query.interval, statistic))
        points = [(at, {**values, "average": whole[at][statistic] or 0.0}) for at, values in points]
    return points


def _levels(query: Query, levels: Sequence[tuple[datetime, int]]) -> list[Point]:
    """A level that holds until it changes, as it was at the end of each minute; before the first there is none."""
    minutes: list[tuple[datetime, float]] = []
    at = _floor(query.start, MINUTE)
    while at < query.end:
        known = [level for changed, level in levels if changed < at + MINUTE]
        if known:
            minutes.append((at, float(known[-1])))
        at += MINUTE
    return _over_minutes(minutes, query)


def _over_minutes(minutes: Sequence[tuple[datetime, float]], query: Query) -> list[Point]:
    """Minutes' values taken together by the interval."""
    gathered: dict[int, list[float]] = {}
    for at, value in minutes:
        gathered.setdefault((at - query.start) // query.interval, []).append(value)
    return [
        (query.start + number * query.interval, {name: _AGGREGATE[name](values) for name in query.aggregations})
        for number, values in sorted(gathered.items())
    ]


_AGGREGATE: dict[str, Callable[[Sequence[float]], float]] = {
    "average": lambda values: sum(values) / len(values),
    "minimum": min,
    "maximum": max,
    "total": sum,
    "count": lambda values: float(len(values)),
}


def _series(split: Mapping[str, str], points: Sequence[Point], query: Query) -> dict[str, Any]:
    """A series: a point for each interval, without values where nothing was measured."""
    shown: dict[str, Any] = {
        "metadatavalues": [
            {"name": {"value": name.lower(), "localizedValue": name.lower()}, "value": value}
            for name, value in split.items()
        ]
    }
    if query.only_metadata:
        return shown
    known, data = dict(points), []
    at = query.start
    while at < query.end:
        data.append({"timeStamp": _second(at), **known.get(at, {})})
        at += query.interval
    return {**shown, "data": data}


def _ordered(
    series: list[tuple[dict[str, str], list[Point]]], query: Query
) -> list[tuple[dict[str, str], list[Point]]]:
    if query.order is None:
        return series
    name, descending = query.order

    def size(item: tuple[dict[str, str], list[Point]]) -> float:
        values = [values[name] for _, values in item[1] if name in values]
        return _AGGREGATE[name](values) if values else 0.0

    return sorted(series, key=size, reverse=descending)


def _order(given: Mapping[str, str]) -> tuple[str, bool] | None:
    text = given.get("orderby")
    if not text:
        return None
    found = _ORDER.fullmatch(text)
    name = "total" if found and found["what"].lower() == "sum" else found["what"].lower() if found else ""
    if found is None or name not in AGGREGATIONS:
        raise bad(f"orderby {text!r} has to be an aggregation with asc or desc, such as 'sum asc'.")
    return name, (found["way"] or "asc").lower() == "desc"


def _filter(text: str) -> dict[str, frozenset[str]]:
    """A filter's conditions: ``A eq 'a' and B eq 'b' or B eq 'c' and C eq '*'``."""
    found: dict[str, frozenset[str]] = {}
    if not text.strip():
        return found
    for part in re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE):
        conditions = [_CONDITION.fullmatch(each) for each in re.split(r"\s+or\s+", part, flags=re.IGNORECASE)]
        names, values = set(), set()
        for condition in conditions:
            if condition is None or condition["operator"].lower() != "eq":
                raise bad(f"The filter {text!r} is not served: write dimension eq 'value', joined by and and or.")
            names.add(condition["name"].lower())
            values.add(condition["value"].replace("''", "'").lower())
        if len(names) > 1 or (name := names.pop()) in found:
            raise bad(f"The filter {text!r} joins different dimensions by or, or names one twice.")
        found[name] = frozenset(values)
    return found


def _check_dimensions(definition: Definition, query: Query) -> None:
    known = {name.lower() for name in definition.dimensions}
    for name in [*query.condition, *query.rolled_up]:
        if name not in known:
            raise bad(
                f"Metric {definition.name} has no dimension {name}: "
                f"{'its dimensions are ' + ', '.join(definition.dimensions) if known else 'it has none'}."
            )


def _floor(when: datetime, length: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (utc(when) - epoch) // length * length


def _second(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
