"""Cloud Monitoring: what predictions leave behind, windows, aggregations, filters, metrics of one's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from labkit.cloud.gcp import metric_store, vertex_telemetry
from tests.cloud.gcp.vertex_world import ROWS, World

PREFIX = vertex_telemetry.PREFIX
HOUR = 3600


def text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def query(world: World, metric: str, *, more: str = "", hours: float = 1.0, **parameters: Any) -> Any:
    """(status, answer) of a list of a metric's time series until now."""
    end = datetime.now(UTC) + timedelta(seconds=1)
    asked = {
        "filter": f'metric.type="{metric}" {more}',
        "interval.startTime": text(end - timedelta(hours=hours)),
        "interval.endTime": text(end),
        **parameters,
    }
    pairs = [(name, each) for name, value in asked.items() for each in (value if isinstance(value, list) else [value])]
    encoded = "&".join(f"{name}={quote(str(value))}" for name, value in pairs)
    return world("GET", f"projects/{world.project}/timeSeries?{encoded}", api="monitoring")


def series(world: World, metric: str, **more: Any) -> list[dict[str, Any]]:
    status, answer = query(world, metric, **more)
    assert status == 200, answer
    return list(answer.get("timeSeries", []))


def latencies(world: World, *values: float, endpoint: str = "1", deployed: str = "2") -> None:
    """Puts latencies (us) as if they had been measured."""
    resource = vertex_telemetry.labels(world.number, world.region, endpoint)
    for value in values:
        labels = {"deployed_model_id": deployed, "latency_type": "total"}
        kind = f"{PREFIX}/prediction_latencies"
        metric_store.put(world.engine, world.scope, kind, labels, vertex_telemetry.RESOURCE, resource, value)


def aggregated(aligner: str, reducer: str = "", *groups: str) -> dict[str, Any]:
    return {
        "aggregation.alignmentPeriod": f"{HOUR}s",
        "aggregation.perSeriesAligner": aligner,
        **({"aggregation.crossSeriesReducer": reducer} if reducer else {}),
        **({"aggregation.groupByFields": list(groups)} if groups else {}),
    }


def test_predictions_and_errors_are_counted(world: World) -> None:
    endpoint = world.endpoint((world.upload(), 100))
    (deployed,) = (each["id"] for each in world.deployed(endpoint))
    world.predict(endpoint, ROWS[:150].tolist())
    world.predict(endpoint, ROWS[:50].tolist())
    world.error("POST", f"{endpoint}:predict", {"instances": [[1.0]]})
    (counted,) = series(world, f"{PREFIX}/prediction_count", **aggregated("ALIGN_DELTA"))
    assert counted["metric"]["labels"] == {"deployed_model_id": deployed}
    assert counted["resource"] == {
        "type": "aiplatform.googleapis.com/Endpoint",
        "labels": {
            "resource_container": world.number,
            "location": "us-central1",
            "endpoint_id": endpoint.rpartition("/")[2],
        },
    }
    assert (counted["metricKind"], counted["valueType"]) == ("DELTA", "INT64")
    assert [point["value"] for point in counted["points"]] == [{"int64Value": "200"}]
    (failed,) = series(world, f"{PREFIX}/error_count", **aggregated("ALIGN_DELTA"))
    assert failed["points"][0]["value"] == {"int64Value": "1"}
    codes = series(world, f"{PREFIX}/response_count", **aggregated("ALIGN_DELTA"))
    shown = {each["metric"]["labels"]["response_code"]: each["points"][0]["value"]["int64Value"] for each in codes}
    assert shown == {"200": "2", "400": "1"}
    kinds = series(world, f"{PREFIX}/prediction_latencies", **aggregated("ALIGN_PERCENTILE_50"))
    values = {each["metric"]["labels"]["latency_type"]: each["points"][0]["value"]["doubleValue"] for each in kinds}
    assert set(values) == {"model", "overhead", "total"}
    assert 0 < values["model"] < values["total"] < 60e6


