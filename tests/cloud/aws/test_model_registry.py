"""The model registry: groups, versions, approval, metadata, tags, policies, and models made of packages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from labkit.cloud.engine.events import Event
from tests.cloud.aws import in_process
from tests.cloud.aws.pipeline_world import Pipelines
from tests.cloud.aws.sagemaker_world import DOUBLER, IMAGE, archive


def container(pipelines: Pipelines) -> dict[str, Any]:
    url = pipelines.upload("packages/model.tar.gz", archive({"code/inference.py": DOUBLER}))
    return {"Image": IMAGE, "ModelDataUrl": url, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}


def register(pipelines: Pipelines, **more: Any) -> str:
    specification = {
        "Containers": [container(pipelines)],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    made = pipelines.sm.create_model_package(
        ModelPackageGroupName=pipelines.name("group"), InferenceSpecification=specification, **more
    )
    return str(made["ModelPackageArn"])


@pytest.fixture
def group(pipelines: Pipelines) -> str:
    made = pipelines.sm.create_model_package_group(
        ModelPackageGroupName=pipelines.name("group"),
        ModelPackageGroupDescription="churn",
        Tags=[{"Key": "team", "Value": "growth"}],
    )
    return str(made["ModelPackageGroupArn"])


def test_versions_count_up_and_are_approved(pipelines: Pipelines, engine: Engine, group: str) -> None:
    told: list[Event] = []
    forget = engine.events.listen(told.append)
    metrics = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/metrics.json"}}}
    first = register(pipelines, ModelMetrics=metrics, CustomerMetadataProperties={"auc": "0.91", "data": "may"})
    second = register(pipelines, ModelApprovalStatus="Rejected")
    assert first == f"{group.replace('model-package-group', 'model-package')}/1"
    described = pipelines.sm.describe_model_package(ModelPackageName=first)
    assert (described["ModelPackageVersion"], described["ModelApprovalStatus"]) == (1, "PendingManualApproval")
    assert (described["ModelMetrics"], described["CustomerMetadataProperties"]["auc"]) == (metrics, "0.91")
    assert described["InferenceSpecification"]["Containers"][0]["ImageDigest"].startswith("sha256:")
    pipelines.sm.update_model_package(
        ModelPackageArn=first,
        ModelApprovalStatus="Approved",
        ApprovalDescription="good",
        CustomerMetadataProperties={"by": "me"},
        CustomerMetadataPropertiesToRemove=["data"],
    )
    described = pipelines.sm.describe_model_package(ModelPackageName=first)
    assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == ("Approved", "good")
    assert described["CustomerMetadataProperties"] == {"auc": "0.91", "by": "me"}
    listed = pipelines.sm.list_model_packages(ModelPackageGroupName=pipelines.name("group"))
    assert [each["ModelPackageArn"] for each in listed["ModelPackageSummaryList"]] == [second, first]
    approved = pipelines.sm.list_model_packages(
        ModelPackageGroupName=pipelines.name("group"), ModelApprovalStatus="Approved"
    )
    assert [each["ModelPackageVersion"] for each in approved["ModelPackageSummaryList"]] == [1]
    forget()
    changes = [event.detail for event in told if event.kind == "SageMaker Model Package State Change"]
    assert [each["ModelApprovalStatus"] for each in changes] == ["PendingManualApproval", "Rejected", "Approved"]


def test_tags_of_a_version_and_of_its_group(pipelines: Pipelines, group: str) -> None:
    version = register(pipelines)
    pipelines.sm.add_tags(ResourceArn=version, Tags=[{"Key": "stage", "Value": "test"}])
    assert pipelines.sm.list_tags(ResourceArn=version)["Tags"] == [{"Key": "stage", "Value": "test"}]
    assert pipelines.sm.list_tags(ResourceArn=group)["Tags"] == [{"Key": "team", "Value": "growth"}]
    _, code, message = in_process.error(register, pipelines=pipelines, Tags=[{"Key": "a", "Value": "b"}])
    assert (code, "tag its model package group instead" in message) == ("ValidationException", True)


def test_a_version_is_deployed(pipelines: Pipelines, engine: Engine, group: str) -> None:
    version = register(pipelines, ModelApprovalStatus="Approved")
    name = pipelines.name("model")
    pipelines.sm.create_model(
        ModelName=name, ExecutionRoleArn=pipelines.role, PrimaryContainer={"ModelPackageName": version}
    )
    described = pipelines.sm.describe_model(ModelName=name)
    assert described["PrimaryContainer"]["ModelPackageName"] == version
    told: list[Event] = []
    forget = engine.events.listen(told.append)
    endpoint = pipelines.endpoint("endpoint", name)
    forget()
    assert pipelines.invoke(endpoint, "[[1, 2]]") == [[2.0, 4.0]]
    changes = [each.detail["EndpointStatus"] for each in told if each.kind == "SageMaker Endpoint State Change"]
    assert changes == ["CREATING", "IN_SERVICE"]


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"ModelPackageName": "nothing/1"}, "model-package/nothing/1 does not exist."),
        ({"ModelPackageName": "nothing/1", "Image": IMAGE}, "Image cannot be given together with ModelPackageName"),
    ],
)
def test_a_model_of_no_package(pipelines: Pipelines, container: dict[str, str], message: str) -> None:
    _, code, text = in_process.error(
        pipelines.sm.create_model, ModelName="m", ExecutionRoleArn=pipelines.role, PrimaryContainer=container
    )
    assert code == "ValidationException"
    assert message in text


def test_packages_with_names_of_their_own(pipelines: Pipelines) -> None:
    name = pipelines.name("alone")
    specification = {
        "Containers": [container(pipelines)],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    pipelines.sm.create_model_package(ModelPackageName=name, InferenceSpecification=specification)
    described = pipelines.sm.describe_model_package(ModelPackageName=name)
    assert described["ModelPackageName"] == name
    assert "ModelPackageVersion" not in described
    listed = pipelines.sm.list_model_packages(NameContains=name)["ModelPackageSummaryList"]
    assert [each["ModelPackageName"] for each in listed] == [name]
    pipelines.sm.delete_model_package(ModelPackageName=name)
    _, code, message = in_process.error(pipelines.sm.describe_model_package, ModelPackageName=name)
    assert (code, message) == (
        "ValidationException",
        f"ModelPackage arn:aws:sagemaker:us-east-1:123456789012:model-package/{name} does not exist.",
    )


def test_groups_are_deleted_when_empty(pipelines: Pipelines, group: str) -> None:
    name, version = pipelines.name("group"), register(pipelines)
    _, code, message = in_process.error(pipelines.sm.delete_model_package_group, ModelPackageGroupName=name)
    assert code == "ConflictException"
    assert "because it contains ModelPackages" in message
    pipelines.sm.delete_model_package(ModelPackageName=version)
    # A number is not given twice.
    assert register(pipelines).endswith("/2")
    pipelines.sm.delete_model_package(ModelPackageName=version.replace("/1", "/2"))
    pipelines.sm.delete_model_package_group(ModelPackageGroupName=name)
    _, code, message = in_process.error(pipelines.sm.describe_model_package_group, ModelPackageGroupName=name)
    assert (code, message) == ("ValidationException", f"ModelPackageGroup {group} does not exist.")


def test_a_groups_policy(pipelines: Pipelines, group: str) -> None:
    name = pipelines.name("group")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*"}]})
    pipelines.sm.put_model_package_group_policy(ModelPackageGroupName=name, ResourcePolicy=policy)
    assert pipelines.sm.get_model_package_group_policy(ModelPackageGroupName=name)["ResourcePolicy"] == policy
    pipelines.sm.delete_model_package_group_policy(ModelPackageGroupName=name)
    assert in_process.error(pipelines.sm.get_model_package_group_policy, ModelPackageGroupName=name) == (
        400,
        "ValidationException",
        f"Cannot find resource policy for: {group}",
    )
