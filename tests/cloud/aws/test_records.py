"""What is left to moto, operation by operation: each allowed one does what its name says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine import Engine
from tests.cloud.aws.in_process import error

TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
TAGS = [{"Key": "team", "Value": "ml"}, {"Key": "cost", "Value": ""}]
ARN = "arn:aws:iam::123456789012:policy/p"
MANAGED = {"PolicyName": "p", "PolicyArn": ARN}


def document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture
def iam(client: Callable[[str], Any], cloud: AwsCloud) -> Any:
    """A user, a group, a role, an instance profile and a policy."""
    cloud.reset()
    iam = client("iam")
    iam.create_user(UserName="u")
    iam.create_group(GroupName="g")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=document(TRUST))
    iam.create_instance_profile(InstanceProfileName="i")
    iam.create_policy(PolicyName="p", PolicyDocument=document(READ))
    return iam


@pytest.mark.parametrize(("kind", "name"), [("User", "u"), ("Group", "g"), ("Role", "r")])
def test_policies_of_users_groups_and_roles(iam: Any, kind: str, name: str) -> None:
    word, named = kind.lower(), {f"{kind}Name": name}

    def call(operation: str, **arguments: Any) -> Any:
        return getattr(iam, operation)(**named, **arguments)

    call(f"attach_{word}_policy", PolicyArn=ARN)
    assert call(f"list_attached_{word}_policies")["AttachedPolicies"] == [MANAGED]
    found = iam.list_entities_for_policy(PolicyArn=ARN)[f"Policy{kind}s"]
    assert [each[f"{kind}Name"] for each in found] == [name]
    assert iam.get_policy(PolicyArn=ARN)["Policy"]["AttachmentCount"] == 1
    call(f"detach_{word}_policy", PolicyArn=ARN)
    assert call(f"list_attached_{word}_policies")["AttachedPolicies"] == []
    call(f"put_{word}_policy", PolicyName="own", PolicyDocument=document(READ))
    assert call(f"list_{word}_policies")["PolicyNames"] == ["own"]
    kept = call(f"get_{word}_policy", PolicyName="own")
    assert kept["PolicyDocument"]["Statement"] == [READ]
    call(f"delete_{word}_policy", PolicyName="own")
    assert call(f"list_{word}_policies")["PolicyNames"] == []
    gone = error(getattr(iam, f"get_{word}_policy"), **named, PolicyName="own")
    assert gone[:2] == (404, "NoSuchEntity")


def test_policies_listed_and_their_versions(iam: Any) -> None:
    (mine,) = iam.list_policies(Scope="Local")["Policies"]
    assert mine["Arn"] == ARN
    aws = {
        each["PolicyName"]
        for page in iam.get_paginator("list_policies").paginate(Scope="AWS")
        for each in page["Policies"]
    }
    assert {"AdministratorAccess", "AmazonSageMakerFullAccess", "AmazonS3ReadOnlyAccess"} <= aws
    iam.create_policy_version(PolicyArn=ARN, PolicyDocument=document({**READ, "Action": "s3:*"}))
    versions = iam.list_policy_versions(PolicyArn=ARN)["Versions"]
    assert {each["VersionId"]: each["IsDefaultVersion"] for each in versions} == {"v1": True, "v2": False}
    iam.set_default_policy_version(PolicyArn=ARN, VersionId="v2")
    assert iam.get_policy(PolicyArn=ARN)["Policy"]["DefaultVersionId"] == "v2"
    for _ in range(3):
        iam.create_policy_version(PolicyArn=ARN, PolicyDocument=document(READ))
    full = error(iam.create_policy_version, PolicyArn=ARN, PolicyDocument=document(READ))
    assert full[:2] == (409, "LimitExceeded")


def test_groups(iam: Any) -> None:
    assert [each["GroupName"] for each in iam.list_groups()["Groups"]] == ["g"]
    iam.add_user_to_group(GroupName="g", UserName="u")
    assert [each["GroupName"] for each in iam.list_groups_for_user(UserName="u")["Groups"]] == ["g"]
    iam.update_group(GroupName="g", NewGroupName="h", NewPath="/team/")
    assert iam.get_group(GroupName="h")["Group"]["Arn"] == "arn:aws:iam::123456789012:group/team/h"
    assert error(iam.get_group, GroupName="g")[:2] == (404, "NoSuchEntity")


def test_renaming_a_user(iam: Any) -> None:
    iam.update_user(UserName="u", NewUserName="v", NewPath="/team/")
    assert iam.get_user(UserName="v")["User"]["Arn"] == "arn:aws:iam::123456789012:user/team/v"


def test_changing_a_role(iam: Any) -> None:
    iam.update_role(RoleName="r", Description="new", MaxSessionDuration=7200)
    role = iam.get_role(RoleName="r")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("new", 7200)
    assert iam.update_role_description(RoleName="r", Description="newer")["Role"]["Description"] == "newer"
    changed = {**TRUST, "Principal": {"AWS": "123456789012"}}
    iam.update_assume_role_policy(RoleName="r", PolicyDocument=document(changed))
    assert iam.get_role(RoleName="r")["Role"]["AssumeRolePolicyDocument"]["Statement"] == [changed]


def test_instance_profiles(iam: Any) -> None:
    iam.add_role_to_instance_profile(InstanceProfileName="i", RoleName="r")
    (profile,) = iam.list_instance_profiles()["InstanceProfiles"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["r"]
    (profile,) = iam.list_instance_profiles_for_role(RoleName="r")["InstanceProfiles"]
    assert profile["InstanceProfileName"] == "i"
    must = "Cannot delete entity, must remove roles from instance profile first."
    assert error(iam.delete_instance_profile, InstanceProfileName="i") == (409, "DeleteConflict", must)
    iam.remove_role_from_instance_profile(InstanceProfileName="i", RoleName="r")
    assert iam.get_instance_profile(InstanceProfileName="i")["InstanceProfile"]["Roles"] == []
    iam.delete_instance_profile(InstanceProfileName="i")
    assert iam.list_instance_profiles()["InstanceProfiles"] == []


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("user", {"UserName": "u"}),
        ("role", {"RoleName": "r"}),
        ("policy", {"PolicyArn": ARN}),
    ],
)
def test_tags(iam: Any, kind: str, named: dict[str, str]) -> None:
    getattr(iam, f"tag_{kind}")(**named, Tags=TAGS)
    kept = getattr(iam, f"list_{kind}_tags")(**named)["Tags"]
    assert sorted(kept, key=TAGS.index) == TAGS
    getattr(iam, f"untag_{kind}")(**named, TagKeys=["cost"])
    assert getattr(iam, f"list_{kind}_tags")(**named)["Tags"] == TAGS[:1]


def test_the_accounts_alias(iam: Any) -> None:
    iam.create_account_alias(AccountAlias="my-lab")
    assert iam.list_account_aliases()["AccountAliases"] == ["my-lab"]
    iam.delete_account_alias(AccountAlias="my-lab")
    assert iam.list_account_aliases()["AccountAliases"] == []


# -- S3 ------------------------------------------------------------------------------------------------------------


def test_settings_of_a_bucket(client: Callable[[str], Any], cloud: AwsCloud) -> None:
    cloud.reset()
    s3, bucket = client("s3"), {"Bucket": "a-bucket"}
    s3.create_bucket(**bucket)
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration={"Rules": [rule]})
    s3.delete_bucket_lifecycle(**bucket)
    assert error(s3.get_bucket_lifecycle_configuration, **bucket)[1] == "NoSuchLifecycleConfiguration"
    aes = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}]}
    s3.put_bucket_encryption(**bucket, ServerSideEncryptionConfiguration=aes)
    assert s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"] == aes
    s3.delete_bucket_encryption(**bucket)
    assert not s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]["BucketKeyEnabled"]
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    s3.put_bucket_ownership_controls(**bucket, OwnershipControls=controls)
    assert s3.get_bucket_ownership_controls(**bucket)["OwnershipControls"] == controls
    s3.delete_bucket_ownership_controls(**bucket)
    assert error(s3.get_bucket_ownership_controls, **bucket)[:2] == (404, "OwnershipControlsNotFoundError")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a-bucket/*"}
    s3.put_bucket_policy(**bucket, Policy=document(statement))
    assert s3.get_bucket_policy_status(**bucket)["PolicyStatus"]["IsPublic"] is True


# -- ECR -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ecr(client: Callable[[str], Any], cloud: AwsCloud) -> Any:
    cloud.reset()
    ecr = client("ecr")
    ecr.create_repository(repositoryName="team/app")
    return ecr


ABSENT = "The repository with name 'no' does not exist in the registry with id '123456789012'"


def test_repositories(ecr: Any) -> None:
    exists = "The repository with name 'team/app' already exists in the registry with id '123456789012'"
    assert error(ecr.create_repository, repositoryName="team/app") == (400, "RepositoryAlreadyExistsException", exists)
    (repository,) = ecr.describe_repositories()["repositories"]
    assert repository["repositoryArn"] == "arn:aws:ecr:us-east-1:123456789012:repository/team/app"
    gone = (400, "RepositoryNotFoundException", ABSENT)
    assert error(ecr.describe_repositories, repositoryNames=["no"]) == gone
    assert error(ecr.list_images, repositoryName="no") == gone
    assert error(ecr.delete_repository, repositoryName="no") == gone
    ecr.delete_repository(repositoryName="team/app")
    assert ecr.describe_repositories()["repositories"] == []
    status, code, message = error(ecr.create_repository, repositoryName="Upper")
    assert (status, code) == (400, "InvalidParameterException")
    assert "repositoryName" in message


def test_there_are_no_images(ecr: Any) -> None:
    named = {"repositoryName": "team/app"}
    assert ecr.list_images(**named)["imageIds"] == []
    assert ecr.describe_images(**named)["imageDetails"] == []
    image = [{"imageTag": "latest"}]
    assert error(ecr.describe_images, **named, imageIds=image)[:2] == (400, "ImageNotFoundException")
    failure = ecr.batch_get_image(**named, imageIds=image)["failures"][0]
    assert (failure["failureCode"], failure["failureReason"]) == ("ImageNotFound", "Requested image not found")
    failure = ecr.batch_delete_image(**named, imageIds=image)["failures"][0]
    assert failure["failureCode"] == "ImageNotFound"
    refused = error(ecr.put_image, **named, imageManifest="{}")
    sentence = "The local clouds do not serve ecr:PutImage yet; see docs/fidelity.md."
    assert refused == (501, "NotImplementedException", sentence)


def test_settings_of_a_repository(ecr: Any) -> None:
    named = {"repositoryName": "team/app"}
    arn = "arn:aws:ecr:us-east-1:123456789012:repository/team/app"
    ecr.tag_resource(resourceArn=arn, tags=TAGS)
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == TAGS
    ecr.untag_resource(resourceArn=arn, tagKeys=["cost"])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == TAGS[:1]
    rule = {
        "rulePriority": 1,
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5},
        "action": {"type": "expire"},
    }
    ecr.put_lifecycle_policy(**named, lifecyclePolicyText=json.dumps({"rules": [rule]}))
    assert json.loads(ecr.get_lifecycle_policy(**named)["lifecyclePolicyText"]) == {"rules": [rule]}
    ecr.delete_lifecycle_policy(**named)
    assert error(ecr.get_lifecycle_policy, **named)[:2] == (400, "LifecyclePolicyNotFoundException")
    statement = {"Sid": "pull", "Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}
    ecr.set_repository_policy(**named, policyText=document(statement))
    assert json.loads(ecr.get_repository_policy(**named)["policyText"])["Statement"] == [statement]
    ecr.delete_repository_policy(**named)
    assert error(ecr.get_repository_policy, **named)[:2] == (400, "RepositoryPolicyNotFoundException")
    ecr.put_image_tag_mutability(**named, imageTagMutability="IMMUTABLE")
    ecr.put_image_scanning_configuration(**named, imageScanningConfiguration={"scanOnPush": True})
    (repository,) = ecr.describe_repositories(repositoryNames=["team/app"])["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
