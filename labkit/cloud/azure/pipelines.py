"""Pipeline jobs: steps, what each reads of the others, and the pipeline's own inputs, outputs and settings.

Read from the body of a request and checked whole before anything runs.
https://learn.microsoft.com/azure/machine-learning/reference-yaml-job-pipeline
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import datastores, jobs_bindings, jobs_commands, jobs_environments, jobs_identity
from labkit.cloud.azure.components import COMPONENTS, check_instances
from labkit.cloud.azure.errors import refusal
from labkit.cloud.azure.jobs_commands import Command
from labkit.cloud.azure.jobs_values import (
    LITERAL,
    Port,
    Value,
    fits,
    mode_of,
    read_input,
    read_inputs,
    read_output,
    read_outputs,
)
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.shapes import section, text

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: Pipelines in pipelines in pipelines, at most.
DEEPEST = 10
#: Kinds of steps that Azure has beside those served.
_OTHER_STEPS = (
    "automl",
    "data_transfer",
    "import",
    "parallel",
    "spark",
    "sweep",
    "do_while",
    "if_else",
    "parallel_for",
)
_UNSERVED = ("distribution", "services", "trial", "search_space")


@dataclass(frozen=True)
class Settings:
    """How a pipeline runs. ``datastore`` is where outputs go that say nothing else."""

    compute: Resource | None = None
    datastore: str = datastores.BLOBS
    goes_on: bool = False
    reruns: bool = False


@dataclass(frozen=True)
class Step:
    """One step: a command or a pipeline of its own.

    A literal input may hold expressions about the pipeline and its steps. ``passed`` are outputs that are the
    pipeline's, by their name there.
    """

    name: str
    title: str
    component: Resource
    inputs: Mapping[str, Value]
    outputs: Mapping[str, Port]
    passed: Mapping[str, str] = field(default_factory=dict)
    command: Command | None = None
    pipeline: Pipeline | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        """The component's definition."""
        found: dict[str, Any] = self.component.properties["componentSpec"]
        return found

    @property
    def after(self) -> set[str]:
        """The names of the steps whose outputs it reads."""
        return {path[2] for value in self.inputs.values() for path in _references(value) if path[1] == "jobs"}


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that can be run."""

    steps: Mapping[str, Step]
    inputs: Mapping[str, Value]
    outputs: Mapping[str, Port]
    settings: Settings


def read(call: Call, properties: Mapping[str, Any]) -> Pipeline:
    """The pipeline of a job's ``properties``; raises :class:`AzureError` for one that cannot be run."""
    component_id = text(properties, "componentId")
    spec: Mapping[str, Any] = properties
    if component_id:
        spec = COMPONENTS.find(call.cloud, call.workspace_id, component_id).properties["componentSpec"]
        if spec.get("type") != "pipeline":
            raise call.user_error(f"Component {component_id} of the pipeline job is no pipeline.", 400, "BadArgument")
    if properties.get("sourceJobId"):
        raise refusal("the property sourceJobId of a pipeline job")
    settings = _settings(call, properties)
    identity = jobs_identity.read(call, properties.get("identity"))
    inputs = read_inputs(call, section(properties, "inputs"))
    outputs = read_outputs(call, section(properties, "outputs"))
    if component_id:
        inputs = _with_defaults(call, component_id, section(spec, "inputs"), inputs)
        outputs = {
            name: outputs.get(name) or read_output(call, name, given)
            for name, given in section(spec, "outputs").items()
        }
    return _pipeline(_Scope(call, inputs, settings, identity), section(spec, "jobs"), outputs)


@dataclass(frozen=True)
class _Scope:
    """What the steps of one pipeline are read in: its inputs, and what holds for all of them."""

    call: Call
    inputs: Mapping[str, Value]
    settings: Settings
    identity: Mapping[str, Any]
    depth: int = 1

    def compute(self, node: Mapping[str, Any]) -> Resource | None:
        """The compute of a step: its own, which may be an input of the pipeline, or that of all steps."""
        named = text(node, "computeId") or text(node, "compute")
        bound = jobs_bindings.whole(named)
        if bound.startswith("parent.inputs.") and (given := self.inputs.get(bound.removeprefix("parent.inputs."))):
            named = given.text
        return jobs_commands.find_compute(self.call, named) if named else self.settings.compute

    def known(self, value: Value) -> Value:
        """An input of a step as the pipeline's own input that it is bound to, or as it is."""
        bound = jobs_bindings.whole(value.text)
        return self.inputs.get(bound.removeprefix("parent.inputs."), value) if bound else value


