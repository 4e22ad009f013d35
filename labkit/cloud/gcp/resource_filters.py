"""Filters over jobs and schedules: texts, states, times and labels.

``state="PIPELINE_STATE_FAILED" AND create_time>"2026-01-01T00:00:00Z"``; see
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs/list. What is not served is
refused, never passed over.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labkit.cloud.gcp.errors import invalid
from labkit.cloud.gcp.filters import ORDERED, Comparison, FilterError, Leaf, leaves, matches, parse
from labkit.cloud.gcp.vertex_names import snake


@dataclass(frozen=True)
class Fields:
    """The fields that a list can be filtered by, beside ``labels``; ``present`` are those asked for with ``:*``."""

    texts: tuple[str, ...] = ("display_name",)
    times: tuple[str, ...] = ("create_time", "update_time")
    enums: tuple[str, ...] = ("state",)
    present: tuple[str, ...] = ()


def judge(text: str, fields: Fields) -> Callable[..., bool]:
    """What says of a message (and of further texts by name) whether it meets the filter.

    Raises ``INVALID_ARGUMENT`` for a filter that is not served.
    """
    try:
        tree = parse(text)
    except FilterError as error:
        raise invalid(str(error), "filter") from None
    for leaf in leaves(tree):
        _check(leaf, text, fields)

    def meets(message: Any, further: Mapping[str, str] | None = None) -> bool:
        return matches(tree, lambda leaf: _holds(leaf, message, further or {}, fields))

    return meets


def _check(leaf: Leaf, text: str, fields: Fields) -> None:
    known = dict.fromkeys((*fields.texts, *fields.times, *fields.enums, *fields.present, "labels"))
    if not isinstance(leaf, Comparison) or snake(leaf.field[0]) not in known or not isinstance(leaf.value, str):
        raise invalid(f"The filter {text!r} is not served: the fields to filter by are {', '.join(known)}.", "filter")
    name = snake(leaf.field[0])
    if name in fields.present and _is_presence(leaf):
        served = True
    elif name in fields.times:
        served = leaf.operator in ORDERED and len(leaf.field) == 1
        try:
            datetime.fromisoformat(leaf.value.replace("Z", "+00:00"))
        except ValueError:
            served = False
    elif name == "labels":
        served = leaf.operator in ("=", "!=", ":") and len(leaf.field) <= 2
    else:
        served = name in (*fields.texts, *fields.enums) and leaf.operator in ("=", "!=", ":") and len(leaf.field) == 1
    if not served:
        raise invalid(f"The filter {text!r} is not served: {leaf.name} {leaf.operator} {leaf.value!r}.", "filter")


def _is_presence(leaf: Comparison) -> bool:
    """Whether a comparison asks for a field's being there: ``end_time:*``."""
    return (len(leaf.field), leaf.operator, leaf.value) == (1, ":", "*")


def _holds(leaf: Leaf, message: Any, further: Mapping[str, str], fields: Fields) -> bool:
    assert isinstance(leaf, Comparison)
    assert isinstance(leaf.value, str)
    name, value = snake(leaf.field[0]), leaf.value
    if name in fields.present and _is_presence(leaf):
        return bool(message.HasField(name))
    if name in fields.times:
        if not message.HasField(name):
            return False
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return ORDERED[leaf.operator](getattr(message, name).ToDatetime(tzinfo=moment.tzinfo), moment)
    if name == "labels":
        key = leaf.field[1] if len(leaf.field) == 2 else value
        if len(leaf.field) == 1 or (leaf.operator == ":" and value == "*"):
            return key in message.labels
        return (message.labels.get(key) == value) is (leaf.operator != "!=")
    if name in further:
        held = further[name]
    elif name in fields.enums:
        held = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number[getattr(message, name)].name
    else:
        held = str(getattr(message, name))
    if leaf.operator == ":":
        return fnmatch.fnmatchcase(held, value) if "*" in value else value in held
    return fnmatch.fnmatchcase(held, value) is (leaf.operator == "=")
