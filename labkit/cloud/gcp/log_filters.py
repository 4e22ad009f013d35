"""The Logging query language: which entries a filter means.

https://cloud.google.com/logging/docs/view/logging-query-language. Text is compared without regard to case by ``:`` and
by terms that stand alone, with regard to it by ``=``; severities and timestamps are ordered. Regular expressions and
functions refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.filters import ORDERED, Expression, FilterError, Leaf, Term, leaves, matches, parse
from labkit.cloud.gcp.log_store import SEVERITIES

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
        name = _FIELDS.get(leaf.field[0])
        if name is None:
            known = "logName, severity, timestamp, insertId, textPayload, jsonPayload.*, protoPayload.*, labels.*"
            raise self._refused(f"{leaf.name} is no field that it may name, such as {known}")
        if leaf.operator not in (*ORDERED, ":"):
            raise self._refused(f"the operator {leaf.operator} (regular expressions) is not")
        if not isinstance(leaf.value, str):
            raise self._refused(f"the function {leaf.value.name} is not")
        if name == "severity" and (leaf.operator == ":" or leaf.value.upper() not in SEVERITIES):
            raise self._refused(f"severity is compared with one of {', '.join(SEVERITIES)}")
        if name in _TIMES:
            if leaf.operator == ":":
                raise self._refused("timestamps are compared with =, !=, <, <=, > and >=")
            try:
                _instant(leaf.value)
            except ValueError:
                raise self._refused(f"{leaf.value!r} is no time such as 2026-01-31T12:00:00Z") from None

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
    assert isinstance(leaf.value, str)
    name = _FIELDS[leaf.field[0]]
    if name == "severity":
        held, wanted = (SEVERITIES[each] for each in (entry.get("severity", "DEFAULT"), leaf.value.upper()))
        return ORDERED[leaf.operator](held, wanted)
    if name in _TIMES:
        return ORDERED[leaf.operator](datetime.fromisoformat(entry[name]), lab_time(_instant(leaf.value)))
    value: Any = entry.get(name)
    for part in leaf.field[1:]:
        value = _part(value, part)
    if value is None:
        # A field that is not there meets no comparison; only a negation does.
        return False
    return _compare(value, leaf.operator, leaf.value)


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
    if isinstance(held, int | float) and not isinstance(held, bool):
        try:
            return ORDERED[how](float(held), float(wanted))
        except ValueError:
            return how == "!="
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