def test_a_distribution_has_its_values_in_buckets(world: World) -> None:
    latencies(world, 0.5, 100.0, 200.0, 300.0)
    (shown,) = series(world, f"{PREFIX}/prediction_latencies")
    value = shown["points"][0]["value"]["distributionValue"]
    assert value["count"] == "4"
    assert value["mean"] == pytest.approx(150.125)
    assert value["sumOfSquaredDeviation"] == pytest.approx(np.var([0.5, 100, 200, 300]) * 4)
    options = value["bucketOptions"]["exponentialBuckets"]
    edges = [0.0] + [options["scale"] * options["growthFactor"] ** n for n in range(options["numFiniteBuckets"] + 1)]
    counts = [int(each) for each in value["bucketCounts"]]
    expected, _ = np.histogram([0.5, 100, 200, 300], edges)
    assert counts == expected.tolist()[: len(counts)]
    assert sum(counts) == 4


def test_percentiles_are_of_the_values_themselves(world: World) -> None:
    values = [float(n) for n in range(1, 101)]
    latencies(world, *values)
    latencies(world, 1000.0, deployed="3")
    for share in ("05", "50", "95", "99"):
        found = series(world, f"{PREFIX}/prediction_latencies", **aggregated(f"ALIGN_PERCENTILE_{share}"))
        shown = {each["metric"]["labels"]["deployed_model_id"]: each["points"][0]["value"] for each in found}
        assert shown["2"]["doubleValue"] == pytest.approx(np.percentile(values, int(share)))
        assert shown["3"]["doubleValue"] == 1000.0
    (both,) = series(world, f"{PREFIX}/prediction_latencies", **aggregated("ALIGN_DELTA", "REDUCE_PERCENTILE_99"))
    assert both["points"][0]["value"]["doubleValue"] == pytest.approx(np.percentile([*values, 1000.0], 99))
    (mean,) = series(world, f"{PREFIX}/prediction_latencies", **aggregated("ALIGN_DELTA", "REDUCE_MEAN"))
    assert mean["points"][0]["value"]["doubleValue"] == pytest.approx(np.mean([*values, 1000.0]))
    assert (mean["metricKind"], mean["valueType"]) == ("GAUGE", "DOUBLE")


def test_series_are_reduced_to_one_for_each_group(world: World) -> None:
    for endpoint, deployed, count in (("1", "a", 3.0), ("1", "b", 4.0), ("2", "c", 5.0)):
        resource = vertex_telemetry.labels(world.number, world.region, endpoint)
        kind = f"{PREFIX}/prediction_count"
        labels = {"deployed_model_id": deployed}
        metric_store.put(world.engine, world.scope, kind, labels, vertex_telemetry.RESOURCE, resource, count)

    def reduced(reducer: str, *groups: str) -> dict[str, float]:
        found = series(world, f"{PREFIX}/prediction_count", **aggregated("ALIGN_DELTA", reducer, *groups))
        values = [next(iter(each["points"][0]["value"].values())) for each in found]
        names = [each["resource"].get("labels", {}).get("endpoint_id", "") for each in found]
        return dict(zip(names, map(float, values), strict=True))

    assert reduced("REDUCE_SUM", "resource.labels.endpoint_id") == {"1": 7, "2": 5}
    assert reduced("REDUCE_SUM") == {"": 12}
    assert reduced("REDUCE_MEAN") == {"": 4}
    assert reduced("REDUCE_MAX", "resource.label.endpoint_id") == {"1": 4, "2": 5}
    assert reduced("REDUCE_MIN") == {"": 3}
    assert reduced("REDUCE_COUNT") == {"": 3}
    (rate,) = series(
        world, f"{PREFIX}/prediction_count", more='metric.labels.deployed_model_id="c"', **aggregated("ALIGN_RATE")
    )
    assert rate["points"][0]["value"]["doubleValue"] == pytest.approx(5 / HOUR)


