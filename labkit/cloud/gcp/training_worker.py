"""One container that Vertex AI runs to its end, for a custom job or for a task of a pipeline.

It runs as its service account, finds the buckets below ``/gcs`` and the variables that Vertex AI sets, and what it
prints goes to Cloud Logging. https://cloud.google.com/vertex-ai/docs/training/code-requirements
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.jobs import Job, JobSpec
from labkit.cloud.engine.spot import Pool, SpotRun
from labkit.cloud.gcp import log_store
from labkit.cloud.gcp.gcs_folder import GcsFolder
from labkit.cloud.gcp.identity import ServiceAccount

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud
    from labkit.cloud.gcp.projects import Project

#: The container of a job that has one; further ones would be numbered on.
REPLICA = "workerpool0-0"
RESOURCE = "ml_job"


@dataclass(frozen=True)
class Workload:
    """What is run, and as whom: ``account`` is the service account's e-mail address.

    ``prepare`` is called with the job's folder and its view of the buckets before the command is made; it fetches what
    the command reads and returns the command, whose first word may be ``python3``. On ``spot`` machines, which may be
    taken away, the command is started again.
    """

    project: Project
    location: str
    job_id: str
    account: str
    prepare: Callable[[Path, GcsFolder], Sequence[str]]
    variables: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    spot: Pool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A workload that was started. ``failure`` says why it failed, once it has ended; "" when it succeeded.

    ``finish`` is called when the command has ended well, before what it wrote becomes objects: what it raises, a
    :class:`CloudError`, is the worker's failure.
    """

    def __init__(
        self,
        cloud: GcpCloud,
        workload: Workload,
        *,
        finish: Callable[[Path, GcsFolder], None] = lambda *_: None,
        ended: Callable[[Worker], None] = lambda _: None,
    ) -> None:
        self.workload = workload
        self.failure = ""
        self.cancelled = False
        self.job: Job | None = None
        self._spot: SpotRun | None = None
        self._cloud, self._finish, self._when_ended = cloud, finish, ended
        self._folder = cloud.engine.folder / "vertex-ai" / "jobs" / workload.job_id
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._variables: dict[str, str] = {}
        self._gcs: GcsFolder | None = None

    def start(self) -> None:
        """Fetches what is to be read and starts the command; returns at once where that cannot be done."""
        workload = self.workload
        try:
            spec = self._spec()
            with self._lock:
                if self.cancelled:
                    raise CloudError("It was cancelled before it began.")
                if workload.spot is None:
                    self.job = self._cloud.engine.jobs.start(spec)
                else:
                    self._spot = self._on_spot(spec, workload.spot)
        except (CloudError, OSError) as error:
            self._end(str(error))
            return
        if self._spot is not None:
            threading.Thread(target=self._run_on_spot, args=(self._spot,), daemon=True).start()
        elif self.job is not None:
            self.job.when_ended(self._after)

    def wait(self, timeout: float) -> bool:
        return self._done.wait(timeout)

    def cancel(self) -> None:
        """Asks for the end of it."""
        with self._lock:
            self.cancelled = True
            if self._spot is not None:
                self._spot.stop()
            elif self.job is not None:
                self.job.stop()

    @property
    def log_link(self) -> str:
        """Where the console shows what the container printed."""
        number, job = self.workload.project.number, self.workload.job_id
        return (
            f"https://console.cloud.google.com/logs/viewer?project={number}&resource=ml_job%2Fjob_id%2F{job}"
            f"&advancedFilter=resource.type%3D%22ml_job%22%0Aresource.labels.job_id%3D%22{job}%22"
        )

    def _spec(self) -> JobSpec:
        workload, cloud = self.workload, self._cloud
        self._folder.mkdir(parents=True, exist_ok=True)
        caller = Caller("gcp", workload.account, workload.project.id, workload.location)
        self._gcs = GcsFolder(
            cloud.buckets,
            self._folder / "gcs",
            lambda permission, resource: cloud.engine.access.authorize(caller, permission, resource),
        )
        for left in self._gcs.fetch_readable(workload.project.id):
            self._line(f"{left} is not below /gcs: it is too large to be copied for a job", severity="WARNING")
        command = workload.prepare(self._folder, self._gcs)
        self._variables = cloud.identities.admit(ServiceAccount(workload.account, workload.project.id))
        work = self._folder / "work"
        work.mkdir(exist_ok=True)
        return JobSpec(
            name=f"job-{workload.job_id}",
            command=command,
            env=self._environment(),
            folder=work,
            mounts={"/gcs": self._folder / "gcs"},
            output=self._line,
            timeout=workload.timeout,
            memory_mb=None,
        )

    def _on_spot(self, spec: JobSpec, pool: Pool) -> SpotRun:
        def warn(seconds: int) -> None:
            self._line(f"The spot VM is preempted in {seconds} s", severity="WARNING")

        clock, jobs = self._cloud.engine.clock, self._cloud.engine.jobs
        return SpotRun(spec.name, pool, clock, lambda _: jobs.start(spec), warn=warn)

    def _run_on_spot(self, run: SpotRun) -> None:
        try:
            outcome = run.run()
        except (CloudError, OSError) as error:
            self._end(str(error))
            return
        self._after(outcome.job)

    def _environment(self) -> dict[str, str]:
        workload, own = self.workload, str(self._folder / "work")
        return {
            **self._cloud.clients(),
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": own,
            "TMPDIR": own,
            "PYTHONUNBUFFERED": "1",
            # What pip is asked to install is here already, or is not to be had.
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "GOOGLE_CLOUD_PROJECT": workload.project.id,
            "CLOUD_ML_PROJECT_ID": workload.project.number,
            "CLOUD_ML_JOB_ID": workload.job_id,
            "CLOUD_ML_REGION": workload.location,
            **workload.variables,
            **self._variables,
        }

    def _line(self, line: str, severity: str = "INFO") -> None:
        """Keeps what the container printed, as the logging agent of Vertex AI does."""
        workload = self.workload
        labels = {"job_id": workload.job_id, "project_id": workload.project.id, "task_name": REPLICA}
        entry = {
            "resource": {"type": RESOURCE, "labels": labels},
            "labels": {"ml.googleapis.com/job_id/log_area": "root", **workload.labels},
            "severity": severity,
            "jsonPayload": {"message": line, "levelname": severity},
        }
        log_store.write(self._cloud.engine, f"gcp:{workload.project.id}", REPLICA, entry)

    def _after(self, job: Job) -> None:
        """Runs when the command has ended: its files become objects whether it succeeded or not."""
        assert self._gcs is not None
        failure = "" if job.state == "Succeeded" else self._why(job)
        try:
            if not failure:
                self._finish(self._folder, self._gcs)
            self._gcs.store()
        except (CloudError, OSError) as error:
            failure = failure or str(error)
        self._end(failure)

    def _why(self, job: Job) -> str:
        see = f"To find out more about why your job exited please check the logs: {self.log_link}"
        if job.state == "TimedOut":
            return f"The job ran longer than its timeout of {self.workload.timeout:g} s and was stopped."
        last = next((line for line in reversed(job.tail) if line.strip()), "")
        quoted = f" The last line of the log: {last}" if last else ""
        return f"The replica {REPLICA} exited with a non-zero status of {job.exit_code}. {see}{quoted}"

    def _end(self, failure: str) -> None:
        self.failure = failure
        if self._variables:
            self._cloud.identities.dismiss(self._variables)
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._when_ended(self)
        finally:
            self._done.set()
