"""Pages of a list. https://google.aip.dev/158"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import TypeVar

from labkit.cloud.gcp.errors import GcpError

T = TypeVar("T")

#: Entries of a page where the request does not say.
USUAL = 100
#: Entries of a page at most.
LARGEST = 1000


def page(
    entries: Sequence[T], size: int, token: str, *, usual: int = USUAL, largest: int = LARGEST
) -> tuple[list[T], str]:
    """The entries that a page of ``size`` (0: the usual) after ``token`` has, and the next page's token or ``""``."""
    if size < 0:
        raise GcpError("INVALID_ARGUMENT", f"The page size {size} is negative.")
    start = _start(token)
    end = start + min(size or usual, largest)
    return list(entries[start:end]), urlsafe_b64encode(b"page %d" % end).decode() if end < len(entries) else ""


def _start(token: str) -> int:
    if not token:
        return 0
    try:
        return int(urlsafe_b64decode(token).removeprefix(b"page "))
    except ValueError:
        raise GcpError("INVALID_ARGUMENT", f"The page token {token!r} is not one that a list has answered.") from None
