"""Partial answers: only the fields that ``fields`` names (``items(name,size),nextPageToken``, ``items/name``, ``*``).

https://cloud.google.com/storage/docs/json_api#partial-response
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from labkit.cloud.gcp.storage_errors import StorageError

#: Field -> what is wanted below it; nothing below it means all of it.
Mask = dict[str, Any]

_TOKEN = re.compile(r"[A-Za-z0-9_*.-]+|[(),/]")


def only(resource: Mapping[str, Any], fields: str) -> dict[str, Any]:
    """The resource with those fields; raises the API's error when ``fields`` cannot be read."""
    tokens = _TOKEN.findall(fields)
    if "".join(tokens) != re.sub(r"\s", "", fields):
        raise _unreadable(fields)
    mask, rest = _mask(tokens, fields)
    if rest:
        raise _unreadable(fields)
    found = _masked(resource, mask)
    assert isinstance(found, dict)
    return found


def _mask(tokens: list[str], fields: str) -> tuple[Mask, list[str]]:
    mask: Mask = {}
    while tokens:
        name, *tokens = tokens
        if name in "(),/":
            raise _unreadable(fields)
        inner = mask.setdefault(name, {})
        while tokens and tokens[0] == "/":
            if len(tokens) < 2:
                raise _unreadable(fields)
            inner = inner.setdefault(tokens[1], {})
            tokens = tokens[2:]
        if tokens and tokens[0] == "(":
            below, tokens = _mask(tokens[1:], fields)
            inner.update(below)
            if not tokens or tokens[0] != ")":
                raise _unreadable(fields)
            tokens = tokens[1:]
        if not tokens or tokens[0] != ",":
            return mask, tokens
        tokens = tokens[1:]
    raise _unreadable(fields)


def _masked(value: Any, mask: Mask) -> Any:
    if not mask:
        return value
    if isinstance(value, list):
        return [_masked(each, mask) for each in value]
    if not isinstance(value, Mapping):
        return value
    everything: Mask | None = mask.get("*")
    return {
        name: _masked(each, mask.get(name) or everything or {})
        for name, each in value.items()
        if name in mask or everything is not None
    }


def _unreadable(fields: str) -> StorageError:
    return StorageError(400, "invalidParameter", f"Invalid field selection {fields}", location=("parameter", "fields"))
