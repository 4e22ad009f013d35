"""The conditions on which a pipeline's tasks are triggered: the part of CEL that the KFP compiler writes.

``inputs.parameter_values['auc'] > 0.85 && !(inputs.parameter_values['kind'] == 'test')``: comparisons of a task's input
parameters and literals, ``&&``, ``||``, ``!``, parentheses, and the casts ``int``, ``double``, ``string`` and ``bool``.
https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto (``TriggerPolicy.condition``),
https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

#: Parameters -> the value of an expression.
Expression = Callable[[Mapping[str, Any]], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+|\d+(?:[eE][-+]?\d+)?)"
    r"|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<input>inputs\.parameter_values\[(?:'[^']+'|\"[^\"]+\")\])"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[<>!()\-]))"
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CASTS: dict[str, Callable[[Any], Any]] = {"int": int, "double": float, "string": str, "bool": bool}
_LITERALS = {"true": True, "false": False, "null": None}


class ConditionError(Exception):
    """A condition that cannot be read or decided; the text says which and why, as a phrase."""


def parse(text: str) -> Expression:
    """The condition as a function of the task's input parameters; raises :class:`ConditionError`.

    The function raises it too, for a parameter that has no value and for values that cannot be compared.
    """
    return _Parser(text).whole()


class _Parser:
    """Reads one expression by recursive descent: or, and, comparison, unary, primary."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            if found is None:
                raise ConditionError(f"the condition {text!r} has something that is not served at {text[position:]!r}")
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind]))
            position = found.end()

    def whole(self) -> Expression:
        made = self._either()
        if self._tokens:
            raise self._unexpected()
        return made

    def _either(self) -> Expression:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda inputs: any(_truth(part(inputs)) for part in parts)

    def _both(self) -> Expression:
        parts = [self._comparison()]
        while self._take("&&"):
            parts.append(self._comparison())
        return parts[0] if len(parts) == 1 else lambda inputs: all(_truth(part(inputs)) for part in parts)

    def _comparison(self) -> Expression:
        left = self._unary()
        for sign, compare in _COMPARISONS.items():
            if self._take(sign):
                right = self._unary()
                return lambda inputs: _compare(sign, compare, left(inputs), right(inputs))
        return left

    def _unary(self) -> Expression:
        if self._take("!"):
            denied = self._unary()
            return lambda inputs: not _truth(denied(inputs))
        if self._take("-"):
            negated = self._unary()
            return lambda inputs: -negated(inputs)
        return self._primary()

    def _primary(self) -> Expression:
        if not self._tokens:
            raise ConditionError(f"the condition {self._text!r} ends too early")
        kind, text = self._tokens.pop(0)
        if kind == "number":
            number: float = int(text) if text.isdigit() else float(text)
            return lambda _: number
        if kind == "string":
            plain = re.sub(r"\\(.)", r"\1", text[1:-1])
            return lambda _: plain
        if kind == "input":
            name = text[text.index("[") + 2 : -2]
            return lambda inputs: _value(inputs, name)
        if text in _LITERALS:
            literal = _LITERALS[text]
            return lambda _: literal
        if text == "(" or (text in _CASTS and self._take("(")):
            inner = self._either()
            if not self._take(")"):
                raise ConditionError(f"the condition {self._text!r} has a parenthesis that is not closed")
            cast = _CASTS.get(text)
            return inner if cast is None else lambda inputs: _cast(text, cast, inner(inputs))
        self._tokens.insert(0, (kind, text))
        raise self._unexpected()

    def _take(self, text: str) -> bool:
        if self._tokens and self._tokens[0] == ("sign", text):
            self._tokens.pop(0)
            return True
        return False

    def _unexpected(self) -> ConditionError:
        return ConditionError(
            f"the condition {self._text!r} has something that is not served at {self._tokens[0][1]!r}"
        )


def _value(inputs: Mapping[str, Any], name: str) -> Any:
    if name not in inputs:
        raise ConditionError(f"the parameter {name} of a condition has no value")
    return inputs[name]


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConditionError(f"{value!r} is neither true nor false")
    return value


def _cast(name: str, cast: Callable[[Any], Any], value: Any) -> Any:
    try:
        return cast(value)
    except (TypeError, ValueError):
        raise ConditionError(f"{name}({value!r}) has no value") from None


def _compare(sign: str, compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    if sign not in ("==", "!=") and _kind(left) != _kind(right):
        raise ConditionError(f"{left!r} {sign} {right!r} compares values of different types")
    if _kind(left) != _kind(right):
        return sign == "!="
    return compare(left, right)


def _kind(value: Any) -> str:
    """Numbers compare with numbers, whole or not; everything else with its own type."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
