"""The resources of a subscription: the one place where they are kept, found, listed and deleted with all that is below.

https://learn.microsoft.com/azure/azure-resource-manager/management/overview
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.wire import time_text
from labkit.cloud.engine.access import Caller

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Id:
    """The parts of a resource id. ``type`` is like ``Microsoft.MachineLearningServices/workspaces/models``."""

    subscription: str
    group: str
    type: str
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[-1]


def parse_id(text: str) -> Id | None:
    """The parts of ``/subscriptions/../resourceGroups/../providers/..``, or None when it is no such id."""
    parts = text.strip("/").split("/")
    low = [part.lower() for part in parts]
    if len(parts) < 8 or len(parts) % 2 or low[0] != "subscriptions" or low[2] != "resourcegroups":
        return None
    if low[4] != "providers" or not all(parts):
        return None
    kind = "/".join([parts[5], *parts[6::2]])
    return Id(parts[1], parts[3], kind, tuple(parts[7::2]))


@dataclass(slots=True)
class Resource:
    """One resource. ``properties`` is what Azure shows under that name, ``state`` its owner's own object.

    ``closing`` is called once, when the resource or something above it has been deleted.
    """

    id: str
    properties: dict[str, Any]
    location: str = ""
    tags: dict[str, str] | None = None
    kind: str = ""
    sku: dict[str, Any] | None = None
    identity: dict[str, Any] | None = None
    type: str = ""
    created: datetime | None = None
    created_by: Caller | None = None
    modified: datetime | None = None
    modified_by: Caller | None = None
    state: Any = None
    closing: Callable[[], None] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        if not self.type:
            parts = parse_id(self.id)
            self.type = parts.type if parts else "Microsoft.Resources/resourceGroups"

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]

    @property
    def group(self) -> str:
        """The name of its resource group."""
        return self.id.split("/")[4]

    def touch(self, now: datetime, caller: Caller) -> None:
        """Notes who changed it, and when (lab time)."""
        if self.created is None:
            self.created, self.created_by = now, caller
        self.modified, self.modified_by = now, caller

    def view(self) -> dict[str, Any]:
        """The resource as Azure shows it."""
        shown: dict[str, Any] = {"id": self.id, "name": self.name, "type": self.type}
        if self.location:
            shown["location"] = self.location
        shown["tags"] = dict(self.tags or {})
        for name in ("kind", "sku", "identity"):
            if value := getattr(self, name):
                shown[name] = value
        shown["properties"] = self.properties
        if system := self.system_data():
            shown["systemData"] = system
        return shown

    def system_data(self) -> dict[str, str]:
        """Who made and last changed the resource, and when, in lab time."""
        if self.created is None or self.modified is None or self.created_by is None or self.modified_by is None:
            return {}
        return {
            "createdAt": time_text(self.created),
            "createdBy": self.created_by.principal,
            "createdByType": "Application",
            "lastModifiedAt": time_text(self.modified),
            "lastModifiedBy": self.modified_by.principal,
            "lastModifiedByType": "Application",
        }


class Resources:
    """Every resource of the lab's subscription, by id without regard to case; safe to use from any thread."""

    def __init__(self) -> None:
        #: Held by whoever looks first and then changes.
        self.lock = threading.RLock()
        #: Called with the id of each resource that has been deleted.
        self.when_deleted: Callable[[str], None] = lambda resource_id: None
        self._known: dict[str, Resource] = {}
        self._stores: dict[tuple[Any, str], Any] = {}

    def get(self, resource_id: str) -> Resource | None:
        return self._known.get(resource_id.lower())

    def require(self, resource_id: str) -> Resource:
        """The resource, or Resource Manager's error for one that is not there."""
        found = self.get(resource_id)
        if found is None:
            raise not_found(resource_id)
        return found

    def put(self, resource: Resource) -> None:
        with self.lock:
            self._known[resource.id.lower()] = resource

    def delete(self, resource_id: str) -> bool:
        """Deletes a resource and everything below it, the lowest first; False when it was not there."""
        mine = resource_id.lower()
        with self.lock:
            doomed = [each for each in self._known if each == mine or each.startswith(f"{mine}/")]
            gone = [self._known.pop(each) for each in sorted(doomed, reverse=True)]
            stores = [self._stores.pop(at) for at in list(self._stores) if _within(at[1], mine)]
        _close([each.closing for each in gone])
        _close([getattr(each, "close", None) for each in stores])
        if gone:
            self.when_deleted(resource_id)
        return mine in doomed

    def below(self, scope: str, kind: str = "") -> list[Resource]:
        """The resources whose id begins with ``scope``, in the order of their making; of type ``kind``, if given."""
        start, kind = f"{scope.lower().rstrip('/')}/", kind.lower()
        with self.lock:
            known = list(self._known.items())
        return [each for at, each in known if at.startswith(start) and (not kind or each.type.lower() == kind)]

    def store(self, kind: Callable[[], T], scope: str) -> T:
        """The one instance of ``kind`` for a scope (a resource's id); closed and gone when that is deleted."""
        at = (kind, scope.lower())
        with self.lock:
            if at not in self._stores:
                self._stores[at] = kind()
            found: T = self._stores[at]
            return found

    def reset(self) -> None:
        """Deletes everything."""
        with self.lock:
            gone, self._known = list(self._known.values()), {}
            stores, self._stores = list(self._stores.values()), {}
        _close([each.closing for each in reversed(gone)])
        _close([getattr(each, "close", None) for each in stores])


def not_found(resource_id: str) -> AzureError:
    """What Resource Manager answers about a resource that is not there."""
    parts = parse_id(resource_id)
    if parts is None:
        return AzureError("ResourceNotFound", f"The resource {resource_id} was not found.", 404)
    namespace, *types = parts.type.split("/")
    path = "/".join([namespace, *(f"{kind}/{name}" for kind, name in zip(types, parts.names, strict=True))])
    message = (
        f"The Resource '{path}' under resource group '{parts.group}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix"
    )
    return AzureError("ResourceNotFound", message, 404)


def _within(scope: str, above: str) -> bool:
    return scope == above or scope.startswith(f"{above}/")


def _close(actions: list[Callable[[], None] | None]) -> None:
    for action in actions:
        if action is not None:
            action()
