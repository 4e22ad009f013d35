"""Managed online deployments: made, changed, scaled, listed, deleted; their logs.

https://learn.microsoft.com/rest/api/azureml/online-deployments
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import deployment_files, deployment_settings, instance_types, operations
from labkit.cloud.azure.deployment_files import Assets
from labkit.cloud.azure.deployment_logs import INFERENCE_SERVER, STORAGE_INITIALIZER, DeploymentLog
from labkit.cloud.azure.deployment_settings import Settings
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.groups import tags_of
from labkit.cloud.azure.online_endpoints import NAME, NAME_RULE, UNDER_WAY, begin
from labkit.cloud.azure.online_errors import busy, failed, invalid, not_served
from labkit.cloud.azure.online_hosting import Deployment, Endpoint
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import MACHINE_LEARNING, WORKSPACE, Route
from labkit.cloud.azure.wire import page
from labkit.cloud.engine.errors import StartFailed
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

TYPE = f"{MACHINE_LEARNING}/workspaces/onlineEndpoints/deployments"
#: Deployments that an endpoint may have.
MOST_DEPLOYMENTS = 20
#: Lines of a log that one call answers at most.
MOST_LINES = 10_000
#: Lines of the container's log that a failed deployment's error quotes.
QUOTED = 40
#: The kinds of containers that have logs, by the names that a request may give.
_CONTAINERS = {"inferenceserver": INFERENCE_SERVER, "storageinitializer": STORAGE_INITIALIZER}


@dataclass
class State:
    """What a deployment's resource stands for: what it was last asked to be, its log, and whether it ever answered."""

    settings: Settings
    log: DeploymentLog
    has_succeeded: bool = False


def put_deployment(call: Call, names: dict[str, str]) -> Response:
    """Makes a deployment, or changes one: it answers as before until what has changed is ready."""
    body = call.body()
    if not NAME.fullmatch(names["deployment"]):
        raise invalid(call, f"The deployment name {names['deployment']!r} {NAME_RULE}.", "Name")
    settings, properties = deployment_settings.read(call, body)
    assets = deployment_files.find(call, settings)
    tags = tags_of(body)
    resources = call.cloud.resources
    with resources.lock:
        parent = _parent(call, names)
        resource = resources.get(call.resource)
        status = 200 if resource else 201
        if resource is not None:
            _check_changeable(call, resource)
        _check_quota(call, parent, settings, resource)
        resource = resource or _make(call, parent, settings)
        resource.tags, resource.kind = tags, str(body.get("kind") or "Managed")
        resource.sku = {"name": "Default", "capacity": settings.instances}
        own = {**(resource.properties.get("properties") or {}), **properties["properties"]}
        state = "Creating" if status == 201 else "Updating"
        resource.properties = {**properties, "properties": own, "provisioningState": state}
        resource.touch(call.engine.clock.now(), call.caller)
        resource.state.settings = settings
    return begin(call, resource, _work(call, parent, resource, assets), status)


def patch_deployment(call: Call, names: dict[str, str]) -> Response:
    """Changes a deployment's tags and its number of instances."""
    body = call.body()
    if other := set(body) - {"tags", "sku"}:
        raise not_served(f"PATCH of {', '.join(sorted(other))} of an online deployment")
    with call.cloud.resources.lock:
        resource = call.cloud.resources.require(call.resource)
        _check_changeable(call, resource)
        parent, settings = _parent(call, names), resource.state.settings
        assets = deployment_files.find(call, settings)
        if "sku" in body:
            settings = deployment_settings.with_instances(call, settings, body)
            _check_quota(call, parent, settings, resource)
            resource.sku = {"name": "Default", "capacity": settings.instances}
        resource.tags = tags_of(body) if "tags" in body else resource.tags
        resource.properties = {**resource.properties, "provisioningState": "Updating"}
        resource.touch(call.engine.clock.now(), call.caller)
        resource.state.settings = settings
    return begin(call, resource, _work(call, parent, resource, assets), 200)


