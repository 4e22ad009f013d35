"""What CloudWatch's queries share: periods, statistics, and the window of time that they are about.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.metric_data import dimensions_of
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.clock import EPOCH
from labkit.cloud.engine.errors import Invalid
from labkit.cloud.engine.metrics import SIMPLE, Point, percent

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Periods of less than a minute, in seconds.
SHORT_PERIODS = (1, 5, 10, 20, 30)
#: Up to which age data are kept for periods that are a multiple of so many seconds.
KEPT_FOR = {1: timedelta(hours=3), 60: timedelta(days=15), 300: timedelta(days=63), 3600: timedelta(days=455)}

_OTHER_STATISTIC = re.compile(r"(tm|wm|tc|ts|pr)(\d.*|\(.*\))|iqm", re.IGNORECASE)


def is_period(seconds: int) -> bool:
    """Whether metrics can be had in periods of so many seconds."""
    return seconds in SHORT_PERIODS or (seconds > 0 and seconds % 60 == 0)


def is_statistic(call: Call, name: str) -> bool:
    """Whether a statistic can be computed. Refuses those that AWS has and the kit has not."""
    if _OTHER_STATISTIC.fullmatch(name):
        raise part_of(call, f"the statistic {name}")
    try:
        return name in SIMPLE or percent(name) >= 0
    except Invalid:
        return False


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of lab time; ``now`` is when it was asked about."""

    start: datetime
    end: datetime
    now: datetime

    @classmethod
    def of(cls, call: Call, start: datetime, end: datetime) -> Window:
        """The lab time that a client means."""
        clock = call.engine.clock
        return cls(*clock.window(start, end), clock.now())

    def begins(self, period: int) -> datetime:
        """The start, rounded down as documented: the older it is and the longer the period may be, the more."""
        age = self.now - self.start
        step = period if period < 60 else 60 if age < KEPT_FOR[60] else 300 if age < KEPT_FOR[300] else 3600
        return self.start - (self.start - EPOCH) % timedelta(seconds=step)

    def points(
        self, call: Call, metric: Mapping[str, Any], period: int, statistics: Sequence[str], unit: str | None
    ) -> list[Point]:
        """The statistics of a metric in this window; of each age only what is still kept for such a period."""
        kept = max(age for multiple, age in KEPT_FOR.items() if period % multiple == 0)
        return [
            point
            for point in call.engine.metrics.statistics(
                call.scope,
                metric["Namespace"],
                metric["MetricName"],
                dimensions_of(metric),
                self.begins(period),
                self.end,
                period,
                statistics,
                unit=unit,
            )
            if point.at >= self.now - kept
        ]


def statistic_of(point: Point, statistic: str) -> float | None:
    """A statistic of a point; None for a percentile that there is not: of negative values, or of statistic sets."""
    return None if statistic not in SIMPLE and point.minimum < 0 else point.values[statistic]


def invalid(message: str, code: str = "InvalidParameterValue") -> AwsError:
    """The error for a parameter that is not valid."""
    return AwsError(code, message)
