"""Metrics: statistics and percentiles over what was put, in lab time, in bounded memory."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.cloud.engine import metrics as metrics_module
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.errors import Invalid
from labkit.cloud.engine.metrics import Bucket, Metrics, Point, Summary, percent

SCOPE = "aws:123456789012:us-east-1"
LATENCY = ("AWS/SageMaker", "ModelLatency")
BLUE = {"EndpointName": "churn", "VariantName": "blue"}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(clock)


def noon(clock: Clock) -> datetime:
    """A whole hour of yesterday."""
    return (clock.now() - timedelta(days=1)).replace(minute=0, second=0, microsecond=0)


def latency(
    metrics: Metrics, start: datetime, end: datetime, period: int, *stats: str, unit: str | None = None
) -> Sequence[Point]:
    return metrics.statistics(SCOPE, *LATENCY, BLUE, start, end, period, stats, unit=unit)


class TestStatistics:
    def test_each_of_them(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        for value in (3.0, 1.0, 4.0, 1.0, 5.0):
            metrics.put(SCOPE, *LATENCY, BLUE, value, at=start, unit="Microseconds")
        (point,) = latency(metrics, start, start + MINUTE, 60, *metrics_module.SIMPLE, "p0", "p50", "p100")
        assert point.values == {
            "SampleCount": 5.0,
            "Sum": 14.0,
            "Average": 2.8,
            "Minimum": 1.0,
            "Maximum": 5.0,
            "p0": 1.0,
            "p50": 3.0,
            "p100": 5.0,
        }
        assert (point.at, point.unit, point.minimum) == (start, "Microseconds", 1.0)

    def test_now_is_the_lab_s(self, metrics: Metrics, clock: Clock) -> None:
        clock.advance(timedelta(days=31))
        metrics.put(SCOPE, *LATENCY, BLUE, 1.0)
        now = clock.now()
        assert len(latency(metrics, now - MINUTE, now + MINUTE, 3600, "Sum")) == 1
        assert latency(metrics, datetime.now(UTC) - MINUTE, datetime.now(UTC) + MINUTE, 3600, "Sum") == []

    def test_periods_begin_at_the_start_and_those_without_data_are_left_out(
        self, metrics: Metrics, clock: Clock
    ) -> None:
        start = noon(clock) + 7 * MINUTE
        for minute in (0, 1, 4, 5, 19):
            metrics.put(SCOPE, *LATENCY, BLUE, 10.0 + minute, at=start + minute * MINUTE)
        points = latency(metrics, start, start + 20 * MINUTE, 300, "Sum", "SampleCount")
        assert [(point.at, point.values["Sum"]) for point in points] == [
            (start, 35.0),
            (start + 5 * MINUTE, 15.0),
            (start + 15 * MINUTE, 29.0),
        ]

    def test_the_end_is_not_in_the_window(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        for minute in (-1, 0, 1):
            metrics.put(SCOPE, *LATENCY, BLUE, float(minute), at=start + minute * MINUTE)
        assert [point.values for point in latency(metrics, start, start + MINUTE, 60, "Sum")] == [{"Sum": 0.0}]

    def test_a_count_stands_for_as_many_samples(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        metrics.put(SCOPE, *LATENCY, BLUE, 1.0, at=start)
        metrics.put(SCOPE, *LATENCY, BLUE, 10.0, at=start, count=97)
        metrics.put(SCOPE, *LATENCY, BLUE, 20.0, at=start, count=2)
        (point,) = latency(metrics, start, start + MINUTE, 60, "SampleCount", "Sum", "p1", "p50", "p98", "p99")
        samples = [1.0] + [10.0] * 97 + [20.0] * 2
        assert point.values == {
            "SampleCount": 100.0,
            "Sum": sum(samples),
            "p1": pytest.approx(np.percentile(samples, 1)),
            "p50": 10.0,
            "p98": pytest.approx(np.percentile(samples, 98)),
            "p99": pytest.approx(np.percentile(samples, 99)),
        }

    def test_a_statistic_set_counts_but_hides_its_percentiles(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        metrics.put(SCOPE, *LATENCY, BLUE, 7.0, at=start)
        metrics.put_statistics(SCOPE, *LATENCY, BLUE, count=4, total=10, minimum=1, maximum=4, at=start)
        (point,) = latency(metrics, start, start + MINUTE, 60, *metrics_module.SIMPLE, "p50")
        assert point.values == {
            "SampleCount": 5.0,
            "Sum": 17.0,
            "Average": 3.4,
            "Minimum": 1.0,
            "Maximum": 7.0,
            "p50": None,
        }

    def test_a_statistic_set_of_one_value_gives_it_away(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        metrics.put_statistics(SCOPE, *LATENCY, BLUE, count=4, total=12, minimum=3, maximum=3, at=start)
        (point,) = latency(metrics, start, start + MINUTE, 60, "SampleCount", "p50")
        assert point.values == {"SampleCount": 4.0, "p50": 3.0}

    def test_minutes_with_and_without_counts_add_up(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        metrics.put(SCOPE, *LATENCY, BLUE, 1.0, at=start, count=2)
        metrics.put(SCOPE, *LATENCY, BLUE, 2.0, at=start + MINUTE)
        metrics.put(SCOPE, *LATENCY, BLUE, 3.0, at=start + 2 * MINUTE, count=3)
        (point,) = latency(metrics, start, start + 5 * MINUTE, 300, "SampleCount", "Sum", "p50")
        assert point.values == {"SampleCount": 6.0, "Sum": 13.0, "p50": 2.5}

    def test_units_are_kept_apart(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        metrics.put(SCOPE, *LATENCY, BLUE, 1.0, at=start, unit="Seconds")
        metrics.put(SCOPE, *LATENCY, BLUE, 1000.0, at=start, unit="Milliseconds")
        both = latency(metrics, start, start + MINUTE, 60, "Sum")
        assert [(point.unit, point.values["Sum"]) for point in both] == [("Milliseconds", 1000.0), ("Seconds", 1.0)]
        (one,) = latency(metrics, start, start + MINUTE, 60, "Sum", unit="Seconds")
        assert one.values == {"Sum": 1.0}
        assert latency(metrics, start, start + MINUTE, 60, "Sum", unit="Bytes") == []

    def test_high_resolution_keeps_seconds(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        for second in range(30):
            at = start + timedelta(seconds=second, milliseconds=900)
            metrics.put(SCOPE, *LATENCY, BLUE, 1.0, at=at, resolution=1)
        points = latency(metrics, start, start + MINUTE, 10, "Sum")
        assert [point.values["Sum"] for point in points] == [10.0, 10.0, 10.0]

    @pytest.mark.parametrize(
        "other",
        [
            ("aws:123456789012:eu-west-1", *LATENCY, BLUE),
            ("aws:999999999999:us-east-1", *LATENCY, BLUE),
            (SCOPE, "Custom", "ModelLatency", BLUE),
            (SCOPE, "AWS/SageMaker", "OverheadLatency", BLUE),
            (SCOPE, *LATENCY, {"EndpointName": "churn"}),
            (SCOPE, *LATENCY, {**BLUE, "VariantName": "green"}),
        ],
    )
    def test_metrics_do_not_meet(self, metrics: Metrics, clock: Clock, other: tuple[str, str, str, dict]) -> None:
        start = noon(clock)
        metrics.put(*other, 1.0, at=start)
        assert latency(metrics, start, start + MINUTE, 60, "Sum") == []

    def test_several_metrics_are_taken_together(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        for variant, value in (("blue", 1.0), ("blue", 3.0), ("green", 2.0), ("grey", 9.0)):
            metrics.put(SCOPE, *LATENCY, {"VariantName": variant}, value, at=start)
        found = [each for each in metrics.list(SCOPE, *LATENCY) if ("VariantName", "grey") not in each.dimensions]
        (point,) = metrics.together(SCOPE, found, start, start + MINUTE, 60, ("SampleCount", "p50", "p100"))
        assert point.values == {"SampleCount": 3.0, "p50": 2.0, "p100": 3.0}

    def test_the_order_of_dimensions_does_not_matter(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        metrics.put(SCOPE, *LATENCY, dict(reversed(BLUE.items())), 1.0, at=start)
        assert len(latency(metrics, start, start + MINUTE, 60, "Sum")) == 1

    @pytest.mark.parametrize("statistic", ["Median", "p", "p101", "p-1", "p1e1", "p.5", "p5.", "tm90", "P99", "p9.9.9"])
    def test_any_other_statistic_is_refused(self, metrics: Metrics, clock: Clock, statistic: str) -> None:
        with pytest.raises(Invalid, match="neither one of SampleCount"):
            latency(metrics, noon(clock), clock.now(), 60, statistic)

    def test_percentages(self) -> None:
        assert [percent(text) for text in ("p0", "p0.0", "p99", "p99.9", "p100")] == [0.0, 0.0, 99.0, 99.9, 100.0]


class TestPercentiles:
    @given(
        st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 5)), min_size=1, max_size=40),
        st.floats(0, 100),
    )
    def test_they_are_numpy_s_of_the_samples_written_out(self, samples: list[tuple[float, int]], share: float) -> None:
        bucket = Bucket()
        for value, count in samples:
            bucket.put(value, count)
        written_out = [value for value, count in samples for _ in range(count)]
        expected = float(np.percentile(written_out, share))
        assert Summary(bucket).percentile(share) == pytest.approx(expected, rel=1e-9, abs=1e-6)

    def test_of_many_values(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        generator = random.Random(7)
        values = [generator.lognormvariate(8, 1) for _ in range(20_000)]
        for index, value in enumerate(values):
            metrics.put(SCOPE, *LATENCY, BLUE, value, at=start + (index % 60) * MINUTE)
        (point,) = latency(metrics, start, start + 60 * MINUTE, 3600, "p50", "p90", "p99", "p99.9")
        for statistic, value in point.values.items():
            assert value == pytest.approx(np.percentile(values, float(statistic[1:])))


class TestList:
    def test_by_namespace_name_and_some_dimensions(self, metrics: Metrics) -> None:
        green = {**BLUE, "VariantName": "green"}
        metrics.put(SCOPE, *LATENCY, BLUE, 1.0)
        metrics.put(SCOPE, *LATENCY, green, 1.0)
        metrics.put(SCOPE, "Custom", "Rows", {}, 1.0)
        metrics.put("azure:lab", "Custom", "Other", {}, 1.0)
        assert [(metric.namespace, metric.name) for metric in metrics.list(SCOPE)] == [
            LATENCY,
            LATENCY,
            ("Custom", "Rows"),
        ]
        assert [dict(metric.dimensions) for metric in metrics.list(SCOPE, *LATENCY)] == [BLUE, green]
        assert len(metrics.list(SCOPE, dimensions={"EndpointName": None})) == 2
        assert [dict(m.dimensions) for m in metrics.list(SCOPE, dimensions={"VariantName": "green"})] == [green]
        assert metrics.list(SCOPE, "Custom", "Columns") == []

    def test_latest_is_when_it_was_put_not_what_for(self, metrics: Metrics, clock: Clock) -> None:
        metrics.put(SCOPE, *LATENCY, BLUE, 1.0, at=noon(clock))
        (metric,) = metrics.list(SCOPE)
        assert abs(metric.latest - clock.now()) < MINUTE

    def test_clear_forgets(self, metrics: Metrics, clock: Clock) -> None:
        metrics.put(SCOPE, *LATENCY, BLUE, 1.0)
        metrics.clear()
        assert metrics.list(SCOPE) == []
        assert latency(metrics, noon(clock), clock.now() + MINUTE, 60, "Sum") == []


class TestBounds:
    def test_past_the_values_kept_the_oldest_minutes_become_statistics(
        self, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(metrics_module, "KEPT_VALUES", 1_000)
        start = noon(clock)
        for index in range(1_100):
            metrics.put(SCOPE, *LATENCY, BLUE, 1.0 + index % 100, at=start + (index // 100) * MINUTE)
        points = latency(metrics, start, start + 20 * MINUTE, 60, "SampleCount", "Average", "Maximum", "p50")
        assert [point.values["SampleCount"] for point in points] == [100.0] * 11
        assert {point.values["Average"] for point in points} == {50.5}
        assert {point.values["Maximum"] for point in points} == {100.0}
        known = [point.values["p50"] for point in points]
        assert known == [None] * 3 + [50.5] * 8

    def test_past_the_buckets_kept_the_oldest_are_forgotten(
        self, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(metrics_module, "KEPT_BUCKETS", 100)
        start = noon(clock)
        for index in range(101):
            metrics.put(SCOPE, *LATENCY, BLUE, 1.0, at=start + index * MINUTE)
        points = latency(metrics, start, start + 200 * MINUTE, 60, "Sum")
        assert len(points) == 76
        assert points[-1].at == start + 100 * MINUTE

    def test_what_is_past_its_retention_is_not_shown(self, metrics: Metrics, clock: Clock) -> None:
        start = noon(clock)
        metrics.put(SCOPE, *LATENCY, BLUE, 1.0, at=start)
        clock.advance(timedelta(days=453))
        assert len(latency(metrics, start, start + MINUTE, 60, "Sum")) == 1
        clock.advance(timedelta(days=2))
        assert latency(metrics, start, start + MINUTE, 60, "Sum") == []

    def test_many_threads_lose_nothing(self, metrics: Metrics, clock: Clock) -> None:
        def put() -> None:
            for _ in range(500):
                metrics.put(SCOPE, *LATENCY, BLUE, 1.0)

        threads = [threading.Thread(target=put) for _ in range(8)]
        start = clock.now() - MINUTE
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        points = latency(metrics, start, clock.now() + MINUTE, 3600, "SampleCount")
        assert sum(point.values["SampleCount"] for point in points) == 4_000.0
