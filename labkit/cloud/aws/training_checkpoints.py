"""A training job's checkpoints: a folder of the container that is kept the same as a prefix in S3.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

from __future__ import annotations

import shutil
from pathlib import Path

from labkit.cloud.aws import job_channels
from labkit.cloud.aws.sagemaker_jobs import ML, JobRecord, Workplace

#: Where checkpoints are in the container, unless the job says otherwise.
DEFAULT = f"{ML}/checkpoints"


class Checkpoints:
    """The checkpoint folder, kept the same as its prefix in S3."""

    def __init__(self, job: JobRecord, place: Workplace) -> None:
        config = job.request.get("CheckpointConfig")
        self._url = str(config["S3Uri"]).rstrip("/") + "/" if config else ""
        self._storage = place.storage
        self._sent: dict[Path, tuple[int, int]] = {}
        self.mounts: dict[str, Path] = {}
        path = str((config or {}).get("LocalPath", DEFAULT))
        if path == ML or path.startswith(f"{ML}/"):
            self._folder = place.seen_at(path)
        else:
            self._folder = place.folder / "checkpoints"
            self.mounts[path] = self._folder
        if config:
            self._folder.mkdir(parents=True, exist_ok=True)

    def restore(self) -> None:
        """Brings what an earlier job or attempt left."""
        if self._url:
            job_channels.download(self._storage, self._url, self._folder)
            self._sent = {path: _state_of(path) for path in self._files()}

    def renew(self) -> None:
        """Makes the folder as a new machine has it: with what is in S3 and nothing else."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)
            self._folder.mkdir()
        self.restore()

    def save(self) -> None:
        """Brings files that are new or have changed to S3."""
        for path in self._files() if self._url else ():
            if self._sent.get(path) != (state := _state_of(path)):
                job_channels.put(
                    self._storage, f"{self._url}{path.relative_to(self._folder).as_posix()}", path.read_bytes()
                )
                self._sent[path] = state

    def _files(self) -> list[Path]:
        return [path for path in sorted(self._folder.rglob("*")) if path.is_file()]


def _state_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
