"""PutMetricData: what a client measured, checked and stored.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.clock import utc

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

#: Metrics in one call, values of one metric in it, bytes of its body.
METRICS = 1_000
VALUES = 150
BYTES = 1_048_576
#: Values lie between minus this and this.
LARGEST = 2.0**360

PAST = timedelta(days=14)
FUTURE = timedelta(hours=2)


def put_metric_data(call: Call, parameters: Parameters) -> None:
    """Stores all of the data, or none of them when one is not valid.

    Timestamps come from a client's clock: when the latest is near the machine's now, it means the lab's now, and the
    others of the call keep their distance from it.
    """
    if "EntityMetricData" in parameters:
        raise part_of(call, "entities")
    namespace, data = parameters["Namespace"], parameters.get("MetricData", [])
    if not data:
        raise AwsError("MissingParameter", "The parameter MetricData is required.")
    if namespace.startswith("AWS/"):
        raise _invalid("The value AWS/ for parameter Namespace is invalid.")
    if len(data) > METRICS:
        raise _invalid(f"The collection MetricData must not have a size greater than {METRICS}.")
    if len(call.body) > BYTES:
        raise AwsError("RequestEntityTooLarge", f"The request is larger than {BYTES} bytes.", 413)
    clock = call.engine.clock
    times = [utc(datum["Timestamp"]) for datum in data if "Timestamp" in datum]
    latest = max(times, default=clock.now())
    shift = clock.instant(latest) - latest
    ready = [_checked(datum, f"MetricData.member.{number}", clock.now(), shift) for number, datum in enumerate(data, 1)]
    metrics = call.engine.metrics
    for datum, at in zip(data, ready, strict=True):
        where = (call.scope, namespace, datum["MetricName"], dimensions_of(datum))
        unit, resolution = datum.get("Unit", "None"), datum.get("StorageResolution", 60)
        if "StatisticValues" in datum:
            values = datum["StatisticValues"]
            metrics.put_statistics(
                *where,
                count=values["SampleCount"],
                total=values["Sum"],
                minimum=values["Minimum"],
                maximum=values["Maximum"],
                at=at,
                unit=unit,
                resolution=resolution,
            )
        else:
            values = datum["Values"] if "Values" in datum else [datum["Value"]]
            for value, count in zip(values, datum.get("Counts", [1.0] * len(values)), strict=True):
                metrics.put(*where, value, at=at, unit=unit, count=count, resolution=resolution)


def dimensions_of(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Dimensions as a request lists them, by name."""
    return {each["Name"]: each["Value"] for each in parameters.get("Dimensions", [])}


def _checked(datum: Mapping[str, Any], place: str, now: datetime, shift: timedelta) -> datetime:
    """The lab time of a datum, once everything about it is found to be valid."""
    for name, value in _numbers(datum):
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise _invalid(f"The value {value} for parameter {place}.{name} is invalid.")
    given = [name for name in ("Value", "StatisticValues", "Values") if name in datum]
    if not given:
        raise AwsError("MissingParameter", f"At least one of the parameters {place}.Value, {place}.Values must be set.")
    if len(given) > 1:
        raise AwsError(
            "InvalidParameterCombination",
            f"The parameters {place}.{given[0]} and {place}.{given[1]} are mutually exclusive and you have specified "
            "both.",
        )
    values, counts = datum.get("Values", []), datum.get("Counts")
    if "Values" in datum and not values:
        raise AwsError("MissingParameter", f"The parameter {place}.Values is required.")
    if len(values) > VALUES:
        raise _invalid(f"The collection {place}.Values must not have a size greater than {VALUES}.")
    if counts is not None and len(counts) != len(values):
        raise _invalid(f"The parameters {place}.Values and {place}.Counts must be of the same size.")
    samples = [("Counts", count) for count in counts or []]
    if "StatisticValues" in datum:
        statistics = datum["StatisticValues"]
        samples.append(("StatisticValues.SampleCount", statistics["SampleCount"]))
        if statistics["Minimum"] > statistics["Maximum"]:
            raise _invalid(f"The parameter {place}.StatisticValues.Maximum must be greater than Minimum.")
    for name, count in samples:
        if count <= 0:
            raise _invalid(f"The value {count} for parameter {place}.{name} is invalid.")
    if datum.get("StorageResolution", 60) not in (1, 60):
        raise _invalid(f"The value {datum['StorageResolution']} for parameter {place}.StorageResolution is invalid.")
    at = utc(datum["Timestamp"]) + shift if "Timestamp" in datum else now
    if at < now - PAST:
        raise _invalid(f"The parameter {place}.Timestamp must specify a time within the past two weeks.")
    if at > now + FUTURE:
        raise _invalid(f"The parameter {place}.Timestamp must specify a time no more than two hours in the future.")
    return at


def _numbers(datum: Mapping[str, Any]) -> list[tuple[str, float]]:
    found = [("Value", datum["Value"])] if "Value" in datum else []
    found += [(name, each) for name in ("Values", "Counts") for each in datum.get(name, [])]
    return found + [(f"StatisticValues.{name}", each) for name, each in datum.get("StatisticValues", {}).items()]


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)
