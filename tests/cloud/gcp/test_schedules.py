"""Schedules of pipelines: when runs begin, what pauses and ends them."""

# KFP reads the annotations of components, which may not be texts: this file does without postponed ones.
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from kfp import dsl

from labkit.cloud.engine import Engine
from labkit.cloud.gcp import GcpCloud
from labkit.cloud.gcp.schedules import Schedules
from tests.cloud.gcp.in_process import Lab
from tests.cloud.gcp.pipeline_world import compiled
from tests.cloud.gcp.vertex_world import World
from tests.days import to_the_middle_of_a_month
from tests.waiting import eventually


@dsl.component(base_image="python:3.11")
def nothing() -> str:
    return "done"


def pipeline(month: str = "now") -> None:
    nothing()


SPEC = compiled(pipeline)


@pytest.fixture
def world(tmp_path: Any) -> Iterator[World]:
    """A cloud of its own: other tests' clock is not to be moved."""
    engine = Engine(tmp_path / "engine")
    to_the_middle_of_a_month(engine.clock)
    cloud = GcpCloud(engine, Lab(tmp_path / "lab"))
    yield World(cloud, "schedules-lab")
    cloud.close()
    engine.close()


def schedule(world: World, cron: str = "0 6 1 * *", **more: Any) -> dict[str, Any]:
    job = {
        "displayName": "monthly",
        "pipelineSpec": SPEC,
        "runtimeConfig": {"gcsOutputDirectory": f"gs://{world.bucket}/root"},
    }
    return {
        "displayName": "every month",
        "cron": cron,
        "maxConcurrentRunCount": 1,
        "createPipelineJobRequest": {"parent": world.parent, "pipelineJob": job},
        **more,
    }


