"""S3's buckets through boto3: names, regions, what AWS sets in a new one, and settings that are only kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine import Engine
from tests.cloud.aws import in_process
from tests.cloud.aws.in_process import error


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def ireland(cloud: AwsCloud) -> Any:
    return in_process.client(cloud, "s3", "eu-west-1")


@pytest.fixture
def s3(client: Callable[[str], Any], cloud: AwsCloud) -> Any:
    cloud.reset()
    s3 = client("s3")
    s3.create_bucket(Bucket="a-bucket")
    return s3


@pytest.mark.parametrize(
    "name", ["Upper", "a..b", "192.168.1.1", "xn--abc", "end-", "a" * 64, "under_score", "x-s3alias"]
)
def test_names_that_no_bucket_may_have(s3: Any, name: str) -> None:
    assert error(s3.create_bucket, Bucket=name) == (400, "InvalidBucketName", "The specified bucket is not valid.")


def test_a_bucket_that_exists(s3: Any, ireland: Any) -> None:
    assert s3.create_bucket(Bucket="a-bucket")["Location"] == "/a-bucket"
    constraint = {"LocationConstraint": "eu-west-1"}
    made = ireland.create_bucket(Bucket="there", CreateBucketConfiguration=constraint)
    assert made["Location"] == "http://there.s3.amazonaws.com/"
    message = "Your previous request to create the named bucket succeeded and you already own it."
    again = error(ireland.create_bucket, Bucket="there", CreateBucketConfiguration=constraint)
    assert again == (409, "BucketAlreadyOwnedByYou", message)


def test_regions(s3: Any, ireland: Any) -> None:
    ireland.create_bucket(Bucket="there", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert s3.head_bucket(Bucket="there")["BucketRegion"] == "eu-west-1"
    assert s3.get_bucket_location(Bucket="there")["LocationConstraint"] == "eu-west-1"
    assert s3.get_bucket_location(Bucket="a-bucket")["LocationConstraint"] is None
    incompatible = " location constraint is incompatible for the region specific endpoint this request was sent to."
    assert error(ireland.create_bucket, Bucket="new") == (
        400,
        "IllegalLocationConstraintException",
        f"The unspecified{incompatible}",
    )
    elsewhere = {"LocationConstraint": "eu-west-2"}
    assert error(ireland.create_bucket, Bucket="new", CreateBucketConfiguration=elsewhere)[2].startswith(
        "The eu-west-2"
    )
    nowhere = {"LocationConstraint": "eu-moon-1"}
    wrong = error(s3.create_bucket, Bucket="new", CreateBucketConfiguration=nowhere)
    assert wrong == (400, "InvalidLocationConstraint", "The specified location-constraint is not valid")


def test_deleting(s3: Any) -> None:
    s3.put_object(Bucket="a-bucket", Key="k", Body=b"")
    assert error(s3.delete_bucket, Bucket="a-bucket") == (
        409,
        "BucketNotEmpty",
        "The bucket you tried to delete is not empty",
    )
    s3.put_bucket_versioning(Bucket="a-bucket", VersioningConfiguration={"Status": "Enabled"})
    s3.delete_object(Bucket="a-bucket", Key="k")
    assert error(s3.delete_bucket, Bucket="a-bucket")[2].endswith("You must delete all versions in the bucket.")
    for each in s3.list_object_versions(Bucket="a-bucket")["Versions"]:
        s3.delete_object(Bucket="a-bucket", Key="k", VersionId=each["VersionId"])
    for each in s3.list_object_versions(Bucket="a-bucket")["DeleteMarkers"]:
        s3.delete_object(Bucket="a-bucket", Key="k", VersionId=each["VersionId"])
    s3.delete_bucket(Bucket="a-bucket")
    assert error(s3.delete_bucket, Bucket="a-bucket")[:2] == (404, "NoSuchBucket")


def test_what_aws_sets_in_a_new_bucket(s3: Any) -> None:
    block = s3.get_public_access_block(Bucket="a-bucket")["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    rules = s3.get_bucket_encryption(Bucket="a-bucket")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules == [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
    ownership = s3.get_bucket_ownership_controls(Bucket="a-bucket")["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert "Status" not in s3.get_bucket_versioning(Bucket="a-bucket")
    assert [grant["Permission"] for grant in s3.get_bucket_acl(Bucket="a-bucket")["Grants"]] == ["FULL_CONTROL"]
    for get, code in (
        (s3.get_bucket_policy, "NoSuchBucketPolicy"),
        (s3.get_bucket_tagging, "NoSuchTagSet"),
        (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
    ):
        assert error(get, Bucket="a-bucket")[:2] == (404, code)


def test_settings_are_kept(s3: Any) -> None:
    block = {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": False,
    }
    s3.put_public_access_block(Bucket="a-bucket", PublicAccessBlockConfiguration=block)
    assert s3.get_public_access_block(Bucket="a-bucket")["PublicAccessBlockConfiguration"] == block
    s3.delete_public_access_block(Bucket="a-bucket")
    assert error(s3.get_public_access_block, Bucket="a-bucket")[:2] == (404, "NoSuchPublicAccessBlockConfiguration")
    tags = [{"Key": "team", "Value": "ml"}, {"Key": "b", "Value": ""}]
    s3.put_bucket_tagging(Bucket="a-bucket", Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket="a-bucket")["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket="a-bucket")
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket="a-bucket", LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(Bucket="a-bucket")["Rules"] == [rule]
    s3.put_object(Bucket="a-bucket", Key="k", Body=b"")
    s3.put_object_tagging(Bucket="a-bucket", Key="k", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket="a-bucket", Key="k")["TagSet"] == tags
    s3.delete_object_tagging(Bucket="a-bucket", Key="k")
    assert s3.get_object_tagging(Bucket="a-bucket", Key="k")["TagSet"] == []


def test_tags_that_are_refused(s3: Any) -> None:
    s3.put_object(Bucket="a-bucket", Key="k", Body=b"")
    twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    wanted = (400, "InvalidTag", "Cannot provide multiple Tags with the same key")
    assert error(s3.put_object_tagging, Bucket="a-bucket", Key="k", Tagging=twice) == wanted
    assert error(s3.put_bucket_tagging, Bucket="a-bucket", Tagging=twice) == wanted
    many = {"TagSet": [{"Key": str(number), "Value": ""} for number in range(11)]}
    wanted = (400, "BadRequest", "Object tags cannot be greater than 10")
    assert error(s3.put_object_tagging, Bucket="a-bucket", Key="k", Tagging=many) == wanted
    assert error(s3.put_object_tagging, Bucket="a-bucket", Key="no", Tagging={"TagSet": []})[:2] == (404, "NoSuchKey")


STATEMENT = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::a-bucket/*"}


def test_a_policy_is_kept_and_in_force(s3: Any) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})
    s3.put_bucket_policy(Bucket="a-bucket", Policy=policy)
    assert s3.get_bucket_policy(Bucket="a-bucket")["Policy"] == policy
    assert error(s3.put_object, Bucket="a-bucket", Key="k", Body=b"") == (
        403,
        "AccessDenied",
        (
            "User: arn:aws:iam::123456789012:user/learner is not authorized to perform: s3:PutObject on resource: "
            '"arn:aws:s3:::a-bucket/k" with an explicit deny in a resource-based policy'
        ),
    )
    s3.delete_bucket_policy(Bucket="a-bucket")
    assert error(s3.get_bucket_policy, Bucket="a-bucket")[:2] == (404, "NoSuchBucketPolicy")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ({**STATEMENT, "Effect": "Maybe"}, "Invalid effect: Maybe"),
        ({k: v for k, v in STATEMENT.items() if k != "Principal"}, "Missing required field Principal"),
        ({**STATEMENT, "Action": "ec2:RunInstances"}, "Policy has invalid action"),
        ({**STATEMENT, "Resource": "arn:aws:s3:::another/*"}, "Policy has invalid resource"),
        (None, "Missing required field Statement"),
    ],
)
def test_malformed_policies(s3: Any, statement: dict[str, Any] | None, message: str) -> None:
    policy = json.dumps({"Version": "2012-10-17", **({"Statement": [statement]} if statement else {})})
    assert error(s3.put_bucket_policy, Bucket="a-bucket", Policy=policy) == (400, "MalformedPolicy", message)


def test_a_policy_that_is_no_json(s3: Any) -> None:
    wanted = (400, "MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
    assert error(s3.put_bucket_policy, Bucket="a-bucket", Policy="{") == wanted


def test_what_is_refused(s3: Any) -> None:
    kms = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    wrong = error(s3.put_bucket_encryption, Bucket="a-bucket", ServerSideEncryptionConfiguration=kms)
    assert wrong[:2] == (501, "NotImplemented")
    wrong = error(s3.put_bucket_website, Bucket="a-bucket", WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})
    assert wrong == (
        501,
        "NotImplemented",
        "The local clouds do not serve s3:PutBucketWebsite yet; see docs/fidelity.md.",
    )
    assert error(s3.create_bucket, Bucket="locked", ObjectLockEnabledForBucket=True)[:2] == (501, "NotImplemented")
    wrong = error(s3.put_bucket_versioning, Bucket="a-bucket", VersioningConfiguration={"Status": "Maybe"})
    assert wrong[:2] == (400, "MalformedXML")
    assert error(s3.get_object, Bucket="a-bucket", Key="k", ExpectedBucketOwner="111111111111") == (
        403,
        "AccessDenied",
        "Access Denied",
    )
