"""Schedules of jobs: made, changed, read, listed, triggered, disabled, deleted; they fire on the lab's clock.

A schedule acts as who made it. https://learn.microsoft.com/rest/api/azureml/schedules and
https://learn.microsoft.com/azure/machine-learning/how-to-schedule-pipeline-job
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import jobs, jobs_commands, operations, pipelines, schedules_triggers
from labkit.cloud.azure.errors import refusal
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import MACHINE_LEARNING, WORKSPACE, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.engine.clock import Work
from labkit.cloud.engine.schedules import Schedule
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

TYPE = f"{MACHINE_LEARNING}/workspaces/schedules"
#: The expression that stands for the time of the firing, in the definition of a schedule's job.
TRIGGER_TIME = re.compile(r"\$\{\{\s*creation_context\.trigger_time\s*\}\}")
#: The expression that stands for the name of the job that is started, in its inputs.
JOBS_NAME = re.compile(r"\$\{\{\s*name\s*\}\}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}")
_TAKES_JOBS = "Microsoft.MachineLearningServices/workspaces/jobs/write"


@dataclass
class Planned:
    """What a schedule's resource stands for: its firings, and the call of who made or last changed it."""

    schedule: Schedule
    call: Call


def put_schedule(call: Call, names: dict[str, str]) -> Response:
    """Makes a schedule or replaces what it says: also how it is enabled and disabled."""
    name, properties = names["name"], section(call.body(), "properties")
    if not _NAME.fullmatch(name):
        message = (
            f"The schedule name '{name}' is invalid: it has to begin with a letter or a digit and can hold letters, "
            "digits, '-' and '_', 255 at most."
        )
        raise call.user_error(message, 400, "InvalidName")
    trigger = schedules_triggers.read(call, section(properties, "trigger"))
    definition = _definition(call, section(properties, "action"))
    enabled = properties.get("isEnabled") is not False
    with call.cloud.resources.lock:
        existing = call.cloud.resources.get(call.resource)
        made = existing or Resource(f"{call.workspace_id}/schedules/{name}", {})
        made.properties = {
            "displayName": properties.get("displayName"),
            "description": properties.get("description"),
            "tags": jobs_commands.texts(call, properties, "tags"),
            "properties": jobs_commands.texts(call, properties, "properties"),
            "isEnabled": enabled,
            "trigger": {"timeZone": "UTC", **section(properties, "trigger")},
            "action": {"actionType": "CreateJob", "jobDefinition": definition},
            "provisioningState": "Succeeded",
        }
        made.touch(call.engine.clock.now(), call.caller)
        if existing is not None:
            existing.state.schedule.close()
        made.state = Planned(_plan(call, made, trigger, enabled, fresh=existing is None), call)
        made.closing = lambda: made.state.schedule.close()
        call.cloud.resources.put(made)
    return json_response(200 if existing else 201, _view(made))


