"""Models made of model packages.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.registry_packages import find_package

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: What of a package's container goes into a model's.
_TAKEN = ("Image", "ModelDataUrl", "ModelDataSource")


def container_of(call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    """A container that names a package, with the package's image, model data and environment.

    SageMaker does not ask for a version's approval here: deploying only what is approved is up to who deploys.
    """
    for member in _TAKEN:
        if member in given:
            message = f"{member} cannot be given together with ModelPackageName: the model package has it."
            raise AwsError("ValidationException", message)
    package = find_package(call, given["ModelPackageName"])
    containers, name = package.containers, given.get("InferenceSpecificationName")
    if name is not None:
        specifications = package.described.get("AdditionalInferenceSpecifications") or []
        containers = next((list(each["Containers"]) for each in specifications if each["Name"] == name), [])
    if not containers:
        what = f"inference specification {name}" if name else "inference specification"
        raise AwsError("ValidationException", f"ModelPackage {package.arn} has no {what}.")
    if len(containers) > 1:
        message = f"ModelPackage {package.arn} has several containers; the local clouds serve models of one."
        raise AwsError("ValidationException", message)
    of_package = containers[0]
    return {
        **{member: value for member, value in given.items() if member not in _NAMING},
        **{member: of_package[member] for member in _TAKEN if member in of_package},
        "Environment": {**of_package.get("Environment", {}), **given.get("Environment", {})},
    }


_NAMING = ("ModelPackageName", "InferenceSpecificationName")
