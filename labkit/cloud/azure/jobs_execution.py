"""One command's life: its environment checked, its inputs brought, the command run, its outputs taken away.

The order and the errors are Azure's: https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-batch-endpoint
and https://learn.microsoft.com/azure/machine-learning/how-to-log-view-metrics#view-and-download-diagnostic-logs.
"""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from labkit.cloud.azure import (
    jobs_bindings,
    jobs_data,
    jobs_environment_variables,
    jobs_errors,
    jobs_files,
    jobs_identity,
    jobs_nodes,
    managed_identities,
    runs,
)
from labkit.cloud.azure.asset_files import place_of
from labkit.cloud.azure.front import AzureCloud
from labkit.cloud.azure.jobs_commands import Command
from labkit.cloud.azure.jobs_values import Value
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.runs import Run
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.jobs import Job, JobSpec
from labkit.cloud.engine.spot import Pool, SpotRun

LOG, BUILD_LOG = "user_logs/std_log.txt", "azureml-logs/20_image_build_log.txt"
#: Where a job finds its files on Azure's machines.
_FOLDERS = "/mnt/azureml/cr/j"
#: What makes a command more than a program with arguments: only a shell understands it.
_SHELL = re.compile(r"[|&;<>()$`\\\"'*?\[\]#~{}\n]")
#: A part of a command that a shell would take as it is, without its quotes.
_PLAIN = re.compile(r"'[^']*'|\"[^\"$`\\]*\"")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a command runs: the clouds, the workspace, and who submitted it."""

    cloud: AzureCloud
    workspace: Resource
    submitter: Caller


class Execution:
    """A command on its way; :class:`labkit.cloud.engine.clock.Work`."""

    def __init__(self, at: Place, run: Run, command: Command) -> None:
        self.at = at
        self.run = run
        self.command = command
        self._stop = threading.Event()
        self._stopper: Callable[[], None] | None = None
        self._lock = threading.Lock()
        run.cancel = self.cancel
        run.warnings.extend(command.notes)

    def start(self, values: Mapping[str, Value]) -> None:
        """Begins, with the values of the command's inputs."""
        threading.Thread(target=self._main, args=(dict(values),), name=f"job-{self.run.name}", daemon=True).start()

    def wait(self, timeout: float) -> bool:
        return self.run.wait(timeout)

    def cancel(self) -> None:
        """Stops the command: SIGTERM first, SIGKILL when it does not heed it."""
        self.run.move(runs.CANCEL_REQUESTED, self._now())
        self._stop.set()
        with self._lock:
            stop = self._stopper
        if stop is not None:
            stop()

    # -- the command's life ----------------------------------------------------------------------------------------

    def _main(self, values: dict[str, Value]) -> None:
        folder = self.at.cloud.engine.folder / "azureml-jobs" / uuid.uuid4().hex
        try:
            self._live(values, folder)
        except jobs_errors.JobFailed as failure:
            self._fail(failure.error)
        except CloudError as error:
            self._fail(jobs_errors.user_error(error.message))
        except Exception as error:
            log.exception("job %s failed", self.run.name)
            why = f"The local clouds failed over the job ({type(error).__name__}: {error}); see server.log."
            self._fail(jobs_errors.system_error(why))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _live(self, values: dict[str, Value], folder: Path) -> None:
        self.run.move(runs.PREPARING, self._now())
        self._check_environment()
        self.run.move(runs.QUEUED, self._now())
        with jobs_nodes.node(self.at.cloud, self.command, self._stop) as node:
            if not node:
                self.run.move(runs.CANCELED, self._now())
                return
            self._run(values, folder)

    def _run(self, values: dict[str, Value], folder: Path) -> None:
        cloud, workspace, command = self.at.cloud, self.at.workspace, self.command
        identity = jobs_identity.acting(cloud, command.identity, command.compute, self.at.submitter)
        caller = managed_identities.acting_as(cloud, identity, workspace.location)
        room = jobs_data.Room(folder, self._shown(folder))
        data = jobs_data.Delivery(cloud, workspace, caller, self.run, command.datastore, room)
        self.run.move(runs.RUNNING, self._now())
        paths = data.inputs(values) | data.outputs(command.outputs)
        text = jobs_bindings.command(command.command, paths)
        header = cloud.identities.admit(identity) if identity else ""
        output = jobs_files.Log(jobs_files.below(jobs_files.artifacts(cloud, workspace.id, self.run.name), LOG))
        timeout = command.timeout
        spec = JobSpec(
            name=f"azureml-{self.run.name}"[:60],
            command=program(text),
            env=jobs_environment_variables.of(self.at, self.run, command, paths, room.seen(room.home), header),
            folder=room.code,
            output=output.write,
            mounts=room.shown,
            timeout=timeout.total_seconds() if timeout else None,
        )
        try:
            with output.shown():
                job = self._supervise(lambda attempt: self._start(spec, room, attempt))
        finally:
            cloud.identities.dismiss(header)
        self._finish(job, text, data, room.code)

    def _start(self, spec: JobSpec, room: jobs_data.Room, attempt: int) -> Job:
        """Starts the command; once more, from its beginning, when its node was taken away."""
        if attempt > 1:
            self.run.warnings.append("The low-priority node of the job was preempted, and the job was queued again.")
            self.run.resume()
            room.clear()
        if self.command.code is not None:
            uri = self.command.code.properties["codeUri"]
            jobs_files.download(place_of(self.at.cloud, self.at.workspace.id, uri), room.code)
        self.run.move(runs.RUNNING, self._now())
        return self.at.cloud.engine.jobs.start(spec)

    def _supervise(self, start: Callable[[int], Job]) -> Job:
        """Runs the command to its end, on a node that is its own or on one that may be taken away."""
        if self.command.is_low_priority:
            pool = Pool("azure", self.command.machine, self.at.workspace.location)
            spot = SpotRun(self.run.name, pool, self.at.cloud.engine.clock, start)
            self._stop_by(spot.stop)
            return spot.run().job
        job = start(1)
        self._stop_by(job.stop)
        job.wait()
        return job

    def _stop_by(self, action: Callable[[], None]) -> None:
        """What stops the command, now if it has been canceled."""
        with self._lock:
            self._stopper = action
        if self._stop.is_set():
            action()

    def _shown(self, folder: Path) -> dict[str, Path]:
        """The path of Azure's machines under which the command sees its folder, where the system can show it."""
        if self.at.cloud.engine.jobs.refuses_mounts():
            return {}
        return {f"{_FOLDERS}/{uuid.uuid5(uuid.NAMESPACE_OID, self.run.name).hex}": folder}

    def _finish(self, job: Job, text: str, data: jobs_data.Delivery, code: Path) -> None:
        """Takes away what the command made, and says how the run ended."""
        artifacts = jobs_files.artifacts(self.at.cloud, self.at.workspace.id, self.run.name)
        for name in ("outputs", "logs"):
            if (code / name).is_dir():
                jobs_files.upload(code / name, jobs_files.below(artifacts, name))
        if self._stop.is_set() or job.state == "Stopped":
            self.run.move(runs.CANCELED, self._now())
            return
        if job.state == "TimedOut":
            self.run.error = jobs_errors.timed_out(self.command.timeout)
            self.run.move(runs.CANCELED, self._now())
            return
        succeeded = job.state == "Succeeded"
        self.run.move(runs.FINALIZING, self._now())
        made = data.take(self.command.outputs, complete=succeeded)
        if not succeeded:
            raise jobs_errors.JobFailed(jobs_errors.command_failed(text, job))
        self.run.outputs |= made
        self.run.move(runs.COMPLETED, self._now())

    def _check_environment(self) -> None:
        """Sees that what the environment asks for is installed; the log of its build says what is not."""
        checked = self.command.environment.check()
        if not checked.problems:
            return
        artifacts = jobs_files.artifacts(self.at.cloud, self.at.workspace.id, self.run.name)
        build = jobs_files.Log(jobs_files.below(artifacts, BUILD_LOG))
        for line in (*checked.notes, *checked.problems):
            build.write(line)
        build.write("The local clouds install nothing: install it in the lab's environment, or change the environment.")
        build.flush()
        raise jobs_errors.JobFailed(jobs_errors.build_failed(self.command.environment.name, checked.problems))

    def _fail(self, error: dict[str, object]) -> None:
        if self._stop.is_set():
            self.run.move(runs.CANCELED, self._now())
            return
        self.run.error = error
        self.run.move(runs.FAILED, self._now())

    def _now(self) -> datetime:
        return self.at.cloud.engine.clock.now()


def program(text: str) -> list[str]:
    """What a command is as a program with its arguments: itself where it is no more than that, else a shell's."""
    plain = text.strip()
    if not _SHELL.search(_PLAIN.sub("", plain)):
        words = shlex.split(plain)
        if words and words[0] in ("python", "python3"):
            return words
    return [shutil.which("bash") or "sh", "-c", text]
