"""What a test of jobs needs around it: code, environments, components, jobs submitted and waited for, files read."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from labkit.cloud.azure import asset_files, jobs_files
from labkit.cloud.azure.runs import Run, Runs
from tests.cloud.azure.in_process import Rest, call, token
from tests.cloud.azure.online_world import World

SERVICES = "https://eastus.api.azureml.ms"


class Jobs:
    """Jobs of one test, of plain REST. What they are called begins with ``name``."""

    def __init__(self, rest: Rest, name: str) -> None:
        self.rest = rest
        self.cloud = rest.cloud
        self.name = name
        self._world = World(rest, name)
        self._made = 0
        self._token = ""

    # -- assets ------------------------------------------------------------------------------------------------------

    def code(self, **scripts: str) -> str:
        """A code version with scripts by name."""
        self._made += 1
        path = f"{self.rest.workspace}/codes/{self.name}-code-{self._made}/versions/1"
        _, upload, _ = self.rest("POST", f"{path}/startPendingUpload", {"pendingUploadType": "TemporaryBlobReference"})
        address, _, signature = upload["blobReferenceForConsumption"]["credential"]["sasUri"].partition("?")
        for script, content in scripts.items():
            text = textwrap.dedent(content).encode()
            headers = {"x-ms-blob-type": "BlockBlob"}
            assert call(self.cloud, "PUT", f"{address}/src/{script}.py?{signature}", text, headers).status == 201
        return self._put(path, {"codeUri": f"{address}/src", "properties": {"hash_sha256": repr(scripts)}})

    def environment(self, conda: str = "dependencies: [python, pip]") -> str:
        return self._world.environment(conda)

    def component(self, command: str, code: str = "", **spec: Any) -> str:
        """A component's version."""
        self._made += 1
        spec = {"type": "command", "command": command, "environment": spec.pop("environment", ""), **spec}
        spec["environment"] = spec["environment"] or f"azureml:{self.environment()}"
        if code:
            spec["code"] = f"azureml:{code}"
        path = f"{self.rest.workspace}/components/{self.name}-component-{self._made}/versions/1"
        return self._put(path, {"componentSpec": spec})

    def pipeline_component(self, **spec: Any) -> str:
        self._made += 1
        path = f"{self.rest.workspace}/components/{self.name}-component-{self._made}/versions/1"
        return self._put(path, {"componentSpec": {"type": "pipeline", **spec}})

    def blob(self, path: str, content: bytes) -> str:
        """A file in the default datastore; its address."""
        uri = f"azureml://datastores/workspaceblobstore/paths/{path}"
        jobs_files.put(asset_files.place_of(self.cloud, self.rest.workspace, uri), [content])
        return uri

    def read(self, uri: str) -> dict[str, bytes]:
        """The files below an address, by their path from there."""
        place = asset_files.place_of(self.cloud, self.rest.workspace, uri)
        container = place.account.containers[place.container]
        return {name: container.blobs[f"{place.path}/{name}"].read() for name in jobs_files.names(place)}

    # -- jobs --------------------------------------------------------------------------------------------------------

    def submit(self, name: str = "", **properties: Any) -> Run:
        """Submits a job; its run."""
        self._made += 1
        name = name or f"{self.name}-job-{self._made}"
        status, answer, _ = self.rest("PUT", f"{self.rest.workspace}/jobs/{name}", {"properties": properties})
        assert status == 201, answer
        return self.run(name)

    def command(self, command: str, **properties: Any) -> Run:
        """Submits a command job."""
        properties.setdefault("environmentId", self.environment())
        return self.submit(jobType="Command", command=command, **properties)

    def pipeline(self, jobs: Mapping[str, Any], **properties: Any) -> Run:
        """Submits a pipeline job."""
        return self.submit(jobType="Pipeline", jobs=jobs, **properties)

    def ended(self, run: Run, status: str = "Completed") -> Run:
        """The run, once it has ended as it should."""
        assert run.wait(120), run.status
        assert run.status == status, (run.status, run.error, [(each.node, each.error) for each in self.below(run)])
        return run

    def refused(self, name: str = "refused", **properties: Any) -> tuple[int, str, str]:
        """(status, code, message) of a job that is not taken."""
        path = f"{self.rest.workspace}/jobs/{self.name}-{name}"
        return self.rest.error("PUT", path, {"properties": properties})

    def run(self, name: str) -> Run:
        found = self.cloud.resources.store(Runs, self.rest.workspace).get(name)
        assert found is not None, name
        return found

    def below(self, run: Run) -> list[Run]:
        return self.cloud.resources.store(Runs, self.rest.workspace).children(run.name)

    def steps(self, run: Run) -> dict[str, Run]:
        """The runs of a pipeline's steps, by the steps' names."""
        return {each.node: each for each in self.below(run)}

    def log(self, run: Run, name: str = "user_logs/std_log.txt") -> str:
        """A file of a run's own."""
        place = jobs_files.below(jobs_files.artifacts(self.cloud, self.rest.workspace, run.name), name)
        return place.account.containers[place.container].blobs[place.path].read().decode()

    def services(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, body) of a call to the workspace's own services; ``{ws}`` in the path is the workspace."""
        self._token = self._token or token(self.cloud, "https://ml.azure.com")
        url = f"{SERVICES}{path.replace('{ws}', self.rest.workspace)}"
        answer = call(self.cloud, method, url, body, token=self._token)
        return answer.status, json.loads(bytes(answer.body)) if answer.body else None

    def _put(self, path: str, properties: dict[str, Any]) -> str:
        status, answer, _ = self.rest("PUT", path, {"properties": properties})
        assert status in (200, 201), answer
        return str(answer["id"])


def literal(value: object) -> dict[str, str]:
    """An input of a step that is a literal, or an expression."""
    return {"job_input_type": "literal", "value": str(value)}


def step(component: str, outputs: Mapping[str, Any] | None = None, **inputs: object) -> dict[str, Any]:
    """A command step of a pipeline."""
    given = {name: value if isinstance(value, dict) else literal(value) for name, value in inputs.items()}
    return {"type": "command", "componentId": component, "inputs": given, "outputs": dict(outputs or {})}
