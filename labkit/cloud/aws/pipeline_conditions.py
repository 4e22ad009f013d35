"""Conditions of a pipeline's Condition steps.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-condition
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from labkit.cloud.aws.pipeline_values import NoValue, Scope

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda left, right: bool(left == right),
    "GreaterThan": lambda left, right: bool(left > right),
    "GreaterThanOrEqualTo": lambda left, right: bool(left >= right),
    "LessThan": lambda left, right: bool(left < right),
    "LessThanOrEqualTo": lambda left, right: bool(left <= right),
}


def holds(condition: Mapping[str, Any], scope: Scope) -> bool:
    """Whether a condition is true; raises :class:`NoValue` when a value of it is missing or cannot be compared."""
    kind = condition["Type"]
    if kind == "Not":
        return not holds(_negated(condition), scope)
    if kind == "Or":
        return any(holds(each, scope) for each in condition["Conditions"])
    if kind == "In":
        wanted = scope.value(condition["QueryValue"])
        return any(_same(wanted, scope.value(each)) for each in condition["Values"])
    left, right = scope.value(condition["LeftValue"]), scope.value(condition["RightValue"])
    if kind == "Equals":
        return _same(left, right)
    if isinstance(left, str) != isinstance(right, str):
        left, right = _number(left), _number(right)
    try:
        return _COMPARISONS[kind](left, right)
    except TypeError:
        raise NoValue(f"{kind} cannot compare {left!r} with {right!r}.") from None


def check(conditions: Iterable[Any], invalid: Callable[[str], Exception]) -> None:
    """Raises ``invalid(reason)`` for a condition that is none."""
    for condition in conditions:
        if not isinstance(condition, dict):
            raise invalid("Expecting start of Json Object.")
        kind = condition.get("Type")
        if kind in _COMPARISONS:
            wanted: tuple[str, ...] = ("LeftValue", "RightValue")
        elif kind in _PARTS:
            wanted = ("Condition",) if kind == "Not" and "Condition" in condition else _PARTS[kind]
        else:
            raise invalid(f"Unknown condition type '{kind}'.")
        for name in wanted:
            if condition.get(name) is None:
                raise invalid(f"A condition of type {kind} has no {name}.")
        if kind == "Not":
            check([_negated(condition)], invalid)
        if kind == "Or":
            check(condition["Conditions"], invalid)


_PARTS: dict[str, tuple[str, ...]] = {
    "Not": ("Expression",),
    "Or": ("Conditions",),
    "In": ("QueryValue", "Values"),
}


def _negated(condition: Mapping[str, Any]) -> Any:
    """What a Not negates. The SageMaker SDK has called it both."""
    return condition["Condition"] if "Condition" in condition else condition["Expression"]


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, str) != isinstance(right, str):
        try:
            left, right = _number(left), _number(right)
        except NoValue:
            return False
    return bool(left == right)


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        raise NoValue(f"{value!r} is no number to compare.") from None
