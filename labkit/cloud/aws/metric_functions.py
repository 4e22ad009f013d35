"""The functions of metric math.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax-functions-list
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from labkit.cloud.aws.metric_series import MathError, Request, Series, Value, across, common_period, kind


class Keyword(str):
    """A word such as ``REPEAT`` or ``DESC`` among a function's arguments."""


class Text(str):
    """A text in quotes among a function's arguments."""


Argument = Value | Keyword | Text
Function = Callable[[Request, Sequence[Argument]], Value]

#: Functions of AWS's that are not computed here.
NOT_SERVED = frozenset(
    {"ANOMALY_DETECTION_BAND", "DB_PERF_INSIGHTS", "INSIGHT_RULE_METRIC", "LAMBDA", "SEARCH", "SERVICE_QUOTA", "STDDEV"}
)


def _series(argument: Argument) -> Series:
    if not isinstance(argument, Series):
        raise MathError(f"A time series is needed, not {_kind(argument)}")
    return argument


def _array(argument: Argument) -> list[Series]:
    if not isinstance(argument, list):
        raise MathError(f"An array of time series is needed, not {_kind(argument)}")
    return argument


def _number(argument: Argument) -> float:
    if not isinstance(argument, float):
        raise MathError(f"A number is needed, not {_kind(argument)}")
    return argument


def _kind(argument: Argument) -> str:
    return f"{argument}" if isinstance(argument, str) else kind(argument)


# -- a series, or each of an array ---------------------------------------------------------------------------------


def _each(change: Callable[[Request, Series], Series]) -> Function:
    def function(request: Request, arguments: Sequence[Argument]) -> Value:
        (argument,) = arguments
        if isinstance(argument, list):
            return [change(request, each) for each in argument]
        return change(request, _series(argument))

    return function


def _pointwise(change: Callable[[float], float]) -> Function:
    def changed(_: Request, series: Series) -> Series:
        points = {}
        for time, value in series.points.items():
            try:
                points[time] = float(change(value))
            except ValueError:
                # As with a division by zero, a value that has no result (the logarithm of zero) is dropped.
                continue
        return series.with_points(points)

    return _each(changed)


def _between(change: Callable[[float, int], float]) -> Function:
    """From the difference in value and in seconds of each point and the one before it."""

    def changed(_: Request, series: Series) -> Series:
        points = sorted(series.points.items())
        pairs = pairwise(points)
        return series.with_points(
            {time: change(value - before, time - since) for (since, before), (time, value) in pairs}
        )

    return _each(changed)


def _running_sum(_: Request, series: Series) -> Series:
    total, points = 0.0, {}
    for time, value in sorted(series.points.items()):
        total += value
        points[time] = total
    return series.with_points(points)


def _calendar(read: Callable[[datetime], float]) -> Function:
    """From the time of every period of the window, whether the series has a value there or not."""

    def changed(request: Request, series: Series) -> Series:
        times = request.times(series.period)
        return series.with_points({time: float(read(datetime.fromtimestamp(time, UTC))) for time in times})

    return _each(changed)


# -- a number from a series, a series from an array ----------------------------------------------------------------


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _lowest(values: Sequence[float]) -> float:
    return min(values, default=0.0)


def _highest(values: Sequence[float]) -> float:
    return max(values, default=0.0)


def _total(values: Sequence[float]) -> float:
    return float(sum(values))


def _count(values: Sequence[float]) -> float:
    return float(len(values))


#: What SORT sorts by.
_AGGREGATES = {"AVG": _average, "MIN": _lowest, "MAX": _highest, "SUM": _total}


def _aggregate(compute: Callable[[Sequence[float]], float]) -> Function:
    def function(request: Request, arguments: Sequence[Argument]) -> Value:
        (argument,) = arguments
        if not isinstance(argument, list):
            return compute(list(_series(argument).points.values()))
        if compute is _average:
            # As documented, a missing value counts as 0 here.
            return across(lambda values: sum(values) / len(argument), argument, request.period)
        return across(compute, argument, request.period)

    return function


# -- the others ----------------------------------------------------------------------------------------------------


def _fill(request: Request, arguments: Sequence[Argument]) -> Value:
    target, filler = arguments
    if isinstance(target, list):
        return [_filled(request, each, filler) for each in target]
    return _filled(request, _series(target), filler)


def _filled(request: Request, series: Series, filler: Argument) -> Series:
    times = request.times(series.period)
    if isinstance(filler, Keyword):
        if filler not in ("REPEAT", "LINEAR"):
            raise MathError(f"FILL takes a number, a time series, REPEAT or LINEAR, not {filler}")
        return series.with_points(_bridged(series.points, times, slope=filler == "LINEAR"))
    if isinstance(filler, Series):
        common_period((series, filler), series.period)
        missing = {time: filler.points[time] for time in times if time in filler.points}
    else:
        missing = dict.fromkeys(times, _number(filler))
    return series.with_points(missing | series.points)


def _bridged(points: dict[int, float], times: range, *, slope: bool) -> dict[int, float]:
    """The gaps filled from the value before, or on a line from it to the one after; without those they stay."""
    known = sorted(points)
    filled = dict(points)
    at = -1
    for time in times:
        while at + 1 < len(known) and known[at + 1] <= time:
            at += 1
        if at < 0:
            continue
        before = known[at]
        if not slope:
            filled[time] = points[before]
        elif at + 1 < len(known):
            after = known[at + 1]
            filled[time] = points[before] + (points[after] - points[before]) * (time - before) / (after - before)
    return filled


