"""Lists of objects, and pages of any list. https://cloud.google.com/storage/docs/json_api/v1/objects/list"""

from __future__ import annotations

import bisect
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from labkit.cloud.gcp import storage_objects
from labkit.cloud.gcp.storage import Route, StorageCall
from labkit.cloud.gcp.storage_errors import StorageError
from labkit.cloud.gcp.storage_store import Object
from labkit.cloud.http import Response

T = TypeVar("T")

#: Entries of a page at most, and where the call does not say.
LARGEST_PAGE = 1000


def page_of(call: StorageCall, entries: Sequence[T], key: Callable[[T], str]) -> tuple[Sequence[T], str]:
    """The entries of the page that the call asks for, of all that are sorted by ``key``, and the next page's token."""
    asked = call.number("maxResults")
    size = min(asked or LARGEST_PAGE, LARGEST_PAGE)
    start = 0
    if token := call.query.get("pageToken"):
        try:
            last = urlsafe_b64decode(token.encode()).decode()
        except ValueError:
            raise StorageError(
                400, "invalidParameter", f"Invalid pageToken: {token}", location=("parameter", "pageToken")
            ) from None
        start = bisect.bisect_right(entries, last, key=key)
    page = entries[start : start + size]
    more = start + size < len(entries)
    return page, urlsafe_b64encode(key(page[-1]).encode()).decode() if more and page else ""


def list_objects(call: StorageCall) -> Response:
    """The bucket's objects, by name; with ``delimiter`` those deeper are summed up as ``prefixes``.

    ``versions`` changes nothing: no bucket keeps the versions that were replaced.
    """
    entries = _entries(call)
    page, token = page_of(call, entries, lambda each: each if isinstance(each, str) else each.name)
    answer: dict[str, Any] = {"kind": "storage#objects"}
    if prefixes := [each for each in page if isinstance(each, str)]:
        answer["prefixes"] = prefixes
    if items := [each for each in page if not isinstance(each, str)]:
        answer["items"] = [storage_objects.resource(each) for each in items]
    if token:
        answer["nextPageToken"] = token
    return call.answer(answer)


def _entries(call: StorageCall) -> list[str | Object]:
    """Objects and prefixes, in the order of their names."""
    prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
    first, end = call.query.get("startOffset", ""), call.query.get("endOffset", "")
    trailing = call.flag("includeTrailingDelimiter")
    with call.buckets.lock:
        objects = dict(call.buckets.get(call.bucket).objects)
    entries: list[str | Object] = []
    last = ""
    for name in sorted(objects):
        if not name.startswith(prefix) or name < first or (end and name >= end):
            continue
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            entries.append(objects[name])
            continue
        summed = name[: cut + len(delimiter)]
        if summed != last:
            last = summed
            entries.append(summed)
        if trailing and name == summed:
            entries.append(objects[name])
    return entries


ROUTES = [
    Route(
        "objects.list",
        "GET",
        "/storage/v1/b/{bucket}/o",
        "storage.objects.list",
        list_objects,
        "soft-deleted objects and glob patterns refuse",
    ),
]
