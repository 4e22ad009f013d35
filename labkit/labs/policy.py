"""Reads IAM policies as the checks need it: what a set of identity policies allows, by its text.

Conditions are not evaluated: a statement that has one still counts as allowing, because what the checks look for is
whether a permission is there at all and whether it is wider than it has to be.
Follows https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

Policy = Mapping[str, Any]


def as_list(value: Any) -> list[Any]:
    """A policy element that may be one thing or a list of them, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def statements(policies: Iterable[Policy], effect: str = "Allow") -> Iterator[Policy]:
    """The statements with that effect, in order."""
    for policy in policies:
        for statement in as_list(policy.get("Statement")):
            if statement.get("Effect") == effect:
                yield statement


def grants(policies: Iterable[Policy]) -> list[tuple[str, str]]:
    """Every allowed (action, resource) pair, as written; ``NotAction`` and ``NotResource`` count as ``*``."""
    pairs = []
    for statement in statements(policies):
        actions = as_list(statement.get("Action")) or ["*"]
        resources = as_list(statement.get("Resource")) or ["*"]
        pairs += [(action, resource) for action in actions for resource in resources]
    return pairs


def covers(pattern: str, text: str) -> bool:
    """Whether an IAM pattern (``*`` and ``?``) covers the text."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def allows(policies: Iterable[Policy], action: str, resource: str) -> bool:
    """Whether some statement allows the action on the resource, and none denies it."""
    policies = list(policies)

    def speaks_of(statement: Policy) -> bool:
        return _matches(statement, "Action", action.lower()) and _matches(statement, "Resource", resource)

    denied = any(speaks_of(statement) for statement in statements(policies, "Deny"))
    return not denied and any(speaks_of(statement) for statement in statements(policies))


def _matches(statement: Policy, element: str, text: str) -> bool:
    """Whether a statement's ``Action`` or ``Resource`` covers the text, or its ``Not...`` form does not."""
    fold = str.lower if element == "Action" else str
    if f"Not{element}" in statement:
        return not any(covers(fold(pattern), text) for pattern in as_list(statement[f"Not{element}"]))
    return any(covers(fold(pattern), text) for pattern in as_list(statement.get(element)))