def _pipeline(scope: _Scope, jobs: Mapping[str, Any], outputs: Mapping[str, Port]) -> Pipeline:
    call = scope.call
    if not jobs:
        raise call.user_error("A pipeline job needs at least one job in it.", 400, "BadArgument")
    if scope.depth > DEEPEST:
        raise call.user_error(f"Pipelines are nested more than {DEEPEST} deep.", 400, "BadArgument")
    steps = {name: _without_missing(_step(scope, name, node), scope.inputs) for name, node in jobs.items()}
    pipeline = Pipeline(steps, scope.inputs, outputs, scope.settings)
    for step in steps.values():
        _check_references(call, pipeline, step)
    _check_order(call, steps)
    return pipeline


def _step(scope: _Scope, name: str, node: Any) -> Step:
    call = scope.call
    if not isinstance(node, dict):
        raise call.user_error(f"The job {name} of the pipeline has to be an object.", 400, "BadArgument")
    kind = text(node, "type", "command")
    if kind in _OTHER_STEPS:
        raise refusal(f"steps of type {kind} (job {name} of the pipeline)")
    component_id = text(node, "componentId")
    if not component_id:
        raise call.user_error(f"The job {name} of the pipeline needs a componentId.", 400, "BadArgument")
    component = COMPONENTS.find(call.cloud, call.workspace_id, component_id)
    spec = component.properties["componentSpec"]
    if (actual := str(spec.get("type") or "command")) != kind:
        message = f"The job {name} is of type {kind}, but its component {component_id} is of type {actual}."
        raise call.user_error(message, 400, "BadArgument")
    for each in _UNSERVED:
        if node.get(each):
            raise refusal(f"{each} of job {name} of the pipeline")
    given = {key: read_input(call, key, value) for key, value in section(node, "inputs").items()}
    inputs = _with_defaults(call, name, section(spec, "inputs"), given)
    for key, value in inputs.items():
        _check_literal(call, name, key, scope.known(value), section(spec, "inputs")[key])
    step = Step(
        name=name,
        title=text(node, "display_name") or name,
        component=component,
        inputs=inputs,
        outputs={
            key: _output(call, key, section(node, "outputs").get(key), port)
            for key, port in section(spec, "outputs").items()
        },
        passed={
            key: bound
            for key, value in section(node, "outputs").items()
            if (bound := _parent_output(value)) and key in section(spec, "outputs")
        },
        tags=jobs_commands.texts(call, node, "tags"),
    )
    for key in section(node, "outputs"):
        if key not in step.outputs:
            raise call.user_error(f"The component of job {name} has no output {key}.", 400, "BadArgument")
    own = jobs_identity.read(call, node.get("identity")) or dict(scope.identity)
    if kind == "pipeline":
        inner = _Scope(
            call,
            {key: scope.known(value) for key, value in step.inputs.items()},
            replace(scope.settings, compute=scope.compute(node)),
            own,
            scope.depth + 1,
        )
        ports = {key: Port(port.kind) for key, port in step.outputs.items()}
        return replace(step, pipeline=_pipeline(inner, section(spec, "jobs"), ports))
    return replace(step, command=_command(scope, node, step, own))


def _command(scope: _Scope, node: Mapping[str, Any], step: Step, identity: Mapping[str, Any]) -> Command:
    """What a step does: what its component says, where the step itself says nothing else."""
    call, spec, compute = scope.call, step.spec, scope.compute(node)
    resources = {**section(spec, "resources"), **section(node, "resources")}
    check_instances(resources)
    limits = {**section(spec, "limits"), **section(node, "limits")}
    return Command(
        command=text(spec, "command"),
        environment=jobs_environments.find(call, text(node, "environment") or text(spec, "environment")),
        code=jobs_commands.find_code(call, text(spec, "code")),
        outputs=step.outputs,
        variables={
            **jobs_commands.texts(call, spec, "environment_variables"),
            **jobs_commands.texts(call, node, "environment_variables"),
        },
        timeout=jobs_commands.read_timeout(call, limits),
        compute=compute,
        machine=jobs_commands.machine_of(compute, resources),
        identity=identity,
        datastore=scope.settings.datastore,
        notes=jobs_commands.unheeded(resources),
    )


def _settings(call: Call, properties: Mapping[str, Any]) -> Settings:
    given = {key: value for key, value in section(properties, "settings").items() if value is not None}
    known = {_snake(key): value for key, value in given.items()}
    for name in ("on_init", "on_finalize"):
        if known.get(name):
            raise refusal(f"the setting {name} of a pipeline job")
    compute = jobs_commands.find_compute(call, str(known.get("default_compute") or properties.get("computeId") or ""))
    store = str(known.get("default_datastore") or datastores.BLOBS).rpartition("/")[2].removeprefix("azureml:")
    datastores.find(call.cloud, call.workspace_id, store)
    return Settings(compute, store, _flag(known.get("continue_on_step_failure")), _flag(known.get("force_rerun")))


