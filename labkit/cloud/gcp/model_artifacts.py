"""A model's artifacts: the directory in Cloud Storage that it is uploaded from, and their way to a replica's folder.

https://cloud.google.com/vertex-ai/docs/training/exporting-model-artifacts#scikit-learn
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cloud.gcp import permissions
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.prebuilt_container import MODEL_FILES
from labkit.cloud.gcp.storage_store import Buckets

if TYPE_CHECKING:
    from labkit.cloud.gcp.iam import Iam

#: Bytes that a model's artifacts may have (https://cloud.google.com/vertex-ai/docs/model-registry/import-model).
LARGEST = 10 * 1024**3


def check(buckets: Buckets, uri: str) -> None:
    """Raises ``FAILED_PRECONDITION`` for a directory that a prebuilt container could not load a model from."""
    bucket, prefix = _parse(uri)
    names = {name.removeprefix(prefix) for name in _names(buckets, uri)}
    if len(names & set(MODEL_FILES)) != 1:
        wanted = ", ".join(MODEL_FILES)
        raise GcpError(
            "FAILED_PRECONDITION", f"Model directory {uri} is expected to contain exactly one of: [{wanted}]."
        )
    size = sum(buckets.require(bucket, f"{prefix}{name}").content.size for name in names)
    if size > LARGEST:
        raise GcpError("FAILED_PRECONDITION", f"The files in {uri} have {size} bytes; a model has at most {LARGEST}.")


def check_access(iam: Iam, account: str, uri: str) -> None:
    """Raises ``FAILED_PRECONDITION`` unless an account may read the directory, in the words of Vertex AI."""
    bucket, prefix = _parse(uri)
    place = f"projects/_/buckets/{bucket}"
    lacking = iam.missing(account, ("storage.objects.get",), f"{place}/objects/{prefix}")
    lacking += iam.missing(account, ("storage.objects.list",), place)
    if lacking:
        raise GcpError("FAILED_PRECONDITION", permissions.of_account(account, lacking, f'directory "{uri}"'))


def fetch(buckets: Buckets, uri: str, folder: Path) -> None:
    """Downloads the directory into ``folder``; raises ``FAILED_PRECONDITION`` when its model is gone."""
    check(buckets, uri)
    bucket, prefix = _parse(uri)
    for name in _names(buckets, uri):
        file = (folder / name.removeprefix(prefix)).resolve()
        if name.endswith("/") or not file.is_relative_to(folder.resolve()):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        with buckets.open(buckets.require(bucket, name)) as source, file.open("wb") as target:
            shutil.copyfileobj(source, target)


def _parse(uri: str) -> tuple[str, str]:
    """The bucket, and the beginning of the names of what is in the directory."""
    bucket, _, path = uri.removeprefix("gs://").partition("/")
    path = path.strip("/")
    return bucket, f"{path}/" if path else ""


def _names(buckets: Buckets, uri: str) -> list[str]:
    bucket, prefix = _parse(uri)
    if buckets.find(bucket) is None:
        raise GcpError(
            "FAILED_PRECONDITION", f"The artifacts in {uri} cannot be read: there is no bucket gs://{bucket}."
        )
    return buckets.names(bucket, prefix)
