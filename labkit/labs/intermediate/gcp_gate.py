"""Reads whether a compiled pipeline registers nothing but what is above the gate.

The compiled form: https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.cloud.gcp.pipeline_conditions import ConditionError, parse
from labkit.labs.beginner.churn import GATE
from labkit.labs.task import NotAttempted, Wrong

THRESHOLD, MEASURES, REGISTERS = "auc_threshold", "evaluate", "register"
HINT = 'with dsl.If(auc > auc_threshold, name="gate"): and, indented below it, the call of steps["register"]'
#: For whom the gate compares wrongly, or not at all: what is asked of it, not how it is written.
READ_IT = (
    "read the condition aloud: the AUC is greater than the parameter auc_threshold; what is called indented below the "
    "dsl.If belongs to it"
)
#: Pairs of an AUC and a threshold, on which no two different comparisons agree.
TRIALS = ((0.86, 0.85), (0.85, 0.85), (0.84, 0.85), (0.6, 0.5), (0.9, 0.95))

Spec = Mapping[str, Any]
#: Where a value comes from: a task of the outermost graph and its output, or ``""`` and a parameter of the pipeline.
Source = tuple[str, str]


@dataclass(frozen=True)
class Placed:
    """A task, and the condition under which each group around it runs, with where that one's values come from."""

    name: str
    function: str
    guards: tuple[tuple[str, Mapping[str, Source]], ...]


def placed(spec: Spec) -> list[Placed]:
    """Every task that runs a container, also those in groups."""
    return list(_placed(spec, spec["root"]["dag"], {}, ()))


def _placed(
    spec: Spec, dag: Spec, outer: Mapping[str, Source], guards: tuple[tuple[str, Mapping[str, Source]], ...]
) -> Iterator[Placed]:
    for key, task in dag["tasks"].items():
        inputs = {name: _source(value, outer) for name, value in task.get("inputs", {}).get("parameters", {}).items()}
        condition = task.get("triggerPolicy", {}).get("condition")
        around = (*guards, (condition, inputs)) if condition else guards
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield from _placed(spec, component["dag"], inputs, around)
        else:
            executor = spec.get("deploymentSpec", {}).get("executors", {}).get(component.get("executorLabel"), {})
            arguments = executor.get("container", {}).get("args", [])
            at = arguments.index("--function_to_execute") + 1 if "--function_to_execute" in arguments else None
            yield Placed(key, arguments[at] if at else "", around)


def _source(value: Spec, outer: Mapping[str, Source]) -> Source:
    if "taskOutputParameter" in value:
        made = value["taskOutputParameter"]
        return made["producerTask"], made["outputParameterKey"]
    if "componentInputParameter" in value:
        name = value["componentInputParameter"]
        return outer.get(name, ("", name))
    return "", f"the constant {value.get('runtimeValue', {}).get('constant')}"


def check(spec: Spec) -> None:
    """Raises :class:`Wrong` or :class:`NotAttempted` with what is not right about the pipeline."""
    every = placed(spec)
    registering = [each for each in every if each.function == REGISTERS]
    expected = f"the component {REGISTERS}, behind a dsl.If on the AUC and {THRESHOLD}"
    if not registering:
        names = ", ".join(sorted(each.name for each in every))
        raise NotAttempted(f"a pipeline of the tasks {names}, none of which registers a model", expected)
    default = spec["root"].get("inputDefinitions", {}).get("parameters", {}).get(THRESHOLD, {}).get("defaultValue")
    if default != GATE:
        raise Wrong(f"the default {default} for {THRESHOLD}", f"the parameter {THRESHOLD} with the default {GATE}")
    measuring = {each.name for each in every if each.function == MEASURES}
    for task in registering:
        _check(task, measuring)


def _check(task: Placed, measuring: set[str]) -> None:
    if not task.guards:
        raise Wrong(
            f"the task {task.name} beside the gate, not behind it",
            "a model that is registered only if the gate's condition holds",
            "register is called indented below the dsl.If; a plain if of Python is decided when it is compiled",
        )
    for auc, threshold in TRIALS:
        runs = all(_holds(condition, sources, measuring, auc, threshold) for condition, sources in task.guards)
        if runs != (auc > threshold):
            raise Wrong(
                f"that {task.name} {'runs' if runs else 'does not run'} with an AUC of {auc} and a threshold of "
                f"{threshold}",
                f"that it runs if the AUC is greater than {THRESHOLD}, and only then",
                READ_IT,
            )


def _holds(condition: str, sources: Mapping[str, Source], measuring: set[str], auc: float, threshold: float) -> bool:
    values: dict[str, float] = {}
    for name, (producer, output) in sources.items():
        if producer in measuring:
            values[name] = auc
        elif (producer, output) == ("", THRESHOLD):
            values[name] = threshold
    try:
        return bool(parse(condition)(values))
    except ConditionError:
        used = [_told(source) for name, source in sources.items() if name not in values and name in condition]
        what = ", ".join(used) or "something else"
        raise Wrong(
            f"a condition on {what}", f"one on what {MEASURES} returns and the parameter {THRESHOLD}", READ_IT
        ) from None


def _told(source: Source) -> str:
    producer, output = source
    return f"{output} of the task {producer}" if producer else f"the parameter {output}"


def cached(spec: Spec, tasks: Sequence[str]) -> list[str]:
    """Those of the outermost tasks whose results may come from the cache."""
    every = spec["root"]["dag"]["tasks"]
    return [name for name in tasks if every.get(name, {}).get("cachingOptions", {}).get("enableCache")]