def _with_defaults(call: Call, owner: str, ports: Mapping[str, Any], given: Mapping[str, Value]) -> dict[str, Value]:
    """The inputs of a component: those given and the defaults of others; all that it needs have to be there."""
    for name in given:
        if name not in ports:
            known = ", ".join(ports) or "none"
            raise call.user_error(f"The component of {owner} has no input {name}; it has {known}.", 400, "BadArgument")
    found = {}
    for name, port in ports.items():
        if name in given:
            value = given[name]
            _check_literal(call, owner, name, value, port)
            mode = value.mode or mode_of(call, name, port, ("ro_mount", "rw_mount", "download", "direct"))
            found[name] = replace(value, mode=mode)
        elif port.get("default") is not None:
            found[name] = Value(LITERAL, str(port["default"]))
        elif not _flag(port.get("optional")):
            raise call.user_error(f"Required input '{name}' of job {owner} was not provided.", 400, "BadArgument")
    return found


def _check_literal(call: Call, owner: str, name: str, value: Value, port: Mapping[str, Any]) -> None:
    """Raises :class:`AzureError` for a literal that an input cannot have; what is known only later is left alone."""
    if value.is_literal and not jobs_bindings.names(value.text) and (wrong := fits(name, value.text, port)):
        raise call.user_error(f"{wrong} It is one of job {owner}.", 400, "BadArgument")


def _output(call: Call, name: str, given: Any, port: Mapping[str, Any]) -> Port:
    asked = {} if isinstance(given, str) and _parent_output(given) else section({name: given}, name)
    if _parent_output(given):
        asked = {"mode": asked.get("mode")}
    merged = {"mode": port.get("mode"), **{key: value for key, value in asked.items() if value}}
    return replace(read_output(call, name, merged, str(port.get("type"))), kind=str(port.get("type")))


def _parent_output(given: Any) -> str:
    """The name of the pipeline's output that a step's output is, or ``""``."""
    bound = jobs_bindings.whole(given.get("value")) if isinstance(given, dict) else jobs_bindings.whole(given)
    return bound.removeprefix("parent.outputs.") if bound.startswith("parent.outputs.") else ""


def _references(value: Value) -> Iterator[tuple[str, ...]]:
    """What an input names of the pipeline: ``("parent", "jobs", "prep", "outputs", "data")``."""
    for name in jobs_bindings.names(value.text):
        if name.startswith("parent."):
            yield tuple(name.split("."))


def _without_missing(step: Step, inputs: Mapping[str, Value]) -> Step:
    """The step without its optional inputs that are bound to inputs which the pipeline was not given."""

    def is_missing(name: str, value: Value) -> bool:
        bound = jobs_bindings.whole(value.text)
        optional = _flag(step.spec["inputs"][name].get("optional"))
        return optional and bound.startswith("parent.inputs.") and bound.removeprefix("parent.inputs.") not in inputs

    return replace(step, inputs={name: value for name, value in step.inputs.items() if not is_missing(name, value)})


def _check_references(call: Call, pipeline: Pipeline, step: Step) -> None:
    for name, value in step.inputs.items():
        for path in _references(value):
            what = ".".join(path)
            if path[1] == "inputs" and ".".join(path[2:]) in pipeline.inputs:
                continue
            if path[1] == "jobs" and len(path) >= 5 and (other := pipeline.steps.get(path[2])) is not None:
                ports = other.outputs if path[3] == "outputs" else other.inputs if path[3] == "inputs" else {}
                if ".".join(path[4:]) in ports:
                    continue
            message = f"Input {name} of job {step.name} is bound to ${{{{{what}}}}}, which the pipeline does not have."
            raise call.user_error(message, 400, "BadArgument")
    for name, outer in step.passed.items():
        if outer not in pipeline.outputs:
            message = (
                f"Output {name} of job {step.name} is bound to the output {outer}, which the pipeline does not have."
            )
            raise call.user_error(message, 400, "BadArgument")


def _check_order(call: Call, steps: Mapping[str, Step]) -> None:
    """Sees that the steps can be put in an order."""
    left = {name: step.after for name, step in steps.items()}
    while left:
        ready = [name for name, after in left.items() if not after & left.keys()]
        if not ready:
            raise call.user_error(f"The jobs {', '.join(sorted(left))} wait for each other.", 400, "BadArgument")
        for name in ready:
            del left[name]


def _snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")


def _flag(value: Any) -> bool:
    return value in (True, "true", "True")
