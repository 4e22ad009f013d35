"""Objects: what is known of them, changed and deleted. https://cloud.google.com/storage/docs/json_api/v1/objects"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from labkit.cloud.gcp import storage_conditions
from labkit.cloud.gcp.storage import Route, StorageCall
from labkit.cloud.gcp.storage_errors import StorageError, check_types, invalid, refused
from labkit.cloud.gcp.storage_store import Object
from labkit.cloud.gcp.storage_times import text
from labkit.cloud.http import Response

#: What an uploader may set.
SETTABLE = (
    "contentType",
    "contentEncoding",
    "contentDisposition",
    "contentLanguage",
    "cacheControl",
    "customTime",
    "metadata",
    "storageClass",
)
#: What a caller may send and an object has anyway.
_GIVEN = {
    "kind",
    "id",
    "selfLink",
    "mediaLink",
    "name",
    "bucket",
    "generation",
    "metageneration",
    "size",
    "md5Hash",
    "crc32c",
    "etag",
    "timeCreated",
    "updated",
    "timeStorageClassUpdated",
    "timeFinalized",
    "acl",
    "owner",
    "componentCount",
}
#: Bytes of all custom metadata at most.
_MOST_METADATA = 8 << 10


def resource(found: Object) -> dict[str, Any]:
    """The object as the API shows it."""
    path = f"b/{found.bucket}/o/{quote(found.name, safe='')}"
    shown: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{found.bucket}/{found.name}/{found.generation}",
        "selfLink": f"https://www.googleapis.com/storage/v1/{path}",
        "mediaLink": f"https://storage.googleapis.com/download/storage/v1/{path}"
        f"?generation={found.generation}&alt=media",
        "name": found.name,
        "bucket": found.bucket,
        "generation": str(found.generation),
        "metageneration": str(found.metageneration),
        "storageClass": "STANDARD",
        **found.properties,
        "size": str(found.content.size),
        "crc32c": found.content.crc32c,
        "etag": found.etag,
        "timeCreated": text(found.created),
        "updated": text(found.updated),
        "timeStorageClassUpdated": text(found.created),
        "timeFinalized": text(found.created),
    }
    if found.content.md5:
        shown["md5Hash"] = found.content.md5
    if found.components:
        shown["componentCount"] = found.components
    return shown


def properties(body: dict[str, Any]) -> dict[str, object]:
    """What a request's body sets of an object; refuses what the kit would not give effect to."""
    for name, value in body.items():
        if name not in SETTABLE and name not in _GIVEN and value not in (None, False, {}, []):
            raise refused(f"the object setting {name}")
    check_types(body, {name: dict if name == "metadata" else str for name in SETTABLE})
    kept: dict[str, object] = {name: body[name] for name in SETTABLE if body.get(name) is not None}
    metadata = kept.get("metadata")
    if metadata is not None:
        if not isinstance(metadata, dict) or not all(
            value is None or isinstance(value, str) for value in metadata.values()
        ):
            raise invalid("Invalid value for metadata: it has to be an object with strings.")
        if sum(len(name) + len(value or "") for name, value in metadata.items()) > _MOST_METADATA:
            raise invalid("The total size of the custom metadata is more than 8 KiB.")
    return kept


def check_name(name: str) -> str:
    """An object's name, if it can be one. https://cloud.google.com/storage/docs/objects#naming"""
    if not name:
        raise invalid("Required")
    if len(name.encode()) > 1024:
        raise invalid("The specified object name is too long.")
    if re.search("[\r\n]", name) or name in (".", "..") or name.startswith(".well-known/acme-challenge/"):
        raise invalid(f"Disallowed unicode characters present in object name '{name}'")
    return name


def find(call: StorageCall) -> Object:
    """The object that the call's path and ``generation`` name, if its conditions hold.

    Only those who may list the bucket learn that there is none.
    """
    try:
        found = call.buckets.require(call.bucket, call.name, call.number("generation"))
    except StorageError:
        call.require("storage.objects.list", call.bucket)
        raise
    storage_conditions.check(call, found)
    return found


def get(call: StorageCall) -> Response:
    """The resource, or with ``alt=media`` the content."""
    if call.query.get("alt") == "media":
        from labkit.cloud.gcp import storage_reading

        return storage_reading.media(call, find(call))
    return call.answer(resource(find(call)))


def patch(call: StorageCall) -> Response:
    """Changes what the body names: null takes it away, custom metadata is merged."""
    return _changed(call, merge=True)


def update(call: StorageCall) -> Response:
    """Sets everything to what the body says."""
    return _changed(call, merge=False)


def _changed(call: StorageCall, *, merge: bool) -> Response:
    body = call.body()
    asked = properties(body)
    with call.buckets.lock:
        found = find(call)
        if asked.get("storageClass", "STANDARD") != found.properties.get("storageClass", "STANDARD"):
            raise invalid("The storage class of an object is changed by rewriting it.")
        changed = {**found.properties, **asked} if merge else asked
        if merge:
            changed = {name: value for name, value in changed.items() if name not in body or body[name] is not None}
            if isinstance(body.get("metadata"), dict):
                before = found.properties.get("metadata")
                metadata = {**(before if isinstance(before, dict) else {}), **body["metadata"]}
                changed["metadata"] = {name: value for name, value in metadata.items() if value is not None}
                if not changed["metadata"]:
                    del changed["metadata"]
        return call.answer(resource(call.buckets.change(found, changed)))


def delete(call: StorageCall) -> Response:
    with call.buckets.lock:
        call.buckets.delete(find(call))
    return Response(204)


_OBJECT = "/storage/v1/b/{bucket}/o/{name}"

ROUTES = [
    Route("objects.get", "GET", _OBJECT, "storage.objects.get", get),
    Route("objects.patch", "PATCH", _OBJECT, "storage.objects.update", patch, "holds and retention refuse"),
    Route("objects.update", "PUT", _OBJECT, "storage.objects.update", update, "holds and retention refuse"),
    Route("objects.delete", "DELETE", _OBJECT, "storage.objects.delete", delete),
]
