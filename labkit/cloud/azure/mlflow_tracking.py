"""MLflow's tracking interface of a workspace: experiments, runs, their parameters, metrics, tags and artifacts.

https://mlflow.org/docs/latest/rest-api.html and
https://learn.microsoft.com/azure/machine-learning/how-to-use-mlflow-cli-runs. A job's run ends with its command,
whatever its code says of it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import mlflow_filters, runs
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.routes import WORKSPACE, Function, Route
from labkit.cloud.azure.runs import Measured, Run, Runs
from labkit.cloud.engine.clock import EPOCH

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

READ = "Microsoft.MachineLearningServices/workspaces/experiments/runs/read"
WRITE = "Microsoft.MachineLearningServices/workspaces/experiments/runs/write"
NOTE = (
    "experiments, runs, parameters, metrics, tags, artifacts, logged and registered models with their stages; no "
    "traces, no aliases"
)
BASE = "/api/2.0/mlflow"
#: A run's status as MLflow knows it.
_STATUSES = {runs.RUNNING: "RUNNING", runs.COMPLETED: "FINISHED", runs.FAILED: "FAILED", runs.CANCELED: "KILLED"}
_ENDED = {"FINISHED": runs.COMPLETED, "FAILED": runs.FAILED, "KILLED": runs.CANCELED}
#: Runs that a search answers at most.
MOST_RUNS = 50_000
_MILLISECOND = timedelta(milliseconds=1)


def create_experiment(call: Call, names: dict[str, str]) -> dict[str, Any]:
    known, name = call.store(Runs), text(call.body(), "name")
    if name in known.experiments():
        raise AzureError("RESOURCE_ALREADY_EXISTS", f"Experiment '{name}' already exists.", 400)
    return {"experiment_id": known.experiment(name)}


def get_experiment(call: Call, names: dict[str, str]) -> dict[str, Any]:
    wanted = call.query.get("experiment_id", "")
    for name, identifier in call.store(Runs).experiments().items():
        if identifier == wanted:
            return {"experiment": _experiment(call, name, identifier)}
    raise AzureError("RESOURCE_DOES_NOT_EXIST", f"No Experiment with id={wanted} exists", 404)


def get_experiment_by_name(call: Call, names: dict[str, str]) -> dict[str, Any]:
    wanted = call.query.get("experiment_name", "")
    found = call.store(Runs).experiments().get(wanted)
    if found is None:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name '{wanted}'", 404)
    return {"experiment": _experiment(call, wanted, found)}


def search_experiments(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """All experiments; a filter is not evaluated but refused. MLflow 1's clients call it ``list``."""
    if call.query.get("filter") or (call.request.method == "POST" and call.body().get("filter")):
        raise AzureError("INVALID_PARAMETER_VALUE", "Filters of experiments are not served by the local clouds.", 400)
    found = call.store(Runs).experiments()
    return {"experiments": [_experiment(call, name, identifier) for name, identifier in found.items()]}


def create_run(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body, known = call.body(), call.store(Runs)
    wanted = text(body, "experiment_id")
    experiment = next((name for name, identifier in known.experiments().items() if identifier == wanted), None)
    if experiment is None:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"No Experiment with id={wanted} exists", 404)
    tags = pairs(body.get("tags"))
    title = str(body.get("run_name") or tags.get("mlflow.runName") or "")
    run = Run(
        name=str(uuid.uuid4()),
        experiment=experiment,
        created=call.engine.clock.now(),
        caller=call.caller,
        kind="mlflow",
        parent=tags.get("mlflow.parentRunId", ""),
        display_name=title,
        tags=tags,
    )
    run.move(runs.RUNNING, run.created)
    known.add(run)
    return {"run": view(call, run)}


