"""Models in MLflow's interface: those that runs log, and versions of registered ones, which are the workspace's models.

A logged model's files are below its run's artifacts. https://mlflow.org/docs/latest/rest-api.html and
https://learn.microsoft.com/azure/machine-learning/how-to-manage-models-mlflow
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import jobs_outputs, mlflow_tracking
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.mlflow_tracking import BASE, READ, WRITE, milliseconds, pairs, text
from labkit.cloud.azure.models import MODELS
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import WORKSPACE, Route
from labkit.cloud.engine.errors import Conflict

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

READ_MODELS = "Microsoft.MachineLearningServices/workspaces/models/versions/read"
WRITE_MODELS = "Microsoft.MachineLearningServices/workspaces/models/versions/write"
_ARTIFACTS = re.compile(r"azureml://.+/runs/(?P<run>[^/]+)/artifacts/?(?P<path>.*)")
_STATUSES = ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")


@dataclass
class Logged:
    """A model that a run has logged. Times are lab time, in milliseconds since 1970."""

    id: str
    name: str
    run: str
    experiment_id: str
    artifact_uri: str
    created: int
    changed: int
    model_type: str = ""
    status: str = _STATUSES[0]
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class LoggedModels:
    """The logged models of a workspace, by id."""

    def __init__(self) -> None:
        self.known: dict[str, Logged] = {}


def create_logged(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    run = mlflow_tracking.require(call, {"run_id": text(body, "source_run_id")})
    name, now = str(body.get("name") or "model"), milliseconds(call.engine.clock.now())
    info = mlflow_tracking.view(call, run)["info"]
    made = Logged(
        id=f"m-{uuid.uuid4().hex}",
        name=name,
        run=run.name,
        experiment_id=info["experiment_id"],
        artifact_uri=f"{info['artifact_uri']}/{name}",
        created=now,
        changed=now,
        model_type=str(body.get("model_type") or ""),
        params=pairs(body.get("params")),
        tags=pairs(body.get("tags")),
    )
    call.store(LoggedModels).known[made.id] = made
    return {"model": _logged(made)}


def get_logged(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return {"model": _logged(_require(call, names["model"]))}


def finalize_logged(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Says whether a model's files have all been put."""
    made, status = _require(call, names["model"]), text(call.body(), "status")
    if status not in _STATUSES:
        raise AzureError("INVALID_PARAMETER_VALUE", f"The status {status} of a logged model is unknown.", 400)
    made.status, made.changed = status, milliseconds(call.engine.clock.now())
    return {"model": _logged(made)}


def tag_logged(call: Call, names: dict[str, str]) -> dict[str, Any]:
    made = _require(call, names["model"])
    made.tags = made.tags | pairs(call.body().get("tags"))
    return {}


