"""Vertex AI's ModelService: models are uploaded, versioned, given aliases, listed, changed and deleted.

https://cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1#modelservice
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import model_artifacts, prebuilt_images, vertex_evaluations, vertex_names
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.vertex_listing import page
from labkit.cloud.gcp.vertex_names import check_fields, mask_paths, new_id, problems, v1
from labkit.cloud.gcp.vertex_registry import Model, Version, check_aliases
from labkit.cloud.gcp.vertex_state import State

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

_MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
#: Fields that an update may name: the model's own, and the version's.
_OF_MODEL, _OF_VERSION = {"display_name", "description", "labels"}, {"version_description", "labels"}
#: Parts of an uploaded model that ask for what the kit does not serve, and what that is.
_NOT_SERVED = {
    "explanation_spec": "explanations",
    "encryption_spec": "customer-managed encryption keys",
    "base_model_source": "models of the Model Garden",
}
#: Parts of a container's specification that start another program in it than a prebuilt image's.
_NOT_SERVED_OF_CONTAINER = (
    "command",
    "args",
    "health_probe",
    "startup_probe",
    "liveness_probe",
    "shared_memory_size_mb",
)


def upload_model(call: Call, request: Any) -> Any:
    """Uploads a model, or a version of one, whose artifacts are in Cloud Storage. Long-running."""
    below, work = _upload(call, request)
    return call.operation(work, below=below)


def upload(call: Call, request: Any) -> Any:
    """As :func:`upload_model`, at once: the ``UploadModelResponse``. Raises :class:`GcpError`."""
    return _upload(call, request)[1]()


def _upload(call: Call, request: Any) -> tuple[str, Callable[[], Any]]:
    """Checks an upload; returns the name of the model that it goes to, and what does it."""
    state, model = call.store(State), request.model
    _check_upload(call, request)
    if request.parent_model:
        with state.lock:
            state.model(call, request.parent_model)

    identifier = request.model_id or new_id()

    def work() -> Any:
        model_artifacts.check_access(call.cloud.iam, vertex_names.service_agent(call), model.artifact_uri)
        model_artifacts.check(call.cloud.buckets, model.artifact_uri)
        now = call.engine.clock.now()
        with state.lock:
            if request.parent_model:
                held, _ = state.model(call, request.parent_model)
            else:
                if identifier in state.models:
                    raise _exists(identifier)
                held = Model(f"{call.parent}/models/{identifier}", now, now, model.description, dict(model.labels))
                model.labels.clear()
            version = held.add(model, now)
            state.models[held.id] = held
        return v1.UploadModelResponse(model=held.name, model_version_id=version.id)

    below = request.parent_model or f"{call.parent}/models/{identifier}"
    return below.partition("@")[0], work


def get_model(call: Call, request: Any) -> Any:
    """One model: its default version, or that of the id or alias after an ``@``, whose name then has its id."""
    state = call.store(State)
    with state.lock:
        model, named = state.model(call, request.name)
        return _view(state, model, model.find(named), versioned=bool(named))


def list_models(call: Call, request: Any) -> Any:
    """The location's models, each at its default version."""
    state = call.store(State)
    with state.lock:
        shown = [_view(state, model, model.default) for model in state.models.values()]
    models, token = page(shown, request, identifier="model")
    return v1.ListModelsResponse(models=models, next_page_token=token)


def list_model_versions(call: Call, request: Any) -> Any:
    """The versions of a model; their names end with their ids."""
    state = call.store(State)
    with state.lock:
        model, _ = state.model(call, request.name)
        shown = [_view(state, model, version, versioned=True) for version in model.versions.values()]
    models, token = page(shown, request, fields=("labels",), orders=("create_time", "update_time"))
    return v1.ListModelVersionsResponse(models=models, next_page_token=token)


def merge_version_aliases(call: Call, request: Any) -> Any:
    """Gives a version aliases, which leave the version that has them, or takes some from it (``-alias``)."""
    state = call.store(State)
    with state.lock:
        model, named = state.model(call, request.name)
        if not named:
            raise invalid(f"{request.name} names no version: write models/ID@VERSION.", "name")
        if not request.version_aliases:
            raise invalid("Required field is not set: version_aliases.", "version_aliases")
        version = model.find(named)
        model.merge_aliases(version, request.version_aliases, call.engine.clock.now())
        return _view(state, model, version, versioned=True)


def update_model(call: Call, request: Any) -> Any:
    """Changes the fields of a mask: a model's own where the name has no version, else that version's."""
    state, asked = call.store(State), request.model
    with state.lock:
        model, named = state.model(call, asked.name)
        of_version = named not in ("", "-")
        paths = mask_paths(request.update_mask, _OF_VERSION if of_version else _OF_MODEL, asked.name)
        version = model.find("" if named == "-" else named)
        wrong = problems(asked, "model")
        check_fields([each for each in wrong if each[0].removeprefix("model.") in paths])
        now = call.engine.clock.now()
        for path in paths:
            _change(model, version, asked, path, of_version=of_version)
        if of_version:
            version.updated = now
        model.updated = now
        return _view(state, model, version, versioned=of_version)


