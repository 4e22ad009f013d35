"""Executions of SageMaker Pipelines: started, stopped, retried, described, with their steps and parameters.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StartPipelineExecution.html
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import background, pipeline_execution, service_calls
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.identity import Key
from labkit.cloud.aws.pipeline_records import Execution, Pipeline, Result, StepRecord, Version
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.registry_groups import user_of
from labkit.cloud.aws.sagemaker_jobs import HELD
from labkit.cloud.aws.sagemaker_listing import page
from labkit.cloud.aws.sagemaker_models import check_role
from labkit.cloud.aws.sagemaker_pipelines import find_pipeline, find_version
from labkit.cloud.aws.sagemaker_state import State

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

_ID = string.ascii_lowercase + string.digits


def start_as(place: Place, key: Key, parameters: dict[str, Any], client: str) -> Execution:
    """Starts an execution with the permissions of ``key``, for a service such as EventBridge Scheduler.

    ``parameters`` are StartPipelineExecution's. The execution can be waited for. Raises :class:`AwsError`.
    """
    parameters.setdefault("ClientRequestToken", secrets.token_hex(20))
    started = service_calls.perform(place, key, "sagemaker", "StartPipelineExecution", parameters, client)
    return find_execution(place, str(started["PipelineExecutionArn"]))


def start_pipeline_execution(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Starts an execution. The same request token answers with the same execution."""
    for name in ("PipelineVersionAlias", "MlflowExperimentName"):
        if name in parameters:
            raise part_of(call, name)
    pipeline = find_pipeline(call, parameters["PipelineName"])
    version = find_version(pipeline, parameters.get("PipelineVersionId"))
    if "RoleArn" in parameters:
        check_role(call, parameters["RoleArn"])
    values = _values(version, parameters.get("PipelineParameters", []))
    reused, source = _reused(call, pipeline, version, parameters.get("SelectiveExecutionConfig"))
    state, now, token = call.store(State), call.engine.clock.now(), parameters["ClientRequestToken"]
    with state.lock:
        if earlier := pipeline.tokens.get(token):
            return {"PipelineExecutionArn": earlier}
        identifier = "".join(secrets.choice(_ID) for _ in range(12))
        execution = Execution(
            id=identifier,
            arn=f"{pipeline.arn}/execution/{identifier}",
            pipeline=pipeline,
            version=version,
            place=Place.of(call),
            role=parameters.get("RoleArn", pipeline.request["RoleArn"]),
            parameters=values,
            given=list(parameters.get("PipelineParameters", [])),
            created=now,
            modified=now,
            created_by=user_of(call),
            name=parameters.get("PipelineExecutionDisplayName", f"execution-{int(now.timestamp() * 1000)}"),
            description=parameters.get("PipelineExecutionDescription", ""),
            parallelism=parameters.get("ParallelismConfiguration", pipeline.request.get("ParallelismConfiguration")),
            selective=parameters.get("SelectiveExecutionConfig"),
        )
        execution.modified_by = execution.created_by
        pipeline.executions[execution.arn] = execution
        pipeline.tokens[token] = execution.arn
        pipeline.last_run, version.last_execution = now, execution.arn
    pipeline_execution.start(execution, reused, source)
    background.note(execution)
    return {"PipelineExecutionArn": execution.arn}


