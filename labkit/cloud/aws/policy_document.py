"""Policy documents: IAM's JSON, read once into statements that can be matched.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

#: The version in which policy variables are variables; in the older one they are plain text.
CURRENT = "2012-10-17"
_VERSIONS = (CURRENT, "2008-10-17")
_ELEMENTS = frozenset(
    ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition")
)
_PRINCIPALS = ("AWS", "Service", "Federated", "CanonicalUser")


class Malformed(ValueError):
    """A document that is no policy; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of a ``Condition``: an operator, a key and the values that it is compared with."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. ``actions`` and ``resources`` are patterns; ``other_*`` says that they stand for all but these.

    ``principals`` are pairs of kind (``AWS``, ``Service``, ...) and name, None in a policy of an identity. ``start``
    and ``end`` are the line and column, from 1, where it begins and where it ends in the text.
    """

    sid: str
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]
    principals: tuple[tuple[str, str], ...] | None = None
    other_actions: bool = False
    other_resources: bool = False
    other_principals: bool = False
    start: tuple[int, int] = (1, 1)
    end: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class Document:
    """A policy. ``variables`` says whether ``${...}`` in it is replaced."""

    statements: tuple[Statement, ...]
    variables: bool


@lru_cache(maxsize=4096)
def parse(text: str) -> Document:
    """The policy that a text holds; raises :class:`Malformed`. The same text is read once."""
    try:
        document = json.loads(text)
    except ValueError:
        raise Malformed("This policy contains invalid Json") from None
    if not isinstance(document, dict):
        raise Malformed("Syntax errors in policy.")
    version = document.get("Version", "2008-10-17")
    if version not in _VERSIONS or set(document) - {"Version", "Id", "Statement"} or "Statement" not in document:
        raise Malformed("Syntax errors in policy.")
    stated = document["Statement"]
    listed = stated if isinstance(stated, list) else [stated]
    places = _places(text, len(listed))
    statements = tuple(_statement(each, *place) for each, place in zip(listed, places, strict=True))
    return Document(statements, version == CURRENT)


def listed(value: Any) -> tuple[str, ...]:
    """A value that may be one or a list of them, as strings in the way that JSON writes them."""
    values = value if isinstance(value, list) else [value]
    return tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in values)


def _statement(given: Any, start: tuple[int, int], end: tuple[int, int]) -> Statement:
    if not isinstance(given, dict) or given.get("Effect") not in ("Allow", "Deny"):
        raise Malformed("Syntax errors in policy.")
    if unknown := set(given) - _ELEMENTS:
        raise Malformed(f"Unknown field {sorted(unknown)[0]}")
    for one in ("Action", "Resource", "Principal"):
        if one in given and f"Not{one}" in given:
            raise Malformed(f"Statement has both {one} and Not{one}")
    if not {"Action", "NotAction"} & given.keys():
        raise Malformed("Missing required field Action")
    return Statement(
        sid=str(given.get("Sid", "")),
        allows=given["Effect"] == "Allow",
        actions=listed(given.get("Action", given.get("NotAction"))),
        other_actions="NotAction" in given,
        # Trust policies name no resource: theirs is the role that they are on.
        resources=listed(given.get("Resource", given.get("NotResource", "*"))),
        other_resources="NotResource" in given,
        principals=_principals(given.get("Principal", given.get("NotPrincipal"))),
        other_principals="NotPrincipal" in given,
        conditions=tuple(_conditions(given.get("Condition", {}))),
        start=start,
        end=end,
    )


def _principals(given: Any) -> tuple[tuple[str, str], ...] | None:
    if given is None:
        return None
    if given == "*":
        return (("AWS", "*"),)
    if not isinstance(given, Mapping) or set(given) - set(_PRINCIPALS):
        raise Malformed("Syntax errors in policy.")
    return tuple((kind, name) for kind, names in given.items() for name in listed(names))


def _conditions(given: Any) -> list[Condition]:
    if not isinstance(given, Mapping):
        raise Malformed("Syntax errors in policy.")
    found = []
    for operator, tests in given.items():
        if not isinstance(tests, Mapping):
            raise Malformed("Syntax errors in policy.")
        found += [Condition(str(operator), str(key), listed(values)) for key, values in tests.items()]
    return found


def _places(text: str, count: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where each statement begins and ends in the text."""
    decoder = json.JSONDecoder()
    spans: list[tuple[int, int]] = []
    for found in re.finditer(r'"Statement"\s*:\s*(\[?)\s*', text):
        spans, at = [], found.end()
        while at < len(text) and text[at] == "{":
            _, end = decoder.raw_decode(text, at)
            spans.append((at, end))
            at = end
            while at < len(text) and text[at] in " \t\r\n,":
                at += 1
        if len(spans) == count:
            break
    if len(spans) != count:
        spans = [(0, len(text))] * count
    return [(_place(text, start), _place(text, end)) for start, end in spans]


def _place(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
