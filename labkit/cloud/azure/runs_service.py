"""The workspace's own services at ``{region}.api.azureml.ms``: run history, data, and MLflow's tracking.

The SDK streams, lists and downloads what jobs made through them. Their operations are those of the packages
``azure.ai.ml._restclient.runhistory`` and ``.dataset_dataplane``; MLflow's are in
:mod:`labkit.cloud.azure.mlflow_tracking`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from labkit.cloud.azure import (
    jobs,
    jobs_files,
    jobs_views,
    mlflow_artifacts,
    mlflow_models,
    mlflow_registry,
    mlflow_tracking,
    tokens,
)
from labkit.cloud.azure.errors import AzureError, Codes, refusal
from labkit.cloud.azure.jobs_execution import BUILD_LOG
from labkit.cloud.azure.routes import WORKSPACE, Route, Table
from labkit.cloud.azure.runs import Run, Runs
from labkit.cloud.azure.wire import json_response, time_text
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

ERRORS: Codes = {}
AUDIENCES = (
    "https://ml.azure.com",
    "https://ml.azure.com/",
    "https://management.azure.com",
    "https://management.azure.com/",
    "https://management.core.windows.net",
    "https://management.core.windows.net/",
)
#: Seconds for which the question how a run is doing is held, once a client has begun to ask it again and again.
HELD = 2.0
#: Runs on one page.
PAGE = 100
READ, WRITE = mlflow_tracking.READ, mlflow_tracking.WRITE

_accepts = tokens.one_of(AUDIENCES)
#: Logs that are listed of a run, by the beginnings of their names.
_LOGS = ("user_logs/", "system_logs/", "logs/", BUILD_LOG)


def answer(call: Call) -> Response:
    """Answers one call to a workspace's services."""
    segments = [unquote(part) for part in call.request.raw_path.split("/") if part]
    call.operation = f"{call.request.method} {'/'.join(segments[:2])}"
    call.resource = f"/subscriptions/{call.subscription}"
    call.read_only = call.request.method in ("GET", "HEAD")
    if [each.lower() for each in segments[:1]] == ["discovery"]:
        call.operation = "discovery"
        return json_response(200, _discovery(call))
    _authenticate(call)
    found = table().find(segments)
    route = found.routes.get(call.request.method) if found else None
    if found is None or route is None:
        raise refusal(f"{call.request.method} {call.request.path} of the workspace's services")
    names = found.names
    call.operation, call.read_only = route.needs, route.reads
    if names["subscription"].lower() != call.subscription:
        raise AzureError("UserError", f"The subscription {names['subscription']} could not be found.", 404)
    call.workspace_id = (
        f"/subscriptions/{call.subscription}/resourceGroups/{names['group']}/providers/"
        f"Microsoft.MachineLearningServices/workspaces/{names['workspace']}"
    )
    call.workspace_id = call.cloud.resources.require(call.workspace_id).id
    call.resource = call.workspace_id
    call.engine.access.authorize(call.caller, route.needs, call.resource)
    result = route.function(call, names)
    return result if isinstance(result, Response) else json_response(200, result)


def failure(call: Call, error: AzureError) -> Response:
    """An error as these services write it; MLflow's clients read ``error_code`` and ``message``."""
    if "/api/2.0/mlflow" in call.request.path:
        return json_response(error.status, {"error_code": error.code, "message": error.message}, error.headers)
    body = {
        "error": {**error.body(), "details": error.details},
        "correlation": {"operation": call.request_id.replace("-", ""), "request": call.request_id[:16]},
        "environment": call.region,
        "location": call.region,
        "time": time_text(call.engine.clock.now()),
        "componentName": "run-history",
        "statusCode": error.status,
    }
    return json_response(error.status, body, error.headers)


def get_run(call: Call, names: dict[str, str]) -> dict[str, Any]:
    known = call.store(Runs)
    return jobs_views.history(known, call.workspace, _require(call, names["name"]))


