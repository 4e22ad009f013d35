"""What an operation needs permission for: its IAM action and the ARN of what it touches.

Named as the service authorization reference names them, since policies will be asked about these pairs:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from labkit.cloud.aws import event_resources

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call


class Need(NamedTuple):
    """One thing to be allowed: an action, the ARN that it is about, and condition keys of this need alone."""

    action: str
    resource: str
    keys: Mapping[str, Any] = MappingProxyType({})


_OBJECT, _BUCKET, _ALL = "object", "bucket", "all"
#: S3 operation -> (action, what it is asked about). Others are asked about the bucket, under their own name.
S3_ACTIONS: dict[str, tuple[str, str]] = {
    "AbortMultipartUpload": ("AbortMultipartUpload", _OBJECT),
    "CompleteMultipartUpload": ("PutObject", _OBJECT),
    "CopyObject": ("PutObject", _OBJECT),
    "CreateMultipartUpload": ("PutObject", _OBJECT),
    "DeleteBucketCors": ("PutBucketCORS", _BUCKET),
    "DeleteBucketEncryption": ("PutEncryptionConfiguration", _BUCKET),
    "DeleteBucketLifecycle": ("PutLifecycleConfiguration", _BUCKET),
    "DeleteBucketOwnershipControls": ("PutBucketOwnershipControls", _BUCKET),
    "DeleteBucketTagging": ("PutBucketTagging", _BUCKET),
    "DeleteObject": ("DeleteObject", _OBJECT),
    "DeleteObjectTagging": ("DeleteObjectTagging", _OBJECT),
    "DeletePublicAccessBlock": ("PutBucketPublicAccessBlock", _BUCKET),
    "GetBucketCors": ("GetBucketCORS", _BUCKET),
    "GetBucketEncryption": ("GetEncryptionConfiguration", _BUCKET),
    "GetBucketLifecycleConfiguration": ("GetLifecycleConfiguration", _BUCKET),
    "GetBucketNotificationConfiguration": ("GetBucketNotification", _BUCKET),
    "GetObject": ("GetObject", _OBJECT),
    "GetObjectAcl": ("GetObjectAcl", _OBJECT),
    "GetObjectAttributes": ("GetObjectAttributes", _OBJECT),
    "GetObjectTagging": ("GetObjectTagging", _OBJECT),
    "GetPublicAccessBlock": ("GetBucketPublicAccessBlock", _BUCKET),
    "HeadBucket": ("ListBucket", _BUCKET),
    "HeadObject": ("GetObject", _OBJECT),
    "ListBuckets": ("ListAllMyBuckets", _ALL),
    "ListMultipartUploads": ("ListBucketMultipartUploads", _BUCKET),
    "ListObjectVersions": ("ListBucketVersions", _BUCKET),
    "ListObjects": ("ListBucket", _BUCKET),
    "ListObjectsV2": ("ListBucket", _BUCKET),
    "ListParts": ("ListMultipartUploadParts", _OBJECT),
    "PutBucketCors": ("PutBucketCORS", _BUCKET),
    "PutBucketEncryption": ("PutEncryptionConfiguration", _BUCKET),
    "PutBucketLifecycleConfiguration": ("PutLifecycleConfiguration", _BUCKET),
    "PutBucketNotificationConfiguration": ("PutBucketNotification", _BUCKET),
    "PutObject": ("PutObject", _OBJECT),
    "PutObjectAcl": ("PutObjectAcl", _OBJECT),
    "PutObjectTagging": ("PutObjectTagging", _OBJECT),
    "PutPublicAccessBlock": ("PutBucketPublicAccessBlock", _BUCKET),
    "UploadPart": ("PutObject", _OBJECT),
    "UploadPartCopy": ("PutObject", _OBJECT),
}
_VERSIONED = frozenset(
    (
        "DeleteObject",
        "DeleteObjectTagging",
        "GetObject",
        "GetObjectAcl",
        "GetObjectAttributes",
        "GetObjectTagging",
        "PutObjectTagging",
    )
)

#: SageMaker parameter -> type of resource in the ARN.
_SAGEMAKER = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
}
#: IAM parameter -> type of resource in the ARN, the subject of an operation first.
_IAM = {
    "PolicyArn": "",
    "InstanceProfileName": "instance-profile",
    "RoleName": "role",
    "UserName": "user",
    "GroupName": "group",
    "PolicyName": "policy",
}
_READS = ("Get", "List", "Describe", "Head", "Filter", "Search", "BatchGet", "Query", "Simulate", "Lookup")


def is_read_only(operation: str) -> bool:
    """Whether an operation changes nothing, judged by its verb as CloudTrail judges it."""
    return operation.startswith(_READS)


#: Service -> the service principal that a role is passed to.
_PASSED_TO = {
    "ecs": "ecs-tasks.amazonaws.com",
    "events": "events.amazonaws.com",
    "lambda": "lambda.amazonaws.com",
    "sagemaker": "sagemaker.amazonaws.com",
    "scheduler": "scheduler.amazonaws.com",
}


def of_call(call: Call, parameters: Mapping[str, Any]) -> list[Need]:
    """Everything that a call must be allowed to do, its own action first, with the condition keys that go with it."""
    from labkit.cloud.aws.front import own

    arn_of = call.cloud.identities.arn_of
    if finder := getattr(own(call.service), "needs", None):
        found = finder(call, parameters)
    else:
        found = needs(call.service, call.operation, parameters, call.account, call.region, arn_of)
    listed = [Need(*each) for each in found]
    passed_to = _PASSED_TO.get(call.service)
    own_action = listed[0].resource if listed else "*"
    return [
        each._replace(keys={"iam:PassedToService": passed_to, "iam:AssociatedResourceArn": own_action, **each.keys})
        if each.action == "iam:PassRole" and passed_to
        else each
        for each in listed
    ]


def needs(
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    account: str,
    region: str,
    iam_arn: Callable[[str, str], str | None] = lambda kind, name: None,
) -> list[Need]:
    """Everything that a call must be allowed to do, its own action first.

    ``iam_arn(kind, name)`` gives the ARN of an existing user, role, group or instance profile: only IAM knows its path.
    """
    if service == "s3":
        return _s3(operation, parameters)
    if service == "iam":
        return _iam(operation, parameters, account, iam_arn)
    if service == "sts":
        return _sts(operation, parameters, account)
    if service in ("sagemaker", "sagemaker-runtime"):
        return _sagemaker(operation, parameters, account, region)
    if service == "logs":
        return [Need(f"logs:{operation}", _log_group(parameters, account, region))]
    if service == "ecr":
        name = parameters.get("repositoryName") or (parameters.get("repositoryNames") or [""])[0]
        arn = parameters.get("resourceArn") or (f"arn:aws:ecr:{region}:{account}:repository/{name}" if name else "*")
        return [Need(f"ecr:{operation}", str(arn))]
    if of_service := event_resources.NEEDS.get(service):
        return [Need(*each) for each in of_service(operation, parameters, f"arn:aws:{service}:{region}:{account}")]
    return [Need(f"{service}:{operation}", str(parameters.get("ResourceARN", "*")))]


def _sts(operation: str, parameters: Mapping[str, Any], account: str) -> list[Need]:
    resource = str(parameters.get("RoleArn", "*"))
    if operation == "GetFederationToken":
        resource = f"arn:aws:sts::{account}:federated-user/{parameters.get('Name', '')}"
    result = [Need(f"sts:{operation}", resource)]
    if parameters.get("Tags"):
        result.append(Need("sts:TagSession", resource))
    if parameters.get("SourceIdentity"):
        result.append(Need("sts:SetSourceIdentity", resource))
    return result


def _s3(operation: str, parameters: Mapping[str, Any]) -> list[Need]:
    bucket, key = parameters.get("Bucket", ""), parameters.get("Key", "")
    arns = {_ALL: "*", _BUCKET: f"arn:aws:s3:::{bucket}", _OBJECT: f"arn:aws:s3:::{bucket}/{key}"}
    if operation == "DeleteObjects":
        # Each object is asked about when its turn comes: the others are deleted all the same.
        return []
    action, level = S3_ACTIONS.get(operation, (operation, _BUCKET))
    if parameters.get("VersionId") and action in _VERSIONED:
        action = action.replace("Object", "ObjectVersion")
    result = [Need(f"s3:{action}", arns[level])]
    if parameters.get("Tagging") and action == "PutObject":
        result.append(Need("s3:PutObjectTagging", arns[_OBJECT]))
    if parameters.get("ACL") and action == "PutObject":
        result.append(Need("s3:PutObjectAcl", arns[_OBJECT]))
    if source := parameters.get("CopySource"):
        path, _, version = str(source).partition("?versionId=")
        result.append(
            Need("s3:GetObjectVersion" if version else "s3:GetObject", f"arn:aws:s3:::{unquote(path).lstrip('/')}")
        )
    return result


def _iam(
    operation: str, parameters: Mapping[str, Any], account: str, iam_arn: Callable[[str, str], str | None]
) -> list[Need]:
    def arn(kind: str, name: str) -> str:
        path = parameters.get("Path", "/")
        return iam_arn(kind, name) or f"arn:aws:iam::{account}:{kind}{path}{name}"

    action, subject = f"iam:{operation}", "*"
    for parameter, kind in _IAM.items():
        name = parameters.get(parameter)
        # Attaching is asked about the user, role or group, and membership about the group.
        if (
            not name
            or (parameter == "PolicyArn" and operation.startswith(("Attach", "Detach")))
            or (parameter == "UserName" and operation in ("AddUserToGroup", "RemoveUserFromGroup"))
        ):
            continue
        subject = str(name) if parameter == "PolicyArn" else arn(kind, str(name))
        break
    needs = [Need(action, subject)]
    if operation == "AddRoleToInstanceProfile":
        passed = Need("iam:PassRole", arn("role", parameters["RoleName"]), {"iam:PassedToService": "ec2.amazonaws.com"})
        needs.append(passed)
    if operation.startswith("Create") and parameters.get("Tags"):
        needs.append(Need(f"iam:Tag{operation.removeprefix('Create')}", subject))
    return needs


def tagging(operation: str, parameters: Mapping[str, Any], resource: str) -> list[Need]:
    """What it takes beside to give a resource of SageMaker's its tags as it is made."""
    if not operation.startswith("Create") or not parameters.get("Tags"):
        return []
    return [Need("sagemaker:AddTags", resource, {"sagemaker:TaggingAction": operation})]


