"""EventBridge's event patterns, the language in which SNS's filter policies are written too.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

#: Whether one value of an event matches; a pattern's leaf is a list of them.
Test = Callable[[Any], bool]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
#: The range of numbers that a pattern may compare with.
_LARGEST = 5_000_000_000


class InvalidPattern(ValueError):
    """What is wrong with a pattern, as EventBridge gives its reason."""


class _Absent:
    """Stands for a value that an event does not have."""


ABSENT = _Absent()


class Pattern:
    """A pattern, checked when it is made: raises :class:`InvalidPattern`."""

    def __init__(self, text: str) -> None:
        try:
            document = json.loads(text)
        except ValueError:
            raise InvalidPattern("Filter is not JSON") from None
        if not isinstance(document, dict):
            raise InvalidPattern("Filter is not an object")
        if not document:
            raise InvalidPattern("Empty objects are not allowed")
        self._matches = _object(document)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether an event, as it stands in JSON, matches."""
        return self._matches(event)


def _object(pattern: Mapping[str, Any]) -> Test:
    """A test for an object: all of the pattern's fields, and one of the alternatives of each ``$or``."""
    fields: list[tuple[str, Test]] = []
    alternatives: list[list[Test]] = []
    for name, wanted in pattern.items():
        if name == "$or":
            if not isinstance(wanted, list) or len(wanted) < 2 or not all(isinstance(each, dict) for each in wanted):
                raise InvalidPattern("There must have at least 2 Objects in $or relationship.")
            alternatives.append([_object(each) for each in wanted])
        elif isinstance(wanted, dict):
            if not wanted:
                raise InvalidPattern("Empty objects are not allowed")
            fields.append((name, _inside(_object(wanted))))
        elif isinstance(wanted, list):
            if not wanted:
                raise InvalidPattern("Empty arrays are not allowed")
            fields.append((name, _leaf([_value(each) for each in wanted])))
        else:
            raise InvalidPattern(f'"{name}" must be an object or an array')

    def matches(event: Any) -> bool:
        inside = event if isinstance(event, Mapping) else {}
        return all(test(inside.get(name, ABSENT)) for name, test in fields) and all(
            any(test(inside) for test in tests) for tests in alternatives
        )

    return matches


def _inside(test: Test) -> Test:
    """A test for an object within an event, or for one of a list of objects."""

    def matches(value: Any) -> bool:
        return any(test(each) for each in value) if isinstance(value, list) and value else test(value)

    return matches


def _leaf(tests: list[Test]) -> Test:
    """One of the tests, of the value or of one of the values in a list."""

    def matches(value: Any) -> bool:
        if isinstance(value, list):
            values = list(_flat(value)) or [ABSENT]
        elif isinstance(value, Mapping):
            values = [ABSENT]
        else:
            values = [value]
        return any(test(each) for test in tests for each in values)

    return matches


def _flat(values: list[Any]) -> list[Any]:
    return [inner for each in values for inner in (_flat(each) if isinstance(each, list) else [each])]


def _value(wanted: Any) -> Test:
    if isinstance(wanted, dict):
        if len(wanted) != 1:
            raise InvalidPattern("Only one key allowed in match expression")
        ((name, operand),) = wanted.items()
        if name not in _OPERATORS:
            raise InvalidPattern(f"Unrecognized match type {name}")
        return _OPERATORS[name](operand)
    if isinstance(wanted, list):
        raise InvalidPattern("Match value must be String, number, true, false, or null")
    return lambda value: _same(value, wanted)


def _same(value: Any, wanted: Any) -> bool:
    """Equality in JSON: a number is no string and no truth value."""
    if isinstance(value, bool) or isinstance(wanted, bool) or value is None or wanted is None:
        return value is wanted
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return value == wanted
    return isinstance(value, str) and isinstance(wanted, str) and value == wanted


def _text(name: str, operand: Any) -> str:
    if not isinstance(operand, str):
        raise InvalidPattern(f"{name} match pattern must be a string")
    return operand


