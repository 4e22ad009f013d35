"""Expressions of the Kusto Query Language, made functions of a row: comparisons, arithmetic, and some functions.

https://learn.microsoft.com/kusto/query/scalar-functions. What is not in the tables below is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from labkit.cloud.azure.kql_tokens import NotEvaluated, SemanticProblem, SyntaxProblem, Token

Row = Mapping[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = ("int", "long", "real")


@dataclass(frozen=True, slots=True)
class Expression:
    """What to compute of a row. ``type`` is Kusto's name of the result's; ``name`` that of a column made of it."""

    evaluate: Callable[[Row], Any]
    type: str
    name: str = ""


class Reader:
    """Reads words one after the other, and expressions over ``columns`` (name -> type). ``now`` is the lab's time."""

    def __init__(self, words: Sequence[Token], now: datetime) -> None:
        self._words = words
        self._at = 0
        self.now = now
        self.columns: dict[str, str] = {}

    @property
    def word(self) -> Token:
        return self._words[self._at]

    def next(self) -> Token:
        word = self.word
        self._at = min(self._at + 1, len(self._words) - 1)
        return word

    def takes(self, *texts: str) -> bool:
        """Goes on if the next words are these."""
        upcoming = self._words[self._at : self._at + len(texts)]
        if [word.text for word in upcoming if word.kind in ("name", "symbol")] != list(texts):
            return False
        self._at += len(texts)
        return True

    def expect(self, text: str) -> None:
        if not self.takes(text):
            raise SyntaxProblem(self.word)

    def name(self) -> str:
        word = self.next()
        if word.kind != "name":
            raise SyntaxProblem(word)
        return word.text

    def number(self) -> int:
        word = self.next()
        if word.kind != "number" or not isinstance(word.value, int):
            raise SyntaxProblem(word)
        return word.value

    def named(self) -> Expression:
        """``expression`` or ``name = expression``."""
        following = self._words[self._at + 1 : self._at + 2]
        if self.word.kind == "name" and following and following[0].text == "=":
            name = self.name()
            self.expect("=")
            found = self.expression()
            return Expression(found.evaluate, found.type, name)
        return self.expression()

    # -- expressions, the loosest first ------------------------------------------------------------------------------

    def expression(self) -> Expression:
        found = self._conjunction()
        while self.takes("or"):
            found = _either(found, self._conjunction())
        return found

    def _conjunction(self) -> Expression:
        found = self._comparison()
        while self.takes("and"):
            found = _both(found, self._comparison())
        return found

    def _comparison(self) -> Expression:
        left = self._sum()
        word = self.word
        if word.kind == "symbol" and word.text in _COMPARISONS:
            self.next()
            return _compared(left, self._sum(), _COMPARISONS[word.text])
        text = word.text
        if word.kind in ("name", "symbol") and (negated := text.removeprefix("!")) in _TEXT_TESTS:
            self.next()
            return _tested(left, self._sum(), _TEXT_TESTS[negated], text.startswith("!"))
        if text in ("in", "!in", "in~", "!in~"):
            self.next()
            return self._membership(left, text)
        if word.kind == "name" and text == "between":
            self.next()
            return self._between(left)
        if word.kind == "name" and text in ("matches", "has_any", "has_all"):
            raise NotEvaluated(f"the operator {text}")
        return left

    def _membership(self, left: Expression, text: str) -> Expression:
        self.expect("(")
        values = [self.expression()]
        while self.takes(","):
            values.append(self.expression())
        self.expect(")")
        same = _COMPARISONS["=~" if text.endswith("~") else "=="]
        tests = [_compared(left, value, same).evaluate for value in values]
        negated = text.startswith("!")
        return Expression(lambda row: any(test(row) for test in tests) is not negated, "bool")

    def _between(self, left: Expression) -> Expression:
        self.expect("(")
        low = self._sum()
        self.expect(".")
        self.expect(".")
        high = self._sum()
        self.expect(")")
        above = _compared(left, low, _COMPARISONS[">="]).evaluate
        below = _compared(left, high, _COMPARISONS["<="]).evaluate
        return Expression(lambda row: above(row) and below(row), "bool")

    def _sum(self) -> Expression:
        found = self._product()
        while self.word.kind == "symbol" and self.word.text in ("+", "-"):
            symbol = self.next().text
            found = _calculated(found, self._product(), symbol)
        return found

    def _product(self) -> Expression:
        found = self._primary()
        while self.word.kind == "symbol" and self.word.text in ("*", "/", "%"):
            symbol = self.next().text
            found = _calculated(found, self._primary(), symbol)
        return found

    def _primary(self) -> Expression:
        word = self.next()
        if word.kind in ("string", "number", "timespan"):
            kinds = {str: "string", int: "long", float: "real", timedelta: "timespan"}
            return Expression(lambda row: word.value, kinds[type(word.value)])
        if word.text == "-" and word.kind == "symbol":
            inner = self._primary()
            if inner.type not in (*_NUMBERS, "timespan"):
                raise SemanticProblem(f"the operator - does not take a value of type {inner.type}")
            return Expression(lambda row: None if (v := inner.evaluate(row)) is None else -v, inner.type)
        if word.text == "(" and word.kind == "symbol":
            found = self.expression()
            self.expect(")")
            return found
        if word.kind != "name":
            raise SyntaxProblem(word)
        if self.word.text == "(" and self.word.kind == "symbol":
            return self._function(word)
        if word.text in ("true", "false"):
            return Expression(lambda row: word.text == "true", "bool")
        return self.column(word.text)

    def column(self, name: str) -> Expression:
        """A column of the rows."""
        if name not in self.columns:
            raise SemanticProblem(f"Failed to resolve column or scalar expression named '{name}'")
        return Expression(lambda row: row.get(name), self.columns[name], name)

    def _function(self, word: Token) -> Expression:
        self.expect("(")
        if word.text == "datetime":
            return self._datetime()
        arguments: list[Expression] = []
        if not self.takes(")"):
            arguments.append(self.expression())
            while self.takes(","):
                arguments.append(self.expression())
            self.expect(")")
        if word.text == "now" and not arguments:
            return Expression(lambda row: self.now, "datetime")
        if word.text == "ago" and len(arguments) == 1:
            (length,) = arguments
            _require("ago", length, "timespan")
            return Expression(lambda row: self.now - length.evaluate(row), "datetime")
        if (found := _FUNCTIONS.get(word.text)) is None:
            raise NotEvaluated(f"the function {word.text}()")
        count, kind, function = found
        if len(arguments) != count:
            raise SemanticProblem(f"{word.text}(): function expects {count} argument(s).")
        if function is _bin:
            _require(word.text, arguments[0], *_NUMBERS, "datetime", "timespan")
            _require(word.text, arguments[1], *(_NUMBERS if arguments[0].type in _NUMBERS else ("timespan",)))
        elif word.text == "not":
            _require(word.text, arguments[0], "bool")
        evaluates = [each.evaluate for each in arguments]
        kind = kind or arguments[0].type
        name = next((each.name for each in arguments if each.name), "")
        return Expression(lambda row: function(*(evaluate(row) for evaluate in evaluates)), kind, name)

    def _datetime(self) -> Expression:
        """``datetime(2026-01-01)``: what is between the parentheses is no expression."""
        end, text = self.word.at, ""
        while not self.takes(")"):
            word = self.next()
            if word.kind == "end":
                raise SyntaxProblem(word)
            text += " " * (word.at - end) + word.text
            end = word.at + len(word.text)
        try:
            when = datetime.fromisoformat(text.strip().strip("'\"").replace("Z", "+00:00"))
        except ValueError:
            raise SemanticProblem(f"datetime({text}) is no date and time") from None
        value = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        return Expression(lambda row: value, "datetime")


