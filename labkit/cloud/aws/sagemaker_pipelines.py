"""SageMaker Pipelines: made, changed, described, listed, deleted, and their versions.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreatePipeline.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import pipeline_definition, storage
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.pipeline_definition import Definition
from labkit.cloud.aws.pipeline_records import Pipeline, Version
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.registry_groups import user_of
from labkit.cloud.aws.sagemaker_listing import page
from labkit.cloud.aws.sagemaker_models import check_role
from labkit.cloud.aws.sagemaker_state import State, arn
from labkit.cloud.aws.sagemaker_tags import as_dict

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

_KEPT = ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")


def create_pipeline(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Keeps a pipeline whose definition has been checked. The same request token answers with the same pipeline."""
    name, token = parameters["PipelineName"], parameters["ClientRequestToken"]
    _refuse_aliases(call, parameters)
    state = call.store(State)
    with state.lock:
        existing = state.pipelines.get(name.lower())
        if existing is not None and existing.token == token:
            return {"PipelineArn": existing.arn}
        if existing is not None:
            message = (
                "Pipeline names must be unique within an AWS account and region. "
                f"Pipeline with name ({name}) already exists."
            )
            raise AwsError("ValidationException", message)
    check_role(call, parameters["RoleArn"])
    definition = _definition(call, parameters)
    if definition is None:
        message = "One of PipelineDefinition and PipelineDefinitionS3Location must be provided."
        raise AwsError("ValidationException", message)
    now, user = call.engine.clock.now(), user_of(call)
    pipeline = Pipeline(
        name=name,
        arn=arn(call, "pipeline", name),
        created=now,
        modified=now,
        created_by=user,
        modified_by=user,
        request={member: parameters[member] for member in _KEPT if member in parameters},
        tags=as_dict(parameters.get("Tags")),
        token=token,
        versions=[Version(1, definition, now)],
    )
    with state.lock:
        state.pipelines[name.lower()] = pipeline
    return {"PipelineArn": pipeline.arn}


