"""What Cloud Storage holds: buckets and objects, their content on disk, swapped whole so that readers see one state.

Content is written to a file of its own and only then becomes the object's; an object that is replaced or deleted stays
readable to whoever has it open. https://cloud.google.com/storage/docs/objects
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from labkit.cloud.gcp.storage_errors import StorageError, no_bucket, no_object

#: Bytes that are read or copied at a time.
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes on disk and their checksums, base64 as the API has them. ``md5`` is ``""`` for composed objects."""

    file: Path
    size: int
    crc32c: str
    md5: str


@dataclass(frozen=True, slots=True)
class Object:
    """One generation of an object: a new one for each change of content, a new metageneration for others.

    ``properties`` are what its uploader may set, as in the JSON API (``contentType``, ``metadata`` ...).
    """

    bucket: str
    name: str
    generation: int
    metageneration: int
    content: Content
    created: datetime
    updated: datetime
    properties: dict[str, object] = field(default_factory=dict)
    components: int = 0

    @property
    def etag(self) -> str:
        return base64.b64encode(b"%d/%d" % (self.generation, self.metageneration)).decode()


@dataclass(slots=True)
class Bucket:
    """A bucket. ``properties`` are what its owner may set, as in the JSON API (``labels`` ...)."""

    name: str
    project: str
    location: str
    created: datetime
    updated: datetime
    metageneration: int = 1
    properties: dict[str, object] = field(default_factory=dict)
    objects: dict[str, Object] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return base64.b64encode(b"%d" % self.metageneration).decode()


class Buckets:
    """All buckets: their names are one space for everyone. ``lock`` is held by whoever looks first and then changes.

    ``folder`` is where content is kept; ``now`` tells the lab's time.
    """

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self.lock = threading.RLock()
        self.now = now
        self._folder = folder
        self._numbers = itertools.count(1)
        self._known: dict[str, Bucket] = {}
        self._last_generation = 0

    # -- buckets -----------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Bucket | None:
        return self._known.get(name)

    def get(self, name: str) -> Bucket:
        """The bucket of this name; raises the API's error."""
        found = self._known.get(name)
        if found is None:
            raise no_bucket()
        return found

    def of_project(self, project: str) -> list[Bucket]:
        """The buckets of a project (its id), by name."""
        with self.lock:
            return sorted((each for each in self._known.values() if each.project == project), key=lambda it: it.name)

    def add(self, bucket: Bucket) -> None:
        self._known[bucket.name] = bucket

    def remove(self, name: str) -> None:
        del self._known[name]

    def inventory(self) -> dict[str, list[str]]:
        """The names of the buckets."""
        return {"buckets": sorted(self._known)}

    def close(self) -> None:
        """Removes everything."""
        with self.lock:
            self._known.clear()
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- objects -----------------------------------------------------------------------------------------------------

    def require(self, bucket: str, name: str, generation: int | None = None) -> Object:
        """The live object of this name, and of this generation if one is named; raises the API's error."""
        found = self.get(bucket).objects.get(name)
        if found is None or generation not in (None, found.generation):
            raise no_object(bucket, name if generation is None else f"{name}#{generation}")
        return found

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of the bucket's objects that begin with ``prefix``, in order; raises the API's error."""
        with self.lock:
            return sorted(name for name in self.get(bucket).objects if name.startswith(prefix))

    def read(self, bucket: str, name: str) -> bytes:
        """An object's content; raises the API's error."""
        with self.open(self.require(bucket, name)) as content:
            return content.read()

    def open(self, which: Object) -> BinaryIO:
        """The content, readable to its end whatever becomes of the object; raises the API's error when it is gone."""
        try:
            return which.content.file.open("rb")
        except FileNotFoundError:
            raise no_object(which.bucket, which.name) from None

    def put(
        self,
        bucket: str,
        name: str,
        content: Content,
        properties: dict[str, object],
        components: int = 0,
        *,
        check: Callable[[Object | None], None] = lambda _: None,
    ) -> Object:
        """Makes ``content`` an object's, in place of what it was. ``check`` sees the present one, and may refuse."""
        with self.lock:
            try:
                home = self.get(bucket)
                before = home.objects.get(name)
                check(before)
            except StorageError:
                content.file.unlink(missing_ok=True)
                raise
            now = self.now()
            made = Object(bucket, name, self._generation(now), 1, content, now, now, properties, components)
            home.objects[name] = made
            if before is not None:
                before.content.file.unlink(missing_ok=True)
            return made

    def change(self, which: Object, properties: dict[str, object]) -> Object:
        """Gives a live object other properties: a new metageneration. Called with the lock held."""
        made = replace(which, metageneration=which.metageneration + 1, updated=self.now(), properties=properties)
        self.get(which.bucket).objects[which.name] = made
        return made

    def delete(self, which: Object) -> None:
        """Removes a live object. Called with the lock held."""
        del self.get(which.bucket).objects[which.name]
        which.content.file.unlink(missing_ok=True)

    def copy(self, which: Object) -> Content:
        """The object's content once more, in a file of its own."""
        with self.open(which) as source:
            return self.write(pieces(source))

    def write(self, data: Iterable[bytes]) -> Content:
        """Stores content in a file of its own, and computes its checksums."""
        file = self.scratch()
        md5, crc, size = hashlib.md5(usedforsecurity=False), Crc32c(), 0
        with file.open("wb") as sink:
            for piece in data:
                sink.write(piece)
                md5.update(piece)
                crc.update(piece)
                size += len(piece)
        return Content(file, size, crc.text, base64.b64encode(md5.digest()).decode())

    def scratch(self) -> Path:
        """A new file's path."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / str(next(self._numbers))

    def _generation(self, now: datetime) -> int:
        """Microseconds since 1970, and later than every generation before."""
        self._last_generation = max(int(now.timestamp() * 1e6), self._last_generation + 1)
        return self._last_generation


class Crc32c:
    """The checksum that every object has (RFC 4960 appendix B)."""

    def __init__(self) -> None:
        # Imported here: the server starts without it.
        import google_crc32c

        self._extend = google_crc32c.extend
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._extend(self._value, data)

    @property
    def text(self) -> str:
        """Base64 of its four bytes, the highest first."""
        return base64.b64encode(self._value.to_bytes(4, "big")).decode()


def pieces(source: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """What ``source`` has from where it stands, ``size`` bytes of it or all, in pieces."""
    left = size
    while piece := source.read(PIECE if left is None else min(PIECE, left)):
        yield piece
        if left is not None:
            left -= len(piece)
