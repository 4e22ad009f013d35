"""What storage accounts hold: containers and blobs, their content on disk, swapped whole so that readers see one state.

Content is written to a file of its own and only then becomes the blob's; blocks that were never committed are seen by
nobody. https://learn.microsoft.com/rest/api/storageservices/blob-service-concepts
"""

from __future__ import annotations

import itertools
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

#: Bytes that are read or copied at a time.
PIECE = 1 << 20


@dataclass(slots=True)
class Block:
    """A piece of a block blob. ``file`` is set while it has not been committed."""

    id: str
    size: int
    file: Path | None = None


@dataclass(slots=True)
class Blob:
    """One version of a block blob: its content never changes, its properties and metadata may.

    ``headers`` are what the uploader set (``Content-Type`` ...), ``md5`` of the content, base64, if known.
    """

    name: str
    file: Path
    size: int
    etag: str
    created: datetime
    modified: datetime
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    md5: str = ""
    blocks: list[Block] = field(default_factory=list)
    copied: dict[str, str] = field(default_factory=dict)
    tier: str = ""

    def open(self) -> BinaryIO:
        """The content, readable to its end even when the blob is overwritten or deleted meanwhile."""
        return self.file.open("rb")

    def read(self) -> bytes:
        with self.open() as content:
            return content.read()


@dataclass(slots=True)
class Container:
    """A container: blobs by name, and the blocks that wait to be committed, by the blob's name and their id.

    ``own`` marks those that the clouds made for themselves.
    """

    name: str
    etag: str
    modified: datetime
    metadata: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    waiting: dict[str, dict[str, Block]] = field(default_factory=dict)
    own: bool = False


class Account:
    """One storage account's content. ``lock`` is held by whoever looks first and then changes.

    ``folder`` is where content is kept; ``now`` tells the lab's time.
    """

    def __init__(self, name: str, folder: Path, now: Callable[[], datetime]) -> None:
        self.name = name
        self.keys: list[str] = []
        self.key_rotations = 0
        self.containers: dict[str, Container] = {}
        self.lock = threading.RLock()
        self.now = now
        # An account may be deleted and made anew while its old content is being removed.
        self._folder = folder / f"{name}-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._ticks = 0

    def create_container(self, name: str, metadata: dict[str, str] | None = None, *, own: bool = False) -> Container:
        """A new container; the caller has seen that there is none of that name."""
        with self.lock:
            made = Container(name, self.new_etag(), self.now(), metadata or {}, own=own)
            self.containers[name] = made
            return made

    def delete_container(self, container: Container) -> None:
        with self.lock:
            self.containers.pop(container.name, None)
            files = [blob.file for blob in container.blobs.values()]
            files += [block.file for blocks in container.waiting.values() for block in blocks.values() if block.file]
            container.blobs.clear()
            container.waiting.clear()
        _remove(files)

    def put(self, container: Container, blob: Blob) -> None:
        """Makes ``blob`` the one of its name; blocks that waited for it are dropped, as is what it replaces."""
        with self.lock:
            old = container.blobs.get(blob.name)
            waiting = container.waiting.pop(blob.name, {})
            container.blobs[blob.name] = blob
        _remove([*([old.file] if old and old.file != blob.file else []), *(b.file for b in waiting.values() if b.file)])

    def delete(self, container: Container, blob: Blob) -> None:
        with self.lock:
            container.blobs.pop(blob.name, None)
        _remove([blob.file])

    def stage(self, container: Container, name: str, block: Block) -> None:
        """Keeps a block until it is committed; another of the same id is replaced."""
        with self.lock:
            blocks = container.waiting.setdefault(name, {})
            old = blocks.get(block.id)
            blocks[block.id] = block
        _remove([old.file] if old and old.file else [])

    def save(self, pieces: Iterable[bytes]) -> tuple[Path, int]:
        """Writes content to a new file; answers it and its size."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{next(self._numbers):x}"
        size = 0
        try:
            with file.open("wb") as out:
                for piece in pieces:
                    size += out.write(piece)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return file, size

    def new_etag(self) -> str:
        """An ETag that no other version has: the time in 100 ns since year 1, as Azure's look, made to grow."""
        ticks = int((self.now().timestamp() + 62_135_596_800) * 1e7)
        with self.lock:
            self._ticks = max(ticks, self._ticks + 1)
            return f'"0x{self._ticks:X}"'

    def close(self) -> None:
        """Deletes everything."""
        with self.lock:
            self.containers.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


def pieces(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """``length`` bytes of an open file from ``start``; closes it."""
    with file:
        file.seek(start)
        while length > 0 and (piece := file.read(min(PIECE, length))):
            length -= len(piece)
            yield piece


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
