"""A training job's run: instance, data, container, artifacts, with the statuses that SageMaker goes through.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

from __future__ import annotations

import json
import math
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labkit.cloud.aws import job_channels, training_spot, training_toolkit
from labkit.cloud.aws.sagemaker_jobs import (
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
from labkit.cloud.aws.training_checkpoints import Checkpoints
from labkit.cloud.engine.jobs import Job as Process
from labkit.cloud.engine.jobs import JobSpec

TRAINING = Kind(
    "training-job",
    "training job",
    "/aws/sagemaker/TrainingJobs",
    "SageMaker Training Job State Change",
    "TrainingJob",
)
#: Seconds that a job may run where its StoppingCondition does not say.
MAX_RUNTIME = 86400
_FOLDERS = ("input/config", "input/data", "model", "output/data", "code")


def run(job: JobRecord) -> None:
    """Does the whole job; see :meth:`JobRecord.start`."""
    check_image(job.request["AlgorithmSpecification"]["TrainingImage"], job.place.region)
    job.change("InProgress", "Starting", "Preparing the instances for training")
    place = workplace(job)
    try:
        _run(job, place)
    finally:
        place.close()


def _run(job: JobRecord, place: Workplace) -> None:
    checkpoints = Checkpoints(job, place)
    _lay_out(place)
    _download(job, place)
    checkpoints.restore()
    _configure(job, place.ml / "input" / "config")
    created = int(job.created.timestamp() * 1000)
    metrics = _Metrics(job, place.log(f"{job.name}/algo-1-{created}"))
    container = training_toolkit.prepare(job, place)
    job.change("InProgress", "Training", "Training image download completed. Training in progress.")
    spec = JobSpec(
        name=job.name,
        command=container.command,
        env=_environment(job, place, container.env),
        folder=container.folder,
        output=metrics.line,
        mounts={ML: place.ml, **checkpoints.mounts},
        timeout=float(job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", MAX_RUNTIME)),
        stop_grace=STOP_GRACE,
        requirements=container.requirements,
    )
    if job.request.get("EnableManagedSpotTraining"):

        def renew() -> None:
            checkpoints.save()
            for folder in ("model", "output"):
                shutil.rmtree(place.ml / folder)
            _lay_out(place)
            checkpoints.renew()

        outcome = training_spot.run(job, spec, renew)
        process, state = outcome.job, str(outcome.state)
        seconds, billable = outcome.seconds, outcome.billable_seconds
    else:
        process = job.run_process(spec, checkpoints.save)
        state, seconds, billable = process.state, process.seconds, process.seconds
    checkpoints.save()
    with job.lock:
        job.results["TrainingTimeInSeconds"] = max(1, math.ceil(seconds))
        job.results["BillableTimeInSeconds"] = max(1, math.ceil(billable))
    _finish(job, place, process, state, container, metrics)


def _lay_out(place: Workplace) -> None:
    for folder in _FOLDERS:
        (place.ml / folder).mkdir(parents=True, exist_ok=True)


def _finish(
    job: JobRecord,
    place: Workplace,
    process: Process,
    state: str,
    container: training_toolkit.Container,
    metrics: _Metrics,
) -> None:
    with job.lock:
        if metrics.final:
            job.results["FinalMetricDataList"] = list(metrics.final.values())
    status = "Stopping" if state == "Stopped" else "InProgress"
    job.change(status, "Uploading", "Uploading generated training model")
    output = f"{job.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output"
    _upload_archive(place, place.ml / "output" / "data", f"{output}/output.tar.gz")
    if state == "Failed":
        raise JobFailed(container.failure(process, place.ml / "output" / "failure"))
    _upload_model(job, place, output)
    if state == "Stopped":
        job.end("Stopped", "", "Stopped", "Training job stopped")
    elif state == "TimedOut":
        job.end("Stopped", "", "MaxRuntimeExceeded", "Training job runtime exceeded MaxRuntimeInSeconds provided")
    elif state == "WaitedTooLong":
        job.end("Stopped", "", "MaxWaitTimeExceeded", "Training job wait time exceeded MaxWaitTimeInSeconds provided")
    else:
        job.end("Completed", "", "Completed", "Training job completed")


def _download(job: JobRecord, place: Workplace) -> None:
    channels = job.request.get("InputDataConfig", [])
    if channels:
        job.change("InProgress", "Downloading", "Downloading input data")
    for channel in channels:
        if job.stopping:
            raise JobStopped
        source = channel["DataSource"]["S3DataSource"]
        folder = place.ml / "input" / "data" / channel["ChannelName"]
        folder.mkdir(parents=True)
        job_channels.download(place.storage, source["S3Uri"], folder, source["S3DataType"])


def _configure(job: JobRecord, folder: Path) -> None:
    """The files that say how the job was made; all hyperparameters are strings, as SageMaker writes them."""
    resources = job.request["ResourceConfig"]
    host, kind = "algo-1", resources.get("InstanceType", "")
    default_mode = job.request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    files: dict[str, Any] = {
        "hyperparameters.json": dict(job.request.get("HyperParameters", {})),
        "resourceconfig.json": {
            "current_host": host,
            "current_instance_type": kind,
            "current_group_name": "homogeneousCluster",
            "hosts": [host],
            "instance_groups": [{"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": [host]}],
            "network_interface_name": "eth0",
        },
        "inputdataconfig.json": {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get("InputMode", default_mode),
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                    "S3DataDistributionType", "FullyReplicated"
                ),
                "RecordWrapperType": "None",
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in job.request.get("InputDataConfig", [])
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def _environment(job: JobRecord, place: Workplace, of_container: Mapping[str, str]) -> dict[str, str]:
    given = {
        "TRAINING_JOB_NAME": job.name,
        "TRAINING_JOB_ARN": job.arn,
        "SM_RESOURCE_CONFIG_FILE": f"{ML}/input/config/resourceconfig.json",
        **of_container,
        **job.request.get("Environment", {}),
    }
    isolated = bool(job.request.get("EnableNetworkIsolation"))
    return place.environment(given, isolated=isolated)


def _upload_model(job: JobRecord, place: Workplace, output: str) -> None:
    model = place.ml / "model"
    if job.request["OutputDataConfig"].get("CompressionType", "GZIP") == "NONE":
        url = f"{output}/model/"
        job_channels.upload(place.storage, model, url)
    else:
        url = f"{output}/model.tar.gz"
        _upload_archive(place, model, url)
    with job.lock:
        job.results["ModelArtifacts"] = {"S3ModelArtifacts": url}


def _upload_archive(place: Workplace, folder: Path, url: str) -> None:
    if (packed := job_channels.archive(folder)) is not None:
        job_channels.put(place.storage, url, packed)


class _Metrics:
    """The job's output on its way to the log, and the metrics that MetricDefinitions find in it."""

    def __init__(self, job: JobRecord, log: Callable[[str], None]) -> None:
        self._job = job
        self._log = log
        self._lock = threading.Lock()
        self.final: dict[str, dict[str, Any]] = {}
        definitions = job.request["AlgorithmSpecification"].get("MetricDefinitions", [])
        self._patterns = [(each["Name"], re.compile(each["Regex"])) for each in definitions]

    def line(self, line: str) -> None:
        self._log(line)
        for name, pattern in self._patterns:
            for found in pattern.finditer(line):
                try:
                    value = float(found[1])
                except (IndexError, TypeError, ValueError):
                    continue
                self._note(name, value)

    def _note(self, name: str, value: float) -> None:
        place = self._job.place
        with self._lock:
            self.final[name] = {"MetricName": name, "Value": value, "Timestamp": place.engine.clock.now()}
        place.engine.metrics.put(
            place.scope, "/aws/sagemaker/TrainingJobs", name, {"TrainingJobName": self._job.name}, value
        )
