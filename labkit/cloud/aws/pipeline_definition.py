"""A pipeline's definition: parsed, checked, and turned into steps with what each depends on.

The schema is https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/, version
2020-12-01; https://docs.aws.amazon.com/sagemaker/latest/dg/define-pipeline.html tells what it means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from labkit.cloud.aws import pipeline_arguments, pipeline_conditions
from labkit.cloud.aws.errors import AwsError, refusal
from labkit.cloud.aws.pipeline_arguments import has_property
from labkit.cloud.aws.pipeline_policies import Cache, Retrying, read_cache, read_retries
from labkit.cloud.aws.pipeline_values import EXECUTION, references

VERSION = "2020-12-01"
#: Step type -> the operation that takes its Arguments.
OPERATIONS = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Transform": "CreateTransformJob",
    "Model": "CreateModel",
    "RegisterModel": "CreateModelPackage",
}
SERVED = (*OPERATIONS, "Callback", "Condition", "Fail", "Lambda")
#: Step types that there are and that the kit does not serve.
REFUSED = frozenset(
    [
        "Tuning",
        "ClarifyCheck",
        "QualityCheck",
        "EMR",
        "EMRServerless",
        "AutoML",
        "NotebookJob",
        "EndpointConfig",
        "Endpoint",
        "InferenceComponent",
        "Lineage",
        "Job",
        "Cleanup",
        "ForEach",
    ]
)
PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (int, float),
    "Boolean": (bool,),
}
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
#: What CachedSteps and retried steps may be: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html
_CACHED = frozenset(("Processing", "Training", "Transform", "Lambda", "Callback"))
_MEMBERS = frozenset(
    [
        "Name",
        "Type",
        "Arguments",
        "DependsOn",
        "DisplayName",
        "Description",
        "PropertyFiles",
        "CacheConfig",
        "RetryPolicies",
        "FunctionArn",
        "SqsQueueUrl",
        "OutputParameters",
    ]
)


@dataclass(frozen=True)
class Parameter:
    """A pipeline's parameter. ``default`` is None where an execution has to give it."""

    name: str
    type: str
    default: Any = None
    values: tuple[Any, ...] = ()

    def problem(self, value: Any) -> str:
        """What is wrong with a value for it, or ``""``."""
        kinds = PARAMETER_TYPES[self.type]
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.type != "Boolean"):
            return f"Parameter [{self.name}] value is not of type {self.type}."
        if self.values and value not in self.values:
            allowed = ", ".join(str(each) for each in self.values)
            return f"Parameter [{self.name}] value [{value}] is not one of the enum values [{allowed}]."
        return ""

    def read(self, text: str) -> Any:
        """A value as StartPipelineExecution gives it, as text; raises :class:`AwsError`."""
        try:
            value = _READERS[self.type](text)
        except (ValueError, KeyError):
            problem = f"Parameter [{self.name}] value is not of type {self.type}."
        else:
            problem = self.problem(value)
        if problem:
            raise AwsError("ValidationException", problem)
        return value


_READERS: dict[str, Any] = {
    "String": str,
    "Integer": int,
    "Float": float,
    "Boolean": lambda text: {"true": True, "false": False}[text.lower()],
}


@dataclass(frozen=True)
class Step:
    """A step. ``after`` are the steps that it waits for; ``branch`` the condition and side that it belongs to."""

    name: str
    type: str
    document: Mapping[str, Any]
    after: frozenset[str]
    branch: tuple[str, bool] | None = None
    cache: Cache | None = None
    retries: tuple[Retrying, ...] = ()

    @property
    def arguments(self) -> Mapping[str, Any]:
        return self.document.get("Arguments") or {}

    @property
    def property_files(self) -> dict[str, Mapping[str, Any]]:
        return {each["PropertyFileName"]: each for each in self.document.get("PropertyFiles", [])}


@dataclass(frozen=True)
class Definition:
    """A pipeline as it was defined: ``text`` is the document itself, ``steps`` all of them, branches included."""

    text: str
    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]
    inside: Mapping[tuple[str, bool], tuple[str, ...]] = field(default_factory=dict)


def invalid(reason: str) -> AwsError:
    """The error of a definition that cannot be used."""
    return AwsError("ValidationException", f"Unable to parse pipeline definition. {reason}")


