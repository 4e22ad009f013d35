"""Time series in alignment periods, and several of them reduced to one.

https://cloud.google.com/monitoring/api/ref_v3/rpc/google.monitoring.v3#aligner and ``#reducer`` say to which metrics
each applies and what comes of it. Those that are not here refuse. Percentiles are exact: they are of the values
themselves, not of a distribution's buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from labkit.cloud.engine.metrics import Bucket, Summary
from labkit.cloud.gcp.errors import GcpError, invalid, refusal

#: Seconds of the shortest and the longest alignment period.
SHORTEST, LONGEST = 60, 104 * 7 * 86400

Value = int | float | Bucket


@dataclass(frozen=True, slots=True)
class Form:
    """What a time series is: ``kind`` ``GAUGE`` or ``DELTA``, ``value`` ``INT64``, ``DOUBLE`` or ``DISTRIBUTION``."""

    kind: str
    value: str

    @property
    def numeric(self) -> bool:
        return self.value != "DISTRIBUTION"


@dataclass(frozen=True, slots=True)
class Point:
    """A value of the time from ``start`` to ``end``, which are the same for a gauge's."""

    start: datetime
    end: datetime
    value: Value


@dataclass(frozen=True, slots=True)
class _Way:
    """How an aligner or a reducer works: on which kinds of series, into which form, by what."""

    kinds: tuple[str, ...]
    of_numbers: bool
    of_distributions: bool
    kind: str = ""
    value: str = ""

    def form(self, before: Form) -> Form:
        return Form(self.kind or before.kind, self.value or before.value)

    def takes(self, form: Form) -> bool:
        return form.kind in self.kinds and (self.of_numbers if form.numeric else self.of_distributions)


_PERCENTILES = {"99": "p99", "95": "p95", "50": "p50", "05": "p5"}
_BOTH = ("GAUGE", "DELTA")
_ALIGNERS = {
    "ALIGN_NONE": _Way(_BOTH, True, True),
    "ALIGN_DELTA": _Way(("DELTA",), True, True),
    "ALIGN_RATE": _Way(("DELTA",), True, False, "GAUGE", "DOUBLE"),
    "ALIGN_SUM": _Way(_BOTH, True, False),
    "ALIGN_MEAN": _Way(("GAUGE",), True, False, value="DOUBLE"),
    "ALIGN_MIN": _Way(("GAUGE",), True, False),
    "ALIGN_MAX": _Way(("GAUGE",), True, False),
    "ALIGN_COUNT": _Way(("GAUGE",), True, False, value="INT64"),
    **{f"ALIGN_PERCENTILE_{share}": _Way(("DELTA",), False, True, "GAUGE", "DOUBLE") for share in _PERCENTILES},
}
_REDUCERS = {
    "REDUCE_NONE": _Way(_BOTH, True, True),
    "REDUCE_SUM": _Way(_BOTH, True, True),
    "REDUCE_MEAN": _Way(_BOTH, True, True, "GAUGE", "DOUBLE"),
    "REDUCE_MIN": _Way(_BOTH, True, False, "GAUGE"),
    "REDUCE_MAX": _Way(_BOTH, True, False, "GAUGE"),
    "REDUCE_COUNT": _Way(_BOTH, True, False, "GAUGE", "INT64"),
    **{f"REDUCE_PERCENTILE_{share}": _Way(_BOTH, False, True, "GAUGE", "DOUBLE") for share in _PERCENTILES},
}


