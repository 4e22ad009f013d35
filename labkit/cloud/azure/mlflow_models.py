"""Logged models in MLflow's interface: what a run has logged as a model, whose files are below the run's artifacts.

Registered ones are in :mod:`labkit.cloud.azure.mlflow_registry`. https://mlflow.org/docs/latest/rest-api.html
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import mlflow_tracking
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.mlflow_tracking import READ, WRITE, listed, milliseconds, pairs, routes, text

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

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
    return {"model": _logged(require(call, names["model"]))}


def finalize_logged(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Says whether a model's files have all been put."""
    made, status = require(call, names["model"]), text(call.body(), "status")
    if status not in _STATUSES:
        raise AzureError("INVALID_PARAMETER_VALUE", f"The status {status} of a logged model is unknown.", 400)
    made.status, made.changed = status, milliseconds(call.engine.clock.now())
    return {"model": _logged(made)}


def tag_logged(call: Call, names: dict[str, str]) -> dict[str, Any]:
    made = require(call, names["model"])
    made.tags = made.tags | pairs(call.body().get("tags"))
    return {}


def search_logged(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The logged models of experiments, the newest first. A filter chooses by ``source_run_id`` only."""
    body = call.body()
    asked, wanted = {str(each) for each in listed(body, "experiment_ids")}, str(body.get("filter") or "")
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
    for each in listed(body, "models"):
        require(call, text(each, "model_id"))
    return {}


def require(call: Call, identifier: str) -> Logged:
    """The logged model of this id; raises :class:`AzureError`."""
    found = call.store(LoggedModels).known.get(identifier)
    if found is None:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"Logged model with ID '{identifier}' not found.", 404)
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


_MODEL = "logged-models/{model}"
ROUTES = routes(
    ("POST", "logged-models", create_logged, WRITE),
    ("POST", "logged-models/search", search_logged, READ),
    ("GET", _MODEL, get_logged, READ),
    ("PATCH", _MODEL, finalize_logged, WRITE),
    ("PATCH", f"{_MODEL}/tags", tag_logged, WRITE),
    ("POST", "runs/outputs", log_outputs, WRITE),
)
