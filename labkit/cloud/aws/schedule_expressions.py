"""The times at which EventBridge fires: ``cron(...)``, ``rate(...)`` and ``at(...)``.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html; daylight saving as documented there: a time
that a zone skips is skipped, one that it has twice counts once.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

_MONTHS = {
    name: number
    for number, name in enumerate(
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], 1
    )
}
_DAYS = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)}
_LAST_YEAR = 2199


class InvalidExpression(ValueError):
    """A text that is no expression."""


class Expression(Protocol):
    """When something fires."""

    def next(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """The first instant later than ``after``, in UTC, or None. Rates count from ``anchor``."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Every so often."""

    every: timedelta

    def next(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        if after < anchor:
            return anchor
        return anchor + ((after - anchor) // self.every + 1) * self.every


@dataclass(frozen=True, slots=True)
class At:
    """Once; ``when`` is a zone's own time."""

    when: datetime

    def next(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        found = _instant(self.when, zone)
        return found if found is not None and found > after else None


@dataclass(frozen=True, slots=True)
class Cron:
    """At the minutes, hours, days, months and years that six fields name."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    is_day: Callable[[date], bool]
    months: frozenset[int]
    years: frozenset[int]

    def next(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        day = after.astimezone(zone).date()
        while day.year <= _LAST_YEAR:
            if day.year not in self.years:
                day = date(day.year + 1, 1, 1)
            elif day.month not in self.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            else:
                found = self._on(day, after, zone) if self.is_day(day) else None
                if found is not None:
                    return found
                day += timedelta(days=1)
        return None

    def _on(self, day: date, after: datetime, zone: ZoneInfo) -> datetime | None:
        for hour in self.hours:
            for minute in self.minutes:
                found = _instant(datetime(day.year, day.month, day.day, hour, minute), zone)
                if found is not None and found > after:
                    return found
        return None


def _instant(local: datetime, zone: ZoneInfo) -> datetime | None:
    """A zone's own time as an instant; None for one that the zone skips."""
    found = local.replace(tzinfo=zone).astimezone(UTC)
    return found if found.astimezone(zone).replace(tzinfo=None) == local else None


def parse(text: str, kinds: str = "cron rate at") -> Expression:
    """Reads an expression of one of ``kinds``; raises :class:`InvalidExpression`."""
    matched = re.fullmatch(r"(cron|rate|at)\((.*)\)", text)
    if matched is None or matched[1] not in kinds.split():
        raise InvalidExpression(text)
    if matched[1] == "cron":
        return _cron(matched[2])
    return _rate(matched[2]) if matched[1] == "rate" else _at(matched[2])


def _rate(text: str) -> Rate:
    matched = re.fullmatch(r"([1-9]\d*) (minute|hour|day)(s?)", text)
    if matched is None or (matched[1] == "1") == bool(matched[3]):
        raise InvalidExpression(text)
    return Rate(timedelta(**{f"{matched[2]}s": int(matched[1])}))


def _at(text: str) -> At:
    try:
        return At(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        raise InvalidExpression(text) from None


def _cron(text: str) -> Cron:
    fields = text.upper().split()
    if len(fields) != 6:
        raise InvalidExpression(text)
    minutes, hours, of_month, months, of_week, years = fields
    if (of_month == "?") == (of_week == "?"):
        # One of the two has to be left open.
        raise InvalidExpression(text)
    return Cron(
        tuple(sorted(_numbers(minutes, 0, 59))),
        tuple(sorted(_numbers(hours, 0, 23))),
        _day_of_month(of_month) if of_week == "?" else _day_of_week(of_week),
        _numbers(months, 1, 12, _MONTHS),
        _numbers(years, 1970, _LAST_YEAR),
    )


def _numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    """The numbers that a field lists: ``*``, ``1,3``, ``1-5``, ``0/15``, names."""
    found: set[int] = set()
    for part in field.split(","):
        matched = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", part)
        if matched is None:
            raise InvalidExpression(field)
        first, last, step = matched.groups()
        if first == "*":
            start, end = low, high
            if last:
                raise InvalidExpression(field)
        else:
            start = _number(first, low, high, names)
            end = _number(last, low, high, names) if last else (high if step else start)
        if step == "0" or start > end:
            raise InvalidExpression(field)
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, low: int, high: int, names: dict[str, int] | None) -> int:
    number = (names or {}).get(text, int(text) if text.isdigit() else -1)
    if not low <= number <= high:
        raise InvalidExpression(text)
    return number


def _last(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _day_of_month(field: str) -> Callable[[date], bool]:
    if field == "L":
        return lambda day: day.day == _last(day)
    if field == "LW":
        return lambda day: day.day == _nearest_weekday(day, _last(day))
    if matched := re.fullmatch(r"(\d{1,2})W", field):
        wanted = _number(matched[1], 1, 31, None)
        return lambda day: wanted <= _last(day) and day.day == _nearest_weekday(day, wanted)
    days = _numbers(field, 1, 31)
    return lambda day: day.day in days


def _nearest_weekday(day: date, number: int) -> int:
    """The weekday of ``day``'s month nearest to its day ``number``, within the month."""
    weekday = day.replace(day=number).weekday()
    if weekday == 5:
        return number - 1 if number > 1 else number + 2
    if weekday == 6:
        return number + 1 if number < _last(day) else number - 2
    return number


def _day_of_week(field: str) -> Callable[[date], bool]:
    if field == "L":
        return lambda day: _week_day(day) == 7
    if matched := re.fullmatch(r"(\w+)L", field):
        wanted = _number(matched[1], 1, 7, _DAYS)
        return lambda day: _week_day(day) == wanted and day.day + 7 > _last(day)
    if matched := re.fullmatch(r"(\w+)#([1-5])", field):
        wanted, nth = _number(matched[1], 1, 7, _DAYS), int(matched[2])
        return lambda day: _week_day(day) == wanted and (day.day - 1) // 7 + 1 == nth
    days = _numbers(field, 1, 7, _DAYS)
    return lambda day: _week_day(day) in days


def _week_day(day: date) -> int:
    """1 for Sunday to 7 for Saturday, as AWS counts."""
    return day.isoweekday() % 7 + 1
