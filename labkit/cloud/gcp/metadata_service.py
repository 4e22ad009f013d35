"""Vertex AI's MetadataService: stores, and the artifacts, executions and contexts in them.

https://cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1#metadataservice
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import metadata_filters, paging, schema
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.metadata_store import COLLECTIONS, MetadataStore, MetadataStores
from labkit.cloud.gcp.vertex_names import copy_of, mask_paths, numbered, stamp, take_field, v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

    Function = Callable[[Call, Any], Any]

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,126}[a-z0-9]|[a-z0-9]")
_STORE_ID = re.compile(r"[a-z0-9-]{4,128}")
_MUTABLE = {"display_name", "description", "labels", "metadata", "schema_title", "schema_version", "state", "uri"}
#: How far an artifact's lineage is followed where the request does not say.
_HOPS = 100


def create_metadata_store(call: Call, request: Any) -> Any:
    """Makes a store, ``default`` or another. Long-running; its response has the name only, as Vertex AI's has."""
    identifier = request.metadata_store_id or str(uuid.uuid4())
    if not _STORE_ID.fullmatch(identifier):
        raise invalid(
            f"metadata_store_id {identifier!r} is not valid: it has 4 to 128 characters, of a-z, 0-9 and -.",
            "metadata_store_id",
        )
    for field in ("encryption_spec", "dataplex_config"):
        if request.metadata_store.HasField(field):
            raise refusal(f"metadata stores with {field}")
    stores, name = call.store(MetadataStores), f"{call.parent}/metadataStores/{identifier}"
    with stores.lock:
        if name in stores.stores:
            raise GcpError("ALREADY_EXISTS", f"The MetadataStore {name} already exists.")
        made = stores.add(name, call.engine.clock.now())
        made.message.description = request.metadata_store.description
    return call.operation(lambda: v1.MetadataStore(name=name), below=name)


def delete_metadata_store(call: Call, request: Any) -> Any:
    """Removes a store and all that is in it. Long-running."""
    stores, name = call.store(MetadataStores), numbered(call, request.name)
    with stores.lock:
        del stores.stores[stores.require(name).name]
    return call.operation(lambda: None, below=name)


def get_metadata_store(call: Call, request: Any) -> Any:
    stores = call.store(MetadataStores)
    with stores.lock:
        return stores.require(numbered(call, request.name)).message


def list_metadata_stores(call: Call, request: Any) -> Any:
    stores = call.store(MetadataStores)
    with stores.lock:
        shown, token = paging.page(
            [each.message for each in stores.stores.values()], request.page_size, request.page_token
        )
    return v1.ListMetadataStoresResponse(metadata_stores=shown, next_page_token=token)


def add_context_artifacts_and_executions(call: Call, request: Any) -> Any:
    """Puts artifacts and executions into a context; those that are in it stay."""

    def add(store: MetadataStore) -> Any:
        context = store.require("Context", numbered(call, request.context))
        names = [store.require("Artifact", numbered(call, each)).name for each in request.artifacts]
        names += [store.require("Execution", numbered(call, each)).name for each in request.executions]
        store.add_members(context.name, names)
        return v1.AddContextArtifactsAndExecutionsResponse()

    return _in_store(call, request.context, add)


def add_context_children(call: Call, request: Any) -> Any:
    """Puts contexts below another; a context cannot be below itself, and has at most 10 parents."""

    def add(store: MetadataStore) -> Any:
        parent = store.require("Context", numbered(call, request.context))
        for name in request.child_contexts:
            child = store.require("Context", numbered(call, name))
            if child.name == parent.name or _is_below(store, parent, child.name):
                raise invalid(f"{child.name} cannot be a child of {parent.name}: it is its parent.", "child_contexts")
            if parent.name not in child.parent_contexts:
                if len(child.parent_contexts) >= 10:
                    raise invalid(f"{child.name} has 10 parent contexts, the most there may be.", "child_contexts")
                child.parent_contexts.append(parent.name)
        return v1.AddContextChildrenResponse()

    return _in_store(call, request.context, add)


def remove_context_children(call: Call, request: Any) -> Any:
    def remove(store: MetadataStore) -> Any:
        parent = store.require("Context", numbered(call, request.context))
        for name in request.child_contexts:
            child = store.require("Context", numbered(call, name))
            kept = [each for each in child.parent_contexts if each != parent.name]
            del child.parent_contexts[:]
            child.parent_contexts.extend(kept)
        return v1.RemoveContextChildrenResponse()

    return _in_store(call, request.context, remove)


