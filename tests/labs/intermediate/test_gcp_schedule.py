"""The check of the monthly schedule: its time, what it starts, and whether it did."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cloud import client
from labkit.cloud.state import Lab
from labkit.labs.intermediate import gcp_schedule
from labkit.labs.intermediate.gcp_project import Project
from labkit.labs.task import NotAttempted, Wrong
from tests.days import to_the_middle_of_a_month
from tests.labs.intermediate import gcp_world
from tests.labs.intermediate.gcp_world import beside, gated, job, pipeline

WORK: Any = None
SPEC = pipeline(gated)


def test_schedule_right(gcp_project: Project) -> None:
    gcp_world.schedule(job(gcp_world.uncached(SPEC), data=gcp_project.months))
    assert gcp_schedule.schedule(WORK) == "TZ=Europe/Berlin 0 6 1 * *, which starts churn-monthly"


def test_schedule_not_attempted(gcp_project: Project) -> None:
    with pytest.raises(NotAttempted, match="no schedule named churn-monthly"):
        gcp_schedule.schedule(WORK)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"cron": "0 6 1 * *"}, "a schedule in the time zone UTC"),
        ({"cron": "TZ=Europe/Berlin 6 0 1 * *"}, "fires Sunday 01 February 2026 at 00:06"),
        ({"cron": "TZ=Europe/Berlin 0 6 * * 1"}, "fires Monday 19 January 2026 at 06:00"),
        ({"maxConcurrentRunCount": "3"}, "up to 3 runs at a time"),
        ({"maxRunCount": "1"}, "a schedule that ends after 1 run$"),
        ({"endTime": "2035-03-01T00:00:00Z"}, "a schedule that ends on 2035-03-01"),
    ],
)
def test_another_time_is_wrong(gcp_project: Project, changed: dict[str, Any], found: str) -> None:
    gcp_world.schedule(job(gcp_world.uncached(SPEC), data=gcp_project.months), **changed)
    with pytest.raises(Wrong, match=found):
        gcp_schedule.schedule(WORK)


def test_other_runs_are_wrong(gcp_project: Project) -> None:
    right = job(gcp_world.uncached(SPEC), data=gcp_project.months)
    for described, found in (
        (job(gcp_world.uncached(SPEC)), "runs with data=gs://mlops-lab-churn-pipeline/history"),
        ({**right, "serviceAccount": ""}, "a run as "),
        (job(SPEC, data=gcp_project.months), "whose prepare may come from the cache"),
        (job(gcp_world.uncached(pipeline(beside)), data=gcp_project.months), "the task register beside the gate"),
    ):
        name = gcp_world.schedule(described)
        with pytest.raises(Wrong, match=found):
            gcp_schedule.schedule(WORK)
        gcp_world.done(gcp_project.vertex("DELETE", name))
    name = gcp_world.schedule(right)
    gcp_project.vertex("POST", f"{name}:pause", json={})
    with pytest.raises(Wrong, match="a schedule that is PAUSED and has never started anything"):
        gcp_schedule.schedule(WORK)


def test_a_schedule_that_could_start_nothing_is_wrong(gcp_project: Project, lab_clouds: Lab) -> None:
    gcp_world.schedule(job(gcp_world.uncached(SPEC), data=gcp_project.months))
    gcp_project.call(
        "DELETE", f"https://iam.googleapis.com/v1/projects/-/serviceAccounts/{gcp_project.pipeline_account}"
    )
    client.control(lab_clouds, "POST", "clock/advance", {"seconds": 31 * 86400})
    with pytest.raises(Wrong, match="that was due and started nothing") as wrong:
        gcp_schedule.schedule(WORK)
    assert "the task role comes first" in wrong.value.hint


def test_a_schedule_says_what_it_has_started(gcp_project: Project, lab_clouds: Lab) -> None:
    to_the_middle_of_a_month(lab_clouds)
    name = gcp_world.schedule(job(gcp_world.uncached(SPEC), data=gcp_project.months))
    client.control(lab_clouds, "POST", "clock/advance", {"seconds": 31 * 86400})
    gcp_project.vertex("POST", f"{name}:pause", json={})
    assert gcp_schedule.schedule(WORK).endswith("which starts churn-monthly; it has started 1 run")
