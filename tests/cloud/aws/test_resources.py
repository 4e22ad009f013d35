"""What a call must be allowed to do: actions and ARNs as the service authorization reference names them."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cloud.aws.resources import is_read_only, needs

BUCKET, OBJECT = "arn:aws:s3:::b", "arn:aws:s3:::b/k"
IAM = "arn:aws:iam::123456789012:"
SAGEMAKER = "arn:aws:sagemaker:eu-west-1:123456789012:"
LOG = "arn:aws:logs:eu-west-1:123456789012:log-group:/g:log-stream:"
AT_KEY = {"Bucket": "b", "Key": "k"}


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "wanted"),
    [
        ("s3", "ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
        ("s3", "CreateBucket", {"Bucket": "b"}, [("s3:CreateBucket", BUCKET)]),
        ("s3", "HeadBucket", {"Bucket": "b"}, [("s3:ListBucket", BUCKET)]),
        ("s3", "ListObjectsV2", {"Bucket": "b"}, [("s3:ListBucket", BUCKET)]),
        ("s3", "GetObject", AT_KEY, [("s3:GetObject", OBJECT)]),
        ("s3", "HeadObject", {**AT_KEY, "VersionId": "v"}, [("s3:GetObjectVersion", OBJECT)]),
        ("s3", "GetObjectTagging", {**AT_KEY, "VersionId": "v"}, [("s3:GetObjectVersionTagging", OBJECT)]),
        ("s3", "DeleteObject", {**AT_KEY, "VersionId": "v"}, [("s3:DeleteObjectVersion", OBJECT)]),
        ("s3", "PutObject", {**AT_KEY, "VersionId": ""}, [("s3:PutObject", OBJECT)]),
        (
            "s3",
            "PutObject",
            {**AT_KEY, "Tagging": "a=b"},
            [("s3:PutObject", OBJECT), ("s3:PutObjectTagging", OBJECT)],
        ),
        ("s3", "UploadPart", AT_KEY, [("s3:PutObject", OBJECT)]),
        ("s3", "ListParts", AT_KEY, [("s3:ListMultipartUploadParts", OBJECT)]),
        (
            "s3",
            "CopyObject",
            {**AT_KEY, "CopySource": "other/a%20b"},
            [("s3:PutObject", OBJECT), ("s3:GetObject", "arn:aws:s3:::other/a b")],
        ),
        (
            "s3",
            "CopyObject",
            {**AT_KEY, "CopySource": "/other/a?versionId=v"},
            [("s3:PutObject", OBJECT), ("s3:GetObjectVersion", "arn:aws:s3:::other/a")],
        ),
        (
            "s3",
            "DeleteObjects",
            {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}, {"Key": "l", "VersionId": "v"}]}},
            [],  # each object when its turn comes
        ),
        ("s3", "PutBucketEncryption", {"Bucket": "b"}, [("s3:PutEncryptionConfiguration", BUCKET)]),
        ("s3", "GetBucketPolicy", {"Bucket": "b"}, [("s3:GetBucketPolicy", BUCKET)]),
        ("iam", "ListUsers", {}, [("iam:ListUsers", "*")]),
        ("iam", "CreateUser", {"UserName": "u", "Path": "/team/"}, [("iam:CreateUser", f"{IAM}user/team/u")]),
        ("iam", "GetRole", {"RoleName": "with-path"}, [("iam:GetRole", f"{IAM}role/a/with-path")]),
        ("iam", "CreatePolicy", {"PolicyName": "p"}, [("iam:CreatePolicy", f"{IAM}policy/p")]),
        (
            "iam",
            "CreatePolicyVersion",
            {"PolicyArn": f"{IAM}policy/p"},
            [("iam:CreatePolicyVersion", f"{IAM}policy/p")],
        ),
        (
            "iam",
            "AttachRolePolicy",
            {"RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/X"},
            [("iam:AttachRolePolicy", f"{IAM}role/r")],
        ),
        ("iam", "PutUserPolicy", {"UserName": "u", "PolicyName": "p"}, [("iam:PutUserPolicy", f"{IAM}user/u")]),
        ("iam", "AddUserToGroup", {"UserName": "u", "GroupName": "g"}, [("iam:AddUserToGroup", f"{IAM}group/g")]),
        (
            "iam",
            "AddRoleToInstanceProfile",
            {"InstanceProfileName": "i", "RoleName": "r"},
            [("iam:AddRoleToInstanceProfile", f"{IAM}instance-profile/i"), ("iam:PassRole", f"{IAM}role/r")],
        ),
        ("sts", "GetCallerIdentity", {}, [("sts:GetCallerIdentity", "*")]),
        ("sts", "AssumeRole", {"RoleArn": f"{IAM}role/r"}, [("sts:AssumeRole", f"{IAM}role/r")]),
        ("sagemaker", "ListEndpoints", {}, [("sagemaker:ListEndpoints", "*")]),
        (
            "sagemaker",
            "CreateModel",
            {"ModelName": "M", "ExecutionRoleArn": f"{IAM}role/r"},
            [("sagemaker:CreateModel", f"{SAGEMAKER}model/m"), ("iam:PassRole", f"{IAM}role/r")],
        ),
        (
            "sagemaker",
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": [{"ModelName": "M"}]},
            [
                ("sagemaker:CreateEndpointConfig", f"{SAGEMAKER}endpoint-config/c"),
                ("sagemaker:CreateEndpointConfig", f"{SAGEMAKER}model/m"),
            ],
        ),
        (
            "sagemaker",
            "UpdateEndpoint",
            {"EndpointName": "E", "EndpointConfigName": "c"},
            [
                ("sagemaker:UpdateEndpoint", f"{SAGEMAKER}endpoint/e"),
                ("sagemaker:UpdateEndpoint", f"{SAGEMAKER}endpoint-config/c"),
            ],
        ),
        (
            "sagemaker",
            "AddTags",
            {"ResourceArn": f"{SAGEMAKER}model/m"},
            [("sagemaker:AddTags", f"{SAGEMAKER}model/m")],
        ),
        (
            "sagemaker-runtime",
            "InvokeEndpoint",
            {"EndpointName": "E"},
            [("sagemaker:InvokeEndpoint", f"{SAGEMAKER}endpoint/e")],
        ),
        ("logs", "DescribeLogGroups", {}, [("logs:DescribeLogGroups", "*")]),
        ("logs", "CreateLogGroup", {"logGroupName": "/g"}, [("logs:CreateLogGroup", LOG)]),
        ("logs", "PutLogEvents", {"logGroupName": "/g", "logStreamName": "s"}, [("logs:PutLogEvents", f"{LOG}s")]),
        ("cloudwatch", "PutMetricData", {"Namespace": "n"}, [("cloudwatch:PutMetricData", "*")]),
        ("ecr", "GetAuthorizationToken", {}, [("ecr:GetAuthorizationToken", "*")]),
        (
            "ecr",
            "DescribeImages",
            {"repositoryName": "r"},
            [("ecr:DescribeImages", "arn:aws:ecr:eu-west-1:123456789012:repository/r")],
        ),
    ],
)
def test_needs(service: str, operation: str, parameters: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    def iam_arn(kind: str, name: str) -> str | None:
        return f"{IAM}role/a/with-path" if (kind, name) == ("role", "with-path") else None

    found = needs(service, operation, parameters, "123456789012", "eu-west-1", iam_arn)
    assert [(each.action, each.resource) for each in found] == wanted


@pytest.mark.parametrize("operation", ["GetObject", "ListBuckets", "DescribeEndpoint", "HeadObject", "FilterLogEvents"])
def test_reads(operation: str) -> None:
    assert is_read_only(operation)


@pytest.mark.parametrize("operation", ["PutObject", "CreateModel", "InvokeEndpoint", "AssumeRole", "DeleteUser"])
def test_writes(operation: str) -> None:
    assert not is_read_only(operation)