def _edge(name: str, test: Callable[[str, str], bool]) -> Callable[[Any], Test]:
    """``prefix`` or ``suffix``, with regard to case or without."""

    def make(operand: Any) -> Test:
        if isinstance(operand, dict):
            if set(operand) != {"equals-ignore-case"}:
                raise InvalidPattern(f"Unsupported anything-but pattern in {name}: {', '.join(operand)}")
            wanted = _text(name, operand["equals-ignore-case"]).lower()
            return lambda value: isinstance(value, str) and test(value.lower(), wanted)
        wanted = _text(name, operand)
        return lambda value: isinstance(value, str) and test(value, wanted)

    return make


def _ignoring_case(operand: Any) -> Test:
    wanted = _text("equals-ignore-case", operand).lower()
    return lambda value: isinstance(value, str) and value.lower() == wanted


def _wildcard(operand: Any) -> Test:
    text = _text("wildcard", operand)
    if "**" in text:
        raise InvalidPattern("Consecutive wildcard characters at pos " + str(text.index("**")))
    parts: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
            if text[position : position + 1] not in ("*", "\\"):
                raise InvalidPattern("Invalid escape character at pos " + str(position - 1))
            parts.append(re.escape(text[position]))
        else:
            parts.append(".*" if character == "*" else re.escape(character))
        position += 1
    compiled = re.compile("".join(parts), re.DOTALL)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _numeric(operand: Any) -> Test:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise InvalidPattern("Value of numeric must be an array.")
    tests: list[tuple[Callable[[float, float], bool], float]] = []
    for sign, number in zip(operand[::2], operand[1::2], strict=True):
        if sign not in _COMPARE:
            raise InvalidPattern(f"Unrecognized numeric range operator: {sign}")
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            raise InvalidPattern(f"Value of {'equals' if sign == '=' else sign} must be numeric")
        if abs(number) > _LARGEST:
            raise InvalidPattern(f"Value must be between {-_LARGEST} and {_LARGEST}, inclusive")
        tests.append((_COMPARE[sign], number))
    if len(tests) == 2 and not (operand[0] in (">", ">=") and operand[2] in ("<", "<=") and operand[1] < operand[3]):
        raise InvalidPattern("Bottom must be less than top")
    return lambda value: (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and all(compare(value, number) for compare, number in tests)
    )


def _exists(operand: Any) -> Test:
    if not isinstance(operand, bool):
        raise InvalidPattern("exists match pattern must be either true or false.")
    return lambda value: (value is not ABSENT) is operand


def _cidr(operand: Any) -> Test:
    try:
        network = ipaddress.ip_network(_text("prefix", operand), strict=False)
    except ValueError:
        raise InvalidPattern(f"Malformed CIDR, one '/' required: {operand}") from None

    def matches(value: Any) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return matches


def _anything_but(operand: Any) -> Test:
    tests: list[Test]
    if isinstance(operand, dict):
        if len(operand) != 1 or (name := next(iter(operand))) not in _BUT:
            raise InvalidPattern(f"Unsupported anything-but pattern: {', '.join(operand)}")
        listed = operand[name] if isinstance(operand[name], list) else [operand[name]]
        tests = [_OPERATORS[name](each) for each in listed]
    else:
        listed = operand if isinstance(operand, list) else [operand]
        if any(isinstance(each, (dict, list)) for each in listed):
            raise InvalidPattern("Inside anything but list, start|null|boolean is not supported.")
        tests = [_value(each) for each in listed]
    if not tests:
        raise InvalidPattern("Empty arrays are not allowed")
    return lambda value: value is not ABSENT and not any(test(value) for test in tests)


_BUT = ("prefix", "suffix", "equals-ignore-case", "wildcard")
_OPERATORS: dict[str, Callable[[Any], Test]] = {
    "prefix": _edge("prefix", str.startswith),
    "suffix": _edge("suffix", str.endswith),
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "equals-ignore-case": _ignoring_case,
    "wildcard": _wildcard,
    "cidr": _cidr,
}
