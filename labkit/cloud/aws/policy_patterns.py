"""Patterns in policies: wildcards, ARNs and policy variables.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Unevaluated:
    """Not decided: it hangs on something that the local clouds do not evaluate, named by ``what``."""

    what: str


#: What a condition key has in a request: nothing, one value, several, or it is not known.
Value = str | Sequence[str] | None | Unevaluated
#: From a condition key's name to its value.
Lookup = Callable[[str], Value]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULT = re.compile(r"\s*([^,\s]+)\s*,\s*'([^']*)'\s*")
_LITERALS = ("*", "?", "$")


@lru_cache(maxsize=8192)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of IAM's, in which ``*`` is any run of characters and ``?`` any one."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def like(text: str, pattern: str) -> bool:
    """Whether a text matches a pattern."""
    return pattern == "*" or compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=8192)
def action_matches(action: str, pattern: str) -> bool:
    """Whether an action is one that a pattern names, upper and lower case alike."""
    return like(action.lower(), pattern.lower())


def resource_matches(resource: str, pattern: str) -> bool:
    """Whether an ARN is one that a pattern names: part by part, parts that are left out standing for any."""
    if pattern == "*":
        return True
    return _parts_match(resource, pattern, complete=True)


def arn_matches(arn: str, pattern: str) -> bool:
    """Whether an ARN is like another in a condition: each of the six parts by itself."""
    return pattern == "*" or _parts_match(arn, pattern, complete=False)


def _parts_match(arn: str, pattern: str, *, complete: bool) -> bool:
    wanted, found = pattern.split(":", 5), arn.split(":", 5)
    if complete and wanted[0] == "arn":
        wanted += ["*"] * (6 - len(wanted))
    if len(wanted) != len(found):
        return False
    return all(like(part, each) for part, each in zip(found, wanted, strict=True))


def has_variables(pattern: str) -> bool:
    return "${" in pattern


def expand(pattern: str, lookup: Lookup, *, wildcards: bool) -> str | Unevaluated | None:
    """A pattern with its variables replaced, or None where one has no value and no default.

    What replaces a variable stands for itself: with ``wildcards``, a star in a value is written as :func:`hidden`
    writes it, and has to be met by a star in the text.
    """
    parts: list[str] = []
    at = 0
    for found in _VARIABLE.finditer(pattern):
        parts.append(pattern[at : found.start()])
        at = found.end()
        name, default = found[1], None
        if name in _LITERALS:
            parts.append(hidden(name) if wildcards else name)
            continue
        if matched := _DEFAULT.fullmatch(name):
            name, default = matched[1], matched[2]
        value = lookup(name)
        if isinstance(value, Unevaluated):
            return value
        if value is not None and not isinstance(value, str):
            return Unevaluated(f"the policy variable ${{{name}}}, which has several values")
        value = default if value is None else value
        if value is None:
            return None
        parts.append(hidden(value) if wildcards else value)
    return "".join([*parts, pattern[at:]])


def hidden(text: str) -> str:
    """A text whose stars and question marks are no wildcards: to be matched with an expanded pattern."""
    return text.replace("*", "\ue000").replace("?", "\ue001")
