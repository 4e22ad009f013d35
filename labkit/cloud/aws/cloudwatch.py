"""CloudWatch's metrics: putting, listing and querying them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.metric_data import put_metric_data
from labkit.cloud.aws.metric_query import get_metric_data
from labkit.cloud.aws.metric_windows import Window, invalid, is_period, is_statistic, statistic_of
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.metrics import Metric

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

SERVICE = "cloudwatch"

Parameters = dict[str, Any]

#: Data points that GetMetricStatistics gives, and metrics in a page of ListMetrics.
POINTS = 1_440
PAGE = 500
#: How long a metric is listed after its latest data, and how long it is recently active.
LISTED = timedelta(days=14)
ACTIVE = timedelta(hours=3)


def get_metric_statistics(call: Call, parameters: Parameters) -> Parameters:
    simple, extended = parameters.get("Statistics", []), parameters.get("ExtendedStatistics", [])
    if bool(simple) == bool(extended):
        raise invalid("Must specify either Statistics or ExtendedStatistics", "InvalidParameterCombination")
    for statistic in extended:
        if not is_statistic(call, statistic) or not statistic.startswith("p"):
            raise invalid(f"The value {statistic} for parameter ExtendedStatistics is not supported.")
    period = parameters["Period"]
    if not is_period(period):
        raise invalid("The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.")
    window = Window.of(call, parameters["StartTime"], parameters["EndTime"])
    if window.start == window.end:
        raise invalid("The parameter StartTime must not equal parameter EndTime.")
    if window.start > window.end:
        raise invalid("The parameter StartTime must be less than the parameter EndTime.")
    asked = math.ceil((window.end - window.start).total_seconds() / period)
    if asked > POINTS:
        message = (
            f"You have requested up to {asked} datapoints, which exceeds the limit of {POINTS}. You may reduce the "
            "datapoints requested by increasing Period, or decreasing the time range."
        )
        raise invalid(message, "InvalidParameterCombination")
    datapoints = []
    for point in window.points(call, parameters, period, [*simple, *extended], parameters.get("Unit")):
        percentiles = {name: number for name in extended if (number := statistic_of(point, name)) is not None}
        if simple or percentiles:
            datapoint: Parameters = {"Timestamp": point.at, "Unit": point.unit}
            datapoint |= {name: point.values[name] for name in simple}
            datapoints.append(datapoint | ({"ExtendedStatistics": percentiles} if percentiles else {}))
    return {"Label": parameters["MetricName"], "Datapoints": datapoints}


def list_metrics(call: Call, parameters: Parameters) -> Parameters:
    if parameters.get("IncludeLinkedAccounts") or parameters.get("OwningAccount", call.account) != call.account:
        raise part_of(call, "linked accounts")
    filters = {each["Name"]: each.get("Value") for each in parameters.get("Dimensions", [])}
    since = call.engine.clock.now() - (ACTIVE if "RecentlyActive" in parameters else LISTED)
    found = [
        metric
        for metric in call.engine.metrics.list(
            call.scope, parameters.get("Namespace"), parameters.get("MetricName"), filters
        )
        if metric.latest >= since
    ]
    if token := parameters.get("NextToken"):
        try:
            last = json.loads(urlsafe_b64decode(token))
            found = [metric for metric in found if _key(metric) > last]
        except (ValueError, TypeError):
            raise AwsError("InvalidParameterValue", "Request parameter NextToken is invalid") from None
    shown = found[:PAGE]
    more = len(found) > PAGE
    return {
        "Metrics": [
            {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
            }
            for metric in shown
        ],
        "NextToken": urlsafe_b64encode(json.dumps(_key(shown[-1])).encode()).decode() if more else None,
    }


def _key(metric: Metric) -> list[Any]:
    """Where a metric stands in the list."""
    return [metric.namespace, metric.name, [list(each) for each in metric.dimensions]]


OPERATIONS = {
    "GetMetricData": get_metric_data,
    "GetMetricStatistics": get_metric_statistics,
    "ListMetrics": list_metrics,
    "PutMetricData": put_metric_data,
}
NOTES = {
    "GetMetricData": (
        "the five simple statistics and percentiles; metric math without ANOMALY_DETECTION_BAND, DB_PERF_INSIGHTS, "
        "INSIGHT_RULE_METRIC, LAMBDA, SEARCH, SERVICE_QUOTA and STDDEV; no Metrics Insights queries, no dynamic labels"
    ),
    "GetMetricStatistics": "the five simple statistics and percentiles; trimmed and winsorized ones refuse",
    "PutMetricData": "no entities",
}
