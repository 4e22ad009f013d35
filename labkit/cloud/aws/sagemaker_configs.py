"""SageMaker endpoint configurations: which models, on how many instances of which type, with which weights.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sagemaker_listing import page
from labkit.cloud.aws.sagemaker_state import EndpointConfig, State, add, arn, get
from labkit.cloud.aws.sagemaker_tags import as_dict

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Parts of a configuration that the kit does not serve, and what they would do.
_NOT_SERVED = {
    "ShadowProductionVariants": "shadow variants",
    "AsyncInferenceConfig": "asynchronous inference",
    "ExplainerConfig": "explanations",
    "CrossRegionTrafficConfig": "traffic to other regions",
    "ExecutionRoleArn": "inference components",
    "VpcConfig": "inference components",
    "EnableNetworkIsolation": "inference components",
}
#: Parts of a production variant that the kit does not serve, and what they would do.
_NOT_SERVED_OF_VARIANTS = {
    "AcceleratorType": "elastic inference",
    "AcceleratorPartitionLayouts": "partitioned accelerators",
    "CapacityReservationConfig": "capacity reservations",
    "CoreDumpConfig": "core dumps",
    "InstancePools": "instance pools",
    "ManagedInstanceScaling": "managed instance scaling",
    "ServerlessConfig": "serverless endpoints",
}


def create_endpoint_config(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    name = parameters["EndpointConfigName"]
    _check_config(call, parameters)
    state = call.store(State)
    names: set[str] = set()
    for variant in parameters["ProductionVariants"]:
        _check_variant(call, variant)
        if variant["VariantName"] in names:
            message = f"Duplicate variant name {variant['VariantName']}: each production variant needs its own."
            raise AwsError("ValidationException", message)
        names.add(variant["VariantName"])
    config = EndpointConfig(
        name, arn(call, "endpoint-config", name), call.engine.clock.now(), parameters, as_dict(parameters.get("Tags"))
    )
    with state.lock:
        for variant in config.variants:
            get(call, state.models, "model", variant["ModelName"])
        add(call, state.configs, "endpoint-config", name, config)
    return {"EndpointConfigArn": config.arn}


def describe_endpoint_config(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    config = get(call, call.store(State).configs, "endpoint-config", parameters["EndpointConfigName"])
    shown = {name: value for name, value in config.request.items() if name != "Tags"}
    variants = [{"InitialVariantWeight": 1.0, **variant} for variant in config.variants]
    return {
        **shown,
        "ProductionVariants": variants,
        "EndpointConfigArn": config.arn,
        "CreationTime": config.created,
        "EnableNetworkIsolation": False,
    }


def list_endpoint_configs(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    state = call.store(State)
    with state.lock:
        configs = list(state.configs.values())
    shown, token = page(parameters, configs)
    summaries = [
        {"EndpointConfigName": each.name, "EndpointConfigArn": each.arn, "CreationTime": each.created} for each in shown
    ]
    return {"EndpointConfigs": summaries, "NextToken": token}


def delete_endpoint_config(call: Call, parameters: dict[str, Any]) -> None:
    """Deletes the record. Endpoints that were made of it go on serving, as on AWS."""
    state = call.store(State)
    with state.lock:
        get(call, state.configs, "endpoint-config", parameters["EndpointConfigName"])
        del state.configs[parameters["EndpointConfigName"].lower()]


def _check_config(call: Call, parameters: Mapping[str, Any]) -> None:
    for name, what in _NOT_SERVED.items():
        if parameters.get(name):
            raise part_of(call, f"{what} ({name})")
    if parameters.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise part_of(call, "data capture (DataCaptureConfig)")
    metrics = parameters.get("MetricsConfig", {})
    if metrics.get("EnableEnhancedMetrics") or metrics.get("EnableDetailedObservability"):
        raise part_of(call, "enhanced metrics (MetricsConfig)")


def _check_variant(call: Call, variant: Mapping[str, Any]) -> None:
    name = variant["VariantName"]
    for part, what in _NOT_SERVED_OF_VARIANTS.items():
        if part in variant:
            raise part_of(call, f"{what} ({part} of variant {name})")
    if variant.get("EnableSSMAccess"):
        raise part_of(call, f"access to instances (EnableSSMAccess of variant {name})")
    if variant.get("RoutingConfig", {}).get("RoutingStrategy", "RANDOM") not in (
        "RANDOM",
        "LEAST_OUTSTANDING_REQUESTS",
    ):
        raise part_of(call, f"routing by prefix or cache (RoutingConfig of variant {name})")
    if "ModelName" not in variant:
        raise part_of(call, f"inference components (variant {name} without ModelName)")
    for part in ("InstanceType", "InitialInstanceCount"):
        if part not in variant:
            message = f"{part} is missing in production variant {name}: it is required for instance-based endpoints."
            raise AwsError("ValidationException", message)
