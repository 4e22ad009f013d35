"""SageMaker endpoints: made, changed under load, described, deleted.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html,
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpointWeightsAndCapacities.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sagemaker_deployment import Wanted
from labkit.cloud.aws.sagemaker_hosting import Endpoint
from labkit.cloud.aws.sagemaker_listing import page
from labkit.cloud.aws.sagemaker_state import EndpointConfig, State, add, arn, get, refuse_existing
from labkit.cloud.aws.sagemaker_tags import as_dict
from labkit.cloud.engine import serving

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Instances of one type that an account may have behind its endpoints in a region. An instance is a process here.
INSTANCES_OF_A_TYPE = 20
#: Seconds for which a waiter's DescribeEndpoint is held while work is under way. A waiter that is told to wait sleeps
#: for 30 s, and the first deployment after a start may take some seconds on a busy machine.
HELD = 20.0


def create_endpoint(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    name = parameters["EndpointName"]
    _check_deployment(call, parameters.get("DeploymentConfig"))
    tags = as_dict(parameters.get("Tags"))
    state, now = call.store(State), call.engine.clock.now()
    with state.lock:
        refuse_existing(call, state.endpoints, "endpoint", name)
        config = get(call, state.configs, "endpoint-config", parameters["EndpointConfigName"])
        wanted = _wanted(call, state, config)
        endpoint = Endpoint(
            name=name,
            arn=arn(call, "endpoint", name),
            config_name=config.name,
            created=now,
            modified=now,
            serving=serving.Endpoint(name, call.engine.launcher),
            tags=tags,
            deployment=parameters.get("DeploymentConfig"),
        )
        _reserve(state, endpoint, wanted)
        add(call, state.endpoints, "endpoint", name, endpoint)
        endpoint.work(call, lambda: endpoint.deploy(call, wanted))
    return {"EndpointArn": endpoint.arn}


def describe_endpoint(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """The endpoint as it is. A waiter's call is held for a while if the endpoint is changing."""
    endpoint = get(call, call.store(State).endpoints, "endpoint", parameters["EndpointName"])
    if call.waiter:
        endpoint.settled.wait(HELD)
    with endpoint.lock:
        return {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.config_name,
            "ProductionVariants": endpoint.describe_variants() or None,
            "EndpointStatus": endpoint.status,
            "FailureReason": endpoint.failure or None,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "LastDeploymentConfig": endpoint.deployment,
            "PendingDeploymentSummary": endpoint.pending,
        }


