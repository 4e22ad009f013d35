"""What Azure Monitor knows of online endpoints: their metrics by name, and how each request becomes one.

https://learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/microsoft-machinelearningservices-workspaces-onlineendpoints-metrics
and ``...-onlineendpoints-deployments-metrics`` have the names, units and dimensions. Only what is measured is here:
there are no metrics of connections, processors, memory and disks.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from labkit.cloud.azure import deployment_logs

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call
    from labkit.cloud.azure.online_hosting import Endpoint
    from labkit.cloud.azure.scoring import Outcome

ENDPOINTS = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
DEPLOYMENTS = f"{ENDPOINTS}/deployments"

#: Names under which the engine keeps what is measured.
LATENCY, REQUESTS, BYTES = "RequestLatency", "RequestsPerMinute", "NetworkBytes"
#: The dimension that tells endpoints apart.
RESOURCE = "resource"
#: The deployment of a request that reached none.
NO_DEPLOYMENT = "unknown"
#: Characters of a user agent that the traffic log keeps.
_AGENT = 70

#: How a metric's values come about: as they were measured, as a percentile of them, from each minute's count or sum, or
#: as a number that holds until it changes.
How = Literal["values", "percentile", "count", "rate", "level"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric. ``source`` is what the engine keeps it under; ``percentile`` the statistic, where it is one."""

    name: str
    shown: str
    description: str
    unit: str
    dimensions: tuple[str, ...]
    how: How
    source: str
    percentile: str = ""
    category: str = "Traffic"


_LATENCIES = tuple(
    Definition(
        f"RequestLatency_P{share}",
        f"Request Latency P{share}",
        f"The average P{share} request latency aggregated by all request latency values collected over the selected "
        "time period",
        "Milliseconds",
        ("deployment",),
        "percentile",
        LATENCY,
        f"p{share}",
    )
    for share in (50, 90, 95, 99)
)
#: The metrics of each kind of resource.
METRICS: dict[str, tuple[Definition, ...]] = {
    ENDPOINTS: (
        Definition(
            "RequestLatency",
            "Request Latency",
            "The average complete interval of time taken for a request to be responded in milliseconds",
            "Milliseconds",
            ("deployment",),
            "values",
            LATENCY,
        ),
        *_LATENCIES,
        Definition(
            "RequestsPerMinute",
            "Requests Per Minute",
            "The number of requests sent to online endpoint within a minute",
            "Count",
            ("deployment", "statusCode", "statusCodeClass", "modelStatusCode"),
            "count",
            REQUESTS,
        ),
        Definition(
            "NetworkBytes",
            "Network Bytes",
            "The bytes per second served for the endpoint.",
            "BytesPerSecond",
            (),
            "rate",
            BYTES,
        ),
    ),
    DEPLOYMENTS: (
        Definition(
            "DeploymentCapacity",
            "Deployment Capacity",
            "The number of instances in the deployment.",
            "Count",
            (),
            "level",
            "DeploymentCapacity",
            category="Resource",
        ),
    ),
}


def measure(call: Call, endpoint: Endpoint, outcome: Outcome, started: float) -> None:
    """Records a request's metrics and its row in the traffic log. ``started`` is when it began."""
    took = time.perf_counter() - started
    request, response, engine = call.request, outcome.response, call.engine
    status = response.status
    dimensions = {
        RESOURCE: endpoint.id.lower(),
        "deployment": outcome.deployment or NO_DEPLOYMENT,
        "statusCode": str(status),
        "statusCodeClass": f"{status // 100}xx",
        "modelStatusCode": str(outcome.model_status),
    }
    answered = len(response.body) if isinstance(response.body, bytes) else 0
    put = engine.metrics.put
    put(endpoint.scope, ENDPOINTS, REQUESTS, dimensions, 1.0)
    put(endpoint.scope, ENDPOINTS, BYTES, dimensions, float(len(request.body) + answered))
    if outcome.deployment:
        put(endpoint.scope, ENDPOINTS, LATENCY, dimensions, took * 1e3)
    milliseconds = int(took * 1e3)
    row = {
        "AuthType": endpoint.auth_mode,
        "IdentityData": call.caller.principal if endpoint.auth_mode != "Key" and call._caller else "",
        "DeploymentName": outcome.deployment,
        "Method": request.method,
        "ModelStatusCode": outcome.model_status,
        "ModelStatusReason": _phrase(outcome.model_status),
        "Path": request.path,
        "RequestDurationMs": max(milliseconds - int(outcome.model_seconds * 1e3), 0),
        "RequestPayloadSize": len(request.body),
        "ResponseCode": status,
        "ResponseCodeReason": _phrase(status),
        "ResponseDurationMs": milliseconds,
        "ResponsePayloadSize": answered,
        "TotalDurationMs": milliseconds,
        "UserAgent": request.headers.get("user-agent")[:_AGENT],
        "XMSClientRequestId": request.headers.get("x-ms-client-request-id"),
        "XRequestId": call.request_id,
    }
    where = deployment_logs.group(deployment_logs.TRAFFIC, endpoint.id)
    engine.logs.write(endpoint.scope, where, outcome.deployment or NO_DEPLOYMENT, json.dumps(row))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase if status else ""
    except ValueError:
        return ""
