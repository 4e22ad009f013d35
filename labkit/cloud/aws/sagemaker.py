"""Amazon SageMaker: the table from operation to function.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Operations_Amazon_SageMaker_Service.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import (
    sagemaker_configs,
    sagemaker_endpoints,
    sagemaker_models,
    sagemaker_tags,
)
from labkit.cloud.aws.sagemaker_state import State

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

SERVICE = "sagemaker"

OPERATIONS: dict[str, Callable[[Call, dict[str, Any]], dict[str, Any] | None]] = {
    "CreateModel": sagemaker_models.create_model,
    "DescribeModel": sagemaker_models.describe_model,
    "ListModels": sagemaker_models.list_models,
    "DeleteModel": sagemaker_models.delete_model,
    "CreateEndpointConfig": sagemaker_configs.create_endpoint_config,
    "DescribeEndpointConfig": sagemaker_configs.describe_endpoint_config,
    "ListEndpointConfigs": sagemaker_configs.list_endpoint_configs,
    "DeleteEndpointConfig": sagemaker_configs.delete_endpoint_config,
    "CreateEndpoint": sagemaker_endpoints.create_endpoint,
    "DescribeEndpoint": sagemaker_endpoints.describe_endpoint,
    "ListEndpoints": sagemaker_endpoints.list_endpoints,
    "UpdateEndpoint": sagemaker_endpoints.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": sagemaker_endpoints.update_endpoint_weights_and_capacities,
    "DeleteEndpoint": sagemaker_endpoints.delete_endpoint,
    "AddTags": sagemaker_tags.add_tags,
    "ListTags": sagemaker_tags.list_tags,
    "DeleteTags": sagemaker_tags.delete_tags,
}

#: Operations whose record is their whole effect.
SHAPE_ONLY = frozenset(("AddTags", "DeleteTags", "ListTags"))

NOTES = {
    "CreateModel": "one container, its model data an archive or files; VpcConfig is kept and has no effect; "
    "multi-model endpoints, inference pipelines and the model registry refuse",
    "CreateEndpointConfig": "instances and weights; an instance is a process on this machine, whatever its type; "
    "serverless, asynchronous, shadow variants, data capture and explanations refuse",
    "CreateEndpoint": "any image but scikit-learn's ends in Failed; a requirements.txt is checked, not installed",
    "UpdateEndpoint": "all traffic at once; canary, linear and rolling updates, baking and alarms refuse",
    "UpdateEndpointWeightsAndCapacities": "an instance is a process on this machine",
}


def inventory(cloud: AwsCloud) -> dict[str, list[str]]:
    """The names of what a learner made, by kind, in every region."""
    models: list[str] = []
    configs: list[str] = []
    endpoints: list[str] = []
    for state in cloud.stores(State):
        with state.lock:
            models += [each.name for each in state.models.values()]
            configs += [each.name for each in state.configs.values()]
            endpoints += [each.name for each in state.endpoints.values()]
    return {
        "models": sorted(models),
        "endpoint configurations": sorted(configs),
        "endpoints": sorted(endpoints),
    }
