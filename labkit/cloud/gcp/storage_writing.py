"""Uploads: in one request, with the metadata in a part of its own, or resumable.

https://cloud.google.com/storage/docs/uploads-downloads, https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labkit.cloud.engine.access import Caller
from labkit.cloud.gcp import storage_conditions, storage_objects
from labkit.cloud.gcp.multipart import parts
from labkit.cloud.gcp.storage import Route, StorageCall, json_object
from labkit.cloud.gcp.storage_errors import StorageError, invalid
from labkit.cloud.gcp.storage_store import Content, Object, pieces
from labkit.cloud.http import Response

#: Pieces of a resumable upload, but for the last one, are multiples of this many bytes.
CHUNK = 256 << 10
#: Resumable uploads that are remembered; the oldest go first.
KEPT = 1000

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


def insert(call: StorageCall) -> Response:
    """An upload of any kind, or the beginning of one; gcsfs posts the pieces of one that has begun, too."""
    kind = call.query.get("uploadType", "media" if call.request.raw_path.startswith("/upload/") else "")
    if kind == "media":
        body = {"contentType": call.request.headers.get("content-type") or "application/octet-stream"}
        return call.answer(storage_objects.resource(store(call, call.parameter("name"), body, call.request.body)))
    if kind == "multipart":
        return _multipart(call)
    if kind == "resumable":
        return resume(call) if "upload_id" in call.query else _begin(call)
    raise invalid(f"Unknown uploadType {kind!r}: it is media, multipart or resumable, at an address below /upload.")


def _multipart(call: StorageCall) -> Response:
    found = parts(call.request.headers.get("content-type"), call.request.body)
    if len(found) != 2:
        raise invalid("A multipart upload has two parts: the metadata and the content.")
    (_, described), (head, content) = found
    body = json_object(described)
    if head.get("content-type"):
        body.setdefault("contentType", head.get("content-type"))
    name = str(body.get("name") or call.query.get("name", ""))
    return call.answer(storage_objects.resource(store(call, name, body, content)))


def store(call: StorageCall, name: str, body: dict[str, Any], data: bytes) -> Object:
    """Makes ``data`` an object if the call's conditions hold and the checksums that came with it are its own."""
    _prepare(call, name, body)
    return _finish(call, body, call.buckets.write([data]))


def may_store(call: StorageCall, bucket: str, name: str) -> None:
    """Raises unless the caller may put an object there, in the place of another one if there is one.

    https://cloud.google.com/storage/docs/access-control/iam-json
    """
    call.require("storage.objects.create", bucket, name)
    held = call.buckets.find(bucket)
    if held is not None and name in held.objects:
        call.require("storage.objects.delete", bucket, name)


def _prepare(call: StorageCall, name: str, body: dict[str, Any]) -> None:
    """Checks all that can be checked before the content is there."""
    call.name = storage_objects.check_name(name)
    may_store(call, call.bucket, call.name)
    storage_objects.properties(body)
    with call.buckets.lock:
        storage_conditions.check(call, call.buckets.get(call.bucket).objects.get(call.name))


def _finish(call: StorageCall, body: dict[str, Any], content: Content) -> Object:
    try:
        _check_sums(call, body, content)
        properties = storage_objects.properties(body)
    except StorageError:
        content.file.unlink(missing_ok=True)
        raise
    if encoding := call.query.get("contentEncoding"):
        properties.setdefault("contentEncoding", encoding)
    return call.buckets.put(
        call.bucket,
        call.name,
        content,
        properties,
        check=lambda before: storage_conditions.check(call, before),
    )


def _check_sums(call: StorageCall, body: dict[str, Any], content: Content) -> None:
    """Compares the checksums that the uploader sent, in the metadata or in header fields, with the content's."""
    sent = dict(each.strip().partition("=")[::2] for each in call.request.headers.get("x-goog-hash").split(",") if each)
    for kind, name, own in (("crc32c", "CRC32C", content.crc32c), ("md5", "MD5 hash", content.md5)):
        claimed = body.get("md5Hash" if kind == "md5" else kind) or sent.get(kind)
        if kind == "md5":
            claimed = claimed or call.request.headers.get("content-md5")
        if claimed and claimed != own:
            raise invalid(f'Provided {name} "{claimed}" doesn\'t match calculated {name} "{own}".')


