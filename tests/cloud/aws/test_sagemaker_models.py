"""CreateModel and its likes: what is kept and shown, and what is refused with SageMaker's own words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine import Engine
from tests.cloud.aws import in_process
from tests.cloud.aws.sagemaker_world import DOUBLER, IMAGE, World, archive

UNTRUSTED = (
    'The execution role ARN "{role}" is invalid. Please ensure that the role exists and that its trust relationship '
    'policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com".'
)
PREFIX = "arn:aws:sagemaker:us-east-1:123456789012"


def create(world: World, name: str = "model", **more: Any) -> Any:
    request = {
        "ModelName": world.name(name),
        "ExecutionRoleArn": world.role,
        "PrimaryContainer": {"Image": IMAGE},
        **more,
    }
    return world.sm.create_model(**{key: value for key, value in request.items() if value is not None})


def refused(world: World, **more: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        create(world, **more)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 501)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_model_is_described_as_it_was_made(world: World, engine: Engine) -> None:
    url = world.upload("model.tar.gz", archive({"code/inference.py": DOUBLER}))
    before = engine.clock.now()
    made = create(
        world,
        "Churn",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url, "Environment": {"SAGEMAKER_PROGRAM": "serve.py"}},
        VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        Tags=[{"Key": "team", "Value": "risk"}],
    )
    assert made["ModelArn"] == f"{PREFIX}:model/{world.name('churn')}"

    shown = world.sm.describe_model(ModelName=world.name("Churn"))
    assert shown["ModelName"] == world.name("Churn")
    assert shown["ModelArn"] == made["ModelArn"]
    assert shown["ExecutionRoleArn"] == world.role
    assert shown["PrimaryContainer"] == {
        "Image": IMAGE,
        "Mode": "SingleModel",
        "ModelDataUrl": url,
        "ModelDataSource": {
            "S3DataSource": {"S3Uri": url, "S3DataType": "S3Object", "CompressionType": "Gzip"},
        },
        "Environment": {"SAGEMAKER_PROGRAM": "serve.py"},
    }
    assert shown["VpcConfig"] == {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    assert shown["EnableNetworkIsolation"] is False
    assert "Tags" not in shown
    assert timedelta(0) <= shown["CreationTime"] - before.replace(microsecond=0) < timedelta(minutes=1)


def test_one_container_may_stand_in_a_list(world: World) -> None:
    create(world, PrimaryContainer=None, Containers=[{"Image": IMAGE}])
    shown = world.sm.describe_model(ModelName=world.name("model"))
    assert shown["Containers"] == [{"Image": IMAGE, "Mode": "SingleModel"}]
    assert "PrimaryContainer" not in shown


def test_a_name_is_taken_whatever_its_case(world: World) -> None:
    create(world)
    assert refused(world, ModelName=world.name("MODEL")) == (
        "ValidationException",
        f'Cannot create already existing model "{PREFIX}:model/{world.name("model")}".',
    )


@pytest.mark.parametrize("operation", ["describe_model", "delete_model"])
def test_an_unknown_model(world: World, operation: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(world.sm, operation)(ModelName="No-Such-Model")
    assert caught.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": f'Could not find model "{PREFIX}:model/no-such-model".',
    }


def test_a_deleted_model_is_gone(world: World) -> None:
    create(world)
    world.sm.delete_model(ModelName=world.name("model"))
    assert world.sm.list_models(NameContains=world.prefix)["Models"] == []
    create(world)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"PrimaryContainer": None},
            "PrimaryContainer is missing: it names the image and the model data.",
        ),
        (
            {"Containers": [{"Image": IMAGE}]},
            "Use PrimaryContainer or Containers, not both.",
        ),
        ({"PrimaryContainer": {}}, "Image is missing: it names the container image of the model."),
        (
            {"PrimaryContainer": {"Image": "docker.io/library/python:3"}},
            'Using non-ECR image "docker.io/library/python:3" without Vpc repository access mode is not supported.',
        ),
        ({"ExecutionRoleArn": None}, "ExecutionRoleArn is missing: the container needs a role to run as."),
        (
            {"ExecutionRoleArn": "arn:aws:iam::210987654321:role/theirs"},
            "Cross-account pass role is not allowed.",
        ),
        (
            {"ExecutionRoleArn": "arn:aws:iam::123456789012:role/no-such-role"},
            UNTRUSTED.format(role="arn:aws:iam::123456789012:role/no-such-role"),
        ),
        (
            {"Tags": [{"Key": "aws:mine", "Value": ""}]},
            "The tag key aws:mine is reserved: keys that begin with aws: are for AWS to set.",
        ),
        ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}, "Duplicate tag key: a."),
        (
            {"PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "https://example.com/model.tar.gz"}},
            "https://example.com/model.tar.gz is no location in S3: write s3://bucket/key.",
        ),
    ],
)
def test_what_is_wrong_is_a_validation_exception(world: World, more: dict[str, Any], message: str) -> None:
    assert refused(world, **more) == ("ValidationException", message)
    assert world.sm.list_models(NameContains=world.prefix)["Models"] == []


def test_a_role_that_does_not_trust_sagemaker(world: World) -> None:
    trust = {
        "Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    }
    role = world.make_role("untrusting", {"Version": "2012-10-17", **trust})
    assert refused(world, ExecutionRoleArn=role) == ("ValidationException", UNTRUSTED.format(role=role))


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"PrimaryContainer": {"Image": IMAGE, "Mode": "MultiModel"}}, "multi-model endpoints (Mode MultiModel)"),
        (
            {"PrimaryContainer": None, "Containers": [{"Image": IMAGE}, {"Image": IMAGE}]},
            "inference pipelines (Containers with more than one)",
        ),
        ({"InferenceExecutionConfig": {"Mode": "Direct"}}, "InferenceExecutionConfig"),
        (
            {"PrimaryContainer": {"Image": IMAGE, "ImageConfig": {"RepositoryAccessMode": "Vpc"}}},
            "RepositoryAccessMode Vpc",
        ),
    ],
)
def test_what_is_not_served_refuses_by_its_name(world: World, more: dict[str, Any], names: str) -> None:
    code, message = refused(world, **more)
    assert code == "NotImplementedException"
    assert names in message


def test_botocores_constraints_are_told_in_aws_words(world: World) -> None:
    code, message = refused(world, ModelName="under_score")
    assert code == "ValidationException"
    assert message.startswith(
        "1 validation error detected: Value 'under_score' at 'modelName' failed to satisfy constraint"
    )


# -- model data ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["no-such-key.tar.gz", ""])
def test_model_data_that_is_not_there(world: World, key: str) -> None:
    url = f"s3://{world.bucket}/{key}"
    assert refused(world, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url}) == (
        "ValidationException",
        f"Could not find model data at {url}.",
    )


def test_a_bucket_that_is_not_there(world: World) -> None:
    url = "s3://no-such-bucket-at-all/model.tar.gz"
    _, message = refused(world, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url})
    assert message == f"Could not find model data at {url}."


def test_model_data_in_another_region(world: World, cloud: AwsCloud) -> None:
    url = world.upload("model.tar.gz", archive({}))
    elsewhere = in_process.client(cloud, "sagemaker", "eu-west-1")
    with pytest.raises(ClientError) as caught:
        elsewhere.create_model(
            ModelName="m", ExecutionRoleArn=world.role, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url}
        )
    message = caught.value.response["Error"]["Message"]
    assert message.startswith(f"Could not access model data at {url}. Please ensure that the role")
    assert "that the object is located in eu-west-1." in message


@pytest.mark.parametrize(
    "form", ["https://{bucket}.s3.us-east-1.amazonaws.com/{key}", "https://s3.us-east-1.amazonaws.com/{bucket}/{key}"]
)
def test_model_data_by_its_web_address(world: World, form: str) -> None:
    world.upload("a/model.tar.gz", archive({}))
    create(
        world, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": form.format(bucket=world.bucket, key="a/model.tar.gz")}
    )


def source(url: str, kind: str, compression: str, **more: Any) -> dict[str, Any]:
    data = {"S3Uri": url, "S3DataType": kind, "CompressionType": compression, **more}
    return {"Image": IMAGE, "ModelDataSource": {"S3DataSource": data}}


def test_model_data_sources(world: World) -> None:
    url = world.upload("plain/model.joblib", b"x")
    create(world, "one", PrimaryContainer=source(url, "S3Object", "None"))
    create(world, "all", PrimaryContainer=source(f"s3://{world.bucket}/plain/", "S3Prefix", "None"))
    _, message = refused(world, PrimaryContainer=source(f"s3://{world.bucket}/other/", "S3Prefix", "None"))
    assert message == f"Could not find model data at s3://{world.bucket}/other/."


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (source("s3://b/prefix", "S3Prefix", "None"), "names a prefix, so it has to end with a slash (/)."),
        (source("s3://b/prefix/", "S3Prefix", "Gzip"), "CompressionType Gzip needs S3DataType S3Object"),
        (source("s3://b/k", "S3Object", "Gzip", ManifestS3Uri="s3://b/m"), "do not serve ManifestS3Uri"),
        ({"Image": IMAGE, "ModelDataSource": {}}, "ModelDataSource is empty"),
        ({**source("s3://b/k", "S3Object", "Gzip"), "ModelDataUrl": "s3://b/k"}, "Use ModelDataUrl or ModelDataSource"),
    ],
)
def test_model_data_sources_that_are_wrong(world: World, container: dict[str, Any], message: str) -> None:
    assert message in refused(world, PrimaryContainer=container)[1]


def test_the_role_is_asked_for_the_object(world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.cloud.engine.errors import Denied

    url = world.upload("model.tar.gz", archive({}))
    authorize, asked = engine.access.authorize, []

    def deny(caller: Any, action: str, resource: str = "*", context: Any = None) -> Any:
        if "assumed-role" in caller.principal:
            asked.append((caller.principal, action, resource))
            raise Denied("no")
        return authorize(caller, action, resource, context)

    monkeypatch.setattr(engine.access, "authorize", deny)
    _, message = refused(world, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url})
    assert message.startswith(f"Could not access model data at {url}.")
    name = world.role.rpartition("/")[2]
    assert asked == [
        (
            f"arn:aws:sts::123456789012:assumed-role/{name}/SageMaker",
            "s3:GetObject",
            f"arn:aws:s3:::{world.bucket}/model.tar.gz",
        )
    ]


# -- lists ---------------------------------------------------------------------------------------------------------


def names(page: Any) -> list[str]:
    return [each["ModelName"] for each in page["Models"]]


def test_lists_come_newest_first_in_pages(world: World) -> None:
    made = [world.name(f"m{number:02}") for number in range(13)]
    for name in made:
        create(world, ModelName=name)
    first = world.sm.list_models(NameContains=world.prefix)
    assert names(first) == made[:2:-1]
    rest = world.sm.list_models(NameContains=world.prefix, NextToken=first["NextToken"])
    assert names(rest) == made[2::-1]
    assert "NextToken" not in rest

    by_name = {"NameContains": world.prefix, "SortBy": "Name", "SortOrder": "Ascending"}
    pages = world.sm.get_paginator("list_models").paginate(**by_name, PaginationConfig={"PageSize": 5})
    assert [name for page in pages for name in names(page)] == made


def test_a_page_goes_on_where_the_last_ended_whatever_was_deleted(world: World) -> None:
    for number in range(4):
        create(world, f"m{number}")
    first = world.sm.list_models(NameContains=world.prefix, SortBy="Name", SortOrder="Ascending", MaxResults=2)
    world.sm.delete_model(ModelName=world.name("m0"))
    world.sm.delete_model(ModelName=world.name("m1"))
    rest = world.sm.list_models(
        NameContains=world.prefix, SortBy="Name", SortOrder="Ascending", NextToken=first["NextToken"]
    )
    assert names(rest) == [world.name("m2"), world.name("m3")]


def test_lists_are_filtered(world: World, engine: Engine) -> None:
    create(world, "old")
    engine.clock.advance(timedelta(hours=1))
    between = engine.clock.now()
    engine.clock.advance(timedelta(hours=1))
    create(world, "new-XY")
    mine = {"NameContains": world.prefix}
    assert names(world.sm.list_models(**mine, CreationTimeAfter=between)) == [world.name("new-XY")]
    assert names(world.sm.list_models(**mine, CreationTimeBefore=between)) == [world.name("old")]
    assert names(world.sm.list_models(NameContains=f"{world.prefix}-new-xy")) == [world.name("new-XY")]


def test_a_token_that_is_none(world: World) -> None:
    with pytest.raises(ClientError, match="Invalid NextToken"):
        world.sm.list_models(NextToken="e30=")


# -- tags ----------------------------------------------------------------------------------------------------------


def test_tags_are_added_listed_and_deleted(world: World) -> None:
    arn = create(world, Tags=[{"Key": "team", "Value": "risk"}])["ModelArn"]
    added = world.sm.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "fraud"}, {"Key": "cost", "Value": "7"}])
    tags = [{"Key": "team", "Value": "fraud"}, {"Key": "cost", "Value": "7"}]
    assert added["Tags"] == tags
    assert world.sm.list_tags(ResourceArn=arn)["Tags"] == tags
    world.sm.delete_tags(ResourceArn=arn, TagKeys=["team", "unknown"])
    assert world.sm.list_tags(ResourceArn=arn)["Tags"] == tags[1:]


def test_a_resource_has_fifty_tags_at_most(world: World) -> None:
    arn = create(world, Tags=[{"Key": f"k{number}", "Value": ""} for number in range(50)])["ModelArn"]
    with pytest.raises(ClientError, match="A resource has 50 tags at most"):
        world.sm.add_tags(ResourceArn=arn, Tags=[{"Key": "one-more", "Value": ""}])
    assert len(world.sm.list_tags(ResourceArn=arn)["Tags"]) == 50


@pytest.mark.parametrize(
    ("arn", "code", "message"),
    [
        (f"{PREFIX}:endpoint/none", "ValidationException", f'Could not find endpoint "{PREFIX}:endpoint/none".'),
        (
            f"{PREFIX.replace('us-east-1', 'eu-west-1')}:model/m",
            "ValidationException",
            f'Could not find model "{PREFIX.replace("us-east-1", "eu-west-1")}:model/m".',
        ),
        (f"{PREFIX}:domain/p", "NotImplementedException", "do not serve tags of domain resources"),
    ],
)
def test_tags_of_what_is_not_there(world: World, arn: str, code: str, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        world.sm.list_tags(ResourceArn=arn)
    assert caught.value.response["Error"]["Code"] == code
    assert message in caught.value.response["Error"]["Message"]
