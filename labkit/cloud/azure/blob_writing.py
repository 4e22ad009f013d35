"""The Blob service's operations that make, change and delete block blobs.

https://learn.microsoft.com/rest/api/storageservices/operations-on-block-blobs
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

from labkit.cloud.azure.blob_conditions import check_write
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_request import BlobCall, stamped
from labkit.cloud.azure.blob_store import Blob, Block, Container, pieces
from labkit.cloud.azure.errors import refusal
from labkit.cloud.http import Response

#: Characters of the longest name.
LONGEST_NAME = 1024
#: Blocks that a list may name.
MOST_BLOCKS = 50_000
_TIERS = ("Hot", "Cool", "Cold")
#: What an uploader may set: the header that sets it -> the header under which it is shown.
_SETTABLE = {
    "x-ms-blob-content-type": "Content-Type",
    "x-ms-blob-content-encoding": "Content-Encoding",
    "x-ms-blob-content-language": "Content-Language",
    "x-ms-blob-content-disposition": "Content-Disposition",
    "x-ms-blob-cache-control": "Cache-Control",
}


def put_blob(at: BlobCall) -> Response:
    """Makes or replaces a blob in one request."""
    check_type(at)
    md5, metadata, headers = at.check_body(), at.metadata(), headers_of(at)
    stated = at.header("x-ms-blob-content-md5")
    if stated and stated != md5:
        raise error("Md5Mismatch", UserSpecifiedMd5=stated, ServerCalculatedMd5=md5)
    check_name(at)
    check_target(at)
    file, size = at.account.save([at.body])
    return commit(
        at, _new(at, Blob(at.blob, file, size, "", at.account.now(), at.account.now()), headers, metadata, md5)
    )


def put_block(at: BlobCall) -> Response:
    """Keeps a piece of a blob to come. Nobody sees it until a block list names it."""
    identifier = _block_id(at.query.get("blockid", ""))
    md5 = at.check_body()
    if at.header("x-ms-copy-source"):
        raise refusal("Put Block From URL")
    check_name(at)
    container = at.find_container()
    if not at.body:
        raise error("InvalidHeaderValue", HeaderName="Content-Length", HeaderValue="0")
    file, size = at.account.save([at.body])
    with at.account.lock:
        others = [*container.waiting.get(at.blob, {}).values()]
        if blob := container.blobs.get(at.blob):
            others += blob.blocks
        if any(len(b64decode(each.id)) != len(b64decode(identifier)) for each in others):
            file.unlink()
            raise error("InvalidBlobOrBlock")
        at.account.stage(container, at.blob, Block(identifier, size, file))
    return Response(201, [("Content-MD5", md5), ("x-ms-request-server-encrypted", "true")])


def put_block_list(at: BlobCall) -> Response:
    """Makes a blob of blocks that were put before, and of those that it has already."""
    at.check_body()
    metadata, headers = at.metadata(), headers_of(at)
    wanted = _wanted(at.body)
    check_name(at)
    with at.account.lock:
        container = check_target(at)
        waiting = container.waiting.get(at.blob, {})
        old = container.blobs.get(at.blob)
        committed = {block.id: block for block in old.blocks} if old else {}
        blocks: list[Block] = []
        for kind, identifier in wanted:
            block = waiting.get(identifier) if kind in ("Latest", "Uncommitted") else None
            if block is None and kind in ("Latest", "Committed"):
                block = committed.get(identifier)
            if block is None:
                raise error("InvalidBlockList")
            blocks.append(block)
        file, size = at.account.save(_joined(blocks, old))
        kept = [replace(block, file=None) for block in blocks]
        blob = Blob(at.blob, file, size, "", at.account.now(), at.account.now(), blocks=kept)
        md5 = at.header("x-ms-blob-content-md5")
        return commit(at, _new(at, blob, headers, metadata, md5))


def set_properties(at: BlobCall) -> Response:
    """Replaces what the uploader may set of the blob's headers, all of them."""
    headers, md5 = headers_of(at, default=""), at.header("x-ms-blob-content-md5")
    with at.account.lock:
        old = at.find_blob()
        check_write(at.header, old)
        changed = any(at.header(name) for name in (*_SETTABLE, "x-ms-blob-content-md5"))
        if at.header("x-ms-blob-content-length") or at.header("x-ms-sequence-number-action"):
            raise error("InvalidBlobType")
        new = replace(old, etag=at.account.new_etag(), modified=at.account.now())
        if changed:
            new = replace(new, headers=headers, md5=md5)
        at.find_container().blobs[at.blob] = new
    return Response(200, stamped(new))


def set_metadata(at: BlobCall) -> Response:
    """Replaces the blob's metadata, all of it."""
    metadata = at.metadata()
    with at.account.lock:
        old = at.find_blob()
        check_write(at.header, old)
        new = replace(old, metadata=metadata, etag=at.account.new_etag(), modified=at.account.now())
        at.find_container().blobs[at.blob] = new
    return Response(200, [*stamped(new), ("x-ms-request-server-encrypted", "true")])


