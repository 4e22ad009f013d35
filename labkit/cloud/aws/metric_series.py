"""What metric math computes with: numbers, time series and arrays of time series.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field


class MathError(Exception):
    """An expression that cannot be computed; the message says why, for the person who wrote it."""


class NotServed(Exception):
    """A part of metric math that the kit does not compute, by its name."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values by the second since 1970 at which their period begins. ``metric`` is false for what was computed."""

    points: dict[int, float]
    period: int
    label: str = ""
    metric: bool = False

    def with_points(self, points: dict[int, float]) -> Series:
        """Other values under the same label."""
        return Series(points, self.period, self.label)


Value = float | Series | list[Series]


@dataclass(frozen=True, slots=True)
class Request:
    """The request around an expression: its window, in seconds since 1970, and its metrics by id.

    ``period`` is that of a series that comes from no metric.
    """

    start: int
    end: int
    period: int
    metrics: dict[str, Series] = field(default_factory=dict)

    def times(self, period: int) -> range:
        """When every period of the window begins."""
        return range(self.start, self.end, period)


def kind(value: Value) -> str:
    """What a value is, for people."""
    if isinstance(value, Series):
        return "a time series"
    return "an array of time series" if isinstance(value, list) else "a number"


def common_period(series: Iterable[Series], otherwise: int) -> int:
    """The one period of several series. Raises where they differ."""
    periods = {each.period for each in series}
    if len(periods) > 1:
        raise MathError(f"Time series with different periods ({_listed(periods)} s) cannot be combined")
    return periods.pop() if periods else otherwise


def combine(function: Callable[[float, float], float | None], left: Value, right: Value) -> Value:
    """``function`` on each pair of values. A value that only one series has meets 0; a pair that gives None is dropped.

    A number meets every value of a series, and either meets every series of an array.
    """
    if isinstance(left, list) and isinstance(right, list):
        raise MathError("Two arrays of time series cannot be combined")
    if isinstance(left, list):
        return [_one(combine(function, each, right)) for each in left]
    if isinstance(right, list):
        return [_one(combine(function, left, each)) for each in right]
    if isinstance(left, Series) and isinstance(right, Series):
        period = common_period((left, right), left.period)
        times = sorted(left.points.keys() | right.points.keys())
        pairs: Iterable[tuple[int, float, float]] = (
            (time, left.points.get(time, 0.0), right.points.get(time, 0.0)) for time in times
        )
        return Series(_kept((time, _safe(function, a, b)) for time, a, b in pairs), period, left.label)
    if isinstance(left, Series):
        other = _number(right)
        return left.with_points(_kept((time, _safe(function, a, other)) for time, a in left.points.items()))
    if isinstance(right, Series):
        return right.with_points(_kept((time, _safe(function, left, b)) for time, b in right.points.items()))
    result = _safe(function, left, right)
    if result is None:
        raise MathError("Two numbers are divided by zero or give no number")
    return result


def across(function: Callable[[Sequence[float]], float], array: Sequence[Series], period: int) -> Series:
    """``function`` of the values that the series of an array have at each time."""
    period = common_period(array, period)
    times = sorted(set().union(*(each.points for each in array)))
    return Series(
        {time: function([each.points[time] for each in array if time in each.points]) for time in times}, period
    )


def _number(value: Value) -> float:
    assert not isinstance(value, (Series, list))
    return value


def _one(value: Value) -> Series:
    assert isinstance(value, Series)
    return value


def _safe(function: Callable[[float, float], float | None], left: float, right: float) -> float | None:
    try:
        result = function(left, right)
    except (ZeroDivisionError, OverflowError, ValueError):
        return None
    return result if isinstance(result, float) and math.isfinite(result) else None


def _kept(points: Iterable[tuple[int, float | None]]) -> dict[int, float]:
    return {time: value for time, value in points if value is not None}


def _listed(periods: Iterable[int]) -> str:
    return ", ".join(str(each) for each in sorted(periods))
