"""Azure Monitor's metrics of online endpoints: over plain REST, azure-mgmt-monitor and azure-monitor-querymetrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from labkit.cloud.azure.monitor import DEPLOYMENTS, ENDPOINTS
from tests.cloud.azure import in_process
from tests.cloud.azure.online_world import World

BATCH = "https://eastus.metrics.monitor.azure.com"


def metrics(world: World, path: str = "", *, status: int = 200, **query: str) -> Any:
    """What Resource Manager answers of an endpoint's metrics, or of a part of it."""
    asked = {"interval": "PT1H", "timespan": _around(world), **query}
    found, answer, _ = world.rest(
        "GET", f"{world.path}{path}/providers/Microsoft.Insights/metrics", version="2024-02-01", **asked
    )
    assert found == status, answer
    return answer if status == 200 else answer["error"]["message"]


def totals(world: World, name: str, aggregation: str = "total", **query: str) -> dict[tuple[str, ...], float]:
    """The sum over a metric's series, by the values of the dimensions that split it."""
    (metric,) = metrics(world, metricnames=name, aggregation=aggregation, **query)["value"]
    found = {}
    for series in metric["timeseries"]:
        split = tuple(each["value"] for each in series["metadatavalues"])
        found[split] = sum(point.get(aggregation, 0) for point in series["data"])
    return found


def _around(world: World) -> str:
    """A window from an hour ago to an hour from now, which is not near enough to now to mean the lab's."""
    now = world.cloud.engine.clock.now()
    return f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}/{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"


def test_requests_are_counted_by_deployment_and_status(world: World) -> None:
    world.serve("blue", "green")
    for _ in range(3):
        world.score({})
    world.score({"raise": "no"})
    world.score({}, "green")
    world.score({}, "red")
    world.score({}, credential="wrong")
    name = "RequestsPerMinute"
    assert totals(world, name) == {(): 7}
    assert totals(world, name, **{"$filter": "deployment eq '*'"}) == {("blue",): 4, ("green",): 1, ("unknown",): 2}
    assert totals(world, name, **{"$filter": "deployment eq 'BLUE'"}) == {("blue",): 4}
    assert totals(world, name, **{"$filter": "statusCodeClass eq '*'"}) == {("2xx",): 4, ("4xx",): 3}
    split = totals(world, name, **{"$filter": "statusCode eq '*' and modelStatusCode eq '*'"})
    assert split == {("200", "200"): 4, ("424", "500"): 1, ("404", "0"): 1, ("401", "0"): 1}
    both = "statusCode eq '404' or statusCode eq '401'"
    assert totals(world, name, **{"$filter": both}) == {("404",): 1, ("401",): 1}
    rolled = {"$filter": "deployment eq 'blue' and statusCode eq '*'", "rollupby": "statusCode"}
    assert totals(world, name, **rolled) == {("blue",): 4}
    ordered = totals(world, name, **{"$filter": "statusCode eq '*'", "orderby": "total desc", "top": "1"})
    assert ordered == {("200",): 4}


def test_latencies_and_their_percentiles(world: World) -> None:
    world.serve()
    for seconds in (0.0, 0.0, 0.0, 1.0):
        world.score({"sleep": seconds})
    world.score({}, credential="wrong")  # no deployment answers: that is no latency
    found = metrics(world, metricnames="RequestLatency", aggregation="average,count,minimum,maximum,total")
    assert found["namespace"] == ENDPOINTS
    assert (found["interval"], found["resourceregion"]) == ("PT1H", "eastus")
    (metric,) = found["value"]
    assert (metric["unit"], metric["errorCode"], metric["name"]["value"]) == (
        "MilliSeconds",
        "Success",
        "RequestLatency",
    )
    (point,) = [point for point in metric["timeseries"][0]["data"] if point.get("count")]
    assert point["count"] == 4
    assert 0 < point["minimum"] < point["average"] < point["maximum"]
    assert 1000 <= point["maximum"] <= point["total"] < 100_000
    assert point["average"] == pytest.approx(point["total"] / 4)
    names = "RequestLatency_P50,RequestLatency_P90,RequestLatency_P95,RequestLatency_P99"
    shares = metrics(world, metricnames=names, aggregation="average")["value"]
    values = [max(point.get("average", 0) for point in share["timeseries"][0]["data"]) for share in shares]
    assert values == sorted(values)
    assert values[0] < 950
    assert values[3] == pytest.approx(point["maximum"], rel=0.05)  # the engine's histograms are that fine


def test_bytes_per_second(world: World) -> None:
    world.serve()
    body = {"x": "y" * 6000}
    world.score(body)
    whole = totals(world, "NetworkBytes", interval="PT1M")
    assert 12_000 / 60 < whole[()] < 14_000 / 60


def test_the_capacity_of_a_deployment(world: World) -> None:
    world.serve()
    world.done("PATCH", f"{world.path}/deployments/blue", {"sku": {"capacity": 2}})
    found = metrics(
        world, "/deployments/blue", metricnames="DeploymentCapacity", interval="PT1M", aggregation="maximum"
    )
    assert found["namespace"] == DEPLOYMENTS
    values = [point["maximum"] for point in found["value"][0]["timeseries"][0]["data"] if "maximum" in point]
    assert values[-1] == 2


def test_what_there_is_to_ask_about(world: World) -> None:
    world.serve()
    insights = f"{world.path}/providers/Microsoft.Insights"
    _, found, _ = world.rest("GET", f"{insights}/metricDefinitions", version="2024-02-01")
    by_name = {each["name"]["value"]: each for each in found["value"]}
    assert set(by_name) == {
        "RequestLatency",
        "RequestLatency_P50",
        "RequestLatency_P90",
        "RequestLatency_P95",
        "RequestLatency_P99",
        "RequestsPerMinute",
        "NetworkBytes",
    }
    assert [each["value"] for each in by_name["RequestsPerMinute"]["dimensions"]] == [
        "deployment",
        "statusCode",
        "statusCodeClass",
        "modelStatusCode",
    ]
    _, found, _ = world.rest("GET", f"{insights}/metricNamespaces", version="2024-02-01")
    assert found["value"][0]["properties"]["metricNamespaceName"] == ENDPOINTS


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"metricnames": "Unknown"}, "Failed to find metric configuration for provider: Microsoft.MachineLearningSer"),
        ({"metricnames": "CpuUtilizationPercentage"}, "Valid metrics: RequestLatency,"),
        ({"aggregation": "median"}, "The aggregation median is not one of"),
        ({"interval": "PT7M"}, "supported time grains: PT1M, PT5M"),
        ({"timespan": "yesterday"}, "timespan 'yesterday' is none"),
        ({"timespan": "2026-01-02T00:00:00Z/2026-01-01T00:00:00Z"}, "before it begins"),
        ({"timespan": "2026-01-02/soon"}, "no time in ISO 8601"),
        ({"$filter": "color eq 'red'"}, "has no dimension color"),
        ({"$filter": "deployment gt 'a'"}, "is not served: write dimension eq 'value'"),
        ({"$filter": "deployment eq 'a' or statusCode eq '1'"}, "joins different dimensions by or"),
        ({"metricnamespace": "Microsoft.Web/sites"}, "namespace Microsoft.Web/sites is not one of the resource's"),
        ({"top": "0"}, "top '0' has to be"),
        ({"orderby": "size"}, "orderby 'size'"),
    ],
)
def test_queries_that_break_a_rule(world: World, query: dict[str, str], message: str) -> None:
    world.make()
    assert message in metrics(world, status=400, **query)