def _if(request: Request, arguments: Sequence[Argument]) -> Value:
    if len(arguments) not in (2, 3):
        raise MathError("IF takes a condition, a value where it is true and, if wanted, one where it is not")
    values = [_number_or_series(each) for each in arguments]
    condition, positive, negative = (*values, None)[:3]
    if not isinstance(condition, Series):
        chosen = positive if condition else negative
        return Series({}, request.period) if chosen is None else chosen
    common_period([each for each in values if isinstance(each, Series)], condition.period)
    points = {}
    for time, holds in condition.points.items():
        # As documented: a value missing where the condition is true is 0, one missing where it is false is dropped.
        value = (_at(positive, time) or 0.0) if holds else _at(negative, time)
        if value is not None:
            points[time] = value
    return Series(points, condition.period, condition.label)


def _number_or_series(argument: Argument) -> float | Series:
    if isinstance(argument, (float, Series)):
        return argument
    raise MathError(f"IF takes time series and numbers, not {_kind(argument)}")


def _at(argument: float | Series | None, time: int) -> float | None:
    return argument.points.get(time) if isinstance(argument, Series) else argument


def _metrics(request: Request, arguments: Sequence[Argument]) -> Value:
    if not arguments:
        return list(request.metrics.values())
    (part,) = arguments
    if not isinstance(part, Text):
        raise MathError('METRICS takes a text in double quotes, as in METRICS("errors")')
    return [series for name, series in request.metrics.items() if part in name]


def _sort(_: Request, arguments: Sequence[Argument]) -> Value:
    if len(arguments) not in (3, 4):
        raise MathError("SORT takes an array, a function (AVG, MIN, MAX or SUM), ASC or DESC, and a limit if wanted")
    array, by, order = _array(arguments[0]), arguments[1], arguments[2]
    if not isinstance(by, Keyword) or by not in _AGGREGATES or order not in ("ASC", "DESC"):
        raise MathError("SORT sorts by AVG, MIN, MAX or SUM, and ASC or DESC")
    compute = _AGGREGATES[by]
    ordered = sorted(array, key=lambda each: compute(list(each.points.values())), reverse=order == "DESC")
    return ordered[: int(_number(arguments[3]))] if len(arguments) == 4 else ordered


def _slice(_: Request, arguments: Sequence[Argument]) -> Value:
    if len(arguments) not in (2, 3):
        raise MathError("SLICE takes an array, where to begin and, if wanted, where to end")
    begin, end = int(_number(arguments[1])), int(_number(arguments[2])) if len(arguments) == 3 else None
    return _array(arguments[0])[begin:end]


def _end(index: int) -> Function:
    def function(request: Request, arguments: Sequence[Argument]) -> Value:
        array = _array(arguments[0])
        return array[index] if array else Series({}, request.period)

    return function


def _period(_: Request, arguments: Sequence[Argument]) -> Value:
    series = _series(arguments[0])
    if not series.metric:
        raise MathError("PERIOD takes a metric, not the result of another expression")
    return float(series.period)


def _time_series(request: Request, arguments: Sequence[Argument]) -> Value:
    return Series(dict.fromkeys(request.times(request.period), _number(arguments[0])), request.period)


#: Function -> how many arguments it takes (None: it looks itself), and what it does.
FUNCTIONS: dict[str, tuple[int | None, Function]] = {
    "ABS": (1, _pointwise(abs)),
    "AVG": (1, _aggregate(_average)),
    "CEIL": (1, _pointwise(math.ceil)),
    "DATAPOINT_COUNT": (1, _aggregate(_count)),
    "DATE": (1, _calendar(lambda when: when.day)),
    "DAY": (1, _calendar(lambda when: when.isoweekday())),
    "DIFF": (1, _between(lambda value, seconds: value)),
    "DIFF_TIME": (1, _between(lambda value, seconds: float(seconds))),
    "EPOCH": (1, _calendar(lambda when: when.timestamp())),
    "FILL": (2, _fill),
    "FIRST": (1, _end(0)),
    "FLOOR": (1, _pointwise(math.floor)),
    "HOUR": (1, _calendar(lambda when: when.hour)),
    "IF": (None, _if),
    "LAST": (1, _end(-1)),
    "LOG": (1, _pointwise(math.log)),
    "LOG10": (1, _pointwise(math.log10)),
    "MAX": (1, _aggregate(_highest)),
    "METRIC_COUNT": (1, lambda request, arguments: float(len(_array(arguments[0])))),
    "METRICS": (None, _metrics),
    "MIN": (1, _aggregate(_lowest)),
    "MINUTE": (1, _calendar(lambda when: when.minute)),
    "MONTH": (1, _calendar(lambda when: when.month)),
    "PERIOD": (1, _period),
    "RATE": (1, _between(lambda value, seconds: value / seconds)),
    "REMOVE_EMPTY": (1, lambda request, arguments: [each for each in _array(arguments[0]) if each.points]),
    "RUNNING_SUM": (1, _each(_running_sum)),
    "SLICE": (None, _slice),
    "SORT": (None, _sort),
    "SUM": (1, _aggregate(_total)),
    "TIME_SERIES": (1, _time_series),
    "YEAR": (1, _calendar(lambda when: when.year)),
}
