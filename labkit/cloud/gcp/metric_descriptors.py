"""What Cloud Monitoring knows of metrics and monitored resources: the clouds' own, and those that callers define.

https://cloud.google.com/monitoring/api/metrics_gcp_a_b#gcp-aiplatform, https://cloud.google.com/monitoring/api/resources
Only what is measured here is listed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.cloud.gcp.schema import Package
from labkit.cloud.gcp.vertex_telemetry import PREFIX, RESOURCE

api = Package("google.api")

_DEPLOYED_MODEL = ("deployed_model_id", "The ID of the DeployedModel which serves the prediction request.")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A metric. ``kind`` is ``GAUGE`` or ``DELTA``, ``value`` ``INT64``, ``DOUBLE`` or ``DISTRIBUTION``."""

    type: str
    kind: str
    value: str
    unit: str = "1"
    display_name: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[str, ...] = ()


_OWN = (
    Descriptor(
        f"{PREFIX}/prediction_count",
        "DELTA",
        "INT64",
        display_name="Prediction count",
        description="Number of online predictions.",
        labels=dict([_DEPLOYED_MODEL]),
        resources=(RESOURCE,),
    ),
    Descriptor(
        f"{PREFIX}/error_count",
        "DELTA",
        "INT64",
        display_name="Error count",
        description="Number of online prediction errors.",
        labels=dict([_DEPLOYED_MODEL]),
        resources=(RESOURCE,),
    ),
    Descriptor(
        f"{PREFIX}/response_count",
        "DELTA",
        "INT64",
        display_name="Response count",
        description="Number of different online prediction response codes.",
        labels={**dict([_DEPLOYED_MODEL]), "response_code": "The response code of the prediction."},
        resources=(RESOURCE,),
    ),
    Descriptor(
        f"{PREFIX}/prediction_latencies",
        "DELTA",
        "DISTRIBUTION",
        unit="us",
        display_name="Prediction latencies",
        description="Online prediction latency of the deployed model.",
        labels={**dict([_DEPLOYED_MODEL]), "latency_type": 'The type of latency: "overhead", "model" or "total".'},
        resources=(RESOURCE,),
    ),
)
#: Metrics of the clouds' own, by type.
OWN: Mapping[str, Descriptor] = {each.type: each for each in _OWN}

#: Monitored resources: type -> (display name, label -> description).
RESOURCES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    RESOURCE: (
        "Vertex AI Endpoint",
        {
            "resource_container": "The identifier of the GCP Project owning the Endpoint.",
            "location": "The region in which the service is running.",
            "endpoint_id": "The ID of the Endpoint.",
        },
    ),
    "global": ("Global", {"project_id": "The identifier of the GCP project associated with this resource."}),
    "generic_node": (
        "Generic Node",
        {
            "project_id": "The identifier of the GCP project associated with this resource.",
            "location": "The region in which data about the resource is stored.",
            "namespace": "A namespace identifier, such as a cluster name.",
            "node_id": "A unique identifier for the node within the namespace.",
        },
    ),
    "generic_task": (
        "Generic Task",
        {
            "project_id": "The identifier of the GCP project associated with this resource.",
            "location": "The region in which data about the resource is stored.",
            "namespace": "A namespace identifier, such as a cluster name.",
            "job": "An identifier for a grouping of related tasks.",
            "task_id": "A unique identifier for the task within the namespace and job.",
        },
    ),
}
#: Resources that callers may write time series against.
WRITABLE = ("global", "generic_node", "generic_task")


class Custom:
    """The metrics that callers of one project have defined, by type; safe to use from any thread."""

    def __init__(self) -> None:
        self._known: dict[str, Descriptor] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Descriptor]:
        with self._lock:
            return sorted(self._known.values(), key=lambda each: each.type)

    def find(self, metric_type: str) -> Descriptor | None:
        return self._known.get(metric_type)

    def put(self, descriptor: Descriptor) -> None:
        with self._lock:
            self._known[descriptor.type] = descriptor

    def remove(self, metric_type: str) -> None:
        with self._lock:
            self._known.pop(metric_type, None)


def message(descriptor: Descriptor, project: str) -> Any:
    """The descriptor as the API shows it; ``project`` is the id of the project that it is seen from."""
    shown = api.MetricDescriptor(
        name=f"projects/{project}/metricDescriptors/{descriptor.type}",
        type=descriptor.type,
        metric_kind=descriptor.kind,
        value_type=descriptor.value,
        unit=descriptor.unit,
        display_name=descriptor.display_name,
        description=descriptor.description,
        monitored_resource_types=descriptor.resources,
    )
    for key, description in descriptor.labels.items():
        shown.labels.add(key=key, description=description)
    if descriptor.type in OWN:
        shown.launch_stage = api.LaunchStage.Value("GA")
        shown.metadata.sample_period.seconds = 60
    return shown


def resource_message(resource_type: str, project: str) -> Any:
    """A monitored resource's descriptor as the API shows it."""
    display_name, labels = RESOURCES[resource_type]
    shown = api.MonitoredResourceDescriptor(
        name=f"projects/{project}/monitoredResourceDescriptors/{resource_type}",
        type=resource_type,
        display_name=display_name,
    )
    for key, description in labels.items():
        shown.labels.add(key=key, description=description)
    return shown