def query_context_lineage_subgraph(call: Call, request: Any) -> Any:
    """The artifacts and executions of a context, and the events between them."""

    def query(store: MetadataStore) -> Any:
        context = store.require("Context", numbered(call, request.context))
        names = [name for name in store.nodes if store.in_context(store.nodes[name], context.name)]
        executions = [name for name in names if "/executions/" in name]
        return store.subgraph(executions, [name for name in names if "/artifacts/" in name])

    return _in_store(call, request.context, query)


def add_execution_events(call: Call, request: Any) -> Any:
    """Says which artifacts went into an execution and came out of it."""

    def add(store: MetadataStore) -> Any:
        execution = store.require("Execution", numbered(call, request.execution))
        for event in request.events:
            artifact = store.require("Artifact", numbered(call, event.artifact))
            kind = v1.Event.Type.Name(event.type_)
            if kind not in ("INPUT", "OUTPUT"):
                raise invalid("The type of an event is INPUT or OUTPUT.", "events.type")
            store.add_event(execution.name, artifact.name, kind, call.engine.clock.now())
        return v1.AddExecutionEventsResponse()

    return _in_store(call, request.execution, add)


def query_execution_inputs_and_outputs(call: Call, request: Any) -> Any:
    def query(store: MetadataStore) -> Any:
        return store.subgraph([store.require("Execution", numbered(call, request.execution)).name])

    return _in_store(call, request.execution, query)


def query_artifact_lineage_subgraph(call: Call, request: Any) -> Any:
    """What an artifact came from and went into, up to ``max_hops`` executions away."""
    if request.filter:
        raise invalid("The filter of QueryArtifactLineageSubgraph is not served.", "filter")

    def query(store: MetadataStore) -> Any:
        artifacts = {store.require("Artifact", numbered(call, request.artifact)).name}
        executions: set[str] = set()
        for _ in range(request.max_hops or _HOPS):
            further = {each.execution for each in store.events if each.artifact in artifacts} - executions
            if not further:
                break
            executions |= further
            artifacts |= {each.artifact for each in store.events if each.execution in executions}
        return store.subgraph(executions, sorted(artifacts))

    return _in_store(call, request.artifact, query)


def _creator(kind: str) -> Function:
    field = kind.lower()

    def create(call: Call, request: Any) -> Any:
        asked, identifier = getattr(request, field), getattr(request, f"{field}_id")
        if identifier and not _ID.fullmatch(identifier):
            raise invalid(
                f"{field}_id {identifier!r} is not valid: 1 to 128 of [a-z0-9-], with no dash first or last.",
                f"{field}_id",
            )
        return _in_store(
            call, request.parent, lambda store: store.create(kind, asked, call.engine.clock.now(), identifier)
        )

    return create


def _getter(kind: str) -> Function:
    return lambda call, request: _in_store(
        call, request.name, lambda store: store.require(kind, numbered(call, request.name))
    )


def _lister(kind: str) -> Function:
    collection = COLLECTIONS[kind]
    response = f"List{collection.capitalize()}Response"

    def answer(call: Call, request: Any) -> Any:
        def found(store: MetadataStore) -> Any:
            meets = metadata_filters.judge(request.filter, store)
            nodes = sorted((each for each in store.of_kind(kind) if meets(each)), key=_order(request.order_by))
            if not request.order_by or request.order_by.endswith(" desc"):
                nodes.reverse()
            shown, token = paging.page(nodes, request.page_size, request.page_token)
            return getattr(v1, response)(**{collection: shown}, next_page_token=token)

        return _in_store(call, request.parent, found)

    return answer


