"""Cloud Storage as code that Vertex AI runs sees it: the buckets below ``/gcs``.

There, Cloud Storage FUSE mounts them. Here the objects that the job's service account may read are copied into a folder
before it starts, and what it wrote there becomes objects when it has ended.
https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from labkit.cloud.engine.errors import CloudError
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.storage_store import Buckets, pieces

#: Bytes that are copied for one job, beside what it is told to read.
MOST = 512 * 1024 * 1024

#: (permission, resource's name) -> nothing, or raises where the job's account may not.
Authorize = Callable[[str, str], object]


class GcsFolder:
    """One job's view of the buckets of a project, in ``folder``."""

    def __init__(self, buckets: Buckets, folder: Path, authorize: Authorize) -> None:
        self._buckets = buckets
        self._folder = folder
        self._authorize = authorize
        self._seen: dict[Path, tuple[int, int]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, uri: str) -> Path:
        """Where a ``gs://`` URI is in the folder."""
        return self._folder / uri.removeprefix("gs://")

    def fetch(self, uri: str) -> None:
        """Copies the object of a URI, or those below it. Raises where the account may not read one of them.

        Where there is nothing the code finds nothing, as below a mounted bucket.
        """
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        try:
            names = self._buckets.names(bucket, name.rstrip("/"))
        except GcpError:
            return
        for found in names:
            if found == name.rstrip("/") or found.startswith(f"{name.rstrip('/')}/" if name else ""):
                self._authorize("storage.objects.get", _resource(bucket, found))
                self._copy(bucket, found)

    def fetch_readable(self, project: str) -> list[str]:
        """Copies what the account may read in the project's buckets; returns what was left out for its size."""
        left, total = [], 0
        for bucket in self._buckets.of_project(project):
            (self._folder / bucket.name).mkdir(exist_ok=True)
            for name in self._buckets.names(bucket.name):
                size = self._buckets.require(bucket.name, name).content.size
                if total + size > MOST:
                    left.append(f"gs://{bucket.name}/{name}")
                elif self._may_read(bucket.name, name):
                    self._copy(bucket.name, name)
                    total += size
        return left

    def store(self) -> list[str]:
        """Makes objects of the files that are new or have changed; returns their URIs.

        Raises where a bucket does not exist or the account may not write to it.
        """
        stored = []
        for file in sorted(self._folder.rglob("*")):
            if not file.is_file() or file.is_symlink() or self._seen.get(file) == _mark(file):
                continue
            bucket, _, name = file.relative_to(self._folder).as_posix().partition("/")
            if not name:
                continue
            self._authorize("storage.objects.create", _resource(bucket, name))
            with file.open("rb") as content:
                self._buckets.get(bucket)
                self._buckets.put(bucket, name, self._buckets.write(pieces(content)), {})
            self._seen[file] = _mark(file)
            stored.append(f"gs://{bucket}/{name}")
        return stored

    def _may_read(self, bucket: str, name: str) -> bool:
        try:
            self._authorize("storage.objects.get", _resource(bucket, name))
        except CloudError:
            return False
        return True

    def _copy(self, bucket: str, name: str) -> None:
        if name.endswith("/") or not _is_plain(name):
            return
        file = self._folder / bucket / name
        if file in self._seen:
            return
        try:
            with self._buckets.open(self._buckets.require(bucket, name)) as source:
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
        except (GcpError, FileExistsError, IsADirectoryError, NotADirectoryError):
            return  # it was deleted meanwhile, or an object's name is also a folder's: no file system has both
        self._seen[file] = _mark(file)


def _is_plain(name: str) -> bool:
    """Whether an object's name can be a path below the bucket's folder."""
    return not name.startswith("/") and all(part not in ("", ".", "..") for part in PurePosixPath(name).parts)


def _mark(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def _resource(bucket: str, name: str) -> str:
    return f"projects/_/buckets/{bucket}/objects/{name}"
