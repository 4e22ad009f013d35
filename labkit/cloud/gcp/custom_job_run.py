"""A custom job while it runs: its state, its container, and what spot machines do to it.

https://cloud.google.com/vertex-ai/docs/training/create-custom-job,
https://cloud.google.com/vertex-ai/docs/training/code-requirements#environment-variables
"""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.requirements import unmet_lines
from labkit.cloud.engine.spot import Pool
from labkit.cloud.gcp.errors import CODES
from labkit.cloud.gcp.gcs_folder import GcsFolder
from labkit.cloud.gcp.training_worker import Worker, Workload
from labkit.cloud.gcp.vertex_jobs import JobRun
from labkit.cloud.gcp.vertex_names import stamp, v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud
    from labkit.cloud.gcp.projects import Project

#: A job that does not say may run for seven days.
_TIMEOUT = 7 * 24 * 3600.0


class CustomJobRun(JobRun):
    """One custom job. ``message`` is its ``CustomJob``."""

    def __init__(self, cloud: GcpCloud, project: Project, location: str, message: Any) -> None:
        super().__init__(message)
        self.ended = threading.Event()
        self._clock = cloud.engine.clock
        pool = message.job_spec.worker_pool_specs[0]
        self._output: str = message.job_spec.base_output_directory.output_uri_prefix.rstrip("/")
        timeout = message.job_spec.scheduling.timeout.ToTimedelta().total_seconds() or _TIMEOUT
        self._worker = Worker(
            cloud,
            Workload(
                project=project,
                location=location,
                job_id=self.id,
                account=message.job_spec.service_account,
                prepare=lambda folder, gcs: _command(pool, folder, gcs),
                variables=self._variables(pool),
                timeout=timeout,
                spot=self._pool(pool, location),
            ),
            ended=self._end,
        )
        now = self._clock.now()
        stamp(message, create_time=now, update_time=now)
        message.state = v1.JobState.Value("JOB_STATE_PENDING")

    def _pool(self, pool: Any, location: str) -> Pool | None:
        """The spot machines that the job asks for, or None."""
        strategy = v1.Scheduling.Strategy.Name(self.message.job_spec.scheduling.strategy)
        return Pool("gcp", pool.machine_spec.machine_type, f"{location}-a") if strategy == "SPOT" else None

    @property
    def failure(self) -> str:
        """Why the job failed, or ``""``."""
        return str(self.message.error.message)

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"custom-job-{self.id}", daemon=True).start()

    def cancel(self) -> None:
        """Asks for the end of it."""
        with self._changed:
            if self.ended.is_set():
                return
            self._enter("JOB_STATE_CANCELLING")
        self._worker.cancel()

    def _run(self) -> None:
        with self._changed:
            if self.message.state == v1.JobState.Value("JOB_STATE_PENDING"):
                self._enter("JOB_STATE_RUNNING")
                stamp(self.message, start_time=self._clock.now())
        self._worker.start()

    def _end(self, worker: Worker) -> None:
        with self._changed:
            if worker.cancelled:
                state, code, why = "JOB_STATE_CANCELLED", "CANCELLED", "The job was cancelled."
            elif worker.failure:
                state, code, why = "JOB_STATE_FAILED", "FAILED_PRECONDITION", worker.failure
            else:
                state, code, why = "JOB_STATE_SUCCEEDED", "", ""
            if why:
                self.message.error.code, self.message.error.message = CODES[code][0], why
            stamp(self.message, end_time=self._clock.now())
            self._enter(state)
            self.ended.set()

    def _enter(self, state: str) -> None:
        self.message.state = v1.JobState.Value(state)
        self._news(self._clock.now())

    def _variables(self, pool: Any) -> dict[str, str]:
        """What Vertex AI tells a container, after the job's own variables."""
        spec = pool.container_spec if pool.WhichOneof("task") == "container_spec" else pool.python_package_spec
        told = {each.name: each.value for each in spec.env}
        told["CLUSTER_SPEC"] = json.dumps(
            {
                "cluster": {"workerpool0": [f"cmle-training-workerpool0-{self.id}-0:2222"]},
                "environment": "cloud",
                "task": {"type": "workerpool0", "index": 0},
            }
        )
        asked = self.message.job_spec
        told |= {"AIP_EXPERIMENT_NAME": asked.experiment} if asked.experiment else {}
        told |= {"AIP_EXPERIMENT_RUN_NAME": asked.experiment_run} if asked.experiment_run else {}
        if self._output:
            told["AIP_MODEL_DIR"] = f"{self._output}/model/"
            told["AIP_CHECKPOINT_DIR"] = f"{self._output}/checkpoints/"
            told["AIP_TENSORBOARD_LOG_DIR"] = f"{self._output}/logs/"
        return told


def _command(pool: Any, folder: Path, gcs: GcsFolder) -> Sequence[str]:
    """What a job runs: its container's command, or the module of its package."""
    if pool.WhichOneof("task") == "container_spec":
        return [*pool.container_spec.command, *pool.container_spec.args]
    spec = pool.python_package_spec
    for uri in spec.package_uris:
        gcs.fetch(uri)
        file = gcs.path(uri)
        if not file.is_file():
            raise CloudError(f"The package {uri} does not exist, or its object cannot be read.")
        _unpack(file, folder / "work")
    return ["python3", "-m", spec.python_module, *spec.args]


def _plain(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """An archive's files and folders; raises where one of them is something else or leads out of the folder."""
    for member in archive:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir()):
            raise tarfile.TarError(f"it holds {member.name!r}, which is no plain file below its folder")
        yield member


def _unpack(file: Path, folder: Path) -> None:
    """Unpacks a source distribution or a wheel; its packages can then be imported from ``folder``.

    pip would install it with what it requires; here that is checked to be installed already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = folder / f".{file.name}"
    try:
        if file.suffix == ".whl" or file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                archive.extractall(unpacked)
        else:
            with tarfile.open(file) as archive:
                archive.extractall(unpacked, members=list(_plain(archive)))
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise CloudError(f"{file.name} is no Python package that can be unpacked: {error}.") from None
    for info in sorted((*unpacked.rglob("PKG-INFO"), *unpacked.rglob("METADATA"))):
        required = HeaderParser().parsestr(info.read_text(encoding="utf-8")).get_all("Requires-Dist", [])
        if found := unmet_lines(required, file.name):
            raise CloudError(f"{' '.join(found)} The local clouds install nothing.")
    tops = [each for each in unpacked.iterdir() if each.is_dir()]
    inside = tops[0] if file.suffix != ".whl" and len(tops) == 1 else unpacked
    root = inside / "src" if (inside / "src").is_dir() else inside
    for each in root.iterdir():
        target = folder / each.name
        if not target.exists():
            shutil.move(each, target)
    shutil.rmtree(unpacked, ignore_errors=True)
