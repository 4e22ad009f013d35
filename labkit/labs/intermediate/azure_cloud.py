"""Reads what the lab ``intermediate/azure`` leaves in the workspace: runs with their steps, the registry, files.

Over REST. Run history (``{region}.api.azureml.ms``) is what the SDK's ``jobs.stream`` and ``jobs.list`` read too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests

from labkit.labs.azure_rest import (
    PATIENCE,
    SCORING,
    STORAGE,
    call,
    group_id,
    listed,
    resource,
    subscription,
    token,
    workspace_id,
)

CONTAINER, DATASTORE = "churn-pipeline", "churn_pipeline"
IDENTITY, ROLE = "churn-pipeline", "churn-pipeline-registrar"
CLUSTER, CHEAP_CLUSTER = "churn-cluster", "churn-cheap"
ENVIRONMENT, COMPONENT = "churn-pipeline", "churn_monthly"
EXPERIMENT = SCHEDULE = "churn-monthly"
MODEL, DEPLOYMENT = "churn-retrained", "blue"
THRESHOLD = "auc_threshold"
IDENTITIES_API, STORAGE_API = "2023-01-31", "2023-01-01"
#: The version of Blob storage's interface.
BLOB_API = {"x-ms-version": "2023-11-03"}
#: Where a step's own words are, among the files of its run; and those of who brings it its data.
LOG, DATA_LOG = "user_logs/std_log.txt", "system_logs/data_capability/data-capability.log"
#: Statuses of a job that has ended otherwise than well.
FAILED = ("Failed", "Canceled", "CancelRequested", "NotResponding")


def endpoint_name() -> str:
    """The endpoint. Such names are unique in a region, so the subscription is part of it."""
    return f"churn-champion-{subscription()[:8]}"


def identity_id() -> str:
    return f"{group_id()}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{IDENTITY}"


def workspace() -> dict[str, Any]:
    """The workspace's properties."""
    found = resource(workspace_id())
    return dict(found["properties"]) if found else {}


def container_id(name: str = CONTAINER) -> str:
    """A container of the workspace's own storage account."""
    return f"{workspace().get('storageAccount')}/blobServices/default/containers/{name}"


def in_datastore(path: str) -> str:
    """The end of every address, short or long, of a path in the lab's datastore."""
    return f"/datastores/{DATASTORE}/paths/{path}"


# -- files ---------------------------------------------------------------------------------------------------------


def read(uri: str) -> bytes | None:
    """What lies at an address in a datastore (``azureml://.../datastores/NAME/paths/PATH``) or at one of a blob."""
    if uri.startswith("azureml:"):
        name, _, path = uri.partition("/datastores/")[2].partition("/paths/")
        store = resource(f"{workspace_id()}/datastores/{name}")
        if store is None:
            return None
        at = store["properties"]
        uri = f"https://{at['accountName']}.blob.core.windows.net/{at['containerName']}/{path}"
    answer = call("GET", uri, token(STORAGE), **BLOB_API)
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    return answer.content


# -- runs ----------------------------------------------------------------------------------------------------------


def services(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """One call to the workspace's own services; ``{ws}`` in the path stands for the workspace."""
    address = str(workspace()["discoveryUrl"]).removesuffix("/discovery")
    answer = call(method, f"{address}{path.replace('{ws}', workspace_id())}", token(SCORING), body)
    answer.raise_for_status()
    return dict(answer.json())


@dataclass(frozen=True)
class Step:
    """A step of a run; ``described`` is what run history says of it."""

    described: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.described["displayName"])

    @property
    def status(self) -> str:
        return str(self.described["status"])

    @cached_property
    def command(self) -> str:
        """What it ran, with the bindings of its component."""
        found = component(str(self.described.get("properties", {}).get("azureml.moduleid", "")))
        return str(found.get("command", ""))

    def output(self, name: str) -> str:
        """The address of one of its outputs; ``""`` when it has made no such one."""
        asset = self.described.get("outputs", {}).get(name, {}).get("assetId")
        if not asset:
            return ""
        found = services("POST", "/data/v1.0{ws}/dataversion/batchGetResolvedUris", {"values": [asset]})
        return str(found["values"].get(asset, {}).get("uri", ""))

    @cached_property
    def log_lines(self) -> list[str]:
        """What it wrote, without empty lines; if it never began, what was said of its data."""
        details = services("GET", f"/history/v1.0{{ws}}/runs/{self.described['runId']}/details")
        address = details["logFiles"].get(LOG) or details["logFiles"].get(DATA_LOG)
        if address is None:
            return []
        answer = requests.get(address, timeout=PATIENCE)
        answer.raise_for_status()
        return [line for line in answer.text.splitlines() if line.strip()]


