"""Conditional headers, as the Blob service decides over them.

https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.errors import AzureError


class Versioned(Protocol):
    """What has an ETag and a time of its last change: a blob, a container."""

    etag: str
    modified: datetime


def check_read(header: Callable[[str], str], found: Versioned) -> None:
    """Raises what a read answers whose conditions do not hold: 412, or 304 for what the client has already."""
    _check_unchanged(header, found)
    if matches := header("if-none-match"):
        if _has(matches, found.etag):
            raise _not_modified(found)
    elif (since := header("if-modified-since")) and _second(found.modified) <= _time(since, "If-Modified-Since"):
        raise _not_modified(found)


def check_write(header: Callable[[str], str], found: Versioned | None, *, creates: str = "") -> None:
    """Raises what a write answers whose conditions do not hold; ``found`` is what it would change, if that exists.

    ``creates`` is the error's code where ``If-None-Match: *`` meets something that exists (``BlobAlreadyExists``).
    """
    if found is None:
        if header("if-match"):
            raise error("ConditionNotMet")
        return
    _check_unchanged(header, found)
    if matches := header("if-none-match"):
        if matches.strip() == "*" and creates:
            raise error(creates)
        if _has(matches, found.etag):
            raise error("ConditionNotMet")
    if (since := header("if-modified-since")) and _second(found.modified) <= _time(since, "If-Modified-Since"):
        raise error("ConditionNotMet")


def _check_unchanged(header: Callable[[str], str], found: Versioned) -> None:
    if (matches := header("if-match")) and not _has(matches, found.etag):
        raise error("ConditionNotMet")
    if (since := header("if-unmodified-since")) and _second(found.modified) > _time(since, "If-Unmodified-Since"):
        raise error("ConditionNotMet")


def _has(matches: str, etag: str) -> bool:
    """Whether a list of ETags, or ``*``, holds this one. Quotes may be missing, as Azure allows."""
    listed = [each.strip().removeprefix("W/").strip('"') for each in matches.split(",")]
    return "*" in listed or etag.strip('"') in listed


def _not_modified(found: Versioned) -> AzureError:
    return error("ConditionNotMet", status=304, headers=[("ETag", found.etag)])


def _second(when: datetime) -> datetime:
    return when.replace(microsecond=0)


def _time(text: str, name: str) -> datetime:
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        raise error("InvalidHeaderValue", HeaderName=name, HeaderValue=text) from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when
