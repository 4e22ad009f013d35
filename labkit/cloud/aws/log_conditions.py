"""Conditions of CloudWatch Logs' filter patterns: ``field OPERATOR value``, joined by ``&&``, ``||`` and parentheses.

JSON patterns and space-delimited ones share them. What is not written as the guide says is refused, in the service's
words where those are known. What the guide leaves open follows what the service was seen to answer: text compares as
it stands in the event (``12.0`` is not ``"12"``), an unquoted number by value, and a star is a wildcard only at the
ends of a value.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from labkit.cloud.aws.errors import AwsError

T = TypeVar("T")
Predicate = Callable[[T], bool]

#: Regular expressions that one pattern may hold, and how deep its parentheses may go.
REGEXES = 2
DEPTH = 50

_OPERATOR = re.compile(r"!=|>=|<=|=|>|<")
_NUMERIC: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_REGEX = re.compile(r"%((?:[^%\\]|\\.)*)%", re.DOTALL)
#: A value without quotes: alphanumeric, with the star and what numbers and addresses are written with.
_BARE = re.compile(r"[\w.*+-]+", re.ASCII)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
#: What a regular expression may be made of: other characters are written ``\xhh``.
_REGEX_PART = re.compile(r"\\x[0-9a-fA-F]{2}|\\[dDsSwW]|\\[^A-Za-z0-9()]|[A-Za-z0-9 :_#=@/;,^$?\[\]{}|*+.-]")


def invalid(message: str) -> AwsError:
    """The error for a pattern that cannot be read."""
    return AwsError("InvalidParameterException", message)


class Scanner:
    """A pattern and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.regexes = 0
        self.wildcards = 0
        self._depth = 0

    def next(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Reads what ``pattern`` matches here, after any blanks."""
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        found = pattern.match(self.text, self.position)
        if found:
            self.position = found.end()
        return found

    def take(self, token: str) -> bool:
        """Reads ``token`` if it stands here."""
        return self.next(re.compile(re.escape(token))) is not None

    @property
    def ended(self) -> bool:
        return not self.text[self.position :].strip()

    def fail(self) -> NoReturn:
        """Refuses what stands here, naming it."""
        rest = self.text[self.position :].split()
        if not rest:
            raise invalid("Invalid filter pattern: it ends where more was expected")
        raise invalid(f"Invalid character(s) in term '{rest[0]}'")

    def expression(self, comparison: Callable[[], Predicate[T]]) -> Predicate[T]:
        """Reads comparisons joined by ``||`` and ``&&``, which binds tighter, and parentheses, which bind tightest."""
        alternatives = [self._conjunction(comparison)]
        while self.take("||"):
            alternatives.append(self._conjunction(comparison))
        if len(alternatives) == 1:
            return alternatives[0]
        return lambda event: any(holds(event) for holds in alternatives)

    def _conjunction(self, comparison: Callable[[], Predicate[T]]) -> Predicate[T]:
        parts = [self._primary(comparison)]
        while self.take("&&"):
            parts.append(self._primary(comparison))
        if len(parts) == 1:
            return parts[0]
        return lambda event: all(holds(event) for holds in parts)

    def _primary(self, comparison: Callable[[], Predicate[T]]) -> Predicate[T]:
        if not self.take("("):
            return comparison()
        self._depth += 1
        if self._depth > DEPTH:
            raise invalid(f"Invalid filter pattern: parentheses go deeper than {DEPTH}")
        inner = self.expression(comparison)
        if not self.take(")"):
            self.fail()
        self._depth -= 1
        return inner

    def condition(self) -> Callable[[str, float | None], bool]:
        """Reads an operator and a value.

        The function returned says whether a field meets the condition, given its text and, for a number, its value.
        """
        found = self.next(_OPERATOR)
        if found is None:
            self.fail()
        symbol = found[0]
        if symbol in _NUMERIC:
            compare, bound = _NUMERIC[symbol], self._number()
            return lambda text, number: number is not None and compare(number, bound)
        equals = self._value()
        return equals if symbol == "=" else lambda text, number: not equals(text, number)

    def quoted(self) -> str | None:
        """Reads a text in double quotes, in which a backslash escapes, if one stands here."""
        found = self.next(_QUOTED)
        return _ESCAPED.sub(r"\1", found[1]) if found else None

    def regex(self) -> re.Pattern[str] | None:
        """Reads a regular expression between per cent signs, if one stands here."""
        found = self.next(_REGEX)
        if found is None:
            return None
        self.regexes += 1
        return regex(found[1])

    def _number(self) -> float:
        found = self.next(_NUMBER)
        if found is None:
            self.fail()
        return float(found[0])

    def _value(self) -> Callable[[str, float | None], bool]:
        expression = self.regex()
        if expression is not None:
            return lambda text, number: expression.search(text) is not None
        text = self.quoted()
        if text is not None:
            return _text(text)
        found = self.next(_BARE)
        if found is None:
            self.fail()
        same_text = _text(found[0])
        if not _NUMBER.fullmatch(found[0]):
            return same_text
        wanted = float(found[0])
        return lambda text, number: number == wanted if number is not None else same_text(text, number)


def regex(source: str) -> re.Pattern[str]:
    """A regular expression of the subset that the service takes; it may match anywhere in a text."""
    position = 0
    while position < len(source):
        part = _REGEX_PART.match(source, position)
        if part is None:
            raise invalid(f"Invalid character(s) in term '{source[position]}'")
        position = part.end()
    try:
        return re.compile(source, re.ASCII)
    except (re.error, OverflowError) as error:
        raise invalid(f"Invalid filter pattern: the regular expression %{source}% cannot be read ({error})") from None


def _text(wanted: str) -> Callable[[str, float | None], bool]:
    if wanted == "*":
        return lambda text, number: True
    starts, ends = wanted.startswith("*"), wanted.endswith("*")
    middle = wanted[starts : len(wanted) - ends]
    if starts and ends:
        return lambda text, number: middle in text
    if starts:
        return lambda text, number: text.endswith(middle)
    if ends:
        return lambda text, number: text.startswith(middle)
    return lambda text, number: text == middle


def number(text: str) -> float | None:
    """The number that a field is, or None."""
    return float(text) if _NUMBER.fullmatch(text) else None
