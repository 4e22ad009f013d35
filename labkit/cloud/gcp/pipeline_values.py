"""What goes into a task and comes out of it: parameters and artifacts, from where its inputs say they come.

Parameters are plain values of JSON. An artifact is written as KFP's runtime has it: ``{"name", "type", "uri",
"metadata"}``. https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.cloud.gcp.pipeline_spec import Component, Parameter, Task, select

Artifact = dict[str, Any]

_PLACEHOLDER = re.compile(r"\{\{\$\.(?:inputs\.parameters\[(?:'([^']+)'|\"([^\"]+)\")\]|(pipeline_\w+))\}\}")


class ValueProblem(Exception):
    """An input that has no value, or one of another type; the text is a sentence."""


@dataclass(frozen=True)
class Values:
    """Parameters and artifacts by name. An artifact's name stands for a list: several come out of a loop."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[Artifact]] = field(default_factory=dict)


#: A task's name -> what came out of it; None where it did not run.
Produced = Callable[[str], Values | None]


def inputs(
    task: Task,
    component: Component,
    outer: Values,
    produced: Produced,
    status: Callable[[str], Any],
    constants: Mapping[str, str],
) -> Values:
    """What goes into ``task``, which runs ``component``, inside a DAG whose own inputs are ``outer``.

    ``status`` gives the final status of an upstream task, ``constants`` what placeholders say of the run
    (``pipeline_job_name``). Raises :class:`ValueProblem`.
    """
    given: dict[str, Any] = {}
    for name, source in task.parameters.items():
        found = _parameter(task, name, source, outer, produced, status)
        if found is not _NOTHING:
            given[name] = found
    given = {name: filled(value, given, constants) for name, value in given.items()}
    artifacts = {name: _artifacts(source, outer, produced) for name, source in task.artifacts.items()}
    for parameter in component.parameters.values():
        if parameter.name in given:
            given[parameter.name] = typed(parameter, given[parameter.name], task.label)
        elif parameter.default is not None:
            given[parameter.name] = typed(parameter, parameter.default, task.label)
        elif not parameter.optional and not component.is_dag:
            raise ValueProblem(f"The task {task.label} has no value for its parameter {parameter.name}.")
    for name, definition in component.artifacts.items():
        if not artifacts.get(name) and not definition.get("isOptional") and not component.is_dag:
            raise ValueProblem(f"The task {task.label} has no artifact for its input {name}.")
    return Values(given, {name: found for name, found in artifacts.items() if found})


def items(task: Task, values: Values) -> list[Values]:
    """The inputs of each iteration of a loop, given those of the loop."""
    assert task.iterator is not None
    kind, iterator = task.iterator
    name = iterator["itemInput"]
    if kind == "artifact":
        artifacts = values.artifacts.get(iterator["items"]["inputArtifact"], [])
        return [Values(values.parameters, {**values.artifacts, name: [each]}) for each in artifacts]
    source = iterator["items"]
    found = json.loads(source["raw"]) if "raw" in source else values.parameters.get(source.get("inputParameter", ""))
    if isinstance(found, str):
        found = _read(found, task.label)
    if not isinstance(found, list):
        raise ValueProblem(f"The loop {task.label} goes over {found!r}, which is no list.")
    return [Values({**values.parameters, name: each}, values.artifacts) for each in found]


def outputs(component: Component, produced: Produced) -> Values:
    """What comes out of a DAG whose tasks have ended."""
    made = Values()
    for name, source in component.outputs.get("parameters", {}).items():
        if "valueFromParameter" in source:
            selectors = [source["valueFromParameter"]]
        else:
            selectors = source.get("valueFromOneof", {}).get("parameterSelectors", [])
        for each in selectors:
            values = produced(each["producerSubtask"])
            if values is not None and each["outputParameterKey"] in values.parameters:
                made.parameters[name] = values.parameters[each["outputParameterKey"]]
                break
    for name, source in component.outputs.get("artifacts", {}).items():
        for each in source.get("artifactSelectors", []):
            values = produced(each["producerSubtask"])
            if values is not None and each["outputArtifactKey"] in values.artifacts:
                made.artifacts[name] = values.artifacts[each["outputArtifactKey"]]
                break
    return made


