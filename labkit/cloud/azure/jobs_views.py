"""Jobs as Resource Manager shows them, and their runs as run history does.

https://learn.microsoft.com/rest/api/azureml/jobs/get and, for run history, the models of the package
``azure.ai.ml._restclient.runhistory``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkit.cloud.azure import datastores
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.runs import Made, Run, Runs
from labkit.cloud.azure.wire import time_text
from labkit.cloud.engine.access import Caller

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud

#: Modes of delivery as Resource Manager writes them.
_MODES = {
    "ro_mount": "ReadOnlyMount",
    "rw_mount": "ReadWriteMount",
    "download": "Download",
    "upload": "Upload",
    "direct": "Direct",
}
#: A step's type of output as run history's clients can download it.
_FOLDERS = ("custom_model", "mlflow_model", "triton_model")


def job(cloud: AzureCloud, resource: Resource) -> dict[str, Any]:
    """A job as Resource Manager shows it."""
    run: Run = resource.state
    workspace = cloud.resources.require(resource.id[: resource.id.lower().index("/jobs/")])
    asked = resource.properties
    outputs = {name: {"uri": None, **dict(given or {})} for name, given in (asked.get("outputs") or {}).items()}
    for name, made in run.outputs.items():
        outputs[name] = {"mode": _MODES.get(made.mode), **outputs.get(name, {}), **_output(made)}
    outputs["default"] = {
        "description": None,
        "uri": f"azureml://datastores/{datastores.ARTIFACTS}/ExperimentRun/dcid.{run.name}",
        "mode": "ReadWriteMount",
        "jobOutputType": "uri_folder",
    }
    inputs = {name: {"description": None, **dict(given or {})} for name, given in (asked.get("inputs") or {}).items()}
    properties = {
        "description": run.description or None,
        "tags": dict(run.tags),
        "properties": dict(run.properties),
        "displayName": run.display_name,
        "status": run.status,
        "experimentName": run.experiment,
        "services": services(workspace, run),
        "computeId": asked.get("computeId"),
        "isArchived": run.hidden,
        "identity": asked.get("identity"),
        "componentId": asked.get("componentId"),
        "jobType": asked["jobType"],
        "inputs": inputs,
        "outputs": outputs,
        "parentJobName": None,
    }
    if asked["jobType"] == "Pipeline":
        properties |= {"settings": asked.get("settings") or {}, "jobs": asked.get("jobs") or {}, "sourceJobId": None}
    else:
        own = ("codeId", "command", "environmentId", "environmentVariables", "distribution", "limits", "queueSettings")
        properties |= {name: asked.get(name) for name in own}
        properties["resources"] = {"instanceCount": 1, "properties": {}, **(asked.get("resources") or {})}
        properties["parameters"] = dict(run.parameters)
    return {
        "id": resource.id,
        "name": resource.name,
        "type": resource.type,
        "properties": properties,
        "systemData": resource.system_data(),
    }


def services(workspace: Resource, run: Run) -> dict[str, Any]:
    """Where the run can be seen: its tracking URI, and its page in the studio, which the local clouds do not have."""
    found = {
        "Tracking": workspace.properties["mlFlowTrackingUri"],
        "Studio": studio(workspace, run),
    }
    return {
        name: {
            "jobServiceType": name,
            "port": None,
            "endpoint": endpoint,
            "status": None,
            "errorMessage": None,
            "properties": None,
            "nodes": None,
        }
        for name, endpoint in found.items()
    }


def studio(workspace: Resource, run: Run) -> str:
    tenant = workspace.properties["tenantId"]
    return f"https://ml.azure.com/runs/{quote(run.name)}?wsid={workspace.id}&tid={tenant}"


def history(known: Runs, workspace: Resource, run: Run) -> dict[str, Any]:
    """A run as run history shows it."""
    return {
        "runId": run.name,
        "runNumber": int(run.created.timestamp()),
        "runUuid": run.identifier,
        "rootRunId": run.root or run.name,
        "rootRunUuid": _uuid(known, run.root) or run.identifier,
        "parentRunId": run.parent or None,
        "parentRunUuid": _uuid(known, run.parent),
        "experimentId": known.experiment(run.experiment),
        "dataContainerId": f"dcid.{run.name}",
        "displayName": run.display_name,
        "name": run.display_name,
        "description": run.description,
        "status": run.status,
        "hidden": run.hidden,
        "createdUtc": time_text(run.created),
        "startTimeUtc": time_text(run.started) if run.started else None,
        "endTimeUtc": time_text(run.ended) if run.ended else None,
        "lastModifiedUtc": time_text(run.ended or run.started or run.created),
        "duration": _clock(run),
        "createdBy": _user(run.caller),
        "lastModifiedBy": _user(run.caller),
        "userId": run.caller.principal,
        "runType": run.kind,
        "target": run.target or None,
        "compute": {"target": run.target, "targetType": "AmlCompute", "instanceCount": 1} if run.target else None,
        "tags": dict(run.tags),
        "properties": dict(run.properties),
        "parameters": dict(run.parameters),
        "error": _error(workspace, run),
        "warnings": [{"source": "labkit", "message": each} for each in run.warnings],
        "inputs": {name: {"assetId": made.asset_id, "type": made.kind} for name, made in run.inputs.items()},
        "outputs": {name: {"assetId": made.asset_id, "type": _type(made)} for name, made in run.outputs.items()},
        "inputDatasets": [],
        "outputDatasets": [],
        "services": {},
    }


def details(known: Runs, workspace: Resource, run: Run, logs: dict[str, str]) -> dict[str, Any]:
    """A run's details: the run with the addresses of its logs."""
    shown = history(known, workspace, run)
    shown["createdTimeUtc"] = shown.pop("createdUtc")
    for name in ("experimentId", "dataContainerId", "displayName", "name", "description", "hidden", "runType"):
        shown.pop(name)
    return {**shown, "logFiles": logs, "jobCost": {}, "revision": 1}


def _error(workspace: Resource, run: Run) -> dict[str, Any] | None:
    if run.error is None:
        return None
    return {
        "error": run.error,
        "correlation": {"operation": run.identifier.replace("-", ""), "request": run.identifier[:8]},
        "environment": workspace.location,
        "location": workspace.location,
        "time": time_text(run.ended or run.created),
        "componentName": "CommonRuntime" if run.kind != "azureml.PipelineRun" else "PipelineRuns",
    }


def _output(made: Made) -> dict[str, Any]:
    shown = {"uri": made.uri, "jobOutputType": made.kind}
    if made.registered:
        *_, name, _, version = made.registered.split("/")
        shown |= {"assetName": name, "assetVersion": version}
    return shown


def _type(made: Made) -> str:
    return "uri_folder" if made.kind in _FOLDERS else made.kind


def _clock(run: Run) -> str | None:
    if run.started is None or run.ended is None:
        return None
    seconds = (run.ended - run.started).total_seconds()
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{int(hours):02}:{int(minutes):02}:{rest:010.7f}"


def _user(caller: Caller) -> dict[str, Any]:
    return {"userObjectId": caller.principal, "userTenantId": caller.scope, "userName": caller.principal}


def _uuid(known: Runs, name: str) -> str | None:
    found = known.get(name) if name else None
    return found.identifier if found else None
