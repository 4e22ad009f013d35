"""SageMaker batch transform jobs: created, described, listed, stopped.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import sagemaker_job_requests as jobs
from labkit.cloud.aws import sagemaker_transform_run
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sagemaker_state import State, get
from labkit.cloud.aws.sagemaker_transform_run import TRANSFORM
from labkit.cloud.aws.transform_filters import FORMATS, FilterError, Processing

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Members of the request that the kit does not serve, and what they would do.
_NOT_SERVED = {
    "DataCaptureConfig": "data capture",
    "ExperimentConfig": "experiments",
}


def create_transform_job(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Starts a job that sends the objects of a prefix through a model."""
    name = parameters["TransformJobName"]
    jobs.refuse_taken(call, TRANSFORM, name)
    _check(call, parameters)
    model = get(call, call.store(State).models, "model", parameters["ModelName"])
    storage = jobs.check_common(call, model.role)
    source = parameters["TransformInput"]["DataSource"]["S3DataSource"]
    jobs.check_data(call, storage, model.role, source["S3Uri"], source["S3DataType"])
    run = sagemaker_transform_run.runner(model)
    return {"TransformJobArn": jobs.create(call, TRANSFORM, name, parameters, run, role=model.role)}


def describe_transform_job(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    job = jobs.find(call, TRANSFORM, parameters["TransformJobName"])
    shown = jobs.described(call, job)
    with job.lock:
        return {
            **shown,
            "DataProcessing": {
                "InputFilter": "$",
                "OutputFilter": "$",
                "JoinSource": "None",
                **shown.get("DataProcessing", {}),
            },
            "TransformStartTime": job.started,
            "TransformEndTime": job.ended,
        }


def list_transform_jobs(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    shown, token = jobs.listed(call, TRANSFORM, parameters)
    summaries = [
        {
            "TransformJobName": each.name,
            "TransformJobArn": each.arn,
            "CreationTime": each.created,
            "TransformEndTime": each.ended,
            "LastModifiedTime": each.modified,
            "TransformJobStatus": each.status,
            "FailureReason": each.failure or None,
        }
        for each in shown
    ]
    return {"TransformJobSummaries": summaries, "NextToken": token}


def stop_transform_job(call: Call, parameters: dict[str, Any]) -> None:
    jobs.stop(call, TRANSFORM, parameters["TransformJobName"])


def _check(call: Call, parameters: Mapping[str, Any]) -> None:
    for name, what in _NOT_SERVED.items():
        if parameters.get(name):
            raise part_of(call, f"{what} ({name})")
    source, target = parameters["TransformInput"], parameters["TransformOutput"]
    if "S3DataSource" not in source["DataSource"]:
        raise AwsError("ValidationException", "S3DataSource is missing: it names the objects to transform.")
    if source["DataSource"]["S3DataSource"]["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise part_of(call, "S3DataType AugmentedManifestFile")
    split = source.get("SplitType", "None")
    if split not in ("None", "Line"):
        raise part_of(call, f"SplitType {split}")
    if split == "None" and parameters.get("BatchStrategy") == "SingleRecord":
        message = "BatchStrategy SingleRecord needs SplitType Line: without it an object is one record."
        raise AwsError("ValidationException", message)
    if parameters.get("DataProcessing"):
        _check_processing(call, parameters)
    if not target["S3OutputPath"].startswith("s3://"):
        raise AwsError("ValidationException", f"S3OutputPath {target['S3OutputPath']} is no location in S3.")


def _check_processing(call: Call, parameters: Mapping[str, Any]) -> None:
    """Raises :class:`AwsError` for filters and joins that cannot be done with the job's records."""
    source, target = parameters["TransformInput"], parameters["TransformOutput"]
    form = FORMATS.get(source.get("ContentType", ""))
    if form is None:
        message = "DataProcessing needs records in CSV or JSON: set ContentType to text/csv or application/jsonlines."
        raise AwsError("ValidationException", message)
    try:
        processing = Processing(parameters["DataProcessing"], form)
    except FilterError as error:
        raise AwsError("ValidationException", str(error)) from None
    if source.get("SplitType", "None") != "Line":
        raise part_of(call, "DataProcessing of objects that are not split into lines (SplitType other than Line)")
    if processing.by_record and FORMATS.get(target.get("Accept", source["ContentType"])) != form:
        raise part_of(call, "joins and output filters where Accept is of another format than ContentType")
