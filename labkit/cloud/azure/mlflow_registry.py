"""Registered models in MLflow's interface: they are the workspace's models, their stage a property of a version.

Aliases and renaming are not served. https://mlflow.org/docs/latest/rest-api.html and
https://learn.microsoft.com/azure/machine-learning/how-to-manage-models-mlflow
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labkit.cloud.azure import jobs_outputs, mlflow_models
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.mlflow_tracking import listed, milliseconds, pairs, routes, text
from labkit.cloud.azure.models import MODELS
from labkit.cloud.azure.resources import Resource
from labkit.cloud.engine.errors import Conflict

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

_VERSIONS = "Microsoft.MachineLearningServices/workspaces/models/versions"
READ, WRITE, DELETE = f"{_VERSIONS}/read", f"{_VERSIONS}/write", f"{_VERSIONS}/delete"
STAGES = ("None", "Staging", "Production", "Archived")
#: Models or versions on one page, where a search names no number.
PAGE = 100
_ARTIFACTS = re.compile(r"azureml://.+/runs/(?P<run>[^/]+)/artifacts/?(?P<path>.*)")
_CONDITION = re.compile(
    r"(?:tags?\.(?P<tag>`[^`]+`|[\w.-]+)|(?P<field>\w+))\s*(?P<how>!=|=|I?LIKE)\s*(?P<quote>['\"])(?P<value>.*)(?P=quote)",
    re.IGNORECASE,
)
_ORDER = re.compile(r"(?P<field>\w+)(?:\s+(?P<way>ASC|DESC))?", re.IGNORECASE)


# -- models ----------------------------------------------------------------------------------------------------------


def create_model(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    name = text(body, "name")
    if call.cloud.resources.get(MODELS.id(call.workspace_id, name)) is not None:
        raise AzureError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.", 400)
    asset = MODELS.add_asset(call.cloud, call.workspace_id, name, call.caller)
    _change(call, asset, description=body.get("description"), tags=pairs(body.get("tags")))
    return {"registered_model": _shown_model(call, asset)}


def get_model(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return {"registered_model": _shown_model(call, _model(call, call.query.get("name", "")))}


def search_models(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The registered models by name; a filter chooses by ``name``."""
    found = call.cloud.resources.below(call.workspace_id, MODELS.type)
    shown = [_shown_model(call, each) for each in found if not each.properties["isArchived"]]
    return _page(call, "registered_models", shown, ("name",), ("name", "last_updated_timestamp"), "name ASC")


