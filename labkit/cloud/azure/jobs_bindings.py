"""The expressions of jobs: ``${{inputs.rows}}`` in a command, ``${{parent.jobs.prep.outputs.data}}`` between steps.

https://learn.microsoft.com/azure/machine-learning/reference-yaml-core-syntax#expression-syntax-for-configuring-azure-machine-learning-jobs-and-components
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_EXPRESSION = re.compile(r"\$\{\{\s*([^{}]*?)\s*\}\}")
#: A part of a command that is left out when an input in it was not given.
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)


class Unbound(Exception):
    """An expression that means nothing here; ``name`` is what stands between its braces."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def names(text: str) -> list[str]:
    """What stands between the braces of each expression of a text."""
    return _EXPRESSION.findall(text)


def whole(text: object) -> str:
    """What stands between the braces of a text that is one expression and nothing else; else ``""``."""
    matched = _EXPRESSION.fullmatch(text.strip()) if isinstance(text, str) else None
    return matched[1] if matched else ""


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each expression replaced by its value; raises :class:`Unbound`."""

    def value(matched: re.Match[str]) -> str:
        if matched[1] not in values:
            raise Unbound(matched[1])
        return values[matched[1]]

    return _EXPRESSION.sub(value, text)


def command(text: str, values: Mapping[str, str]) -> str:
    """A command with its expressions filled in; a part ``$[[ ]]`` goes where an input in it was not given."""

    def part(matched: re.Match[str]) -> str:
        return matched[1] if all(name in values for name in names(matched[1])) else ""

    return fill(_OPTIONAL.sub(part, text), values)


def required(text: str) -> set[str]:
    """The expressions of a command that stand outside its optional parts."""
    return set(names(_OPTIONAL.sub("", text)))
