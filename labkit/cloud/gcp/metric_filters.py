"""Filters of Cloud Monitoring: which time series, metrics and resources they mean.

https://cloud.google.com/monitoring/api/v3/filters
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labkit.cloud.gcp.errors import invalid
from labkit.cloud.gcp.filters import Comparison, Expression, FilterError, Function, Leaf, leaves, matches, parse
from labkit.cloud.gcp.metric_store import Series

_FUNCTIONS: dict[str, Callable[[str, Sequence[str]], bool]] = {
    "starts_with": lambda held, wanted: held.startswith(wanted[0]),
    "ends_with": lambda held, wanted: held.endswith(wanted[0]),
    "has_substring": lambda held, wanted: wanted[0] in held,
    "one_of": lambda held, wanted: held in wanted,
}
#: Ways to write the first parts of a label's name.
_LABELS = {
    ("metric", "labels"): "metric",
    ("metric", "label"): "metric",
    ("resource", "labels"): "resource",
    ("resource", "label"): "resource",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter that was read: ``metric_type`` is the metric that it names, or ``""``."""

    metric_type: str
    holds: Callable[[Series], bool]


def of_series(text: str) -> Wanted:
    """The filter of a list of time series, which names one metric; raises ``INVALID_ARGUMENT``."""
    tree = _tree(text)
    for leaf in leaves(tree):
        _check(text, leaf, ("metric.type", "resource.type"), labels=True)
    named = [each for each in leaves(tree) if isinstance(each, Comparison) and each.name == "metric.type"]
    if len(named) != 1 or named[0].operator != "=" or not isinstance(named[0].value, str):
        raise invalid(
            "The supplied filter does not specify a valid combination of metric and monitored resource descriptors. "
            'The query will not return any time series: name one metric with metric.type = "...".',
            "filter",
        )
    return Wanted(named[0].value, lambda series: matches(tree, lambda leaf: _holds(leaf, _value(leaf, series))))


def of_types(text: str, field: str) -> Callable[[str], bool]:
    """The filter of a list of descriptors by ``field`` (``metric.type`` or ``resource.type``)."""
    tree = _tree(text)
    for leaf in leaves(tree):
        _check(text, leaf, (field,), labels=False)
    return lambda kind: matches(tree, lambda leaf: _holds(leaf, kind))


def _tree(text: str) -> Expression | None:
    try:
        return parse(text)
    except FilterError as error:
        raise invalid(str(error), "filter") from None


def _check(text: str, leaf: Leaf, fields: Sequence[str], *, labels: bool) -> None:
    if not isinstance(leaf, Comparison):
        raise invalid(f"The filter {text!r} is not served: {leaf.text!r} is compared with nothing.", "filter")
    of_label = labels and len(leaf.field) == 3 and leaf.field[:2] in _LABELS
    if leaf.name not in fields and not of_label:
        also = ", metric.labels.KEY and resource.labels.KEY" if labels else ""
        raise invalid(f"The filter {text!r} is not served: {leaf.name} is none of {', '.join(fields)}{also}.", "filter")
    if leaf.operator not in ("=", "!=", ":") or (leaf.operator == ":" and isinstance(leaf.value, Function)):
        raise invalid(f"The filter {text!r} is not served: compare with =, != or :, not {leaf.operator}.", "filter")
    if isinstance(leaf.value, Function) and leaf.value.name not in _FUNCTIONS:
        raise invalid(
            f"The filter {text!r} is not served: {leaf.value.name} is none of {', '.join(_FUNCTIONS)}.", "filter"
        )


def _value(leaf: Leaf, series: Series) -> str:
    assert isinstance(leaf, Comparison)
    if leaf.name == "metric.type":
        return series.metric_type
    if leaf.name == "resource.type":
        return series.resource_type
    of_metric = _LABELS[leaf.field[0], leaf.field[1]] == "metric"
    return (series.metric_labels if of_metric else series.resource_labels).get(leaf.field[2], "")


def _holds(leaf: Leaf, held: str) -> bool:
    assert isinstance(leaf, Comparison)
    if isinstance(leaf.value, Function):
        met = _FUNCTIONS[leaf.value.name](held, leaf.value.arguments)
    else:
        met = leaf.value in held if leaf.operator == ":" else held == leaf.value
    return met is (leaf.operator != "!=")
