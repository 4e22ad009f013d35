"""Vertex AI's ScheduleService: runs of a pipeline that begin by themselves, as a cron expression says.

https://cloud.google.com/vertex-ai/docs/pipelines/schedule-pipeline-run
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine import expressions
from labkit.cloud.engine.clock import Work
from labkit.cloud.engine.errors import CloudError, Invalid
from labkit.cloud.engine.schedules import Schedule as Timer
from labkit.cloud.gcp import pipeline_jobs, schema
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.pipeline_run import PipelineRun
from labkit.cloud.gcp.resource_filters import Fields, judge
from labkit.cloud.gcp.training_accounts import run_as
from labkit.cloud.gcp.vertex_listing import listed
from labkit.cloud.gcp.vertex_names import (
    check_fields,
    copy_of,
    does_not_exist,
    mask_paths,
    new_id,
    split,
    stamp,
    take_field,
    v1,
)

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: Fields that an update may change; a change of another, or of the state, has a method of its own or refuses.
_MUTABLE = {
    "display_name",
    "cron",
    "start_time",
    "end_time",
    "max_run_count",
    "max_concurrent_run_count",
    "max_concurrent_active_run_count",
    "allow_queueing",
    "create_pipeline_job_request",
}
_FIELDS = Fields(
    times=("create_time", "update_time", "start_time", "end_time", "next_run_time"),
    present=("end_time", "create_pipeline_job_request"),
)


class Schedule:
    """One schedule. ``message`` is its ``Schedule``; ``call`` the call that made it, whose caller its runs are of."""

    def __init__(self, call: Call, message: Any) -> None:
        self.message = message
        self._call = call
        self._lock = threading.RLock()
        self._runs: list[PipelineRun] = []
        self._waiting: deque[datetime] = deque()
        self._timer: Timer | None = None
        message.state = v1.Schedule.State.Value("ACTIVE")
        self._set(self._call.engine.clock.now())

    @property
    def name(self) -> str:
        return str(self.message.name)

    def view(self) -> Any:
        with self._lock:
            shown, timer = copy_of(self.message), self._timer
            shown.ClearField("next_run_time")
            if timer is not None and timer.next_at is not None:
                stamp(shown, next_run_time=timer.next_at)
            return shown

    def pause(self) -> None:
        """Begins no run any more; what runs goes on."""
        with self._lock:
            self._require("ACTIVE", "paused")
            self._enter("PAUSED")
            stamp(self.message, last_pause_time=self._call.engine.clock.now())
            if self._timer:
                self._timer.disable()

    def resume(self, catch_up: bool) -> None:
        """Goes on; ``catch_up`` makes up for what was due while it was paused."""
        with self._lock:
            self._require("PAUSED", "resumed")
            now = self._call.engine.clock.now()
            since = self.message.last_pause_time.ToDatetime(tzinfo=UTC) if catch_up else now
            self._enter("ACTIVE")
            self.message.catch_up = catch_up
            stamp(self.message, last_resume_time=now)
            self._set(since)

    def change(self, asked: Any, fields: Collection[str], check: Callable[[Any], None]) -> None:
        """Takes these fields of ``asked``, unless ``check`` raises for what the schedule would then be."""
        with self._lock:
            changed = copy_of(self.message)
            for field in fields:
                take_field(changed, asked, field)
            check(changed)
            self.message.CopyFrom(changed)
            now = self._call.engine.clock.now()
            stamp(self.message, update_time=now)
            if self.message.state == v1.Schedule.State.Value("ACTIVE"):
                self._set(now)

    def close(self) -> None:
        """Begins nothing any more."""
        with self._lock:
            self._waiting.clear()
        if self._timer:
            self._timer.close()

    def _set(self, since: datetime) -> None:
        """Has the clock begin the runs that are due after ``since``."""
        if self._timer:
            self._timer.close()
        message = self.message
        expression, zone = cron(message.cron)
        start, end = (
            getattr(message, each).ToDatetime(tzinfo=UTC) if message.HasField(each) else None
            for each in ("start_time", "end_time")
        )
        self._timer = Timer(
            self._call.engine.clock,
            expression,
            self._fire,
            name=f"the schedule {message.display_name}",
            zone=zone,
            start=start,
            end=end,
            since=since,
            ended=self._complete,
        )

    def _fire(self, due: datetime) -> Work | None:
        """Begins a run; leaves it out, or has it wait, while as many as there may be go on."""
        with self._lock:
            self._runs = [run for run in self._runs if not run.ended]
            limits = (self.message.max_concurrent_run_count, self.message.max_concurrent_active_run_count)
            if len(self._runs) >= min(limit for limit in limits if limit):
                if self.message.allow_queueing:
                    self._waiting.append(due)
                return None
        return self._begin(due)

    def _begin(self, due: datetime) -> Work | None:
        request = copy_of(self.message.create_pipeline_job_request)
        stem = re.sub("[^-a-z0-9]+", "-", (request.pipeline_job_id or request.pipeline_job.display_name).lower())
        request.pipeline_job_id = f"{stem.strip('-') or 'run'}-{due:%Y%m%d%H%M%S}"[-127:].lstrip("-0123456789")
        request.pipeline_job.schedule_name = self.name
        stamp(self.message.last_scheduled_run_response, scheduled_run_time=due)
        try:
            run = pipeline_jobs.begin(self._call, request)
        except CloudError as error:
            self.message.last_scheduled_run_response.run_response = f"{error}"
            raise
        with self._lock:
            self._runs.append(run)
            self.message.started_run_count += 1
            self.message.last_scheduled_run_response.run_response = f"Succeeded. Created pipeline job {run.name}."
            if self.message.started_run_count == self.message.max_run_count:
                self.close()
                self._complete()
        run.when_ended(self._next)
        return run

    def _next(self) -> None:
        """Begins a run that waited for another's end."""
        with self._lock:
            if not self._waiting:
                return
            due = self._waiting.popleft()
        with suppress(CloudError):  # the schedule says why
            self._begin(due)

    def _complete(self) -> None:
        self._enter("COMPLETED")

    def _enter(self, state: str) -> None:
        self.message.state = v1.Schedule.State.Value(state)
        stamp(self.message, update_time=self._call.engine.clock.now())

    def _require(self, state: str, what: str) -> None:
        held = v1.Schedule.State.Name(self.message.state)
        if held != state:
            raise GcpError("FAILED_PRECONDITION", f"The Schedule {self.name} is {held} and cannot be {what}.")