def collected(component: Component, iterations: Sequence[Values]) -> Values:
    """What comes out of a loop: for each output of its body a list, in the order of the items."""
    return Values(
        {
            name: [each.parameters[name] for each in iterations if name in each.parameters]
            for name in component.output_parameters
        },
        {
            name: [artifact for each in iterations for artifact in each.artifacts.get(name, [])]
            for name in component.output_artifacts
        },
    )


def typed(parameter: Parameter, value: Any, where: str) -> Any:
    """The value as its parameter's type has it; raises :class:`ValueProblem` where it is of another."""
    kind, is_number = parameter.type, isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "NUMBER_INTEGER" and is_number and value == int(value):
        return int(value)
    if kind == "NUMBER_DOUBLE" and is_number:
        return float(value)
    if kind == "STRING":
        return value if isinstance(value, str) else json.dumps(value)
    if kind in ("LIST", "STRUCT") and isinstance(value, str):
        value = _read(value, where)
    matches = {"BOOLEAN": bool, "LIST": list, "STRUCT": dict, "TASK_FINAL_STATUS": dict}.get(kind)
    if matches is not None and isinstance(value, matches):
        return whole(value)
    raise ValueProblem(f"The parameter {parameter.name} of {where} is {value!r}, which is no {kind}.")


def whole(value: Any) -> Any:
    """Lists and structs with whole numbers as integers: protobuf has them as doubles, and writes 1 for 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(each) for each in value]
    if isinstance(value, dict):
        return {key: whole(each) for key, each in value.items()}
    return value


def filled(value: Any, parameters: Mapping[str, Any], constants: Mapping[str, str]) -> Any:
    """A constant with its placeholders ``{{$.inputs.parameters['x']}}`` and ``{{$.pipeline_...}}`` replaced."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(
            lambda found: constants.get(found[3], found[0]) if found[3] else text(parameters.get(found[1] or found[2])),
            value,
        )
    if isinstance(value, list):
        return [filled(each, parameters, constants) for each in value]
    if isinstance(value, dict):
        return {filled(key, parameters, constants): filled(each, parameters, constants) for key, each in value.items()}
    return value


def text(value: Any) -> str:
    """A parameter as it stands in a command line: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


_NOTHING = object()


def _parameter(
    task: Task,
    name: str,
    source: Mapping[str, Any],
    outer: Values,
    produced: Produced,
    status: Callable[[str], Any],
) -> Any:
    """The value of one parameter, or ``_NOTHING`` where an optional input was not given."""
    if "runtimeValue" in source:
        value = source["runtimeValue"]["constant"]
    elif "componentInputParameter" in source:
        value = outer.parameters.get(source["componentInputParameter"], _NOTHING)
    elif "taskFinalStatus" in source:
        return status(source["taskFinalStatus"]["producerTask"])
    else:
        made = source["taskOutputParameter"]
        values = produced(made["producerTask"])
        value = _NOTHING if values is None else values.parameters.get(made["outputParameterKey"], _NOTHING)
    selector = source.get("parameterExpressionSelector")
    if selector and value is not _NOTHING:
        all_of_it = _read(value, task.label) if isinstance(value, str) else value
        try:
            return select(selector, all_of_it)
        except (LookupError, TypeError):
            raise ValueProblem(
                f"The parameter {name} of {task.label} is {selector} of {all_of_it!r}: no such part."
            ) from None
    return value


def _artifacts(source: Mapping[str, Any], outer: Values, produced: Produced) -> list[Artifact]:
    if "componentInputArtifact" in source:
        return outer.artifacts.get(source["componentInputArtifact"], [])
    made = source["taskOutputArtifact"]
    values = produced(made["producerTask"])
    return [] if values is None else values.artifacts.get(made["outputArtifactKey"], [])


def _read(value: str, where: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        raise ValueProblem(f"A value of {where} is {value!r}, which is no JSON.") from None
