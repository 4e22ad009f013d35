"""SageMaker processing jobs: created, described, listed, stopped, deleted.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import sagemaker_job_requests as jobs
from labkit.cloud.aws import sagemaker_processing_run
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sagemaker_jobs import ML
from labkit.cloud.aws.sagemaker_processing_run import PROCESSING

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call


def create_processing_job(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Starts a processing job; what is wrong with the request is told at once, the rest in FailureReason."""
    name, role = parameters["ProcessingJobName"], parameters["RoleArn"]
    jobs.refuse_taken(call, PROCESSING, name)
    _check(call, parameters)
    storage = jobs.check_common(call, role)
    for each in parameters.get("ProcessingInputs", []):
        source = each["S3Input"]
        jobs.check_data(call, storage, role, source["S3Uri"], source["S3DataType"])
    return {"ProcessingJobArn": jobs.create(call, PROCESSING, name, parameters, sagemaker_processing_run.run)}


def describe_processing_job(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    job = jobs.find(call, PROCESSING, parameters["ProcessingJobName"])
    shown = jobs.described(call, job)
    with job.lock:
        return {
            "StoppingCondition": {"MaxRuntimeInSeconds": sagemaker_processing_run.MAX_RUNTIME},
            **shown,
            "ProcessingStartTime": job.started,
            "ProcessingEndTime": job.ended,
        }


def list_processing_jobs(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    shown, token = jobs.listed(call, PROCESSING, parameters)
    summaries = [
        {
            "ProcessingJobName": each.name,
            "ProcessingJobArn": each.arn,
            "CreationTime": each.created,
            "ProcessingEndTime": each.ended,
            "LastModifiedTime": each.modified,
            "ProcessingJobStatus": each.status,
            "FailureReason": each.failure or None,
            "ExitMessage": each.results.get("ExitMessage"),
        }
        for each in shown
    ]
    return {"ProcessingJobSummaries": summaries, "NextToken": token}


def stop_processing_job(call: Call, parameters: dict[str, Any]) -> None:
    jobs.stop(call, PROCESSING, parameters["ProcessingJobName"])


def delete_processing_job(call: Call, parameters: dict[str, Any]) -> None:
    jobs.delete(call, PROCESSING, parameters["ProcessingJobName"])


def _check(call: Call, parameters: Mapping[str, Any]) -> None:
    if parameters.get("ExperimentConfig"):
        raise part_of(call, "experiments (ExperimentConfig)")
    cluster = parameters["ProcessingResources"]["ClusterConfig"]
    if cluster.get("InstanceCount", 1) != 1:
        raise part_of(call, "processing on more than one instance (ClusterConfig InstanceCount other than 1)")
    names: set[str] = set()
    for each in parameters.get("ProcessingInputs", []):
        name, source = each["InputName"], each.get("S3Input")
        _refuse_repeated(names, name, "inputs")
        if source is None:
            raise part_of(call, f"inputs from dataset definitions (input {name})")
        if each.get("AppManaged"):
            raise part_of(call, f"inputs that the application manages (AppManaged of input {name})")
        if source.get("S3InputMode", "File") != "File":
            raise part_of(call, f"input mode Pipe (input {name})")
        if source.get("S3CompressionType", "None") != "None":
            message = f"S3CompressionType Gzip can only be used if Pipe mode is specified (input {name})."
            raise AwsError("ValidationException", message)
        _check_path(name, source.get("LocalPath"))
    names = set()
    for each in (parameters.get("ProcessingOutputConfig") or {}).get("Outputs", []):
        name, target = each["OutputName"], each.get("S3Output")
        _refuse_repeated(names, name, "outputs")
        if target is None:
            raise part_of(call, f"outputs to a feature store (output {name})")
        if each.get("AppManaged"):
            raise part_of(call, f"outputs that the application manages (AppManaged of output {name})")
        if target["S3UploadMode"] != "EndOfJob":
            raise part_of(call, f"S3UploadMode {target['S3UploadMode']} (output {name})")
        _check_path(name, target.get("LocalPath"))


def _refuse_repeated(names: set[str], name: str, what: str) -> None:
    if name in names:
        raise AwsError("ValidationException", f"The names of processing {what} have to be unique: {name} is not.")
    names.add(name)


def _check_path(name: str, path: str | None) -> None:
    if path is None or ".." in path.split("/") or not path.startswith(f"{ML}/processing"):
        message = f"LocalPath of {name} has to be a path below {ML}/processing: {path}."
        raise AwsError("ValidationException", message)