def update_model(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    model = _model(call, text(body, "name"))
    _change(call, model, description=body.get("description"))
    return {"registered_model": _shown_model(call, model)}


def delete_model(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Deletes a model with its versions. Their files stay where they are."""
    call.cloud.resources.delete(_model(call, text(call.body(), "name")).id)
    return {}


def tag_model(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    _tag(call, _model(call, text(body, "name")), body)
    return {}


def untag_model(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    _untag(call, _model(call, text(body, "name")), body)
    return {}


def latest_versions(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The newest version in each stage, or in those that are asked for."""
    body = call.body() if call.request.method == "POST" else {}
    asked = listed(body, "stages") or [value for key, value in parse_qsl(call.request.query) if key == "stages"]
    stages = [_stage(str(each)) for each in asked] or list(STAGES)
    model = _model(call, str(body.get("name") or call.query.get("name", "")))
    return {"model_versions": [each for each in _latest(call, model) if each["current_stage"] in stages]}


# -- versions --------------------------------------------------------------------------------------------------------


def create_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Registers what a run has logged as the next version of a model."""
    body = call.body()
    name, source = text(body, "name"), text(body, "source")
    _model(call, name)
    if source.startswith("models:/"):
        source = mlflow_models.require(call, source.removeprefix("models:/").strip("/")).artifact_uri
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
    return {"model_version": _shown_version(call, version)}


def get_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return {"model_version": _shown_version(call, _version(call, call.query))}


def get_download_uri(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return {"artifact_uri": _shown_version(call, _version(call, call.query))["source"]}


def search_versions(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The versions of all models, the newest first; a filter chooses by ``name`` and ``run_id``."""
    found = call.cloud.resources.below(call.workspace_id, f"{MODELS.type}/versions")
    shown = [_shown_version(call, each) for each in found]
    sorts = ("name", "version_number", "creation_timestamp", "last_updated_timestamp")
    return _page(call, "model_versions", shown, ("name", "run_id"), sorts, "creation_timestamp DESC")


def update_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    version = _version(call, body)
    _change(call, version, description=body.get("description"))
    return {"model_version": _shown_version(call, version)}


def delete_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    call.cloud.resources.delete(_version(call, call.body()).id)
    return {}


def tag_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    _tag(call, _version(call, body), body)
    return {}


def untag_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    _untag(call, _version(call, body), body)
    return {}


def move_version(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Puts a version into a stage; those that are in it can be archived with that."""
    body = call.body()
    version, stage = _version(call, body), _stage(text(body, "stage"))
    if body.get("archive_existing_versions") in (True, "true"):
        if stage not in ("Staging", "Production"):
            message = "Model version transition cannot archive existing model versions unless the stage is active."
            raise AzureError("INVALID_PARAMETER_VALUE", f"{message} Valid stages are Staging and Production.", 400)
        for each in MODELS.versions(call.cloud, version.id.rsplit("/", 2)[0]):
            if each is not version and each.properties.get("stage") == stage:
                _change(call, each, stage="Archived")
    _change(call, version, stage=stage)
    return {"model_version": _shown_version(call, version)}


# -- inside ----------------------------------------------------------------------------------------------------------


def _model(call: Call, name: str) -> Resource:
    found = call.cloud.resources.get(MODELS.id(call.workspace_id, name)) if name else None
    if found is None:
        raise AzureError("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={name} not found", 404)
    return found


def _version(call: Call, given: dict[str, Any]) -> Resource:
    name, version = str(given.get("name") or ""), str(given.get("version") or "")
    found = call.cloud.resources.get(MODELS.id(call.workspace_id, name, version)) if name and version else None
    if found is None:
        message = f"Model Version (name={name}, version={version}) not found"
        raise AzureError("RESOURCE_DOES_NOT_EXIST", message, 404)
    return found


def _stage(given: str) -> str:
    for each in STAGES:
        if each.lower() == given.lower():
            return each
    message = f"Invalid Model Version stage: {given}. Value must be one of {', '.join(STAGES)}."
    raise AzureError("INVALID_PARAMETER_VALUE", message, 400)


def _change(call: Call, resource: Resource, **changes: Any) -> None:
    with resource.lock:
        resource.properties = resource.properties | {key: each for key, each in changes.items() if each is not None}
        resource.touch(call.engine.clock.now(), call.caller)


def _tag(call: Call, resource: Resource, body: dict[str, Any]) -> None:
    _change(call, resource, tags=resource.properties["tags"] | {text(body, "key"): str(body.get("value", ""))})


def _untag(call: Call, resource: Resource, body: dict[str, Any]) -> None:
    key = text(body, "key")
    _change(call, resource, tags={name: each for name, each in resource.properties["tags"].items() if name != key})


def _latest(call: Call, model: Resource) -> list[dict[str, Any]]:
    """The newest version in each stage."""
    newest = {}
    for each in MODELS.versions(call.cloud, model.id):
        shown = _shown_version(call, each)
        newest[shown["current_stage"]] = shown
    return list(newest.values())


def _page(
    call: Call, what: str, found: list[dict[str, Any]], fields: Sequence[str], sorts: Sequence[str], order: str
) -> dict[str, Any]:
    """A page of what a search's filter chooses, in its order; raises :class:`AzureError` for what cannot be read."""
    for part in filter(None, re.split(r"\s+and\s+", call.query.get("filter", "").strip(), flags=re.IGNORECASE)):
        test = _test(part, fields)
        found = [each for each in found if test(each)]
    asked = call.query.get("order_by") or order
    matched = _ORDER.fullmatch(asked.strip())
    if matched is None or matched["field"] not in sorts:
        raise AzureError("INVALID_PARAMETER_VALUE", f"The local clouds cannot order by {asked!r}.", 400)
    field, backwards = matched["field"], str(matched["way"]).upper() == "DESC"
    found = sorted(reversed(found) if backwards else found, key=lambda each: _sort_key(each, field), reverse=backwards)
    start, size = call.query.get("page_token", ""), call.query.get("max_results", "")
    first = int(start) if start.isdigit() else 0
    last = first + (int(size) if size.isdigit() and int(size) else PAGE)
    return {what: found[first:last], **({"next_page_token": str(last)} if last < len(found) else {})}


def _sort_key(shown: dict[str, Any], field: str) -> Any:
    if field != "version_number":
        return shown[field]
    number = shown["version"]
    return (number.isdigit(), int(number) if number.isdigit() else 0, number)


def _test(condition: str, fields: Sequence[str]) -> Callable[[dict[str, Any]], bool]:
    """What one condition of a filter asks of a model or version. A tag that it does not have differs from any value."""
    matched = _CONDITION.fullmatch(condition.strip())
    if matched is None or (matched["field"] and matched["field"] not in fields):
        message = f"The local clouds cannot read the filter {condition!r}: it compares {', '.join(fields)} and tags."
        raise AzureError("INVALID_PARAMETER_VALUE", message, 400)
    how, wanted = matched["how"].upper(), re.escape(matched["value"])
    if how.endswith("LIKE"):
        wanted = wanted.replace("%", ".*")
    pattern = re.compile(wanted, re.DOTALL | (re.IGNORECASE if how == "ILIKE" else 0))

    def holds(shown: dict[str, Any]) -> bool:
        tags = {each["key"]: each["value"] for each in shown["tags"]}
        value = tags.get(matched["tag"].strip("`")) if matched["tag"] else shown[matched["field"]]
        return (value is not None and pattern.fullmatch(value) is not None) is not (how == "!=")

    return holds


def _shown_model(call: Call, asset: Resource) -> dict[str, Any]:
    assert asset.created is not None
    assert asset.modified is not None
    return {
        "name": asset.name,
        "creation_timestamp": milliseconds(asset.created),
        "last_updated_timestamp": milliseconds(asset.modified),
        "description": asset.properties.get("description") or "",
        "latest_versions": _latest(call, asset),
        "tags": [{"key": key, "value": value} for key, value in asset.properties["tags"].items()],
    }


def _shown_version(call: Call, version: Resource) -> dict[str, Any]:
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
        "current_stage": shown.get("stage") or "None",
        "description": shown.get("description") or "",
        "source": f"azureml://{host}/mlflow/v1.0{call.workspace_id}/runs/{run}/artifacts/{path}",
        "run_id": run,
        "status": "READY",
        "tags": [{"key": key, "value": value} for key, value in shown["tags"].items()],
    }


ROUTES = routes(
    ("POST", "registered-models/create", create_model, WRITE),
    ("GET", "registered-models/get", get_model, READ),
    ("GET", "registered-models/search", search_models, READ),
    ("PATCH", "registered-models/update", update_model, WRITE),
    ("DELETE", "registered-models/delete", delete_model, DELETE),
    ("POST", "registered-models/set-tag", tag_model, WRITE),
    ("DELETE", "registered-models/delete-tag", untag_model, WRITE),
    ("GET", "registered-models/get-latest-versions", latest_versions, READ),
    ("POST", "registered-models/get-latest-versions", latest_versions, READ),
    ("POST", "model-versions/create", create_version, WRITE),
    ("GET", "model-versions/get", get_version, READ),
    ("GET", "model-versions/get-download-uri", get_download_uri, READ),
    ("GET", "model-versions/search", search_versions, READ),
    ("PATCH", "model-versions/update", update_version, WRITE),
    ("DELETE", "model-versions/delete", delete_version, DELETE),
    ("POST", "model-versions/set-tag", tag_version, WRITE),
    ("DELETE", "model-versions/delete-tag", untag_version, WRITE),
    ("POST", "model-versions/transition-stage", move_version, WRITE),
)