def _true(expression: Expression) -> Callable[[Row], bool]:
    evaluate = expression.evaluate
    if expression.type != "bool":
        raise SemanticProblem(f"a condition has to be of type bool, not {expression.type}")
    return lambda row: bool(evaluate(row))


def _either(left: Expression, right: Expression) -> Expression:
    first, second = _true(left), _true(right)
    return Expression(lambda row: first(row) or second(row), "bool")


def _both(left: Expression, right: Expression) -> Expression:
    first, second = _true(left), _true(right)
    return Expression(lambda row: first(row) and second(row), "bool")


def _compared(left: Expression, right: Expression, test: Callable[[Any, Any], bool]) -> Expression:
    """Two values compared; a value that is missing is unequal.

    A number equals a text that shows it: Azure's own sample queries compare ``ResponseCode`` with ``"200"``.
    """
    apart = {left.type, right.type}
    equality = test in (_COMPARISONS["=="], _COMPARISONS["!="])
    as_text = equality and len(apart) == 2 and "string" in apart and bool(apart & set(_NUMBERS))
    if len(apart) > 1 and not as_text and not apart <= set(_NUMBERS):
        raise SemanticProblem(f"Cannot compare values of types {left.type} and {right.type}. Try adding explicit casts")

    def compare(row: Row) -> bool:
        a, b = left.evaluate(row), right.evaluate(row)
        if a is None or b is None:
            return test is _COMPARISONS["!="] and a is not b
        return test(str(a), str(b)) if as_text else test(a, b)

    return Expression(compare, "bool")


