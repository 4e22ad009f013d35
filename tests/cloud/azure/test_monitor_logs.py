"""Log Analytics: the tables of online endpoints, through azure-monitor-query and plain REST, and what it refuses."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure import in_process
from tests.cloud.azure.online_world import World
from tests.waiting import eventually

API = "https://api.loganalytics.io"
HOUR = timedelta(hours=1)


def customer(world: World) -> str:
    """The id of the Log Analytics workspace to which the lab's workspace sends."""
    rest = world.rest
    component = rest("GET", rest("GET", rest.workspace)[1]["properties"]["applicationInsights"], version="2020-02-02")
    workspace = rest("GET", component[1]["properties"]["WorkspaceResourceId"], version="2022-10-01")
    return str(workspace[1]["properties"]["customerId"])


def query(world: World, text: str, path: str = "", timespan: str = "PT1H", **headers: str) -> tuple[int, Any]:
    """(status, body) of one query over plain REST: of the workspace's tables, or of ``path``."""
    where = f"{API}/v1{path or f'/workspaces/{customer(world)}'}/query"
    body = {"query": text, "timespan": timespan}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = in_process.call(world.cloud, "POST", where, body, sent, token=in_process.token(world.cloud, API))
    return answer.status, json.loads(bytes(answer.body))


def rows(world: World, text: str, **options: Any) -> list[dict[str, Any]]:
    """The rows of a query, each by its columns' names."""
    status, answer = query(world, text, **options)
    assert status == 200, answer
    (table,) = answer["tables"]
    names = [column["name"] for column in table["columns"]]
    return [dict(zip(names, row, strict=True)) for row in table["rows"]]


def mine(world: World, table: str) -> str:
    """A table's rows of the test's own endpoint."""
    return f'{table} | where _ResourceId endswith "/{world.name}"'


def test_the_traffic_log(world: World) -> None:
    world.serve("blue", "green")
    world.score({"x": 1}, x_ms_client_request_id="mine", User_Agent="tester/1.0")
    world.score({"raise": "no"}, "green")
    world.score({}, credential="wrong")
    # By their status: two requests may be answered in one millisecond.
    found = rows(world, f"{mine(world, 'AmlOnlineEndpointTrafficLog')} | order by ResponseCode asc")
    assert [(row["DeploymentName"], row["ResponseCode"], row["ModelStatusCode"]) for row in found] == [
        ("blue", 200, 200),
        ("", 401, 0),
        ("green", 424, 500),
    ]
    first = found[0]
    workspace = world.rest("GET", world.rest.workspace)[1]
    expected = {
        "Method": "POST",
        "Path": "/score",
        "EndpointName": world.name,
        "Location": "eastus",
        "AuthType": "Key",
        "UserAgent": "tester/1.0",
        "XMSClientRequestId": "mine",
        "ResponseCodeReason": "OK",
        "RequestPayloadSize": 8,
        "AzureMLWorkspaceName": "mlops",
        "AzureMLWorkspaceId": workspace["properties"]["workspaceId"],
        "_SubscriptionId": world.cloud.identities.subscription,
        "_ResourceId": world.path.lower(),
        "Type": "AmlOnlineEndpointTrafficLog",
        "TenantId": customer(world),
    }
    assert {name: first[name] for name in expected} == expected
    assert first["TotalDurationMs"] >= 0
    assert first["XRequestId"]
    assert abs(datetime.fromisoformat(first["TimeGenerated"]) - world.cloud.engine.clock.now()) < timedelta(minutes=1)


def test_microsofts_own_sample_query(world: World) -> None:
    """https://learn.microsoft.com/azure/azure-monitor/reference/queries/amlonlineendpointtrafficlog"""
    world.serve()
    for body in ({}, {"raise": "a"}, {"raise": "b"}):
        world.score(body)
    sample = """
        // Online endpoint failed requests
        // Last 100 failed requests
        AmlOnlineEndpointTrafficLog
        | where ResponseCode != "200"
        | project TimeGenerated, Location, OperationName, Path, Subscription = _SubscriptionId, AzureMLWorkspaceId,
            EndpointName, DeploymentName, ResponseCode, ResponseCodeReason, ModelStatusCode, ModelStatusReason
        | top 100 by TimeGenerated desc
    """
    found = [row for row in rows(world, sample) if row["EndpointName"] == world.name]
    assert [row["ResponseCode"] for row in found] == [424, 424]
    assert found[0]["Subscription"] == world.cloud.identities.subscription
    assert found[0]["TimeGenerated"] >= found[1]["TimeGenerated"]