def search_logged(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The logged models of experiments, the newest first. A filter chooses by ``source_run_id`` only."""
    body = call.body()
    asked, wanted = {str(each) for each in body.get("experiment_ids") or []}, str(body.get("filter") or "")
    by_run = re.fullmatch(r"\s*source_run_id\s*=\s*['\"]([^'\"]+)['\"]\s*", wanted)
    if wanted and by_run is None:
        raise AzureError("INVALID_PARAMETER_VALUE", f"The local clouds cannot read the filter {wanted!r}.", 400)
    found = [
        each
        for each in reversed(list(call.store(LoggedModels).known.values()))
        if each.experiment_id in asked and (by_run is None or each.run == by_run[1])
    ]
    return {"models": [_logged(each) for each in found]}


def log_outputs(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Notes that a run has made logged models; they know their run already."""
    body = call.body()
    mlflow_tracking.require(call, body)
    for each in body.get("models") or []:
        _require(call, text(each, "model_id"))
    return {}


# -- registered models -------------------------------------------------------------------------------------------------


def create_registered(call: Call, names: dict[str, str]) -> dict[str, Any]:
    name = text(call.body(), "name")
    if call.cloud.resources.get(MODELS.id(call.workspace_id, name)) is not None:
        raise AzureError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.", 400)
    asset = MODELS.add_asset(call.cloud, call.workspace_id, name, call.caller)
    return {"registered_model": _registered(asset)}


def get_registered(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return {"registered_model": _registered(_asset(call, call.query.get("name", "")))}


def create_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Registers what a run has logged as the next version of a model."""
    body = call.body()
    name, source = text(body, "name"), text(body, "source")
    _asset(call, name)
    if source.startswith("models:/"):
        source = _require(call, source.removeprefix("models:/").strip("/")).artifact_uri
    found = _ARTIFACTS.fullmatch(source)
    if found is None:
        raise AzureError("INVALID_PARAMETER_VALUE", f"The source {source} is not among the artifacts of a run.", 400)
    uri = jobs_outputs.resolve(call.cloud, call.workspace, f"runs:/{found['run']}/{found['path']}")
    properties: dict[str, Any] = {
        "modelUri": uri.rstrip("/"),
        "modelType": "mlflow_model",
        "jobName": found["run"],
        "description": body.get("description"),
        "tags": pairs(body.get("tags")),
        "flavors": {"python_function": {"data": {}}},
        "stage": None,
    }
    try:
        version = MODELS.add_next(call.cloud, call.workspace_id, name, properties, call.caller)
    except Conflict as error:
        raise AzureError("RESOURCE_ALREADY_EXISTS", error.message, 400) from None
    return {"model_version": _version(call, version)}


def get_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return {"model_version": _version(call, _model(call))}


def get_download_uri(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return {"artifact_uri": _version(call, _model(call))["source"]}


def search_versions(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The versions of a model, the newest first; the filter is ``name='...'``."""
    found = re.fullmatch(r"\s*name\s*=\s*['\"]([^'\"]+)['\"]\s*", call.query.get("filter", ""))
    if found is None:
        raise AzureError("INVALID_PARAMETER_VALUE", "The local clouds read the filter name='...' only.", 400)
    versions = MODELS.versions(call.cloud, MODELS.id(call.workspace_id, found[1]))
    return {"model_versions": [_version(call, each) for each in reversed(versions)]}


def _require(call: Call, identifier: str) -> Logged:
    found = call.store(LoggedModels).known.get(identifier)
    if found is None:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"Logged model with ID '{identifier}' not found.", 404)
    return found


def _asset(call: Call, name: str) -> Resource:
    found = call.cloud.resources.get(MODELS.id(call.workspace_id, name))
    if found is None:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={name} not found", 404)
    return found


def _model(call: Call) -> Resource:
    name, version = call.query.get("name", ""), call.query.get("version", "")
    found = call.cloud.resources.get(MODELS.id(call.workspace_id, name, version))
    if found is None:
        message = f"Model Version (name={name}, version={version}) not found"
        raise AzureError("RESOURCE_DOES_NOT_EXIST", message, 404)
    return found


def _logged(made: Logged) -> dict[str, Any]:
    info = {
        "model_id": made.id,
        "experiment_id": made.experiment_id,
        "name": made.name,
        "creation_timestamp_ms": made.created,
        "last_updated_timestamp_ms": made.changed,
        "artifact_uri": made.artifact_uri,
        "status": made.status,
        "model_type": made.model_type,
        "source_run_id": made.run,
        "tags": [{"key": key, "value": value} for key, value in made.tags.items()],
    }
    return {"info": info, "data": {"params": [{"key": key, "value": value} for key, value in made.params.items()]}}


def _registered(asset: Resource) -> dict[str, Any]:
    assert asset.created is not None
    assert asset.modified is not None
    return {
        "name": asset.name,
        "creation_timestamp": milliseconds(asset.created),
        "last_updated_timestamp": milliseconds(asset.modified),
    }


def _version(call: Call, version: Resource) -> dict[str, Any]:
    assert version.created is not None
    shown = version.properties
    run, path = shown.get("jobName") or "", ""
    matched = re.search(rf"ExperimentRun/dcid\.{re.escape(run)}/?(.*)", str(shown["modelUri"])) if run else None
    if matched is not None:
        path = matched[1]
    host = f"{call.workspace.location}.api.azureml.ms"
    return {
        "name": version.id.split("/")[-3],
        "version": version.name,
        "creation_timestamp": milliseconds(version.created),
        "last_updated_timestamp": milliseconds(version.modified or version.created),
        "current_stage": "None",
        "description": shown.get("description") or "",
        "source": f"azureml://{host}/mlflow/v1.0{call.workspace_id}/runs/{run}/artifacts/{path}",
        "run_id": run,
        "status": "READY",
        "tags": [{"key": key, "value": value} for key, value in shown["tags"].items()],
    }


def _routes() -> list[Route]:
    model = "logged-models/{model}"
    table = [
        ("POST", "logged-models", create_logged, WRITE),
        ("POST", "logged-models/search", search_logged, READ),
        ("GET", model, get_logged, READ),
        ("PATCH", model, finalize_logged, WRITE),
        ("PATCH", f"{model}/tags", tag_logged, WRITE),
        ("POST", "runs/outputs", log_outputs, WRITE),
        ("POST", "registered-models/create", create_registered, WRITE_MODELS),
        ("GET", "registered-models/get", get_registered, READ_MODELS),
        ("POST", "model-versions/create", create_version, WRITE_MODELS),
        ("GET", "model-versions/get", get_version, READ_MODELS),
        ("GET", "model-versions/get-download-uri", get_download_uri, READ_MODELS),
        ("GET", "model-versions/search", search_versions, READ_MODELS),
    ]
    return [
        Route(method, f"/mlflow/{version}{WORKSPACE}{BASE}/{path}", function, action=action, read_only="read" in action)
        for version in ("v1.0", "v2.0")
        for method, path, function, action in table
    ]


ROUTES = _routes()
