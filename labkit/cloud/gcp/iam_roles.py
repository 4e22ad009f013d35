"""Roles: Google's own, read from a table, and the custom ones that a project has made.

The table (``generated/roles.json.gz``) holds Google's permissions and predefined roles for the services that the kit
serves or names, as https://cloud.google.com/iam/docs/roles-permissions lists them; permissions of other services are
left out of it, from ``roles/owner`` too.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

_FILE = resources.files(__package__) / "generated" / "roles.json.gz"
_CUSTOM = re.compile(r"projects/([^/]+)/roles/([A-Za-z0-9_.]{3,64})")
#: The stage of a role that is switched off.
DISABLED = "DISABLED"


@dataclass(frozen=True, slots=True)
class Role:
    """One of Google's roles. ``name`` is ``roles/aiplatform.user``, ``stage`` its launch stage."""

    name: str
    title: str
    description: str
    stage: str
    permissions: frozenset[str]


@dataclass(slots=True)
class CustomRole:
    """A role that a project has made: ``projects/PROJECT_ID/roles/ROLE_ID``."""

    name: str
    title: str = ""
    description: str = ""
    stage: str = "ALPHA"
    permissions: frozenset[str] = frozenset()
    version: int = 1
    deleted: datetime | None = None

    @property
    def grants(self) -> frozenset[str]:
        """What the role gives now: nothing once it is disabled or deleted."""
        return frozenset() if self.deleted or self.stage == DISABLED else self.permissions


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(gzip.decompress(_FILE.read_bytes()))
    return table


@cache
def _of_service(service: str) -> frozenset[str]:
    return frozenset(f"{service}.{each}" for each in _table()["permissions"].get(service, ()))


@cache
def permissions() -> frozenset[str]:
    """Every permission that is known."""
    return frozenset().union(*(_of_service(service) for service in _table()["permissions"]))


@cache
def predefined() -> dict[str, Role]:
    """Google's roles, by name."""
    return {name: _role(name, entry) for name, entry in _table()["roles"].items()}


def _role(name: str, entry: dict[str, Any]) -> Role:
    included: set[str] = set()
    for service, names in entry["permissions"].items():
        included |= _of_service(service) if names == "*" else {f"{service}.{each}" for each in names}
    return Role(name, entry["title"], entry["description"], entry["stage"], frozenset(included))


@dataclass(slots=True)
class CustomRoles:
    """The custom roles of every project; safe to use from any thread."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    _roles: dict[str, CustomRole] = field(default_factory=dict)

    def find(self, name: str) -> CustomRole | None:
        return self._roles.get(name)

    def add(self, role: CustomRole) -> None:
        self._roles[role.name] = role

    def of_project(self, project: str) -> Iterator[CustomRole]:
        """A project's roles, by name, the deleted ones too."""
        with self.lock:
            found = [role for name, role in sorted(self._roles.items()) if name.startswith(f"projects/{project}/")]
        return iter(found)

    def clear(self) -> None:
        with self.lock:
            self._roles.clear()

    def granted(self, name: str) -> frozenset[str]:
        """The permissions that a role gives: one of Google's or a custom one; none if there is no such role."""
        if custom := self._roles.get(name):
            return custom.grants
        role = predefined().get(name)
        return role.permissions if role else frozenset()


def custom_project(name: str) -> str:
    """The project of a custom role's name, or ``""`` for another name."""
    found = _CUSTOM.fullmatch(name)
    return found[1] if found else ""