def _updater(kind: str) -> Function:
    field = kind.lower()

    def update(call: Call, request: Any) -> Any:
        asked = getattr(request, field)

        def change(store: MetadataStore) -> Any:
            name = numbered(call, asked.name)
            if request.allow_missing and name not in store.nodes:
                return store.create(kind, asked, call.engine.clock.now(), name.rpartition("/")[2])
            node = store.require(kind, name)
            if asked.etag and asked.etag != node.etag:
                raise GcpError("ABORTED", f"The etag of {name} does not match: it was changed meanwhile.")
            given = [each.name for each, _ in asked.ListFields() if each.name in _MUTABLE]
            known = {each.name for each in node.DESCRIPTOR.fields} & _MUTABLE
            paths = mask_paths(request.update_mask, known, name) if request.update_mask.paths else given
            for path in {path.partition(".")[0] for path in paths}:
                take_field(node, asked, path)
            now = call.engine.clock.now()
            stamp(node, update_time=now)
            node.etag = str(int(now.timestamp() * 1000))
            return node

        return _in_store(call, asked.name, change)

    return update


def _deleter(kind: str) -> Function:
    def delete(call: Call, request: Any) -> Any:
        def remove(store: MetadataStore) -> None:
            node = store.require(kind, numbered(call, request.name))
            if request.etag and request.etag != node.etag:
                message = f"The etag of {node.name} does not match: it was changed meanwhile."
                raise GcpError("FAILED_PRECONDITION", message)
            store.remove(node)

        _in_store(call, request.name, remove)
        return call.operation(lambda: None, below=numbered(call, request.name))

    return delete


def _order(order_by: str) -> Callable[[Any], Any]:
    name = order_by.partition(" ")[0] or "create_time"
    if name not in ("create_time", "update_time", "display_name", "name"):
        raise invalid(
            f"order_by {order_by!r} is not served: create_time, update_time, display_name or name.", "order_by"
        )

    def key(node: Any) -> Any:
        value = getattr(node, name)
        return (value.seconds, value.nanos) if hasattr(value, "nanos") else value

    return key


def _is_below(store: MetadataStore, context: Any, name: str) -> bool:
    return any(
        parent == name or (parent in store.nodes and _is_below(store, store.nodes[parent], name))
        for parent in context.parent_contexts
    )


def _in_store(call: Call, name: str, work: Callable[[MetadataStore], Any]) -> Any:
    """Does ``work`` on the store that a resource's name is in, and answers with a copy of what it returns."""
    stores = call.store(MetadataStores)
    with stores.lock:
        found = work(stores.require("/".join(numbered(call, name).split("/")[:6])))
        if found is None:
            return schema.message("google.protobuf.Empty")()
        return copy_of(found)


METHODS: dict[str, Function] = {
    "CreateMetadataStore": create_metadata_store,
    "DeleteMetadataStore": delete_metadata_store,
    "GetMetadataStore": get_metadata_store,
    "ListMetadataStores": list_metadata_stores,
    "AddContextArtifactsAndExecutions": add_context_artifacts_and_executions,
    "AddContextChildren": add_context_children,
    "RemoveContextChildren": remove_context_children,
    "QueryContextLineageSubgraph": query_context_lineage_subgraph,
    "AddExecutionEvents": add_execution_events,
    "QueryExecutionInputsAndOutputs": query_execution_inputs_and_outputs,
    "QueryArtifactLineageSubgraph": query_artifact_lineage_subgraph,
    **{f"Create{kind}": _creator(kind) for kind in COLLECTIONS},
    **{f"Get{kind}": _getter(kind) for kind in COLLECTIONS},
    **{f"List{kind}s": _lister(kind) for kind in COLLECTIONS},
    **{f"Update{kind}": _updater(kind) for kind in COLLECTIONS},
    **{f"Delete{kind}": _deleter(kind) for kind in COLLECTIONS},
}

PERMISSIONS = {
    "AddContextArtifactsAndExecutions": "aiplatform.contexts.addContextArtifactsAndExecutions",
    "AddContextChildren": "aiplatform.contexts.addContextChildren",
    "RemoveContextChildren": "aiplatform.contexts.addContextChildren",
    "QueryContextLineageSubgraph": "aiplatform.contexts.queryContextLineageSubgraph",
    "AddExecutionEvents": "aiplatform.executions.addExecutionEvents",
    "QueryExecutionInputsAndOutputs": "aiplatform.executions.queryExecutionInputsAndOutputs",
    "QueryArtifactLineageSubgraph": "aiplatform.artifacts.get",
}

NOTES = {
    "CreateMetadataStore": "without keys and Dataplex",
    "ListArtifacts": "filters by the documented fields, metadata.KEY.number_value and in_context()",
    "QueryArtifactLineageSubgraph": "max_hops counts executions; filters refuse",
}
