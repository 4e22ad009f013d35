"""Vertex ML Metadata of one project and location: artifacts, executions, contexts, and what ties them together.

https://cloud.google.com/vertex-ai/docs/ml-metadata/data-model
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.vertex_names import copy_of, new_id, stamp, v1

if TYPE_CHECKING:
    from datetime import datetime

#: A kind of node -> the collection in its name.
COLLECTIONS = {"Artifact": "artifacts", "Execution": "executions", "Context": "contexts"}


class MetadataStores:
    """Metadata stores by name. Whatever reads or changes one holds ``lock``."""

    def __init__(self) -> None:
        self.stores: dict[str, MetadataStore] = {}
        self.lock = threading.RLock()

    def require(self, name: str) -> MetadataStore:
        """The store of a name (``.../metadataStores/default``), or ``NOT_FOUND``."""
        found = self.stores.get(name)
        if found is None:
            raise GcpError("NOT_FOUND", f"The MetadataStore {name} does not exist.")
        return found

    def default(self, parent: str, now: datetime) -> MetadataStore:
        """The store that pipelines write to; it is made when the first needs it."""
        name = f"{parent}/metadataStores/default"
        return self.stores.get(name) or self.add(name, now)

    def add(self, name: str, now: datetime) -> MetadataStore:
        """A new store."""
        self.stores[name] = MetadataStore(name, now)
        return self.stores[name]


class MetadataStore:
    """One store: nodes by name, events between executions and artifacts, and what belongs to which context."""

    def __init__(self, name: str, now: datetime) -> None:
        self.message = v1.MetadataStore(name=name)
        stamp(self.message, create_time=now, update_time=now)
        self.nodes: dict[str, Any] = {}
        self.events: list[Any] = []
        #: A context's name -> the artifacts and executions in it, in the order in which they were added.
        self.members: dict[str, dict[str, None]] = {}

    @property
    def name(self) -> str:
        return str(self.message.name)

    def create(self, kind: str, asked: Any, now: datetime, identifier: str = "") -> Any:
        """Adds a node as it is asked for, and returns it; raises ``ALREADY_EXISTS``."""
        name = f"{self.name}/{COLLECTIONS[kind]}/{identifier or new_id()}"
        if name in self.nodes:
            raise GcpError("ALREADY_EXISTS", f"The {kind} with id {identifier} already exists in {self.name}.")
        node = copy_of(asked)
        node.name, node.etag = name, str(int(now.timestamp() * 1000))
        stamp(node, create_time=now, update_time=now)
        self.nodes[name] = node
        return node

    def make(self, kind: str, now: datetime, metadata: Mapping[str, Any], identifier: str = "", **fields: Any) -> Any:
        """As :meth:`create`, of a node's fields; ``metadata`` is plain JSON."""
        asked = getattr(v1, kind)(**fields)
        asked.metadata.update(metadata)
        return self.create(kind, asked, now, identifier)

    def require(self, kind: str, name: str) -> Any:
        """The node of a name, or ``NOT_FOUND``."""
        found = self.nodes.get(name)
        if found is None or type(found) is not getattr(v1, kind):
            raise GcpError("NOT_FOUND", f"The {kind} {name} does not exist.")
        return found

    def of_kind(self, kind: str) -> list[Any]:
        return [each for each in self.nodes.values() if type(each) is getattr(v1, kind)]

    def remove(self, node: Any) -> None:
        """Takes a node out, with its events and memberships."""
        del self.nodes[node.name]
        self.events = [each for each in self.events if node.name not in (each.artifact, each.execution)]
        self.members.pop(node.name, None)
        for members in self.members.values():
            members.pop(node.name, None)

    def add_event(self, execution: str, artifact: str, kind: str, now: datetime) -> None:
        """Notes that an artifact went into an execution (``INPUT``) or came out of it (``OUTPUT``), once."""
        event = v1.Event(execution=execution, artifact=artifact, type_=v1.Event.Type.Value(kind))
        stamp(event, event_time=now)
        if not any((e.execution, e.artifact, e.type_) == (execution, artifact, event.type_) for e in self.events):
            self.events.append(event)

    def add_members(self, context: str, names: Iterable[str]) -> None:
        self.members.setdefault(context, {}).update(dict.fromkeys(names))

    def in_context(self, node: Any, context: str) -> bool:
        """Whether a node was put into a context itself; what is in the contexts below it does not count."""
        return node.name in self.members.get(context, {})

    def subgraph(self, executions: Iterable[str], artifacts: Iterable[str] = ()) -> Any:
        """Executions, their artifacts and the events between them, as a ``LineageSubgraph``."""
        wanted = set(executions)
        events = [each for each in self.events if each.execution in wanted]
        names = dict.fromkeys((*artifacts, *(each.artifact for each in events)))
        return v1.LineageSubgraph(
            artifacts=[self.nodes[name] for name in names if name in self.nodes],
            executions=[self.nodes[name] for name in sorted(wanted) if name in self.nodes],
            events=events,
        )
