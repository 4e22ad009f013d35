"""A batch prediction job while it runs: a model's container is started, asked for every instance, and stopped.

https://cloud.google.com/vertex-ai/docs/predictions/get-batch-predictions
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.errors import CloudError, Denied, StartFailed
from labkit.cloud.gcp import batch_instances, log_store, permissions, vertex_deployment, vertex_names
from labkit.cloud.gcp.errors import CODES
from labkit.cloud.gcp.gcs_folder import GcsFolder
from labkit.cloud.gcp.vertex_hosting import DeployedModel, Endpoint
from labkit.cloud.gcp.vertex_jobs import JobRun
from labkit.cloud.gcp.vertex_names import stamp, v1
from labkit.cloud.gcp.vertex_telemetry import CONTAINER_LOG

if TYPE_CHECKING:
    from labkit.cloud.engine.serving import Answer
    from labkit.cloud.gcp.front import Call
    from labkit.cloud.gcp.vertex_registry import Model, Version

#: Instances that are sent in one request where the job does not say.
BATCH = 64
#: Seconds that the container may take for one request.
TIME_LIMIT = 600.0
_JSON = {"content-type": "application/json", "accept": "application/json"}

Batch = Sequence[Any]


class BatchPredictionRun(JobRun):
    """One job. ``message`` is its ``BatchPredictionJob``, with every field that was left out filled in."""

    def __init__(self, call: Call, message: Any, model: Model, version: Version) -> None:
        super().__init__(message)
        self.ended = threading.Event()
        self._call, self._clock = call, call.engine.clock
        self._account = message.service_account or vertex_names.service_agent(call)
        self._folder = call.engine.folder / "vertex-ai" / "batch" / self.id
        self._cancelled = threading.Event()
        self._model, self._version = model, version
        now = self._clock.now()
        stamp(message, create_time=now, update_time=now)
        message.state = v1.JobState.Value("JOB_STATE_PENDING")

    @property
    def further(self) -> dict[str, str]:
        return {"model_display_name": self._version.display_name}

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"batch-prediction-{self.id}", daemon=True).start()

    def cancel(self) -> None:
        """Asks for the end of it; what was sent to the container already is answered."""
        with self._changed:
            if self.ended.is_set():
                return
            self._enter("JOB_STATE_CANCELLING")
        self._cancelled.set()

    def _run(self) -> None:
        with self._changed:
            if not self._cancelled.is_set():
                self._enter("JOB_STATE_RUNNING")
                stamp(self.message, start_time=self._clock.now())
        failure = ""
        try:
            failure = self._predict()
        except Denied as denied:
            failure = denied.message
        except StartFailed as error:
            last = next((line for line in reversed(error.log_tail.splitlines()) if line.strip()), "")
            failure = f"Model server never became ready. The last line of its log: {last}"
        except (CloudError, OSError) as error:
            failure = str(error)
        except Exception as error:
            failure = self._call.cloud.defect(self._call.method.dotted, error).message
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._end(failure)

    def _predict(self) -> str:
        """Does the job; returns why it failed as a whole, or ``""``."""
        gcs = GcsFolder(self._call.cloud.buckets, self._folder, self._authorize)
        instances = list(self._instances(gcs))
        with self._changed:
            self.message.completion_stats.incomplete_count = len(instances)
        size = self.message.manual_batch_tuning_parameters.batch_size or BATCH
        batches = [instances[at : at + size] for at in range(0, len(instances), size)]
        predicted: list[tuple[Any, Any]] = []
        failed: list[tuple[Any, str]] = []
        endpoint, deployed = self._serve()
        try:
            with ThreadPoolExecutor(deployed.replicas) as pool:
                answers = pool.map(lambda each: self._ask(endpoint, deployed, each), batches)
                for batch, answer in zip(batches, answers, strict=True):
                    if isinstance(answer, list):
                        predicted += zip(batch, answer, strict=True)
                    elif answer:
                        failed += [(each, answer) for each in batch]
                    self._count(len(predicted), len(failed), len(instances))
        finally:
            endpoint.close()
        if self._cancelled.is_set():
            return ""
        self._write(gcs, predicted, failed)
        if failed and not predicted:
            return f"No instance could be predicted. The error of the last one: {failed[-1][1]}"
        return ""

    def _instances(self, gcs: GcsFolder) -> Iterator[Any]:
        source = self.message.input_config
        read = batch_instances.READERS[source.instances_format]
        for uri in source.gcs_source.uris:
            names = self._names(uri)
            if not names:
                raise CloudError(f"No file was found for the Cloud Storage path {uri}.")
            for name in names:
                gcs.fetch(name)
                try:
                    text = gcs.path(name).read_text(encoding="utf-8-sig")
                except (UnicodeDecodeError, FileNotFoundError):
                    raise CloudError(f"{name} cannot be read as text.") from None
                yield from read(text, name)

    def _names(self, uri: str) -> list[str]:
        """The objects that a URI means, which may have wildcards."""
        bucket, _, pattern = uri.removeprefix("gs://").partition("/")
        prefix = pattern.partition("*")[0]
        lacking = self._call.cloud.iam.missing(self._account, ("storage.objects.list",), f"projects/_/buckets/{bucket}")
        if lacking:
            raise CloudError(permissions.of_account(self._account, lacking, f'bucket "{bucket}"'))
        names = self._call.cloud.buckets.names(bucket, prefix)
        return [f"gs://{bucket}/{name}" for name in names if fnmatch.fnmatchcase(name, pattern)]

    def _serve(self) -> tuple[Endpoint, DeployedModel]:
        """The model's container, behind an endpoint that nobody else knows."""
        call, asked = self._call, self.message.dedicated_resources
        deployed = v1.DeployedModel(id=self.id, disable_container_logging=self.message.disable_container_logging)
        deployed.service_account = self.message.service_account
        deployed.dedicated_resources.machine_spec.CopyFrom(asked.machine_spec)
        deployed.dedicated_resources.min_replica_count = asked.starting_replica_count
        endpoint = Endpoint(self.name, v1.Endpoint(), self._clock, call.engine.launcher)
        fresh = DeployedModel(self.id, self._model, self._version, deployed, vertex_deployment.new_folder(call))
        try:
            server = vertex_deployment.server(call, endpoint, fresh)
            endpoint.deploy(fresh, dataclasses.replace(server, output=self._line), {self.id: 100})
        except BaseException:
            endpoint.close()
            fresh.release()
            raise
        return endpoint, fresh

    def _ask(self, endpoint: Endpoint, deployed: DeployedModel, batch: Batch) -> list[Any] | str:
        """The container's predictions for a batch, or why there are none; ``""`` where the job is cancelled."""
        if self._cancelled.is_set():
            return ""
        body: dict[str, Any] = {"instances": batch}
        if self.message.HasField("model_parameters"):
            from google.protobuf.json_format import MessageToDict

            body["parameters"] = MessageToDict(self.message.model_parameters)
        try:
            answer = endpoint.serving.invoke(_JSON, json.dumps(body).encode(), variant=deployed.id, timeout=TIME_LIMIT)
        except CloudError as error:
            return f"The model server failed: {error.message}"
        return _predictions(answer, len(batch))

    def _write(self, gcs: GcsFolder, predicted: list[tuple[Any, Any]], failed: list[tuple[Any, str]]) -> None:
        created = re.sub(r"[-:.]", "_", self.message.create_time.ToDatetime().isoformat(timespec="milliseconds"))
        root = self.message.output_config.gcs_destination.output_uri_prefix.rstrip("/")
        directory = f"{root}/prediction-{self._version.display_name}-{created}Z"
        texts = {
            batch_instances.RESULTS: batch_instances.results(predicted),
            batch_instances.ERRORS: batch_instances.errors(failed, CODES["FAILED_PRECONDITION"][0]),
        }
        for name, text in texts.items():
            file = gcs.path(f"{directory}/{name}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        gcs.store()
        with self._changed:
            self.message.output_info.gcs_output_directory = directory

    def _authorize(self, permission: str, resource: str) -> None:
        if lacking := self._call.cloud.iam.missing(self._account, (permission,), resource):
            bucket = resource.split("/")[3]
            raise CloudError(permissions.of_account(self._account, lacking, f'bucket "{bucket}"'))

    def _count(self, predicted: int, failed: int, all_of_them: int) -> None:
        with self._changed:
            stats = self.message.completion_stats
            stats.successful_count, stats.failed_count = predicted, failed
            stats.incomplete_count = all_of_them - predicted - failed

    def _line(self, replica: str, line: str) -> None:
        """Keeps what the container printed."""
        if self.message.disable_container_logging:
            return
        labels = {"job_id": self.id, "project_id": self._call.project.id, "task_name": replica}
        entry = {"resource": {"type": "ml_job", "labels": labels}, "severity": "INFO", "jsonPayload": {"message": line}}
        log_store.write(self._call.engine, self._call.scope, CONTAINER_LOG, entry)

    def _end(self, failure: str) -> None:
        with self._changed:
            if self._cancelled.is_set():
                state, code, why = "JOB_STATE_CANCELLED", "CANCELLED", "The job was cancelled."
            elif failure:
                state, code, why = "JOB_STATE_FAILED", "FAILED_PRECONDITION", failure
            else:
                state, code, why = "JOB_STATE_SUCCEEDED", "", ""
            if why:
                self.message.error.code, self.message.error.message = CODES[code][0], why
            now = self._clock.now()
            if self.message.HasField("start_time"):
                hours = (now - self.message.start_time.ToDatetime(tzinfo=UTC)).total_seconds() / 3600
                replicas = self.message.dedicated_resources.starting_replica_count
                self.message.resources_consumed.replica_hours = hours * replicas
            stamp(self.message, end_time=now)
            self._enter(state)
            self.ended.set()

    def _enter(self, state: str) -> None:
        self.message.state = v1.JobState.Value(state)
        self._news(self._clock.now())


def _predictions(answer: Answer, count: int) -> list[Any] | str:
    """What a container answered for so many instances, or what is wrong with it."""
    said = answer.body.decode("utf-8", "replace").strip()
    if answer.status >= 400:
        return said
    try:
        found = json.loads(said)["predictions"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list) or len(found) != count:
        return f"The model's answer has no list of {count} 'predictions'."
    return found
