"""S3's records: buckets, objects and their versions, kept in moto's own classes so that the rest of moto sees them.

Everything here is called with ``moto_base.lock("s3")`` held.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

from labkit.cloud.aws import moto_base
from labkit.cloud.aws.errors import AwsError

#: The account's canonical user id, which owns every bucket and object.
OWNER = {"ID": "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"}
#: The storage class of an object that was given none, which responses leave out.
STANDARD = "STANDARD"
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
#: What S3 says of every object unless it was told otherwise.
ENCRYPTION = "AES256"

_VERSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def no_such_bucket(name: str) -> AwsError:
    return AwsError("NoSuchBucket", "The specified bucket does not exist", 404, BucketName=name)


def no_such_key(key: str) -> AwsError:
    return AwsError("NoSuchKey", "The specified key does not exist.", 404, Key=key)


def precondition_failed(condition: str) -> AwsError:
    message = "At least one of the pre-conditions you specified did not hold"
    return AwsError("PreconditionFailed", message, 412, Condition=condition)


def malformed_xml() -> AwsError:
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return AwsError("MalformedXML", message, 400)


def invalid(name: str, value: object, message: str) -> AwsError:
    """An ``InvalidArgument`` about one argument."""
    return AwsError("InvalidArgument", message, 400, ArgumentName=name, ArgumentValue=value)


def bucket(name: str) -> Any:
    """moto's record of a bucket. Raises ``NoSuchBucket``."""
    found = moto_base.backend("s3").buckets.get(name)
    if found is None:
        raise no_such_bucket(name)
    return found


def is_marker(record: Any) -> bool:
    """Whether a version is a delete marker."""
    return isinstance(record, moto_base.models("s3").FakeDeleteMarker)


def versions(holder: Any, key: str) -> list[Any]:
    """Every version of a key, oldest first; empty when there is none."""
    return list(holder.keys.getlist(key, []))


def latest(holder: Any, key: str) -> Any | None:
    """The current version of a key, or None when there is none or it is deleted."""
    kept = versions(holder, key)
    return None if not kept or is_marker(kept[-1]) else kept[-1]


def find(holder: Any, key: str, version_id: str | None = None) -> Any:
    """moto's record of an object's version. Raises what S3 answers when it is not there, or is a delete marker."""
    kept = versions(holder, key)
    if version_id is None:
        if not kept:
            raise no_such_key(key)
        if is_marker(kept[-1]):
            error = no_such_key(key)
            error.headers = [("x-amz-delete-marker", "true"), ("x-amz-version-id", kept[-1].version_id)]
            raise error
        return kept[-1]
    if version_id != "null" and not _VERSION_ID.fullmatch(version_id):
        raise invalid("versionId", version_id, "Invalid version id specified")
    found = next((each for each in kept if each.version_id == version_id), None)
    if found is None:
        message = "The specified version does not exist."
        raise AwsError("NoSuchVersion", message, 404, Key=key, VersionId=version_id)
    if is_marker(found):
        message = "The specified method is not allowed against this resource."
        error = AwsError("MethodNotAllowed", message, 405, Method="GET", ResourceType="DeleteMarker")
        error.headers = [("x-amz-delete-marker", "true"), ("x-amz-version-id", version_id), ("allow", "DELETE")]
        raise error
    return found


def copy_source(text: str) -> tuple[str, str, str | None]:
    """(bucket, key, version id) of an ``x-amz-copy-source``. Raises ``InvalidArgument``."""
    path, _, version = text.partition("?versionId=")
    name, slash, key = unquote(path).lstrip("/").partition("/")
    if not slash or not key:
        message = "Invalid copy source object key" if slash else "Copy Source must mention the source bucket and key: "
        raise invalid("x-amz-copy-source", text, message + ("" if slash else "sourcebucket/sourcekey"))
    return name, key, version or None


def version_of(holder: Any, record: Any) -> str | None:
    """The version id that responses tell: none for a bucket that never had versions."""
    return str(record.version_id) if holder.versioning_status else None


def store(
    holder: Any,
    key: str,
    data: bytes,
    metadata: Mapping[str, str],
    *,
    etag: str = "",
    storage_class: str = STANDARD,
    encryption: str | None = None,
    checksum: tuple[str, str] | None = None,
    checksum_type: str = "FULL_OBJECT",
) -> Any:
    """Puts an object, as a new version where the bucket keeps them; returns moto's record.

    ``metadata`` holds response headers by name; ``checksum`` is (algorithm, base64 value).
    """
    kind = moto_base.models("s3").FakeKey
    enabled = holder.versioning_status == "Enabled"
    record = kind(
        name=key,
        bucket_name=holder.name,
        value=data,
        account_id=holder.account_id,
        region_name=holder.region_name,
        storage=storage_class,
        etag=etag or hashlib.md5(data, usedforsecurity=False).hexdigest(),
        is_versioned=enabled,
        version_id=moto_base.version_id() if enabled else "null",
        encryption=encryption or ENCRYPTION,
        checksum_value=checksum[1] if checksum else None,
        checksum_type=checksum_type if checksum else None,
    )
    record.checksum_algorithm = checksum[0].upper() if checksum else None
    record.set_metadata(dict(metadata))
    _append(holder, key, record)
    return record


def delete(holder: Any, key: str, version_id: str | None) -> tuple[str | None, bool]:
    """Deletes an object or one version of it; returns the version id to tell and whether it is a delete marker's."""
    kept = versions(holder, key)
    if version_id is not None:
        if version_id != "null" and not _VERSION_ID.fullmatch(version_id):
            raise invalid("versionId", version_id, "Invalid version id specified")
        gone = next((each for each in kept if each.version_id == version_id), None)
        _set(holder, key, (each for each in kept if each is not gone))
        return version_id, gone is not None and is_marker(gone)
    if not holder.versioning_status:
        _set(holder, key, ())
        return None, False
    marker = moto_base.models("s3").FakeDeleteMarker(SimpleNamespace(name=key))
    if holder.versioning_status == "Suspended":
        marker._version_id = "null"
    _append(holder, key, marker)
    return str(marker.version_id), True


def _append(holder: Any, key: str, record: Any) -> None:
    kept = versions(holder, key) if holder.versioning_status else []
    if record.version_id == "null":
        kept = [each for each in kept if each.version_id != "null"]
    _set(holder, key, [*kept, record])


def _set(holder: Any, key: str, kept: Iterable[Any]) -> None:
    kept = list(kept)
    if kept:
        holder.keys.setlist(key, kept)
    elif key in holder.keys:
        holder.keys.setlist(key, [])
        dict.pop(holder.keys, key)