def update_run(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    run = require(call, body)
    if title := body.get("run_name"):
        run.display_name = str(title)
    status = str(body.get("status"))
    if run.kind == "mlflow" and status in _ENDED:
        run.move(_ENDED[status], call.engine.clock.now())
    return {"run_info": _info(call, run)}


def get_run(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return {"run": view(call, require(call, call.query))}


def delete_run(call: Call, names: dict[str, str]) -> dict[str, Any]:
    require(call, call.body()).hidden = True
    return {}


def restore_run(call: Call, names: dict[str, str]) -> dict[str, Any]:
    require(call, call.body()).hidden = False
    return {}


def log_metric(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    _measure(call, require(call, body), body)
    return {}


def log_parameter(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    _set_parameter(require(call, body), text(body, "key"), str(body.get("value", "")))
    return {}


def log_batch(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    run = require(call, body)
    for each in listed(body, "params"):
        _set_parameter(run, text(each, "key"), str(each.get("value", "")))
    for each in listed(body, "metrics"):
        _measure(call, run, each)
    run.tags = run.tags | pairs(body.get("tags"))
    return {}


def set_tag(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    run = require(call, body)
    run.tags = run.tags | {text(body, "key"): str(body.get("value", ""))}
    return {}


def delete_tag(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    run, key = require(call, body), text(body, "key")
    if key not in run.tags:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"No tag with name: {key} in run with id {run.name}", 404)
    run.tags = {name: value for name, value in run.tags.items() if name != key}
    return {}


def get_metric_history(call: Call, names: dict[str, str]) -> dict[str, Any]:
    run, key = require(call, call.query), call.query.get("metric_key", "")
    return {"metrics": [_metric(key, each) for each in run.metrics.get(key, [])]}


def search_runs(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The runs of experiments that a filter chooses, in the order that is asked for, the newest first otherwise."""
    body, known = call.body(), call.store(Runs)
    asked = {str(each) for each in listed(body, "experiment_ids")}
    view_type = str(body.get("run_view_type") or "ACTIVE_ONLY").upper()
    chosen = mlflow_filters.parse(str(body.get("filter") or ""))
    found = []
    for run in reversed(known.all()):
        if known.experiment(run.experiment) not in asked or not _is_seen(run, view_type):
            continue
        shown = view(call, run)
        if chosen(shown):
            found.append(shown)
    for order in reversed(listed(body, "order_by")):
        found = mlflow_filters.ordered(found, str(order))
    first = int(body["page_token"]) if str(body.get("page_token") or "").isdigit() else 0
    most = min(_count(body.get("max_results") or 1000), MOST_RUNS)
    answer: dict[str, Any] = {"runs": found[first : first + most]}
    if first + most < len(found):
        answer["next_page_token"] = str(first + most)
    return answer


def require(call: Call, given: Mapping[str, Any]) -> Run:
    """The run that a request names; raises :class:`AzureError`."""
    name = str(given.get("run_id") or given.get("run_uuid") or "")
    run = call.store(Runs).get(name)
    if run is None:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"Run with id={name} not found", 404)
    return run


def view(call: Call, run: Run) -> dict[str, Any]:
    """A run as MLflow shows it."""
    tags = {"mlflow.runName": run.display_name, "mlflow.rootRunId": run.root or run.name, **run.tags}
    if run.parent:
        tags["mlflow.parentRunId"] = run.parent
    return {
        "info": _info(call, run),
        "data": {
            "metrics": [_metric(name, _last(values)) for name, values in run.metrics.items()],
            "params": [{"key": name, "value": value} for name, value in run.parameters.items()],
            "tags": [{"key": name, "value": value} for name, value in tags.items()],
        },
        "inputs": {"dataset_inputs": [], "model_inputs": []},
    }


def _info(call: Call, run: Run) -> dict[str, Any]:
    info = {
        "run_id": run.name,
        "run_uuid": run.name,
        "run_name": run.display_name,
        "experiment_id": call.store(Runs).experiment(run.experiment),
        "user_id": run.caller.principal,
        "status": _STATUSES.get(run.status, "RUNNING" if run.started else "SCHEDULED"),
        "start_time": milliseconds(run.started or run.created),
        "lifecycle_stage": "deleted" if run.hidden else "active",
        "artifact_uri": f"azureml://{call.request.host}/mlflow/v1.0{call.workspace_id}/runs/{run.name}/artifacts",
    }
    return info | ({"end_time": milliseconds(run.ended)} if run.ended else {})


def _experiment(call: Call, name: str, identifier: str) -> dict[str, Any]:
    return {
        "experiment_id": identifier,
        "name": name,
        "artifact_location": f"azureml://{call.request.host}/mlflow/v1.0{call.workspace_id}/experiments/{identifier}",
        "lifecycle_stage": "active",
        "tags": [],
    }


def _measure(call: Call, run: Run, given: Mapping[str, Any]) -> None:
    key = text(given, "key")
    try:
        value, step = float(given["value"]), int(given.get("step") or 0)
    except (KeyError, TypeError, ValueError):
        message = f"The value of metric {key} is no number: {given.get('value')!r}."
        raise AzureError("INVALID_PARAMETER_VALUE", message, 400) from None
    stated = given.get("timestamp")
    try:
        at = datetime.fromtimestamp(float(stated) / 1000 if stated is not None else time.time(), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        message = f"The timestamp of metric {key} is no time in milliseconds: {stated!r}."
        raise AzureError("INVALID_PARAMETER_VALUE", message, 400) from None
    run.measure(key, Measured(value, milliseconds(call.engine.clock.instant(at)), step))


def _set_parameter(run: Run, key: str, value: str) -> None:
    if run.parameters.setdefault(key, value) != value:
        message = (
            f"Changing param values is not allowed. Param with key='{key}' was already logged with "
            f"value='{run.parameters[key]}' for run ID='{run.name}'. Attempted logging new value '{value}'."
        )
        raise AzureError("INVALID_PARAMETER_VALUE", message, 400)


def _metric(name: str, value: Measured) -> dict[str, Any]:
    number: Any = value.value
    if number != number or number in (float("inf"), float("-inf")):
        number = "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"
    return {"key": name, "value": number, "timestamp": value.at, "step": value.step}


def _last(values: list[Measured]) -> Measured:
    return max(values, key=lambda each: (each.step, each.at))


def _is_seen(run: Run, view_type: str) -> bool:
    return view_type == "ALL" or run.hidden is (view_type == "DELETED_ONLY")


def milliseconds(when: datetime) -> int:
    """A time as MLflow writes it: milliseconds since 1970."""
    return (when - EPOCH) // _MILLISECOND


def pairs(given: Any) -> dict[str, str]:
    """Tags or parameters, given as a list of keys and values."""
    return {text(each, "key"): str(each.get("value", "")) for each in listed({"tags": given}, "tags")}


def listed(given: Mapping[str, Any], name: str) -> list[Any]:
    """A list of a request's, an empty one where there is none; raises :class:`AzureError`."""
    value = given.get(name)
    if value is not None and not isinstance(value, list):
        raise AzureError("INVALID_PARAMETER_VALUE", f"Invalid value for parameter '{name}': it has to be a list.", 400)
    return value or []


def _count(given: Any) -> int:
    if not str(given).isdigit():
        raise AzureError("INVALID_PARAMETER_VALUE", f"Invalid value {given!r} for parameter 'max_results'.", 400)
    return int(given)


def text(given: Any, name: str) -> str:
    """A text that a request has to have; raises :class:`AzureError`."""
    value = given.get(name) if isinstance(given, Mapping) else None
    if not isinstance(value, str) or not value:
        raise AzureError("INVALID_PARAMETER_VALUE", f"Missing value for required parameter '{name}'.", 400)
    return value


def routes(*table: tuple[str, str, Function, str]) -> list[Route]:
    """The routes of an interface of MLflow's: (method, path, function, action) of each, in both of its versions."""
    return [
        Route(
            method,
            f"/mlflow/{version}{WORKSPACE}{BASE}/{path}",
            function,
            action=action,
            read_only=action.endswith("/read"),
        )
        for version in ("v1.0", "v2.0")
        for method, path, function, action in table
    ]


ROUTES = routes(
    ("POST", "experiments/create", create_experiment, WRITE),
    ("GET", "experiments/get", get_experiment, READ),
    ("GET", "experiments/get-by-name", get_experiment_by_name, READ),
    ("GET", "experiments/list", search_experiments, READ),
    ("GET", "experiments/search", search_experiments, READ),
    ("POST", "experiments/search", search_experiments, READ),
    ("POST", "runs/create", create_run, WRITE),
    ("POST", "runs/update", update_run, WRITE),
    ("GET", "runs/get", get_run, READ),
    ("POST", "runs/delete", delete_run, WRITE),
    ("POST", "runs/restore", restore_run, WRITE),
    ("POST", "runs/log-metric", log_metric, WRITE),
    ("POST", "runs/log-parameter", log_parameter, WRITE),
    ("POST", "runs/log-batch", log_batch, WRITE),
    ("POST", "runs/set-tag", set_tag, WRITE),
    ("POST", "runs/delete-tag", delete_tag, WRITE),
    ("POST", "runs/search", search_runs, READ),
    ("GET", "metrics/get-history", get_metric_history, READ),
)