@dataclass(frozen=True, slots=True)
class Aggregation:
    """An aligner with its period (a number of seconds), and a reducer."""

    aligner: str = "ALIGN_NONE"
    period: int = 0
    reducer: str = "REDUCE_NONE"

    def check(self, form: Form) -> tuple[Form, Form]:
        """The form of aligned series and of reduced ones; raises what the API answers for what does not fit."""
        aligner, reducer = _ALIGNERS.get(self.aligner), _REDUCERS.get(self.reducer)
        if aligner is None or reducer is None:
            name = self.aligner if aligner is None else self.reducer
            raise refusal(name, f"The local clouds do not serve {name} yet; see docs/fidelity.md.")
        if self.aligner == "ALIGN_NONE" and self.reducer != "REDUCE_NONE":
            raise invalid(
                f"Field aggregation.crossSeriesReducer had the value {self.reducer}: time series are reduced only once "
                "they are aligned, so perSeriesAligner has to be set.",
                "aggregation.per_series_aligner",
            )
        if self.aligner != "ALIGN_NONE" and not SHORTEST <= self.period <= LONGEST:
            raise invalid(
                f"Field aggregation.alignmentPeriod had an invalid value of {self.period} s: it must be at least "
                f"{SHORTEST} s and at most 104 weeks.",
                "aggregation.alignment_period",
            )
        if not aligner.takes(form):
            raise _misfit(self.aligner, form)
        aligned = aligner.form(form)
        if not reducer.takes(aligned):
            raise _misfit(self.reducer, aligned)
        return aligned, reducer.form(aligned)

    def start(self, start: datetime, end: datetime) -> datetime:
        """Where the first period begins: periods end with the window."""
        if self.aligner == "ALIGN_NONE":
            return start
        step = timedelta(seconds=self.period)
        return end - max(-(-(end - start) // step), 1) * step

    def align(self, buckets: Iterable[tuple[datetime, Bucket]], form: Form, width: int) -> list[Point]:
        """The points of one series, in order; ``width`` is the length (s) of what each bucket covers."""
        gauge = _ALIGNERS[self.aligner].form(form).kind == "GAUGE"
        found = []
        for at, bucket in buckets:
            end = at + timedelta(seconds=width)
            found.append(Point(end if gauge else at, end, self._value(bucket, form, width)))
        return found

    def reduce(self, series: Sequence[Sequence[Point]], form: Form) -> list[Point]:
        """One series made of several that are aligned alike, in order; ``form`` is theirs."""
        together: dict[datetime, list[Point]] = {}
        for points in series:
            for point in points:
                together.setdefault(point.end, []).append(point)
        kind = _REDUCERS[self.reducer].form(form).kind
        found = []
        for end, points in sorted(together.items()):
            start = end if kind == "GAUGE" else points[0].start
            found.append(Point(start, end, self._reduced([point.value for point in points])))
        return found

    def _value(self, bucket: Bucket, form: Form, width: int) -> Value:
        if self.aligner.startswith("ALIGN_PERCENTILE_"):
            return Summary(bucket).value(_PERCENTILES[self.aligner[-2:]]) or 0.0
        if not form.numeric:
            return bucket
        if self.aligner == "ALIGN_NONE" and form.kind == "GAUGE":
            value = bucket.values[-1] if bucket.values else Summary(bucket).total / Summary(bucket).count
        else:
            value = _NUMBERS[self.aligner](Summary(bucket), width)
        return round(value) if _ALIGNERS[self.aligner].form(form).value == "INT64" else value

    def _reduced(self, values: Sequence[Value]) -> Value:
        buckets = [value for value in values if isinstance(value, Bucket)]
        if not buckets:
            numbers = [value for value in values if not isinstance(value, Bucket)]
            return _REDUCTIONS[self.reducer](numbers)
        merged = Bucket()
        for bucket in buckets:
            merged.add(bucket)
        if self.reducer == "REDUCE_MEAN":
            return Summary(merged).value("Average") or 0.0
        if self.reducer.startswith("REDUCE_PERCENTILE_"):
            return Summary(merged).value(_PERCENTILES[self.reducer[-2:]]) or 0.0
        return merged


_NUMBERS: Mapping[str, Callable[[Summary, int], float]] = {
    "ALIGN_NONE": lambda summary, _: summary.total,
    "ALIGN_DELTA": lambda summary, _: summary.total,
    "ALIGN_SUM": lambda summary, _: summary.total,
    "ALIGN_RATE": lambda summary, period: summary.total / period,
    "ALIGN_MEAN": lambda summary, _: summary.total / summary.count,
    "ALIGN_MIN": lambda summary, _: summary.minimum,
    "ALIGN_MAX": lambda summary, _: summary.maximum,
    "ALIGN_COUNT": lambda summary, _: summary.count,
}
_REDUCTIONS: Mapping[str, Callable[[Sequence[int | float]], int | float]] = {
    "REDUCE_SUM": sum,
    "REDUCE_MEAN": lambda numbers: sum(numbers) / len(numbers),
    "REDUCE_MIN": min,
    "REDUCE_MAX": max,
    "REDUCE_COUNT": len,
}


def _misfit(name: str, form: Form) -> GcpError:
    return invalid(
        f"The aggregation {name} cannot be applied to metrics with kind {form.kind} and value type {form.value}.",
        "aggregation",
    )
