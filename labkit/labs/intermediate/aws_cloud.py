"""Reads what the lab ``intermediate/aws`` leaves in the account: the pipeline's definition, its runs, the registry."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from labkit.labs.beginner.aws_checks import account, client, code, everything, region

PIPELINE = SCHEDULE = "churn-monthly"
GROUP = "churn"
ROLE, SCHEDULE_ROLE = "churn-pipeline", "churn-pipeline-schedule"
ENDPOINT = "churn-champion"
THRESHOLD = "AucThreshold"
#: Where the AUC is in the evaluation's file.
AUC_PATH = "binary_classification_metrics.auc.value"


def bucket() -> str:
    return f"churn-pipeline-{account()}-{region()}"


def months() -> str:
    """Where the monthly runs find their data."""
    return f"s3://{bucket()}/months/"


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{account()}:role/{name}"


def sagemaker_arn(resource: str) -> str:
    return f"arn:aws:sagemaker:{region()}:{account()}:{resource}"


def read_json(url: str) -> Any:
    """A JSON object in S3; ``ValueError`` when it is no JSON, the client's error when it is not there."""
    return json.loads(read(url))


def read(url: str) -> bytes:
    name, _, key = url.removeprefix("s3://").partition("/")
    body: bytes = client("s3").get_object(Bucket=name, Key=key)["Body"].read()
    return body


# -- the pipeline --------------------------------------------------------------------------------------------------


def pipeline() -> dict[str, Any] | None:
    """The pipeline's description; None when there is none."""
    try:
        described: dict[str, Any] = client("sagemaker").describe_pipeline(PipelineName=PIPELINE)
    except ClientError as error:
        if code(error) != "ResourceNotFound":
            raise
        return None
    return described


@dataclass(frozen=True)
class Placed:
    """A step of a definition, with the condition steps around it: each with whether it is in the branch for *true*."""

    step: Mapping[str, Any]
    guards: tuple[tuple[Mapping[str, Any], bool], ...] = ()


def placed(steps: list[Mapping[str, Any]], guards: tuple[tuple[Mapping[str, Any], bool], ...] = ()) -> Iterator[Placed]:
    """Every step, also those in the branches of condition steps."""
    for step in steps:
        yield Placed(step, guards)
        if step.get("Type") == "Condition":
            for branch, taken in (("IfSteps", True), ("ElseSteps", False)):
                yield from placed(step["Arguments"].get(branch) or [], (*guards, (step, taken)))


# -- runs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One execution of the pipeline. What is asked of it is asked once."""

    arn: str
    name: str
    status: str

    @cached_property
    def parameters(self) -> dict[str, str]:
        listed = client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=self.arn)
        return {each["Name"]: each["Value"] for each in listed["PipelineParameters"]}

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """Its steps in the order in which they started; those that did not run are not among them."""
        which = {"PipelineExecutionArn": self.arn, "SortOrder": "Ascending"}
        return everything("sagemaker", "list_pipeline_execution_steps", "PipelineExecutionSteps", **which)

    @property
    def failed_step(self) -> dict[str, Any] | None:
        return next((each for each in self.steps if each["StepStatus"] == "Failed"), None)

    @property
    def registered(self) -> list[str]:
        """ARNs of the versions that it registered."""
        return [made["Arn"] for each in self.steps if (made := each.get("Metadata", {}).get("RegisterModel"))]

    @property
    def refused(self) -> bool:
        """Whether a condition in it was false and it ended at a fail step."""
        last = self.failed_step
        outcomes = [each.get("Metadata", {}).get("Condition", {}).get("Outcome") for each in self.steps]
        return last is not None and "Fail" in last.get("Metadata", {}) and "False" in outcomes

    @property
    def ended(self) -> str:
        """How it ended, as a phrase that follows "that"."""
        step = self.failed_step
        if self.status == "Failed" and step is not None:
            return f"failed in the step {step['StepName']} ({str(step.get('FailureReason', '')).rstrip('.')})"
        return {"Executing": "is still Executing", "Succeeded": "Succeeded"}.get(self.status, f"is {self.status}")


def runs() -> list[Run]:
    """The pipeline's executions, the latest first."""
    try:
        found = everything("sagemaker", "list_pipeline_executions", "PipelineExecutionSummaries", PipelineName=PIPELINE)
    except ClientError as error:
        if code(error) != "ResourceNotFound":
            raise
        return []
    return [
        Run(each["PipelineExecutionArn"], each["PipelineExecutionDisplayName"], each["PipelineExecutionStatus"])
        for each in found
    ]


def job_of(step: Mapping[str, Any]) -> tuple[str, str] | None:
    """The log group and the job's name of a step that ran a job.

    The ARN in the step's metadata is in lower case; log streams begin with the name as it was given.
    """
    for kind, describe in (("ProcessingJob", "describe_processing_job"), ("TrainingJob", "describe_training_job")):
        if kind in step.get("Metadata", {}):
            name = step["Metadata"][kind]["Arn"].rpartition("/")[2]
            described = getattr(client("sagemaker"), describe)(**{f"{kind}Name": name})
            return f"/aws/sagemaker/{kind}s", str(described[f"{kind}Name"])
    return None


def log_lines(group: str, job: str) -> list[str]:
    """What a job wrote."""
    found = everything("logs", "filter_log_events", "events", logGroupName=group, logStreamNamePrefix=f"{job}/")
    return [line for event in found for line in str(event["message"]).splitlines() if line.strip()]


# -- the registry --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Version:
    """A version in the registry; ``described`` is what DescribeModelPackage answers."""

    described: Mapping[str, Any]

    @property
    def arn(self) -> str:
        return str(self.described["ModelPackageArn"])

    @property
    def number(self) -> int:
        return int(self.described["ModelPackageVersion"])

    @property
    def metrics(self) -> str:
        """The address of its metrics; "" when it has none."""
        quality = self.described.get("ModelMetrics", {}).get("ModelQuality", {})
        return str(quality.get("Statistics", {}).get("S3Uri", ""))

    @property
    def auc(self) -> float | None:
        """The AUC in its metrics; None when there is none to be read."""
        try:
            found: Any = read_json(self.metrics)
            for name in AUC_PATH.split("."):
                found = found[name]
            return float(found)
        except (ClientError, ValueError, KeyError, TypeError):
            return None

    def model(self) -> bytes:
        """The model that lies in its archive, as bytes; ``KeyError`` when none does."""
        container = self.described["InferenceSpecification"]["Containers"][0]
        with tarfile.open(fileobj=io.BytesIO(read(container["ModelDataUrl"]))) as archive:
            file = archive.extractfile("churn.joblib")
            if file is None:
                raise KeyError("churn.joblib")
            return file.read()


def versions() -> list[Version]:
    """The versions of the lab's group, the latest first; none when there is no such group."""
    sagemaker = client("sagemaker")
    groups = everything("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList", NameContains=GROUP)
    if GROUP not in [each["ModelPackageGroupName"] for each in groups]:
        return []
    found = everything("sagemaker", "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=GROUP)
    return [Version(sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"])) for each in found]
