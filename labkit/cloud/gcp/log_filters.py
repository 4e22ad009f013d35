"""The Logging query language: which entries a filter means.

https://cloud.google.com/logging/docs/view/logging-query-language. Text is compared without regard to case by ``:`` and
by terms that stand alone, with regard to it by ``=``; severities and timestamps are ordered. ``log_id()`` and
``SEARCH()`` are served; other functions refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.filters import ORDERED, Expression, FilterError, Function, Leaf, Term, leaves, matches, parse
from labkit.cloud.gcp.log_store import SEVERITIES

#: The operators of regular expressions, with whether a value is to match.
_EXPRESSIONS = {"=~": True, "!~": False}
#: What RE2, by which Google reads regular expressions, does not have.
_NOT_RE2 = re.compile(r"\\[1-9]|\(\?(=|!|<=|<!)")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?)s")

_TIMES = ("timestamp", "receiveTimestamp")
#: Fields of an entry that a filter may name, by the names that it may use.
_FIELDS = {
    "logName": "logName",
    "log_name": "logName",
    "severity": "severity",
    "timestamp": "timestamp",
    "receiveTimestamp": "receiveTimestamp",
    "receive_timestamp": "receiveTimestamp",
    "insertId": "insertId",
    "insert_id": "insertId",
    "textPayload": "textPayload",
    "text_payload": "textPayload",
    "jsonPayload": "jsonPayload",
    "json_payload": "jsonPayload",
    "protoPayload": "protoPayload",
    "proto_payload": "protoPayload",
    "labels": "labels",
    "resource": "resource",
    "trace": "trace",
    "spanId": "spanId",
    "span_id": "spanId",
    "httpRequest": "httpRequest",
    "http_request": "httpRequest",
    "traceSampled": "traceSampled",
    "trace_sampled": "traceSampled",
    "sourceLocation": "sourceLocation",
    "source_location": "sourceLocation",
    "operation": "operation",
}


class Filter:
    """A filter that was read; raises ``INVALID_ARGUMENT`` for what is not served, naming it."""

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._tree: Expression | None = parse(_without_comments(text))
        except FilterError as error:
            raise invalid(f"Unparseable filter: {error}", "filter") from None
        for leaf in leaves(self._tree):
            self._check(leaf)

    def holds(self, entry: Mapping[str, Any], lab_time: Callable[[datetime], datetime]) -> bool:
        """Whether an entry (as JSON has it) is meant; ``lab_time`` tells what an instant in the filter means."""
        return matches(self._tree, lambda leaf: _judge(leaf, entry, lab_time))

    def _check(self, leaf: Leaf) -> None:
        if isinstance(leaf, Term):
            return
        if isinstance(leaf, Function):
            self._check_call(leaf)
            return
        name = self._field(leaf.field)
        if not isinstance(leaf.value, str):
            raise self._refused(f"the function {leaf.value.name} is not")
        if leaf.operator in _EXPRESSIONS:
            self._check_expression(leaf.value)
            if name == "severity" or name in _TIMES:
                raise self._refused(f"{name} is no text, which regular expressions match")
            return
        if name == "severity" and (leaf.operator == ":" or leaf.value.upper() not in SEVERITIES):
            raise self._refused(f"severity is compared with one of {', '.join(SEVERITIES)}")
        if name in _TIMES:
            if leaf.operator == ":":
                raise self._refused("timestamps are compared with =, !=, <, <=, > and >=")
            try:
                _instant(leaf.value)
            except ValueError:
                raise self._refused(f"{leaf.value!r} is no time such as 2026-01-31T12:00:00Z") from None

    def _field(self, path: tuple[str, ...]) -> str:
        name = _FIELDS.get(path[0])
        if name is None:
            known = "logName, severity, timestamp, insertId, textPayload, jsonPayload.*, protoPayload.*, labels.*"
            raise self._refused(f"{'.'.join(path)} is no field that it may name, such as {known}")
        return name

    def _check_call(self, call: Function) -> None:
        if call.name == "log_id" and len(call.arguments) == 1:
            return
        if call.name != "SEARCH" or len(call.arguments) > 2 or "`" in call.arguments[-1]:
            raise self._refused(f"the function {call.name} is not, with {len(call.arguments)} arguments such as these")
        if len(call.arguments) == 2:
            self._field(tuple(call.arguments[0].split(".")))

    def _check_expression(self, expression: str) -> None:
        try:
            re.compile(expression)
        except re.error as error:
            raise invalid(f"Unparseable filter: regular expressions must be valid RE2: {error}.", "filter") from None
        if _NOT_RE2.search(expression):
            raise self._refused(f"{expression!r} looks around or back, which RE2 does not")

    def _refused(self, why: str) -> GcpError:
        return invalid(f"The filter {self._text!r} is not served: {why}.", "filter")


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))


def _instant(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _judge(leaf: Leaf, entry: Mapping[str, Any], lab_time: Callable[[datetime], datetime]) -> bool:
    if isinstance(leaf, Term):
        return any(leaf.text.lower() in text.lower() for text in _texts(entry))
    if isinstance(leaf, Function):
        return _calls(leaf, entry)
    assert isinstance(leaf.value, str)
    name = _FIELDS[leaf.field[0]]
    if name == "severity":
        held, wanted = (SEVERITIES[each] for each in (entry.get("severity", "DEFAULT"), leaf.value.upper()))
        return ORDERED[leaf.operator](held, wanted)
    if name in _TIMES:
        return ORDERED[leaf.operator](datetime.fromisoformat(entry[name]), lab_time(_instant(leaf.value)))
    value = _at(leaf.field, entry)
    if value is None:
        # A field that is not there meets no comparison; only a negation does.
        return False
    return _compare(value, leaf.operator, leaf.value)


def _calls(call: Function, entry: Mapping[str, Any]) -> bool:
    """``log_id("LOG")`` is the entry's log; ``SEARCH([field, ]"words")`` finds all of the words.

    https://cloud.google.com/logging/docs/view/logging-query-language#functions
    """
    if call.name == "log_id":
        return unquote(entry["logName"].partition("/logs/")[2]) == call.arguments[0]
    searched = _at(tuple(call.arguments[0].split(".")), entry) if len(call.arguments) == 2 else entry
    words = {word for text in _texts(searched) for word in re.findall(r"\w+", text.lower())}
    return words.issuperset(re.findall(r"\w+", call.arguments[-1].lower()))


def _at(path: tuple[str, ...], entry: Mapping[str, Any]) -> Any:
    """What an entry has at a path, None for nothing."""
    value: Any = entry.get(_FIELDS[path[0]])
    for part in path[1:]:
        value = _part(value, part)
    return value


def _part(value: Any, name: str) -> Any:
    """A field of a value: of a list, those of its items."""
    if isinstance(value, list):
        return [found for each in value if (found := _part(each, name)) is not None] or None
    return value.get(name) if isinstance(value, Mapping) else None


def _compare(held: Any, how: str, wanted: str) -> bool:
    if isinstance(held, list):
        return any(_compare(each, how, wanted) for each in held)
    if isinstance(held, Mapping):
        return how == ":" and (wanted == "*" or any(wanted.lower() in text.lower() for text in _texts(held)))
    if how == ":":
        return wanted == "*" or wanted.lower() in _text(held).lower()
    if how in _EXPRESSIONS:
        return bool(re.search(wanted, _text(held))) == _EXPRESSIONS[how]
    if isinstance(held, int | float) and not isinstance(held, bool):
        try:
            return ORDERED[how](float(held), float(wanted))
        except ValueError:
            return how == "!="
    seconds = [_DURATION.fullmatch(each) for each in (_text(held), wanted)]
    if seconds[0] and seconds[1]:
        return ORDERED[how](float(seconds[0][1]), float(seconds[1][1]))
    return ORDERED[how](_text(held), wanted)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in an entry."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif value is not None:
        yield _text(value)
