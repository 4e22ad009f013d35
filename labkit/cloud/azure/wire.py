"""What answers look like in every part of Azure: JSON bodies, times, pages of a list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from labkit.cloud.azure.errors import AzureError
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: Resource Manager's address.
MANAGEMENT = "https://management.azure.com"


def json_response(status: int, body: Any, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """An answer with a JSON body."""
    text = json.dumps(body, separators=(",", ":")).encode()
    return Response(status, [("Content-Type", "application/json; charset=utf-8"), *headers], text)


def time_text(when: datetime) -> str:
    """A time as Azure writes it: ISO 8601, in UTC, with seven digits after the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def page(call: Call, values: Sequence[Any], *, size: int = 100, largest: int = 1000) -> dict[str, Any]:
    """A page of a list and, where there is more, ``nextLink`` to the next one.

    ``$top`` (how many) and ``$skip`` (the token that ``nextLink`` holds) are read from the call.
    """
    top = _count(call, "$top", size, largest)
    skip = _count(call, "$skip", 0, len(values))
    body: dict[str, Any] = {"value": list(values[skip : skip + top])}
    if skip + top < len(values):
        query = {**call.query, "$skip": str(skip + top)}
        body["nextLink"] = f"{MANAGEMENT}{quote(call.request.path)}?{urlencode(query, safe='$')}"
    return body


def _count(call: Call, name: str, default: int, largest: int) -> int:
    text = call.query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise AzureError("BadRequest", f"The value of {name} is {text!r}, which is no whole number.", 400)
    return min(int(text), largest)
