"""A compiled KFP pipeline: components, executors and the tasks of each DAG, checked before anything runs.

The schema, written as JSON, is version 2.1 of
https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto. What is malformed, and what the kit
does not run, is a :class:`SpecError` that names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from labkit.cloud.gcp.pipeline_conditions import ConditionError, Expression, parse

_VERSIONS = re.compile(r"2\.[01]\.\d+")
#: Version 2.0 wrote a parameter's type in another field, under shorter names.
_OLD_TYPES = {"INT": "NUMBER_INTEGER", "DOUBLE": "NUMBER_DOUBLE", "STRING": "STRING"}
PARAMETER_TYPES = frozenset(
    ("NUMBER_INTEGER", "NUMBER_DOUBLE", "STRING", "BOOLEAN", "LIST", "STRUCT", "TASK_FINAL_STATUS")
)
_SELECTOR = re.compile(r"parseJson\(string_value\)((?:\[(?:\"[^\"]+\"|'[^']+'|\d+)\])+)")
_KEY = re.compile(r"\[(?:\"([^\"]+)\"|'([^']+)'|(\d+))\]")

#: "all upstream tasks completed": the task runs whether they succeeded or not.
COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"


class SpecError(Exception):
    """A pipeline that cannot be run as it is written; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input or output parameter of a component. ``default`` is used where ``optional`` and no value is given."""

    name: str
    type: str
    optional: bool
    default: Any = None


@dataclass(frozen=True)
class Component:
    """A component: what goes in and out, and either a DAG or the executor that does it."""

    name: str
    parameters: Mapping[str, Parameter]
    artifacts: Mapping[str, Mapping[str, Any]]
    output_parameters: Mapping[str, Parameter]
    output_artifacts: Mapping[str, Mapping[str, Any]]
    executor: Mapping[str, Any]
    tasks: Mapping[str, Task]
    outputs: Mapping[str, Any]

    @property
    def is_dag(self) -> bool:
        return not self.executor

    @property
    def container(self) -> Mapping[str, Any]:
        """Image, command and arguments, where a container does it."""
        found: Mapping[str, Any] = self.executor.get("container", {})
        return found


@dataclass(frozen=True)
class Task:
    """One task of a DAG. ``name`` is its key there, ``label`` what people call it."""

    name: str
    spec: Mapping[str, Any]

    @property
    def label(self) -> str:
        return str(self.spec.get("taskInfo", {}).get("name") or self.name)

    @property
    def component(self) -> str:
        return str(self.spec.get("componentRef", {}).get("name", ""))

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.spec.get("inputs", {}).get("parameters", {})
        return found

    @property
    def artifacts(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.spec.get("inputs", {}).get("artifacts", {})
        return found

    @cached_property
    def upstream(self) -> frozenset[str]:
        """The tasks of the same DAG that come before: named, or the producers of an input."""
        producers = (
            source[kind]["producerTask"]
            for source in (*self.parameters.values(), *self.artifacts.values())
            for kind in ("taskOutputParameter", "taskOutputArtifact", "taskFinalStatus")
            if kind in source
        )
        return frozenset(self.spec.get("dependentTasks", ())) | frozenset(producers)

    @cached_property
    def condition(self) -> Expression | None:
        text = self.spec.get("triggerPolicy", {}).get("condition", "")
        return parse(text) if text else None

    @property
    def runs_after_failure(self) -> bool:
        return bool(self.spec.get("triggerPolicy", {}).get("strategy") == COMPLETED)

    @property
    def caches(self) -> bool:
        return bool(self.spec.get("cachingOptions", {}).get("enableCache", False))

    def pause(self, attempt: int) -> float | None:
        """Seconds until the task is tried again after it failed in this attempt, from 1; None for never."""
        policy: Mapping[str, Any] = self.spec.get("retryPolicy", {})
        if attempt > int(policy.get("maxRetryCount", 0)):
            return None
        first, longest = (
            float(str(policy.get(name, default)).removesuffix("s") or 0)
            for name, default in (("backoffDuration", "0s"), ("backoffMaxDuration", "3600s"))
        )
        return float(min(first * float(policy.get("backoffFactor", 2.0)) ** (attempt - 1), longest))

    @property
    def iterator(self) -> tuple[str, Mapping[str, Any]] | None:
        """("parameter" or "artifact", what is iterated over), for a loop."""
        for kind in ("parameter", "artifact"):
            if found := self.spec.get(f"{kind}Iterator"):
                return kind, found
        return None

    @property
    def parallelism(self) -> int:
        """How many iterations of a loop run at the same time; 0 for as many as there are."""
        return int(self.spec.get("iteratorPolicy", {}).get("parallelismLimit", 0))


class Pipeline:
    """A checked pipeline. ``root`` is the component that is the whole; raises :class:`SpecError`."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._spec = spec
        version = str(spec.get("schemaVersion", ""))
        if not _VERSIONS.fullmatch(version):
            raise SpecError(f"schemaVersion {version!r} of the pipeline is not served; compile it with KFP 2.")
        self.name = str(spec.get("pipelineInfo", {}).get("name", ""))
        if not self.name:
            raise SpecError("pipelineSpec.pipelineInfo.name is not set.")
        if "dag" not in spec.get("root", {}):
            raise SpecError("pipelineSpec.root.dag is not set.")
        self._executors: Mapping[str, Any] = spec.get("deploymentSpec", {}).get("executors", {})
        self.components = {name: self._component(name, each) for name, each in spec.get("components", {}).items()}
        self.root = self._component("root", spec["root"])
        for component in (self.root, *self.components.values()):
            self._check(component)
        self._check_no_recursion(self.root, ())

    def of(self, task: Task) -> Component:
        """The component that a task runs."""
        return self.components[task.component]

    def _component(self, name: str, spec: Mapping[str, Any]) -> Component:
        executor: Mapping[str, Any] = {}
        if label := spec.get("executorLabel"):
            if label not in self._executors:
                raise SpecError(f"The component {name} names the executor {label}, which is not in the deploymentSpec.")
            executor = self._executors[label]
            kinds = set(executor) & {"container", "importer"}
            if not kinds:
                raise SpecError(
                    f"The executor {label} is a {', '.join(executor)}; containers and importers are served."
                )
        elif "dag" not in spec:
            raise SpecError(f"The component {name} has neither an executor nor a DAG.")
        dag = spec.get("dag", {})
        ins, outs = spec.get("inputDefinitions", {}), spec.get("outputDefinitions", {})
        return Component(
            name=name,
            parameters=_parameters(name, ins),
            artifacts=ins.get("artifacts", {}),
            output_parameters=_parameters(name, outs),
            output_artifacts=outs.get("artifacts", {}),
            executor=executor,
            tasks={task: Task(task, each) for task, each in dag.get("tasks", {}).items()},
            outputs=dag.get("outputs", {}),
        )

    def _check(self, component: Component) -> None:
        """Raises for a task whose parts do not fit together."""
        for task in component.tasks.values():
            where = f"The task {task.name}"
            if task.component not in self.components:
                raise SpecError(f"{where} runs the component {task.component!r}, which the pipeline does not have.")
            if missing := sorted(task.upstream - set(component.tasks)):
                raise SpecError(f"{where} comes after {', '.join(missing)}, which its DAG does not have.")
            try:
                _ = task.condition
            except ConditionError as error:
                raise SpecError(f"{where} cannot be run: {error}.") from None
            for name, source in task.parameters.items():
                _check_source(f"{where}: its parameter {name}", source, component.parameters)
            for name, source in task.artifacts.items():
                if (given := source.get("componentInputArtifact")) and given not in component.artifacts:
                    raise SpecError(
                        f"{where}: its artifact {name} is the input {given!r}, which its DAG does not have."
                    )
            self._check_producers(component, task)
        _check_no_cycle(component)

    def _check_producers(self, component: Component, task: Task) -> None:
        for kind, key, outputs in (
            ("taskOutputParameter", "outputParameterKey", "output_parameters"),
            ("taskOutputArtifact", "outputArtifactKey", "output_artifacts"),
        ):
            for source in (*task.parameters.values(), *task.artifacts.values()):
                if kind not in source:
                    continue
                producer = component.tasks[source[kind]["producerTask"]]
                made = self.components.get(producer.component)
                if made is not None and source[kind][key] not in getattr(made, outputs):
                    raise SpecError(
                        f"The task {task.name} takes {source[kind][key]!r} of {producer.name}, which it does not make."
                    )

    def _check_no_recursion(self, component: Component, above: tuple[str, ...]) -> None:
        if component.name in above:
            raise SpecError(f"The component {component.name} contains itself.")
        for task in component.tasks.values():
            self._check_no_recursion(self.of(task), (*above, component.name))


