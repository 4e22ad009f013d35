"""The language of Azure Resource Manager templates: what stands in brackets inside their texts.

https://learn.microsoft.com/azure/azure-resource-manager/templates/template-expressions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_][\w.]*)|(?P<sign>[()\[\],.]))")

#: A function of the language: given its arguments, its value.
Function = Callable[..., Any]


class TemplateError(Exception):
    """An expression or a template that cannot be evaluated. The message is one sentence without a full stop."""


def evaluate(value: Any, functions: Mapping[str, Function]) -> Any:
    """``value`` with every expression in it replaced by what it stands for; ``functions`` by lower-case name.

    ``if`` evaluates only the branch that it takes. Raises :class:`TemplateError`.
    """
    if isinstance(value, dict):
        return {_key(key, functions): evaluate(inner, functions) for key, inner in value.items()}
    if isinstance(value, list):
        return [evaluate(inner, functions) for inner in value]
    if not isinstance(value, str) or not value.startswith("[") or not value.endswith("]"):
        return value
    if value.startswith("[["):
        return value[1:]
    reader = _Reader(value[1:-1])
    tree = reader.expression()
    reader.end()
    return _value(tree, functions)


def _key(key: str, functions: Mapping[str, Function]) -> str:
    return str(evaluate(key, functions))


#: An expression as read: ("is", value), ("call", name, [arguments]), ("get", tree, tree).
_Tree = tuple[Any, ...]


class _Reader:
    """Reads one expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._at = 0

    def expression(self) -> _Tree:
        kind, token = self._next()
        tree: _Tree
        if kind == "text":
            tree = ("is", token[1:-1].replace("''", "'"))
        elif kind == "number":
            tree = ("is", int(token))
        elif kind == "name" and self._peek() == "(":
            self._next()
            tree = ("call", token, list(self._arguments()))
        else:
            raise TemplateError(f"the expression '{self._text}' has '{token}' where a value should be")
        while self._peek() in (".", "["):
            _, sign = self._next()
            if sign == ".":
                _, name = self._next()
                for part in name.split("."):
                    tree = ("get", tree, ("is", part))
            else:
                tree = ("get", tree, self.expression())
                self._expect("]")
        return tree

    def end(self) -> None:
        if self._at != len(self._tokens):
            raise TemplateError(f"the expression '{self._text}' goes on after its end")

    def _arguments(self) -> Iterator[_Tree]:
        if self._peek() == ")":
            self._next()
            return
        while True:
            yield self.expression()
            _, sign = self._next()
            if sign == ")":
                return
            if sign != ",":
                raise TemplateError(f"the expression '{self._text}' has '{sign}' where a comma should be")

    def _expect(self, sign: str) -> None:
        if self._next()[1] != sign:
            raise TemplateError(f"the expression '{self._text}' lacks a '{sign}'")

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise TemplateError(f"the expression '{self._text}' ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _split(self) -> Iterator[tuple[str, str]]:
        at, text = 0, self._text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise TemplateError(f"the expression '{text}' cannot be read from '{text[at:]}' on")
            yield found.lastgroup, found[found.lastgroup]
            at = found.end()


def _value(tree: _Tree, functions: Mapping[str, Function]) -> Any:
    kind = tree[0]
    if kind == "is":
        return tree[1]
    if kind == "get":
        return _member(_value(tree[1], functions), _value(tree[2], functions))
    _, name, arguments = tree
    if name.lower() == "if":
        if len(arguments) != 3:
            raise TemplateError("the function if takes three arguments")
        return _value(arguments[1] if _value(arguments[0], functions) else arguments[2], functions)
    function = functions.get(name.lower())
    if function is None:
        raise TemplateError(f"the local clouds do not serve the template function '{name}' yet; see docs/fidelity.md")
    try:
        return function(*(_value(argument, functions) for argument in arguments))
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise TemplateError(f"the template function '{name}' cannot take these arguments: {error}") from None


def _member(whole: Any, key: Any) -> Any:
    if isinstance(whole, dict):
        for name, value in whole.items():
            if str(name).lower() == str(key).lower():
                return value
        raise TemplateError(f"there is no property '{key}'; there are {', '.join(map(str, whole)) or 'none'}")
    if isinstance(whole, list) and isinstance(key, int) and 0 <= key < len(whole):
        return whole[key]
    raise TemplateError(f"'{key}' of {whole!r} does not exist")
