"""Model data on its way into a replica's folder: ``model.tar.gz`` unpacked, or the objects below an S3 prefix laid out.

An archive comes from whoever could write to the bucket, so nothing in it is trusted: only plain files and folders are
taken, below the folder, up to a size. SageMaker itself fails on links in an archive
(https://repost.aws/knowledge-center/sagemaker-endpoint-creation-fail), so they are refused here too.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

#: Files and folders that an archive may hold.
MOST_MEMBERS = 10_000
#: Decompressed bytes that are kept, so that a step back (tarfile makes them) does not decompress all again.
_BUFFER = 1024 * 1024
#: More bytes than this are never read at once, whatever an archive's headers claim.
_LONGEST_READ = _BUFFER // 2
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}


class PackageError(Exception):
    """The model data cannot be used. The message is a sentence that says why."""


def unpack(archive: BinaryIO, folder: Path, limit: int) -> None:
    """Unpacks a gzip-compressed tar archive below ``folder``, which must exist.

    ``limit`` is the most that may come out of it, in bytes. Raises :class:`PackageError`; what had been unpacked until
    then stays, for the caller to throw away with the folder.
    """
    start = archive.read(2)
    archive.seek(0)
    if not start:
        raise PackageError("The object is empty.")
    if start != b"\x1f\x8b":
        raise PackageError(f"The object is not compressed with gzip: {_guess(archive)}.")
    stream = _Capped(io.BufferedReader(gzip.GzipFile(fileobj=archive), _BUFFER), limit)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for count, member in enumerate(tar, start=1):
                if count > MOST_MEMBERS:
                    raise PackageError(f"The archive holds more than {MOST_MEMBERS:,} files.")
                _take(tar, member, folder)
        # The checksum comes last: without this, damage behind the archive's end mark would not be seen.
        while stream.read(_LONGEST_READ):
            pass
    except tarfile.TarError as error:
        raise PackageError(f"What is compressed in the object is not a tar archive ({error}).") from None
    except OSError as error:
        raise PackageError(f"The archive could not be unpacked ({error.strerror or error}).") from None


def lay_out(objects: Iterable[tuple[str, bytes]], folder: Path, limit: int) -> None:
    """Writes uncompressed model data: each pair is a path relative to ``folder`` (``/`` between names) and its bytes.

    The rules for names are those of S3ModelDataSource
    (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3ModelDataSource.html): a key that ends in a slash
    is a folder's placeholder and is left out. Raises :class:`PackageError`.
    """
    total = 0
    for key, content in objects:
        if key.endswith("/"):
            continue
        names = key.split("/")
        if any(name.strip() in ("", ".", "..") or "\0" in name or len(name.encode()) > 255 for name in names):
            raise PackageError(f"The object name {key!r} cannot be the name of a file below /opt/ml/model.")
        total += len(content)
        if total > limit:
            raise _too_large(limit)
        target = folder.joinpath(*names)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError:
            raise PackageError(
                f"The object name {key!r} clashes with another one: a name is both file and folder."
            ) from None


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise PackageError(f"The archive holds {member.name!r}, a path that leads out of the model's folder.")
    if not (member.isreg() or member.isdir()):
        kind = _KINDS.get(member.type, "an entry of an unknown type")
        raise PackageError(f"The archive holds {kind}, {member.name!r}: only plain files and folders are allowed.")
    target = folder / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member)
    if content is None:
        raise PackageError(f"The archive's entry {member.name!r} cannot be read.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file, _LONGEST_READ)


def _guess(archive: BinaryIO) -> str:
    start = archive.read(tarfile.BLOCKSIZE)
    if start[:4] == b"PK\x03\x04":
        return "it is a zip archive"
    if start[257:262] == b"ustar":
        return "it is a tar archive as it stands (make it with tarfile.open(..., 'w:gz') or tar -czf)"
    return f"it begins with {start[:8]!r}"


def _too_large(limit: int) -> PackageError:
    return PackageError(f"The model data is larger than the {limit / 1024**3:.3g} GB that the instance has room for.")


@contextlib.contextmanager
def _gzip_errors() -> Iterator[None]:
    # Told here: tarfile would take some of them for an archive that is not one.
    try:
        yield
    except EOFError:
        raise PackageError("The gzip data ends too early: the archive is truncated.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise PackageError(f"The gzip data is corrupt ({error}).") from None


class _Capped(io.RawIOBase):
    """A readable, seekable stream that refuses to go past ``limit`` bytes or to read much at once."""

    def __init__(self, stream: io.BufferedReader, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset > self._limit:
            raise _too_large(self._limit)
        with _gzip_errors():
            return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _LONGEST_READ:
            raise PackageError("The archive's headers are not those of a tar archive.")
        with _gzip_errors():
            data = self._stream.read(size)
        if self._stream.tell() > self._limit:
            raise _too_large(self._limit)
        return data
