"""Time series as Cloud Monitoring's messages.

https://cloud.google.com/monitoring/api/ref_v3/rest/v3/TimeSeries and
https://cloud.google.com/monitoring/api/ref_v3/rest/v3/TypedValue#distribution
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from labkit.cloud.engine.metrics import Bucket, Summary
from labkit.cloud.gcp.metric_alignment import Form, Point
from labkit.cloud.gcp.schema import Package

v3 = Package("google.monitoring.v3")
_api = Package("google.api")

#: The buckets of a distribution: the first ends at ``SCALE``, each further one is ``GROWTH`` times as wide.
FINITE_BUCKETS, GROWTH, SCALE = 66, 1.4, 1.0


def time_series(
    metric_type: str,
    metric_labels: Mapping[str, str],
    resource_type: str,
    resource_labels: Mapping[str, str],
    form: Form,
    unit: str,
    points: Iterable[Point],
) -> Any:
    """One time series, the latest point first."""
    shown = v3.TimeSeries(metric_kind=form.kind, value_type=form.value, unit=unit)
    shown.metric.type, shown.resource.type = metric_type, resource_type
    shown.metric.labels.update(metric_labels)
    shown.resource.labels.update(resource_labels)
    for point in reversed(list(points)):
        added = shown.points.add()
        added.interval.start_time.FromDatetime(point.start)
        added.interval.end_time.FromDatetime(point.end)
        if isinstance(point.value, Bucket):
            _distribute(added.value.distribution_value, point.value)
        elif form.value == "INT64":
            added.value.int64_value = int(point.value)
        else:
            added.value.double_value = float(point.value)
    return shown


def _distribute(distribution: Any, bucket: Bucket) -> None:
    """Fills a distribution. Where only statistics of the values are known, it has no counts of buckets."""
    summary = Summary(bucket)
    distribution.count = round(summary.count)
    distribution.mean = summary.total / summary.count
    distribution.sum_of_squared_deviation = sum((value - distribution.mean) ** 2 for value in bucket.values)
    options = distribution.bucket_options.exponential_buckets
    options.num_finite_buckets, options.growth_factor, options.scale = FINITE_BUCKETS, GROWTH, SCALE
    if bucket.count:
        return
    counts = [0] * (FINITE_BUCKETS + 2)
    for value in bucket.values:
        counts[_place(value)] += 1
    while counts and not counts[-1]:
        counts.pop()
    distribution.bucket_counts.extend(counts)


def _place(value: float) -> int:
    """The bucket that a value falls into; 0 is the one below all others."""
    if value < SCALE:
        return 0
    return min(int(math.log(value / SCALE) / math.log(GROWTH)) + 1, FINITE_BUCKETS + 1)
