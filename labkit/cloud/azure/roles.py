"""Roles: what their permissions grant, and those that Azure has from the beginning.

https://learn.microsoft.com/azure/role-based-access-control/role-definitions says how permissions are computed,
https://learn.microsoft.com/azure/role-based-access-control/built-in-roles what the built-in roles hold
(``builtin_roles.json`` has those that concern what is served, word for word).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from labkit.cloud.azure.wire import time_text

TYPE = "Microsoft.Authorization/roleDefinitions"
BUILT_IN, CUSTOM = "BuiltInRole", "CustomRole"
#: The parts of a permission, as requests and answers spell them.
PARTS = ("actions", "notActions", "dataActions", "notDataActions")
#: What acts on data, not on resources: https://learn.microsoft.com/azure/role-based-access-control/permissions
DATA = re.compile(r"microsoft\.storage/storageaccounts/blobservices/containers/blobs/.+", re.IGNORECASE)
#: When the built-in roles are said to have been made.
_BEGAN = datetime(2015, 2, 2, 21, 55, 9, tzinfo=UTC)


@lru_cache(maxsize=4096)
def pattern(text: str) -> re.Pattern[str]:
    """What an action with wildcards matches, without regard to case: ``a/*/read`` is ``a/read`` and ``a/b/c/read``."""
    escaped = re.escape(text).replace(r"/\*/", "/(?:.*/)?").replace(r"\*", ".*")
    return re.compile(escaped, re.IGNORECASE)


def is_data_action(action: str) -> bool:
    """Whether ``dataActions`` grant this action, and not ``actions``."""
    return DATA.fullmatch(action) is not None


@dataclass(frozen=True)
class Permission:
    """One set of actions. What ``notActions`` holds is taken off ``actions``, and denies nothing beyond that."""

    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Permission:
        """The permission that a request or a file holds."""
        return cls(*(tuple(given.get(name) or ()) for name in PARTS))

    def grants(self, action: str, *, data: bool) -> bool:
        """Whether an action (``data``: one of the data plane) is among those granted."""
        granted, removed = (self.data_actions, self.not_data_actions) if data else (self.actions, self.not_actions)
        return _any(granted, action) and not _any(removed, action)

    def view(self) -> dict[str, list[str]]:
        values = (self.actions, self.not_actions, self.data_actions, self.not_data_actions)
        return {name: list(value) for name, value in zip(PARTS, values, strict=True)}


@dataclass(frozen=True)
class Role:
    """A role definition. ``guid`` is its name in ids, ``name`` what people call it."""

    guid: str
    name: str
    description: str
    kind: str
    permissions: tuple[Permission, ...]
    scopes: tuple[str, ...] = ("/",)
    created: datetime = _BEGAN
    updated: datetime = _BEGAN
    created_by: str | None = None
    updated_by: str | None = None
    _known: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    def grants(self, action: str) -> bool:
        """Whether the role allows an action of either plane."""
        found = self._known.get(action)
        if found is None:
            data = is_data_action(action)
            found = self._known[action] = any(each.grants(action, data=data) for each in self.permissions)
        return found

    @cached_property
    def manages_access(self) -> bool:
        """Whether who has the role can give roles away: Azure calls that an administrator of RBAC."""
        return self.grants("Microsoft.Authorization/roleAssignments/write")

    def id(self, subscription: str) -> str:
        """The id that the role has in a subscription (``/subscriptions/..``), or in the tenant (``""``)."""
        return f"{subscription}/providers/{TYPE}/{self.guid}"

    def view(self, subscription: str) -> dict[str, Any]:
        return {
            "properties": {
                "roleName": self.name,
                "type": self.kind,
                "description": self.description,
                "assignableScopes": list(self.scopes),
                "permissions": [each.view() for each in self.permissions],
                "createdOn": time_text(self.created),
                "updatedOn": time_text(self.updated),
                "createdBy": self.created_by,
                "updatedBy": self.updated_by,
            },
            "id": self.id(subscription),
            "type": TYPE,
            "name": self.guid,
        }


@cache
def built_in() -> Mapping[str, Role]:
    """The built-in roles by GUID."""
    listed = json.loads(Path(__file__).with_name("builtin_roles.json").read_text(encoding="utf-8"))
    return {
        each["name"]: Role(
            each["name"],
            each["roleName"],
            each["description"],
            BUILT_IN,
            tuple(Permission.read(given) for given in each["permissions"]),
        )
        for each in listed
    }


def named(name: str) -> Role:
    """The built-in role that people call ``name``."""
    return next(role for role in built_in().values() if role.name == name)


def _any(patterns: Iterable[str], action: str) -> bool:
    return any(pattern(each).fullmatch(action) for each in patterns)
