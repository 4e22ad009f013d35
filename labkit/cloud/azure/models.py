"""Models: versions of files that make predictions, registered in a workspace.

https://learn.microsoft.com/rest/api/azureml/model-versions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import asset_files, jobs_outputs
from labkit.cloud.azure.assets import Kind
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.shapes import section, text

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call
    from labkit.cloud.azure.resources import Resource

_TYPES = ("custom_model", "mlflow_model", "triton_model")


def _complete(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    uri, kind = text(asked, "modelUri"), text(asked, "modelType", "custom_model")
    if not uri:
        raise call.user_error("A model version needs a modelUri: where its files are.", 400, "BadArgument")
    if kind not in _TYPES:
        message = f"modelType '{kind}' is not one of {', '.join(_TYPES)}."
        raise call.user_error(message, 400, "BadArgument")
    for name in ("defaultDeploymentTemplate", "allowedDeploymentTemplates", "datasets"):
        if asked.get(name):
            raise refusal(f"the property {name} of a model")
    job = jobs_outputs.job_of(uri)
    if job:
        uri = jobs_outputs.resolve(call.cloud, call.workspace, uri).rstrip("/")
    asset_files.place_of(call.cloud, call.workspace_id, uri)
    return {
        "jobName": job or None,
        "stage": None,
        **{name: value for name, value in asked.items() if value is not None},
        "modelUri": uri,
        "modelType": kind,
        "flavors": section(asked, "flavors"),
    }


def _conflict(call: Call, version: Resource) -> AzureError:
    return call.user_error("Asset paths cannot be updated.", 400, "ImmutableAsset")


MODELS = Kind("models", "model", ("modelUri", "modelType"), _complete, _conflict)

ROUTES = MODELS.routes()
