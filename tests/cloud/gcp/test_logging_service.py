"""Cloud Logging: what containers write, what callers write, and which entries a filter means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.cloud.gcp.vertex_world import World


def entries(world: World, filter_: str = "", **more: Any) -> list[dict[str, Any]]:
    body = {"resourceNames": [f"projects/{world.project}"], "filter": filter_, **more}
    return list(world.ok("POST", "entries:list", body, api="logging").get("entries", []))


def write(world: World, *written: dict[str, Any], log: str = "mine", **more: Any) -> Any:
    body = {"logName": f"projects/{world.project}/logs/{log}", "resource": {"type": "global"}, "entries": written}
    return world("POST", "entries:write", body | more, api="logging")


@pytest.fixture
def written(world: World) -> World:
    """Four entries: a to d."""
    now = datetime.now(UTC)
    told: list[dict[str, Any]] = [
        {"textPayload": "Alpha starts", "severity": "INFO", "labels": {"step": "1", "a.b": "x"}},
        {"textPayload": "Beta fails", "severity": "ERROR", "labels": {"step": "2"}},
        {"jsonPayload": {"message": "gamma", "loss": 0.5, "tags": ["x", "y"], "done": True}, "severity": "WARNING"},
        {"textPayload": "Delta"},
    ]
    for index, (each, name) in enumerate(zip(told, "abcd", strict=True)):
        when = (now - timedelta(minutes=10 - index)).isoformat()
        assert write(world, {**each, "insertId": name, "timestamp": when}) == (200, {})
    return world


def test_what_a_container_writes_is_an_entry(world: World) -> None:
    endpoint = world.endpoint((world.upload(), 100))
    (deployed,) = (each["id"] for each in world.deployed(endpoint))
    world.error("POST", f"{endpoint}:predict", {"instances": [[1.0]]})
    found = entries(world, f'resource.labels.endpoint_id="{endpoint.rpartition("/")[2]}" severity>=ERROR')
    (entry,) = found
    assert entry["logName"] == f"projects/{world.project}/logs/aiplatform.googleapis.com%2Fprediction_container"
    assert entry["resource"]["type"] == "aiplatform.googleapis.com/Endpoint"
    assert entry["resource"]["labels"]["location"] == "us-central1"
    assert entry["labels"]["deployed_model_id"] == deployed
    assert "X has 1 features" in entry["jsonPayload"]["message"]
    loaded = entries(world, 'logName:"prediction_container" jsonPayload.message:"model.joblib"')
    assert [each["severity"] for each in loaded] == ["INFO"]


def test_a_failed_deployment_has_its_reason_in_the_log(world: World) -> None:
    model, endpoint = world.upload(files={"model.joblib": b"no model"}), world.endpoint()
    world.error("POST", f"{endpoint}:deployModel", world.deployment(model, {"0": 100}))
    found = entries(world, 'severity=ERROR "Could not load the model"')
    assert "Traceback" in found[0]["jsonPayload"]["message"]


def test_logging_of_a_deployed_model_can_be_off(world: World) -> None:
    endpoint = world.endpoint()
    world.deploy(endpoint, world.upload(), {"0": 100}, disableContainerLogging=True)
    world.error("POST", f"{endpoint}:predict", {"instances": [[1.0]]})
    assert entries(world, "NOT protoPayload.serviceName:*") == []


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("", "abcd"),
        ("severity>=WARNING", "bc"),
        ("severity=ERROR", "b"),
        ("severity<INFO", "d"),
        ("severity!=error", "acd"),
        ('textPayload:"ALPHA"', "a"),
        ('textPayload="alpha starts"', ""),
        ('textPayload="Alpha starts"', "a"),
        ("fails", "b"),
        ('"beta fails" OR gamma', "bc"),
        ("NOT textPayload:a", "c"),
        ('labels.step="2"', "b"),
        ('labels."a.b"=x', "a"),
        ("labels.step:*", "ab"),
        ("jsonPayload.loss>0.4", "c"),
        ("jsonPayload.loss>0.5", ""),
        ("jsonPayload.done=true", "c"),
        ('jsonPayload.tags="y"', "c"),
        ('jsonPayload.message="gamma" severity=WARNING', "c"),
        ('resource.type="global"', "abcd"),
        ('insertId="d"', "d"),
        ('logName:"/logs/mine"', "abcd"),
        ('logName="projects/none/logs/mine"', ""),
        ('timestamp>="2001-01-01T00:00:00Z"', "abcd"),
        ('timestamp<"2001-01-01"', ""),
        ("-- only this\nseverity=ERROR\n-- not that", "b"),
        ('textPayload=~"^(Alpha|Beta) "', "ab"),
        ('textPayload!~"^Alpha" severity>=INFO', "b"),
        ('textPayload:("alpha" OR "delta")', "ad"),
        ("severity=(ERROR OR WARNING)", "bc"),
        ('NOT textPayload:("alpha" AND "starts")', "bcd"),
        ('-(severity=ERROR OR "alpha")', "cd"),
        ('log_id("mine")', "abcd"),
        ('log_id("others")', ""),
        ('SEARCH("BETA fails")', "b"),
        ('SEARCH("eta")', ""),
        ('SEARCH(jsonPayload.tags, "x")', "c"),
    ],
)
def test_a_filter_means_these_entries(written: World, filter_: str, expected: str) -> None:
    assert "".join(each["insertId"] for each in entries(written, filter_)) == expected


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ('textPayload=~"a("', "regular expressions must be valid RE2"),
        ('textPayload=~"(?=a)"', "looks around or back, which RE2 does not"),
        ("sample(insertId, 0.5)", "the function sample is not"),
        ("colour=red", "colour is no field that it may name"),
        ("severity>=LOUD", "severity is compared with one of DEFAULT, DEBUG"),
        ('timestamp>"soon"', "'soon' is no time such as"),
        ('labels.a = ip_in_net("x")', "the function ip_in_net is not"),
        ("severity>=", "Unparseable filter"),
    ],
)
def test_a_filter_that_is_not_served_says_so(world: World, filter_: str, message: str) -> None:
    body = {"resourceNames": [f"projects/{world.project}"], "filter": filter_}
    code, said = world.error("POST", "entries:list", body, api="logging")
    assert code == "INVALID_ARGUMENT"
    assert message in said


def test_a_list_names_projects(world: World) -> None:
    code, message = world.error("POST", "entries:list", {}, api="logging")
    assert (code, message) == ("INVALID_ARGUMENT", "resource_names has to name a project: projects/PROJECT_ID.")


def test_an_entry_about_no_resource_is_about_the_project(world: World) -> None:
    write(world, {"textPayload": "x", "httpRequest": {"latency": "1.5s"}})
    (entry,) = entries(world, 'httpRequest.latency>"1.25s"')
    assert entry["resource"] == {"type": "global", "labels": {"project_id": world.project}}
    assert entries(world, 'httpRequest.latency>"10s"') == []


def test_entries_come_in_order_and_in_pages(written: World) -> None:
    assert [each["insertId"] for each in entries(written, orderBy="timestamp desc")] == ["d", "c", "b", "a"]
    body = {"resourceNames": [f"projects/{written.project}"], "pageSize": 3}
    first = written.ok("POST", "entries:list", body, api="logging")
    second = written.ok("POST", "entries:list", body | {"pageToken": first["nextPageToken"]}, api="logging")
    assert [each["insertId"] for each in first["entries"] + second["entries"]] == ["a", "b", "c", "d"]
    assert "nextPageToken" not in second
    assert written.error("POST", "entries:list", body | {"orderBy": "severity"}, api="logging")[0] == "INVALID_ARGUMENT"


def test_an_entry_keeps_what_was_written(world: World) -> None:
    status, answer = write(world, {"textPayload": "x", "severity": "NOTICE"}, log="a%2Fb", labels={"k": "v"})
    assert (status, answer) == (200, {})
    (entry,) = entries(world)
    assert entry["logName"] == f"projects/{world.project}/logs/a%2Fb"
    assert (entry["textPayload"], entry["severity"], entry["labels"]) == ("x", "NOTICE", {"k": "v"})
    assert datetime.fromisoformat(entry["timestamp"]) <= datetime.fromisoformat(entry["receiveTimestamp"]) + timedelta(
        milliseconds=1
    )


def test_logs_are_listed_and_deleted(written: World) -> None:
    path = f"projects/{written.project}/logs"
    activity = f"{path}/cloudaudit.googleapis.com%2Factivity"
    assert written.ok("GET", path, api="logging")["logNames"] == [f"{path}/mine"]
    written.ok("DELETE", f"{path}/mine", api="logging")
    assert written.ok("GET", path, api="logging")["logNames"] == [activity]
    assert written.error("DELETE", activity, api="logging")[0] == "PERMISSION_DENIED"
    assert entries(written, "NOT protoPayload.serviceName:*") == []
    code, message = written.error("DELETE", f"{path}/{quote('mine')}", api="logging")
    assert (code, message) == ("NOT_FOUND", f"Log {path}/mine does not exist.")


@pytest.mark.parametrize(
    ("entry", "more", "message"),
    [
        ({"textPayload": "x", "logName": "mine"}, {}, "The log name 'mine' is not valid"),
        ({"textPayload": "x"}, {"resource": {}}, "has no resource"),
        ({"textPayload": "x", "timestamp": "2001-01-01T00:00:00Z"}, {}, "30 days ago"),
        ({"textPayload": "x", "logName": "folders/1/logs/a"}, {}, "The log name 'folders/1/logs/a' is not valid"),
    ],
)
def test_an_entry_that_cannot_be_written(world: World, entry: Any, more: Any, message: str) -> None:
    status, answer = write(world, entry, **more)
    assert status == 400, json.dumps(answer)
    assert message in answer["error"]["message"]
    assert entries(world) == []
