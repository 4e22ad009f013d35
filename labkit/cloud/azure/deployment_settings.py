"""A managed online deployment's settings: read from a request, checked, and shown again with their defaults.

https://learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-managed-online has their meaning, defaults
and limits; https://learn.microsoft.com/rest/api/azureml/online-deployments/create-or-update their form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import durations, instance_types
from labkit.cloud.azure.online_errors import invalid, not_served
from labkit.cloud.azure.shapes import section

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: The longest time that a request may take.
LONGEST_REQUEST = timedelta(milliseconds=180_000)
_REQUEST_TIMEOUT, _QUEUE_WAIT = timedelta(milliseconds=5_000), timedelta(milliseconds=500)
#: Each probe's number and lengths of time in seconds, where a request does not say.
_PROBE = {"initialDelay": 10, "period": 10, "timeout": 2, "successThreshold": 1, "failureThreshold": 30}
_PROBE_TIMES = ("initialDelay", "period", "timeout")
#: Workers of an inference server are processes here: more are not started for one instance.
MOST_WORKERS = 16

#: Properties that the kit does not serve, and what they would do.
_NOT_SERVED = {
    "dataCollector": "data collection (dataCollector)",
    "modelMountPath": "custom containers (modelMountPath)",
    "privateNetworkConnection": "private network connections (privateNetworkConnection)",
    "containerResourceRequirements": "Kubernetes online deployments (containerResourceRequirements)",
    "inferencePoolSettings": "inference pools",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deployment runs, and how it is to answer. Ids are as the request has them; times are in seconds."""

    code: str
    script: str
    model: str
    environment: str
    variables: Mapping[str, str]
    instance_type: str
    instances: int
    workers: int
    concurrency: int
    request_timeout: float
    start_timeout: float

    @property
    def replicas(self) -> int:
        """Processes that answer: an instance's workers, as far as requests are let through to them at once."""
        return self.instances * min(self.workers, self.concurrency)

    @property
    def most_requests(self) -> int:
        """Requests that are let in at once; more are refused."""
        return 2 * self.concurrency * self.instances

    def runs_the_same(self, other: Settings) -> bool:
        """Whether replicas made for one of the two do for the other."""
        own, its = ((s.code, s.script, s.model, s.environment, dict(s.variables)) for s in (self, other))
        return own == its