# -- resumable uploads -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Session:
    """A resumable upload: what was said at its beginning, and the content that has come so far."""

    bucket: str
    name: str
    body: dict[str, Any]
    query: dict[str, str]
    caller: Caller | None
    file: Path
    total: int | None = None
    received: int = 0
    made: Object | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """The resumable uploads that have begun, by their ids."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, session: Session) -> str:
        number = secrets.token_urlsafe(96)
        with self._lock:
            self._known[number] = session
            while len(self._known) > KEPT:
                self._known.popitem(last=False)[1].file.unlink(missing_ok=True)
        return number

    def get(self, number: str) -> Session:
        found = self._known.get(number)
        if found is None:
            raise StorageError(404, "notFound", "Not Found: no upload that has begun has this upload_id.")
        return found

    def remove(self, number: str) -> None:
        with self._lock:
            self._known.pop(number).file.unlink(missing_ok=True)


def _sessions(call: StorageCall) -> Sessions:
    return call.cloud.store(Sessions, "")


def _begin(call: StorageCall) -> Response:
    body = call.body()
    if kind := call.request.headers.get("x-upload-content-type"):
        body.setdefault("contentType", kind)
    name = str(body.get("name") or call.query.get("name", ""))
    _prepare(call, name, body)
    length = call.request.headers.get("x-upload-content-length")
    if length and not length.isdecimal():
        raise invalid(f"Invalid X-Upload-Content-Length: {length!r} is not a whole number.")
    file = call.buckets.scratch()
    file.touch()
    session = Session(call.bucket, call.name, body, call.query, call.caller, file, int(length) if length else None)
    number = _sessions(call).add(session)
    query = f"uploadType=resumable&upload_id={number}&name={quote(call.name, safe='')}"
    address = f"https://{call.request.host}/upload/storage/v1/b/{quote(call.bucket)}/o?{query}"
    return Response(200, [("Location", address), ("X-GUploader-UploadID", number)])


def resume(call: StorageCall) -> Response:
    """A piece of a resumable upload, or the question how much of it has come."""
    number = call.parameter("upload_id")
    session = _sessions(call).get(number)
    call.bucket, call.name, call.caller = session.bucket, session.name, session.caller
    call.query = session.query | {"upload_id": number} | {k: v for k, v in call.query.items() if k == "fields"}
    with session.lock:
        if session.made is not None:
            return call.answer(storage_objects.resource(session.made))
        first, total, asks = _place(call, session)
        session.total = total if total is not None else session.total
        if not asks:
            _append(call, session, first)
        whole = session.received == session.total and (not asks or session.total == 0)
        if not whole:
            return _more(session, number)
        content = _content(call, session)
        session.made = _finish(call, session.body, content)
        return call.answer(storage_objects.resource(session.made), [("X-GUploader-UploadID", number)])


def _place(call: StorageCall, session: Session) -> tuple[int, int | None, bool]:
    """Where the request's bytes belong, the whole's size if it is known by now, and whether it only asks."""
    size, text = len(call.request.body), call.request.headers.get("content-range")
    if not text:
        if session.total not in (None, size):
            raise invalid(f"The upload was announced with {session.total} bytes, and the request has {size}.")
        return 0, size, False
    found = _CONTENT_RANGE.fullmatch(text)
    if not found:
        raise invalid(f"Failed to parse Content-Range header: {text!r}.")
    first, last, whole = found.groups()
    total = None if whole == "*" else int(whole)
    if session.total is not None and total not in (None, session.total):
        raise invalid(f"The upload has {session.total} bytes in all, and the request says {total}.")
    if first is None:
        return 0, total, True
    if int(last) - int(first) + 1 != size:
        raise invalid(f"The Content-Range {text!r} does not agree with the {size} bytes of the request.")
    if int(first) > session.received:
        raise invalid(
            f"Invalid request. According to the Content-Range header, the upload offset is {first} byte(s), which "
            f"exceeds already uploaded size of {session.received} byte(s)."
        )
    end = int(last) + 1
    if (total is None or end < total) and size % CHUNK:
        raise invalid(
            f"Invalid request. The number of bytes uploaded is required to be equal or greater than {CHUNK}, except "
            "for the final request (it's recommended to be the exact multiple of "
            f"{CHUNK}). The received request contained {size} bytes, which does not meet this requirement."
        )
    return int(first), total, False


def _append(call: StorageCall, session: Session, first: int) -> None:
    """Stores those of the request's bytes that had not come before."""
    new = memoryview(call.request.body)[session.received - first :]
    with session.file.open("ab") as sink:
        sink.write(new)
    session.received += len(new)


def _more(session: Session, number: str) -> Response:
    fields = [("X-GUploader-UploadID", number), ("Content-Length", "0")]
    if session.received:
        fields.append(("Range", f"bytes=0-{session.received - 1}"))
    return Response(308, fields)


def _content(call: StorageCall, session: Session) -> Content:
    with session.file.open("rb") as source:
        content = call.buckets.write(pieces(source))
    session.file.unlink()
    return content


def cancel(call: StorageCall) -> Response:
    """Gives a resumable upload up."""
    number = call.parameter("upload_id")
    session = _sessions(call).get(number)
    call.bucket, call.name, call.caller = session.bucket, session.name, session.caller
    _sessions(call).remove(number)
    return Response(499)


_UPLOAD = "/upload/storage/v1/b/{bucket}/o"

_LISTS = "lists of access control refuse"

ROUTES = [
    Route("objects.insert", "POST", _UPLOAD, "storage.objects.create", insert, _LISTS, asks=True),
    Route("objects.insert", "PUT", _UPLOAD, "storage.objects.create", resume, by_upload_id=True),
    Route("objects.insert", "DELETE", _UPLOAD, "storage.objects.create", cancel, by_upload_id=True),
]
