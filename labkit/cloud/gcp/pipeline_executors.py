"""What does a pipeline's tasks: containers, run as custom jobs, and importers; and the cache of what they made."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.dags import Attempt, Done
from labkit.cloud.gcp import pipeline_task
from labkit.cloud.gcp.gcs_folder import GcsFolder
from labkit.cloud.gcp.pipeline_part import Part, TaskFailed
from labkit.cloud.gcp.pipeline_progress import Progress
from labkit.cloud.gcp.pipeline_records import Records
from labkit.cloud.gcp.pipeline_values import Artifact, Values, filled, text
from labkit.cloud.gcp.training_worker import Worker, Workload
from labkit.cloud.gcp.vertex_names import new_id

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud
    from labkit.cloud.gcp.projects import Project


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
        root: str,
        records: Records,
        progress: Progress,
    ) -> None:
        self._cloud, self._project, self._location = cloud, project, location
        self._job, self._records, self._progress = job, records, progress
        self._id = job.name.rpartition("/")[2]
        self._root = f"{root}/{project.number}/{self._id}"
        self._cache: Cache = cloud.store(Cache, project.id, location)

    def constants(self, label: str) -> dict[str, str]:
        """What placeholders say of the run and of a task (``{{$.pipeline_job_name}}``)."""
        created = self._job.create_time.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "pipeline_job_name": self._id,
            "pipeline_job_resource_name": self._job.name,
            "pipeline_job_uuid": str(int.from_bytes(self._id.encode()[-7:], "big")),
            "pipeline_job_create_time_utc": created,
            "pipeline_job_schedule_time_utc": created,
            "pipeline_root": self._root,
            "pipeline_task_name": label,
            "pipeline_task_uuid": new_id(),
        }

    def record(self, part: Part, schema: str) -> None:
        """Makes a part's execution in ML Metadata."""
        assert part.values is not None
        part.execution = self._records.begin_task(part.label, schema, part.values)
        self._progress.executed(part.detail, part.execution.name)

    def run(self, part: Part, attempt: Attempt) -> Done:
        """Does a task, or takes what it made before; raises :class:`TaskFailed` where its container fails."""
        assert part.values is not None
        assert part.task is not None
        if "importer" in part.component.executor:
            self._progress.task(part.detail, "RUNNING")
            self.record(part, "system.ImporterExecution")
            part.made = self._import(part, part.values)
            self._progress.values(part.detail, part.values, part.made)
            return Done()
        self._progress.values(part.detail, part.values)
        key = pipeline_task.cache_key(part.component, part.values)
        if part.execution is None:
            self.record(part, "system.ContainerExecution")
        cached = part.task.caches and (found := self._known(key)) is not None
        if cached:
            part.made = found
        else:
            self._progress.task(part.detail, "RUNNING")
            part.made = self._contain(part, part.values, attempt)
            with self._cache.lock:
                self._cache.made[key] = part.made
        self._progress.values(part.detail, part.values, part.made)
        return Done(cached=cached)

    def _known(self, key: str) -> Values | None:
        """What the same task made before, if its artifacts are still there."""
        with self._cache.lock:
            found = self._cache.made.get(key)
        if found is None:
            return None
        names = [each["name"] for artifacts in found.artifacts.values() for each in artifacts]
        return found if all(self._records.node(name) is not None for name in names) else None

    def _contain(self, part: Part, values: Values, attempt: Attempt) -> Values:
        """Runs a task's container once, to its end."""
        job_id, root = new_id(), f"{self._root}/{part.key}_{part.detail}"
        constants = self.constants(part.label)
        told = pipeline_task.given(part.component, part.label, values, root, constants, self._records)
        made: list[Values] = []
        workload = Workload(
            project=self._project,
            location=self._location,
            job_id=job_id,
            account=self._job.service_account,
            prepare=lambda folder, gcs: pipeline_task.command(told, folder, gcs),
            variables=pipeline_task.variables(told),
            labels={"ml.googleapis.com/pipeline_job_id": self._id, "ml.googleapis.com/task_name": part.label},
        )

        def finish(_: Path, gcs: GcsFolder) -> None:
            made.append(pipeline_task.outcome(told, gcs))

        worker = Worker(self._cloud, workload, finish=finish)
        job = f"projects/{self._project.number}/locations/{self._location}/customJobs/{job_id}"
        self._progress.job(part.detail, job)
        attempt.on_stop(worker.cancel)
        worker.start()
        while not worker.wait(60.0):
            pass
        if worker.failure:
            raise TaskFailed(worker.failure)
        kept = {
            name: [self._records.keep(each, name) for each in artifacts]
            for name, artifacts in made[0].artifacts.items()
        }
        return Values(made[0].parameters, kept)

    def _import(self, part: Part, values: Values) -> Values:
        """Makes an artifact's record for what is somewhere already, or takes the record that there is."""
        importer: Mapping[str, Any] = part.component.executor["importer"]
        given: Mapping[str, Any] = importer["artifactUri"]
        constants = self.constants(part.label)
        uri = given.get("constant", values.parameters.get(given.get("runtimeParameter", "")))
        uri = filled(text(uri), values.parameters, constants)
        (name, definition), *_ = part.component.output_artifacts.items()
        kind = dict(importer.get("typeSchema") or definition.get("artifactType", {}))
        known = None if importer.get("reimport") else self._records.with_uri(uri, kind.get("schemaTitle", ""))
        artifact: Artifact = {
            "name": known or self._records.new_name(),
            "type": kind,
            "uri": uri,
            "metadata": filled(importer.get("metadata", {}), values.parameters, constants),
        }
        return Values({}, {name: [self._records.keep(artifact, name)]})
