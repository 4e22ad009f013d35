"""One task of a pipeline that a container does: its folder of outputs, the executor's input, and what it left.

https://cloud.google.com/vertex-ai/docs/pipelines/build-own-components,
``ExecutorInput`` and ``ExecutorOutput`` in
https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.requirements import unmet_lines
from labkit.cloud.gcp.gcs_folder import GcsFolder
from labkit.cloud.gcp.pipeline_commands import lightweight, resolved
from labkit.cloud.gcp.pipeline_records import Records
from labkit.cloud.gcp.pipeline_spec import Component
from labkit.cloud.gcp.pipeline_values import Artifact, ValueProblem, Values, typed

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "F", "false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Given:
    """A task about to run: what the executor is told. ``root`` is the ``gs://`` folder of its outputs."""

    component: Component
    label: str
    values: Values
    root: str
    constants: Mapping[str, str]
    outputs: Mapping[str, Artifact]

    @property
    def output_file(self) -> str:
        return f"{self.root}/executor_output.json"

    def executor_input(self) -> dict[str, Any]:
        """What ``{{$}}`` stands for."""
        told = {
            "parameters": {
                name: {"outputFile": mounted(f"{self.root}/{name}")} for name in self.component.output_parameters
            },
            "artifacts": {name: {"artifacts": [artifact]} for name, artifact in self.outputs.items()},
            "outputFile": mounted(self.output_file),
        }
        return {
            "inputs": {
                "parameterValues": self.values.parameters,
                "artifacts": {name: {"artifacts": found} for name, found in self.values.artifacts.items()},
            },
            "outputs": {name: each for name, each in told.items() if each},
        }


def given(
    component: Component, label: str, values: Values, root: str, constants: Mapping[str, str], records: Records
) -> Given:
    """Names the artifacts that a task is to make, below ``root``."""
    outputs: dict[str, Artifact] = {
        name: {
            "name": records.new_name(),
            "type": dict(definition.get("artifactType", {})),
            "uri": f"{root}/{name}",
            "metadata": dict(definition.get("metadata", {})),
        }
        for name, definition in component.output_artifacts.items()
    }
    return Given(component, label, values, root, constants, outputs)


def command(task: Given, folder: Path, gcs: GcsFolder) -> Sequence[str]:
    """Fetches what the task reads, makes the folders that it writes to, and returns what is to be run.

    Raises :class:`CloudError` for packages that are not here and for an input that cannot be read.
    """
    for artifacts in task.values.artifacts.values():
        for each in artifacts:
            if str(each.get("uri", "")).startswith("gs://"):
                gcs.fetch(each["uri"])
    gcs.path(task.output_file).parent.mkdir(parents=True, exist_ok=True)
    container = task.component.container
    try:
        argv = resolved(
            [*container.get("command", ()), *container.get("args", ())], task.executor_input(), task.constants
        )
    except ValueProblem as problem:
        raise CloudError(str(problem)) from None
    python = lightweight(argv)
    if python is None:
        return argv
    if problems := unmet_lines(python.requirements, f"The component {task.label}"):
        raise CloudError(
            f"{' '.join(problems)} The local clouds install nothing: what a component may use is here already."
        )
    source = folder / "ephemeral_component.py"
    source.write_text(python.source, encoding="utf-8")
    return ["python3", "-m", "kfp.dsl.executor_main", "--component_module_path", str(source), *python.arguments]


def variables(task: Given) -> dict[str, str]:
    """The environment that the component's container asks for."""
    return {
        "_KFP_RUNTIME": "true",
        **{each["name"]: str(each.get("value", "")) for each in task.component.container.get("env", ())},
    }


def outcome(task: Given, gcs: GcsFolder) -> Values:
    """What the task made; raises :class:`CloudError` where a parameter was not written, or is of another type."""
    file = gcs.path(task.output_file)
    told: dict[str, Any] = {}
    if file.is_file():
        try:
            told = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
        except ValueError as error:
            raise CloudError(f"{task.output_file} of the task {task.label} is no JSON: {error}.") from None
    made = Values()
    for name, parameter in task.component.output_parameters.items():
        value = told.get("parameterValues", {}).get(name)
        alone = gcs.path(f"{task.root}/{name}")
        if value is None and alone.is_file():
            value = _read(alone.read_text(encoding="utf-8"), parameter.type)
        if value is None:
            if parameter.optional:
                continue
            raise CloudError(f"The task {task.label} did not write its output parameter {name}.")
        try:
            made.parameters[name] = typed(parameter, value, task.label)
        except ValueProblem as problem:
            raise CloudError(str(problem)) from None
    for name, artifact in task.outputs.items():
        written = told.get("artifacts", {}).get(name, {}).get("artifacts", [])
        made.artifacts[name] = [_merged(artifact, each) for each in written] or [artifact]
    return made


def _no_number(name: str) -> None:
    """Refuses Infinity and NaN, which Python writes into JSON and Vertex AI does not read.

    Thresholds of scikit-learn's ``roc_curve`` begin with infinity.
    """
    raise ValueError(f"{name} is no number in JSON; log a finite one")


def cache_key(component: Component, values: Values) -> str:
    """The same for two executions that would do the same: component, command, image, parameters, artifacts.

    https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching
    """
    told = {
        "executor": component.executor,
        "outputs": [sorted(component.output_parameters), {n: dict(a) for n, a in component.output_artifacts.items()}],
        "parameters": values.parameters,
        "artifacts": {name: [each["name"] for each in found] for name, found in values.artifacts.items()},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=dict).encode()).hexdigest()


def mounted(uri: str) -> str:
    """Where a ``gs://`` URI is for the code that runs."""
    return uri.replace("gs://", "/gcs/", 1)


def _merged(artifact: Artifact, written: Mapping[str, Any]) -> Artifact:
    """An artifact as the component left it: it may have another URI, and metadata of its own."""
    uri = str(written.get("uri") or artifact["uri"])
    if uri.startswith("/gcs/"):
        uri = uri.replace("/gcs/", "gs://", 1)
    return {**artifact, "uri": uri, "metadata": {**artifact["metadata"], **written.get("metadata", {})}}


def _read(text: str, kind: str) -> Any:
    """A parameter that a container wrote to a file of its own, as plain text."""
    if kind == "STRING":
        return text
    if kind == "BOOLEAN":
        # As KFP's launcher does: https://pkg.go.dev/strconv#ParseBool
        return _BOOLEANS.get(text.strip(), text)
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