def _tested(left: Expression, right: Expression, test: Callable[[str, str], bool], negated: bool) -> Expression:
    return Expression(lambda row: test(_text(left.evaluate(row)), _text(right.evaluate(row))) is not negated, "bool")


def _calculated(left: Expression, right: Expression, symbol: str) -> Expression:
    kinds = (left.type, right.type)
    if (kind := _CALCULATED.get((*kinds, symbol), "")) == "" and set(kinds) <= set(_NUMBERS):
        kind = "real" if "real" in kinds else "long"
    if not kind:
        raise SemanticProblem(f"the operator {symbol} does not take values of types {kinds[0]} and {kinds[1]}")

    def calculate(row: Row) -> Any:
        a, b = left.evaluate(row), right.evaluate(row)
        if a is None or b is None or (symbol in "/%" and not b):
            return None
        match symbol:
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "%":
                return a % b
        return a // b if kind == "long" else a / b

    return Expression(calculate, kind)


def _require(function: str, argument: Expression, *kinds: str) -> None:
    if argument.type not in kinds:
        raise SemanticProblem(
            f"{function}(): argument of type {argument.type}, where {' or '.join(kinds)} is expected."
        )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _has(text: str, term: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(term)}(?![A-Za-z0-9])", text, re.IGNORECASE) is not None


def _bin(value: Any, size: Any) -> Any:
    if value is None or not size:
        return None
    if isinstance(value, datetime):
        return _EPOCH + (value - _EPOCH) // size * size
    return value // size * size


def _number(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return kind(value)
        except (TypeError, ValueError):
            return None

    return convert


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "=~": lambda a, b: str(a).lower() == str(b).lower(),
    "!~": lambda a, b: str(a).lower() != str(b).lower(),
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
#: What arithmetic of times gives, by the types left and right of the sign.
_CALCULATED = {
    ("datetime", "datetime", "-"): "timespan",
    ("datetime", "timespan", "-"): "datetime",
    ("datetime", "timespan", "+"): "datetime",
    ("timespan", "datetime", "+"): "datetime",
    ("timespan", "timespan", "+"): "timespan",
    ("timespan", "timespan", "-"): "timespan",
    ("timespan", "timespan", "/"): "real",
    ("timespan", "long", "*"): "timespan",
    ("timespan", "long", "/"): "timespan",
}
_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part.lower() in text.lower(),
    "contains_cs": lambda text, part: part in text,
    "startswith": lambda text, part: text.lower().startswith(part.lower()),
    "startswith_cs": lambda text, part: text.startswith(part),
    "endswith": lambda text, part: text.lower().endswith(part.lower()),
    "endswith_cs": lambda text, part: text.endswith(part),
    "has": _has,
}
#: Name -> number of arguments, type of the result (empty: the first argument's), function.
_FUNCTIONS: dict[str, tuple[int, str, Callable[..., Any]]] = {
    "not": (1, "bool", lambda value: not value),
    "isempty": (1, "bool", lambda value: value in (None, "")),
    "isnotempty": (1, "bool", lambda value: value not in (None, "")),
    "isnull": (1, "bool", lambda value: value is None),
    "isnotnull": (1, "bool", lambda value: value is not None),
    "tolower": (1, "string", lambda value: _text(value).lower()),
    "toupper": (1, "string", lambda value: _text(value).upper()),
    "tostring": (1, "string", _text),
    "strlen": (1, "long", lambda value: len(_text(value))),
    "toint": (1, "int", _number(int)),
    "tolong": (1, "long", _number(int)),
    "toreal": (1, "real", _number(float)),
    "todouble": (1, "real", _number(float)),
    "bin": (2, "", _bin),
    "floor": (2, "", _bin),
}
