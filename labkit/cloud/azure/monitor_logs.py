"""Log Analytics: the tables of online endpoints, queried in a part of the Kusto Query Language.

A workspace of Azure Machine Learning sends its endpoints' logs to the Log Analytics workspace behind its Application
Insights, without a diagnostic setting. https://learn.microsoft.com/azure/azure-monitor/logs/api/request-format and
https://learn.microsoft.com/azure/azure-monitor/reference/tables/amlonlineendpointtrafficlog (and its siblings)
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from labkit.cloud.azure import durations, kql, supporting, tokens, workspaces
from labkit.cloud.azure.deployment_logs import CONSOLE, EVENTS, TRAFFIC
from labkit.cloud.azure.errors import AzureError, Codes
from labkit.cloud.azure.kql_tokens import NotEvaluated, SemanticProblem, SyntaxProblem, position
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.wire import json_response
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.logs import Event
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

ERRORS: Codes = {}
#: Operation -> note, for ``docs/fidelity.md``.
SERVED = dict.fromkeys(
    ("Query", "Query by resource", "Batch"),
    "the tables of online endpoints, sent without a diagnostic setting; where, project, extend, distinct, take, top, "
    "order by, count and summarize",
)
READ = "Microsoft.OperationalInsights/workspaces/query/read"
AUDIENCES = ("https://api.loganalytics.io", "https://api.loganalytics.azure.com")
#: Queries that one batch may hold.
MOST_QUERIES = 100

_accepts = tokens.one_of(AUDIENCES)
_WORKSPACE = re.compile(r"/v1/workspaces/([^/]+)/query", re.IGNORECASE)
_RESOURCE = re.compile(r"/v1(/subscriptions/.+)/query", re.IGNORECASE)
_BATCH = re.compile(r"/v1/\$batch", re.IGNORECASE)

_SHARED = {"_ResourceId": "string", "_SubscriptionId": "string", "SourceSystem": "string", "TenantId": "string"}
_BILLED = {"_BilledSize": "real", "_IsBillable": "string", "Type": "string"}
_INSTANCE = {"OperationName": "string", "InstanceId": "string", "DeploymentName": "string"}
#: Each table's columns, by the names and types of Azure Monitor's reference.
COLUMNS: dict[str, dict[str, str]] = {
    CONSOLE: {
        "TimeGenerated": "datetime",
        **_INSTANCE,
        "ContainerName": "string",
        "ContainerImageName": "string",
        "Message": "string",
        **_SHARED,
        **_BILLED,
    },
    EVENTS: {"TimeGenerated": "datetime", **_INSTANCE, "Name": "string", "Message": "string", **_SHARED, **_BILLED},
    TRAFFIC: {
        "TimeGenerated": "datetime",
        **dict.fromkeys(
            ("Location", "OperationName", "Method", "Path", "AzureMLWorkspaceId", "AzureMLWorkspaceName"), "string"
        ),
        **dict.fromkeys(("EndpointName", "DeploymentName", "Protocol", "AuthType", "IdentityData"), "string"),
        "ResponseCode": "int",
        "ResponseCodeReason": "string",
        "ModelStatusCode": "int",
        "ModelStatusReason": "string",
        **dict.fromkeys(("RequestPayloadSize", "ResponsePayloadSize"), "int"),
        **dict.fromkeys(("UserAgent", "XRequestId", "XMSClientRequestId"), "string"),
        **dict.fromkeys(("TotalDurationMs", "RequestDurationMs", "ResponseDurationMs"), "int"),
        **dict.fromkeys(("RequestThrottlingDelayMs", "ResponseThrottlingDelayMs"), "string"),
        **_SHARED,
        **_BILLED,
    },
}


def answer(call: Call) -> Response:
    """Answers one call: a query of a workspace's tables, or of what one resource wrote, or many queries at once."""
    call.operation, call.read_only = READ, True
    call.resource = f"/subscriptions/{call.subscription}"
    _authenticate(call)
    path = unquote(call.request.raw_path)
    if call.request.method == "POST" and _BATCH.fullmatch(path):
        return json_response(200, {"responses": [_one_of_batch(call, each) for each in _batch(call)]})
    if call.request.method not in ("GET", "POST"):
        raise _bad(f"Log Analytics does not take {call.request.method} of {path}.")
    body = _body(call) if call.request.method == "POST" else dict(call.query)
    prefer = call.request.headers.get("prefer")
    if found := _WORKSPACE.fullmatch(path):
        return json_response(200, _query(call, _of_workspaces(call, found[1], body), body, prefer))
    if found := _RESOURCE.fullmatch(path):
        return json_response(200, _query(call, _of_resource(call, found[1]), body, prefer))
    raise AzureError("PathNotFoundError", f"The requested path {path} does not exist.", 404)


