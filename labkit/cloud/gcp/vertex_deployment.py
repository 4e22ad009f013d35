"""From a model's version to what its replicas need: artifacts, environment, log; and what may be asked of a deployment.

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements#variables has the environment.
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.errors import StartFailed
from labkit.cloud.engine.serving import ModelServer
from labkit.cloud.gcp import machine_types, model_artifacts, prebuilt_images, vertex_names, vertex_telemetry
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.identity import ServiceAccount
from labkit.cloud.gcp.vertex_hosting import DeployedModel, Endpoint
from labkit.cloud.gcp.vertex_names import check_fields
from labkit.cloud.gcp.vertex_registry import Version

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

CONTAINER = "labkit.cloud.gcp.prebuilt_container:Container"
#: Seconds until a container must have loaded its model, where the model does not say.
START_TIMEOUT = 60.0
#: Replicas of one deployed model that are started on this machine at most.
MOST_REPLICAS = 16
#: Where a container's way out leads where there is none to the clouds: nothing listens on this port.
_NOWHERE = "http://127.0.0.1:9"

_ID = re.compile(r"[0-9]{1,19}")
#: Parts of a deployed model that ask for what the kit does not serve, and what that is.
_NOT_SERVED = {
    "automatic_resources": "automatic resources",
    "shared_resources": "deployment resource pools",
    "explanation_spec": "explanations",
    "enable_access_logging": "logs of each request",
    "checkpoint_id": "checkpoints",
    "private_endpoints": "private endpoints",
    "faster_deployment_config": "the faster deployment path",
    "speculative_decoding_spec": "speculative decoding",
}


def check(deployed: Any) -> None:
    """Raises :class:`GcpError` for a deployed model, as asked for, that cannot be; fills in what was left out."""
    if deployed.id and not _ID.fullmatch(deployed.id):
        raise invalid("The id of a DeployedModel has only digits.", "deployed_model.id")
    set_fields = {field.name for field, _ in deployed.ListFields()}
    for field, what in _NOT_SERVED.items():
        if field in set_fields:
            raise refusal(f"{what} ({field})")
    if "dedicated_resources" not in set_fields:
        raise invalid("Required field is not set: deployed_model.dedicated_resources.", "deployed_model")
    check_resources(deployed.dedicated_resources)


def check_account(call: Call, account: str) -> None:
    """Raises :class:`GcpError` unless the caller may have a model run as an account, which is there.

    https://cloud.google.com/vertex-ai/docs/general/custom-service-account
    """
    if account:
        call.cloud.iam.act_as(call.caller, account)
        if call.cloud.iam.state(account) == "gone":
            raise invalid(f"Service account {account} does not exist.", "deployed_model.service_account")


def check_resources(resources: Any) -> None:
    """Raises :class:`GcpError` for machines and replica counts that cannot be; fills in what was left out."""
    machine = resources.machine_spec
    machine.machine_type = machine.machine_type or machine_types.DEFAULT
    instead = "The local clouds serve no accelerators: deploy on n1-standard-2, without any."
    machine_types.check(machine, "deployed_model.dedicated_resources.machine_spec", instead)
    low, high = resources.min_replica_count, resources.max_replica_count
    path = "deployed_model.dedicated_resources"
    if low < 1:
        check_fields([(f"{path}.min_replica_count", "The value must be greater than or equal to 1.")])
    if high and high < low:
        check_fields([(f"{path}.max_replica_count", "The value must be at least min_replica_count.")])
    resources.max_replica_count = high or low
    if low > MOST_REPLICAS:
        raise GcpError(
            "RESOURCE_EXHAUSTED",
            f"The local clouds start at most {MOST_REPLICAS} replicas of a deployed model, and {low} were asked for.",
        )


def server(call: Call, endpoint: Endpoint, deployed: DeployedModel) -> ModelServer:
    """Fetches the artifacts into the deployed model's folder and says how a replica is made of them."""
    version, engine = deployed.version, call.engine
    account = deployed.message.service_account or vertex_names.service_agent(call)
    model_artifacts.check_access(call.cloud.iam, account, version.artifact_uri)
    model_artifacts.fetch(call.cloud.buckets, version.artifact_uri, deployed.folder)
    resource = vertex_telemetry.labels(call.project.number, call.location, endpoint.id)
    scope = call.scope

    def output(replica: str, line: str) -> None:
        if not deployed.message.disable_container_logging:
            vertex_telemetry.container_line(engine, scope, resource, deployed.id, replica, line)

    asked = version.uploaded.container_spec.deployment_timeout.ToTimedelta().total_seconds()
    return ModelServer(
        container=CONTAINER,
        options={"scikit_learn": prebuilt_images.scikit_learn_of(version.image)},
        folder=deployed.folder,
        env={**_environment(call, endpoint, deployed, version), **_identity(call, deployed, account)},
        output=output,
        start_timeout=asked or START_TIMEOUT,
    )