def _sagemaker(operation: str, parameters: Mapping[str, Any], account: str, region: str) -> list[Need]:
    action = f"sagemaker:{operation}"
    if arn := parameters.get("ResourceArn"):
        return [Need(action, str(arn))]
    prefix = f"arn:aws:sagemaker:{region}:{account}"
    named = [
        Need(action, f"{prefix}:{kind}/{str(parameters[name]).lower()}")
        for name, kind in _SAGEMAKER.items()
        if parameters.get(name)
    ]
    if operation == "CreateEndpointConfig":
        variants = parameters.get("ProductionVariants", [])
        named += [
            Need(action, f"{prefix}:model/{each['ModelName'].lower()}") for each in variants if each.get("ModelName")
        ]
    result = named or [Need(action, "*")]
    result += tagging(operation, parameters, result[0].resource)
    if role := parameters.get("ExecutionRoleArn") or parameters.get("RoleArn"):
        result.append(Need("iam:PassRole", str(role)))
    return result


def _log_group(parameters: Mapping[str, Any], account: str, region: str) -> str:
    """A log group's or stream's ARN. CloudWatch Logs asks about a group as ``...:log-group:NAME:log-stream:``."""
    arn = str(parameters.get("resourceArn") or parameters.get("logGroupIdentifier") or "")
    if arn.startswith("arn:"):
        return arn
    name = (
        parameters.get("logGroupName") or parameters.get("logGroupIdentifier") or parameters.get("logGroupNamePrefix")
    )
    if not name:
        return "*"
    return f"arn:aws:logs:{region}:{account}:log-group:{name}:log-stream:{parameters.get('logStreamName', '')}"
