"""A processing job's run: inputs in, the container's command, outputs out.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from labkit.cloud.aws import job_channels
from labkit.cloud.aws.sagemaker_jobs import (
    LONGEST_REASON,
    ML,
    STOP_GRACE,
    JobFailed,
    JobRecord,
    JobStopped,
    Kind,
    Workplace,
    check_image,
    workplace,
)
from labkit.cloud.engine.jobs import JobSpec

PROCESSING = Kind(
    "processing-job",
    "processing job",
    "/aws/sagemaker/ProcessingJobs",
    "SageMaker Processing Job State Change",
    "ProcessingJob",
)
#: Seconds that a job may run where its StoppingCondition does not say.
MAX_RUNTIME = 86400
_FOLDERS = ("config", "input/config", "processing", "output")


def run(job: JobRecord) -> None:
    """Does the whole job; see :meth:`JobRecord.start`."""
    check_image(job.request["AppSpecification"]["ImageUri"], job.place.region)
    place = workplace(job)
    try:
        _run(job, place)
    finally:
        place.close()


def _run(job: JobRecord, place: Workplace) -> None:
    for folder in _FOLDERS:
        (place.ml / folder).mkdir(parents=True, exist_ok=True)
    for each in job.request.get("ProcessingInputs", []):
        if job.stopping:
            raise JobStopped
        source = each["S3Input"]
        target = place.seen_at(source["LocalPath"])
        target.mkdir(parents=True, exist_ok=True)
        job_channels.download(place.storage, source["S3Uri"], target, source["S3DataType"])
    outputs = (job.request.get("ProcessingOutputConfig") or {}).get("Outputs", [])
    for each in outputs:
        place.seen_at(each["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
    _configure(job, place)
    created = int(job.created.timestamp() * 1000)
    process = job.run_process(
        JobSpec(
            name=job.name,
            command=_command(job.request["AppSpecification"]),
            env=_environment(job, place),
            folder=place.scratch,
            output=place.log(f"{job.name}/algo-1-{created}"),
            mounts={ML: place.ml},
            timeout=float(job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", MAX_RUNTIME)),
            stop_grace=STOP_GRACE,
        )
    )
    message = place.ml / "output" / "message"
    if message.is_file():
        job.results["ExitMessage"] = message.read_text(errors="replace")[:LONGEST_REASON]
    for each in outputs:
        output = each["S3Output"]
        job_channels.upload(place.storage, place.seen_at(output["LocalPath"]), output["S3Uri"])
    if process.state == "Failed":
        raise JobFailed("AlgorithmError: See job logs for more information")
    if process.state == "Succeeded":
        job.end("Completed")
    else:
        job.end("Stopped")


def _command(application: Mapping[str, Any]) -> list[str]:
    entrypoint = application.get("ContainerEntrypoint")
    if not entrypoint:
        raise JobFailed(
            "AlgorithmError: The scikit-learn image has no entry point of its own for processing: give a "
            "ContainerEntrypoint, exit code: 1"
        )
    return [*entrypoint, *application.get("ContainerArguments", [])]


def _configure(job: JobRecord, place: Workplace) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html#byoc-config"""
    cluster = job.request["ProcessingResources"]["ClusterConfig"]
    kind = cluster.get("InstanceType", "")
    files: dict[str, Any] = {
        "processingjobconfig.json": {
            "ProcessingJobArn": job.arn,
            **{name: value for name, value in job.request.items() if name != "Tags"},
        },
        "resourceconfig.json": {
            "current_host": "algo-1",
            "hosts": ["algo-1"],
            "current_instance_type": kind,
            "network_interface_name": "eth0",
        },
    }
    for name, content in files.items():
        (place.ml / "config" / name).write_text(json.dumps(content, default=str))


def _environment(job: JobRecord, place: Workplace) -> dict[str, str]:
    given = {
        "PROCESSING_JOB_NAME": job.name,
        "PROCESSING_JOB_ARN": job.arn,
        **job.request.get("Environment", {}),
    }
    isolated = bool(job.request.get("NetworkConfig", {}).get("EnableNetworkIsolation"))
    return place.environment(given, isolated=isolated)