def test_the_console_and_the_events(world: World) -> None:
    world.serve()
    world.score({"print": "hello from run"})
    console = mine(world, "AmlOnlineEndpointConsoleLog")
    (row,) = eventually(lambda: rows(world, f'{console} | where Message has "hello from run"'))
    assert (row["DeploymentName"], row["ContainerName"]) == ("blue", "inference-server")
    counted = rows(world, f"{console} | summarize Lines = count() by ContainerName | order by ContainerName asc")
    assert [each["ContainerName"] for each in counted] == ["inference-server", "storage-initializer"]
    events = rows(world, f"{mine(world, 'AmlOnlineEndpointEventLog')} | order by TimeGenerated asc | project Name")
    assert [each["Name"] for each in events] == [
        "Pulled",
        "Downloading",
        "Downloaded",
        "Created",
        "Started",
        "ContainerReady",
    ]


def test_logs_of_one_resource(world: World) -> None:
    world.serve("blue", "green")
    for name in ("blue", "green", "green"):
        world.score({}, name)
    table = "AmlOnlineEndpointTrafficLog | count"
    assert rows(world, table, path=world.path) == [{"Count": 3}]
    assert rows(world, table, path=f"{world.path}/deployments/green") == [{"Count": 2}]
    assert rows(world, table, path=world.rest.workspace)[0]["Count"] >= 3
    assert rows(world, table, path=world.rest.group)[0]["Count"] >= 3
    assert query(world, table, path=f"{world.path}x")[0] == 404


def test_columns_have_types_and_an_answer_its_extras(world: World) -> None:
    world.make()
    text = "AmlOnlineEndpointTrafficLog | take 0 | project TimeGenerated, ResponseCode, Path"
    status, plain = query(world, text)
    assert (status, list(plain)) == (200, ["tables"])
    assert plain["tables"][0] == {
        "name": "PrimaryResult",
        "columns": [
            {"name": "TimeGenerated", "type": "datetime"},
            {"name": "ResponseCode", "type": "int"},
            {"name": "Path", "type": "string"},
        ],
        "rows": [],
    }
    _, full = query(world, text, Prefer="include-statistics=true,include-render=true")
    assert full["statistics"]["query"]["executionTime"] >= 0
    assert "render" in full


def test_queries_that_fail(world: World) -> None:
    world.make()

    def error(text: str, **options: Any) -> tuple[int, dict[str, Any]]:
        status, answer = query(world, text, **options)
        return status, answer["error"]

    status, found = error("AmlOnlineEndpointTrafficLog\n| wher true")
    assert (status, found["code"], found["message"]) == (
        400,
        "BadArgumentError",
        "The request had some invalid properties",
    )
    inner = found["innererror"]
    assert (inner["code"], inner["message"]) == ("SyntaxError", "A recognition error occurred in the query.")
    assert inner["innererror"] == {
        "code": "SYN0002",
        "message": "Query could not be parsed at 'wher' on line [2,2]",
        "line": 2,
        "pos": 2,
        "token": "wher",
    }
    status, found = error("NoSuchTable | take 1")
    assert (status, found["innererror"]["code"]) == (400, "SemanticError")
    assert found["innererror"]["innererror"]["message"] == (
        "Failed to resolve table or column expression named 'NoSuchTable'"
    )
    status, found = error("AmlOnlineEndpointTrafficLog | join AmlOnlineEndpointEventLog on _ResourceId")
    assert (status, found["code"], "the operator join" in found["message"]) == (501, "NotImplemented", True)
    status, found = error(" ")
    assert (status, found["innererror"]["message"]) == (400, "The request has no query.")
    status, found = error("AmlOnlineEndpointTrafficLog", timespan="yesterday")
    assert (status, "timespan 'yesterday' is none" in found["innererror"]["message"]) == (400, True)
    status, found = error("AmlOnlineEndpointTrafficLog", path="/workspaces/no-such")
    assert (status, found["code"]) == (404, "WorkspaceNotFoundError")
    for token in ("x", in_process.token(world.cloud)):
        answer = in_process.call(world.cloud, "POST", f"{API}/v1/workspaces/x/query", {"query": "T"}, token=token)
        assert (answer.status, b"AuthorizationRequiredError" in bytes(answer.body)) == (401, True)
    answer = in_process.call(world.cloud, "POST", f"{API}/v1/other", {}, token=in_process.token(world.cloud, API))
    assert (answer.status, b"PathNotFoundError" in bytes(answer.body)) == (404, True)


