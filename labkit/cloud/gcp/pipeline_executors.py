"""What does a pipeline's tasks: containers, run as custom jobs, and importers; and the cache of what they made."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import pipeline_task
from labkit.cloud.gcp.gcs_folder import GcsFolder
from labkit.cloud.gcp.pipeline_progress import Progress
from labkit.cloud.gcp.pipeline_records import Records
from labkit.cloud.gcp.pipeline_spec import Component, Pipeline, Task
from labkit.cloud.gcp.pipeline_values import Artifact, Values, filled, text
from labkit.cloud.gcp.training_worker import Worker, Workload
from labkit.cloud.gcp.vertex_names import new_id

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud
    from labkit.cloud.gcp.projects import Project

#: Real seconds between two attempts at most: a lab does not wait for an hour.
LONGEST_BACKOFF = 5.0


class TaskFailed(Exception):
    """A task that failed; the text is what its error says."""


class Cancelled(Exception):
    """A task that was ended, or not begun, because its run was cancelled."""


@dataclass
class Cache:
    """What tasks made that ran before, in one project and location, by what they would do again."""

    made: dict[str, Values] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Executors:
    """Does the tasks of one run. ``root`` is the ``gs://`` folder below which runs keep what they make."""

    def __init__(
        self,
        cloud: GcpCloud,
        project: Project,
        location: str,
        job: Any,
        pipeline: Pipeline,
        root: str,
        records: Records,
        progress: Progress,
    ) -> None:
        self._cloud, self._project, self._location = cloud, project, location
        self._job, self._pipeline, self._records, self._progress = job, pipeline, records, progress
        self._id = job.name.rpartition("/")[2]
        self._root = f"{root}/{project.number}/{self._id}"
        self._cache: Cache = cloud.store(Cache, project.id, location)
        self._workers: set[Worker] = set()
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def constants(self, task: Task) -> dict[str, str]:
        """What placeholders say of the run and the task (``{{$.pipeline_job_name}}``)."""
        created = self._job.create_time.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "pipeline_job_name": self._id,
            "pipeline_job_resource_name": self._job.name,
            "pipeline_job_uuid": str(int.from_bytes(self._id.encode()[-7:], "big")),
            "pipeline_job_create_time_utc": created,
            "pipeline_job_schedule_time_utc": created,
            "pipeline_root": self._root,
            "pipeline_task_name": task.label,
            "pipeline_task_uuid": new_id(),
        }

    def run(self, task: Task, component: Component, values: Values, detail: int) -> tuple[Values, bool]:
        """What a task made, and whether it was in the cache; raises :class:`TaskFailed` or :class:`Cancelled`."""
        if "importer" in component.executor:
            return self._import(task, component, values, detail), False
        self._progress.values(detail, values)
        key = pipeline_task.cache_key(component, values)
        if task.caches and (found := self._known(key)) is not None:
            execution = self._records.begin_task(task.label, "system.ContainerExecution", values)
            self._records.end_task(execution, "CACHED", found)
            self._progress.executed(detail, execution.name)
            self._progress.values(detail, values, found)
            return found, True
        self._progress.task(detail, "RUNNING")
        made = self._attempts(task, component, values, detail)
        with self._cache.lock:
            self._cache.made[key] = made
        self._progress.values(detail, values, made)
        return made, False

    def cancel(self) -> None:
        """Ends whatever runs; nothing more is begun."""
        self._cancelled.set()
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.cancel()

    def _known(self, key: str) -> Values | None:
        """What the same task made before, if its artifacts are still there."""
        with self._cache.lock:
            found = self._cache.made.get(key)
        if found is None:
            return None
        names = [each["name"] for artifacts in found.artifacts.values() for each in artifacts]
        return found if all(self._records.node(name) is not None for name in names) else None

    def _attempts(self, task: Task, component: Component, values: Values, detail: int) -> Values:
        """Runs a task's container, again where its retry policy says so."""
        policy: Mapping[str, Any] = task.spec.get("retryPolicy", {})
        left, pause = int(policy.get("maxRetryCount", 0)), _seconds(policy.get("backoffDuration", "0s"))
        execution = self._records.begin_task(task.label, "system.ContainerExecution", values)
        self._progress.executed(detail, execution.name)
        while True:
            worker, made = self._attempt(task, component, values, detail)
            if worker.cancelled:
                self._records.end_task(execution, "CANCELLED")
                raise Cancelled
            if not worker.failure:
                kept = {
                    name: [self._records.keep(each, name) for each in artifacts]
                    for name, artifacts in made.artifacts.items()
                }
                made = Values(made.parameters, kept)
                self._records.end_task(execution, "COMPLETE", made)
                return made
            if not left:
                self._records.end_task(execution, "FAILED")
                raise TaskFailed(worker.failure)
            left -= 1
            if self._cancelled.wait(min(pause, LONGEST_BACKOFF)):
                self._records.end_task(execution, "CANCELLED")
                raise Cancelled
            pause = min(
                pause * float(policy.get("backoffFactor", 2.0)), _seconds(policy.get("backoffMaxDuration", "3600s"))
            )

    def _attempt(self, task: Task, component: Component, values: Values, detail: int) -> tuple[Worker, Values]:
        """One run of the container, to its end."""
        job_id, root = new_id(), f"{self._root}/{task.name}_{detail}"
        told = pipeline_task.given(component, task.label, values, root, self.constants(task), self._records)
        made: list[Values] = []
        workload = Workload(
            project=self._project,
            location=self._location,
            job_id=job_id,
            account=self._job.service_account,
            prepare=lambda folder, gcs: pipeline_task.command(told, folder, gcs),
            variables=pipeline_task.variables(told),
            labels={"ml.googleapis.com/pipeline_job_id": self._id, "ml.googleapis.com/task_name": task.label},
        )

        def finish(_: Path, gcs: GcsFolder) -> None:
            made.append(pipeline_task.outcome(told, gcs))

        worker = Worker(self._cloud, workload, finish=finish)
        self._progress.job(detail, f"projects/{self._project.number}/locations/{self._location}/customJobs/{job_id}")
        with self._lock:
            self._workers.add(worker)
        if self._cancelled.is_set():
            worker.cancel()
        worker.start()
        while not worker.wait(60.0):
            pass
        with self._lock:
            self._workers.discard(worker)
        return worker, made[0] if made else Values()

    def _import(self, task: Task, component: Component, values: Values, detail: int) -> Values:
        """Makes an artifact's record for what is somewhere already, or takes the record that there is."""
        importer: Mapping[str, Any] = component.executor["importer"]
        given: Mapping[str, Any] = importer["artifactUri"]
        constants = self.constants(task)
        uri = given.get("constant", values.parameters.get(given.get("runtimeParameter", "")))
        uri = filled(text(uri), values.parameters, constants)
        (name, definition), *_ = component.output_artifacts.items()
        kind = dict(importer.get("typeSchema") or definition.get("artifactType", {}))
        self._progress.task(detail, "RUNNING")
        execution = self._records.begin_task(task.label, "system.ImporterExecution", values)
        self._progress.executed(detail, execution.name)
        known = None if importer.get("reimport") else self._records.with_uri(uri, kind.get("schemaTitle", ""))
        artifact: Artifact = {
            "name": known or self._records.new_name(),
            "type": kind,
            "uri": uri,
            "metadata": filled(importer.get("metadata", {}), values.parameters, constants),
        }
        made = Values({}, {name: [self._records.keep(artifact, name)]})
        self._records.end_task(execution, "COMPLETE", made)
        self._progress.values(detail, values, made)
        return made


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s") or 0)
