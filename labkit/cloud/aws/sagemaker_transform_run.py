"""A batch transform job's run: the model's container is started, each object sent through it, the answers kept.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from labkit.cloud.aws import job_channels, service_calls, transform_filters, transform_records
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.job_channels import Item
from labkit.cloud.aws.role_storage import RoleStorage
from labkit.cloud.aws.sagemaker_data import DeploymentFailed
from labkit.cloud.aws.sagemaker_deployment import Wanted, discard, prepare
from labkit.cloud.aws.sagemaker_jobs import SAGEMAKER, JobFailed, JobRecord, JobStopped, Kind
from labkit.cloud.aws.sagemaker_state import Model
from labkit.cloud.engine import serving
from labkit.cloud.engine.errors import CloudError, OfReplica, StartFailed

TRANSFORM = Kind(
    "transform-job",
    "transform job",
    "/aws/sagemaker/TransformJobs",
    "SageMaker Transform Job State Change",
    "TransformJob",
)
#: Where a request does not say: megabytes that it may have, and seconds that it may take.
MAX_PAYLOAD_MB, TIMEOUT = 6, 600
_FAILED = "ClientError: See job logs for more information"


def runner(model: Model) -> Callable[[JobRecord], None]:
    """What does the whole job with a model; see :meth:`JobRecord.start`."""
    return lambda job: _run(job, model)


class _Fleet:
    """The model's container behind a private endpoint, for as long as the job runs."""

    def __init__(self, job: JobRecord, model: Model, log: Callable[[str], None]) -> None:
        given = {
            **model.container.get("Environment", {}),
            **job.request.get("Environment", {}),
            "SAGEMAKER_BATCH": "true",
        }
        container = {**model.container, "Environment": given}
        batch = Model(model.name, model.arn, model.created, {**model.request, "Containers": [container]}, {}, container)
        config = {"VariantName": "AllTraffic", **job.request["TransformResources"]}
        # The processes of all the job's instances run on this machine, which one keeps busy.
        wanted = Wanted(config, batch, 1.0, 1)
        try:
            self._variant, server = prepare(job.place, job.name, wanted, log)
        except DeploymentFailed as error:
            raise JobFailed(f"ClientError: {error.message}") from None
        self._endpoint = serving.Endpoint(job.name, job.place.engine.launcher)
        try:
            self._endpoint.deploy([serving.VariantSpec("AllTraffic", server, 1)])
        except StartFailed:
            self.stop()
            raise JobFailed("AlgorithmError: The primary container did not pass the ping health check.") from None

    def ask(self, headers: dict[str, str], body: bytes, timeout: float) -> serving.Answer:
        return self._endpoint.invoke(headers, body, timeout=timeout)

    def stop(self) -> None:
        self._endpoint.close()
        discard([self._variant])


def _run(job: JobRecord, model: Model) -> None:
    place, created = job.place, int(job.created.timestamp() * 1000)
    stream = f"{job.name}/i-{created:017x}"

    def log(line: str, suffix: str = "") -> None:
        place.engine.logs.write(place.scope, TRANSFORM.log_group, f"{stream}{suffix}", line)

    def data_log(line: str) -> None:
        log(line, "/data-log")

    try:
        key = service_calls.assume(place, model.role, SAGEMAKER, "SageMaker")
    except AwsError as error:
        raise JobFailed(f"ClientError: {error.message}") from None
    storage = RoleStorage(place, key, SAGEMAKER)
    fleet = _Fleet(job, model, log)
    try:
        job.attach(fleet)
        _transform_all(job, storage, fleet, data_log)
    except JobFailed:
        if job.stopping:
            raise JobStopped from None
        raise
    finally:
        fleet.stop()
    job.end("Completed")


def _transform_all(job: JobRecord, storage: RoleStorage, fleet: _Fleet, data_log: Callable[[str], None]) -> None:
    request = job.request
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    strategy = request.get("BatchStrategy", "MultiRecord")
    most = request.get("MaxPayloadInMB", MAX_PAYLOAD_MB)
    names = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
    data_log(
        f"sagemaker logs: MaxConcurrentTransforms={request.get('MaxConcurrentTransforms') or 1}, "
        f"MaxPayloadInMB={most}, BatchStrategy={names[strategy]}"
    )
    try:
        found = job_channels.items(storage, source["S3Uri"], source["S3DataType"])
    except AwsError as error:
        raise JobFailed(f"ClientError: Data download failed:{error.code} ({error.status}): {error.message}") from None
    with ThreadPoolExecutor(request.get("MaxConcurrentTransforms") or 1) as pool:
        list(pool.map(lambda item: _transform(job, storage, fleet, item, data_log), found))


def _transform(
    job: JobRecord, storage: RoleStorage, fleet: _Fleet, item: Item, data_log: Callable[[str], None]
) -> None:
    request, target = job.request, job.request["TransformOutput"]
    given: dict[str, Any] = request["TransformInput"]
    if job.stopping:
        raise JobStopped
    content = _content(storage, item, given.get("CompressionType", "None"))
    headers = {"content-type": given.get("ContentType", "application/octet-stream")}
    headers |= {"accept": target["Accept"]} if "Accept" in target else {}
    client = request.get("ModelClientConfig", {})
    timeout = float(client.get("InvocationsTimeoutInSeconds", TIMEOUT))
    form = transform_filters.FORMATS.get(headers["content-type"], transform_filters.CSV)
    processing = transform_filters.Processing(request.get("DataProcessing", {}), form)
    name, answers = f"{item.bucket}/{item.key}", []
    try:
        for records in transform_records.requests(
            content,
            given.get("SplitType", "None"),
            request.get("BatchStrategy", "MultiRecord"),
            request.get("MaxPayloadInMB", MAX_PAYLOAD_MB),
        ):
            answer = fleet.ask(headers, b"".join(map(processing.before, records)), timeout)
            if answer.status >= 400:
                data_log(f"{name}: Bad HTTP status received from algorithm: {answer.status}")
                data_log(f"{name}: Message: {answer.body[:1000].decode(errors='replace')}")
                raise JobFailed(_FAILED)
            answers.append(processing.after(records, answer.body))
    except transform_filters.FilterError as error:
        data_log(f"{name}: {error}")
        raise JobFailed(_FAILED) from None
    except transform_records.TooLarge:
        data_log(f"{name}: Too much data for max payload size")
        raise JobFailed(_FAILED) from None
    except (OfReplica, CloudError) as error:
        data_log(f"{name}: {error.message}")
        raise JobFailed(_FAILED if not job.stopping else "") from None
    url = f"{target['S3OutputPath'].rstrip('/')}/{item.path}.out"
    job_channels.put(storage, url, transform_records.assembled(answers, target.get("AssembleWith", "None")))


def _content(storage: RoleStorage, item: Item, compression: str) -> bytes:
    try:
        data = storage.read(item.bucket, item.key)
        return gzip.decompress(data) if compression == "Gzip" else data
    except AwsError as error:
        raise JobFailed(f"ClientError: Data download failed:{error.code} ({error.status}): {error.message}") from None
    except OSError:
        raise JobFailed(f"ClientError: s3://{item.bucket}/{item.key} is not compressed with {compression}.") from None