def test_filters_choose_series(world: World) -> None:
    for endpoint, deployed in (("10", "a"), ("11", "b"), ("20", "c")):
        latencies(world, 1.0, endpoint=endpoint, deployed=deployed)

    def shown(more: str) -> list[str]:
        found = series(world, f"{PREFIX}/prediction_latencies", more=more)
        return [each["metric"]["labels"]["deployed_model_id"] for each in found]

    assert shown("") == ["a", "b", "c"]
    assert shown('resource.labels.endpoint_id="11"') == ["b"]
    assert shown('AND resource.label.endpoint_id = starts_with("1")') == ["a", "b"]
    assert shown('resource.labels.endpoint_id = one_of("10", "20")') == ["a", "c"]
    assert shown('metric.labels.deployed_model_id != "b"') == ["a", "c"]
    assert shown('NOT metric.labels.deployed_model_id="b" resource.type="aiplatform.googleapis.com/Endpoint"') == [
        "a",
        "c",
    ]
    assert shown('resource.type="global"') == []


@pytest.mark.parametrize(
    ("metric", "parameters", "status", "message"),
    [
        ("a/b", {}, "NOT_FOUND", 'Cannot find metric(s) that match type = "a/b".'),
        (f"{PREFIX}/prediction_count", {"filter": ""}, "INVALID_ARGUMENT", "name one metric"),
        (f"{PREFIX}/prediction_count", {"filter": 'project="x"'}, "INVALID_ARGUMENT", "project is none of metric.type"),
        (f"{PREFIX}/prediction_count", {"more": "metric.labels.a > 3"}, "INVALID_ARGUMENT", "not >"),
        (f"{PREFIX}/prediction_count", {"more": "metric.labels.a = f(1)"}, "INVALID_ARGUMENT", "f is none of"),
        (f"{PREFIX}/prediction_count", aggregated("ALIGN_MEAN"), "INVALID_ARGUMENT", "ALIGN_MEAN cannot be applied"),
        (f"{PREFIX}/prediction_count", aggregated("ALIGN_STDDEV"), "UNIMPLEMENTED", "do not serve ALIGN_STDDEV"),
        (f"{PREFIX}/prediction_count", aggregated("ALIGN_NONE", "REDUCE_SUM"), "INVALID_ARGUMENT", "perSeriesAligner"),
        (
            f"{PREFIX}/prediction_count",
            {**aggregated("ALIGN_DELTA"), "aggregation.alignmentPeriod": "30s"},
            "INVALID_ARGUMENT",
            "at least 60 s",
        ),
        (
            f"{PREFIX}/prediction_latencies",
            aggregated("ALIGN_RATE"),
            "INVALID_ARGUMENT",
            "ALIGN_RATE cannot be applied to metrics with kind DELTA and value type DISTRIBUTION.",
        ),
        (f"{PREFIX}/prediction_count", {"orderBy": "x"}, "UNIMPLEMENTED", "order_by"),
        (
            f"{PREFIX}/prediction_count",
            {"interval.startTime": "2999-01-01T00:00:00Z"},
            "INVALID_ARGUMENT",
            "later than interval.endTime",
        ),
    ],
)
def test_what_cannot_be_listed_is_refused(
    world: World, metric: str, parameters: dict[str, Any], status: str, message: str
) -> None:
    _, answer = query(world, metric, **parameters)
    assert answer["error"]["status"] == status
    assert message in answer["error"]["message"]


def test_headers_only_and_pages(world: World) -> None:
    latencies(world, 1.0, deployed="a")
    latencies(world, 1.0, deployed="b")
    assert all("points" not in each for each in series(world, f"{PREFIX}/prediction_latencies", view="HEADERS"))
    _, first = query(world, f"{PREFIX}/prediction_latencies", pageSize=1)
    assert len(first["timeSeries"]) == 1
    _, second = query(world, f"{PREFIX}/prediction_latencies", pageSize=1, pageToken=first["nextPageToken"])
    assert second["timeSeries"] != first["timeSeries"]
    assert "nextPageToken" not in second


def test_the_last_hour_follows_the_lab_s_clock(world: World) -> None:
    latencies(world, 5.0)
    world.engine.clock.advance(timedelta(hours=3))
    assert series(world, f"{PREFIX}/prediction_latencies") == []
    assert len(series(world, f"{PREFIX}/prediction_latencies", hours=4)) == 1
    latencies(world, 6.0)
    (shown,) = series(world, f"{PREFIX}/prediction_latencies")
    assert [point["value"]["distributionValue"]["mean"] for point in shown["points"]] == [6.0]


