"""What is measured and logged of online predictions, under the names that Cloud Monitoring and Logging have for it.

https://cloud.google.com/monitoring/api/metrics_gcp_a_b#gcp-aiplatform and
https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import log_store, metric_store

if TYPE_CHECKING:
    from labkit.cloud.engine import Engine

RESOURCE = "aiplatform.googleapis.com/Endpoint"
PREFIX = "aiplatform.googleapis.com/prediction/online"
CONTAINER_LOG = "aiplatform.googleapis.com/prediction_container"


def labels(project: str, location: str, endpoint: str) -> dict[str, str]:
    """The labels of the monitored resource of an endpoint; ``project`` is its number."""
    return {"resource_container": project, "location": location, "endpoint_id": endpoint}


def measure(
    engine: Engine,
    scope: str,
    resource: Mapping[str, str],
    deployed_model: str,
    *,
    status: int,
    predictions: int,
    model_seconds: float,
    total_seconds: float,
) -> None:
    """Records one request: ``status`` is its HTTP status, ``predictions`` the instances that were predicted."""

    def put(name: str, value: float, **own: str) -> None:
        own["deployed_model_id"] = deployed_model
        metric_store.put(engine, scope, f"{PREFIX}/{name}", own, RESOURCE, resource, value)

    put("response_count", 1.0, response_code=str(status))
    if status >= 400:
        put("error_count", 1.0)
        return
    put("prediction_count", float(predictions))
    overhead = max(total_seconds - model_seconds, 0.0)
    for kind, seconds in (("model", model_seconds), ("overhead", overhead), ("total", total_seconds)):
        put("prediction_latencies", seconds * 1e6, latency_type=kind)


def container_line(
    engine: Engine, scope: str, resource: Mapping[str, str], deployed_model: str, replica: str, line: str
) -> None:
    """Keeps a line that a replica's container wrote; one of structured logging becomes an entry with its severity.

    https://cloud.google.com/logging/docs/structured-logging
    """
    severity, payload = _read(line)
    entry = {
        "resource": {"type": RESOURCE, "labels": dict(resource)},
        "labels": {"deployed_model_id": deployed_model, "replica_id": replica},
        "severity": severity,
        "jsonPayload": payload,
    }
    log_store.write(engine, scope, CONTAINER_LOG, entry)


def _read(line: str) -> tuple[str, dict[str, Any]]:
    try:
        written = json.loads(line) if line.startswith("{") else None
    except ValueError:
        written = None
    if not isinstance(written, dict):
        return "INFO", {"levelname": "INFO", "message": line}
    severity = str(written.pop("severity", "INFO")).upper()
    if severity not in log_store.SEVERITIES:
        severity = "DEFAULT"
    return severity, {"levelname": severity, **written}
