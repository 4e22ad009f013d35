"""State changes of SageMaker's resources, told to whoever listens to events.

https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.cloud.aws.pipeline_records import Execution, StepRecord
    from labkit.cloud.aws.place import Place
    from labkit.cloud.aws.registry_records import ModelPackage
    from labkit.cloud.aws.sagemaker_hosting import Endpoint
    from labkit.cloud.aws.sagemaker_jobs import JobRecord

SOURCE = "aws.sagemaker"
PIPELINE = "SageMaker Model Building Pipeline Execution Status Change"
STEP = "SageMaker Model Building Pipeline Execution Step Status Change"
PACKAGE = "SageMaker Model Package State Change"
ENDPOINT = "SageMaker Endpoint State Change"
_CAPITALS = {"Creating": "CREATING", "Updating": "UPDATING", "InService": "IN_SERVICE", "Failed": "FAILED"}
_ISO = "%Y-%m-%dT%H:%M:%SZ"


def publish(place: Place, kind: str, detail: Mapping[str, Any], resources: list[str]) -> None:
    """Tells one change."""
    told = {name: value for name, value in detail.items() if value is not None}
    place.engine.events.publish(place.scope, SOURCE, kind, told, resources=resources)


def job_changed(job: JobRecord) -> None:
    """Tells that a job has taken on another status; times are in milliseconds since 1970."""
    named = job.kind.field
    with job.lock:
        detail: dict[str, Any] = {
            **{name: value for name, value in job.request.items() if name not in ("Tags", "Environment")},
            f"{named}Arn": job.arn,
            f"{named}Status": job.status,
            "FailureReason": job.failure or None,
            "CreationTime": _milliseconds(job.created),
            "LastModifiedTime": _milliseconds(job.modified),
            "Tags": dict(job.tags),
        }
        for name, when in (("Start", job.started), ("End", job.ended)):
            if when is not None:
                word = "Training" if named == "TrainingJob" else named.removesuffix("Job")
                detail[f"{word}{name}Time"] = _milliseconds(when)
        if job.transitions:
            detail["SecondaryStatus"] = job.transitions[-1]["Status"]
            detail["SecondaryStatusTransitions"] = [
                {name: _milliseconds(value) if isinstance(value, datetime) else value for name, value in each.items()}
                for each in job.transitions
            ]
        detail |= {name: value for name, value in job.results.items() if name == "ModelArtifacts"}
    publish(job.place, job.kind.event, detail, [job.arn])


def execution_changed(execution: Execution, before: str) -> None:
    """Tells that a pipeline's execution has taken on another status."""
    detail = {
        "pipelineExecutionDescription": execution.description,
        "pipelineExecutionDisplayName": execution.name,
        "currentPipelineExecutionStatus": execution.status,
        "previousPipelineExecutionStatus": before if before != execution.status else None,
        "executionStartTime": execution.created.strftime(_ISO),
        "executionEndTime": execution.ended.strftime(_ISO) if execution.ended else None,
        "pipelineArn": execution.pipeline.arn,
        "pipelineExecutionArn": execution.arn,
    }
    publish(execution.place, PIPELINE, detail, [execution.pipeline.arn, execution.arn])


def step_changed(execution: Execution, step: StepRecord, before: str) -> None:
    """Tells that a step of an execution has taken on another status."""
    metadata = {
        kind[:1].lower() + kind[1:]: {name[:1].lower() + name[1:]: value for name, value in parts.items()}
        for kind, parts in step.metadata.items()
    }
    detail = {
        "metadata": metadata,
        "stepStartTime": step.started.strftime(_ISO) if step.started else None,
        "stepEndTime": step.ended.strftime(_ISO) if step.ended else None,
        "stepName": step.name,
        "stepType": step.step.type,
        "previousStepStatus": before if before != step.status else None,
        "currentStepStatus": step.status,
        "failureReason": step.failure or None,
        "pipelineArn": execution.pipeline.arn,
        "pipelineExecutionArn": execution.arn,
    }
    publish(execution.place, STEP, detail, [execution.pipeline.arn, execution.arn])


def endpoint_changed(place: Place, endpoint: Endpoint) -> None:
    """Tells that an endpoint has taken on another status; events write it in capitals."""
    with endpoint.lock:
        detail = {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.config_name,
            "EndpointStatus": _CAPITALS[endpoint.status],
            "FailureReason": endpoint.failure or None,
            "CreationTime": _milliseconds(endpoint.created),
            "LastModifiedTime": _milliseconds(endpoint.modified),
            "Tags": dict(endpoint.tags),
        }
    publish(place, ENDPOINT, detail, [endpoint.arn])


def package_changed(place: Place, package: ModelPackage) -> None:
    """Tells that a model package was registered or that its approval has changed."""
    detail = {
        "ModelPackageGroupName": package.group or None,
        "ModelPackageName": package.name,
        "ModelPackageVersion": package.version,
        "ModelPackageArn": package.arn,
        "CreationTime": package.created.strftime(_ISO),
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": package.approval or None,
        "CertifyForMarketplace": False,
        "ModelMetrics": package.described.get("ModelMetrics"),
        "InferenceSpecification": package.described.get("InferenceSpecification"),
        "CustomerMetadataProperties": package.described.get("CustomerMetadataProperties"),
    }
    publish(place, PACKAGE, detail, [package.arn])


def _milliseconds(when: datetime) -> int:
    return int(when.timestamp() * 1000)
