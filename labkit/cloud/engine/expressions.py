"""When a schedule fires: the cron, rate, one-off and recurrence expressions of the three clouds.

Each is an :class:`Expression`: the first instant after another at which it fires, as the clocks in a time zone show
it. How the vendors treat the hour that a change of daylight saving time leaves out or repeats is with each class.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from labkit.cloud.engine.errors import Invalid

#: The last year in which EventBridge's cron expressions fire, and the first.
FIRST_YEAR, LAST_YEAR = 1970, 2199
#: How far a recurrence looks ahead for its next instant.
_HORIZON = 60

_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_AWS_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_RATE = re.compile(r"rate\(\s*(\d+)\s+(minutes?|hours?|days?)\s*\)")
_AT = re.compile(r"at\(\s*(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\s*\)")
_CRON_IN_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.+)")

Frequency = Literal["minute", "hour", "day", "week", "month"]


class Expression(Protocol):
    """Says when something is due."""

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """The first instant after ``after`` (aware), in UTC; None when there is none any more."""


@dataclass(frozen=True)
class Rate:
    """Every ``interval`` after ``anchor``, or after the time asked about when there is none. A day is 24 hours."""

    interval: timedelta
    anchor: datetime | None = None

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        if self.anchor is None:
            return after.astimezone(UTC) + self.interval
        if after < self.anchor:
            return self.anchor.astimezone(UTC)
        turns = (after - self.anchor) // self.interval + 1
        return self.anchor.astimezone(UTC) + turns * self.interval


@dataclass(frozen=True)
class At:
    """Once, at a local time without a zone."""

    when: datetime

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        instant = self.when.replace(tzinfo=zone).astimezone(UTC)
        return instant if instant > after else None


class Cron:
    """A crontab's five fields, with names, ranges, lists and steps; where both days are restricted, either may match.

    As Debian's cron, at fixed hours: what falls into the hour left out fires right after it, and what falls into
    the repeated one fires once. With a ``*`` for the hour or minute it fires by the hours as they pass.
    https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules
    """

    def __init__(self, text: str) -> None:
        # The library also reads a field of seconds and Quartz' letters, which crontabs do not have.
        if len(text.split()) != 5 or re.search(r"(?<![A-Z])[LW]|#|\dL", text.upper()):
            raise Invalid(
                f"{text!r} is not a cron expression: write minute, hour, day of month, month and day of week, "
                "such as 0 9 1 * *."
            )
        self.text = text
        try:
            CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise Invalid(f"{text!r} is not a cron expression: {error}.") from None

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        for instant in CronSim(self.text, after.astimezone(zone)):
            if instant > after:
                return instant.astimezone(UTC)
        return None


class AwsCron:
    """EventBridge's six fields: minutes, hours, day of month, month, day of week (1 is Sunday), year.

    What falls into the hour left out is skipped, what falls into the repeated one fires once.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """

    def __init__(self, fields: str) -> None:
        self.text = fields
        parts = fields.upper().split()
        if len(parts) != 6:
            raise Invalid(f"cron({fields}) has {len(parts)} fields; it takes 6.")
        minutes, hours, self._day, months, self._weekday, years = parts
        if (self._day == "?") == (self._weekday == "?"):
            raise Invalid(f"cron({fields}) takes a ? for the day of month or for the day of week, and for one only.")
        wanted_hours, wanted_minutes = _values(hours, 0, 23, {}), _values(minutes, 0, 59, {})
        self._times = [time(hour, minute) for hour in wanted_hours for minute in wanted_minutes]
        self._months = set(_values(months, 1, 12, _MONTHS))
        self._years = _values(years, FIRST_YEAR, LAST_YEAR, {})
        # Refuses what cannot be read before it is first needed; a month in which all weekdays have a fifth day or not.
        _days_of_month(self._day, 2024, 1)
        _days_of_week(self._weekday, 2024, 1)

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        for local in self._from(after.astimezone(zone).replace(tzinfo=None) - timedelta(hours=3)):
            instant = _existing(local, zone)
            if instant is not None and instant > after:
                return instant
        return None

    def _from(self, start: datetime) -> Iterator[datetime]:
        for year in self._years[bisect_left(self._years, start.year) :]:
            for month in sorted(self._months):
                if (year, month) < (start.year, start.month):
                    continue
                days = _days_of_month(self._day, year, month) & _days_of_week(self._weekday, year, month)
                for day in sorted(days):
                    if date(year, month, day) < start.date():
                        continue
                    for each in self._times:
                        local = datetime.combine(date(year, month, day), each)
                        if local >= start:
                            yield local


@dataclass(frozen=True)
class Recurrence:
    """Azure's recurrence: every ``interval`` minutes, hours, days, weeks or months from ``start``, a local time.

    Within a day, week or month it fires at all ``hours`` and ``minutes`` of the ``week_days`` (0 is Monday) or
    ``month_days``; what is not given is the start's own. A month without such a day is passed over. What falls into
    the hour that daylight saving time leaves out fires an hour later, what falls into the repeated one fires once.
    https://learn.microsoft.com/azure/machine-learning/reference-yaml-schedule
    """

    frequency: Frequency
    interval: int
    start: datetime
    hours: Sequence[int] = ()
    minutes: Sequence[int] = ()
    week_days: Sequence[int] = ()
    month_days: Sequence[int] = ()
    _times: list[time] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, values, low, high in (
            ("hours", self.hours, 0, 23),
            ("minutes", self.minutes, 0, 59),
            ("week days", self.week_days, 0, 6),
            ("month days", self.month_days, 1, 31),
        ):
            if wrong := [value for value in values if not low <= value <= high]:
                raise Invalid(f"A recurrence's {name} are from {low} to {high}, not {wrong[0]}.")
        if self.interval < 1:
            raise Invalid(f"A recurrence's interval is at least 1, not {self.interval}.")
        hours, minutes = self.hours or [self.start.hour], self.minutes or [self.start.minute]
        second = 0 if self.hours or self.minutes else self.start.second
        times = sorted({time(hour, minute, second) for hour in hours for minute in minutes})
        object.__setattr__(self, "_times", times)

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        if self.frequency in ("minute", "hour"):
            step = timedelta(**{f"{self.frequency}s": self.interval})
            return Rate(step, self.start.replace(tzinfo=zone)).next(after, zone)
        earliest = max(self.start, after.astimezone(zone).replace(tzinfo=None) - timedelta(days=1))
        for day in self._days(earliest.date()):
            for each in self._times:
                local = datetime.combine(day, each)
                instant = local.replace(tzinfo=zone).astimezone(UTC)
                if local >= self.start and instant > after:
                    return instant
        return None

    def _days(self, first: date) -> Iterator[date]:
        """The days on which it fires, from ``first`` on."""
        start = self.start.date()
        if self.frequency == "month":
            turns = ((first.year - start.year) * 12 + first.month - start.month) // self.interval
            for turn in range(turns, turns + _HORIZON):
                years, month = divmod(start.month - 1 + turn * self.interval, 12)
                last = calendar.monthrange(start.year + years, month + 1)[1]
                for day in sorted(set(self.month_days) or {start.day}):
                    if day <= last and (found := date(start.year + years, month + 1, day)) >= first:
                        yield found
            return
        length = self.interval * (7 if self.frequency == "week" else 1)
        monday = start - timedelta(days=start.weekday()) if self.frequency == "week" else start
        week_days = sorted(set(self.week_days) or {start.weekday()}) if self.frequency == "week" else [0]
        turns = (first - monday).days // length
        for turn in range(turns, turns + _HORIZON):
            for offset in week_days:
                found = monday + timedelta(days=turn * length + offset)
                if found >= first:
                    yield found


def aws(text: str, *, anchor: datetime | None = None) -> Expression:
    """``cron(...)``, ``rate(...)`` or ``at(...)`` as EventBridge reads them; ``anchor`` is where a rate counts from."""
    text = text.strip()
    if text.startswith("cron(") and text.endswith(")"):
        return AwsCron(text[5:-1])
    if found := _RATE.fullmatch(text):
        number, unit = int(found[1]), found[2].rstrip("s")
        if number < 1 or number > 100_000_000:
            raise Invalid(f"{text} has a value that is not positive, or too large.")
        return Rate(timedelta(**{f"{unit}s": number}), anchor)
    if found := _AT.fullmatch(text):
        try:
            return At(datetime.fromisoformat(found[1]))
        except ValueError as error:
            raise Invalid(f"{text} is no date and time: {error}.") from None
    raise Invalid(f"{text!r} is no schedule expression: write cron(...), rate(...) or at(yyyy-mm-ddThh:mm:ss).")


def cron_in_zone(text: str) -> tuple[Cron, ZoneInfo]:
    """A cron expression with the zone that it may begin with: ``TZ=Europe/Berlin 0 9 1 * *``; UTC without one."""
    found = _CRON_IN_ZONE.fullmatch(text.strip())
    return (Cron(found[2]), zone(found[1])) if found else (Cron(text.strip()), ZoneInfo("UTC"))


def zone(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA database; raises :class:`Invalid`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Invalid(f"{name!r} is no time zone: write one such as Europe/Berlin or UTC.") from None


def _existing(local: datetime, where: ZoneInfo) -> datetime | None:
    """The first instant at which the clocks show ``local``; None if they never do."""
    instant = local.replace(tzinfo=where).astimezone(UTC)
    return instant if instant.astimezone(where).replace(tzinfo=None) == local else None


def _values(text: str, low: int, high: int, names: dict[str, int]) -> list[int]:
    """The values of a field, in order: ``*``, values, ranges, lists, steps."""
    found: set[int] = set()
    for term in text.split(","):
        span, slash, every = term.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _value(first, low, high, names, text)
            end = _value(last, low, high, names, text) if dash else (high if slash else start)
        step = _value(every, 1, high, {}, text) if slash else 1
        if end < start:
            raise Invalid(f"The cron field {text} has a range that ends before it begins.")
        found.update(range(start, end + 1, step))
    return sorted(found)


def _value(text: str, low: int, high: int, names: dict[str, int], whole: str) -> int:
    value = names.get(text, int(text) if text.isdecimal() else None)
    if value is None or not low <= value <= high:
        raise Invalid(f"The cron field {whole} has {text!r} where a value from {low} to {high} belongs.")
    return value


def _days_of_month(text: str, year: int, month: int) -> set[int]:
    last = calendar.monthrange(year, month)[1]
    if text == "?":
        return set(range(1, last + 1))
    if text == "L":
        return {last}
    if text.endswith("W"):
        day = min(_value(text[:-1], 1, 31, {}, text), last) if text != "LW" else last
        weekday = date(year, month, day).weekday()
        if weekday == 5:
            return {day - 1 if day > 1 else day + 2}
        if weekday == 6:
            return {day + 1 if day < last else day - 2}
        return {day}
    return {day for day in _values(text, 1, 31, {}) if day <= last}


def _days_of_week(text: str, year: int, month: int) -> set[int]:
    first, last = calendar.monthrange(year, month)
    # Of each day of the month its weekday, from 1 for Sunday.
    weekdays = {day: (first + day) % 7 + 1 for day in range(1, last + 1)}
    if text == "?":
        return set(weekdays)
    name, number, nth = text.partition("#")
    if number:
        wanted, turn = _value(name, 1, 7, _AWS_DAYS, text), _value(nth, 1, 5, {}, text)
        return {day for day, weekday in weekdays.items() if weekday == wanted and (day + 6) // 7 == turn}
    if text == "L":
        return {day for day, weekday in weekdays.items() if weekday == 7}
    if text.endswith("L"):
        wanted = _value(text[:-1], 1, 7, _AWS_DAYS, text)
        return {day for day, weekday in weekdays.items() if weekday == wanted and day + 7 > last}
    wanted_days = set(_values(text, 1, 7, _AWS_DAYS))
    return {day for day, weekday in weekdays.items() if weekday in wanted_days}
