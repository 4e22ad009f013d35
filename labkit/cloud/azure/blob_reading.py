"""The Blob service's operations that read blobs.

https://learn.microsoft.com/rest/api/storageservices/get-blob and .../get-block-list
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from email.utils import format_datetime
from xml.sax.saxutils import escape

from labkit.cloud.azure.blob_conditions import check_read
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_request import BlobCall, shown_metadata, stamped
from labkit.cloud.azure.blob_store import Blob, Block, pieces
from labkit.cloud.http import Response

#: Bytes of the largest range whose checksum may be asked for.
LARGEST_HASHED_RANGE = 4 << 20
#: Answers up to this size (bytes) are sent whole, larger ones in pieces.
_WHOLE = 1 << 20
_OVERRIDES = {
    "rscc": "Cache-Control",
    "rscd": "Content-Disposition",
    "rsce": "Content-Encoding",
    "rscl": "Content-Language",
    "rsct": "Content-Type",
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def get_blob(at: BlobCall) -> Response:
    """The content, or the range of it that was asked for (206)."""
    with at.account.lock:
        found = at.find_blob()
        check_read(at.header, found)
        content = found.open()
    start, length, partial = _range(at, found.size)
    signed = {shown: at.query[name] for name, shown in _OVERRIDES.items() if at.grant and name in at.query}
    replaced = ("Content-Length", "Content-MD5", *signed)
    headers = [(name, value) for name, value in described(found) if name not in replaced]
    headers += [*signed.items(), ("Content-Length", str(length))]
    if partial:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{found.size}"))
        if found.md5:
            headers.append(("x-ms-blob-content-md5", found.md5))
    elif found.md5:
        headers.append(("Content-MD5", found.md5))
    if at.header("x-ms-range-get-content-md5").lower() == "true":
        if not partial or length > LARGEST_HASHED_RANGE:
            raise error("InvalidHeaderValue", HeaderName="x-ms-range-get-content-md5", HeaderValue="true")
        data = b"".join(pieces(content, start, length))
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        return Response(206, [*headers, ("Content-MD5", b64encode(digest).decode())], data)
    body = pieces(content, start, length)
    return Response(206 if partial else 200, headers, body if length > _WHOLE else b"".join(body))


def get_properties(at: BlobCall) -> Response:
    """What there is to know of the blob, without its content."""
    found = at.find_blob()
    check_read(at.header, found)
    return Response(200, described(found))


def get_metadata(at: BlobCall) -> Response:
    found = at.find_blob()
    check_read(at.header, found)
    return Response(200, [*stamped(found), *shown_metadata(found)])


def get_block_list(at: BlobCall) -> Response:
    """The blocks that the blob consists of, those that wait to be committed, or both."""
    kind = at.query.get("blocklisttype", "committed").lower()
    if kind not in ("committed", "uncommitted", "all"):
        raise error("InvalidQueryParameterValue", QueryParameterName="blocklisttype", QueryParameterValue=kind)
    with at.account.lock:
        container = at.find_container()
        blob, waiting = container.blobs.get(at.blob), list(container.waiting.get(at.blob, {}).values())
    if blob is None and not waiting:
        raise error("BlobNotFound")
    text = ""
    if kind != "uncommitted":
        text += _blocks("CommittedBlocks", blob.blocks if blob else [])
    if kind != "committed":
        text += _blocks("UncommittedBlocks", waiting)
    headers = [("Content-Type", "application/xml"), *(stamped(blob) if blob else [])]
    headers.append(("x-ms-blob-content-length", str(blob.size if blob else 0)))
    whole = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{text}</BlockList>'
    return Response(200, headers, whole.encode())


def described(found: Blob) -> list[tuple[str, str]]:
    """The blob's properties as headers."""
    headers = [
        *stamped(found),
        ("Content-Length", str(found.size)),
        *found.headers.items(),
        ("Accept-Ranges", "bytes"),
        ("x-ms-creation-time", format_datetime(found.created, usegmt=True)),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-lease-status", "unlocked"),
        ("x-ms-lease-state", "available"),
        ("x-ms-server-encrypted", "true"),
        ("x-ms-access-tier", found.tier or "Hot"),
        *shown_metadata(found),
    ]
    if not found.tier:
        headers.append(("x-ms-access-tier-inferred", "true"))
    if found.md5:
        headers.append(("Content-MD5", found.md5))
    names = {"CopyId": "id", "CopySource": "source", "CopyStatus": "status", "CopyProgress": "progress"}
    names["CopyCompletionTime"] = "completion-time"
    return [*headers, *((f"x-ms-copy-{names[name]}", value) for name, value in found.copied.items())]


def _range(at: BlobCall, size: int) -> tuple[int, int, bool]:
    """Where the range that was asked for begins, how long it is, and whether there is one."""
    text = at.header("x-ms-range") or at.header("range")
    matched = _RANGE.fullmatch(text.strip()) if text else None
    if matched is None or matched[0] == "bytes=-":
        return 0, size, False
    if not matched[1]:
        start = max(size - int(matched[2]), 0)
        end = size
    else:
        start = int(matched[1])
        end = min(int(matched[2]) + 1, size) if matched[2] else size
        if matched[2] and int(matched[2]) < start:
            return 0, size, False
    if start >= size:
        raise error("InvalidRange", headers=[("Content-Range", f"bytes */{size}")])
    return start, end - start, True


def _blocks(element: str, blocks: list[Block]) -> str:
    shown = "".join(f"<Block><Name>{escape(block.id)}</Name><Size>{block.size}</Size></Block>" for block in blocks)
    return f"<{element}>{shown}</{element}>"