def delete_model(call: Call, request: Any) -> Any:
    """Deletes a model with all its versions, unless one of them is deployed. Long-running."""
    state = call.store(State)
    with state.lock:
        model, _ = state.model(call, request.name)
        _refuse_deployed(state, model, None)
        del state.models[model.id]
    return call.operation(lambda: None, below=model.name)


def delete_model_version(call: Call, request: Any) -> Any:
    """Deletes a version that is neither deployed nor the only nor the default one. Long-running."""
    state = call.store(State)
    with state.lock:
        model, named = state.model(call, request.name)
        if not named:
            raise invalid(f"{request.name} names no version: write models/ID@VERSION.", "name")
        version = model.find(named)
        _refuse_deployed(state, model, version)
        model.remove(version)
    return call.operation(lambda: None, below=model.name)


METHODS = {
    "UploadModel": upload_model,
    "GetModel": get_model,
    "ListModels": list_models,
    "ListModelVersions": list_model_versions,
    "MergeVersionAliases": merge_version_aliases,
    "UpdateModel": update_model,
    "DeleteModel": delete_model,
    "DeleteModelVersion": delete_model_version,
    **vertex_evaluations.METHODS,
}

PERMISSIONS = {
    "ListModelVersions": "aiplatform.models.list",
    "MergeVersionAliases": "aiplatform.models.update",
    "DeleteModelVersion": "aiplatform.models.delete",
    "UploadModel": "aiplatform.models.upload",
    **vertex_evaluations.PERMISSIONS,
}

NOTES = {
    "UploadModel": "Vertex AI's prebuilt scikit-learn images; custom containers, explanations and keys refuse",
    "ListModels": "filters by model, display_name and labels; others refuse",
    **vertex_evaluations.NOTES,
}


def _check_upload(call: Call, request: Any) -> None:
    """Raises :class:`GcpError` for a model that cannot be uploaded as it is described."""
    model = request.model
    found = problems(model, "model")
    image = model.container_spec.image_uri
    if not image:
        found.append(("model.container_spec.image_uri", "Required field is not set."))
    if not model.artifact_uri:
        found.append(("model.artifact_uri", "Required field is not set."))
    elif not model.artifact_uri.startswith("gs://"):
        found.append(("model.artifact_uri", "The URI must begin with gs://."))
    if request.model_id and not _MODEL_ID.fullmatch(request.model_id):
        found.append(("model_id", "The id must have 1 to 63 of [a-z0-9_-] and not begin with a digit or a dash."))
    check_fields(found)
    check_aliases(model.version_aliases)
    if why := prebuilt_images.refusal(image):
        raise refusal(image, why)
    for field, what in _NOT_SERVED.items():
        if _is_set(model, field):
            raise refusal(f"{what} ({field}) of models")
    for field in _NOT_SERVED_OF_CONTAINER:
        if _is_set(model.container_spec, field):
            raise refusal(f"container_spec.{field}")
    if request.model_id and not request.parent_model and request.model_id in call.store(State).models:
        raise _exists(request.model_id)


def _is_set(message: Any, field: str) -> bool:
    return any(each.name == field for each, _ in message.ListFields())


def _exists(identifier: str) -> GcpError:
    return GcpError("ALREADY_EXISTS", f"The Model {identifier} already exists: upload a version of it (parent_model).")


def _view(state: State, model: Model, version: Version, *, versioned: bool = False) -> Any:
    return model.view(version, state.deployed(model, version), versioned=versioned)


def _change(model: Model, version: Version, asked: Any, path: str, *, of_version: bool) -> None:
    field, _, key = path.partition(".")
    if field == "labels":
        labels = version.labels if of_version else model.labels
        if key:
            labels.pop(key, None)
            labels.update({key: asked.labels[key]} if key in asked.labels else {})
            return
        labels.clear()
        labels.update(asked.labels)
    elif field == "display_name":
        for each in model.versions.values():
            each.display_name = asked.display_name
    elif field == "description":
        model.description = asked.description
    else:
        version.description = asked.version_description


def _refuse_deployed(state: State, model: Model, version: Version | None) -> None:
    endpoints = sorted({each.endpoint for each in state.deployed(model, version)})
    if endpoints:
        listed = ", ".join(f'"{each}"' for each in endpoints)
        name = f"{model.name}@{version.id}" if version else model.name
        raise GcpError(
            "FAILED_PRECONDITION",
            f'The Model "{name}" is deployed or being deployed at the following Endpoint(s): {{{listed}}}.',
        )