def get_deployment(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return call.cloud.resources.require(call.resource).view()


def list_deployments(call: Call, names: dict[str, str]) -> dict[str, Any]:
    parent = call.cloud.resources.require(f"{call.workspace_id}/onlineEndpoints/{names['endpoint']}")
    return page(call, [each.view() for each in call.cloud.resources.below(parent.id, TYPE)])


def delete_deployment(call: Call, names: dict[str, str]) -> Response:
    """Deletes a deployment that has no traffic; what it has begun, it finishes."""
    with call.cloud.resources.lock:
        resource = call.cloud.resources.get(call.resource)
        if resource is None:
            return Response(204)
        parent = _parent(call, names)
        for field in ("traffic", "mirrorTraffic"):
            if share := parent.properties[field].get(resource.name):
                raise invalid(
                    call,
                    f"You can't delete a deployment that has live traffic allocated to it: {resource.name} has "
                    f"{share}% of the endpoint's {field}. You must first set traffic allocation for the deployment to "
                    "0% before deleting it.",
                )
        if resource.properties["provisioningState"] in UNDER_WAY:
            raise busy(call, f"Online deployment {resource.name}", resource.properties["provisioningState"].lower())
        resource.properties["provisioningState"] = "Deleting"
    endpoint: Endpoint = parent.state

    def work() -> None:
        endpoint.withdraw(resource.name)
        endpoint.note_capacity(resource.name, 0, call.engine.clock.now())
        for field in ("traffic", "mirrorTraffic"):
            parent.properties[field] = {k: v for k, v in parent.properties[field].items() if k != resource.name}
        call.cloud.resources.delete(resource.id)

    return operations.begin(call, work, location=parent.location)


def get_logs(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The last lines that the deployment's containers of one kind wrote, after their status and their events."""
    body = call.body()
    resource = call.cloud.resources.require(call.resource)
    asked = str(body.get("containerType") or "InferenceServer")
    container = _CONTAINERS.get(asked.lower())
    if container is None:
        raise invalid(
            call, f"containerType {asked!r} is neither InferenceServer nor StorageInitializer.", "ContainerType"
        )
    tail = body.get("tail")
    tail = MOST_LINES if tail is None else tail
    if not isinstance(tail, int) or isinstance(tail, bool) or tail < 0:
        raise invalid(call, f"tail {tail!r} has to be a whole number from 0.", "Tail")
    return {"content": resource.state.log.text(container, min(tail, MOST_LINES))}


def list_skus(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The numbers of instances that the deployment can have."""
    call.cloud.resources.require(call.resource)
    capacity = {"default": 1, "minimum": 1, "maximum": instance_types.MOST_INSTANCES, "scaleType": "Manual"}
    return {"value": [{"resourceType": TYPE, "sku": {"name": "Default"}, "capacity": capacity}]}


def _make(call: Call, parent: Resource, settings: Settings) -> Resource:
    name = call.resource.rpartition("/")[2]
    resource_id = f"{parent.id}/deployments/{name}"
    log = DeploymentLog(call.engine, call.scope, parent.id, name)
    made = Resource(resource_id, {}, parent.location, state=State(settings, log))
    call.cloud.resources.put(made)
    return made


def _work(call: Call, parent: Resource, resource: Resource, assets: Assets) -> Callable[[], None]:
    """What brings a deployment to its settings: new replicas, or the ones that it has in another number."""
    endpoint: Endpoint = parent.state
    state: State = resource.state
    settings = state.settings

    def work() -> None:
        running = endpoint.deployment(resource.name)
        try:
            if running is None or not settings.runs_the_same(running.settings):
                _start(call, parent, resource, assets)
            else:
                endpoint.adjust(running, settings)
        except StartFailed as error:
            resource.properties["provisioningState"] = "Failed"
            raise _crashed(state.log, error) from None
        except BaseException:
            resource.properties["provisioningState"] = "Failed"
            raise
        state.has_succeeded = True
        endpoint.note_capacity(resource.name, settings.instances, call.engine.clock.now())
        resource.properties["provisioningState"] = "Succeeded"

    return work


def _start(call: Call, parent: Resource, resource: Resource, assets: Assets) -> None:
    """Starts replicas with the deployment's settings and has them answer."""
    state: State = resource.state
    log, endpoint = state.log, parent.state
    log.begin(uuid.uuid4().hex)
    log.stage("SystemSetup", "Succeeded")
    server, release = deployment_files.prepare(call, parent, state.settings, assets, log)
    log.stage("UserContainerStart", "InProgress")
    log.event("Created", "Created container inference-server")
    log.event("Started", "Started container inference-server")
    try:
        endpoint.deploy(Deployment(resource.name, state.settings, release), server)
    except BaseException:
        release()
        raise
    log.stage("UserContainerStart", "Succeeded")
    log.event("ContainerReady", "Container is ready")


def _crashed(log: DeploymentLog, error: StartFailed) -> AzureError:
    """What Azure says of a container that did not start, with the end of what it wrote."""
    timed_out = "was not ready within" in error.message
    probe = "Readiness" if timed_out else "Liveness"
    reason = "context deadline exceeded" if timed_out else "HTTP probe failed with statuscode: 502"
    log.stage("UserContainerStart", "Failed")
    log.event(f"{probe}ProbeFailed", f"{probe} probe failed: {reason}", "Warning")
    log.event("BackOff", "Back-off restarting failed container", "Warning")
    tail = "\n".join(error.log_tail.splitlines()[-QUOTED:])
    message = f"User container has crashed or terminated: {probe} probe failed: {reason}"
    return failed("ResourceNotReady", message, log=tail)


def _parent(call: Call, names: Mapping[str, str]) -> Resource:
    """The endpoint that a deployment's path names; Resource Manager's error when it is not there."""
    parent_id = f"{call.workspace_id}/onlineEndpoints/{names['endpoint']}"
    found = call.cloud.resources.get(parent_id)
    if found is None:
        raise AzureError(
            "ParentResourceNotFound",
            "Failed to perform 'write' on resource(s) of type 'workspaces/onlineEndpoints/deployments', because the "
            f"parent resource '{parent_id}' could not be found.",
            404,
        )
    if found.properties["provisioningState"] == "Deleting":
        raise invalid(
            call,
            "This endpoint has not been created successfully or is in deleting provisioning state. Please recreate "
            "endpoint and then try again to create deployment.",
        )
    return found


def _check_changeable(call: Call, resource: Resource) -> None:
    state = resource.properties["provisioningState"]
    if state in UNDER_WAY:
        raise busy(call, f"Online deployment {resource.name}", state.lower())
    if state == "Failed" and not resource.state.has_succeeded:
        raise invalid(
            call,
            f"Specified deployment [{resource.name}] failed during initial provisioning and is in an unrecoverable "
            "state. Delete and re-create.",
        )


def _check_quota(call: Call, parent: Resource, settings: Settings, resource: Resource | None) -> None:
    """Sees that the endpoint's and the subscription's limits have room for the deployment."""
    if resource is None and len(call.cloud.resources.below(parent.id, TYPE)) >= MOST_DEPLOYMENTS:
        raise invalid(call, f"The endpoint has {MOST_DEPLOYMENTS} deployments, the most that it can have.")
    used = sum(
        _cores(each.state.settings)
        for each in call.cloud.resources.below(f"/subscriptions/{call.subscription}", TYPE)
        if each is not resource and each.location == parent.location
    )
    wanted = _cores(settings)
    if used + wanted > instance_types.CORES:
        raise invalid(
            call,
            f"Not enough quota available for {settings.instance_type} in SubscriptionId {call.subscription}. Current "
            f"usage/limit: {used}/{instance_types.CORES}. Additional needed: {wanted} Please see troubleshooting "
            "guide, available here: https://aka.ms/oe-tsg#error-outofquota",
            "VmSize",
        )


def _cores(settings: Settings) -> int:
    return instance_types.needs(instance_types.SIZES[settings.instance_type], settings.instances)


_NOTE = (
    "managed, with a scoring script; no image is built: the lab's environment has to have what the conda file asks for"
)
_DEPLOYMENTS = f"{WORKSPACE}/onlineEndpoints/{{endpoint}}/deployments"
_DEPLOYMENT = f"{_DEPLOYMENTS}/{{deployment}}"
ROUTES = [
    Route("GET", _DEPLOYMENTS, list_deployments),
    Route("PUT", _DEPLOYMENT, put_deployment, note=_NOTE),
    Route("PATCH", _DEPLOYMENT, patch_deployment, note="tags and sku"),
    Route("GET", _DEPLOYMENT, get_deployment),
    Route("DELETE", _DEPLOYMENT, delete_deployment),
    Route("POST", f"{_DEPLOYMENT}/getLogs", get_logs, read_only=True),
    Route("GET", f"{_DEPLOYMENT}/skus", list_skus),
]