def get_details(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A run with the addresses of its logs. A client that asks again is held for up to two seconds while it goes on."""
    run = _require(call, names["name"])
    if run.watched:
        run.wait(HELD)
    run.watched = True
    place = jobs_files.artifacts(call.cloud, call.workspace_id, run.name)
    logs = {
        name: jobs_files.signed(jobs_files.below(place, name))
        for name in jobs_files.names(place)
        if name.startswith(_LOGS)
    }
    return jobs_views.details(call.store(Runs), call.workspace, run, logs)


def list_children(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The runs below a run, the oldest first."""
    known, run = call.store(Runs), _require(call, names["name"])
    return _page(call, known.children(run.name))


def get_run_data(call: Call, names: dict[str, str]) -> dict[str, Any]:
    known, run = call.store(Runs), _require(call, str(call.body().get("runId")))
    return {
        "runMetadata": jobs_views.history(known, call.workspace, run),
        "runDefinition": None,
        "jobSpecification": None,
    }


def modify_run(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Changes what is said of a run: its display name, description, tags, properties, whether it is archived."""
    run = _require(call, names["name"])
    jobs.modify(run, call.body())
    return jobs_views.history(call.store(Runs), call.workspace, run)


def get_service_instances(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The services that run beside a run's command: none."""
    _require(call, names["name"])
    return {"instances": {}}


def resolve_data(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Where the data assets are whose ids are given: outputs of runs among them."""
    asked = call.body().get("values")
    known = {
        made.asset_id: made for run in call.store(Runs).all() for made in (*run.outputs.values(), *run.inputs.values())
    }
    return {
        "values": {
            each: {"uri": known[each].uri, "type": known[each].kind}
            for each in (asked if isinstance(asked, list) else [])
            if each in known
        }
    }


def _discovery(call: Call) -> dict[str, str]:
    here = f"https://{call.request.host}"
    kinds = ("api", "history", "catalog", "experimentation", "hyperdrive", "artifact", "modelmanagement", "mlflow")
    return dict.fromkeys(kinds, here) | {"studio": "https://ml.azure.com"}


def _authenticate(call: Call) -> None:
    scheme, _, token = call.request.headers.get("authorization").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise AzureError("UserError", "The request has no bearer token in its Authorization header.", 401)
    try:
        claims = call.cloud.identities.verify(token.strip(), _accepts)
    except tokens.Rejected as rejected:
        raise AzureError("UserError", f"The bearer token is not accepted: {rejected.reason}.", 401) from None
    call._caller = Caller("azure", claims.object_id, claims.tenant, "", claims.identifier)


def _require(call: Call, name: str) -> Run:
    run = call.store(Runs).get(name)
    if run is None:
        raise AzureError("UserError", f"RunId {name} not found in the workspace.", 404)
    return run


def _page(call: Call, found: list[Run]) -> dict[str, Any]:
    """A page of runs, with the token of the next one."""
    known = call.store(Runs)
    start = call.query.get("$continuationtoken") or call.query.get("continuationtoken") or "0"
    first = int(start) if start.isdigit() else 0
    size = call.query.get("$top") or call.query.get("top") or ""
    count = int(size) if size.isdigit() else PAGE
    body: dict[str, Any] = {
        "value": [jobs_views.history(known, call.workspace, run) for run in found[first : first + count]]
    }
    if first + count < len(found) and not size:
        body["continuationToken"] = str(first + count)
        body["nextLink"] = f"https://{call.request.host}{call.request.path}?$continuationtoken={first + count}"
    return body


_HISTORY = f"/history/v1.0{WORKSPACE}"
_DATA = f"/data/v1.0{WORKSPACE}/dataversion"
_RUN = f"{_HISTORY}/runs/{{name}}"


def _routes() -> list[Route]:
    found = [
        Route("POST", f"{_HISTORY}/rundata", get_run_data, action=READ, read_only=True),
        Route(
            "POST", f"/data/v1.0{WORKSPACE}/dataversion/batchGetResolvedUris", resolve_data, action=READ, read_only=True
        ),
    ]
    for below in ("", "/experiments/{experiment}", "/experimentids/{experiment}"):
        run = f"{_HISTORY}{below}/runs/{{name}}"
        found += [
            Route("GET", run, get_run, action=READ),
            Route("PATCH", run, modify_run, action=WRITE),
            Route("GET", f"{run}/details", get_details, action=READ),
            Route("GET", f"{run}/children", list_children, action=READ),
        ]
    found.append(Route("GET", f"{_RUN}/serviceinstances/{{node}}", get_service_instances, action=READ))
    return found + mlflow_tracking.ROUTES + mlflow_artifacts.ROUTES + mlflow_models.ROUTES + mlflow_registry.ROUTES


ROUTES = _routes()
#: Operation -> note, for ``docs/fidelity.md``.
SERVED = {
    "Discovery": "",
    "Run history": "runs, their details, children and data; names, tags and properties changed",
    "Data": "addresses of runs' outputs",
    "MLflow tracking": mlflow_tracking.NOTE,
}


@cache
def table() -> Table:
    """Every operation that these services have here."""
    return Table(ROUTES)