def set_tier(at: BlobCall) -> Response:
    """Notes the tier at which the blob is to be kept. Its content stays where it is, and costs nothing."""
    tier = tier_of(at)
    if not tier:
        raise error("MissingRequiredHeader", HeaderName="x-ms-access-tier")
    with at.account.lock:
        at.find_container().blobs[at.blob] = replace(at.find_blob(), tier=tier)
    return Response(200)


def delete_blob(at: BlobCall) -> Response:
    """Deletes the blob, at once: there is no soft delete, and there are no snapshots."""
    if at.header("x-ms-delete-snapshots") == "only":
        raise refusal("snapshots of blobs")
    with at.account.lock:
        found = at.find_blob()
        check_write(at.header, found)
        at.account.delete(at.find_container(), found)
    return Response(202, [("x-ms-delete-type-permanent", "true")])


def check_type(at: BlobCall) -> None:
    """Refuses what is not a block blob."""
    kind = at.header("x-ms-blob-type")
    if not kind:
        raise error("MissingRequiredHeader", HeaderName="x-ms-blob-type")
    if kind in ("AppendBlob", "PageBlob"):
        raise refusal(f"blobs of type {kind}")
    if kind != "BlockBlob":
        raise error("InvalidHeaderValue", HeaderName="x-ms-blob-type", HeaderValue=kind)


def check_name(at: BlobCall) -> None:
    if len(at.blob) > LONGEST_NAME:
        raise error("OutOfRangeInput")
    if at.blob.endswith(".") and "/" not in at.blob and not at.blob.strip("."):
        raise error("InvalidUri")


def check_target(at: BlobCall) -> Container:
    """The container, once it exists and the request's conditions hold for what the blob is now."""
    container = at.find_container()
    check_write(at.header, container.blobs.get(at.blob), creates="BlobAlreadyExists")
    return container


def commit(at: BlobCall, blob: Blob) -> Response:
    """Makes ``blob`` the one of its name, if the request's conditions still hold."""
    try:
        with at.account.lock:
            container = check_target(at)
            blob.etag = at.account.new_etag()
            if old := container.blobs.get(blob.name):
                blob.created = old.created
            at.account.put(container, blob)
    except BaseException:
        blob.file.unlink(missing_ok=True)
        raise
    headers = [*stamped(blob), ("x-ms-request-server-encrypted", "true")]
    return Response(201, [*headers, ("Content-MD5", blob.md5)] if blob.md5 else headers)


def headers_of(at: BlobCall, default: str = "application/octet-stream") -> dict[str, str]:
    """What the uploader sets of the blob's headers; ``Content-Type`` is ``default`` where it sets none."""
    found = {shown: value for name, shown in _SETTABLE.items() if (value := at.header(name))}
    plain = at.header("content-type") if default and "Content-Type" not in found else ""
    if "Content-Type" not in found and (plain or default):
        found["Content-Type"] = plain or default
    return found


def tier_of(at: BlobCall) -> str:
    tier = at.header("x-ms-access-tier")
    if tier and tier not in _TIERS:
        if tier in ("Archive", "Premium", "Smart"):
            raise refusal(f"the access tier {tier}")
        raise error("InvalidHeaderValue", HeaderName="x-ms-access-tier", HeaderValue=tier)
    return tier


def _new(at: BlobCall, blob: Blob, headers: dict[str, str], metadata: dict[str, str], md5: str) -> Blob:
    return replace(blob, headers=headers, metadata=metadata, md5=md5, tier=tier_of(at))


def _block_id(text: str) -> str:
    if not text:
        raise error("MissingRequiredQueryParameter", QueryParameterName="blockid")
    try:
        decoded = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        decoded = b""
    if not 0 < len(decoded) <= 64:
        raise error("InvalidQueryParameterValue", QueryParameterName="blockid", QueryParameterValue=text)
    return text


def _wanted(body: bytes) -> list[tuple[str, str]]:
    """The (kind, block id) pairs of a block list."""
    try:
        listed = [(each.tag, (each.text or "").strip()) for each in ElementTree.fromstring(body)]
    except ElementTree.ParseError:
        raise error("InvalidXmlDocument") from None
    if any(kind not in ("Latest", "Committed", "Uncommitted") for kind, _ in listed) or len(listed) > MOST_BLOCKS:
        raise error("InvalidXmlDocument")
    return listed


def _joined(blocks: list[Block], old: Blob | None) -> Iterator[bytes]:
    """The content of blocks, one after another: waiting ones from their files, committed ones from the old blob."""
    starts: dict[str, int] = {}
    position = 0
    for block in old.blocks if old else []:
        starts.setdefault(block.id, position)
        position += block.size
    for block in blocks:
        if block.file is not None:
            yield from pieces(block.file.open("rb"), 0, block.size)
        elif old is not None:
            yield from pieces(old.open(), starts[block.id], block.size)
