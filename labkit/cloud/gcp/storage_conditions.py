"""Preconditions: an operation is done only if an object is as its caller thinks.

https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.cloud.gcp.storage_errors import StorageError

if TYPE_CHECKING:
    from labkit.cloud.gcp.storage import StorageCall
    from labkit.cloud.gcp.storage_store import Bucket, Object


def check(call: StorageCall, found: Object | None, *, source: bool = False) -> None:
    """Raises 412, or 304 for a read, unless the object (None: there is none) is as the call's conditions want it.

    With ``source`` they are those that are about what is copied.
    """
    start = "ifSource" if source else "if"
    generation = found.generation if found else 0
    metageneration = found.metageneration if found else None
    for kind, value in (("Generation", generation), ("Metageneration", metageneration)):
        wanted = call.number(f"{start}{kind}Match")
        if wanted is not None and wanted != value:
            raise _failed("If-Match")
        unwanted = call.number(f"{start}{kind}NotMatch")
        if unwanted is not None and unwanted == value:
            raise _unchanged(call, found.etag if found else "")
    if not source:
        _check_etag(call, found.etag if found else "")


def check_bucket(call: StorageCall, found: Bucket) -> None:
    """The same for a bucket's metageneration."""
    wanted, unwanted = call.number("ifMetagenerationMatch"), call.number("ifMetagenerationNotMatch")
    if wanted is not None and wanted != found.metageneration:
        raise _failed("If-Match")
    if unwanted is not None and unwanted == found.metageneration:
        raise _unchanged(call, found.etag)
    _check_etag(call, found.etag)


def _check_etag(call: StorageCall, etag: str) -> None:
    wanted, unwanted = (_etags(call, name) for name in ("if-match", "if-none-match"))
    if wanted and etag not in wanted and not ("*" in wanted and etag):
        raise _failed("If-Match")
    if unwanted and (etag in unwanted or ("*" in unwanted and etag)):
        raise _unchanged(call, etag)


def _etags(call: StorageCall, header: str) -> list[str]:
    return [each.strip().strip('"') for each in call.request.headers.get(header).split(",") if each.strip()]


def _failed(header: str) -> StorageError:
    message = "At least one of the pre-conditions you specified did not hold."
    return StorageError(412, "conditionNotMet", message, location=("header", header))


def _unchanged(call: StorageCall, etag: str) -> StorageError:
    if call.request.method not in ("GET", "HEAD"):
        return _failed("If-None-Match")
    return StorageError(304, "notModified", "Not Modified", headers=[("ETag", etag)])
