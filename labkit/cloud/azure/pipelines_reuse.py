"""When a step need not run again: it is deterministic, and a step of the same definition had the same inputs.

https://learn.microsoft.com/azure/machine-learning/how-to-debug-pipeline-reuse
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from labkit.cloud.azure import runs
from labkit.cloud.azure.jobs_values import Value
from labkit.cloud.azure.pipelines import Step
from labkit.cloud.azure.runs import Run, Runs

#: What of a component's definition does not change what it does.
_SAID = frozenset(("$schema", "_source", "code", "description", "display_name", "name", "tags", "version"))


def key(step: Step, values: Mapping[str, Value]) -> str:
    """What a step is made of: its definition, its code, its environment, its inputs and outputs."""
    assert step.command is not None
    code = step.command.code
    content = code.properties["properties"].get("hash_sha256") or code.id if code is not None else ""
    made_of = {
        "definition": {name: value for name, value in step.spec.items() if name not in _SAID},
        "code": content,
        "environment": [step.command.environment.name, str(dict(step.command.environment.properties))],
        "variables": dict(step.command.variables),
        "inputs": {name: [value.kind, value.text, value.mode] for name, value in sorted(values.items())},
        "outputs": {
            name: [port.kind, port.uri, port.mode, port.name, port.version] for name, port in step.outputs.items()
        },
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def is_deterministic(step: Step) -> bool:
    """Whether the same inputs make the same outputs. A pipeline in a pipeline is asked step by step."""
    return step.command is not None and step.spec.get("is_deterministic") not in (False, "false", "False")


def find(known: Runs, made_of: str) -> Run | None:
    """A finished step of the same making."""
    found = known.reusable.get(made_of)
    return found if found is not None and found.status == runs.COMPLETED else None


def reuse(run: Run, other: Run, now: datetime) -> None:
    """Ends a step with what another one made."""
    run.properties |= {
        "azureml.isreused": "true",
        "azureml.reusedrunid": other.name,
        "azureml.reusednodeid": other.properties.get("azureml.nodeid", ""),
        "azureml.reusedpipeline": other.parent,
        "azureml.reusedpipelinerunid": other.parent,
    }
    run.inputs, run.outputs, run.metrics = dict(other.inputs), dict(other.outputs), dict(other.metrics)
    run.move(runs.RUNNING, now)
    run.move(runs.COMPLETED, now)