class Schedules:
    """The schedules of one project and location, by id."""

    def __init__(self) -> None:
        self.known: dict[str, Schedule] = {}
        self.lock = threading.RLock()

    def schedule(self, call: Call, name: str) -> Schedule:
        found = self.known.get(split(call, name, "schedules")[0])
        if found is None:
            raise does_not_exist("schedules")
        return found

    def inventory(self) -> dict[str, list[str]]:
        return {"schedules": sorted(each.message.display_name for each in self.known.values())}

    def close(self) -> None:
        for each in self.known.values():
            each.close()


def cron(text: str) -> tuple[expressions.Expression, Any]:
    """The expression and the time zone of a schedule (``TZ=Europe/Berlin 0 6 1 * *``); raises ``INVALID_ARGUMENT``."""
    try:
        return expressions.cron_in_zone(text)
    except Invalid as error:
        raise invalid(error.message, "schedule.cron") from None


def create_schedule(call: Call, request: Any) -> Any:
    """Makes a schedule, active at once; the pipeline is checked as if it began now."""
    asked = request.schedule
    _check(call, asked)
    message = copy_of(asked)
    message.name = f"{call.parent}/schedules/{new_id()}"
    now = call.engine.clock.now()
    stamp(message, create_time=now, update_time=now)
    if not message.HasField("start_time"):
        stamp(message, start_time=now)
    made = Schedule(call, message)
    schedules = call.store(Schedules)
    with schedules.lock:
        schedules.known[made.name.rpartition("/")[2]] = made
    return made.view()


def get_schedule(call: Call, request: Any) -> Any:
    return call.store(Schedules).schedule(call, request.name).view()


def list_schedules(call: Call, request: Any) -> Any:
    schedules = call.store(Schedules)
    meets = judge(request.filter, _FIELDS)
    with schedules.lock:
        found = [shown for each in schedules.known.values() if meets(shown := each.view())]
    shown, token = listed(found, request, ("display_name", "create_time", "start_time", "end_time", "next_run_time"))
    return v1.ListSchedulesResponse(schedules=shown, next_page_token=token)


def update_schedule(call: Call, request: Any) -> Any:
    """Changes a schedule; the runs that come are as it is then."""
    held = call.store(Schedules).schedule(call, request.schedule.name)
    paths = mask_paths(request.update_mask, _MUTABLE, request.schedule.name)
    held.change(request.schedule, {path.partition(".")[0] for path in paths}, lambda changed: _check(call, changed))
    return held.view()


def pause_schedule(call: Call, request: Any) -> Any:
    call.store(Schedules).schedule(call, request.name).pause()
    return schema.message("google.protobuf.Empty")()


def resume_schedule(call: Call, request: Any) -> Any:
    call.store(Schedules).schedule(call, request.name).resume(request.catch_up)
    return schema.message("google.protobuf.Empty")()


def delete_schedule(call: Call, request: Any) -> Any:
    """Deletes a schedule; its runs stay. Long-running."""
    schedules = call.store(Schedules)
    with schedules.lock:
        held = schedules.schedule(call, request.name)
        held.close()
        del schedules.known[held.name.rpartition("/")[2]]
    return call.operation(lambda: None, below=held.name)


def _check(call: Call, asked: Any) -> None:
    """Raises :class:`GcpError` for a schedule that cannot be."""
    if asked.HasField("create_notebook_execution_job_request"):
        raise refusal("schedules of notebooks (create_notebook_execution_job_request)")
    found = []
    if not asked.display_name:
        found.append(("schedule.display_name", "Required field is not set."))
    if not asked.cron:
        found.append(("schedule.cron", "Required field is not set."))
    if not asked.HasField("create_pipeline_job_request"):
        found.append(("schedule.create_pipeline_job_request", "Required field is not set."))
    if asked.max_concurrent_run_count < 1:
        found.append(("schedule.max_concurrent_run_count", "The value must be at least 1."))
    check_fields(found)
    cron(asked.cron)
    if (
        asked.HasField("end_time")
        and asked.HasField("start_time")
        and asked.end_time.seconds <= asked.start_time.seconds
    ):
        check_fields([("schedule.end_time", "The end time must be after the start time.")])
    job = asked.create_pipeline_job_request.pipeline_job
    pipeline_jobs.check(call, job)
    run_as(call, job.service_account)


METHODS: dict[str, Callable[[Call, Any], Any]] = {
    "CreateSchedule": create_schedule,
    "GetSchedule": get_schedule,
    "ListSchedules": list_schedules,
    "UpdateSchedule": update_schedule,
    "PauseSchedule": pause_schedule,
    "ResumeSchedule": resume_schedule,
    "DeleteSchedule": delete_schedule,
}
PERMISSIONS = {
    "PauseSchedule": "aiplatform.schedules.update",
    "ResumeSchedule": "aiplatform.schedules.update",
}
NOTES = {"CreateSchedule": "of pipelines; runs begin on the lab's clock; schedules of notebooks refuse"}