def update_pipeline(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Changes a pipeline; another definition makes another version. Executions that run keep theirs."""
    _refuse_aliases(call, parameters)
    pipeline = find_pipeline(call, parameters["PipelineName"])
    if "RoleArn" in parameters:
        check_role(call, parameters["RoleArn"])
    definition = _definition(call, parameters)
    with call.store(State).lock:
        now = call.engine.clock.now()
        if definition is not None:
            pipeline.versions.append(Version(pipeline.latest.number + 1, definition, now))
        pipeline.request |= {member: parameters[member] for member in _KEPT if member in parameters}
        pipeline.modified, pipeline.modified_by = now, user_of(call)
        return {"PipelineArn": pipeline.arn, "PipelineVersionId": pipeline.latest.number}


def describe_pipeline(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    _refuse_aliases(call, parameters)
    pipeline = find_pipeline(call, parameters["PipelineName"])
    version = find_version(pipeline, parameters.get("PipelineVersionId"))
    return {
        **pipeline.request,
        "PipelineArn": pipeline.arn,
        "PipelineName": pipeline.name,
        "PipelineDisplayName": pipeline.request.get("PipelineDisplayName", pipeline.name),
        "PipelineDefinition": version.definition.text,
        "PipelineStatus": "Active",
        "CreationTime": pipeline.created,
        "LastModifiedTime": pipeline.modified,
        "LastRunTime": pipeline.last_run,
        "CreatedBy": pipeline.created_by,
        "LastModifiedBy": pipeline.modified_by,
        "PipelineVersionDisplayName": version.name or None,
        "PipelineVersionDescription": version.description or None,
    }


def delete_pipeline(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Deletes a pipeline of which nothing runs, with its executions."""
    state = call.store(State)
    with state.lock:
        pipeline = find_pipeline(call, parameters["PipelineName"])
        running = [each.arn for each in pipeline.executions.values() if each.status in ("Executing", "Stopping")]
        if running:
            message = f"Pipeline {pipeline.arn} cannot be deleted while it has running executions: {running[0]}."
            raise AwsError("ConflictException", message)
        del state.pipelines[pipeline.name.lower()]
    return {"PipelineArn": pipeline.arn}


def list_pipelines(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    if "ManagedBy" in parameters:
        raise part_of(call, "the filter ManagedBy")
    state, prefix = call.store(State), parameters.get("PipelineNamePrefix", "")
    with state.lock:
        pipelines = [each for each in state.pipelines.values() if each.name.startswith(prefix)]
    shown, token = page(_times(parameters), pipelines)
    summaries = [
        {
            "PipelineArn": each.arn,
            "PipelineName": each.name,
            "PipelineDisplayName": each.request.get("PipelineDisplayName", each.name),
            "PipelineDescription": each.request.get("PipelineDescription"),
            "RoleArn": each.request["RoleArn"],
            "CreationTime": each.created,
            "LastModifiedTime": each.modified,
            "LastExecutionTime": each.last_run,
        }
        for each in shown
    ]
    return {"PipelineSummaries": summaries, "NextToken": token}


def list_pipeline_versions(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    pipeline = find_pipeline(call, parameters["PipelineName"])
    shown, token = page(_times(parameters), [_Listed(each) for each in pipeline.versions])
    summaries = [
        {
            "PipelineArn": pipeline.arn,
            "PipelineVersionId": each.version.number,
            "CreationTime": each.created,
            "PipelineVersionDescription": each.version.description or None,
            "PipelineVersionDisplayName": each.version.name or None,
            "LastExecutionPipelineExecutionArn": each.version.last_execution or None,
        }
        for each in shown
    ]
    return {"PipelineVersionSummaries": summaries, "NextToken": token}


def update_pipeline_version(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    if "PipelineVersionAliasOperations" in parameters:
        raise part_of(call, "aliases of pipeline versions")
    pipeline = find_pipeline(call, parameters["PipelineArn"])
    version = find_version(pipeline, parameters["PipelineVersionId"])
    version.name = parameters.get("PipelineVersionDisplayName", version.name)
    version.description = parameters.get("PipelineVersionDescription", version.description)
    return {"PipelineArn": pipeline.arn, "PipelineVersionId": version.number}


def find_pipeline(call: Call, name: str) -> Pipeline:
    """The pipeline with a name or ARN; raises ``ResourceNotFound``."""
    name = name.rpartition("/")[2] if name.startswith("arn:") else name
    pipeline: Pipeline | None = call.store(State).pipelines.get(name.lower())
    if pipeline is None:
        raise AwsError("ResourceNotFound", f"Pipeline '{arn(call, 'pipeline', name)}' does not exist.")
    return pipeline


def find_version(pipeline: Pipeline, number: int | None) -> Version:
    """A version of a pipeline, the latest if ``number`` is None; raises ``ResourceNotFound``."""
    if number is None:
        return pipeline.latest
    for version in pipeline.versions:
        if version.number == number:
            return version
    raise AwsError("ResourceNotFound", f"Pipeline version {number} of '{pipeline.arn}' does not exist.")


def _definition(call: Call, parameters: Mapping[str, Any]) -> Definition | None:
    text, location = parameters.get("PipelineDefinition"), parameters.get("PipelineDefinitionS3Location")
    if text is not None and location is not None:
        message = "Only one of PipelineDefinition and PipelineDefinitionS3Location can be provided."
        raise AwsError("ValidationException", message)
    if location is not None:
        bucket, key = location["Bucket"], location["ObjectKey"]
        call.engine.access.authorize(call.caller, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
        try:
            text = storage.read_object(bucket, key, location.get("VersionId")).decode("utf-8", "replace")
        except AwsError as error:
            message = f"Unable to read the pipeline definition from s3://{bucket}/{key}: {error.message}"
            raise AwsError("ValidationException", message) from None
    return None if text is None else pipeline_definition.parse(text)


def _refuse_aliases(call: Call, parameters: Mapping[str, Any]) -> None:
    for name in ("PipelineVersionAliases", "PipelineVersionAlias"):
        if parameters.get(name):
            raise part_of(call, f"aliases of pipeline versions ({name})")


def _times(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters as other lists call them."""
    names = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
    return {names.get(name, name): value for name, value in parameters.items()}


class _Listed:
    """A version as a list sorts it."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.name = f"{version.number:09d}"
        self.created = version.created
