"""Copies between blobs of the local clouds, done before the answer is sent.

https://learn.microsoft.com/rest/api/storageservices/copy-blob, .../copy-blob-from-url and .../put-blob-from-url
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit

from labkit.cloud.azure import hosts, sas, storage_accounts
from labkit.cloud.azure.blob_conditions import check_write
from labkit.cloud.azure.blob_containers import delegation_key
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_request import BlobCall
from labkit.cloud.azure.blob_store import Account, Blob, pieces
from labkit.cloud.azure.blob_writing import check_name, check_target, check_type, commit, headers_of, tier_of
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.hosts import Target
from labkit.cloud.http import Response


def copy_blob(at: BlobCall) -> Response:
    """Copies a blob with its properties, and its metadata unless the request has some."""
    copied = _copy(at)
    answer = commit(at, copied)
    headers = [(name, value) for name, value in answer.headers if name != "Content-MD5"]
    headers += [("x-ms-copy-id", copied.copied["CopyId"]), ("x-ms-copy-status", "success")]
    return Response(202, headers)


def put_blob_from_url(at: BlobCall) -> Response:
    """Makes a blob of another's content; its properties too, unless told not to."""
    check_type(at)
    copied = replace(_copy(at), copied={})
    if at.header("x-ms-copy-source-blob-properties").lower() == "false":
        copied = replace(copied, headers=headers_of(at))
    else:
        copied = replace(copied, headers=copied.headers | headers_of(at, default=""))
    return commit(at, replace(copied, metadata=at.metadata()))


def _copy(at: BlobCall) -> Blob:
    if at.header("x-ms-copy-source-tag-option").upper() == "COPY":
        raise refusal("index tags of blobs")
    metadata = at.metadata()
    check_name(at)
    check_target(at)
    address = at.header("x-ms-copy-source")
    source, content = _source(at, address)
    file, size = at.account.save(pieces(content, 0, source.size))
    now = at.account.now()
    details = {
        "CopyId": str(uuid.uuid4()),
        "CopySource": address.partition("?")[0],
        "CopyStatus": "success",
        "CopyProgress": f"{size}/{size}",
        "CopyCompletionTime": format_datetime(now, usegmt=True),
    }
    return replace(
        source,
        name=at.blob,
        file=file,
        created=now,
        modified=now,
        metadata=metadata or source.metadata,
        copied=details,
        tier=tier_of(at) or source.tier,
    )


def _source(at: BlobCall, address: str) -> tuple[Blob, BinaryIO]:
    """The blob at an address, open, if the request may read it: by a signature there, or as the account's own."""
    parts = urlsplit(address)
    target = hosts.resolve(parts.hostname or "")
    if not isinstance(target, Target) or target.service != "blob" or parts.scheme != "https":
        raise error("CannotVerifyCopySource", why=f"{address.partition('?')[0]} is not in the local clouds.")
    resource = storage_accounts.find(at.call.cloud, target.name)
    container_name, _, name = unquote(parts.path).lstrip("/").partition("/")
    query = dict(parse_qsl(parts.query))
    if resource is None:
        raise error("CannotVerifyCopySource")
    account: Account = resource.state
    if "sig" in query:
        granted = sas.verify(
            query,
            account.name,
            container_name,
            name,
            keys=account.keys,
            delegation_key=lambda *claims: delegation_key(replace(at, account=account), *claims),
            secure=True,
            now=datetime.now(UTC),
        )
        if "r" not in granted.permissions:
            raise error("CannotVerifyCopySource", status=403)
    elif at.header("x-ms-copy-source-authorization"):
        raise refusal("the header x-ms-copy-source-authorization")
    elif account is not at.account or at.grant is not None:
        raise error("CannotVerifyCopySource", status=403, why="Add a shared access signature to the source's address.")
    with account.lock:
        container = account.containers.get(container_name)
        source = container.blobs.get(name) if container else None
        if source is None:
            raise error("CannotVerifyCopySource")
        try:
            check_write(lambda condition: at.header(f"x-ms-source-{condition}"), source)
        except AzureError:
            raise error("SourceConditionNotMet") from None
        return source, source.open()