def parse(text: str) -> Definition:
    """Reads and checks a definition; raises :class:`AwsError` with the reason, or a refusal that names the feature."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise invalid(f"Invalid JSON: {error}.") from None
    _object(document)
    if document.get("Version") != VERSION:
        raise invalid(f"Version '{document.get('Version')}' is not supported; use '{VERSION}'.")
    for name in document:
        if name not in ("Version", "Metadata", "Parameters", "Steps", "PipelineExperimentConfig", "MlflowConfig"):
            raise invalid(f"Unknown member '{name}'.")
    if document.get("MlflowConfig"):
        raise refusal(
            "sagemaker", "CreatePipeline", "The local clouds do not serve MLflow in pipelines (MlflowConfig)."
        )
    parameters = _parameters(document.get("Parameters") or [])
    steps = {step.name: step for step in _steps(document.get("Steps"), None)}
    if not steps:
        raise invalid("The pipeline has no steps.")
    inside: dict[tuple[str, bool], tuple[str, ...]] = {}
    for step in steps.values():
        if step.branch:
            inside[step.branch] = (*inside.get(step.branch, ()), step.name)
    definition = Definition(text, parameters, steps, inside)
    _check_references(definition, document)
    return definition


def _object(value: Any) -> None:
    if not isinstance(value, dict):
        raise invalid("Expecting start of Json Object.")


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise invalid("Expecting start of Json Array.")
    return value


def _parameters(listed: Any) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for each in _array(listed):
        _object(each)
        name, kind = each.get("Name"), each.get("Type")
        if not isinstance(name, str) or not name:
            raise invalid("A parameter has no Name.")
        if kind not in PARAMETER_TYPES:
            raise invalid(f"Parameter '{name}' has the unknown Type '{kind}'.")
        if name in found:
            raise invalid(f"Duplicate parameter name '{name}'.")
        parameter = Parameter(name, kind, each.get("DefaultValue"), tuple(each.get("EnumValues") or ()))
        if parameter.default is not None and (problem := parameter.problem(parameter.default)):
            raise invalid(f"Invalid DefaultValue: {problem}")
        found[name] = parameter
    return found


def _steps(listed: Any, branch: tuple[str, bool] | None) -> Iterator[Step]:
    names: set[str] = set()
    for document in _array(listed):
        for step in _step(document, branch):
            if step.name in names:
                raise invalid(f"Duplicate step name '{step.name}'.")
            names.add(step.name)
            yield step


def _step(document: Any, branch: tuple[str, bool] | None) -> Iterator[Step]:
    _object(document)
    name, kind = document.get("Name"), document.get("Type")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid(f"Step name '{name}' has to match [A-Za-z0-9\\-_]{{1,64}}.")
    if kind in REFUSED:
        raise refusal(
            "sagemaker", "CreatePipeline", f"The local clouds do not serve pipeline steps of type {kind} yet."
        )
    if kind not in SERVED:
        raise invalid(f"Unknown step type '{kind}'.")
    for member in document:
        if member not in _MEMBERS:
            raise invalid(f"Unknown member '{member}' of step '{name}'.")
    arguments = document.get("Arguments", {} if kind in ("Lambda", "Callback") else None)
    _object(arguments)
    if kind in OPERATIONS:
        pipeline_arguments.check(OPERATIONS[kind], arguments, invalid)
    elif kind == "Condition":
        pipeline_conditions.check(_array(arguments.get("Conditions")), invalid)
    elif kind == "Fail" and "ErrorMessage" not in arguments:
        raise invalid(f"The Fail step '{name}' has no ErrorMessage.")
    elif kind == "Lambda" and not document.get("FunctionArn"):
        raise invalid(f"The Lambda step '{name}' has no FunctionArn.")
    elif kind == "Callback" and not document.get("SqsQueueUrl"):
        raise invalid(f"The Callback step '{name}' has no SqsQueueUrl.")
    if document.get("PropertyFiles") and kind != "Processing":
        raise invalid(f"Step '{name}' has PropertyFiles: only Processing steps have.")
    cache = read_cache(document.get("CacheConfig"), invalid)
    if cache and kind not in _CACHED:
        raise invalid(f"Step '{name}' of type {kind} cannot be cached.")
    branches = {key: arguments.get(key) or [] for key in ("IfSteps", "ElseSteps")} if kind == "Condition" else {}
    own = {key: value for key, value in arguments.items() if key not in branches}
    yield Step(
        name=name,
        type=kind,
        document=document,
        after=frozenset(_depends_on(document, own, branch)),
        branch=branch,
        cache=cache,
        retries=read_retries(document.get("RetryPolicies"), invalid),
    )
    for key, steps in branches.items():
        yield from _steps(steps, (name, key == "IfSteps"))


def _depends_on(document: Mapping[str, Any], arguments: Any, branch: tuple[str, bool] | None) -> Iterator[str]:
    yield from (str(name) for name in _array(document.get("DependsOn") or []))
    if branch:
        yield branch[0]
    for path in references((arguments, document.get("FunctionArn"), document.get("SqsQueueUrl"))):
        head, _, rest = path.partition(".")
        if head == "Steps":
            yield re.split(r"[.\[]", rest, maxsplit=1)[0]


def _check_references(definition: Definition, document: Mapping[str, Any]) -> None:
    for path in references(document):
        head, _, rest = path.partition(".")
        if head == "Parameters" and rest not in definition.parameters:
            raise invalid(f"Parameter '{rest}' is not defined.")
        if head == "Execution" and rest not in EXECUTION:
            raise invalid(f"Unknown execution variable '{rest}'.")
        if head not in ("Parameters", "Execution", "Steps"):
            raise invalid(f"Unknown reference '{path}'.")
        if found := re.fullmatch(r"Steps\.([^.\[]+)\.PropertyFiles\.(.+)", path):
            step = definition.steps.get(found[1])
            if step is not None and found[2] not in step.property_files:
                raise invalid(f"Step '{found[1]}' has no property file '{found[2]}'.")
        elif found := re.fullmatch(r"Steps\.([^.\[]+)\.(\w+).*", path):
            step = definition.steps.get(found[1])
            if step is not None and step.type in OPERATIONS and not has_property(OPERATIONS[step.type], found[2]):
                raise invalid(f"Invalid property reference '{path}': a {step.type} step has no property '{found[2]}'.")
    graph: TopologicalSorter[str] = TopologicalSorter()
    for step in definition.steps.values():
        for name in step.after:
            if name not in definition.steps:
                raise invalid(f"Step '{step.name}' depends on '{name}', which is not a step of the pipeline.")
        graph.add(step.name, *step.after)
    try:
        graph.prepare()
    except CycleError as circle:
        names = ", ".join(dict.fromkeys(circle.args[1]))
        raise invalid(f"Cycle detected in the pipeline definition: {names}.") from None
