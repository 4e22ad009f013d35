"""Metrics: values as they were put, in buckets of a minute of lab time, and statistics over them.

Values are kept raw, eight bytes each, so a percentile over any period is exact; what was put as a statistic set
is kept as one. Memory is bounded: at most ``KEPT_VALUES`` raw values (32 MB) and ``KEPT_BUCKETS`` buckets (about
0.3 KB each). Past the first, the oldest buckets lose their values and keep count, sum, minimum and maximum; past the
second, the oldest buckets are forgotten. After ``RETENTION`` none is shown.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, repeat

from labkit.cloud.engine.clock import EPOCH, Clock, utc
from labkit.cloud.engine.errors import Invalid

KEPT_VALUES = 4_000_000
KEPT_BUCKETS = 100_000
#: How long a bucket is kept, in lab time: the longest that any of the clouds documents (AWS, 15 months).
RETENTION = timedelta(days=455)

#: The statistics other than percentiles, which are written ``p50`` to ``p99.9999999999``.
SIMPLE = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")

Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's identity in its scope. ``latest`` is the lab time of its latest put."""

    namespace: str
    name: str
    dimensions: Dimensions
    latest: datetime


@dataclass(frozen=True, slots=True)
class Point:
    """Statistics over one period that begins at ``at``.

    ``values`` has every statistic that was asked for; a percentile is None where the values are not known (only their
    statistics were put). ``minimum`` is there for the clouds that refuse percentiles of negative values.
    """

    at: datetime
    unit: str
    values: Mapping[str, float | None]
    minimum: float


@dataclass(slots=True)
class Bucket:
    """What was put into one minute. ``weights`` is None while every value counts once."""

    values: array[float] = field(default_factory=lambda: array("d"))
    weights: array[float] | None = None
    #: Of the statistic sets: samples, sum, minimum, maximum.
    count: float = 0.0
    total: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")

    def put(self, value: float, count: float) -> None:
        if count != 1.0 and self.weights is None:
            self.weights = array("d", repeat(1.0, len(self.values)))
        self.values.append(value)
        if self.weights is not None:
            self.weights.append(count)

    def put_statistics(self, count: float, total: float, minimum: float, maximum: float) -> None:
        self.count += count
        self.total += total
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)

    def add(self, other: Bucket) -> None:
        """Takes in everything that is in ``other``."""
        if self.weights is None and other.weights is not None:
            self.weights = array("d", repeat(1.0, len(self.values)))
        self.values.extend(other.values)
        if self.weights is not None:
            self.weights.extend(other.weights or repeat(1.0, len(other.values)))
        self.put_statistics(other.count, other.total, other.minimum, other.maximum)

    def summarize(self) -> None:
        """Forgets the values and keeps their statistics."""
        whole = Summary(self)
        self.values, self.weights = array("d"), None
        self.count, self.total, self.minimum, self.maximum = whole.count, whole.total, whole.minimum, whole.maximum