def test_what_has_no_metrics(world: World) -> None:
    path = "/providers/Microsoft.Insights/metrics"
    assert world.rest.error("GET", f"{world.path}{path}", version="2024-02-01")[:2] == (404, "ResourceNotFound")
    assert world.rest("GET", f"{world.rest.workspace}{path}", version="2024-02-01")[0] == 501


def test_metadata_alone(world: World) -> None:
    world.serve()
    world.score({})
    found = metrics(world, metricnames="RequestsPerMinute", resultType="Metadata", **{"$filter": "deployment eq '*'"})
    (series,) = found["value"][0]["timeseries"]
    assert series == {
        "metadatavalues": [{"name": {"value": "deployment", "localizedValue": "deployment"}, "value": "blue"}]
    }


def test_windows_of_a_lab_whose_clock_was_advanced(own_world: World) -> None:
    world, clock = own_world, own_world.cloud.engine.clock
    world.serve()
    world.score({})
    before = clock.now()
    clock.advance(timedelta(days=2))
    world.score({})
    world.score({})
    # Rounded up: cut to a second, a minute's first one would leave that whole minute out.
    machine = datetime.now(UTC) + timedelta(seconds=1)
    last_hour = f"{machine - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}/{machine:%Y-%m-%dT%H:%M:%SZ}"
    then = f"{before - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}/{before + timedelta(hours=23):%Y-%m-%dT%H:%M:%SZ}"
    # The machine's last hour is the lab's; a window that is not near the machine's now is lab time.
    assert totals(world, "RequestsPerMinute", timespan=last_hour) == {(): 2}
    assert totals(world, "RequestsPerMinute", timespan=then) == {(): 1}
    assert totals(world, "RequestsPerMinute", timespan="PT1H") == {(): 2}
    assert totals(world, "RequestsPerMinute", timespan=f"{_days_ago(clock.now(), 3)}/P4D", interval="P1D") == {(): 3}


def _days_ago(now: datetime, days: int) -> str:
    return f"{now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