def create(world: World, cron: str = "0 6 1 * *", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = world.ok("POST", f"{world.parent}/schedules", schedule(world, cron, **more))
    return made


def runs(world: World) -> list[dict[str, Any]]:
    found = world.ok("GET", f"{world.parent}/pipelineJobs?orderBy=create_time&pageSize=100").get("pipelineJobs", [])
    return list(found)


def test_a_year_has_twelve_monthly_runs_in_order(world: World) -> None:
    made = create(world, "TZ=Europe/Berlin 0 6 1 * *")
    world.engine.clock.advance(timedelta(days=365))
    found = runs(world)
    times = [datetime.fromisoformat(each["createTime"].replace("Z", "+00:00")) for each in found]
    assert len(found) == 12
    assert {each["state"] for each in found} == {"PIPELINE_STATE_SUCCEEDED"}
    assert [each.month for each in times] == [(times[0].month + at - 1) % 12 + 1 for at in range(12)]
    # Six in Berlin is five in winter and four in summer.
    assert {each.month: each.hour for each in times} | {1: 5, 7: 4} == {each.month: each.hour for each in times}
    assert {each["scheduleName"] for each in found} == {made["name"]}
    shown = world.ok("GET", made["name"])
    assert (shown["state"], shown["startedRunCount"]) == ("ACTIVE", "12")
    assert shown["lastScheduledRunResponse"]["runResponse"].startswith("Succeeded. Created pipeline job projects/")
    assert shown["nextRunTime"] > world.engine.clock.now().isoformat()


def test_pausing_stops_the_runs_and_resuming_goes_on(world: World) -> None:
    made = create(world)
    world.ok("POST", f"{made['name']}:pause", {})
    world.engine.clock.advance(timedelta(days=93))
    assert runs(world) == []
    assert world.ok("GET", made["name"])["state"] == "PAUSED"
    assert world.error("POST", f"{made['name']}:pause", {})[0] == "FAILED_PRECONDITION"
    world.ok("POST", f"{made['name']}:resume", {})
    assert runs(world) == []
    world.engine.clock.advance(timedelta(days=31))
    assert len(runs(world)) == 1


def test_catching_up_makes_up_for_what_was_due(world: World) -> None:
    made = create(world)
    world.ok("POST", f"{made['name']}:pause", {})
    world.engine.clock.advance(timedelta(days=93))
    world.ok("POST", f"{made['name']}:resume", {"catchUp": True})
    world.engine.clock.advance(timedelta(seconds=1))
    assert [each["state"] for each in runs(world)] == ["PIPELINE_STATE_SUCCEEDED"] * 3


def test_a_schedule_ends_after_its_last_run(world: World) -> None:
    made = create(world, "0 0 * * *", maxRunCount=2)
    world.engine.clock.advance(timedelta(days=5))
    assert len(runs(world)) == 2
    shown = world.ok("GET", made["name"])
    assert shown["state"] == "COMPLETED"
    assert "nextRunTime" not in shown


@dsl.component(base_image="python:3.11")
def wait(go: str) -> None:
    import os
    import time

    while not os.path.exists(go):
        time.sleep(0.01)


@pytest.mark.parametrize(("queues", "started"), [(False, "1"), (True, "2")])
def test_a_run_that_is_due_while_another_goes_on_is_left_out_or_waits(
    world: World, tmp_path: Any, queues: bool, started: str
) -> None:
    def waiting() -> None:
        wait(go=str(tmp_path / "go")).set_caching_options(False)

    asked = schedule(world, "0 * * * *", allowQueueing=queues, maxConcurrentRunCount=9, maxConcurrentActiveRunCount=1)
    asked["createPipelineJobRequest"]["pipelineJob"]["pipelineSpec"] = compiled(waiting)
    made = world.ok("POST", f"{world.parent}/schedules", asked)
    (held,) = world.cloud.store(Schedules, "schedules-lab", "us-central1").known.values()
    hours = [datetime(2030, 1, 1, hour, tzinfo=UTC) for hour in (1, 2)]
    for hour in hours:
        held._fire(hour)
    assert len(runs(world)) == 1
    (tmp_path / "go").touch()
    eventually(lambda: world.ok("GET", made["name"])["startedRunCount"] == started)
    eventually(lambda: all(each["state"] == "PIPELINE_STATE_SUCCEEDED" for each in runs(world)))
    assert len(runs(world)) == int(started)


def test_an_update_changes_when_the_next_runs_begin(world: World) -> None:
    made = create(world)
    changed = world.ok("PATCH", f"{made['name']}?updateMask=cron", {"cron": "0 0 * * *"})
    assert changed["cron"] == "0 0 * * *"
    world.engine.clock.advance(timedelta(days=3))
    assert len(runs(world)) == 3
    code, why = world.error("PATCH", f"{made['name']}?updateMask=state", {"state": "PAUSED"})
    assert (code, "cannot be updated" in why) == ("INVALID_ARGUMENT", True)
    world.done("DELETE", made["name"])
    world.engine.clock.advance(timedelta(days=3))
    assert len(runs(world)) == 3
    assert world.error("GET", made["name"])[0] == "NOT_FOUND"


def test_what_cannot_be_scheduled_is_refused(world: World) -> None:
    def refused(**changed: Any) -> tuple[str, str]:
        return world.error("POST", f"{world.parent}/schedules", {**schedule(world), **changed})

    assert refused(cron="every month")[0] == "INVALID_ARGUMENT"
    assert refused(cron="TZ=Berlin 0 6 1 * *") == (
        "INVALID_ARGUMENT",
        "'Berlin' is no time zone: write one such as Europe/Berlin or UTC.",
    )
    assert refused(maxConcurrentRunCount="0")[0] == "INVALID_ARGUMENT"
    assert refused(displayName="")[0] == "INVALID_ARGUMENT"
    broken = schedule(world)["createPipelineJobRequest"]
    broken["pipelineJob"]["runtimeConfig"]["parameterValues"] = {"moth": "May"}
    code, why = refused(createPipelineJobRequest=broken)
    assert (code, "moth is not found" in why) == ("INVALID_ARGUMENT", True)


def test_schedules_are_listed(world: World) -> None:
    create(world, displayName="first")
    create(world, displayName="second")
    found = world.ok("GET", f'{world.parent}/schedules?filter=display_name="second"')["schedules"]
    assert [each["displayName"] for each in found] == ["second"]
    start = datetime.fromisoformat(found[0]["startTime"].replace("Z", "+00:00"))
    assert abs(start - world.engine.clock.now()) < timedelta(minutes=1)


def test_the_filters_that_the_reference_shows(world: World) -> None:
    create(world, displayName="my_schedule_1")
    create(world, displayName="not_my_schedule_2", endTime=(datetime.now(UTC) + timedelta(days=400)).isoformat())

    def names(condition: str) -> list[str]:
        found = world.ok("GET", f"{world.parent}/schedules?filter={quote(condition)}").get("schedules", [])
        return sorted(each["displayName"] for each in found)

    assert names('state="ACTIVE" AND display_name:"my_schedule_*"') == ["my_schedule_1"]
    assert names('display_name:"*my_schedule_*"') == ["my_schedule_1", "not_my_schedule_2"]
    assert names('NOT display_name="my_schedule_1"') == ["not_my_schedule_2"]
    assert names('create_time>"2021-05-18T00:00:00Z"') == ["my_schedule_1", "not_my_schedule_2"]
    assert names('end_time>"2021-05-18T00:00:00Z" AND end_time:*') == ["not_my_schedule_2"]
    assert names("NOT end_time:*") == ["my_schedule_1"]
    assert names("create_pipeline_job_request:*") == ["my_schedule_1", "not_my_schedule_2"]
    for refused in ('create_pipeline_job_request="x"', "create_time:*", 'max_run_count="5"'):
        code, message = world.error("GET", f"{world.parent}/schedules?filter={quote(refused)}")
        assert (code, "is not served" in message) == ("INVALID_ARGUMENT", True)