def stop_pipeline_execution(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    execution = find_execution(Place.of(call), parameters["PipelineExecutionArn"])
    if execution.status not in ("Executing", "Stopping"):
        message = (
            f"Pipeline execution with ARN {execution.arn} status {execution.status}. "
            "Only executing pipelines can be stopped."
        )
        raise AwsError("ConflictException", message)
    execution.modified_by = user_of(call)
    pipeline_execution.stop(execution)
    return {"PipelineExecutionArn": execution.arn}


def retry_pipeline_execution(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Runs again what failed or was stopped, and what did not run for it."""
    execution = find_execution(Place.of(call), parameters["PipelineExecutionArn"])
    with execution.lock:
        if execution.status not in ("Failed", "Stopped"):
            message = (
                f"Pipeline execution with ARN {execution.arn} is in status {execution.status}. "
                "Only Failed and Stopped executions can be retried."
            )
            raise AwsError("ConflictException", message)
        for name in [name for name, each in execution.steps.items() if each.status != "Succeeded"]:
            del execution.steps[name]
        execution.failure, execution.ended = "", None
        execution.parallelism = parameters.get("ParallelismConfiguration", execution.parallelism)
        execution.modified_by = user_of(call)
    pipeline_execution.start(execution)
    background.note(execution)
    return {"PipelineExecutionArn": execution.arn}


def describe_pipeline_execution(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """The execution as it is. A waiter's call is held while it runs."""
    execution = find_execution(Place.of(call), parameters["PipelineExecutionArn"])
    if call.waiter:
        execution.settled.wait(HELD)
    with execution.lock:
        return {
            "PipelineArn": execution.pipeline.arn,
            "PipelineExecutionArn": execution.arn,
            "PipelineExecutionDisplayName": execution.name,
            "PipelineExecutionStatus": execution.status,
            "PipelineExecutionDescription": execution.description or None,
            "FailureReason": execution.failure or None,
            "CreationTime": execution.created,
            "LastModifiedTime": execution.modified,
            "CreatedBy": execution.created_by,
            "LastModifiedBy": execution.modified_by,
            "ParallelismConfiguration": execution.parallelism,
            "SelectiveExecutionConfig": execution.selective,
            "PipelineVersionId": execution.version.number,
            "RoleArn": execution.role,
        }


def update_pipeline_execution(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    execution = find_execution(Place.of(call), parameters["PipelineExecutionArn"])
    if "ParallelismConfiguration" in parameters:
        raise part_of(call, "another parallelism for an execution that was started (ParallelismConfiguration)")
    with execution.lock:
        execution.description = parameters.get("PipelineExecutionDescription", execution.description)
        execution.name = parameters.get("PipelineExecutionDisplayName", execution.name)
        execution.modified, execution.modified_by = call.engine.clock.now(), user_of(call)
    return {"PipelineExecutionArn": execution.arn}


def list_pipeline_executions(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    if "PipelineVersionAlias" in parameters:
        raise part_of(call, "aliases of pipeline versions")
    pipeline = find_pipeline(call, parameters["PipelineName"])
    names = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
    asked = {names.get(name, name): value for name, value in parameters.items()}
    if asked.get("SortBy") == "PipelineExecutionArn":
        asked["SortBy"] = "Name"
    shown, token = page(asked, [_Listed(each.arn, each.created, each) for each in list(pipeline.executions.values())])
    summaries = [
        {
            "PipelineExecutionArn": each.arn,
            "StartTime": each.created,
            "PipelineExecutionStatus": each.status,
            "PipelineExecutionDescription": each.description or None,
            "PipelineExecutionDisplayName": each.name,
            "PipelineExecutionFailureReason": each.failure or None,
        }
        for each in (listed.value for listed in shown)
    ]
    return {"PipelineExecutionSummaries": summaries, "NextToken": token}


def list_pipeline_execution_steps(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """The steps that were started, the last first; steps of a branch that was not taken are not among them."""
    if "PipelineExecutionArn" not in parameters:
        raise AwsError("ValidationException", "PipelineExecutionArn is missing.")
    execution = find_execution(Place.of(call), parameters["PipelineExecutionArn"])
    with execution.lock:
        listed = [
            _Listed(each.name, each.started or execution.created, _step(execution, each))
            for each in execution.steps.values()
        ]
    shown, token = page(parameters, listed)
    return {"PipelineExecutionSteps": [each.value for each in shown], "NextToken": token}


def list_pipeline_parameters_for_execution(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    execution = find_execution(Place.of(call), parameters["PipelineExecutionArn"])
    listed = [_Listed(name, execution.created, (name, value)) for name, value in execution.parameters.items()]
    asked = {**parameters, "SortBy": "Name", "SortOrder": "Ascending"}
    shown, token = page(asked, listed)
    values = [{"Name": each.value[0], "Value": _text(each.value[1])} for each in shown]
    return {"PipelineParameters": values, "NextToken": token}


def describe_pipeline_definition_for_execution(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    execution = find_execution(Place.of(call), parameters["PipelineExecutionArn"])
    return {"PipelineDefinition": execution.version.definition.text, "CreationTime": execution.created}


def find_execution(place: Place, arn: str) -> Execution:
    """The execution with an ARN; raises ``ResourceNotFound``."""
    state = place.store(State)
    pipeline: Pipeline | None = state.pipelines.get(arn.partition("/execution/")[0].rpartition("/")[2].lower())
    execution = pipeline.executions.get(arn) if pipeline else None
    if execution is None:
        raise AwsError("ResourceNotFound", f"Pipeline execution '{arn}' does not exist.")
    return execution


def _values(version: Version, given: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Every parameter's value; raises ``ValidationException`` for one that is unknown, wrong or missing."""
    parameters = version.definition.parameters
    values = {name: each.default for name, each in parameters.items() if each.default is not None}
    for each in given:
        if each["Name"] not in parameters:
            raise AwsError("ValidationException", f"Parameter [{each['Name']}] is not defined in the pipeline.")
        values[each["Name"]] = parameters[each["Name"]].read(each["Value"])
    if missing := [name for name in parameters if name not in values]:
        message = f"Parameters [{', '.join(missing)}] have no default value and were not given."
        raise AwsError("ValidationException", message)
    return values


def _reused(
    call: Call, pipeline: Pipeline, version: Version, config: Mapping[str, Any] | None
) -> tuple[dict[str, Result], str]:
    """The results that a selective execution takes from another one, and that one's ARN.

    https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-selective-ex.html
    """
    if config is None:
        return {}, ""
    selected, steps = [each["StepName"] for each in config["SelectedSteps"]], version.definition.steps
    for name in selected:
        if name not in steps:
            raise AwsError("ValidationException", f"Selected step '{name}' is not a step of the pipeline.")
    needed: set[str] = set()
    pending = list(selected)
    while pending:
        before = steps[pending.pop()].after
        pending += before - needed - set(selected)
        needed |= before - set(selected)
    if not needed:
        return {}, ""
    arn = config.get("SourcePipelineExecutionArn")
    if arn is None and pipeline.executions:
        arn = max(pipeline.executions.values(), key=lambda each: each.created).arn
    if arn is None:
        raise AwsError("ValidationException", "SourcePipelineExecutionArn is missing: there is no earlier execution.")
    source = find_execution(Place.of(call), arn)
    found: dict[str, Result] = {}
    for name in needed:
        record = source.steps.get(name)
        if record is None or record.result is None:
            message = f"Step '{name}' did not succeed in the execution {source.arn}, so its results cannot be reused."
            raise AwsError("ValidationException", message)
        found[name] = record.result
    return found, source.arn


def _step(execution: Execution, record: StepRecord) -> dict[str, Any]:
    return {
        "StepName": record.name,
        "StepDisplayName": record.step.document.get("DisplayName"),
        "StepDescription": record.step.document.get("Description"),
        "StartTime": record.started or execution.created,
        "EndTime": record.ended,
        "StepStatus": record.status,
        "CacheHitResult": {"SourcePipelineExecutionArn": record.cached_from} if record.cached_from else None,
        "SelectiveExecutionResult": {"SourcePipelineExecutionArn": record.reused_from} if record.reused_from else None,
        "FailureReason": record.failure or None,
        "Metadata": dict(record.metadata) or None,
        "AttemptCount": record.attempts,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Listed:
    """Something as a list sorts and finds it."""

    def __init__(self, name: str, created: Any, value: Any) -> None:
        self.name = name
        self.created = created
        self.value = value
