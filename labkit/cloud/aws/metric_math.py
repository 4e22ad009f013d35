"""Metric math: reads an expression of GetMetricData and computes it.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from labkit.cloud.aws.metric_functions import FUNCTIONS, NOT_SERVED, Argument, Keyword, Text
from labkit.cloud.aws.metric_series import MathError, NotServed, Request, Series, Value, combine

#: How deep an expression may be nested.
DEPTH = 50

_TOKEN = re.compile(
    r'\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z_]\w*)|(?P<text>"[^"]*"|\'[^\']*\')'
    r"|(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/^<>(),\[\]]))",
    re.ASCII,
)
_INSIGHTS = re.compile(r"\s*SELECT\s", re.IGNORECASE)

_Binary = Callable[[float, float], float | None]


def _truth(compare: Callable[[float, float], bool]) -> _Binary:
    return lambda left, right: float(compare(left, right))


def _power(left: float, right: float) -> float | None:
    result = left**right
    return result if isinstance(result, float) else None


#: Operators that bind alike, from the loosest to the tightest.
_LEVELS: tuple[dict[str, _Binary], ...] = (
    dict.fromkeys(("OR", "||"), _truth(lambda left, right: bool(left or right))),
    dict.fromkeys(("AND", "&&"), _truth(lambda left, right: bool(left and right))),
    {
        "==": _truth(operator.eq),
        "!=": _truth(operator.ne),
        "<=": _truth(operator.le),
        ">=": _truth(operator.ge),
        "<": _truth(operator.lt),
        ">": _truth(operator.gt),
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
)
_COMPARES = set().union(*_LEVELS[:3])


def evaluate(expression: str, request: Request, resolve: Callable[[str], Value]) -> Series | list[Series]:
    """The time series, or array of them, that an expression gives.

    ``resolve`` gives what an id stands for: a metric, or the result of another expression; it raises
    :class:`MathError` for an id that is not there.

    Raises :class:`MathError` for an expression that is not valid, and :class:`NotServed` for a function that AWS has
    and the kit has not.
    """
    if _INSIGHTS.match(expression):
        raise NotServed("Metrics Insights queries (SELECT ...)")
    value = _Reader(expression, request, resolve).whole()
    if isinstance(value, (Series, list)):
        return value
    raise MathError("The result is a number: an expression must give a time series or an array of time series")


class _Reader:
    """Reads tokens from left to right and computes as it goes."""

    def __init__(self, expression: str, request: Request, resolve: Callable[[str], Value]) -> None:
        self._request = request
        self._resolve = resolve
        self._tokens: list[tuple[str, str]] = []
        self._next = 0
        self._depth = 0
        position = 0
        while expression[position:].strip():
            token = _TOKEN.match(expression, position)
            if token is None:
                raise MathError(f"Invalid syntax at '{expression[position:].strip()[:20]}'")
            position = token.end()
            assert token.lastgroup is not None
            self._tokens.append((token.lastgroup, token[token.lastgroup]))

    def whole(self) -> Value:
        value = self._value(self._level(0))
        if self._next < len(self._tokens):
            raise self._invalid()
        return value

    def _level(self, level: int) -> Argument:
        if level == len(_LEVELS):
            return self._unary()
        left = self._level(level + 1)
        while (symbol := self._peek()) in _LEVELS[level]:
            self._next += 1
            right = self._value(self._level(level + 1))
            left = self._value(left)
            if symbol in _COMPARES and (isinstance(left, list) or isinstance(right, list)):
                raise MathError(f"{symbol} takes time series and numbers, not an array")
            left = combine(_LEVELS[level][symbol], left, right)
        return left

    def _unary(self) -> Argument:
        if self._take("-"):
            return combine(operator.mul, -1.0, self._value(self._nested(self._unary)))
        base = self._primary()
        if self._take("^"):
            return combine(_power, self._value(base), self._value(self._nested(self._unary)))
        return base

    def _primary(self) -> Argument:
        if self._next == len(self._tokens):
            raise self._invalid()
        group, token = self._tokens[self._next]
        self._next += 1
        if group == "number":
            return float(token)
        if group == "text":
            return Text(token[1:-1])
        if group == "name":
            if self._peek() == "(":
                return self._call(token)
            return Keyword(token) if token.isupper() else self._resolve(token)
        if token == "(":
            value = self._nested(lambda: self._level(0))
            self._expect(")")
            return value
        if token == "[":
            return self._array()
        self._next -= 1
        raise self._invalid()

    def _array(self) -> list[Series]:
        series: list[Series] = []
        for each in self._arguments("]"):
            if isinstance(each, list):
                series += each
            elif isinstance(each, Series):
                series.append(each)
            else:
                raise MathError("An array holds time series")
        return series

    def _call(self, name: str) -> Value:
        if name in NOT_SERVED:
            raise NotServed(f"the function {name}")
        if name not in FUNCTIONS:
            raise MathError(f"Function '{name}' not found")
        count, function = FUNCTIONS[name]
        self._expect("(")
        arguments = self._arguments(")")
        if count is not None and len(arguments) != count:
            raise MathError(f"{name} takes {count} argument{'s' if count > 1 else ''}, not {len(arguments)}")
        return function(self._request, arguments)

    def _arguments(self, closing: str) -> list[Argument]:
        found: list[Argument] = []
        if self._take(closing):
            return found
        while True:
            found.append(self._nested(lambda: self._level(0)))
            if self._take(closing):
                return found
            self._expect(",")

    def _nested(self, read: Callable[[], Argument]) -> Argument:
        self._depth += 1
        if self._depth > DEPTH:
            raise MathError(f"The expression is nested deeper than {DEPTH} levels")
        value = read()
        self._depth -= 1
        return value

    @staticmethod
    def _value(argument: Argument) -> Value:
        if isinstance(argument, (Keyword, Text)):
            raise MathError(f"Invalid syntax at '{argument}'")
        return argument

    def _peek(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self, symbol: str) -> bool:
        found = self._peek() == symbol
        self._next += found
        return found

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._invalid()

    def _invalid(self) -> MathError:
        rest = "".join(token for _, token in self._tokens[self._next :])
        return MathError(
            f"Invalid syntax at '{rest[:20]}'" if rest else "Invalid syntax: the expression is not complete"
        )
