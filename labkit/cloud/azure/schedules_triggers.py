"""Triggers of schedules: recurrences and cron expressions, as requests write them and as the engine reads them.

https://learn.microsoft.com/azure/machine-learning/how-to-schedule-pipeline-job and
https://learn.microsoft.com/azure/machine-learning/reference-yaml-schedule
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from labkit.cloud.azure.errors import refusal
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.engine import windows_zones
from labkit.cloud.engine.errors import Invalid
from labkit.cloud.engine.expressions import Cron, Expression, Frequency, Recurrence

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

_FREQUENCIES = ("minute", "hour", "day", "week", "month")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Trigger:
    """When a schedule fires. ``at_once`` is set where the first job starts with the schedule itself."""

    expression: Expression
    zone: ZoneInfo
    start: datetime | None
    end: datetime | None
    at_once: bool = False


def read(call: Call, given: Mapping[str, Any]) -> Trigger:
    """The trigger of a schedule; raises :class:`AzureError` for one that cannot be.

    Without a start, a recurrence without a pattern starts when it is made, with its first job.
    """
    name = text(given, "timeZone", "UTC")
    try:
        zone = windows_zones.zone(name)
    except Invalid as error:
        raise call.user_error(error.message, 400, "BadArgument") from None
    start, end = _time(call, given, "startTime", zone), _time(call, given, "endTime", zone)
    now = call.engine.clock.now()
    if end is not None and (end <= now or (start is not None and end <= start)):
        raise call.user_error(
            "The endTime of the trigger has to be after its startTime and after now.", 400, "BadArgument"
        )
    kind = text(given, "triggerType")
    try:
        if kind == "Cron":
            return Trigger(_cron(call, text(given, "expression")), zone, start, end)
        if kind == "Recurrence":
            since = start or now.replace(microsecond=0)
            expression, has_pattern = _recurrence(call, given, since.astimezone(zone).replace(tzinfo=None))
            return Trigger(expression, zone, start, end, at_once=start is None and not has_pattern)
    except Invalid as error:
        raise call.user_error(error.message, 400, "BadArgument") from None
    raise call.user_error(f"The trigger type '{kind}' is neither Cron nor Recurrence.", 400, "BadArgument")


def _cron(call: Call, expression: str) -> Expression:
    """A cron expression of five fields. Its days and months are taken as ``*``, as Azure Machine Learning does."""
    fields = expression.split()
    if len(fields) != 5:
        message = f"The cron expression '{expression}' has to have five fields: MINUTES HOURS DAYS MONTHS DAYS-OF-WEEK."
        raise call.user_error(message, 400, "BadArgument")
    minutes, hours, _, _, week_days = fields
    return Cron(f"{minutes} {hours} * * {week_days}")


def _recurrence(call: Call, given: Mapping[str, Any], start: datetime) -> tuple[Expression, bool]:
    """A recurrence, and whether it has a pattern: the SDK sends one without hours and minutes where there is none."""
    frequency = text(given, "frequency").lower()
    if frequency not in _FREQUENCIES:
        message = f"The frequency '{frequency}' of the trigger is not one of {', '.join(_FREQUENCIES)}."
        raise call.user_error(message, 400, "BadArgument")
    interval = given.get("interval")
    if not isinstance(interval, int) or isinstance(interval, bool):
        raise call.user_error("The interval of the trigger has to be a whole number.", 400, "BadArgument")
    pattern = {name: value for name, value in section(given, "schedule").items() if value not in (None, [])}
    week_days, month_days = _list(pattern, "weekDays"), _list(pattern, "monthDays")
    unknown = [each for each in week_days if str(each).lower() not in _DAYS]
    if unknown:
        raise call.user_error(f"The week day '{unknown[0]}' of the trigger is unknown.", 400, "BadArgument")
    if week_days and frequency != "week":
        raise refusal(f"weekDays of a recurrence with the frequency {frequency}")
    if month_days and frequency != "month":
        raise refusal(f"monthDays of a recurrence with the frequency {frequency}")
    if pattern and frequency in ("minute", "hour"):
        raise call.user_error(f"A recurrence with the frequency {frequency} takes no schedule.", 400, "BadArgument")
    recurrence = Recurrence(
        cast(Frequency, frequency),
        interval,
        start,
        _numbers(call, pattern, "hours"),
        _numbers(call, pattern, "minutes"),
        [_DAYS.index(str(each).lower()) for each in week_days],
        _numbers(call, pattern, "monthDays"),
    )
    return recurrence, bool(pattern)


def _numbers(call: Call, pattern: Mapping[str, Any], name: str) -> list[int]:
    found = _list(pattern, name)
    for each in found:
        if not isinstance(each, int) or isinstance(each, bool):
            message = f"The {name} of the trigger's schedule have to be whole numbers, not {each!r}."
            raise call.user_error(message, 400, "BadArgument")
    return found


def _list(pattern: Mapping[str, Any], name: str) -> list[Any]:
    value = pattern.get(name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _time(call: Call, given: Mapping[str, Any], name: str, zone: ZoneInfo) -> datetime | None:
    """A time of the trigger, which without an offset is one of its zone."""
    written = text(given, name)
    if not written:
        return None
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise call.user_error(f"The {name} '{written}' of the trigger is no time.", 400, "BadArgument") from None
    return found.replace(tzinfo=zone) if found.tzinfo is None else found


#: A moment before an instant: what fires at the instant fires after it.
MOMENT = timedelta(microseconds=1)
