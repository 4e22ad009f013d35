"""Vertex AI's EndpointService: endpoints are made, models deployed to them, traffic divided, and all of it undone.

https://cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1#endpointservice
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.errors import StartFailed
from labkit.cloud.gcp import vertex_deployment
from labkit.cloud.gcp.errors import GcpError, refusal
from labkit.cloud.gcp.vertex_deployment import not_started
from labkit.cloud.gcp.vertex_hosting import DeployedModel, Endpoint
from labkit.cloud.gcp.vertex_listing import page
from labkit.cloud.gcp.vertex_names import check_fields, mask_paths, new_id, problems, stamp, v1
from labkit.cloud.gcp.vertex_state import State

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

_ENDPOINT_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}|0")
#: Fields that an update may name.
_CHANGEABLE = {"display_name", "description", "labels", "traffic_split"}
#: Parts of a deployed model that can be changed while it serves.
_MUTABLE = {
    "dedicated_resources.min_replica_count",
    "dedicated_resources.max_replica_count",
    "dedicated_resources.required_replica_count",
    "dedicated_resources.autoscaling_metric_specs",
    "disable_container_logging",
}
#: Parts of an endpoint that ask for what the kit does not serve, and what that is.
_NOT_SERVED = {
    "dedicated_endpoint_enabled": "dedicated endpoints",
    "network": "private endpoints",
    "enable_private_service_connect": "Private Service Connect",
    "private_service_connect_config": "Private Service Connect",
    "encryption_spec": "customer-managed encryption keys",
    "predict_request_response_logging_config": "logging of requests and responses to BigQuery",
    "gen_ai_advanced_features_config": "features of generative models",
    "private_model_server_enabled": "private model servers",
    "client_connection_config": "inference timeouts of one's own",
}


def create_endpoint(call: Call, request: Any) -> Any:
    """Makes an endpoint, with nothing deployed to it. Long-running."""
    state, asked = call.store(State), request.endpoint
    found = problems(asked, "endpoint")
    if request.endpoint_id and not _ENDPOINT_ID.fullmatch(request.endpoint_id):
        found.append(
            (
                "endpoint_id",
                "The id begins with a letter and has up to 63 of [a-z0-9-], or it is a number of up to 9 digits.",
            )
        )
    if asked.deployed_models or asked.traffic_split:
        found.append(("endpoint", "Models are deployed to an endpoint with DeployModel, once it is there."))
    check_fields(found)
    _refuse_unserved(asked)
    identifier = request.endpoint_id or new_id()
    name = f"{call.parent}/endpoints/{identifier}"
    with state.lock:
        if identifier in state.endpoints:
            raise GcpError("ALREADY_EXISTS", f"The Endpoint {name} already exists.")
        endpoint = Endpoint(name, asked, call.engine.clock, call.engine.launcher)
        state.endpoints[identifier] = endpoint
    return call.operation(endpoint.view, below=name)


def get_endpoint(call: Call, request: Any) -> Any:
    """One endpoint."""
    return call.store(State).endpoint(call, request.name).view()


def list_endpoints(call: Call, request: Any) -> Any:
    """The location's endpoints."""
    shown = [each.view() for each in list(call.store(State).endpoints.values())]
    endpoints, token = page(shown, request, identifier="endpoint")
    return v1.ListEndpointsResponse(endpoints=endpoints, next_page_token=token)


def update_endpoint(call: Call, request: Any) -> Any:
    """Changes the fields of a mask; ``traffic_split`` divides the traffic anew, at once."""
    asked = request.endpoint
    endpoint = call.store(State).endpoint(call, asked.name)
    for path in request.update_mask.paths:
        if path in _NOT_SERVED:
            raise refusal(f"{_NOT_SERVED[path]} ({path}) of endpoints")
    paths = mask_paths(request.update_mask, _CHANGEABLE, endpoint.name)
    check_fields([each for each in problems(asked, "endpoint") if each[0].removeprefix("endpoint.") in paths])
    with endpoint.lock:
        if "traffic_split" in paths:
            endpoint.divide(dict(asked.traffic_split))
        for path in paths:
            field, _, key = path.partition(".")
            if field == "labels" and key:
                endpoint.asked.labels.pop(key, None)
                endpoint.asked.labels.update({key: asked.labels[key]} if key in asked.labels else {})
            elif field == "labels":
                endpoint.asked.ClearField("labels")
                endpoint.asked.labels.update(asked.labels)
            elif field != "traffic_split":
                setattr(endpoint.asked, field, getattr(asked, field))
        endpoint.updated = call.engine.clock.now()
        return endpoint.view()