def new_folder(call: Call) -> Path:
    """A folder for a deployed model's artifacts."""
    return call.engine.folder / "vertex-ai" / uuid.uuid4().hex


def not_started(call: Call, endpoint: Endpoint, error: StartFailed) -> GcpError:
    """What the operation ends with when a model's container did not become ready."""
    never = "was not ready within" in error.message
    what = "Model server never became ready." if never else "Model server exited unexpectedly."
    last = next((line for line in reversed(error.log_tail.splitlines()) if line.strip()), "")
    return GcpError(
        "FAILED_PRECONDITION",
        f"{what} Please validate that your model file or container configuration are valid. Model server logs can be "
        f"found at https://console.cloud.google.com/logs/viewer?project={call.project.id}"
        "&resource=aiplatform.googleapis.com%2FEndpoint&advancedFilter=resource.type%3D%22aiplatform.googleapis.com"
        f"%2FEndpoint%22%0Aresource.labels.endpoint_id%3D%22{endpoint.id}%22%0Aresource.labels.location%3D%22"
        f"{call.location}%22{f'. The last line of the log: {last}' if last else ''}",
    )


def _identity(call: Call, deployed: DeployedModel, account: str) -> dict[str, str]:
    """The variables by which the model's own calls reach the clouds, as its account and as long as it is deployed."""
    identities = call.cloud.identities
    variables = identities.admit(ServiceAccount(account, call.project.id))
    deployed.dismiss = lambda: identities.dismiss(variables)
    return {**call.cloud.clients(), **variables, "GOOGLE_CLOUD_PROJECT": call.project.id}


def _environment(call: Call, endpoint: Endpoint, deployed: DeployedModel, version: Version) -> dict[str, str]:
    """The replica's whole environment: the variables that Vertex AI sets, after the model's own."""
    spec = version.uploaded.container_spec
    port = str(spec.ports[0].container_port) if spec.ports else "8080"
    route = f"/v1/endpoints/{endpoint.id}/deployedModels/{deployed.id}"
    temporary = str(deployed.folder)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": temporary,
        "TMPDIR": temporary,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **{each.name: each.value for each in spec.env},
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), _NOWHERE),
        "AIP_MODE": "PREDICTION",
        "AIP_MODE_VERSION": "1.0.0",
        "AIP_FRAMEWORK": "SCIKIT_LEARN",
        "AIP_HTTP_PORT": port,
        "AIP_PREDICT_ROUTE": spec.predict_route or f"{route}:predict",
        "AIP_HEALTH_ROUTE": spec.health_route or route,
        "AIP_STORAGE_URI": version.artifact_uri,
        "AIP_MACHINE_TYPE": deployed.message.dedicated_resources.machine_spec.machine_type,
        "AIP_PROJECT_NUMBER": call.project.number,
        "AIP_ENDPOINT_ID": endpoint.id,
        "AIP_DEPLOYED_MODEL_ID": deployed.id,
        "AIP_VERSION_NAME": deployed.id,
    }
