"""What training, processing and transform jobs have in common: a record, a run in a thread of its own, a stop.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html and its likes.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from labkit.cloud.aws import container_pip, sagemaker_events, service_calls, sklearn_images
from labkit.cloud.aws.container_environment import environment
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.identity import Key
from labkit.cloud.aws.job_channels import TransferFailed
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.role_storage import RoleStorage
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.jobs import Job as Process
from labkit.cloud.engine.jobs import JobSpec

if TYPE_CHECKING:
    pass

_log = logging.getLogger(__name__)

SAGEMAKER = "sagemaker.amazonaws.com"
#: Seconds for which a waiter's describe is held while a job runs: botocore's waiters sleep for a minute or two.
HELD = 50.0
#: FailureReason and ExitMessage hold this many characters at most.
LONGEST_REASON = 1024
#: Seconds between the request to a container to end and its end, as SageMaker documents.
STOP_GRACE = 120.0
#: Where SageMaker's containers keep everything.
ML = "/opt/ml"


class JobFailed(Exception):
    """A job cannot go on. The message is its FailureReason."""


class JobStopped(Exception):
    """A job was stopped before its container ran."""


class Stoppable(Protocol):
    """Something under way that a job can end."""

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job: its resource in ARNs, its name in messages, its log group and its state changes' name."""

    resource: str
    word: str
    log_group: str
    event: str
    field: str


@dataclass
class JobRecord:
    """A job; its parts change under ``lock``. It is a :class:`~labkit.cloud.engine.clock.Work`.

    ``request`` is what it was created with; ``results`` are the members of its description that its run adds.
    """

    kind: Kind
    name: str
    arn: str
    place: Place
    request: Mapping[str, Any]
    created: datetime
    modified: datetime
    tags: dict[str, str]
    role: str
    status: str = "InProgress"
    failure: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    results: dict[str, Any] = field(default_factory=dict)
    transitions: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    settled: threading.Event = field(default_factory=threading.Event, repr=False)
    _running: Stoppable | None = None

    @property
    def stopping(self) -> bool:
        return self.status == "Stopping"

    def wait(self, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds; returns whether the job has ended."""
        return self.settled.wait(timeout)

    def start(self, work: Callable[[JobRecord], None]) -> None:
        """Runs ``work`` in a thread; it ends the job itself or raises :class:`JobFailed` or :class:`JobStopped`."""
        threading.Thread(target=self._run, args=(work,), name=f"job-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Has the job end soon; nothing happens if it has ended."""
        with self.lock:
            if self.status != "InProgress":
                return
            self._set("Stopping", "Stopping", f"Stopping the {self.kind.word}")
            running = self._running
        sagemaker_events.job_changed(self)
        if running is not None:
            running.stop()

    def change(self, status: str, secondary: str = "", message: str = "") -> None:
        """Takes on a status, and a secondary one with its transition; tells the events."""
        self._set(status, secondary, message)
        sagemaker_events.job_changed(self)

    def end(self, status: str, failure: str = "", secondary: str = "", message: str = "") -> None:
        """Ends the job for good."""
        with self.lock:
            self.failure = failure[:LONGEST_REASON]
            self.ended = self.place.engine.clock.now()
            self._set(status, secondary or status, message or failure)
            if self.transitions:
                self.transitions[-1]["EndTime"] = self.ended
        sagemaker_events.job_changed(self)
        self.settled.set()

    def _set(self, status: str, secondary: str, message: str) -> None:
        with self.lock:
            now = self.place.engine.clock.now()
            if not (self.stopping and status == "InProgress"):
                self.status = status
            self.modified = now
            if secondary and self.kind.resource == "training-job":
                if self.transitions:
                    self.transitions[-1]["EndTime"] = now
                self.transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})

    def attach(self, running: Stoppable) -> None:
        """What is to be stopped with the job from now on; raises :class:`JobStopped` if it has been stopped."""
        with self.lock:
            if self.stopping:
                running.stop()
                raise JobStopped
            self.started = self.place.engine.clock.now()
            self._running = running

    def run_process(self, spec: JobSpec, meanwhile: Callable[[], None] = lambda: None) -> Process:
        """Runs the container to its end, calling ``meanwhile`` now and then; raises :class:`JobFailed`."""
        try:
            process = self.place.engine.jobs.start(spec)
        except CloudError as error:
            raise JobFailed(f"ClientError: {error.message}") from None
        self.attach(process)
        while not process.wait(2.0):
            meanwhile()
        self.place.engine.launcher.catch_up()
        return process

    def _run(self, work: Callable[[JobRecord], None]) -> None:
        try:
            work(self)
        except JobStopped:
            self.end("Stopped", "", "Stopped", "Training job stopped")
        except JobFailed as error:
            self.end("Failed", str(error))
        except TransferFailed as error:
            self.end("Failed", f"ClientError: {error}")
        except Exception:
            _log.exception("The job %s failed", self.name)
            self.end("Failed", "InternalServerError: We encountered an internal error.  Please try again.")


@dataclass
class Workplace:
    """What one job's container has: a role's session, its folders, its right to credentials and its log stream."""

    job: JobRecord
    key: Key
    storage: RoleStorage
    folder: Path
    token: str

    @property
    def ml(self) -> Path:
        """The folder that the container sees as ``/opt/ml``."""
        return self.folder / "ml"

    @property
    def scratch(self) -> Path:
        return self.folder / "tmp"

    def seen_at(self, path: str) -> Path:
        """The real folder behind a path below ``/opt/ml`` in the container."""
        return self.ml / path.removeprefix(ML).strip("/")

    def log(self, stream: str) -> Callable[[str], None]:
        """Writes lines to a stream of the job's log group."""
        place, group = self.job.place, self.job.kind.log_group
        return lambda line: place.engine.logs.write(place.scope, group, stream, line)

    def environment(self, given: Mapping[str, str], *, isolated: bool) -> dict[str, str]:
        """The container's whole environment; ``given`` are SageMaker's variables and the job's own."""
        place = self.job.place
        pip = container_pip.provide(self.folder / "site")
        paths = {"PYTHONPATH": given.get("PYTHONPATH", ""), "PATH": given.get("PATH") or os.environ.get("PATH", "")}
        joined = {name: os.pathsep.join(filter(None, (pip[name], path))) for name, path in paths.items()}
        shown = {**given, **joined}
        return environment(place.cloud, place.region, self.scratch, self.token, shown, isolated=isolated)

    def close(self) -> None:
        self.job.place.cloud.identities.release(self.token)
        shutil.rmtree(self.folder, ignore_errors=True)


def workplace(job: JobRecord) -> Workplace:
    """Makes a job's folders, as its role. Raises :class:`JobFailed` when the role cannot be assumed."""
    place = job.place
    try:
        key = service_calls.assume(place, job.role, SAGEMAKER, "SageMaker")
    except AwsError as error:
        raise JobFailed(f"ClientError: {error.message}") from None
    folder = place.engine.folder / "sagemaker" / uuid.uuid4().hex
    for part in ("ml", "tmp"):
        (folder / part).mkdir(parents=True)
    token = place.cloud.identities.container(job.role, "SageMaker")
    return Workplace(job, key, RoleStorage(place, key, SAGEMAKER), folder, token)


def check_image(image: str, region: str) -> None:
    """Raises :class:`JobFailed` for an image that cannot be pulled here."""
    if problem := sklearn_images.refusal(image, region):
        raise JobFailed(f"ClientError: Cannot pull algorithm container. {problem}")