def get_schedule(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return _view(_require(call, names["name"]))


def list_schedules(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A page of schedules: those that are enabled, unless ``listViewType`` says otherwise."""
    shown = call.query.get("listviewtype", "EnabledOnly").lower()
    found = [
        each
        for each in call.cloud.resources.below(call.workspace_id, TYPE)
        if shown == "all" or each.properties["isEnabled"] is (shown == "enabledonly")
    ]
    return page(call, [_view(each) for each in found])


def trigger_schedule(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Starts the schedule's job once, now, whether or not it is enabled."""
    found = _require(call, names["name"])
    job, _ = _submit(found, _when(call))
    return {"submissionId": job.name, "scheduleActionType": "CreateJob"}


def delete_schedule(call: Call, names: dict[str, str]) -> Response:
    """Deletes a schedule that is disabled. The jobs that it has started stay."""
    found = call.cloud.resources.get(call.resource)
    if found is None:
        return Response(204)
    if found.properties["isEnabled"]:
        message = f"Schedule {found.name} is enabled. A schedule must be disabled before deletion."
        raise call.user_error(message, 400, "BadArgument")

    def work() -> None:
        call.cloud.resources.delete(found.id)

    return operations.begin(call, work)


def _plan(call: Call, made: Resource, trigger: schedules_triggers.Trigger, enabled: bool, *, fresh: bool) -> Schedule:
    """A schedule on the lab's clock. A fresh one may fire at once."""
    now = call.engine.clock.now()
    schedule = Schedule(
        call.engine.clock,
        trigger.expression,
        lambda due: _fire(made, due),
        name=f"Azure schedule {made.name}",
        zone=trigger.zone,
        start=trigger.start,
        end=trigger.end,
        enabled=False,
    )
    if enabled:
        at_once = fresh and trigger.at_once
        schedule.enable(now.replace(microsecond=0) - schedules_triggers.MOMENT if at_once else now)
    return schedule


def _fire(made: Resource, due: datetime) -> Work:
    """Starts the job of a schedule, as who made it; raises :class:`AzureError` where it cannot be started."""
    return _submit(made, due)[1]


def _submit(made: Resource, due: datetime) -> tuple[Resource, Work]:
    call: Call = made.state.call
    call.engine.access.authorize(call.caller, _TAKES_JOBS, f"{call.workspace_id}/jobs")
    name = str(uuid.uuid4())
    definition = _filled(made.properties["action"]["jobDefinition"], TRIGGER_TIME, _time(due))
    definition["inputs"] = _filled(definition.get("inputs"), JOBS_NAME, name)
    definition["displayName"] = f"{made.name}-{due.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    about = {"azureml.ScheduleName": made.name, "azureml.ScheduleTime": _time(due)}
    return jobs.submit(call, name, definition, about)


def _definition(call: Call, action: Mapping[str, Any]) -> dict[str, Any]:
    """The definition of a schedule's job, whole and checked; one that names another job begins with that one's."""
    kind = text(action, "actionType")
    if kind != "CreateJob":
        raise refusal(f"schedules with the action {kind}")
    given = section(action, "jobDefinition")
    if source := text(given, "sourceJobId"):
        name = source.removeprefix("azureml:").rstrip("/").rpartition("/")[2]
        job = call.cloud.resources.get(f"{call.workspace_id}/jobs/{name}")
        if job is None:
            raise call.user_error(f"Job {name}, which the schedule is to start, was not found.", 404, "NotFound")
        given = _over(job.properties, given)
    jobs_commands.check_services(given.get("services"))
    job_type = text(given, "jobType")
    if job_type == "Pipeline":
        pipelines.read(call, given)
    elif job_type == "Command":
        jobs_commands.read(call, given)
    else:
        raise refusal(f"schedules of jobs of type {job_type}")
    return dict(given)


def _over(job: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A job's definition with what a schedule says otherwise: its inputs, outputs, settings and experiment."""
    merged = {**job, **{name: value for name, value in given.items() if value not in (None, "", {}, [])}}
    merged.pop("sourceJobId", None)
    for name in ("inputs", "outputs", "settings", "jobs"):
        merged[name] = {**section(job, name), **section(given, name)}
    return merged


def _filled(value: Any, expression: re.Pattern[str], meaning: str) -> Any:
    """A part of a definition with what an expression means in its place."""
    if isinstance(value, str):
        return expression.sub(meaning, value)
    if isinstance(value, dict):
        return {name: _filled(each, expression, meaning) for name, each in value.items()}
    return [_filled(each, expression, meaning) for each in value] if isinstance(value, list) else value


def _when(call: Call) -> datetime:
    """The time that a request to trigger a schedule states, in lab time."""
    written = text(call.body(), "scheduleTime")
    try:
        stated = datetime.fromisoformat(written) if written else call.engine.clock.now()
    except ValueError:
        raise call.user_error(f"The scheduleTime '{written}' is no time.", 400, "BadArgument") from None
    return call.engine.clock.instant(stated)


def _time(due: datetime) -> str:
    return f"{due.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _view(schedule: Resource) -> dict[str, Any]:
    shown = schedule.view()
    shown.pop("tags", None)
    return shown


def _require(call: Call, name: str) -> Resource:
    found = call.cloud.resources.get(f"{call.workspace_id}/schedules/{name}")
    if found is None:
        raise call.user_error(f"Schedule {name} was not found in workspace {call.workspace.name}.", 404, "NotFound")
    return found


_SCHEDULE = f"{WORKSPACE}/schedules/{{name}}"

ROUTES = [
    Route("GET", f"{WORKSPACE}/schedules", list_schedules),
    Route("PUT", _SCHEDULE, put_schedule, note="of command and pipeline jobs; cron and recurrence"),
    Route("GET", _SCHEDULE, get_schedule),
    Route("DELETE", _SCHEDULE, delete_schedule),
    Route("POST", f"{_SCHEDULE}/trigger", trigger_schedule),
]