def select(expression: str, value: Any) -> Any:
    """What a ``parameterExpressionSelector`` takes from a parameter: ``parseJson(string_value)["key"]``.

    Raises ``LookupError`` where the value has no such part.
    """
    found = _SELECTOR.fullmatch(expression)
    assert found is not None
    for name, other, index in _KEY.findall(found[1]):
        value = value[int(index)] if index else value[name or other]
    return value


def _parameters(component: str, definitions: Mapping[str, Any]) -> dict[str, Parameter]:
    found = {}
    for name, each in definitions.get("parameters", {}).items():
        kind = each.get("parameterType") or _OLD_TYPES.get(each.get("type", ""), "")
        if kind not in PARAMETER_TYPES:
            raise SpecError(f"The parameter {name} of {component} has the type {kind!r}, which is not served.")
        default = each.get("defaultValue")
        found[name] = Parameter(name, kind, bool(each.get("isOptional")) or default is not None, default)
    return found


def _check_source(where: str, source: Mapping[str, Any], inputs: Mapping[str, Parameter]) -> None:
    known = {"taskOutputParameter", "runtimeValue", "componentInputParameter", "taskFinalStatus"}
    if len(known & set(source)) != 1:
        raise SpecError(f"{where} has no source that is served ({', '.join(source) or 'it has none'}).")
    if (runtime := source.get("runtimeValue")) is not None and "constant" not in runtime:
        raise SpecError(f"{where} is a runtime parameter, which pipelines of KFP 2 do not have.")
    given = source.get("componentInputParameter")
    # For a loop inside an exit handler the compiler also writes the loop's item as an input of what is around it.
    if given and given not in inputs and "-loop-item" not in given and "loop-item-" not in given:
        raise SpecError(f"{where} is the input {given!r}, which its DAG does not have.")
    selector = source.get("parameterExpressionSelector")
    if selector and not _SELECTOR.fullmatch(selector):
        raise SpecError(f"{where} has the selector {selector!r}, which is not served.")


def _check_no_cycle(component: Component) -> None:
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise SpecError(f"The tasks {' -> '.join((*above[above.index(name) :], name))} wait for each other.")
        if name not in done:
            for upstream in sorted(component.tasks[name].upstream):
                visit(upstream, (*above, name))
            done.add(name)

    for name in component.tasks:
        visit(name, ())
