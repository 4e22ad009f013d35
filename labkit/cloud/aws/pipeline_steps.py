"""What a pipeline's step does when its turn comes: a job, a model, a registration, a decision, a function.

Whatever a step calls, it calls as the pipeline's role, with that role's permissions:
https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.cloud.aws import pipeline_arguments, pipeline_conditions, service_calls
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.identity import Key
from labkit.cloud.aws.pipeline_definition import OPERATIONS, Step
from labkit.cloud.aws.pipeline_records import Execution, Result
from labkit.cloud.aws.pipeline_values import NoValue, Scope
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.sagemaker_state import State
from labkit.cloud.engine.dags import Attempt
from labkit.cloud.engine.errors import CloudError

CLIENT = "pipelines.sagemaker.amazonaws.com"
_JOBS = {"Processing": "ProcessingJob", "Training": "TrainingJob", "Transform": "TransformJob"}
_RESOURCES = {"Processing": "processing-job", "Training": "training-job", "Transform": "transform-job"}
#: Seconds between two looks at a job that nobody has reported the end of.
_LOOK_EVERY = 60.0
_LETTERS = string.ascii_letters + string.digits


class StepFailed(CloudError):
    """A step failed. The message is its FailureReason; ``exception`` is the kind that retry policies name."""

    def __init__(self, reason: str, exception: str = "") -> None:
        super().__init__(reason)
        self.exception = exception


@dataclass(frozen=True)
class StepRun:
    """A step about to run, in an execution, with what its expressions may ask about.

    ``note`` is told the step's metadata as soon as there are some.
    """

    execution: Execution
    step: Step
    scope: Scope
    key: Key

    @property
    def place(self) -> Place:
        return self.execution.place

    def arguments(self) -> dict[str, Any]:
        """The step's arguments, evaluated; raises :class:`StepFailed`."""
        try:
            return dict(self.scope.value(dict(self.step.arguments)))
        except NoValue as problem:
            raise StepFailed(f"ClientError: {problem}") from None
        except AwsError as error:
            raise _cannot_read(error) from None

    def call(self, service: str, operation: str, parameters: dict[str, Any]) -> Mapping[str, Any]:
        """One call as the pipeline's role; raises :class:`StepFailed`."""
        try:
            return service_calls.perform(self.place, self.key, service, operation, parameters, CLIENT)
        except AwsError as error:
            reason = f"ClientError: Failed to invoke {service}:{operation}. Error Details: {error.message}"
            raise StepFailed(reason, _exception_of(error)) from None


def run(step: StepRun, arguments: dict[str, Any], attempt: Attempt, note: Any) -> Result:
    """Does a step; raises :class:`StepFailed`. ``note(metadata)`` is told what it makes as soon as it is there."""
    kind = step.step.type
    if kind in _JOBS:
        return _job(step, arguments, attempt, note)
    if kind in ("Model", "RegisterModel"):
        return _resource(step, arguments)
    if kind == "Lambda":
        return _function(step, arguments)
    if kind == "Fail":
        message = str(arguments["ErrorMessage"])
        note({"Fail": {"ErrorMessage": message}})
        raise StepFailed(message)
    raise AssertionError(kind)


def decide(step: StepRun) -> Result:
    """Evaluates a condition step: all of its conditions have to hold. Raises :class:`StepFailed`."""
    try:
        outcome = all(pipeline_conditions.holds(each, step.scope) for each in step.step.arguments["Conditions"])
    except NoValue as problem:
        raise StepFailed(f"ClientError: {problem}") from None
    except AwsError as error:
        raise _cannot_read(error) from None
    other = step.execution.version.definition.inside.get((step.step.name, not outcome), ())
    text = str(outcome)
    return Result(properties={"Outcome": text}, metadata={"Condition": {"Outcome": text}}, skip=other)


def job_name(execution: Execution, step: Step, given: str | None = None) -> str:
    """The name that a pipeline gives a step's job: ``pipelines-{execution}-{step}-{random}``, 63 characters at most."""
    random = "".join(secrets.choice(_LETTERS) for _ in range(10))
    prefix = given or "pipelines"
    room = 63 - len(prefix) - len(execution.id) - len(random) - 3
    name = "".join(letter if letter.isalnum() else "-" for letter in step.name)[: max(room, 0)].strip("-")
    return f"{prefix}-{execution.id}-{name}-{random}" if given is None else f"{prefix}-{execution.id}-{random}"


