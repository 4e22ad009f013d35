"""Time series as the engine keeps them: the resource's type is the namespace, all labels are dimensions.

https://cloud.google.com/monitoring/api/v3/metric-model
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from labkit.cloud.engine.metrics import Metric

if TYPE_CHECKING:
    from labkit.cloud.engine import Engine

_METRIC, _RESOURCE = "metric.", "resource."


@dataclass(frozen=True, slots=True)
class Series:
    """One time series: ``held`` is it in the engine."""

    metric_type: str
    metric_labels: Mapping[str, str]
    resource_type: str
    resource_labels: Mapping[str, str]
    held: Metric


def put(
    engine: Engine,
    scope: str,
    metric_type: str,
    metric_labels: Mapping[str, str],
    resource_type: str,
    resource_labels: Mapping[str, str],
    value: float,
    at: datetime | None = None,
) -> None:
    """Adds one value to a time series, at lab time ``at`` or now. One that is given its time is kept to the second."""
    dimensions = {f"{_METRIC}{key}": each for key, each in metric_labels.items()}
    dimensions |= {f"{_RESOURCE}{key}": each for key, each in resource_labels.items()}
    engine.metrics.put(scope, resource_type, metric_type, dimensions, value, at=at, resolution=60 if at is None else 1)


def series(engine: Engine, scope: str, metric_type: str | None = None) -> Iterator[Series]:
    """The time series of a project, or those of one metric."""
    for held in engine.metrics.list(scope, name=metric_type):
        yield Series(held.name, _labels(held, _METRIC), held.namespace, _labels(held, _RESOURCE), held)


def _labels(held: Metric, prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in held.dimensions if key.startswith(prefix)}