def write(world: World, metric: str, value: dict[str, Any], when: datetime | None = None, **more: Any) -> Any:
    point = {"interval": {"endTime": text(when or datetime.now(UTC))}, "value": value}
    entry = {"metric": {"type": metric, "labels": {"model": "m"}}, "resource": {"type": "global"}, "points": [point]}
    return world("POST", f"projects/{world.project}/timeSeries", {"timeSeries": [entry | more]}, api="monitoring")


def test_a_metric_of_one_s_own(world: World) -> None:
    kind = "custom.googleapis.com/churn/accuracy"
    now = datetime.now(UTC)
    assert write(world, kind, {"doubleValue": 0.5}, now - timedelta(seconds=10)) == (200, {})
    assert write(world, kind, {"doubleValue": 0.9}, now) == (200, {})
    (raw,) = series(world, kind)
    assert raw["resource"] == {"type": "global", "labels": {"project_id": world.project}}
    assert [point["value"]["doubleValue"] for point in raw["points"]] == [0.9, 0.5]
    for aligner, expected in (("MEAN", 0.7), ("MIN", 0.5), ("MAX", 0.9), ("SUM", 1.4)):
        (shown,) = series(world, kind, **aggregated(f"ALIGN_{aligner}"))
        assert shown["points"][0]["value"]["doubleValue"] == pytest.approx(expected)
    (counted,) = series(world, kind, **aggregated("ALIGN_COUNT"))
    assert counted["points"][0]["value"] == {"int64Value": "2"}
    described = world.ok("GET", f"projects/{world.project}/metricDescriptors/{kind}", api="monitoring")
    assert (described["metricKind"], described["valueType"]) == ("GAUGE", "DOUBLE")
    world.ok("DELETE", f"projects/{world.project}/metricDescriptors/{kind}", api="monitoring")
    assert query(world, kind)[0] == 404


@pytest.mark.parametrize(
    ("metric", "value", "more", "message"),
    [
        ("compute.googleapis.com/x", {"doubleValue": 1}, {}, "custom metrics begin with custom.googleapis.com/"),
        ("custom.googleapis.com/x", {"stringValue": "a"}, {}, "custom metrics of kind GAUGE and value string_value"),
        ("custom.googleapis.com/x", {"doubleValue": 1}, {"metricKind": "CUMULATIVE"}, "of kind CUMULATIVE"),
        ("custom.googleapis.com/x", {"doubleValue": 1}, {"points": []}, "with exactly one point"),
        ("custom.googleapis.com/x", {"doubleValue": 1}, {"resource": {"type": "moon"}}, "not 'moon'"),
        (
            "custom.googleapis.com/x",
            {"doubleValue": 1},
            {"points": [{"interval": {"endTime": "2001-01-01T00:00:00Z"}, "value": {"doubleValue": 1}}]},
            "in the last 25 hours",
        ),
    ],
)
def test_a_point_that_cannot_be_written(
    world: World, metric: str, value: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    status, answer = write(world, metric, value, **more)
    assert status in (400, 501)
    assert message in answer["error"]["message"]


def test_descriptors_are_listed(world: World) -> None:
    wanted = quote('metric.type = starts_with("aiplatform.googleapis.com/prediction/online/p")')
    found = world.ok("GET", f"projects/{world.project}/metricDescriptors?filter={wanted}", api="monitoring")
    kinds = {each["type"]: each for each in found["metricDescriptors"]}
    assert set(kinds) == {f"{PREFIX}/prediction_count", f"{PREFIX}/prediction_latencies"}
    assert kinds[f"{PREFIX}/prediction_latencies"]["valueType"] == "DISTRIBUTION"
    assert kinds[f"{PREFIX}/prediction_latencies"]["unit"] == "us"
    path = f"projects/{world.project}/monitoredResourceDescriptors"
    resources = world.ok("GET", path, api="monitoring")["resourceDescriptors"]
    assert "aiplatform.googleapis.com/Endpoint" in {each["type"] for each in resources}
    assert world.ok("GET", f"{path}/global", api="monitoring")["labels"][0]["key"] == "project_id"
    assert world.error("GET", f"{path}/moon", api="monitoring")[0] == "NOT_FOUND"
