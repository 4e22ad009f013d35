"""Checks the monthly schedule of ``intermediate/azure``: when it fires, and what job it starts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from labkit.cloud.engine import expressions, windows_zones
from labkit.cloud.engine.errors import CloudError
from labkit.labs.beginner.churn import GATE
from labkit.labs.intermediate import azure_cloud, azure_gate, retraining
from labkit.labs.intermediate.azure_cloud import CLUSTER, COMPONENT, SCHEDULE, THRESHOLD, in_datastore, value_of
from labkit.labs.intermediate.retraining import HOUR, ZONE
from labkit.labs.task import NotAttempted, Work, Wrong

#: What Azure calls the time zone of Berlin.
WINDOWS_ZONE = "W. Europe Standard Time"
MONTHS = in_datastore("months")
PATTERN = "RecurrencePattern(hours=6, minutes=0, month_days=1)"
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def schedule(_: Work) -> str:
    """The schedule starts the pipeline on the first of each month, on the files that are there then."""
    expected = f"the schedule {SCHEDULE}: on the first of each month at {HOUR}:00 in {WINDOWS_ZONE}"
    described = azure_cloud.schedule()
    if described is None:
        raise NotAttempted(f"no schedule named {SCHEDULE}", expected)
    found = described["properties"]
    _check_time(found["trigger"], datetime.fromisoformat(described["systemData"]["createdAt"]), expected)
    _check_job(found["action"].get("jobDefinition") or {})
    runs = [run for run in azure_cloud.pipeline_runs() if run.scheduled]
    if not found["isEnabled"] and not runs:
        raise Wrong(
            "a schedule that is disabled and has never started anything",
            "one that is enabled",
            f'ml.schedules.begin_enable("{SCHEDULE}").result()',
        )
    fired = f"; it has started {len(runs)} run{'s' if len(runs) != 1 else ''}" if runs else ""
    return f"the first of each month at {HOUR}:00 in {WINDOWS_ZONE}, which starts {COMPONENT}{fired}"


def _check_time(trigger: Mapping[str, Any], made: datetime, expected: str) -> None:
    name = str(trigger.get("timeZone") or "UTC")
    try:
        zone = windows_zones.zone(name)
        expression, since, plan = _expression(trigger, zone, made)
    except CloudError as error:
        raise Wrong(f"a trigger that cannot be read ({error})", expected) from None
    if _offsets(zone) != _offsets(ZoneInfo(ZONE)):
        raise Wrong(f"a schedule in the time zone {name}", WINDOWS_ZONE, "time_zone=...; the default is UTC")
    hint = f'RecurrenceTrigger(frequency="month", interval=1, schedule={PATTERN}, ...)'
    if trigger.get("triggerType") == "Cron":
        hint = "Azure ignores the days and months of a cron expression; RecurrenceTrigger has a frequency of months"
    retraining.check_monthly(lambda at: expression.next(at, zone), plan, expected, hint, since)


def _offsets(zone: ZoneInfo) -> list[Any]:
    """How far a zone's clocks are from UTC in winter and in summer."""
    return [datetime(2026, month, 1, tzinfo=zone).utcoffset() for month in (1, 7)]


def _expression(
    trigger: Mapping[str, Any], zone: ZoneInfo, made: datetime
) -> tuple[expressions.Expression, datetime, str]:
    """When a trigger that was made at an instant fires, since when, and how it is written."""
    start = datetime.fromisoformat(str(trigger.get("startTime") or made.isoformat()))
    start = start.replace(tzinfo=zone) if start.tzinfo is None else start
    since = max(start, made)
    if trigger.get("triggerType") == "Cron":
        text = str(trigger.get("expression"))
        minutes, hours, _, _, week_days = [*text.split(), "*", "*", "*", "*", "*"][:5]
        return expressions.Cron(f"{minutes} {hours} * * {week_days}"), since, f"the cron expression {text}"
    pattern = trigger.get("schedule") or {}
    every = f"every {trigger.get('interval')} {trigger.get('frequency')}"
    at = ", ".join(f"{name} {value}" for name, value in pattern.items())
    recurrence = expressions.Recurrence(
        cast(expressions.Frequency, str(trigger.get("frequency")).lower()),
        int(trigger.get("interval") or 1),
        start.astimezone(zone).replace(tzinfo=None),
        [int(each) for each in pattern.get("hours") or []],
        [int(each) for each in pattern.get("minutes") or []],
        [_DAYS.index(str(each).lower()) for each in pattern.get("weekDays") or []],
        [int(each) for each in pattern.get("monthDays") or []],
    )
    return recurrence, since, f"a recurrence {every}{f' ({at})' if at else ''}"


def _check_job(definition: Mapping[str, Any]) -> None:
    """Sees that the schedule's job is the pipeline with its gate, on the months that are there."""
    azure_gate.wired(definition)
    data = value_of(definition, "data")
    if not data.rstrip("/").endswith(MONTHS):
        raise Wrong(f"jobs with data={data or 'nothing'}", f"data=azureml:/{MONTHS}/, the folder of the months")
    kind, threshold = value_of(definition, "kind"), value_of(definition, THRESHOLD)
    if kind not in ("forest", ""):
        raise Wrong(f"jobs with kind={kind}", "kind=forest", "leave kind as it is")
    if threshold and not azure_gate.is_gate(threshold):
        raise Wrong(f"jobs with {THRESHOLD}={threshold}", f"{THRESHOLD}={GATE}", f"leave {THRESHOLD} as it is")
    settings = {str(key).replace("_", "").lower(): value for key, value in (definition.get("settings") or {}).items()}
    if str(settings.get("forcererun")).lower() != "true":
        raise Wrong(
            "jobs whose first step may be reused",
            "jobs that read the months that are there",
            "settings.force_rerun = True: the folder's address is the same each month, its files are not",
        )
    compute = str(settings.get("defaultcompute") or definition.get("computeId") or "").rpartition("/")[2]
    if compute.removeprefix("azureml:") != CLUSTER:
        raise Wrong(
            f"jobs on {compute or 'no compute'}",
            f"jobs on {CLUSTER}, whose identity may read the data",
            f'settings.default_compute = "{CLUSTER}"',
        )
