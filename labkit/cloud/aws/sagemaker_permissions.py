"""What SageMaker's operations on jobs, packages and pipelines need permission for.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import pipeline_callbacks, resources
from labkit.cloud.aws.resources import Need

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Parameter -> type of resource in the ARN, the subject of an operation first.
_NAMED = {
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "TransformJobName": "transform-job",
    "PipelineName": "pipeline",
    "ModelPackageName": "model-package",
    "ModelPackageGroupName": "model-package-group",
}
_ARNS = ("PipelineExecutionArn", "PipelineArn", "ModelPackageArn")


def needs(call: Call, parameters: Mapping[str, Any]) -> list[Need]:
    """Everything that a call must be allowed to do, its own action first."""
    action, prefix = f"sagemaker:{call.operation}", f"arn:aws:sagemaker:{call.region}:{call.account}"
    if token := parameters.get("CallbackToken"):
        callback = pipeline_callbacks.find(call, str(token))
        return [Need(action, callback.execution.arn if callback else "*")]
    subject = next((str(parameters[name]) for name in _ARNS if parameters.get(name)), "")
    for name, kind in _NAMED.items():
        value = str(parameters.get(name) or "")
        if subject or not value:
            continue
        subject = value if value.startswith("arn:") else f"{prefix}:{kind}/{value.lower()}"
    if not subject:
        arn_of = call.cloud.identities.arn_of
        found = resources.needs("sagemaker", call.operation, parameters, call.account, call.region, arn_of)
        return [Need(*each) for each in found]
    result = [Need(action, subject)]
    if call.operation == "CreateModelPackage" and (group := parameters.get("ModelPackageGroupName")):
        # A version's own ARN is not known before it is made.
        name = str(group).rpartition("/")[2].lower()
        result = [
            Need(action, f"{prefix}:model-package/{name}/*"),
            Need(action, f"{prefix}:model-package-group/{name}"),
        ]
    if call.operation == "CreateTransformJob":
        result.append(Need(action, f"{prefix}:model/{str(parameters['ModelName']).lower()}"))
    result += resources.tagging(call.operation, parameters, result[0].resource)
    if call.operation.startswith(("Create", "Update", "Start")) and (role := parameters.get("RoleArn")):
        result.append(Need("iam:PassRole", str(role)))
    return result
