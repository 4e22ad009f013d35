"""The words of a query in the Kusto Query Language, and what is wrong with one.

https://learn.microsoft.com/kusto/query/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

#: Units of timespan literals, in microseconds.
UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "microsecond": 1}

Kind = Literal["name", "string", "number", "timespan", "symbol", "end"]

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<verbatim>@"(?:[^"]|"")*"|@'(?:[^']|'')*')
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
  | (?P<timespan>\d+(?:\.\d+)?(?:d|h|ms|m|s|microsecond)\b)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<name>in~|[A-Za-z_]\w*)
  | (?P<symbol>==|!=|=~|!~|<=|>=|![a-z_]+~?|[-()|,<>=+*/%.:\[\];{}])
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


@dataclass(frozen=True, slots=True)
class Token:
    """One word; ``value`` is a literal's, ``at`` where it begins in the query."""

    kind: Kind
    text: str
    at: int
    value: Any = None


class SyntaxProblem(Exception):
    """The query cannot be read at ``token``."""

    def __init__(self, token: Token) -> None:
        super().__init__(f"Query could not be parsed at '{token.text or '<EOF>'}'")
        self.token = token


class SemanticProblem(Exception):
    """The query can be read and makes no sense: a name that is none, a value of the wrong type."""


class NotEvaluated(Exception):
    """The query uses a part of the language that the kit does not evaluate. The message names it."""


def tokens(query: str) -> list[Token]:
    """The words of a query, an end after the last; raises :class:`SyntaxProblem`."""
    found: list[Token] = []
    at = 0
    while at < len(query):
        matched = _TOKEN.match(query, at)
        if matched is None:
            raise SyntaxProblem(Token("symbol", query[at], at))
        kind, text = matched.lastgroup, matched[0]
        if kind == "verbatim":
            found.append(Token("string", text, at, text[2:-1].replace(text[1] * 2, text[1])))
        elif kind == "string":
            found.append(Token("string", text, at, _unescaped(text[1:-1])))
        elif kind == "timespan":
            found.append(Token("timespan", text, at, _timespan(text)))
        elif kind == "number":
            found.append(Token("number", text, at, int(text) if text.isdecimal() else float(text)))
        elif kind == "name":
            found.append(Token("name", text, at))
        elif kind == "symbol":
            found.append(Token("symbol", text, at))
        at = matched.end()
    return [*found, Token("end", "", len(query))]


def position(query: str, at: int) -> tuple[int, int]:
    """The line and the column of a place in a query, from 1 and from 0."""
    before = query[:at]
    return before.count("\n") + 1, at - (before.rfind("\n") + 1)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text)


def _timespan(text: str) -> timedelta:
    matched = re.fullmatch(r"([\d.]+)(\w+)", text)
    assert matched is not None
    return timedelta(microseconds=float(matched[1]) * UNITS[matched[2]])