@dataclass(frozen=True)
class Resource:
    """What Resource Manager says of something."""

    described: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.described["name"])

    @property
    def properties(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.described["properties"]
        return found


class Run(Resource):
    """One job of a pipeline. What is asked of it is asked once."""

    @property
    def status(self) -> str:
        return str(self.properties["status"])

    @property
    def scheduled(self) -> bool:
        """Whether the lab's schedule has started it."""
        return self.properties.get("properties", {}).get("azureml.ScheduleName") == SCHEDULE

    def input(self, name: str) -> str:
        """The value of an input, or the address of its data; ``""`` for none.

        A job that was sent as the name of a pipeline component has that one's defaults.
        """
        return value_of(self.properties, name) or str((self.defaults.get(name) or {}).get("default") or "")

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The inputs of the pipeline component that it names, if it names one."""
        return component(str(self.properties.get("componentId") or "")).get("inputs") or {}

    @cached_property
    def steps(self) -> list[Step]:
        """Its steps in the order in which they began; those that did not begin are not among them."""
        found = services("GET", f"/history/v1.0{{ws}}/runs/{self.name}/children?$top=100")
        return [Step(each) for each in found["value"]]

    def step(self, script: str) -> Step | None:
        """The step that runs a script."""
        return next((each for each in self.steps if runs(each.command, script)), None)

    @property
    def failed_step(self) -> Step | None:
        return next((each for each in self.steps if each.status == "Failed"), None)

    @property
    def refused(self) -> bool:
        """Whether it ended at the gate."""
        failed = self.failed_step
        return failed is not None and runs(failed.command, "gate.py")

    @property
    def ended(self) -> str:
        """How it ended, as a phrase that follows "that"."""
        step = self.failed_step
        if self.status == "Failed" and step is not None:
            said = (step.log_lines or ["without a word"])[-1].strip().rstrip(".")
            return f"failed in the step {step.name} ({said})"
        return f"is {self.status}"

    @cached_property
    def auc(self) -> float | None:
        """The AUC in its metrics.json; None when there is none to be read."""
        step = self.step("evaluate.py")
        content = read(f"{step.output('report').rstrip('/')}/metrics.json") if step and step.output("report") else None
        try:
            return float(json.loads(content or b"")["auc"])
        except (ValueError, KeyError, TypeError):
            return None


def value_of(definition: Mapping[str, Any], name: str) -> str:
    """An input of a job's definition; ``""`` for none."""
    given = (definition.get("inputs") or {}).get(name) or {}
    return str(given.get("value") if given.get("value") is not None else given.get("uri") or "")


def jobs() -> list[Run]:
    """Every pipeline job of the workspace, the latest first."""
    return [Run(each) for each in listed(f"{workspace_id()}/jobs?jobType=Pipeline&listViewType=All")]


def pipeline_runs() -> list[Run]:
    """The jobs of the lab's pipeline, the latest first."""
    return [each for each in jobs() if each.properties.get("experimentName") == EXPERIMENT]


# -- assets --------------------------------------------------------------------------------------------------------


def versions(kind: str, name: str) -> list[dict[str, Any]]:
    """The versions of an asset (``kind`` is ``models``, ``components`` ...) that are not archived, the newest first."""
    found = list(listed(f"{workspace_id()}/{kind}/{name}/versions?listViewType=ActiveOnly"))
    return sorted(found, key=lambda each: str(each["systemData"]["createdAt"]), reverse=True)


def component(reference: str) -> dict[str, Any]:
    """The specification of a component's version, by its id; ``{}`` where there is none."""
    found = resource(reference.removeprefix("azureml:")) if "/" in reference else None
    return dict(found["properties"]["componentSpec"]) if found else {}


def runs(command: str, script: str) -> bool:
    """Whether a component's command runs a script."""
    return re.search(rf"(^|[\s/]){re.escape(script)}(\s|$)", command) is not None


class Version(Resource):
    """A version of the lab's model in the registry; its name is its number."""

    @property
    def stage(self) -> str:
        return str(self.properties.get("stage") or "no stage")

    @property
    def tags(self) -> Mapping[str, str]:
        return self.properties.get("tags") or {}

    def model(self) -> bytes | None:
        """The saved model; None when none lies there."""
        return read(f"{str(self.properties['modelUri']).rstrip('/')}/churn.joblib")


def model_versions() -> list[Version]:
    """The versions of the lab's model that are not archived, the newest first."""
    return [Version(each) for each in versions("models", MODEL)]


def schedule() -> dict[str, Any] | None:
    """The monthly schedule; None where there is none."""
    return resource(f"{workspace_id()}/schedules/{SCHEDULE}")