def list_endpoints(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    state = call.store(State)
    with state.lock:
        endpoints = list(state.endpoints.values())
    shown, token = page(parameters, endpoints)
    summaries = [
        {
            "EndpointName": each.name,
            "EndpointArn": each.arn,
            "CreationTime": each.created,
            "LastModifiedTime": each.modified,
            "EndpointStatus": each.status,
        }
        for each in shown
    ]
    return {"Endpoints": summaries, "NextToken": token}


def delete_endpoint(call: Call, parameters: dict[str, Any]) -> None:
    """Stops the endpoint's replicas and deletes it; it is gone when this returns."""
    state = call.store(State)
    with state.lock:
        endpoint = get(call, state.endpoints, "endpoint", parameters["EndpointName"])
        _refuse_busy(endpoint)
        del state.endpoints[endpoint.name.lower()]
    endpoint.close()


def update_endpoint(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Serves another configuration: the old variants answer until the new ones are ready, and no request is lost."""
    deployment = parameters.get("DeploymentConfig")
    _check_deployment(call, deployment)
    retained = _retained(parameters)
    state = call.store(State)
    with state.lock:
        endpoint = get(call, state.endpoints, "endpoint", parameters["EndpointName"])
        _refuse_busy(endpoint)
        _refuse_failed(endpoint)
        if parameters.get("RetainDeploymentConfig"):
            deployment = endpoint.deployment
        config = get(call, state.configs, "endpoint-config", parameters["EndpointConfigName"])
        wanted = _wanted(call, state, config, endpoint, retained)
        _reserve(state, endpoint, wanted)

        def change() -> None:
            endpoint.deploy(call, wanted)
            with endpoint.lock:
                endpoint.config_name = config.name
                endpoint.deployment = deployment

        endpoint.pending = {
            "EndpointConfigName": config.name,
            "ProductionVariants": [_pending(each) for each in wanted],
            "StartTime": call.engine.clock.now(),
        }
        endpoint.work(call, change)
    return {"EndpointArn": endpoint.arn}


def update_endpoint_weights_and_capacities(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Sets weights, and starts or stops instances. Weights alone are in force when this returns."""
    state = call.store(State)
    with state.lock:
        endpoint = get(call, state.endpoints, "endpoint", parameters["EndpointName"])
        _refuse_busy(endpoint)
        _refuse_failed(endpoint)
        asked = {each["VariantName"]: each for each in parameters["DesiredWeightsAndCapacities"]}
        _check_asked(call, endpoint, asked)
        wanted = [
            replace(
                variant.wanted,
                weight=asked.get(variant.name, {}).get("DesiredWeight", variant.wanted.weight),
                count=asked.get(variant.name, {}).get("DesiredInstanceCount", variant.wanted.count),
            )
            for variant in endpoint.variants
        ]
        _reserve(state, endpoint, wanted)
        if all(new.count == variant.wanted.count for new, variant in zip(wanted, endpoint.variants, strict=True)):
            endpoint.resize(wanted)
            endpoint.modified = call.engine.clock.now()
        else:
            endpoint.work(call, lambda: endpoint.resize(wanted))
    return {"EndpointArn": endpoint.arn}


def _check_asked(call: Call, endpoint: Endpoint, asked: Mapping[str, Mapping[str, Any]]) -> None:
    unknown = [name for name in asked if name not in {variant.name for variant in endpoint.variants}]
    if unknown:
        config = arn(call, "endpoint-config", endpoint.config_name)
        names = ", ".join(unknown)
        message = f'The variant name(s) "{names}" is/are not present within endpoint configuration "{config}".'
        raise AwsError("ValidationException", message)
    for name, wanted in asked.items():
        if "ServerlessUpdateConfig" in wanted:
            raise part_of(call, f"serverless endpoints (ServerlessUpdateConfig of variant {name})")
        if wanted.get("DesiredInstanceCount") == 0:
            message = f"DesiredInstanceCount of variant {name} has to be 1 at least: no scaling policy is in force."
            raise AwsError("ValidationException", message)


def _wanted(
    call: Call,
    state: State,
    config: EndpointConfig,
    endpoint: Endpoint | None = None,
    retained: frozenset[str] = frozenset(),
) -> list[Wanted]:
    """A configuration's variants with their models; ``retained`` properties are those of ``endpoint``'s variants."""
    before = {variant.name: variant.wanted for variant in endpoint.variants} if endpoint else {}
    found = []
    for variant in config.variants:
        model = get(call, state.models, "model", variant["ModelName"])
        weight, count = variant.get("InitialVariantWeight", 1.0), variant["InitialInstanceCount"]
        if old := before.get(variant["VariantName"]):
            weight = old.weight if "DesiredWeight" in retained else weight
            count = old.count if "DesiredInstanceCount" in retained else count
        found.append(Wanted(variant, model, weight, count))
    return found


def _retained(parameters: Mapping[str, Any]) -> frozenset[str]:
    if not parameters.get("RetainAllVariantProperties"):
        return frozenset()
    excluded = parameters.get("ExcludeRetainedVariantProperties", [])
    return frozenset(("DesiredInstanceCount", "DesiredWeight")) - {each["VariantPropertyType"] for each in excluded}


def _pending(wanted: Wanted) -> dict[str, Any]:
    return {
        "VariantName": wanted.name,
        "DesiredWeight": wanted.weight,
        "DesiredInstanceCount": wanted.count,
        "InstanceType": wanted.instance_type,
        "VariantStatus": [{"Status": "Creating"}],
    }


def _reserve(state: State, endpoint: Endpoint, wanted: Iterable[Wanted]) -> None:
    """Counts the instances that an endpoint is to have; raises what SageMaker answers past the account's quota."""
    needed: Counter[str] = Counter()
    for each in wanted:
        needed[each.instance_type] += each.count
    others: Counter[str] = Counter()
    for other in state.endpoints.values():
        if other is not endpoint:
            others += other.instances
    for kind, count in needed.items():
        used, delta = others[kind] + endpoint.instances[kind], count - endpoint.instances[kind]
        if delta > 0 and used + delta > INSTANCES_OF_A_TYPE:
            raise AwsError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{kind} for endpoint usage' is {INSTANCES_OF_A_TYPE} Instances, "
                f"with current utilization of {used} Instances and a request delta of {delta} Instances. Please use "
                "AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, "
                "contact AWS support to request an increase for this quota.",
            )
    endpoint.instances = needed


def _refuse_busy(endpoint: Endpoint) -> None:
    if endpoint.status in ("Creating", "Updating"):
        raise AwsError("ValidationException", f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _refuse_failed(endpoint: Endpoint) -> None:
    if endpoint.status == "Failed":
        message = f'Cannot update endpoint "{endpoint.arn}", which is Failed: it can only be deleted.'
        raise AwsError("ValidationException", message)


def _check_deployment(call: Call, config: Mapping[str, Any] | None) -> None:
    """Refuses what of a deployment is not done: only the switch of all traffic at once, with no time to bake, is."""
    if not config:
        return
    for part, what in (("RollingUpdatePolicy", "rolling updates"), ("AutoRollbackConfiguration", "rollback by alarms")):
        if part in config:
            raise part_of(call, f"{what} ({part})")
    policy = config.get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {})
    if routing.get("Type", "ALL_AT_ONCE") != "ALL_AT_ONCE":
        raise part_of(call, f"shifting traffic in steps (TrafficRoutingConfiguration {routing['Type']})")
    if routing.get("WaitIntervalInSeconds"):
        raise part_of(call, "a baking period (WaitIntervalInSeconds other than 0)")
    if policy.get("TerminationWaitInSeconds"):
        raise part_of(call, "keeping the old fleet (TerminationWaitInSeconds other than 0)")
