"""The filter expressions of Google's list methods, read into a tree that each service then judges.

One grammar serves Vertex AI (https://google.aip.dev/160), Cloud Monitoring
(https://cloud.google.com/monitoring/api/v3/filters) and Cloud Logging
(https://cloud.google.com/logging/docs/view/logging-query-language): ``NOT`` (or ``-``) binds most, then ``OR``, then
``AND``, which may be left out between two terms. What a field, an operator or a function means is the service's to say.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: As deep as parentheses and negations may be.
_DEEPEST = 40
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator>=~|!~|!=|<=|>=|==|=|<|>|:)
    | (?P<mark>[(),])
    | (?P<word>(?:[^\s"'=!<>:(),~]|(?<=\.)"(?:[^"\\]|\\.)*")+)
    )""",
    re.VERBOSE,
)
_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([^."]+)')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
#: Words before a parenthesis that open a group, not a call.
_JOINS = ("AND", "OR", "NOT", "-")


#: What the operators that compare with an order mean.
ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class FilterError(ValueError):
    """An expression that cannot be read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Function:
    """A call: ``starts_with("gce_")`` in place of a value, or ``log_id("syslog")`` in place of a comparison."""

    name: str
    arguments: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.name}(...)"


@dataclass(frozen=True, slots=True)
class Comparison:
    """``field operator value``; the field in its parts (``labels."a.b"`` is ``("labels", "a.b")``).

    ``quoted`` says whether the value was written in quotation marks.
    """

    field: tuple[str, ...]
    operator: str
    value: str | Function
    quoted: bool = False

    @property
    def name(self) -> str:
        return ".".join(self.field)


@dataclass(frozen=True, slots=True)
class Term:
    """A value that stands alone: what has to be found anywhere."""

    text: str


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expression


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple[Expression, ...]


Leaf = Comparison | Term | Function
Expression = Leaf | Not | And | Or


def parse(text: str) -> Expression | None:
    """The tree of an expression, None for an empty one; raises :class:`FilterError`."""
    tokens = list(_tokens(text))
    if not tokens:
        return None
    parser = _Parser(text, tokens)
    tree = parser.conjunction()
    if parser.peek() is not None:
        raise parser.unexpected()
    return tree


def matches(tree: Expression | None, judge: Callable[[Leaf], bool]) -> bool:
    """Whether something meets the expression; ``judge`` says it of one comparison, term or call."""
    match tree:
        case None:
            return True
        case Not(operand):
            return not matches(operand, judge)
        case And(operands):
            return all(matches(each, judge) for each in operands)
        case Or(operands):
            return any(matches(each, judge) for each in operands)
    return judge(tree)


def leaves(tree: Expression | None) -> list[Leaf]:
    """Every comparison, term and call in the expression, in order."""
    match tree:
        case None:
            return []
        case Not(operand):
            return leaves(operand)
        case And(operands) | Or(operands):
            return [leaf for each in operands for leaf in leaves(each)]
    return [tree]


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        matched = _TOKEN.match(text, at)
        if matched is None:
            raise FilterError(f"The filter {text!r} cannot be read from {text[at:].strip()[:20]!r} on.")
        kind, token = str(matched.lastgroup), matched[matched.lastgroup or 0]
        if (
            token == "("
            and matched.start("mark") == at
            and found
            and found[-1][0] == "word"
            and found[-1][1] not in _JOINS
        ):
            kind = "call"
        found.append((kind, token))
        at = matched.end()
    return found


def _path(text: str) -> tuple[str, ...]:
    return tuple(_ESCAPED.sub(r"\1", quoted) or plain for quoted, plain in _PART.findall(text))


class _Parser:
    def __init__(self, text: str, tokens: list[tuple[str, str]]) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def peek(self) -> tuple[str, str] | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def unexpected(self) -> FilterError:
        here = self.peek()
        return FilterError(
            f"The filter {self._text!r} {f'does not go on with {here[1]!r}' if here else 'is not whole'}."
        )

    def conjunction(self) -> Expression:
        operands = [self._disjunction()]
        while (here := self.peek()) is not None and here != ("mark", ")"):
            if here == ("word", "AND"):
                self._at += 1
            operands.append(self._disjunction())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _disjunction(self) -> Expression:
        operands = [self._negation()]
        while self.peek() == ("word", "OR"):
            self._at += 1
            operands.append(self._negation())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _negation(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise FilterError("The filter is nested too deeply.")
        try:
            return self._operand()
        finally:
            self._depth -= 1

    def _operand(self) -> Expression:
        here = self.peek()
        if here in (("word", "NOT"), ("word", "-")):
            self._at += 1
            return Not(self._negation())
        if here == ("mark", "("):
            self._at += 1
            inner = self.conjunction()
            self._expect(")")
            return inner
        if here is not None and here[0] == "word" and here[1].startswith("-") and len(here[1]) > 1:
            self._tokens[self._at] = ("word", here[1][1:])
            return Not(self._negation())
        return self._leaf()

    def _leaf(self) -> Expression:
        kind, text = self._value()
        if kind == "word" and text in ("AND", "OR"):
            self._at -= 1
            raise self.unexpected()
        here = self.peek()
        if here == ("call", "("):
            return Function(text, self._arguments())
        if here is None or here[0] != "operator":
            return Term(text)
        path, sign = _path(text) if kind == "word" else (text,), "=" if here[1] == "==" else here[1]
        self._at += 1
        if self.peek() == ("mark", "("):
            return self._each(self._operand(), path, sign)
        kind, value = self._value()
        if self.peek() == ("call", "("):
            return Comparison(path, sign, Function(value, self._arguments()))
        return Comparison(path, sign, value, kind == "string")

    def _each(self, values: Expression, path: tuple[str, ...], sign: str) -> Expression:
        """``field:(a OR b)``: the comparison with each of the values, joined as they are."""
        match values:
            case Term(text):
                return Comparison(path, sign, text)
            case Not(operand):
                return Not(self._each(operand, path, sign))
            case And(operands):
                return And(tuple(self._each(each, path, sign) for each in operands))
            case Or(operands):
                return Or(tuple(self._each(each, path, sign) for each in operands))
        raise self.unexpected()

    def _arguments(self) -> tuple[str, ...]:
        self._at += 1
        arguments = [self._value()[1]]
        while self.peek() == ("mark", ","):
            self._at += 1
            arguments.append(self._value()[1])
        self._expect(")")
        return tuple(arguments)

    def _value(self) -> tuple[str, str]:
        here = self.peek()
        if here is None or here[0] not in ("word", "string"):
            raise self.unexpected()
        self._at += 1
        return here if here[0] == "word" else ("string", _ESCAPED.sub(r"\1", here[1][1:-1]))

    def _expect(self, mark: str) -> None:
        if self.peek() != ("mark", mark):
            raise self.unexpected()
        self._at += 1
