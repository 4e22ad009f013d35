"""What a command job or a pipeline's command step is to do: read from a request, checked, ready to be run.

https://learn.microsoft.com/rest/api/azureml/jobs/create-or-update and
https://learn.microsoft.com/azure/machine-learning/reference-yaml-job-command
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import datastores, durations, jobs_bindings, jobs_environments, jobs_identity
from labkit.cloud.azure.codes import CODES
from labkit.cloud.azure.components import check_instances
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.jobs_values import Port, Value, read_inputs, read_outputs
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import MACHINE_LEARNING
from labkit.cloud.azure.shapes import section, text

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: The name of the compute that needs no cluster.
SERVERLESS = "serverless"
#: The type of machine of a serverless job that names none.
SERVERLESS_TYPE = "Standard_DS3_v2"
#: Services that jobs may ask for, to be looked at while they run.
_SERVICES = "interactive services of a job"
#: The property by which the SDK says that a job is to run on its own machine.
_LOCAL = "IsLocal"


@dataclass(frozen=True)
class Command:
    """A command with all that it needs, save the values of inputs that other steps make.

    ``code`` and ``environment`` are versions of assets (None: no code); ``compute`` is the resource of a cluster, or
    None for serverless; ``identity`` what the job acts as, as requests write it; ``datastore`` where outputs go that
    say nothing else; ``notes`` say what was asked for and has no effect here.
    """

    command: str
    environment: jobs_environments.Environment
    code: Resource | None = None
    inputs: Mapping[str, Value] = field(default_factory=dict)
    outputs: Mapping[str, Port] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta | None = None
    compute: Resource | None = None
    machine: str = SERVERLESS_TYPE
    identity: Mapping[str, Any] = field(default_factory=dict)
    datastore: str = datastores.BLOBS
    notes: tuple[str, ...] = ()

    @property
    def is_low_priority(self) -> bool:
        """Whether its node may be taken away."""
        if self.compute is None:
            return False
        return str(self.compute.properties["properties"].get("vmPriority")).lower() == "lowpriority"

    @property
    def target(self) -> str:
        """The compute's name."""
        return self.compute.name if self.compute else SERVERLESS


def read(call: Call, properties: Mapping[str, Any]) -> Command:
    """A standalone command job, from the ``properties`` of its request; raises :class:`AzureError`."""
    command = text(properties, "command")
    if not command:
        raise call.user_error("A command job needs a command.", 400, "BadArgument")
    for name in ("distribution", "queueSettings", "autologgerSettings", "notificationSetting", "secretsConfiguration"):
        if properties.get(name) and not _is_nothing(name, properties[name]):
            raise refusal(f"the property {name} of a command job")
    inputs = read_inputs(call, section(properties, "inputs"))
    outputs = read_outputs(call, section(properties, "outputs"))
    check_names(call, command, inputs, outputs)
    compute = find_compute(call, text(properties, "computeId"))
    resources = section(properties, "resources")
    check_instances(resources)
    if _LOCAL in section(resources, "properties"):
        raise refusal("jobs with the compute local, which a client runs in Docker on its own machine")
    return Command(
        command=command,
        environment=jobs_environments.find(call, text(properties, "environmentId")),
        code=find_code(call, text(properties, "codeId")),
        inputs=inputs,
        outputs=outputs,
        variables=texts(call, properties, "environmentVariables"),
        timeout=read_timeout(call, section(properties, "limits")),
        compute=compute,
        machine=machine_of(compute, resources),
        identity=jobs_identity.read(call, properties.get("identity")),
        notes=unheeded(resources),
    )


def check_names(call: Call, command: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    """Sees that a command names only inputs and outputs that there are."""
    known = {f"inputs.{name}" for name in inputs} | {f"outputs.{name}" for name in outputs}
    for name in sorted(jobs_bindings.required(command)):
        if name not in known:
            raise call.user_error(
                f"The command names ${{{{{name}}}}}, which the job does not have.", 400, "BadArgument"
            )


def find_code(call: Call, reference: str) -> Resource | None:
    """The version of code that a job names."""
    if not reference:
        return None
    if reference.startswith(("git+", "https://", "http://")):
        raise refusal(f"code at the address {reference}")
    return CODES.find(call.cloud, call.workspace_id, reference)


def find_compute(call: Call, reference: str) -> Resource | None:
    """The cluster that a job names by its name or id, None for serverless; raises :class:`AzureError`."""
    name = reference.removeprefix("azureml:").rstrip("/").rpartition("/")[2]
    if not name or name.lower() == SERVERLESS:
        return None
    found = call.cloud.resources.get(f"{call.workspace_id}/computes/{name}")
    if found is None or found.type.lower() != f"{MACHINE_LEARNING}/workspaces/computes".lower():
        message = f"Unknown compute target '{name}'."
        raise call.user_error(message, 400, "ComputeNotFound")
    return found


def machine_of(compute: Resource | None, resources: Mapping[str, Any]) -> str:
    """The type of machine that a job runs on."""
    if compute is not None:
        return str(compute.properties["properties"].get("vmSize") or "")
    asked = resources.get("instanceType") or resources.get("instance_type")
    return str(asked or SERVERLESS_TYPE)


def unheeded(resources: Mapping[str, Any]) -> tuple[str, ...]:
    """Warnings of what is asked of a container."""
    asked = [name for name in ("dockerArgs", "docker_args", "shmSize", "shm_size") if resources.get(name)]
    return tuple(f"{name} has no effect: the local clouds run no containers." for name in asked)


def read_timeout(call: Call, limits: Mapping[str, Any]) -> timedelta | None:
    """How long a job may run, as ``PT2H`` or a number of seconds."""
    given = limits.get("timeout")
    if given in (None, "", 0):
        return None
    length = timedelta(seconds=given) if isinstance(given, (int, float)) else durations.parse(given)
    if length is None and isinstance(given, str) and given.isdigit():
        length = timedelta(seconds=int(given))
    if length is None or length <= timedelta(0):
        raise call.user_error(f"The timeout {given!r} is no length of time, such as PT2H.", 400, "BadArgument")
    return length


def texts(call: Call, given: Mapping[str, Any], name: str) -> dict[str, str]:
    """An object of names and texts."""
    found = section(given, name)
    for key, value in found.items():
        if isinstance(value, (dict, list)):
            raise call.user_error(f"{name}.{key} has to be a text.", 400, "BadArgument")
    return {key: str(value) for key, value in found.items() if value is not None}


def _is_nothing(name: str, value: Any) -> bool:
    """Whether a setting, given in full, asks for what is done anyway."""
    return name == "queueSettings" and isinstance(value, dict) and set(value) <= {"jobTier", "job_tier"}


def check_services(services: Any) -> None:
    """Refuses services that a job is to run beside its command; those that Azure shows of every job are none."""
    asked = services.values() if isinstance(services, dict) else ()
    kinds = {str(each.get("jobServiceType")) for each in asked if isinstance(each, dict)} - {"Tracking", "Studio"}
    if kinds:
        raise AzureError(
            "NotImplemented", f"The local clouds do not serve {_SERVICES} ({', '.join(sorted(kinds))}).", 501
        )