def delete_endpoint(call: Call, request: Any) -> Any:
    """Deletes an endpoint to which nothing is deployed. Long-running."""
    state = call.store(State)
    with state.lock:
        endpoint = state.endpoint(call, request.name)
        if used := endpoint.in_use():
            raise GcpError(
                "FAILED_PRECONDITION",
                f"Endpoint {endpoint.name} has deployed or being-deployed DeployedModel(s): {', '.join(used)}.",
            )
        del state.endpoints[endpoint.id]
    endpoint.close()
    return call.operation(lambda: None, below=endpoint.name)


def deploy_model(call: Call, request: Any) -> Any:
    """Deploys a version of a model. Long-running: it ends when the replicas are ready, or could not start."""
    state, asked = call.store(State), request.deployed_model
    endpoint = state.endpoint(call, request.endpoint)
    if not asked.model:
        check_fields([("deployed_model.model", "Required field is not set.")])
    vertex_deployment.check(asked)
    vertex_deployment.check_account(call, asked.service_account)
    traffic = dict(request.traffic_split)
    with state.lock:
        model, named = state.model(call, asked.model)
        version = model.find(named)
        message = v1.DeployedModel()
        message.CopyFrom(asked)
        message.id = asked.id or new_id()
        message.model, message.model_version_id = model.name, version.id
        message.display_name = asked.display_name or version.display_name
        stamp(message, create_time=call.engine.clock.now())
        deployed = DeployedModel(message.id, model, version, message, vertex_deployment.new_folder(call))
        endpoint.expect(deployed, traffic)

    def work() -> Any:
        try:
            server = vertex_deployment.server(call, endpoint, deployed)
            endpoint.deploy(deployed, server, traffic)
        except StartFailed as error:
            endpoint.give_up(deployed)
            raise not_started(call, endpoint, error) from None
        except BaseException:
            endpoint.give_up(deployed)
            raise
        return v1.DeployModelResponse(deployed_model=deployed.message)

    return call.operation(work, below=endpoint.name)


def undeploy_model(call: Call, request: Any) -> Any:
    """Takes a deployed model out, which must have no traffic unless it is the last one. Long-running."""
    endpoint = call.store(State).endpoint(call, request.endpoint)
    leaving = endpoint.withdraw(request.deployed_model_id, dict(request.traffic_split))

    def work() -> Any:
        endpoint.stop(leaving)
        return v1.UndeployModelResponse()

    return call.operation(work, below=endpoint.name)


def mutate_deployed_model(call: Call, request: Any) -> Any:
    """Gives a deployed model other numbers of replicas. Long-running."""
    endpoint, asked = call.store(State).endpoint(call, request.endpoint), request.deployed_model
    deployed = endpoint.require(asked.id)
    paths = mask_paths(request.update_mask, _MUTABLE, f"DeployedModel {asked.id}")
    message = v1.DeployedModel()
    message.CopyFrom(deployed.message)
    for path in paths:
        parent, _, field = path.rpartition(".")
        source, held = (getattr(each, parent) if parent else each for each in (asked, message))
        held.ClearField(field)
        if field == "autoscaling_metric_specs":
            held.autoscaling_metric_specs.extend(source.autoscaling_metric_specs)
        else:
            setattr(held, field, getattr(source, field))
    vertex_deployment.check_resources(message.dedicated_resources)

    def work() -> Any:
        try:
            endpoint.resize(asked.id, message)
        except StartFailed as error:
            raise not_started(call, endpoint, error) from None
        return v1.MutateDeployedModelResponse(deployed_model=message)

    return call.operation(work, below=endpoint.name)


METHODS = {
    "CreateEndpoint": create_endpoint,
    "GetEndpoint": get_endpoint,
    "ListEndpoints": list_endpoints,
    "UpdateEndpoint": update_endpoint,
    "DeleteEndpoint": delete_endpoint,
    "DeployModel": deploy_model,
    "UndeployModel": undeploy_model,
    "MutateDeployedModel": mutate_deployed_model,
}

PERMISSIONS = {
    "DeployModel": "aiplatform.endpoints.deploy",
    "UndeployModel": "aiplatform.endpoints.undeploy",
    "MutateDeployedModel": "aiplatform.endpoints.deploy",
}

NOTES = {
    "CreateEndpoint": "shared public endpoints; dedicated and private ones refuse",
    "ListEndpoints": "filters by endpoint, display_name and labels; others refuse",
    "DeployModel": "dedicated resources without accelerators; min_replica_count replicas run and do not scale by load",
}


def _refuse_unserved(asked: Any) -> None:
    for field, _ in asked.ListFields():
        if field.name in _NOT_SERVED:
            raise refusal(f"{_NOT_SERVED[field.name]} ({field.name}) of endpoints")
