"""Policies that ask about tags, through boto3: each service's resources have theirs, each request its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud.aws.event_world import EventWorld, arn, policy
from tests.cloud.aws.sagemaker_world import World

RED = {"StringEquals": {"aws:ResourceTag/team": "red"}}
PAIRS = [{"Key": "team", "Value": "red"}]

ARN = str


def _queue(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    url = events.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    events.client("sqs").tag_queue(QueueUrl=url, Tags={"team": "red"})
    return "sqs", {"get_queue_attributes": {"QueueUrl": url}}


def _topic(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    topic = events.client("sns").create_topic(Name=name, Tags=PAIRS)["TopicArn"]
    return "sns", {"get_topic_attributes": {"TopicArn": topic}}


def _rule(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    events.client("events").put_rule(Name=name, ScheduleExpression="rate(1 day)", State="DISABLED", Tags=PAIRS)
    return "events", {"describe_rule": {"Name": name}}


def _rule_of_a_bus(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    client = events.client("events")
    client.create_event_bus(Name=name)
    client.put_rule(Name=name, EventBusName=name, EventPattern='{"source": ["x"]}', Tags=PAIRS)
    return "events", {"describe_rule": {"Name": name, "EventBusName": name}}


def _bus(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    events.client("events").create_event_bus(Name=name, Tags=PAIRS)
    return "events", {"describe_event_bus": {"Name": name}}


def _schedules(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    events.client("scheduler").create_schedule_group(Name=name, Tags=PAIRS)
    return "scheduler", {"get_schedule_group": {"Name": name}}


def _log_group(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    events.client("logs").create_log_group(logGroupName=name, tags={"team": "red"})
    return "logs", {"describe_log_streams": {"logGroupName": name}}


def _function(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    made = events.function("def handler(event, context): pass", Tags={"team": "red"})
    return "lambda", {"get_function": {"FunctionName": made}}


def _repository(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    events.client("ecr").create_repository(repositoryName=name, tags=PAIRS)
    return "ecr", {"describe_images": {"repositoryName": name}}


def _role(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    events.client("iam").tag_role(RoleName=events.role("x.amazonaws.com").rpartition("/")[2], Tags=PAIRS)
    return "iam", {"get_role": {"RoleName": f"{events.name}-role"}}


def _package_version(events: EventWorld, name: str) -> tuple[ARN, Mapping[str, Any]]:
    client = events.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName=name, Tags=PAIRS)
    source = {"ModelPackageGroupName": name, "SourceUri": arn("sagemaker", "model/none")}
    version = client.create_model_package(**source)["ModelPackageArn"]
    return "sagemaker", {
        "describe_model_package_group": {"ModelPackageGroupName": name},
        "describe_model_package": {"ModelPackageName": version},
    }


MAKERS = [
    _queue,
    _topic,
    _rule,
    _rule_of_a_bus,
    _bus,
    _schedules,
    _log_group,
    _function,
    _repository,
    _role,
    _package_version,
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__.strip("_"))
def test_what_may_be_done_to_resources_with_a_tag(
    events: EventWorld, make: Callable[[EventWorld, str], tuple[str, Mapping[str, Any]]]
) -> None:
    service, calls = make(events, f"{events.name}-tagged")
    red = events.user(service, {"Action": "*", "Resource": "*", "Condition": RED}, name="red")
    other = {"StringNotEquals": {"aws:ResourceTag/team": "red"}}
    blue = events.user(service, {"Action": "*", "Resource": "*", "Condition": other}, name="blue")
    for call, arguments in calls.items():
        getattr(red, call)(**arguments)
        with pytest.raises(ClientError, match="not authorized to perform"):
            getattr(blue, call)(**arguments)


def test_tags_that_a_request_has_to_give(events: EventWorld) -> None:
    asked = {
        "StringEquals": {"aws:RequestTag/team": "red"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost"]},
    }
    may = {"Action": ["sagemaker:Create*", "sagemaker:AddTags"], "Resource": "*", "Condition": asked}
    client, name = events.user("sagemaker", may), f"{events.name}-group"
    cost = {"Key": "cost", "Value": "1"}
    for tags in ([], [cost], [{"Key": "team", "Value": "blue"}], [*PAIRS, {"Key": "mine", "Value": "1"}]):
        with pytest.raises(ClientError, match="sagemaker:CreateModelPackageGroup on resource"):
            client.create_model_package_group(ModelPackageGroupName=name, Tags=tags)
    client.create_model_package_group(ModelPackageGroupName=name, Tags=[*PAIRS, cost])


def test_tagging_while_creating_needs_leave_of_its_own(events: EventWorld) -> None:
    client = events.user("sagemaker", {"Action": "sagemaker:Create*", "Resource": "*"})
    name = f"{events.name}-group"
    with pytest.raises(ClientError, match=r"sagemaker:AddTags on resource: .*:model-package-group/"):
        client.create_model_package_group(ModelPackageGroupName=name, Tags=PAIRS)
    only = {"Null": {"sagemaker:TaggingAction": "false"}}
    tagging = {"Action": "sagemaker:AddTags", "Resource": "*", "Condition": only}
    document = policy({"Action": "sagemaker:Create*", "Resource": "*"}, tagging)
    user = events.client("iam").get_user(UserName=f"{events.name}-user")["User"]["UserName"]
    events.client("iam").put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=document)
    made = client.create_model_package_group(ModelPackageGroupName=name, Tags=PAIRS)["ModelPackageGroupArn"]
    with pytest.raises(ClientError, match="sagemaker:AddTags"):
        client.add_tags(ResourceArn=made, Tags=[{"Key": "more", "Value": "1"}])


def test_who_may_approve(events: EventWorld) -> None:
    name = f"{events.name}-group"
    _package_version(events, name)
    version = arn("sagemaker", f"model-package/{name}/1")
    rejecting = {"StringNotEquals": {"sagemaker:ModelApprovalStatus": "Approved"}}
    client = events.user("sagemaker", {"Action": "sagemaker:Update*", "Resource": "*", "Condition": rejecting})
    client.update_model_package(ModelPackageArn=version, ModelApprovalStatus="Rejected")
    with pytest.raises(ClientError, match="sagemaker:UpdateModelPackage"):
        client.update_model_package(ModelPackageArn=version, ModelApprovalStatus="Approved")


def test_models_that_a_configuration_may_name(world: World, events: EventWorld) -> None:
    model = world.model("m")
    only = {"ForAllValues:ArnLike": {"sagemaker:ModelArn": arn("sagemaker", f"model/{model.lower()}")}}
    client = events.user("sagemaker", {"Action": "sagemaker:*", "Resource": "*", "Condition": only})
    variant = {"VariantName": "a", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    given = {"ProductionVariants": [{**variant, "ModelName": model}]}
    client.create_endpoint_config(EndpointConfigName=f"{world.prefix}-mine", **given)
    with pytest.raises(ClientError, match="sagemaker:CreateEndpointConfig"):
        client.create_endpoint_config(
            EndpointConfigName=f"{world.prefix}-other", ProductionVariants=[{**variant, "ModelName": "another"}]
        )


def test_a_key_of_what_is_not_served_is_refused_by_name(events: EventWorld) -> None:
    asked = {"StringEquals": {"sagemaker:RootAccess": "Disabled"}}
    client = events.user("sagemaker", {"Action": "sagemaker:*", "Resource": "*", "Condition": asked})
    with pytest.raises(ClientError, match="the condition key sagemaker:RootAccess"):
        client.list_models()
