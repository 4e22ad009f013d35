"""SageMaker's model registry: model packages, versions of a group or with names of their own.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html
https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-approve.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import sagemaker_events, sklearn_images
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.registry_groups import find_group, user_of
from labkit.cloud.aws.registry_records import ModelPackage
from labkit.cloud.aws.sagemaker_listing import page
from labkit.cloud.aws.sagemaker_state import State, arn
from labkit.cloud.aws.sagemaker_tags import as_dict

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Members that CreateModelPackage takes and the kit does not serve, and what they would do.
_NOT_SERVED = {
    "ValidationSpecification": "validation of packages by transform jobs",
    "SourceAlgorithmSpecification": "packages of algorithms",
    "SecurityConfig": "keys of one's own",
    "ModelCard": "model cards",
    "ManagedStorageType": "managed storage",
}
#: Members that are kept as they are given.
_KEPT = (
    "ModelPackageDescription",
    "ModelPackageRegistrationType",
    "InferenceSpecification",
    "CertifyForMarketplace",
    "ModelApprovalStatus",
    "MetadataProperties",
    "ModelMetrics",
    "Domain",
    "Task",
    "SamplePayloadUrl",
    "CustomerMetadataProperties",
    "DriftCheckBaselines",
    "AdditionalInferenceSpecifications",
    "SkipModelValidation",
    "SourceUri",
    "ModelLifeCycle",
)
_MOST_PROPERTIES = 50


def create_model_package(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Registers a model: as the next version of a group, or under its own name."""
    for member, what in _NOT_SERVED.items():
        if parameters.get(member):
            raise part_of(call, f"{what} ({member})")
    name, group_name = parameters.get("ModelPackageName"), parameters.get("ModelPackageGroupName")
    if (name is None) == (group_name is None):
        message = "Exactly one of ModelPackageName and ModelPackageGroupName must be provided."
        raise AwsError("ValidationException", message)
    if name and "ModelApprovalStatus" in parameters:
        message = "ModelApprovalStatus is for versions of a model package group (ModelPackageGroupName) only."
        raise AwsError("ValidationException", message)
    if "InferenceSpecification" not in parameters and "SourceUri" not in parameters:
        message = "InferenceSpecification is missing: it names the container's image and the model data."
        raise AwsError("ValidationException", message)
    _check_containers(parameters)
    described = {member: parameters[member] for member in _KEPT if member in parameters}
    tags, state = as_dict(parameters.get("Tags")), call.store(State)
    with state.lock:
        if token := parameters.get("ClientToken"):
            earlier = next((each for each in state.packages.values() if each.token == token), None)
            if earlier is not None:
                return {"ModelPackageArn": earlier.arn}
        if group_name:
            package = _version(call, group_name, described, tags)
        else:
            assert name is not None
            package = _unversioned(call, state, name, described, tags)
        package.token = parameters.get("ClientToken", "")
        state.packages[_key(package)] = package
    sagemaker_events.package_changed(Place.of(call), package)
    return {"ModelPackageArn": package.arn}