def read(call: Call, body: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """The settings in a request's body, and the deployment's properties as they are shown.

    Raises :class:`AzureError` for what breaks a rule and for what the kit does not serve.
    """
    asked = {name: value for name, value in section(body, "properties").items() if value is not None}
    _check_served(call, asked)
    size = asked.get("instanceType")
    if not isinstance(size, str) or not size:
        raise invalid(call, "The VmSize field is required: give the deployment an instance type.", "VmSize")
    name, _ = _size(call, size)
    requests, probes = _requests(call, asked), {}
    for kind in ("livenessProbe", "readinessProbe"):
        probes[kind] = _probe(call, kind, section(asked, kind))
    startup = {kind: _probe(call, kind, section(asked, kind)) for kind in ("startupProbe",) if kind in asked}
    variables = _variables(call, asked)
    code = asked["codeConfiguration"]
    script = _text(call, code, "scoringScript")
    if PurePosixPath(script).is_absolute() or ".." in PurePosixPath(script).parts:
        raise invalid(call, f"The scoring script {script!r} has to be in the code's folder.", "ScoringScript")
    settings = Settings(
        code=_text(call, code, "codeId"),
        script=script,
        model=asked.get("model", ""),
        environment=_text(call, asked, "environmentId"),
        variables=variables,
        instance_type=name,
        instances=_instances(call, body),
        workers=_workers(call, variables),
        concurrency=requests["maxConcurrentRequestsPerInstance"],
        request_timeout=_seconds(requests["requestTimeout"]),
        start_timeout=min(_patience(probe) for probe in probes.values()),
    )
    shown = {
        "endpointComputeType": "Managed",
        "description": asked.get("description"),
        "properties": section(asked, "properties"),
        "codeConfiguration": {"codeId": settings.code, "scoringScript": settings.script},
        "environmentId": settings.environment,
        "environmentVariables": dict(variables),
        "model": asked.get("model"),
        "instanceType": name,
        "scaleSettings": {"scaleType": "Default"},
        "requestSettings": requests,
        **probes,
        **startup,
        "appInsightsEnabled": bool(asked.get("appInsightsEnabled")),
        "egressPublicNetworkAccess": "Enabled",
    }
    return settings, {key: value for key, value in shown.items() if value is not None}


def with_instances(call: Call, settings: Settings, body: Mapping[str, Any]) -> Settings:
    """The same settings with the number of instances that a request's ``sku`` asks for."""
    return replace(settings, instances=_instances(call, body))


def _check_served(call: Call, asked: Mapping[str, Any]) -> None:
    compute = asked.get("endpointComputeType", "Managed")
    if str(compute).lower() != "managed":
        raise not_served(f"{compute} online deployments, only managed ones")
    for name, what in _NOT_SERVED.items():
        if asked.get(name):
            raise not_served(what)
    scale = section(asked, "scaleSettings").get("scaleType", "Default")
    if str(scale).lower() != "default":
        raise not_served(f"scale settings of type {scale} of a managed online deployment")
    if str(asked.get("egressPublicNetworkAccess", "Enabled")).lower() != "enabled":
        raise not_served("egressPublicNetworkAccess Disabled of a deployment")
    if not isinstance(asked.get("codeConfiguration"), dict):
        raise not_served(
            "deployments without a code_configuration (custom containers, and MLflow models without a scoring script)"
        )


def _size(call: Call, name: str) -> tuple[str, int]:
    if name.lower() in instance_types.GPU_SIZES:
        raise not_served(f"instance type {name}, which has graphics processors")
    found = instance_types.find(name)
    if found is None:
        raise invalid(
            call,
            f"Not supported VM size {name} for a managed online deployment. The supported sizes are listed at "
            "https://learn.microsoft.com/azure/machine-learning/reference-managed-online-endpoints-vm-sku-list; "
            "Standard_DS3_v2 is one.",
            "VmSize",
        )
    return found


def _instances(call: Call, body: Mapping[str, Any]) -> int:
    count = section(body, "sku").get("capacity")
    if count is None:
        return 1
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= instance_types.MOST_INSTANCES:
        raise invalid(
            call,
            f"The instance count {count!r} has to be a whole number from 1 to {instance_types.MOST_INSTANCES}.",
            "InstanceCount",
        )
    return count


def _requests(call: Call, asked: Mapping[str, Any]) -> dict[str, Any]:
    given = section(asked, "requestSettings")
    concurrency = given.get("maxConcurrentRequestsPerInstance")
    concurrency = 1 if concurrency is None else concurrency
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise invalid(call, f"maxConcurrentRequestsPerInstance {concurrency!r} has to be 1 or more.", "RequestSettings")
    timeout = _length(call, given, "requestTimeout", _REQUEST_TIMEOUT)
    if timeout > LONGEST_REQUEST:
        most = int(LONGEST_REQUEST.total_seconds() * 1000)
        raise invalid(call, f"requestTimeout has to be at most {most} milliseconds.", "RequestSettings")
    return {
        "maxConcurrentRequestsPerInstance": concurrency,
        "requestTimeout": durations.text(timeout),
        "maxQueueWait": durations.text(_length(call, given, "maxQueueWait", _QUEUE_WAIT)),
    }


def _probe(call: Call, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, default in _PROBE.items():
        if name in _PROBE_TIMES:
            shown[name] = durations.text(_length(call, given, name, timedelta(seconds=default)))
            continue
        value = given.get(name)
        shown[name] = default if value is None else value
        if not isinstance(shown[name], int) or shown[name] < 1:
            raise invalid(call, f"{name} of {kind} has to be a whole number from 1.", kind)
    if kind == "livenessProbe" and shown["successThreshold"] != 1:
        raise invalid(call, "successThreshold of livenessProbe has to be 1.", kind)
    return shown


def _length(call: Call, given: Mapping[str, Any], name: str, default: timedelta) -> timedelta:
    value = given.get(name)
    length = default if value is None else durations.parse(value)
    if length is None or length <= timedelta(0):
        raise invalid(call, f"{name} {value!r} is no length of time in ISO 8601, such as PT5S.", name)
    return length


def _patience(probe: Mapping[str, Any]) -> float:
    """Seconds after which a probe gives up on a container that does not answer."""
    return _seconds(probe["initialDelay"]) + _seconds(probe["period"]) * float(probe["failureThreshold"])


def _seconds(text: str) -> float:
    length = durations.parse(text)
    assert length is not None
    return length.total_seconds()


def _variables(call: Call, asked: Mapping[str, Any]) -> dict[str, str]:
    given = asked.get("environmentVariables") or {}
    if not isinstance(given, dict):
        raise invalid(call, "environmentVariables has to be an object of names and values.", "EnvironmentVariables")
    found = {str(name): str(value) for name, value in given.items() if value is not None}
    for name, value in found.items():
        if value.lstrip().startswith("${{"):
            raise not_served(f"secret injection (the environment variable {name})")
        if not name or "=" in name or "\0" in name + value:
            raise invalid(call, f"{name!r} cannot be an environment variable's name.", "EnvironmentVariables")
    return found


def _workers(call: Call, variables: Mapping[str, str]) -> int:
    text = variables.get("WORKER_COUNT", "1")
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise invalid(
            call, f"WORKER_COUNT {text!r} has to be a number from 1 to {MOST_WORKERS}.", "EnvironmentVariables"
        )
    return int(text)


def _text(call: Call, given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(call, f"The {name} field is required.", name[:1].upper() + name[1:])
    return value
