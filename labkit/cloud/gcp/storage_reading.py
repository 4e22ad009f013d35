"""Downloads: an object's content, whole or a range. https://cloud.google.com/storage/docs/json_api/v1/objects/get"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from typing import BinaryIO

from labkit.cloud.gcp.storage import StorageCall
from labkit.cloud.gcp.storage_errors import StorageError
from labkit.cloud.gcp.storage_store import PIECE, Object, pieces
from labkit.cloud.gcp.storage_times import http
from labkit.cloud.http import Response

#: The header field of each property that has one.
_FIELDS = {
    "contentType": "Content-Type",
    "contentDisposition": "Content-Disposition",
    "contentLanguage": "Content-Language",
    "cacheControl": "Cache-Control",
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def headers(found: Object, *, stored: bool = True) -> list[tuple[str, str]]:
    """The header fields that go with an object's content; not ``stored`` when it was decompressed on the way."""
    content, encoding = found.content, found.properties.get("contentEncoding")
    hashes = [f"crc32c={content.crc32c}"] + ([f"md5={content.md5}"] if content.md5 else [])
    fields = [
        ("X-Goog-Generation", str(found.generation)),
        ("X-Goog-Metageneration", str(found.metageneration)),
        ("X-Goog-Stored-Content-Encoding", str(encoding or "identity")),
        ("X-Goog-Stored-Content-Length", str(content.size)),
        ("X-Goog-Hash", ",".join(hashes)),
        ("X-Goog-Storage-Class", str(found.properties.get("storageClass", "STANDARD"))),
        ("Last-Modified", http(found.updated)),
        ("ETag", found.etag),
        ("Accept-Ranges", "bytes"),
    ]
    shown = {"contentType": "application/octet-stream", **found.properties}
    fields += [(field, str(shown[name])) for name, field in _FIELDS.items() if name in shown]
    if encoding and stored:
        fields.append(("Content-Encoding", str(encoding)))
    return fields


def media(call: StorageCall, found: Object) -> Response:
    """The content, or the range of it that the call asks for."""
    accepted = call.request.headers.get("accept-encoding")
    if found.properties.get("contentEncoding") == "gzip" and "gzip" not in accepted:
        # Whoever does not take gzip gets what was compressed, whole: ranges would be of other bytes.
        with call.buckets.open(found) as source, gzip.open(source) as content:
            plain = [("Warning", "214 UploadServer gunzipped"), *headers(found, stored=False)]
            return Response(200, plain, content.read())
    size = found.content.size
    asked = _RANGE.fullmatch(call.request.headers.get("range"))
    if not asked or asked.group() == "bytes=-":
        return _sent(call, found, 200, [], 0, size)
    first, last = asked.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= size or start >= end:
        raise StorageError(
            416,
            "requestedRangeNotSatisfiable",
            "Request range not satisfiable",
            location=("header", "Range"),
            headers=[("Content-Range", f"bytes */{size}")],
        )
    return _sent(call, found, 206, [("Content-Range", f"bytes {start}-{end - 1}/{size}")], start, end)


def _sent(call: StorageCall, found: Object, status: int, more: list[tuple[str, str]], start: int, end: int) -> Response:
    fields = [*headers(found), *more, ("Content-Length", str(end - start))]
    if call.request.method == "HEAD":
        return Response(status, fields)
    source = call.buckets.open(found)
    source.seek(start)
    if end - start <= PIECE:
        with source:
            return Response(status, fields, source.read(end - start))
    return Response(status, fields, _stream(source, end - start))


def _stream(source: BinaryIO, size: int) -> Iterator[bytes]:
    with source:
        yield from pieces(source, size)
