"""Filters of Vertex ML Metadata's lists.

``schema_title="system.Run" AND in_context("projects/...")``: anything but the fields named in
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.metadataStores.artifacts/list
is refused, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from labkit.cloud.gcp.errors import invalid
from labkit.cloud.gcp.filters import ORDERED, Comparison, FilterError, Leaf, leaves, matches, parse
from labkit.cloud.gcp.metadata_store import MetadataStore
from labkit.cloud.gcp.vertex_names import snake

#: A function is read as a comparison, which the grammar of other filters has.
_IN_CONTEXT = re.compile(r"\bin_context\(\s*(\"[^\"]*\"|'[^']*')\s*\)")
_TEXTS = {"name", "display_name", "schema_title", "schema_version", "uri", "state", "description"}
_TIMES = {"create_time", "update_time"}
_CONTEXTS = {"parent_contexts", "child_contexts"}
#: Types of a metadata field's value -> how a filter's text is read as one.
_METADATA: dict[str, Callable[[str], Any]] = {
    "number_value": float,
    "string_value": str,
    "bool_value": lambda text: text == "true",
}


def judge(text: str, store: MetadataStore) -> Callable[[Any], bool]:
    """What says of a node whether it meets the filter; raises ``INVALID_ARGUMENT`` for one that is not served."""
    try:
        tree = parse(_IN_CONTEXT.sub(r"in_context = \1", text))
    except FilterError as error:
        raise invalid(str(error), "filter") from None
    for leaf in leaves(tree):
        if not isinstance(leaf, Comparison) or not isinstance(leaf.value, str) or not _is_served(leaf):
            raise invalid(f"The filter {text!r} is not served: see docs/fidelity.md for the fields that are.", "filter")
    return lambda node: matches(tree, lambda leaf: _holds(leaf, node, store))


def _is_served(leaf: Comparison) -> bool:
    name = snake(leaf.field[0])
    if name in ("in_context", *_CONTEXTS):
        return len(leaf.field) == 1 and leaf.operator in ("=", ":")
    if name == "labels":
        return len(leaf.field) == 2 and leaf.operator in ("=", "!=")
    if name == "metadata":
        return len(leaf.field) >= 3 and leaf.field[-1] in _METADATA and leaf.operator in ORDERED
    if len(leaf.field) != 1 or leaf.operator not in ORDERED:
        return False
    if name in _TIMES:
        return _is_time(leaf.value)
    return name in _TEXTS and (leaf.operator in ("=", "!=") or name == "display_name")


def _is_time(value: Any) -> bool:
    try:
        datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


def _holds(leaf: Leaf, node: Any, store: MetadataStore) -> bool:
    assert isinstance(leaf, Comparison)
    assert isinstance(leaf.value, str)
    name, value = snake(leaf.field[0]), leaf.value
    if name == "in_context":
        return store.in_context(node, value)
    if name == "parent_contexts":
        return value in getattr(node, "parent_contexts", ())
    if name == "child_contexts":
        return value in store.nodes and node.name in getattr(store.nodes[value], "parent_contexts", ())
    compare = ORDERED[leaf.operator]
    if name == "labels":
        return compare(node.labels.get(leaf.field[1], ""), value)
    if name == "metadata":
        return _metadata(leaf, node, compare)
    if name in _TIMES:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return compare(getattr(node, name).ToDatetime(tzinfo=moment.tzinfo), moment)
    held = getattr(node, name, None)
    if name == "state" and held is not None:
        held = type(node).State.Name(held)
    if name == "name" and not value.startswith("projects/"):
        held = str(held).rpartition("/")[2]
    if name == "display_name" and value.endswith("*") and leaf.operator == "=":
        return str(held).startswith(value[:-1])
    return held is not None and compare(held, value)


def _metadata(leaf: Comparison, node: Any, compare: Callable[[Any, Any], bool]) -> bool:
    """Compares a field of the metadata, whose type is the last part of the filter's field."""
    held = node.metadata.fields.get(".".join(leaf.field[1:-1]))
    kind = leaf.field[-1]
    if held is None or held.WhichOneof("kind") != kind:
        return False
    assert isinstance(leaf.value, str)
    try:
        wanted = _METADATA[kind](leaf.value)
    except ValueError:
        return False
    return compare(getattr(held, kind), wanted)
