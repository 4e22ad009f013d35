"""A job's outputs as assets: each is a version of something, and one with a name is registered under it.

https://learn.microsoft.com/azure/machine-learning/how-to-manage-inputs-outputs-pipeline#register-an-output-as-a-named-asset
"""

from __future__ import annotations

from typing import Any

from labkit.cloud.azure.assets import Kind
from labkit.cloud.azure.components import MODEL_TYPES
from labkit.cloud.azure.data_assets import DATA
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.front import AzureCloud
from labkit.cloud.azure.jobs_values import Port
from labkit.cloud.azure.models import MODELS
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.runs import Made, Run
from labkit.cloud.engine.errors import Conflict


def register(cloud: AzureCloud, workspace: Resource, run: Run, name: str, port: Port, uri: str) -> Made:
    """The output as run history shows it, registered if its port has a name; raises :class:`AzureError`."""
    inner = (
        f"azureml://locations/{workspace.location}/workspaces/{workspace.properties['workspaceId']}/data/"
        f"azureml_{run.name}_output_data_{name}/versions/1"
    )
    if not port.name:
        return Made(port.kind, uri, inner, mode=port.mode)
    version = _add(cloud, workspace, run, name, port, uri)
    return Made(port.kind, uri, inner, version.id, port.mode)


def _add(cloud: AzureCloud, workspace: Resource, run: Run, name: str, port: Port, uri: str) -> Resource:
    kind: Kind = MODELS if port.kind in MODEL_TYPES else DATA
    properties: dict[str, Any]
    if kind is MODELS:
        properties = {"modelUri": uri.rstrip("/"), "modelType": port.kind, "jobName": run.name, "flavors": {}}
    else:
        properties = {"dataUri": uri, "dataType": port.kind}
    try:
        return kind.add_next(cloud, workspace.id, port.name, properties, run.caller, port.version)
    except Conflict as error:
        raise AzureError("UserError", f"Output {name} cannot be registered: {error.message}", 409) from None
