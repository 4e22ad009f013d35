"""The monthly schedule: right, not attempted, and wrong one thing at a time."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.labs.intermediate import azure_schedule
from labkit.labs.task import NotAttempted, Wrong
from tests.labs.intermediate.azure_world import World

WORK: Any = None
CRON = {"triggerType": "Cron", "frequency": None, "interval": None, "schedule": None}


def test_not_attempted(azure_world: World) -> None:
    with pytest.raises(NotAttempted, match="no schedule named churn-monthly"):
        azure_schedule.schedule(WORK)


@pytest.mark.parametrize(
    "trigger",
    [
        {},
        {"timeZone": "Romance Standard Time"},
        {"startTime": "2026-12-01T00:00:00"},
        {"startTime": "2026-01-01T06:00:00", "schedule": {"hours": [6], "minutes": [0], "monthDays": [1]}},
        {"startTime": "2026-01-01T06:00:00", "schedule": None},
    ],
    ids=["given", "same-clocks", "later", "earlier", "by-its-start"],
)
def test_right(azure_world: World, trigger: dict[str, Any]) -> None:
    azure_world.schedule(**trigger)
    assert azure_schedule.schedule(WORK) == (
        "the first of each month at 6:00 in W. Europe Standard Time, which starts churn_monthly"
    )


def test_what_it_has_started_counts(azure_world: World) -> None:
    azure_world.schedule(enabled=False)
    with pytest.raises(Wrong, match="a schedule that is disabled and has never started anything"):
        azure_schedule.schedule(WORK)
    azure_world.run(schedule="another")
    with pytest.raises(Wrong, match="has never started anything"):
        azure_schedule.schedule(WORK)
    azure_world.run(schedule="churn-monthly")
    assert azure_schedule.schedule(WORK).endswith("; it has started 1 run")
    azure_world.run(schedule="churn-monthly", failed="gate", said="The AUC is 0.8 and has to be above 0.85.")
    assert azure_schedule.schedule(WORK).endswith("; it has started 2 runs")


@pytest.mark.parametrize(
    ("trigger", "found", "hint"),
    [
        ({"timeZone": None}, "a schedule in the time zone UTC", "time_zone"),
        ({"timeZone": "GMT Standard Time"}, "in the time zone GMT Standard Time", "time_zone"),
        (CRON | {"expression": "0 6 1 * *"}, r"the cron expression 0 6 1 \* \*, which after .* at 06:00", "ignores"),
        (
            {"frequency": "week", "schedule": {"hours": [6], "minutes": [0], "weekDays": ["Monday"]}},
            "a recurrence every 1 week .* fires Monday",
            "RecurrencePattern",
        ),
        ({"frequency": "day", "schedule": {"hours": [6], "minutes": [0]}}, "every 1 day .* at 06:00", "month_days"),
        ({"interval": 2}, "every 2 month", "interval=1"),
        ({"schedule": {"hours": [0], "minutes": [6], "monthDays": [1]}}, "01 .* at 00:06", "hours=6"),
        ({"schedule": {"hours": [6], "minutes": [0], "monthDays": [1, 15]}}, "fires .* 15 ", "month_days=1"),
        ({"schedule": {"hours": [6, 18], "minutes": [0], "monthDays": [1]}}, "at 18:00", "hours=6"),
        ({"schedule": None}, "a recurrence every 1 month, which after", "RecurrencePattern"),
    ],
    ids=["utc", "london", "cron", "week", "day", "two", "swapped", "twice", "hours", "no-pattern"],
)
def test_another_time_is_wrong(azure_world: World, trigger: dict[str, Any], found: str, hint: str) -> None:
    azure_world.schedule(**trigger)
    with pytest.raises(Wrong, match=found) as wrong:
        azure_schedule.schedule(WORK)
    assert hint in wrong.value.hint


@pytest.mark.parametrize(
    ("given", "found", "hint"),
    [
        (
            {"inputs": {"data": "azureml://datastores/churn_pipeline/paths/history/"}},
            "jobs with data=azureml://.*/paths/history/",
            "",
        ),
        ({"inputs": {"data": "azureml://datastores/workspaceblobstore/paths/months/"}}, "jobs with data=", ""),
        ({"inputs": {"kind": "linear"}}, "jobs with kind=linear", "leave kind"),
        ({"inputs": {"auc_threshold": "0.5"}}, r"jobs with auc_threshold=0\.5", "leave auc_threshold"),
        ({"settings": {"force_rerun": None}}, "jobs whose first step may be reused", "force_rerun"),
        ({"settings": {"force_rerun": False}}, "jobs whose first step may be reused", "force_rerun"),
        ({"settings": {"default_compute": None}}, "jobs on no compute", "default_compute"),
    ],
    ids=["history", "datastore", "kind", "threshold", "reuse", "no-force", "serverless"],
)
def test_other_jobs_are_wrong(azure_world: World, given: dict[str, Any], found: str, hint: str) -> None:
    azure_world.schedule(**given)
    with pytest.raises(Wrong, match=found) as wrong:
        azure_schedule.schedule(WORK)
    assert hint in wrong.value.hint


def test_a_schedule_of_the_component_is_right(azure_world: World) -> None:
    azure_world.register_pipeline()
    azure_world.schedule(component=f"{azure_world.here}/components/churn_monthly/versions/1")
    assert "which starts churn_monthly" in azure_schedule.schedule(WORK)


def test_a_schedule_of_another_pipeline_is_wrong(azure_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = azure_world.nodes(register=None)
    monkeypatch.setattr(azure_world, "nodes", lambda: nodes)
    azure_world.schedule()
    with pytest.raises(Wrong, match="a pipeline of the steps prepare, train, evaluate, gate, none of which registers"):
        azure_schedule.schedule(WORK)


def test_a_schedule_of_one_command_is_wrong(azure_world: World) -> None:
    definition = {
        "jobType": "Command",
        "command": "python train.py",
        "environmentId": azure_world.jobs.environment(),
        "computeId": "",
    }
    action = {"actionType": "CreateJob", "jobDefinition": definition}
    trigger = {"triggerType": "Cron", "expression": "0 6 1 * *", "timeZone": "W. Europe Standard Time"}
    azure_world.put("schedules/churn-monthly", {"trigger": trigger, "action": action})
    with pytest.raises(Wrong, match="the cron expression"):
        azure_schedule.schedule(WORK)