def failure(call: Call, error: AzureError) -> Response:
    return json_response(error.status, {"error": _error(call, error)})


class QueryError(AzureError):
    """A query that fails: ``inner`` is what it fails over, in the interface's own shape."""

    def __init__(self, code: str, message: str, status: int, inner: Mapping[str, Any]) -> None:
        super().__init__(code, message, status)
        self.inner = inner


#: Where a query's rows come from: the workspaces of Azure Machine Learning, the id of the Log Analytics workspace, and
#: the resource that the rows have to be about or below.
Sources = list[tuple[Resource, str, str]]


def _authenticate(call: Call) -> None:
    _, _, token = call.request.headers.get("authorization").partition(" ")
    try:
        claims = call.cloud.identities.verify(token.strip(), _accepts)
    except tokens.Rejected as rejected:
        message = f"Valid authentication was not provided: a token for {AUDIENCES[0]} is needed ({rejected})."
        raise AzureError("AuthorizationRequiredError", message, 401) from None
    call._caller = Caller("azure", claims.object_id, claims.tenant, "", claims.identifier)


def _of_workspaces(call: Call, name: str, body: Mapping[str, Any]) -> Sources:
    """What the Log Analytics workspaces with these ids hold."""
    found: Sources = []
    others = body.get("workspaces") or []
    for each in [name, *(others if isinstance(others, list) else str(others).split(","))]:
        workspace = _log_workspace(call, str(each))
        call.resource = workspace.id
        call.engine.access.authorize(call.caller, READ, workspace.id)
        found += [
            (sender, workspace.properties["customerId"], "")
            for sender in call.cloud.resources.below(f"/subscriptions/{call.subscription}", workspaces.TYPE)
            if _receiver(call, sender) is workspace
        ]
    return found


def _log_workspace(call: Call, name: str) -> Resource:
    """The Log Analytics workspace of this customer id, name or resource id."""
    for each in call.cloud.resources.below(f"/subscriptions/{call.subscription}", supporting.LOG_WORKSPACES):
        if name.lower() in (each.properties["customerId"].lower(), each.name.lower(), each.id.lower()):
            return each
    raise AzureError("WorkspaceNotFoundError", f"The workspace {name} could not be found.", 404)


def _receiver(call: Call, workspace: Resource) -> Resource | None:
    """The Log Analytics workspace to which a workspace of Azure Machine Learning sends."""
    component = call.cloud.resources.get(workspace.properties.get("applicationInsights") or "")
    return call.cloud.resources.get((component.properties.get("WorkspaceResourceId") or "") if component else "")


def _of_resource(call: Call, resource_id: str) -> Sources:
    """What a resource wrote, or what is below it, or what a Log Analytics workspace holds."""
    resource = call.cloud.resources.require(resource_id)
    call.resource = resource.id
    call.engine.access.authorize(call.caller, "Microsoft.Insights/logs/read", resource.id)
    if resource.type.lower() == supporting.LOG_WORKSPACES.lower():
        return _of_workspaces(call, resource.id, {})
    found: Sources = []
    for sender in call.cloud.resources.below(f"/subscriptions/{call.subscription}", workspaces.TYPE):
        mine = f"{sender.id}/".lower()
        if mine.startswith(f"{resource.id}/".lower()) or resource.id.lower().startswith(mine):
            receiver = _receiver(call, sender)
            customer = receiver.properties["customerId"] if receiver else ""
            found.append((sender, customer, resource.id))
    return found


