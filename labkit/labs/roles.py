"""Reads Azure role definitions as the checks need it: what a custom role allows, by its text.

A definition is what ``az role definition create`` takes
(https://learn.microsoft.com/azure/role-based-access-control/role-definitions). ``NotActions`` are taken away from
``Actions``; they deny nothing that another role allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

#: A role definition, with its keys as they were written.
Role = Mapping[str, Any]


def element(role: Role, name: str) -> list[str]:
    """A list of the definition, whatever the case of its key; an element that is not there is empty."""
    found = next((value for key, value in role.items() if key.lower() == name.lower()), None) or []
    return [str(each) for each in found] if isinstance(found, list) else [str(found)]


def covers(pattern: str, action: str) -> bool:
    """Whether an action's pattern (``*`` stands for any text) covers an action, whatever their case."""
    return fnmatchcase(action.lower(), pattern.lower().replace("[", "[[]").replace("?", "[?]"))


def allows(role: Role, action: str, *, data: bool = False) -> bool:
    """Whether the role allows an action of the control plane, or of the data plane (``data``)."""
    kind = "DataActions" if data else "Actions"
    return any(covers(pattern, action) for pattern in element(role, kind)) and not any(
        covers(pattern, action) for pattern in element(role, f"Not{kind}")
    )


def within(scope: str, resource: str) -> bool:
    """Whether a role that is assigned at ``scope`` holds for ``resource``: both are ids, the case does not matter."""
    return f"{resource}/".lower().startswith(f"{scope.rstrip('/')}/".lower())
