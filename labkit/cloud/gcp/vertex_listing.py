"""Lists of Vertex AI's resources: filter, order, pages and the fields that are wanted.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/list says what a filter may name;
anything else is refused, never passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from labkit.cloud.gcp import paging
from labkit.cloud.gcp.errors import invalid
from labkit.cloud.gcp.filters import Comparison, FilterError, Leaf, leaves, matches, parse
from labkit.cloud.gcp.vertex_names import snake

ORDERS = ("display_name", "create_time", "update_time")
#: ``labels.key:*``, as (whether it is of labels, parts of the field, operator).
_EXISTS = (True, 2, ":")
#: Every form of a comparison that is served; ``labels:key`` and ``labels.key:*`` ask whether there is a label.
_FORMS = {(False, 1, "="), (False, 1, "!="), (True, 1, ":"), (True, 2, "="), (True, 2, "!="), _EXISTS}


def page(
    resources: Iterable[Any],
    request: Any,
    *,
    identifier: str = "",
    fields: Iterable[str] = ("display_name", "labels"),
    orders: Iterable[str] = ORDERS,
) -> tuple[list[Any], str]:
    """The resources on the page that is asked for, and the token of the next one.

    ``identifier`` is the filter's field for a resource's id, ``fields`` are its others, ``orders`` what can be sorted
    by; ``resources`` are messages. Raises ``INVALID_ARGUMENT`` for what is not served, naming it.
    """
    judge = _judge(request.filter, identifier, tuple(fields))
    return listed((each for each in resources if judge(each)), request, orders)


def listed(resources: Iterable[Any], request: Any, orders: Iterable[str] = ORDERS) -> tuple[list[Any], str]:
    """As :func:`page`, of resources that its filter has let through already.

    Some lists have neither an order nor a mask: their requests have no such field.
    """
    found = list(resources)
    _sort(found, getattr(request, "order_by", ""), tuple(orders))
    shown, token = paging.page(found, request.page_size, request.page_token)
    if hasattr(request, "read_mask"):
        for each in shown:
            _keep(each, request.read_mask.paths)
    return shown, token


def _judge(text: str, identifier: str, fields: tuple[str, ...]) -> Callable[[Any], bool]:
    try:
        tree = parse(text)
    except FilterError as error:
        raise invalid(str(error), "filter") from None
    for leaf in leaves(tree):
        _check(leaf, text, identifier, fields)
    return lambda resource: matches(tree, lambda leaf: _holds(leaf, resource, identifier))


def _check(leaf: Leaf, text: str, identifier: str, fields: tuple[str, ...]) -> None:
    known = [*([identifier] if identifier else []), *fields]
    if not isinstance(leaf, Comparison):
        raise invalid(f"The filter {text!r} is not served: {leaf.text!r} is compared with nothing.", "filter")
    name = snake(leaf.field[0])
    if name not in known:
        raise invalid(f"The filter {text!r} is not served: the fields to filter by are {', '.join(known)}.", "filter")
    form = (name == "labels", len(leaf.field), leaf.operator)
    if form not in _FORMS or not isinstance(leaf.value, str) or (form == _EXISTS and leaf.value != "*"):
        raise invalid(
            f"The filter {text!r} is not served: {leaf.name} {leaf.operator} ... is no comparison of {name}.", "filter"
        )


def _holds(leaf: Leaf, resource: Any, identifier: str) -> bool:
    assert isinstance(leaf, Comparison)
    name = snake(leaf.field[0])
    if name == "labels":
        labels: Mapping[str, str] = resource.labels
        key = leaf.field[1] if len(leaf.field) == 2 else str(leaf.value)
        if leaf.operator == ":":
            return key in labels
        return (labels.get(key) == leaf.value) is (leaf.operator == "=")
    held = resource.name.rpartition("/")[2] if name == identifier else getattr(resource, name)
    return (held == leaf.value) is (leaf.operator == "=")


def _sort(found: list[Any], order: str, known: tuple[str, ...]) -> None:
    """Sorts by the first field first; the newest come first where nothing is asked for."""
    terms = [term.split() for term in order.split(",")] if order.strip() else [["create_time", "desc"]]
    for term in reversed(terms):
        direction = term[1].lower() if len(term) == 2 else "asc"
        if not term or len(term) > 2 or snake(term[0]) not in known or direction not in ("asc", "desc"):
            raise invalid(
                f"order_by {order!r} is not served: name {', '.join(known)}, each with 'desc' or not.", "order_by"
            )
        found.sort(key=partial(_key, snake(term[0])), reverse=direction == "desc")


def _key(name: str, resource: Any) -> Any:
    value = getattr(resource, name)
    return (value.seconds, value.nanos) if hasattr(value, "nanos") else value


def _keep(resource: Any, paths: Iterable[str]) -> None:
    """Clears the fields that a read mask does not name; an empty mask, and ``*``, name all."""
    wanted = {snake(path).partition(".")[0] for path in paths}
    if not wanted or "*" in wanted:
        return
    for field, _ in resource.ListFields():
        if field.name not in wanted:
            resource.ClearField(field.name)
