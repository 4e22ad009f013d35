"""Schedules of jobs on the lab's clock: recurrences and cron expressions, in the time zones that Windows names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cloud.azure import in_process
from tests.cloud.azure.jobs_world import Jobs, step
from tests.cloud.azure.online_world import World
from tests.days import to_the_middle_of_a_month
from tests.waiting import eventually

AT, FOLDER = {"at": {"type": "string"}}, {"type": "uri_folder"}
DAILY = {"triggerType": "Cron", "expression": "0 6 * * *"}
MONTHLY = {"triggerType": "Recurrence", "frequency": "month", "interval": 1}


@pytest.fixture
def jobs(own_world: World) -> Jobs:
    """Jobs in clouds of their own, whose clock may be advanced."""
    to_the_middle_of_a_month(own_world.cloud.engine.clock)
    return Jobs(own_world.rest, "own")


def made(jobs: Jobs, trigger: dict[str, Any], name: str = "nightly", **properties: Any) -> dict[str, Any]:
    """Makes a schedule of a pipeline that says when it was started."""
    says = jobs.component("echo started at ${{inputs.at}}", inputs={"at": {"type": "string"}}, is_deterministic=False)
    definition = {
        "jobType": "Pipeline",
        "jobs": {"says": step(says, at="${{parent.inputs.at}}")},
        "inputs": {"at": {"jobInputType": "literal", "value": "${{creation_context.trigger_time}}"}},
        "experimentName": "scheduled",
    }
    body = {"trigger": trigger, "action": {"actionType": "CreateJob", "jobDefinition": definition}, **properties}
    status, answer, _ = jobs.rest("PUT", f"{jobs.rest.workspace}/schedules/{name}", {"properties": body})
    assert status in (200, 201), answer
    return dict(answer)


def started(jobs: Jobs) -> list[str]:
    """What the jobs of schedules are called, the oldest first."""
    _, answer, _ = jobs.rest("GET", f"{jobs.rest.workspace}/jobs", scheduled="true", **{"$top": "1000"})
    return [each["properties"]["displayName"] for each in reversed(answer["value"])]


def advance(jobs: Jobs, **by: float) -> list[str]:
    """Advances the clock; the errors of what fired meanwhile."""
    return [firing.error for firing in jobs.cloud.engine.clock.advance(timedelta(**by)) if firing.error]


def test_a_year_has_twelve_months(jobs: Jobs) -> None:
    made(
        jobs,
        MONTHLY | {"startTime": "2026-01-01 00:00:00", "schedule": {"hours": [3], "minutes": [0], "monthDays": [1]}},
    )
    assert advance(jobs, days=365) == []
    names = started(jobs)
    assert len(names) == 12
    assert all(name.startswith("nightly-") and name.endswith("01T030000Z") for name in names)
    (first,) = jobs.below(jobs.run(_job(jobs, names[0])))
    assert first.status == "Completed"
    at = datetime.strptime(names[0], "nightly-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert jobs.log(first) == f"started at {at:%Y-%m-%dT%H:%M:%SZ}\n"


def test_a_disabled_schedule_fires_no_more_and_can_be_deleted(jobs: Jobs) -> None:
    trigger = {"triggerType": "Cron", "expression": "0 6 * * *"}
    made(jobs, trigger)
    advance(jobs, days=2)
    assert len(started(jobs)) == 2
    path = f"{jobs.rest.workspace}/schedules/nightly"
    code, _, message = jobs.rest.error("DELETE", path)
    assert (code, message) == (400, "Schedule nightly is enabled. A schedule must be disabled before deletion.")
    shown = made(jobs, trigger, isEnabled=False)
    assert shown["properties"]["isEnabled"] is False
    advance(jobs, days=2)
    assert len(started(jobs)) == 2
    assert _listed(jobs) == []
    assert _listed(jobs, listViewType="DisabledOnly") == _listed(jobs, listViewType="All") == ["nightly"]
    made(jobs, trigger, isEnabled=True)
    advance(jobs, days=1)
    assert len(started(jobs)) == 3
    made(jobs, trigger, isEnabled=False)
    assert jobs.rest("DELETE", path)[0] == 202
    eventually(lambda: jobs.rest("GET", path)[0] == 404)


def test_the_zone_is_one_that_windows_names(jobs: Jobs) -> None:
    made(jobs, {"triggerType": "Cron", "expression": "30 4 * * *", "timeZone": "Tokyo Standard Time"})
    advance(jobs, days=1)
    assert started(jobs)[0].endswith("T193000Z")


def test_azure_ignores_the_days_and_months_of_a_cron_expression(jobs: Jobs) -> None:
    made(jobs, {"triggerType": "Cron", "expression": "0 6 1 1 *"})
    advance(jobs, days=3)
    assert len(started(jobs)) == 3


@pytest.mark.parametrize("schedule", [None, {"hours": [], "minutes": []}], ids=["of REST", "of the SDK"])
def test_a_recurrence_without_a_start_begins_at_once(jobs: Jobs, schedule: dict[str, Any] | None) -> None:
    made(jobs, {"triggerType": "Recurrence", "frequency": "hour", "interval": 12, "schedule": schedule})
    eventually(lambda: len(started(jobs)) == 1)
    advance(jobs, hours=25)
    assert len(started(jobs)) == 3


def test_a_schedule_ends(jobs: Jobs) -> None:
    end = jobs.cloud.engine.clock.now() + timedelta(days=2, hours=1)
    trigger = {"triggerType": "Recurrence", "frequency": "day", "interval": 1, "endTime": f"{end:%Y-%m-%dT%H:%M:%S}"}
    made(jobs, trigger)
    advance(jobs, days=10)
    assert len(started(jobs)) == 3


def test_week_days(jobs: Jobs) -> None:
    pattern = {"hours": [8, 20], "minutes": [15], "weekDays": ["Monday", "Friday"]}
    start = "2026-01-01T00:00:00"
    made(
        jobs, {"triggerType": "Recurrence", "frequency": "week", "interval": 1, "schedule": pattern, "startTime": start}
    )
    advance(jobs, days=14)
    names = started(jobs)
    assert len(names) == 8
    days = {datetime.strptime(name, "nightly-%Y%m%dT%H%M%SZ").weekday() for name in names}
    assert days == {0, 4}


def test_a_schedule_is_triggered_by_hand(jobs: Jobs) -> None:
    made(jobs, {"triggerType": "Cron", "expression": "0 6 * * *"}, isEnabled=False)
    status, answer, _ = jobs.rest("POST", f"{jobs.rest.workspace}/schedules/nightly/trigger", {})
    assert (status, answer["scheduleActionType"]) == (200, "CreateJob")
    run = jobs.ended(jobs.run(answer["submissionId"]))
    assert run.properties["azureml.ScheduleName"] == "nightly"


def test_a_schedule_of_a_job_that_has_run(jobs: Jobs) -> None:
    says = jobs.component("echo ${{inputs.at}}", inputs={"at": {"type": "string"}})
    run = jobs.pipeline(
        {"says": step(says, at="${{parent.inputs.at}}")}, inputs={"at": {"jobInputType": "literal", "value": "x"}}
    )
    jobs.ended(run)
    action = {
        "actionType": "CreateJob",
        "jobDefinition": {
            "jobType": "Pipeline",
            "sourceJobId": f"{jobs.rest.workspace}/jobs/{run.name}",
            "inputs": {"at": {"jobInputType": "literal", "value": "other"}},
        },
    }
    body = {"trigger": {"triggerType": "Cron", "expression": "0 6 * * *"}, "action": action}
    assert jobs.rest("PUT", f"{jobs.rest.workspace}/schedules/again", {"properties": body})[0] == 201
    advance(jobs, days=1)
    (name,) = started(jobs)
    assert jobs.log(jobs.below(jobs.run(_job(jobs, name)))[0]) == "other\n"


def test_a_schedule_of_a_job_as_azure_shows_it(jobs: Jobs) -> None:
    """As the SDK sends one that was fetched: with all its outputs, which the next run must not overwrite."""
    says = jobs.component("echo ${{inputs.at}} > ${{outputs.said}}/at", inputs=AT, outputs={"said": FOLDER})
    run = jobs.pipeline(
        {"says": step(says, {"said": {"value": "${{parent.outputs.said}}"}}, at="${{parent.inputs.at}}")},
        inputs={"at": {"jobInputType": "literal", "value": "x"}},
        outputs={"said": {"jobOutputType": "uri_folder"}},
    )
    jobs.ended(run)
    path = f"{jobs.rest.workspace}/jobs/{run.name}"
    shown = jobs.rest("GET", path)[1]["properties"]
    assert set(shown["outputs"]) == {"default", "said"}
    definition = shown | {"sourceJobId": path, "inputs": {"at": {"jobInputType": "literal", "value": "${{name}}"}}}
    body = {"trigger": DAILY, "action": {"actionType": "CreateJob", "jobDefinition": definition}}
    status, answer, _ = jobs.rest("PUT", f"{jobs.rest.workspace}/schedules/again", {"properties": body})
    assert status == 201, answer
    advance(jobs, days=1)
    again = jobs.run(_job(jobs, started(jobs)[0]))
    assert jobs.read(run.outputs["said"].uri) == {"at": b"x\n"}
    assert jobs.read(again.outputs["said"].uri) == {"at": f"{again.name}\n".encode()}


@pytest.mark.parametrize(
    ("trigger", "status", "message"),
    [
        ({"triggerType": "Odd"}, 400, "The trigger type 'Odd' is neither Cron nor Recurrence."),
        ({"triggerType": "Cron", "expression": "0 6 * *"}, 400, "has to have five fields"),
        ({"triggerType": "Cron", "expression": "99 6 * * *"}, 400, "99"),
        (MONTHLY | {"frequency": "year"}, 400, "The frequency 'year' of the trigger is not one of"),
        (MONTHLY | {"interval": 0}, 400, "interval is at least 1"),
        (MONTHLY | {"schedule": {"hours": [25], "minutes": [0]}}, 400, "hours are from 0 to 23, not 25"),
        (MONTHLY | {"schedule": {"hours": ["a"], "minutes": [0]}}, 400, "hours of the trigger's schedule have to be"),
        (MONTHLY | {"frequency": "hour", "schedule": {"minutes": [5]}}, 400, "the frequency hour takes no schedule"),
        (MONTHLY | {"schedule": {"weekDays": ["monday"]}}, 501, "weekDays of a recurrence with the frequency month"),
        (MONTHLY | {"timeZone": "Paris Time"}, 400, "'Paris Time' is no time zone"),
        (MONTHLY | {"startTime": "soon"}, 400, "The startTime 'soon' of the trigger is no time."),
        (MONTHLY | {"endTime": "2020-01-01T00:00:00"}, 400, "has to be after its startTime and after now"),
    ],
)
def test_triggers_that_are_not_taken(
    rest: in_process.Rest, name: str, trigger: dict[str, Any], status: int, message: str
) -> None:
    body = {"trigger": trigger, "action": {"actionType": "CreateJob", "jobDefinition": {}}}
    code, _, said = rest.error("PUT", f"{rest.workspace}/schedules/{name}", {"properties": body})
    assert (code, message in said) == (status, True), said


def test_actions_that_are_not_taken(rest: in_process.Rest, name: str) -> None:
    trigger = {"triggerType": "Cron", "expression": "0 6 * * *"}
    for action, status, message in (
        ({"actionType": "CreateMonitor"}, 501, "schedules with the action CreateMonitor"),
        ({"actionType": "CreateJob", "jobDefinition": {"jobType": "Spark"}}, 501, "schedules of jobs of type Spark"),
        ({"actionType": "CreateJob", "jobDefinition": {"jobType": "Pipeline"}}, 400, "at least one job"),
    ):
        body = {"trigger": trigger, "action": action}
        code, _, said = rest.error("PUT", f"{rest.workspace}/schedules/{name}", {"properties": body})
        assert (code, message in said) == (status, True), said
    assert rest("GET", f"{rest.workspace}/schedules/{name}")[0] == 404


def _listed(jobs: Jobs, **query: str) -> list[str]:
    _, answer, _ = jobs.rest("GET", f"{jobs.rest.workspace}/schedules", **query)
    return [each["name"] for each in answer["value"]]


def _job(jobs: Jobs, title: str) -> str:
    """The name of the job with this display name."""
    _, answer, _ = jobs.rest("GET", f"{jobs.rest.workspace}/jobs", **{"$top": "1000"})
    return next(each["name"] for each in answer["value"] if each["properties"]["displayName"] == title)