class Summary:
    """Statistics over one bucket, each computed once."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        values, weights = bucket.values, bucket.weights
        self.count = bucket.count + (len(values) if weights is None else sum(weights))
        self.total = bucket.total + (
            sum(values)
            if weights is None
            else sum(value * weight for value, weight in zip(values, weights, strict=True))
        )
        self.minimum = min(bucket.minimum, min(values, default=bucket.minimum))
        self.maximum = max(bucket.maximum, max(values, default=bucket.maximum))
        self._ordered: tuple[list[float], list[float] | None] | None = None

    def value(self, statistic: str) -> float | None:
        match statistic:
            case "SampleCount":
                return self.count
            case "Sum":
                return self.total
            case "Average":
                return self.total / self.count
            case "Minimum":
                return self.minimum
            case "Maximum":
                return self.maximum
        return self.percentile(percent(statistic))

    def percentile(self, share: float) -> float | None:
        """The value below which ``share`` per cent of the samples lie, by linear interpolation between neighbours.

        A value put with a count of n stands for n samples. None where a statistic set hides its samples.
        """
        if self._bucket.count or not self._bucket.values:
            return None
        values, ends = self._sorted()
        position = (self.count - 1) * share / 100 if self.count > 1 else 0.0
        whole = int(position)
        if ends is None:
            low, high = values[whole], values[min(whole + 1, len(values) - 1)]
        else:
            last = len(values) - 1
            low, high = (values[min(bisect_right(ends, sample), last)] for sample in (whole, whole + 1))
        return low + (high - low) * (position - whole)

    def _sorted(self) -> tuple[list[float], list[float] | None]:
        """The values in order and, where they have counts, how many samples there are up to and with each."""
        if self._ordered is None:
            bucket = self._bucket
            if bucket.weights is None:
                self._ordered = sorted(bucket.values), None
            else:
                pairs = sorted(zip(bucket.values, bucket.weights, strict=True))
                self._ordered = [value for value, _ in pairs], list(accumulate(weight for _, weight in pairs))
        return self._ordered


@dataclass(slots=True)
class _Series:
    """One metric in one unit: its buckets by the second since 1970 at which they begin."""

    buckets: dict[int, Bucket] = field(default_factory=dict)


@dataclass(slots=True)
class _Entry:
    """One metric: its series by unit."""

    latest: float = 0.0
    units: dict[str, _Series] = field(default_factory=dict)


class Metrics:
    """What was measured, by scope, namespace, name and dimensions; safe to use from any thread.

    A scope keeps clouds, accounts and regions apart, as ``aws:123456789012:us-east-1``. Units are kept apart, too.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._metrics: dict[str, dict[tuple[str, str, Dimensions], _Entry]] = {}
        self._values = 0
        self._buckets = 0

    def put(
        self,
        scope: str,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        value: float,
        *,
        at: datetime | None = None,
        unit: str = "None",
        count: float = 1.0,
        resolution: int = 60,
    ) -> None:
        """Records that ``value`` was measured ``count`` times at lab time ``at`` (now, if not given).

        ``resolution`` is the bucket's width in seconds: 60, or 1 for a metric of high resolution.
        """
        now = self._clock.time()
        when = now if at is None else utc(at).timestamp()
        key = (namespace, name, tuple(sorted(dimensions.items())))
        with self._lock:
            self._bucket(scope, key, unit, int(when // resolution) * resolution, now).put(value, count)
            self._values += 1
            if self._values > KEPT_VALUES:
                self._forget_values()

    def put_statistics(
        self,
        scope: str,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        *,
        count: float,
        total: float,
        minimum: float,
        maximum: float,
        at: datetime | None = None,
        unit: str = "None",
        resolution: int = 60,
    ) -> None:
        """Records ``count`` samples of which only these statistics are known.

        Where they give the values away (the minimum is the maximum), percentiles stay available.
        """
        if minimum == maximum and total == minimum * count:
            self.put(scope, namespace, name, dimensions, minimum, at=at, unit=unit, count=count, resolution=resolution)
            return
        now = self._clock.time()
        when = now if at is None else utc(at).timestamp()
        key = (namespace, name, tuple(sorted(dimensions.items())))
        with self._lock:
            bucket = self._bucket(scope, key, unit, int(when // resolution) * resolution, now)
            bucket.put_statistics(count, total, minimum, maximum)

    def statistics(
        self,
        scope: str,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        start: datetime,
        end: datetime,
        period: int,
        stats: Sequence[str],
        *,
        unit: str | None = None,
    ) -> Sequence[Point]:
        """Statistics of what was measured from ``start`` until before ``end``, one point for each period with data.

        Periods are ``period`` seconds long, the first begins at ``start``. ``dimensions`` are the metric's own, all of
        them. Without a unit there is a point for each in which the metric was put. Points come in order of time.

        Raises :class:`Invalid` for a statistic that is none of ``SIMPLE`` and no percentile.
        """
        metric = Metric(namespace, name, tuple(sorted(dimensions.items())), EPOCH)
        return self.together(scope, [metric], start, end, period, stats, unit=unit)

    def together(
        self,
        scope: str,
        metrics: Sequence[Metric],
        start: datetime,
        end: datetime,
        period: int,
        stats: Sequence[str],
        *,
        unit: str | None = None,
    ) -> Sequence[Point]:
        """As :meth:`statistics`, over all the values of several metrics, such as those that :meth:`list` found."""
        for statistic in stats:
            if statistic not in SIMPLE:
                percent(statistic)
        points = []
        for at, held, bucket in self.buckets(scope, metrics, start, end, period, unit=unit):
            summary = Summary(bucket)
            values = {statistic: summary.value(statistic) for statistic in stats}
            points.append(Point(at, held, values, summary.minimum))
        return points

    def buckets(
        self,
        scope: str,
        metrics: Sequence[Metric],
        start: datetime,
        end: datetime,
        period: int,
        *,
        unit: str | None = None,
    ) -> Sequence[tuple[datetime, str, Bucket]]:
        """What :meth:`together` makes its points of: each period's beginning, the unit, and the values themselves."""
        first, last = utc(start).timestamp(), utc(end).timestamp()
        kept_since = self._clock.time() - RETENTION.total_seconds()
        merged: dict[tuple[int, str], Bucket] = {}
        with self._lock:
            known = self._metrics.get(scope, {})
            entries = [known.get((metric.namespace, metric.name, metric.dimensions)) for metric in metrics]
            for held, series in [each for entry in entries if entry for each in entry.units.items()]:
                if unit is not None and held != unit:
                    continue
                for begins, bucket in series.buckets.items():
                    if first <= begins < last and begins >= kept_since:
                        period_number = int((begins - first) // period)
                        merged.setdefault((period_number, held), Bucket()).add(bucket)
        return [
            (datetime.fromtimestamp(first + number * period, UTC), held, bucket)
            for (number, held), bucket in sorted(merged.items(), key=lambda item: item[0])
        ]

    def list(
        self,
        scope: str,
        namespace: str | None = None,
        name: str | None = None,
        dimensions: Mapping[str, str | None] | None = None,
    ) -> Sequence[Metric]:
        """The scope's metrics that have these names and at least these dimensions (None: with any value), in order."""
        wanted = dimensions or {}
        found = []
        with self._lock:
            for (its_namespace, its_name, its_dimensions), entry in self._metrics.get(scope, {}).items():
                if namespace not in (None, its_namespace) or name not in (None, its_name):
                    continue
                held = dict(its_dimensions)
                if all(key in held and value in (None, held[key]) for key, value in wanted.items()):
                    latest = datetime.fromtimestamp(entry.latest, UTC)
                    found.append(Metric(its_namespace, its_name, its_dimensions, latest))
        return sorted(found, key=lambda metric: (metric.namespace, metric.name, metric.dimensions))

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._metrics.clear()
            self._values = self._buckets = 0

    def _bucket(self, scope: str, key: tuple[str, str, Dimensions], unit: str, begins: int, now: float) -> Bucket:
        entry = self._metrics.setdefault(scope, {}).get(key)
        if entry is None:
            entry = self._metrics[scope][key] = _Entry()
        entry.latest = now
        series = entry.units.get(unit)
        if series is None:
            series = entry.units[unit] = _Series()
        bucket = series.buckets.get(begins)
        if bucket is None:
            if self._buckets >= KEPT_BUCKETS:
                self._forget_buckets()
            bucket = series.buckets[begins] = Bucket()
            self._buckets += 1
        return bucket

    def _forget_values(self) -> None:
        """Leaves the newest three quarters of the values; of the others, their statistics."""
        surplus = self._values - KEPT_VALUES * 3 // 4
        for _, _, bucket in self._oldest_first():
            if surplus <= 0:
                break
            surplus -= len(bucket.values)
            self._values -= len(bucket.values)
            if bucket.values:
                bucket.summarize()

    def _forget_buckets(self) -> None:
        """Leaves the newest three quarters of the buckets."""
        surplus = self._buckets - KEPT_BUCKETS * 3 // 4
        for begins, series, bucket in self._oldest_first()[:surplus]:
            self._buckets -= 1
            self._values -= len(bucket.values)
            del series.buckets[begins]

    def _oldest_first(self) -> Sequence[tuple[int, _Series, Bucket]]:
        everything = [
            (begins, series, bucket)
            for metrics in self._metrics.values()
            for entry in metrics.values()
            for series in entry.units.values()
            for begins, bucket in series.buckets.items()
        ]
        return sorted(everything, key=lambda item: item[0])


def percent(statistic: str) -> float:
    """The percentage in ``p99`` or ``p99.9``. Raises :class:`Invalid` for what is no percentile from p0 to p100."""
    digits = statistic[1:]
    if statistic[:1] == "p" and digits.replace(".", "", 1).isdecimal() and digits[0] != "." and digits[-1] != ".":
        share = float(digits)
        if 0 <= share <= 100:
            return share
    raise Invalid(f"{statistic!r} is neither one of {', '.join(SIMPLE)} nor a percentile from p0 to p100.")