# -- the region's host, and the SDKs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def credential() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential


def test_the_metrics_client(world: World, reached: AzureCloud, credential: Any) -> None:
    from azure.monitor.querymetrics import MetricAggregationType, MetricsClient

    world.serve("blue", "green")
    for _ in range(4):
        world.score({})
    world.score({}, "green")
    client = MetricsClient(BATCH, credential())

    def ask(**options: Any) -> Any:
        (result,) = client.query_resources(
            resource_ids=[world.path],
            metric_namespace=ENDPOINTS,
            timespan=timedelta(hours=1),
            granularity=timedelta(minutes=1),
            **{"metric_names": ["RequestsPerMinute"], "aggregations": [MetricAggregationType.TOTAL], **options},
        )
        return result

    result = ask()
    assert (result.namespace, result.granularity) == (ENDPOINTS, timedelta(minutes=1))
    (series,) = result.metrics["RequestsPerMinute"].timeseries
    assert sum(point.total or 0 for point in series.data) == 5
    split = ask(filter="deployment eq '*'").metrics["RequestsPerMinute"].timeseries
    assert {
        series.metadata_values["deployment"]: sum(point.total or 0 for point in series.data) for series in split
    } == {"blue": 4, "green": 1}
    named = ask(metric_names=["RequestLatency_P95", "RequestLatency"], aggregations=["Average", "Maximum"])
    assert {metric.name for metric in named.metrics} == {"RequestLatency_P95", "RequestLatency"}
    error = in_process.raised(lambda: ask(metric_names=["Unknown"]))
    assert (error.status_code, error.error.code) == (400, "BadRequest")
    assert "metric: Unknown, Valid metrics: RequestLatency," in error.message


def test_the_batch_host_over_plain_rest(world: World) -> None:
    world.serve()
    token = in_process.token(world.cloud, BATCH.replace("eastus.", ""))
    start = datetime.now(UTC) - timedelta(hours=1)

    def ask(region: str = "eastus", ids: Any = None, credential: str = token, **changed: str) -> tuple[int, str]:
        query = {
            "api-version": "2024-02-01",
            "metricnamespace": ENDPOINTS,
            "metricnames": "RequestsPerMinute",
            "starttime": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            **changed,
        }
        text = "&".join(f"{name}={value}" for name, value in query.items())
        url = f"https://{region}.metrics.monitor.azure.com{world.rest.subscription}/metrics:getBatch?{text}"
        body = {"resourceids": [world.path] if ids is None else ids}
        answer = in_process.call(world.cloud, "POST", url, body, token=credential)
        return answer.status, bytes(answer.body).decode()

    assert ask()[0] == 200
    assert ask(credential="x")[0] == 401
    assert ask(credential=in_process.token(world.cloud))[0] == 401
    other = f"{BATCH}/subscriptions/00000000-0000-0000-0000-000000000000/metrics:getBatch?api-version=2024-02-01"
    for method, url, status in (("POST", other, 404), ("GET", f"{BATCH}/other?api-version=2024-02-01", 501)):
        assert in_process.call(world.cloud, method, url, {}, token=token).status == status
    for options, message in (
        ({"ids": []}, "list of resource ids"),
        ({"ids": [world.path] * 51}, "takes 50 at most"),
        ({"ids": [world.path, f"{world.path}/deployments/blue"]}, "same type"),
        ({"ids": [world.rest.workspace]}, "metrics of Microsoft.MachineLearningServices/workspaces"),
        ({"region": "westus"}, "ask eastus.metrics.monitor.azure.com"),
        ({"api-version": "2019-01-01"}, "is not one of"),
        ({"ids": "all"}, "list of resource ids"),
        ({"starttime": "soon"}, "no time in ISO 8601"),
    ):
        status, text = ask(**options)
        assert (status in (400, 501), message in text) == (True, True), text


def test_the_management_client(world: World, reached: AzureCloud, credential: Any) -> None:
    from azure.mgmt.monitor import MonitorManagementClient

    world.serve()
    world.score({})
    client = MonitorManagementClient(credential(), reached.identities.subscription)
    found = client.metrics.list(
        world.path, metricnames="RequestsPerMinute", timespan=_around(world), interval="PT1H", aggregation="Total"
    )
    (metric,) = found.value
    assert (metric.name.value, metric.unit) == ("RequestsPerMinute", "Count")
    assert sum(point.total or 0 for point in metric.timeseries[0].data) == 1
    names = [each.name.value for each in client.metric_definitions.list(world.path)]
    assert "RequestLatency_P99" in names
    (namespace,) = client.metric_namespaces.list(world.path)
    assert namespace.properties.metric_namespace_name == ENDPOINTS
    error = in_process.raised(lambda: client.metrics.list(world.path, metricnames="Unknown"))
    assert error.status_code == 400
