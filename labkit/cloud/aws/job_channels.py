"""Data on its way between S3 and a job's folders: prefixes and manifests in, folders out.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.role_storage import RoleStorage
from labkit.cloud.aws.sagemaker_data import parse


class TransferFailed(Exception):
    """Data could not be brought to or from a job. The message is the vendor's, after ``ClientError: ``."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a channel: where it is, and its path in the channel's folder (``/`` between names)."""

    bucket: str
    key: str
    path: str


def items(storage: RoleStorage, url: str, data_type: str = "S3Prefix") -> list[Item]:
    """The objects that a data source names, in order; raises :class:`AwsError` with S3's codes."""
    if data_type == "ManifestFile":
        return list(_of_manifest(storage, url))
    bucket, prefix = parse(url)
    found = []
    for key in storage.keys(bucket, prefix):
        if not key.endswith("/"):
            found.append(Item(bucket, key, _path_below(key, prefix)))
    return found


def download(storage: RoleStorage, url: str, folder: Path, data_type: str = "S3Prefix") -> int:
    """Lays out a data source below ``folder``; returns how many objects it had. Raises :class:`TransferFailed`."""
    try:
        found = items(storage, url, data_type)
        for item in found:
            target = folder.joinpath(*item.path.split("/"))
            if not target.resolve().is_relative_to(folder.resolve()):
                raise TransferFailed(f"Data download failed:The key {item.key} leads out of the channel's folder.")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(storage.read(item.bucket, item.key))
    except AwsError as error:
        raise TransferFailed(f"Data download failed:{error.code} ({error.status}): {error.message} ({url})") from None
    except OSError:
        raise TransferFailed(
            f"Failed to download data. Cannot download {url}, a previously downloaded file/folder clashes with it. "
            "Please check your s3 objects and ensure that there is no object that is both a folder as well as a file."
        ) from None
    return len(found)


def upload(storage: RoleStorage, folder: Path, url: str) -> int:
    """Puts every file below ``folder`` under a prefix; returns how many. Raises :class:`TransferFailed`."""
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(storage, f"{url.rstrip('/')}/{path.relative_to(folder).as_posix()}", path.read_bytes())
            count += 1
    return count


def put(storage: RoleStorage, url: str, data: bytes) -> None:
    """Puts one object; raises :class:`TransferFailed`."""
    try:
        storage.write(*parse(url), data)
    except AwsError as error:
        raise TransferFailed(f"Data upload failed:{error.code} ({error.status}): {error.message} ({url})") from None


def archive(folder: Path) -> bytes | None:
    """A tar.gz of everything below ``folder``, or None when there is nothing."""
    if not any(folder.iterdir()):
        return None
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return stream.getvalue()


def _path_below(key: str, prefix: str) -> str:
    """An object's path in its channel: below the prefix where that is a folder, else below the folder it is in."""
    if prefix.endswith("/") or not prefix:
        return key[len(prefix) :]
    if key.startswith(f"{prefix}/"):
        return key[len(prefix) + 1 :]
    return key[len(prefix.rpartition("/")[0]) :].lstrip("/")


def _of_manifest(storage: RoleStorage, url: str) -> Iterator[Item]:
    bucket, key = parse(url)
    try:
        listed = json.loads(storage.read(bucket, key))
        prefix, names = listed[0]["prefix"], [str(name) for name in listed[1:]]
    except (ValueError, KeyError, IndexError, TypeError):
        message = f'The manifest {url} has to be a JSON list: {{"prefix": "s3://..."}} first, then names below it.'
        raise AwsError("InvalidManifest", message) from None
    bucket, base = parse(prefix)
    for name in names:
        yield Item(bucket, f"{base}{name}", name.lstrip("/"))
