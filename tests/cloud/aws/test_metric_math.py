"""Metric math: the guide's own examples and tables, and what is refused.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labkit.cloud.aws.metric_math import evaluate
from labkit.cloud.aws.metric_series import MathError, NotServed, Request, Series, Value

#: Monday, 2 March 2026, 09:30 UTC; five minutes from then.
START = int(datetime(2026, 3, 2, 9, 30, tzinfo=UTC).timestamp())

Cells = list[float | None]


def series(cells: Cells, *, period: int = 60, metric: bool = True) -> Series:
    """A series with a value, or None for none, in each period from the start."""
    points = {START + index * period: float(value) for index, value in enumerate(cells) if value is not None}
    return Series(points, period, metric=metric)


def cells(found: Value) -> Cells:
    assert isinstance(found, Series)
    assert set(found.points) <= set(range(START, START + 300, 60))
    return [found.points.get(START + index * 60) for index in range(5)]


def run(expression: str, **metrics: Cells | Series) -> Series | list[Series]:
    named = {name: each if isinstance(each, Series) else series(each) for name, each in metrics.items()}
    request = Request(START, START + 300, 60, {name: each for name, each in named.items() if each.metric})

    def resolve(name: str) -> Value:
        if name not in named:
            raise MathError(f"{name} is not there")
        return named[name]

    return evaluate(expression, request, resolve)


M1: Cells = [1, 2, 3, None, 5]
M2: Cells = [10, None, 30, 40, 0]


class TestArithmetic:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("m1 + m2", [11, 2, 33, 40, 5]),
            ("m1 - m2", [-9, 2, -27, -40, 5]),
            ("m1 * m2", [10, 0, 90, 0, 0]),
            # Missing values are 0; what would divide by zero is dropped.
            ("m2 / m1", [10, 0, 10, None, 0]),
            ("m1 / m2", [0.1, None, 0.1, 0, None]),
            ("m1 ^ 2", [1, 4, 9, None, 25]),
            ("2 ^ m1", [2, 4, 8, None, 32]),
            ("5 * m1", [5, 10, 15, None, 25]),
            ("-5*m1", [-5, -10, -15, None, -25]),
            ("-m1", [-1, -2, -3, None, -5]),
            ("-m1^2", [-1, -4, -9, None, -25]),
            ("m1 - 1 - 1", [-1, 0, 1, None, 3]),
            ("m1 + 2 * 3", [7, 8, 9, None, 11]),
            ("(m1 + 2) * 3", [9, 12, 15, None, 21]),
            ("m1 * 1e2 + .5", [100.5, 200.5, 300.5, None, 500.5]),
            ("100*(m1/(m1+m2))", [100 / 11, 100, 300 / 33, 0, 100]),
            ("m1 ^ 0.5 * 0", [0, 0, 0, None, 0]),
            # No real number, or none at all: dropped.
            ("(m1 - 3) ^ 0.5", [None, None, 0, None, 2**0.5]),
            ("1e300 ^ m1", [1e300, None, None, None, None]),
        ],
    )
    def test_operators(self, expression: str, expected: Cells) -> None:
        assert cells(run(expression, m1=M1, m2=M2)) == pytest.approx(expected)

    def test_on_each_of_an_array(self) -> None:
        found = run("[m1, m2] / m3", m1=[1, 2], m2=[3, 4], m3=[2, 2])
        assert isinstance(found, list)
        assert [cells(each)[:2] for each in found] == [[0.5, 1], [1.5, 2]]
        assert cells(run("SUM(100/[m1, m2])", m1=[1, 2], m2=[4, 5]))[:2] == [125, 70]
        assert cells(run("SUM(-[m1, m2])", m1=[1, 2], m2=[4, 5]))[:2] == [-5, -7]


#: The guide's metrics for comparisons, and for IF.
COMPARED: dict[str, Cells] = {"metric1": [30, 20, 0, 0], "metric2": [20, None, 20, None]}
CHOSEN: dict[str, Cells] = {
    "metric1": [1, 1, 0, 0, None],
    "metric2": [30, None, 0, 0, 30],
    "metric3": [0, 0, 20, None, 20],
}


class TestComparison:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("metric1 < metric2", [0, 0, 1, 0]),
            ("metric1 >= 30", [1, 0, 0, 0]),
            ("metric1 > 15 AND metric2 > 15", [1, 0, 0, 0]),
            ("metric1 > 15 && metric2 > 15", [1, 0, 0, 0]),
            ("metric1 > 25 OR metric2 > 15", [1, 0, 1, 0]),
            ("metric1 > 25 || metric1 == 0 && metric2 == 20", [1, 0, 1, 0]),
            ("metric1 == 0", [0, 0, 1, 1]),
            ("metric1 != 0", [1, 1, 0, 0]),
            ("metric1 <= metric2 + 10", [1, 0, 1, 1]),
            ("metric1 * (1 == 1)", [30, 20, 0, 0]),
        ],
    )
    def test_operators(self, expression: str, expected: Cells) -> None:
        assert cells(run(expression, **COMPARED))[:4] == expected


class TestIf:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("IF(metric1, metric2, metric3)", [30, 0, 20, None, None]),
            ("IF(metric1, 5, metric3)", [5, 5, 20, None, None]),
            ("IF(metric1, metric2, 5)", [30, 0, 5, 5, None]),
            ("IF(metric1, metric2)", [30, 0, None, None, None]),
            ("IF(metric2 < 20, 10, 2)", [2, None, 10, 10, 2]),
            ("IF(metric2 > 0, metric2)", [30, None, None, None, 30]),
            ("IF(1, metric2, metric3)", [30, None, 0, 0, 30]),
            ("IF(0, metric2, metric3)", [0, 0, 20, None, 20]),
            ("IF(0, metric2)", [None] * 5),
            ("IF(DAY(metric2)<6 AND HOUR(metric2)>=9 AND HOUR(metric2)<17, metric2)", [30, 0, 0, 0, 30]),
            ("IF(MONTH(metric2) == 4, metric2)", [None] * 5),
        ],
    )
    def test_tables(self, expression: str, expected: Cells) -> None:
        assert cells(run(expression, **CHOSEN)) == expected


class TestFunctions:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("m1 - AVG(m1)", [-1.75, -0.75, 0.25, None, 2.25]),
            ("m1 / MAX(m1)", [0.2, 0.4, 0.6, None, 1]),
            ("m1 - MIN(m1)", [0, 1, 2, None, 4]),
            ("SUM(m1) / DATAPOINT_COUNT(m1) + 0 * m1", [2.75, 2.75, 2.75, None, 2.75]),
            ("AVG([m1, m2])", [5.5, 1, 16.5, 20, 2.5]),
            ("SUM([m1, m2])", [11, 2, 33, 40, 5]),
            ("MIN([m1, m2])", [1, 2, 3, 40, 0]),
            ("MAX([m1, m2])", [10, 2, 30, 40, 5]),
            ("DATAPOINT_COUNT([m1, m2])", [2, 1, 2, 1, 2]),
            ("ABS(m1 - m2)", [9, 2, 27, 40, 5]),
            ("CEIL(m1 / 2)", [1, 1, 2, None, 3]),
            ("FLOOR(m1 / 2)", [0, 1, 1, None, 2]),
            ("LOG10(m2 ^ 0 * 100)", [2, None, 2, 2, 2]),
            ("LOG10(m2) * 0", [0, None, 0, 0, None]),
            ("LOG(m1 / m1)", [0, 0, 0, None, 0]),
            ("DIFF(m1)", [None, 1, 1, None, 2]),
            ("DIFF_TIME(m1)", [None, 60, 60, None, 120]),
            ("RATE(m1) * 60", [None, 1, 1, None, 1]),
            ("RUNNING_SUM(m1)", [1, 3, 6, None, 11]),
            ("m1 / PERIOD(m1) * 60", [1, 2, 3, None, 5]),
            ("TIME_SERIES(MAX(m1))", [5, 5, 5, 5, 5]),
            ("m1 / METRIC_COUNT(METRICS())", [0.5, 1, 1.5, None, 2.5]),
            ("FIRST(SORT(METRICS(), AVG, DESC))", M2),
            ("LAST(SORT(METRICS(), SUM, DESC))", M1),
            ("FIRST(SLICE(SORT(METRICS(), MAX, ASC), 1))", M2),
            ("FILL(m1, 0)", [1, 2, 3, 0, 5]),
            ("FILL(m1, m2)", [1, 2, 3, 40, 5]),
            ("FILL(m1, MIN(m1))", [1, 2, 3, 1, 5]),
            ("FILL(m1, REPEAT)", [1, 2, 3, 3, 5]),
            ("FILL(m1, LINEAR)", [1, 2, 3, 4, 5]),
            ("MINUTE(m1)", [30, 31, 32, 33, 34]),
            ("HOUR(m1)", [9] * 5),
            ("DAY(m1)", [1] * 5),
            ("DATE(m1)", [2] * 5),
            ("MONTH(m1)", [3] * 5),
            ("YEAR(m1)", [2026] * 5),
            ("EPOCH(m1) - EPOCH(m2) + MINUTE(m1) * 0", [0] * 5),
        ],
    )
    def test_each(self, expression: str, expected: Cells) -> None:
        assert cells(run(expression, m1=M1, m2=M2)) == expected

    def test_fill_leaves_the_ends_that_it_knows_nothing_of(self) -> None:
        holes: Cells = [None, 1, None, 4, None]
        assert cells(run("FILL(m1, REPEAT)", m1=holes)) == [None, 1, 1, 4, 4]
        assert cells(run("FILL(m1, LINEAR)", m1=holes)) == [None, 1, 2.5, 4, None]
        assert cells(run("FILL(m1, 7)", m1=[])) == [7] * 5
        assert cells(run("FILL(m1, REPEAT)", m1=[])) == [None] * 5

    def test_arrays(self) -> None:
        errors = {"errors4xx": [1.0, 2], "errors5xx": [3.0, 4], "requests": [10.0, 20]}
        rate = run('SUM([METRICS("4xx"), METRICS("5xx")]) / requests', **errors)  # type: ignore[arg-type]
        assert cells(rate)[:2] == [0.4, 0.3]
        assert cells(run('SUM(METRICS("errors"))', **errors))[:2] == [4, 6]  # type: ignore[arg-type]
        every = run("FILL(METRICS(), 0) * 100", **errors)  # type: ignore[arg-type]
        assert isinstance(every, list)
        assert [cells(each)[0] for each in every] == [100, 300, 1000]
        top = run("SORT(METRICS(), AVG, DESC, 2)", **errors)  # type: ignore[arg-type]
        assert isinstance(top, list)
        assert [cells(each)[0] for each in top] == [10, 3]
        assert len(run("SLICE(METRICS(), 0, 2)", **errors)) == 2  # type: ignore[arg-type]
        assert len(run("REMOVE_EMPTY([m1, m2])", m1=[1], m2=[])) == 1  # type: ignore[arg-type]
        assert run('METRICS("none")', m1=[1]) == []

    def test_metrics_are_no_expressions(self) -> None:
        computed = series([1.0], metric=False)
        assert len(run("METRICS()", m1=[1.0], e1=computed)) == 1  # type: ignore[arg-type]
        assert cells(run("e1 + m1", m1=[1.0], e1=computed))[:1] == [2]

    def test_empty_series(self) -> None:
        assert cells(run("m1 / AVG(m2)", m1=[1], m2=[])) == [None] * 5
        assert cells(run("AVG([m1, m2])", m1=[], m2=[])) == [None] * 5
        assert cells(run("FIRST(REMOVE_EMPTY([m1]))", m1=[])) == [None] * 5


class TestRefusals:
    @pytest.mark.parametrize(
        ("expression", "message"),
        [
            ("", "Invalid syntax: the expression is not complete"),
            ("m1 +", "Invalid syntax: the expression is not complete"),
            ("(m1", "Invalid syntax: the expression is not complete"),
            ("m1 m2", "Invalid syntax at 'm2'"),
            ("m1 ! m2", "Invalid syntax at '! m2'"),
            ("m1 + )", r"Invalid syntax at '\)'"),
            ("m1 + REPEAT", "Invalid syntax at 'REPEAT'"),
            ("AVG(m1,)", r"Invalid syntax at '\)'"),
            ("m9 + 1", "m9 is not there"),
            ("5", "The result is a number"),
            ("AVG(m1)", "The result is a number"),
            ("MEDIAN(m1)", "Function 'MEDIAN' not found"),
            ("avg(m1)", "Function 'avg' not found"),
            ("ABS(5)", "A time series is needed, not a number"),
            ("ABS(m1, m2)", "ABS takes 1 argument, not 2"),
            ("FILL(m1)", "FILL takes 2 arguments, not 1"),
            ("FILL(m1, LAST)", "REPEAT or LINEAR, not LAST"),
            ("METRICS(m1)", "METRICS takes a text"),
            ("FIRST(m1)", "An array of time series is needed, not a time series"),
            ("SORT(METRICS(), MEDIAN, ASC)", "SORT sorts by AVG, MIN, MAX or SUM"),
            ("[m1, 5]", "An array holds time series"),
            ("[m1] + [m2]", "Two arrays of time series cannot be combined"),
            ("METRICS() > 5", "> takes time series and numbers, not an array"),
            ("IF(METRICS(), 1, 0)", "IF takes time series and numbers, not an array"),
            ("PERIOD(m1 + 1)", "PERIOD takes a metric"),
            ("m1 * (1 / 0)", "divided by zero"),
            ("m1 + slow", r"different periods \(60, 300 s\)"),
            ("SUM([m1, slow])", r"different periods \(60, 300 s\)"),
            ("IF(m1, slow)", r"different periods \(60, 300 s\)"),
            ("(" * 60 + "m1" + ")" * 60, "nested deeper than 50"),
            ("-" * 1000 + "m1", "nested deeper than 50"),
        ],
    )
    def test_what_is_not_valid(self, expression: str, message: str) -> None:
        with pytest.raises(MathError, match=message):
            run(expression, m1=M1, m2=M2, slow=series([1.0], period=300))

    @pytest.mark.parametrize(
        ("expression", "what"),
        [
            ("ANOMALY_DETECTION_BAND(m1)", "the function ANOMALY_DETECTION_BAND"),
            ("SEARCH('{AWS/SageMaker} Invocations', 'Sum')", "the function SEARCH"),
            ("m1 / STDDEV(m1)", "the function STDDEV"),
            ('select AVG(Invocations) FROM "AWS/SageMaker"', "Metrics Insights queries"),
        ],
    )
    def test_what_is_not_served_is_named(self, expression: str, what: str) -> None:
        with pytest.raises(NotServed, match=what):
            run(expression, m1=M1)