def describe_model_package(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    return description(find_package(call, parameters["ModelPackageName"]))


def batch_describe_model_package(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    failed: dict[str, Any] = {}
    for each in parameters["ModelPackageArnList"]:
        try:
            found[each] = description(find_package(call, each))
        except AwsError as error:
            failed[each] = {"ErrorCode": error.code, "ErrorResponse": error.message}
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": failed}


def list_model_packages(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Versions of one group, packages with names, or both; the newest first."""
    state = call.store(State)
    kind, group = parameters.get("ModelPackageType", "Unversioned"), parameters.get("ModelPackageGroupName")
    with state.lock:
        packages = list(state.packages.values())
    if group is not None:
        name = find_group(call, group).name
        packages = [each for each in packages if each.group == name]
    elif kind != "Both":
        packages = [each for each in packages if bool(each.group) == (kind == "Versioned")]
    if wanted := parameters.get("ModelApprovalStatus"):
        packages = [each for each in packages if each.approval == wanted]
    shown, token = page(parameters, [_Listed(each) for each in packages])
    return {"ModelPackageSummaryList": [_summary(each.package) for each in shown], "NextToken": token}


def update_model_package(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Changes a package's approval and what is noted with it."""
    if "ModelCard" in parameters:
        raise part_of(call, "model cards (ModelCard)")
    package = find_package(call, parameters["ModelPackageArn"])
    state = call.store(State)
    with state.lock:
        described = dict(package.described)
        approval = parameters.get("ModelApprovalStatus")
        if approval and not package.group:
            message = "ModelApprovalStatus is for versions of a model package group only."
            raise AwsError("ValidationException", message)
        for member in (
            "ModelApprovalStatus",
            "ApprovalDescription",
            "ModelPackageRegistrationType",
            "InferenceSpecification",
            "SourceUri",
            "ModelLifeCycle",
        ):
            if member in parameters:
                described[member] = parameters[member]
        properties = {
            **described.get("CustomerMetadataProperties", {}),
            **parameters.get("CustomerMetadataProperties", {}),
        }
        for name in parameters.get("CustomerMetadataPropertiesToRemove", []):
            properties.pop(name, None)
        if len(properties) > _MOST_PROPERTIES:
            message = f"A model package has {_MOST_PROPERTIES} metadata properties at most."
            raise AwsError("ValidationException", message)
        described["CustomerMetadataProperties"] = properties or None
        added = parameters.get("AdditionalInferenceSpecificationsToAdd", [])
        described["AdditionalInferenceSpecifications"] = [
            *(described.get("AdditionalInferenceSpecifications") or []),
            *added,
        ] or None
        _check_containers(described)
        package.described = {name: value for name, value in described.items() if value is not None}
        package.modified, package.modified_by = call.engine.clock.now(), user_of(call)
    sagemaker_events.package_changed(Place.of(call), package)
    return {"ModelPackageArn": package.arn}


def delete_model_package(call: Call, parameters: dict[str, Any]) -> None:
    """Deletes a package; its version number is not given again."""
    state = call.store(State)
    with state.lock:
        del state.packages[_key(find_package(call, parameters["ModelPackageName"]))]


def find_package(call: Call, name: str) -> ModelPackage:
    """The package with a name or ARN; the error that SageMaker answers when there is none."""
    packages = call.store(State).packages
    found = packages.get((name.partition("/")[2] if name.startswith("arn:") else name).lower())
    if found is None or (name.startswith("arn:") and found.arn != name.lower()):
        full = name if name.startswith("arn:") else arn(call, "model-package", name)
        raise AwsError("ValidationException", f"ModelPackage {full} does not exist.")
    return found


def description(package: ModelPackage) -> dict[str, Any]:
    """DescribeModelPackage's answer."""
    statuses = [{"Name": "", "Status": "NotStarted"}] if not package.group else []
    return {
        "CertifyForMarketplace": False,
        **package.described,
        "InferenceSpecification": _resolved(package.described.get("InferenceSpecification")),
        "ModelPackageName": None if package.group else package.name,
        "ModelPackageGroupName": package.group or None,
        "ModelPackageVersion": package.version,
        "ModelPackageArn": package.arn,
        "CreationTime": package.created,
        "CreatedBy": package.created_by,
        "LastModifiedTime": package.modified if package.modified_by else None,
        "LastModifiedBy": package.modified_by,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": statuses},
    }


def _version(call: Call, group_name: str, described: dict[str, Any], tags: dict[str, str]) -> ModelPackage:
    if tags:
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html#sagemaker-CreateModelPackage-request-Tags
        message = "Tags cannot be set on a versioned model package; tag its model package group instead."
        raise AwsError("ValidationException", message)
    group = find_group(call, group_name)
    group.latest += 1
    described.setdefault("ModelApprovalStatus", "PendingManualApproval")
    return _package(call, f"{group.name}/{group.latest}", described, tags, group.name, group.latest)


def _unversioned(call: Call, state: State, name: str, described: dict[str, Any], tags: dict[str, str]) -> ModelPackage:
    if name.lower() in state.packages:
        full = arn(call, "model-package", name)
        raise AwsError("ValidationException", f"Model package already exists: {full}")
    return _package(call, name, described, tags)


def _package(
    call: Call,
    name: str,
    described: dict[str, Any],
    tags: dict[str, str],
    group: str = "",
    version: int | None = None,
) -> ModelPackage:
    now = call.engine.clock.now()
    return ModelPackage(
        name=name,
        arn=arn(call, "model-package", name),
        created=now,
        modified=now,
        created_by=user_of(call),
        described=described,
        tags=tags,
        group=group,
        version=version,
    )


def _key(package: ModelPackage) -> str:
    return package.name.lower()


def _check_containers(parameters: Mapping[str, Any]) -> None:
    for container in (parameters.get("InferenceSpecification") or {}).get("Containers", []):
        image = container.get("Image", "")
        if not sklearn_images.is_ecr(image):
            message = f'Using non-ECR image "{image}" without Vpc repository access mode is not supported.'
            raise AwsError("ValidationException", message)


def _resolved(specification: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An inference specification with the images' digests, as it is described."""
    if specification is None:
        return None
    containers = [
        {"ImageDigest": sklearn_images.resolved(each["Image"]).partition("@")[2], **each}
        for each in specification["Containers"]
    ]
    return {**specification, "Containers": containers}


class _Listed:
    """A package as a list sorts and finds it."""

    def __init__(self, package: ModelPackage) -> None:
        self.package = package
        self.name = f"{package.group}/{package.version:09d}" if package.version else package.name
        self.created = package.created


def _summary(package: ModelPackage) -> dict[str, Any]:
    return {
        "ModelPackageName": None if package.group else package.name,
        "ModelPackageGroupName": package.group or None,
        "ModelPackageVersion": package.version,
        "ModelPackageArn": package.arn,
        "ModelPackageDescription": package.described.get("ModelPackageDescription"),
        "CreationTime": package.created,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": package.approval or None,
        "ModelLifeCycle": package.described.get("ModelLifeCycle"),
        "ModelPackageRegistrationType": package.described.get("ModelPackageRegistrationType"),
    }
