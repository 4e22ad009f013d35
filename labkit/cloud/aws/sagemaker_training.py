"""SageMaker training jobs: created, described, listed, stopped, deleted.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import sagemaker_job_requests as jobs
from labkit.cloud.aws import sagemaker_training_run
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sagemaker_training_run import TRAINING

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Members of the request that the kit does not serve, and what they would do.
_NOT_SERVED = {
    "DebugRuleConfigurations": "debugger rules",
    "ProfilerRuleConfigurations": "profiler rules",
    "TensorBoardOutputConfig": "TensorBoard output",
    "RetryStrategy": "retries of a job after internal errors",
    "InfraCheckConfig": "checks of the instances",
    "SessionChainingConfig": "session chaining",
    "ServerlessJobConfig": "serverless training",
    "MlflowConfig": "MLflow",
    "ModelPackageConfig": "model packages of the training service",
    "ExperimentConfig": "experiments",
}


def create_training_job(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Starts a training job; what is wrong with the request is told at once, what goes wrong later in FailureReason."""
    name, role = parameters["TrainingJobName"], parameters["RoleArn"]
    jobs.refuse_taken(call, TRAINING, name)
    _check(call, parameters)
    storage = jobs.check_common(call, role)
    for channel in parameters.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        jobs.check_data(call, storage, role, source["S3Uri"], source["S3DataType"])
    return {"TrainingJobArn": jobs.create(call, TRAINING, name, parameters, sagemaker_training_run.run)}


def describe_training_job(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    job = jobs.find(call, TRAINING, parameters["TrainingJobName"])
    shown = jobs.described(call, job)
    with job.lock:
        return {
            "EnableNetworkIsolation": False,
            "EnableInterContainerTrafficEncryption": False,
            "EnableManagedSpotTraining": False,
            **shown,
            "SecondaryStatus": job.transitions[-1]["Status"],
            "SecondaryStatusTransitions": [dict(each) for each in job.transitions],
            "TrainingStartTime": job.started,
            "TrainingEndTime": job.ended,
        }


def list_training_jobs(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    for name in ("WarmPoolStatusEquals", "TrainingPlanArnEquals"):
        if name in parameters:
            raise part_of(call, f"the filter {name}")
    shown, token = jobs.listed(call, TRAINING, parameters)
    summaries = [
        {
            "TrainingJobName": each.name,
            "TrainingJobArn": each.arn,
            "CreationTime": each.created,
            "TrainingEndTime": each.ended,
            "LastModifiedTime": each.modified,
            "TrainingJobStatus": each.status,
            "SecondaryStatus": each.transitions[-1]["Status"],
        }
        for each in shown
    ]
    return {"TrainingJobSummaries": summaries, "NextToken": token}


def stop_training_job(call: Call, parameters: dict[str, Any]) -> None:
    jobs.stop(call, TRAINING, parameters["TrainingJobName"])


def delete_training_job(call: Call, parameters: dict[str, Any]) -> None:
    jobs.delete(call, TRAINING, parameters["TrainingJobName"])


def _check(call: Call, parameters: Mapping[str, Any]) -> None:
    for name, what in _NOT_SERVED.items():
        if parameters.get(name):
            raise part_of(call, f"{what} ({name})")
    algorithm = parameters.get("AlgorithmSpecification") or {}
    if "AlgorithmName" in algorithm:
        raise part_of(call, "algorithm resources (AlgorithmName)")
    if "TrainingImage" not in algorithm:
        raise AwsError(
            "ValidationException", "TrainingImage is missing: it names the container image of the algorithm."
        )
    resources = parameters.get("ResourceConfig")
    if resources is None:
        raise AwsError("ValidationException", "ResourceConfig is missing: it names the type and number of instances.")
    if "InstanceGroups" in resources or resources.get("InstanceCount", 1) != 1:
        raise part_of(call, "training on more than one instance (ResourceConfig InstanceCount other than 1)")
    if resources.get("KeepAlivePeriodInSeconds"):
        raise part_of(call, "warm pools (KeepAlivePeriodInSeconds)")
    _check_time(parameters)
    for channel in parameters.get("InputDataConfig", []):
        _check_channel(call, channel, algorithm.get("TrainingInputMode", "File"))
    if not parameters.get("InputDataConfig") and algorithm.get("TrainingInputMode") == "Pipe":
        raise part_of(call, "input mode Pipe")


def _check_time(parameters: Mapping[str, Any]) -> None:
    condition = parameters.get("StoppingCondition") or {}
    longest, wait = condition.get("MaxRuntimeInSeconds", 86400), condition.get("MaxWaitTimeInSeconds")
    if not parameters.get("EnableManagedSpotTraining"):
        if wait is not None:
            message = "MaxWaitTimeInSeconds can only be specified when EnableManagedSpotTraining is set to true"
            raise AwsError("ValidationException", f"Invalid MaxWaitTimeInSeconds. {message}")
    elif wait is None or wait < longest:
        message = "MaxWaitTimeInSeconds above 0 and equal to or above MaxRuntimeInSeconds must be specified for spot"
        raise AwsError("ValidationException", f"Invalid MaxWaitTimeInSeconds. {message}")


def _check_channel(call: Call, channel: Mapping[str, Any], default_mode: str) -> None:
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise part_of(call, f"channels from file systems and datasets (channel {channel['ChannelName']})")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise part_of(call, f"S3DataType {source['S3DataType']} (channel {channel['ChannelName']})")
    if channel.get("InputMode", default_mode) == "Pipe":
        raise part_of(call, f"input mode Pipe (channel {channel['ChannelName']})")
    if channel.get("CompressionType", "None") != "None":
        message = f"CompressionType is for input mode Pipe only; channel {channel['ChannelName']} is not in that mode."
        raise AwsError("ValidationException", message)
    if channel.get("RecordWrapperType", "None") != "None":
        raise part_of(call, f"record wrappers (channel {channel['ChannelName']})")