def test_other_ways_to_ask(world: World) -> None:
    world.serve()
    world.score({})
    token = in_process.token(world.cloud, API)
    workspace = customer(world)

    def ask(method: str, path: str, body: Any = None, credential: str = token) -> tuple[int, Any]:
        answer = in_process.call(world.cloud, method, f"{API}/v1{path}", body, token=credential)
        return answer.status, json.loads(bytes(answer.body))

    text = quote(f"{mine(world, 'AmlOnlineEndpointTrafficLog')} | project Age = now() - now(), Long = 26h")
    status, found = ask("GET", f"/workspaces/{workspace}/query?query={text}&timespan=PT1H")
    assert (status, found["tables"][0]["rows"]) == (200, [["00:00:00.000000", "1.02:00:00.000000"]])
    status, found = ask("PUT", f"/workspaces/{workspace}/query", {})
    assert (status, "does not take PUT" in found["error"]["innererror"]["message"]) == (400, True)
    status, found = ask("POST", f"/workspaces/{workspace}/query", b"no JSON")
    assert "JSON object" in found["error"]["innererror"]["message"]
    queries = [
        {"id": "1", "workspace": workspace, "body": {"query": "AmlOnlineEndpointTrafficLog | count"}},
        {"id": "2", "workspace": "no-such", "body": {"query": "AmlOnlineEndpointTrafficLog"}},
        {"id": "3", "workspace": workspace, "body": {"query": "union T"}, "headers": {"Prefer": "x"}},
    ]
    status, found = ask("POST", "/$batch", {"requests": queries})
    assert status == 200
    assert [(each["id"], each["status"]) for each in found["responses"]] == [("1", 200), ("2", 404), ("3", 501)]
    for body, message in (
        ({"requests": {}}, "list of requests"),
        ({"requests": queries[:1] * 101}, "takes 100 at most"),
    ):
        status, found = ask("POST", "/$batch", body)
        assert (status, message in found["error"]["innererror"]["message"]) == (400, True)
    nobody = world.cloud.identities.assign(f"/subscriptions/x/{world.name}")
    gone, _ = world.cloud.identities.tokens.issue(nobody, API)
    world.cloud.identities.unassign(f"/subscriptions/x/{world.name}")
    assert ask("GET", f"/workspaces/{workspace}/query?query=T", credential=gone)[0] == 401


def test_windows_of_a_lab_whose_clock_was_advanced(own_world: World) -> None:
    world, clock = own_world, own_world.cloud.engine.clock
    world.serve()
    world.score({})
    before = clock.now()
    clock.advance(timedelta(days=2))
    world.score({})
    world.score({})

    def count(timespan: str, condition: str = "true") -> int:
        (row,) = rows(world, f"AmlOnlineEndpointTrafficLog | where {condition} | count", timespan=timespan)
        return int(row["Count"])

    assert count("PT1H") == 2
    assert count(f"{before - HOUR:%Y-%m-%dT%H:%M:%SZ}/{before + 20 * HOUR:%Y-%m-%dT%H:%M:%SZ}") == 1
    assert count(f"{before - HOUR:%Y-%m-%dT%H:%M:%SZ}/P7D") == 3
    assert count("", "TimeGenerated > ago(1h)") == 2
    assert count("", "TimeGenerated between (ago(3d) .. ago(1d))") == 1
    # A Log Analytics workspace keeps what it is sent for thirty days.
    clock.advance(timedelta(days=29))
    assert count("") == 2


# -- azure-monitor-query -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logs_client() -> Any:
    """What makes a ``LogsQueryClient``; importing it takes a while."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from azure.identity import DefaultAzureCredential
        from azure.monitor.query import LogsQueryClient

    return lambda: LogsQueryClient(DefaultAzureCredential())


def test_the_logs_client(world: World, reached: AzureCloud, logs_client: Any) -> None:
    from azure.monitor.query import LogsBatchQuery, LogsQueryStatus

    world.serve("blue", "green")
    for name in ("blue", "green", "green"):
        world.score({}, name)
    client, workspace = logs_client(), customer(world)
    traffic = mine(world, "AmlOnlineEndpointTrafficLog")
    text = f"{traffic} | summarize Requests = count(), max(TimeGenerated) by DeploymentName | order by Requests"
    result = client.query_workspace(workspace, text, timespan=HOUR, include_statistics=True)
    assert result.status == LogsQueryStatus.SUCCESS
    (table,) = result.tables
    assert (table.name, table.columns) == ("PrimaryResult", ["DeploymentName", "Requests", "max_TimeGenerated"])
    assert [(row["DeploymentName"], row["Requests"]) for row in table.rows] == [("green", 2), ("blue", 1)]
    assert isinstance(table.rows[0]["max_TimeGenerated"], datetime)
    assert result.statistics["query"]["executionTime"] >= 0

    now = datetime.now(UTC)
    counted = client.query_resource(world.path, "AmlOnlineEndpointTrafficLog | count", timespan=(now - HOUR, now))
    assert counted.tables[0].rows[0]["Count"] == 3

    good, bad = client.query_batch(
        [
            LogsBatchQuery(workspace_id=workspace, query=f"{traffic} | count", timespan=HOUR),
            LogsBatchQuery(workspace_id=workspace, query="NoSuchTable", timespan=HOUR),
        ]
    )
    assert good.tables[0].rows[0]["Count"] == 3
    assert (bad.status, bad.code) == (LogsQueryStatus.FAILURE, "BadArgumentError")

    error = in_process.raised(lambda: client.query_workspace(workspace, "NoSuchTable", timespan=HOUR))
    assert error.status_code == 400
    assert error.error.code == "BadArgumentError"
    assert error.error.innererror["code"] == "SemanticError"
