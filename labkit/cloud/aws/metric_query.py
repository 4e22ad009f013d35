"""GetMetricData: statistics of many metrics at once, and metric math over them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.metric_math import evaluate
from labkit.cloud.aws.metric_series import MathError, NotServed, Request, Series, Value
from labkit.cloud.aws.metric_windows import Window, invalid, is_period, is_statistic, statistic_of
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.clock import EPOCH

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]
#: What one id gives: a label, and points of time (seconds since 1970) and value.
Result = tuple[str, str, list[tuple[int, float]]]

#: Queries in one call, and data points in one page.
QUERIES = 500
POINTS = 100_800

_ID = re.compile(r"[a-z][a-zA-Z0-9_]*", re.ASCII)
_TIMEZONE = re.compile(r"[+-]\d{4}")


def get_metric_data(call: Call, parameters: Parameters) -> Parameters:
    queries = parameters["MetricDataQueries"]
    _check(call, parameters, queries)
    window, skip = _window(call, parameters)
    results = _Queries(call, queries, window).results()
    if parameters.get("ScanBy", "TimestampDescending") == "TimestampDescending":
        for _, _, points in results:
            points.reverse()
    return _page(results, window, skip, parameters.get("MaxDatapoints", POINTS))


def _check(call: Call, parameters: Parameters, queries: Sequence[Parameters]) -> None:
    if not queries:
        raise invalid("The parameter MetricDataQueries is required.", "MissingParameter")
    if len(queries) > QUERIES:
        message = f"The collection MetricDataQueries must not have a size greater than {QUERIES}."
        raise invalid(message, "ValidationError")
    if not 1 <= parameters.get("MaxDatapoints", POINTS) <= POINTS:
        raise invalid(f"The parameter MaxDatapoints must be between 1 and {POINTS}.", "ValidationError")
    timezone = parameters.get("LabelOptions", {}).get("Timezone", "+0000")
    if not _TIMEZONE.fullmatch(timezone):
        message = f"The value {timezone} for parameter LabelOptions.Timezone is invalid: write one like +0130."
        raise invalid(message, "ValidationError")
    for number, query in enumerate(queries, 1):
        _check_query(call, query, f"MetricDataQueries.member.{number}")
    if len({query["Id"] for query in queries}) < len(queries):
        raise invalid("The values for parameter id in MetricDataQueries are not unique.", "ValidationError")


def _check_query(call: Call, query: Parameters, place: str) -> None:
    problem = ""
    if not _ID.fullmatch(query["Id"]):
        pattern = "^[a-z][a-zA-Z0-9_]*$"
        problem = f"The value {query['Id']} for parameter {place}.Id is not matching the expected pattern {pattern}."
    elif "Expression" in query and "MetricStat" in query:
        problem = "The parameters MetricDataQuery Expression and MetricStat are mutually exclusive and you have "
        problem += "specified both."
    elif "Expression" not in query and "MetricStat" not in query:
        problem = f"The parameter {place}.MetricStat is required.\n"
    elif "MetricStat" in query:
        wanted, metric = query["MetricStat"], query["MetricStat"]["Metric"]
        if missing := [name for name in ("Namespace", "MetricName") if name not in metric]:
            problem = f"The parameter {place}.MetricStat.Metric.{missing[0]} is required."
        elif not is_period(wanted["Period"]):
            problem = f"The parameter {place}.MetricStat.Period must be 1, 5, 10, 20, 30 or a multiple of 60."
        elif not is_statistic(call, wanted["Stat"]):
            problem = f"The value {wanted['Stat']} for parameter {place}.MetricStat.Stat is not a valid statistic."
    elif not is_period(query.get("Period", 60)):
        problem = f"The parameter {place}.Period must be 1, 5, 10, 20, 30 or a multiple of 60."
    if problem:
        raise invalid(problem, "ValidationError")
    if query.get("AccountId", call.account) != call.account:
        raise part_of(call, "the metrics of other accounts")
    if "${" in query.get("Label", ""):
        raise part_of(call, "dynamic labels (${...})")


def _window(call: Call, parameters: Parameters) -> tuple[Window, int]:
    """The window and how many points earlier pages have shown. All pages of a query are about the same window."""
    if token := parameters.get("NextToken"):
        try:
            start, end, skip = json.loads(urlsafe_b64decode(token))
            return Window(datetime.fromisoformat(start), datetime.fromisoformat(end), call.engine.clock.now()), int(
                skip
            )
        except (ValueError, TypeError):
            raise AwsError("InvalidNextToken", "The next token specified is invalid.") from None
    window = Window.of(call, parameters["StartTime"], parameters["EndTime"])
    if window.start == window.end:
        raise invalid("The parameter StartTime must not equal parameter EndTime.", "ValidationError")
    if window.start > window.end:
        raise invalid("The parameter EndTime must be greater than StartTime.", "ValidationError")
    return window, 0


class _Queries:
    """The queries of one call; each is computed once, when it or an expression asks for it."""

    def __init__(self, call: Call, queries: Sequence[Parameters], window: Window) -> None:
        self._call = call
        self._window = window
        self._queries = {query["Id"]: query for query in queries}
        self._statistics = {
            query["Id"]: self._points(query["MetricStat"]) for query in queries if "MetricStat" in query
        }
        self._values: dict[str, Value] = {}
        self._under_way: list[str] = []
        self._period = max((query["MetricStat"]["Period"] for query in queries if "MetricStat" in query), default=60)

    def results(self) -> list[Result]:
        """Of each query that returns data; an expression can give several."""
        found: list[Result] = []
        for name, query in self._queries.items():
            # An expression is computed even if nobody is to see it, so that what is wrong with it is said.
            value = self._value(name) if "Expression" in query else None
            if not query.get("ReturnData", True):
                continue
            if name in self._statistics:
                points = [(time, each) for time, _, each in self._statistics[name]]
                found.append((name, query.get("Label", query["MetricStat"]["Metric"]["MetricName"]), points))
            elif isinstance(value, Series):
                found.append((name, query.get("Label", name), sorted(value.points.items())))
            elif isinstance(value, list):
                label = query.get("Label", name)
                found += [(name, f"{label} {each.label}".strip(), sorted(each.points.items())) for each in value]
        return found

    def _points(self, wanted: Parameters) -> list[tuple[int, str, float]]:
        statistic = wanted["Stat"]
        points = self._window.points(self._call, wanted["Metric"], wanted["Period"], [statistic], wanted.get("Unit"))
        return [
            (int((point.at - EPOCH).total_seconds()), point.unit, number)
            for point in points
            if (number := statistic_of(point, statistic)) is not None
        ]

    def _value(self, name: str) -> Value:
        """What an id stands for in an expression."""
        if name not in self._queries:
            raise MathError(f"{name} is no Id of this request")
        if name not in self._values:
            query = self._queries[name]
            self._values[name] = self._computed(name, query) if "Expression" in query else self._series(name)
        return self._values[name]

    def _series(self, name: str) -> Series:
        query, points = self._queries[name], self._statistics[name]
        wanted = query["MetricStat"]
        if len({unit for _, unit, _ in points}) > 1:
            raise MathError(f"{name} has data in several units: give its MetricStat a Unit")
        label = query.get("Label", wanted["Metric"]["MetricName"])
        return Series({time: number for time, _, number in points}, wanted["Period"], label, metric=True)

    def _computed(self, name: str, query: Parameters) -> Value:
        if name in self._under_way:
            raise MathError(f"{name} depends on itself")
        self._under_way.append(name)
        period = query.get("Period", self._period)
        start = int((self._window.begins(period) - EPOCH).total_seconds())
        end = int((self._window.end - EPOCH).total_seconds() + 0.999999)
        try:
            metrics = (
                {each: self._series(each) for each in self._statistics} if "METRICS" in query["Expression"] else {}
            )
            found = evaluate(query["Expression"], Request(start, end, period, metrics), self._value)
        except MathError as error:
            raise invalid(f"Error in expression '{name}': {error}", "ValidationError") from None
        except NotServed as error:
            raise part_of(self._call, str(error)) from None
        self._under_way.pop()
        for each in found if isinstance(found, list) else [found]:
            if each.period != query.get("Period", each.period):
                message = f"Error in expression '{name}': its Period is not that of its metrics, {each.period} s"
                raise invalid(message, "ValidationError")
        return found


def _page(results: list[Result], window: Window, skip: int, size: int) -> Parameters:
    """The results with ``size`` of their points, after the first ``skip``."""
    shown: list[Parameters] = []
    first, passed, room = skip == 0, 0, size
    for name, label, points in results:
        begin = min(max(skip - passed, 0), len(points))
        part = points[begin : begin + room]
        passed += len(points)
        room -= len(part)
        if part or (not points and first):
            shown.append(
                {
                    "Id": name,
                    "Label": label,
                    "Timestamps": [datetime.fromtimestamp(time, UTC) for time, _ in part],
                    "Values": [number for _, number in part],
                    "StatusCode": "Complete" if begin + len(part) == len(points) else "PartialData",
                }
            )
    total = sum(len(points) for _, _, points in results)
    token = None
    if skip + size < total:
        place = [window.start.isoformat(), window.end.isoformat(), skip + size]
        token = urlsafe_b64encode(json.dumps(place).encode()).decode()
    return {"MetricDataResults": shown, "Messages": [], "NextToken": token}
