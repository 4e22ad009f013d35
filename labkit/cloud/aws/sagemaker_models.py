"""SageMaker models: an image, model data in S3 and a role, kept until an endpoint is made of them.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import registry_models, sagemaker_data, sklearn_images
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sagemaker_listing import page
from labkit.cloud.aws.sagemaker_state import Model, State, add, arn, get, refuse_existing
from labkit.cloud.aws.sagemaker_tags import as_dict

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.place import Place

#: Parts of a container's definition that the kit does not serve, and what they would do.
_NOT_SERVED = {
    "MultiModelConfig": "multi-model endpoints",
    "AdditionalModelDataSources": "additional model data sources",
    "ContainerMetricsConfig": "metrics of the container's own",
}


def create_model(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    name = parameters["ModelName"]
    state = call.store(State)
    refuse_existing(call, state.models, "model", name)
    given = _only_container(call, parameters)
    container = registry_models.container_of(call, given) if "ModelPackageName" in given else given
    _check_container(call, container)
    role = parameters.get("ExecutionRoleArn")
    if role is None:
        raise AwsError("ValidationException", "ExecutionRoleArn is missing: the container needs a role to run as.")
    check_role(call, role)
    sagemaker_data.check(call, container, role)
    model = Model(name, arn(call, "model", name), call.engine.clock.now(), parameters, as_dict(parameters.get("Tags")))
    model.of_package = container if container is not given else None
    with state.lock:
        add(call, state.models, "model", name, model)
    return {"ModelArn": model.arn}


def describe_model(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    model = get(call, call.store(State).models, "model", parameters["ModelName"])
    shown = {
        name: value for name, value in model.request.items() if name not in ("Tags", "PrimaryContainer", "Containers")
    }
    container = {"Mode": "SingleModel", **model.given, **sagemaker_data.described(model.given)}
    shown |= {"Containers": [container]} if "Containers" in model.request else {"PrimaryContainer": container}
    return {
        "EnableNetworkIsolation": False,
        **shown,
        "ModelArn": model.arn,
        "CreationTime": model.created,
    }


def list_models(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    state = call.store(State)
    with state.lock:
        models = list(state.models.values())
    shown, token = page(parameters, models)
    summaries = [{"ModelName": each.name, "ModelArn": each.arn, "CreationTime": each.created} for each in shown]
    return {"Models": summaries, "NextToken": token}


def delete_model(call: Call, parameters: dict[str, Any]) -> None:
    """Deletes the record. Endpoints that were made of it go on serving, as on AWS."""
    state = call.store(State)
    with state.lock:
        get(call, state.models, "model", parameters["ModelName"])
        del state.models[parameters["ModelName"].lower()]


def check_role(call: Call, role: str) -> None:
    """Raises what SageMaker answers for an execution role that it cannot assume."""
    if role.split(":")[4] != call.account:
        raise AwsError("ValidationException", "Cross-account pass role is not allowed.")
    if problem := role_problem(call, role):
        raise AwsError("ValidationException", problem)


def role_problem(call: Call | Place, role: str) -> str | None:
    """The sentence that SageMaker says of a role that is missing or does not trust it, or None."""
    identities = call.cloud.identities
    record = identities.role(role)
    if record is not None and identities.does_trust(record, "sagemaker.amazonaws.com"):
        return None
    return (
        f'The execution role ARN "{role}" is invalid. Please ensure that the role exists and that its trust '
        'relationship policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com".'
    )


def _only_container(call: Call, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    primary, containers = parameters.get("PrimaryContainer"), parameters.get("Containers") or []
    if primary is not None and containers:
        raise AwsError("ValidationException", "Use PrimaryContainer or Containers, not both.")
    if len(containers) > 1:
        raise part_of(call, "inference pipelines (Containers with more than one)")
    if "InferenceExecutionConfig" in parameters:
        raise part_of(call, "InferenceExecutionConfig, which is for several containers")
    if primary is None and not containers:
        raise AwsError("ValidationException", "PrimaryContainer is missing: it names the image and the model data.")
    return containers[0] if primary is None else primary


def _check_container(call: Call, container: Mapping[str, Any]) -> None:
    for name, what in _NOT_SERVED.items():
        if name in container:
            raise part_of(call, f"{what} ({name})")
    if container.get("Mode") == "MultiModel":
        raise part_of(call, "multi-model endpoints (Mode MultiModel)")
    if container.get("ImageConfig", {}).get("RepositoryAccessMode") == "Vpc":
        raise part_of(call, "images from a registry in a VPC (RepositoryAccessMode Vpc)")
    image = container.get("Image")
    if image is None:
        raise AwsError("ValidationException", "Image is missing: it names the container image of the model.")
    if not sklearn_images.is_ecr(image):
        # Whether the kit serves an image shows when an endpoint is made of it, where SageMaker pulls it, too.
        message = f'Using non-ECR image "{image}" without Vpc repository access mode is not supported.'
        raise AwsError("ValidationException", message)