def _query(call: Call, sources: Sources, body: Mapping[str, Any], prefer: str) -> dict[str, Any]:
    """The result of one query, as the interface writes it."""
    text = body.get("query")
    if not isinstance(text, str) or not text.strip():
        raise _bad("The request has no query.")
    window = _window(call, body.get("timespan"))
    started = time.perf_counter()

    def reader(table: str) -> Callable[[], kql.Table]:
        return lambda: kql.Table(COLUMNS[table], list(_rows(call, sources, table, window)))

    try:
        result = kql.run(text, {table: reader(table) for table in COLUMNS}, call.engine.clock.now())
    except SyntaxProblem as problem:
        raise _syntax_error(text, problem) from None
    except SemanticProblem as problem:
        raise _semantic_error(str(problem)) from None
    except NotEvaluated as problem:
        message = f"The local clouds do not evaluate {problem} of the Kusto Query Language; see docs/fidelity.md."
        raise AzureError("NotImplemented", message, 501) from None
    columns = [{"name": name, "type": kind} for name, kind in result.columns.items()]
    rows = [[_cell(row.get(name)) for name in result.columns] for row in result.rows]
    shown: dict[str, Any] = {"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}]}
    if "include-statistics=true" in prefer:
        shown["statistics"] = {"query": {"executionTime": time.perf_counter() - started}}
    if "include-render=true" in prefer:
        shown["render"] = {"visualization": None}
    return shown


def _rows(
    call: Call, sources: Sources, table: str, window: tuple[datetime, datetime] | None
) -> Iterator[dict[str, Any]]:
    """The rows of a table, from every workspace that sends them."""
    start, end = (None, None) if window is None else (_milliseconds(each) for each in window)
    for workspace, customer, about in sources:
        scope = f"azure:{workspace.id.lower()}"
        for group in call.engine.logs.groups(scope):
            endpoint_id = group.name.removeprefix(table)
            if endpoint_id == group.name or not _is_about(about, endpoint_id):
                continue
            shared = {
                "_ResourceId": endpoint_id,
                "_SubscriptionId": call.subscription,
                "SourceSystem": "Azure",
                "TenantId": customer,
                "_IsBillable": "True",
                "Type": table,
            }
            for event in call.engine.logs.read(scope, group.name, start=start, end=end):
                row = _ROWS[table](event, workspace, endpoint_id)
                if (
                    not about
                    or not (deployment := _deployment_of(about))
                    or row["DeploymentName"].lower() == deployment
                ):
                    when = datetime.fromtimestamp(event.timestamp / 1000, UTC)
                    yield {"TimeGenerated": when, **row, **shared, "_BilledSize": float(len(event.message))}


def _console_row(event: Event, workspace: Resource, endpoint_id: str) -> dict[str, Any]:
    deployment, container, instance = event.stream.split("/")
    return {
        "DeploymentName": deployment,
        "ContainerName": container,
        "InstanceId": instance,
        "Message": event.message,
        "OperationName": "",
        "ContainerImageName": "",
    }


def _event_row(event: Event, workspace: Resource, endpoint_id: str) -> dict[str, Any]:
    deployment, instance = event.stream.split("/")
    return {"DeploymentName": deployment, "InstanceId": instance, "OperationName": "", **json.loads(event.message)}


def _traffic_row(event: Event, workspace: Resource, endpoint_id: str) -> dict[str, Any]:
    return {
        "Location": workspace.location,
        "OperationName": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action",
        "AzureMLWorkspaceId": workspace.properties["workspaceId"],
        "AzureMLWorkspaceName": workspace.name,
        "EndpointName": endpoint_id.rpartition("/")[2],
        "Protocol": "HTTP/1.1",
        "RequestThrottlingDelayMs": "0",
        "ResponseThrottlingDelayMs": "0",
        **json.loads(event.message),
    }


_ROWS = {CONSOLE: _console_row, EVENTS: _event_row, TRAFFIC: _traffic_row}


def _is_about(about: str, endpoint_id: str) -> bool:
    """Whether rows of an endpoint are about a resource: the endpoint, something above it, or a deployment of it."""
    asked = about.lower().partition("/deployments/")[0]
    return not asked or f"{endpoint_id}/".startswith(f"{asked}/")


def _deployment_of(about: str) -> str:
    return about.lower().partition("/deployments/")[2]


def _window(call: Call, timespan: Any) -> tuple[datetime, datetime] | None:
    """The stretch of lab time that a timespan means: ``PT1H``, ``start/end``, ``start/PT1H``."""
    if not timespan:
        return None
    first, _, second = str(timespan).partition("/")
    try:
        if not second:
            length, end = durations.parse(first), datetime.now(UTC)
            if length is None:
                raise ValueError
            return call.engine.clock.window(end - length, end + timedelta(seconds=1))
        start = _time(first)
        length = durations.parse(second)
        return call.engine.clock.window(start, _time(second) if length is None else start + length)
    except ValueError:
        raise _bad(f"The timespan {timespan!r} is none: write PT1H, or start/end in ISO 8601.") from None


def _time(text: str) -> datetime:
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def _milliseconds(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    if isinstance(value, timedelta):
        days, rest = divmod(value, timedelta(days=1))
        text = f"{datetime.min + rest:%H:%M:%S.%f}"
        return f"{days}.{text}" if days else text
    return value


def _body(call: Call) -> dict[str, Any]:
    try:
        body = json.loads(call.request.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _bad("The request's body has to be a JSON object.")
    return body


def _batch(call: Call) -> Iterable[Mapping[str, Any]]:
    requests = _body(call).get("requests")
    if not isinstance(requests, list) or not all(isinstance(each, dict) for each in requests):
        raise _bad("The request's body has to hold a list of requests.")
    if len(requests) > MOST_QUERIES:
        raise _bad(f"{len(requests)} queries were sent; one request takes {MOST_QUERIES} at most.")
    return requests


def _one_of_batch(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one request of a batch; its failure is its own."""
    body, headers = request.get("body") or {}, request.get("headers") or {}
    prefer = next((str(value) for name, value in headers.items() if name.lower() == "prefer"), "")
    try:
        status, shown = 200, _query(call, _of_workspaces(call, str(request.get("workspace")), body), body, prefer)
    except CloudError as error:
        wrapped = error if isinstance(error, AzureError) else AzureError("BadArgumentError", error.message, 400)
        status, shown = wrapped.status, {"error": _error(call, wrapped)}
    return {"id": request.get("id"), "status": status, "headers": {}, "body": shown}


def _bad(message: str) -> AzureError:
    return QueryError(
        "BadArgumentError",
        "The request had some invalid properties",
        400,
        {"code": "BadArgumentError", "message": message},
    )


def _syntax_error(query: str, problem: SyntaxProblem) -> AzureError:
    line, column = position(query, problem.token.at)
    inner = {
        "code": "SYN0002",
        "message": f"{problem} on line [{line},{column}]",
        "line": line,
        "pos": column,
        "token": problem.token.text or "<EOF>",
    }
    return QueryError(
        "BadArgumentError",
        "The request had some invalid properties",
        400,
        {"code": "SyntaxError", "message": "A recognition error occurred in the query.", "innererror": inner},
    )


def _semantic_error(message: str) -> AzureError:
    return QueryError(
        "BadArgumentError",
        "The request had some invalid properties",
        400,
        {
            "code": "SemanticError",
            "message": "A semantic error occurred.",
            "innererror": {"code": "SEM0100", "message": message},
        },
    )


def _error(call: Call, error: AzureError) -> dict[str, Any]:
    shown: dict[str, Any] = {"message": error.message, "code": error.code, "correlationId": call.request_id}
    if isinstance(error, QueryError):
        shown["innererror"] = error.inner
    return shown