def _job(step: StepRun, arguments: dict[str, Any], attempt: Attempt, note: Any) -> Result:
    kind = _JOBS[step.step.type]
    operation, member = OPERATIONS[step.step.type], f"{kind}Name"
    name = job_name(step.execution, step.step, arguments.get(member))
    step.scope.execution = {**step.scope.execution, member: name}
    parameters = _typed(operation, {**arguments, member: name})
    arn = step.call("sagemaker", operation, parameters)[f"{kind}Arn"]
    note({kind: {"Arn": arn}})
    job = step.place.store(State).jobs[_RESOURCES[step.step.type]][name.lower()]
    attempt.on_stop(job.stop)
    while not job.wait(_LOOK_EVERY):
        pass
    described = step.call("sagemaker", f"Describe{kind}", {member: name})
    status = described[f"{kind}Status"]
    if status == "Failed":
        reason = described.get("FailureReason") or "The job failed."
        raise StepFailed(f"ClientError: {reason}", _exception_of_reason(reason))
    if status == "Stopped":
        raise StepFailed(f"ClientError: The {kind} {name} was stopped.")
    return Result(described, _files(step.step, described), {kind: {"Arn": arn}})


def _files(step: Step, described: Mapping[str, Any]) -> dict[str, str]:
    """Where a processing step's property files are in S3."""
    outputs = {each["OutputName"]: each for each in (described.get("ProcessingOutputConfig") or {}).get("Outputs", [])}
    return {
        name: f"{outputs[file['OutputName']]['S3Output']['S3Uri'].rstrip('/')}/{file['FilePath'].lstrip('/')}"
        for name, file in step.property_files.items()
        if file["OutputName"] in outputs
    }


def _resource(step: StepRun, arguments: dict[str, Any]) -> Result:
    if step.step.type == "Model":
        name = arguments.get("ModelName") or job_name(step.execution, step.step)
        arn = step.call("sagemaker", "CreateModel", _typed("CreateModel", {**arguments, "ModelName": name}))["ModelArn"]
        return Result(step.call("sagemaker", "DescribeModel", {"ModelName": name}), {}, {"Model": {"Arn": arn}})
    _make_group(step, arguments.get("ModelPackageGroupName"))
    arn = step.call("sagemaker", "CreateModelPackage", _typed("CreateModelPackage", arguments))["ModelPackageArn"]
    described = step.call("sagemaker", "DescribeModelPackage", {"ModelPackageName": arn})
    return Result(described, {}, {"RegisterModel": {"Arn": arn}})


def _make_group(step: StepRun, name: str | None) -> None:
    """Makes the group that a version is for, if there is none: pipelines do, CreateModelPackage by itself does not."""
    group = str(name).rpartition("/")[2]
    if name and group.lower() not in step.place.store(State).groups:
        step.call("sagemaker", "CreateModelPackageGroup", {"ModelPackageGroupName": group})


def _function(step: StepRun, arguments: dict[str, Any]) -> Result:
    function = str(step.scope.value(step.step.document["FunctionArn"]))
    answer = step.call("lambda", "Invoke", {"FunctionName": function, "Payload": json.dumps(arguments).encode()})
    payload = answer.get("Payload") or b"null"
    text = (payload if isinstance(payload, bytes) else payload.read()).decode(errors="replace")
    if answer.get("FunctionError"):
        raise StepFailed(f"ClientError: Received error from lambda function. {text}")
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    wanted = [each["OutputName"] for each in step.step.document.get("OutputParameters", [])]
    outputs = {name: said[name] for name in wanted if isinstance(said, dict) and name in said}
    shown = [{"Name": name, "Value": str(value)} for name, value in outputs.items()]
    return Result({"OutputParameters": outputs}, {}, {"Lambda": {"Arn": function, "OutputParameters": shown}})


def _typed(operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return pipeline_arguments.typed(operation, arguments)
    except AwsError as error:
        reason = f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {error.message}"
        raise StepFailed(reason) from None


def _cannot_read(error: AwsError) -> StepFailed:
    return StepFailed(f"ClientError: Failed to retrieve a property file from S3: {error.code}: {error.message}")


def _exception_of(error: AwsError) -> str:
    """The exception type by which retry policies know an error of a call."""
    if error.code in ("ThrottlingException", "Throttling", "TooManyRequestsException"):
        return "Step.THROTTLING"
    if error.code in ("ResourceLimitExceeded", "LimitExceededException"):
        return "SageMaker.RESOURCE_LIMIT"
    return "Step.SERVICE_FAULT" if error.status >= 500 and error.status != 501 else ""


def _exception_of_reason(reason: str) -> str:
    """The exception type of a job that failed, by the beginning of its FailureReason."""
    if reason.startswith("InternalServerError"):
        return "SageMaker.JOB_INTERNAL_ERROR"
    if reason.startswith("CapacityError"):
        return "SageMaker.CAPACITY_ERROR"
    return ""
