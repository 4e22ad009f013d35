"""The operations of moto that may answer: an allow-list per service. What is not here refuses.

``works`` does what AWS documents; ``shape`` keeps a record whose record is its whole effect here. moto's SageMaker,
CloudWatch, CloudWatch Logs and STS are not reachable: the kit has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["works", "shape"]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far an operation is served, and what of it is not."""

    level: Level
    note: str = ""


def _works(names: str, note: str = "") -> dict[str, Fidelity]:
    return {name: Fidelity("works", note) for name in names.split()}


def _shape(names: str, note: str = "") -> dict[str, Fidelity]:
    return {name: Fidelity("shape", note) for name in names.split()}


ALLOWED: dict[str, dict[str, Fidelity]] = {
    "s3": {
        **_works(
            "AbortMultipartUpload CompleteMultipartUpload CopyObject CreateBucket CreateMultipartUpload DeleteBucket"
            " DeleteObject DeleteObjects GetBucketLocation GetBucketVersioning GetObject GetObjectAttributes HeadBucket"
            " HeadObject ListBuckets ListMultipartUploads ListObjectVersions ListObjects ListObjectsV2 ListParts"
            " PutBucketVersioning PutObject UploadPart UploadPartCopy"
        ),
        **_shape(
            "DeleteBucketTagging DeleteObjectTagging GetBucketTagging GetObjectTagging PutBucketTagging PutObjectTagging",
        ),
        **_shape(
            "DeleteBucketLifecycle GetBucketLifecycleConfiguration PutBucketLifecycleConfiguration",
            "the rules are kept; no object expires or moves",
        ),
        **_shape(
            "DeleteBucketEncryption GetBucketEncryption PutBucketEncryption",
            "the setting is kept; nothing is encrypted",
        ),
        **_shape(
            "DeleteBucketPolicy GetBucketPolicy GetBucketPolicyStatus PutBucketPolicy",
            "the policy is kept; it is not enforced yet",
        ),
        **_shape(
            "DeletePublicAccessBlock GetPublicAccessBlock PutPublicAccessBlock",
            "the setting is kept; requests without a signature are refused in any case",
        ),
        **_shape("DeleteBucketOwnershipControls GetBucketOwnershipControls PutBucketOwnershipControls"),
        **_shape("GetBucketAcl GetObjectAcl", "ACLs are not enforced"),
    },
    "iam": {
        **_works(
            "AddRoleToInstanceProfile AddUserToGroup AttachGroupPolicy AttachRolePolicy AttachUserPolicy CreateAccessKey"
            " CreateGroup CreateInstanceProfile CreatePolicy CreatePolicyVersion CreateRole CreateUser DeleteAccessKey"
            " DeleteGroup DeleteGroupPolicy DeleteInstanceProfile DeletePolicy DeletePolicyVersion DeleteRole"
            " DeleteRolePolicy DeleteUser DeleteUserPolicy DetachGroupPolicy DetachRolePolicy DetachUserPolicy"
            " GetGroup GetGroupPolicy GetInstanceProfile GetPolicy GetPolicyVersion GetRole GetRolePolicy GetUser"
            " GetUserPolicy ListAccessKeys ListAttachedGroupPolicies ListAttachedRolePolicies ListAttachedUserPolicies"
            " ListEntitiesForPolicy ListGroupPolicies ListGroups ListGroupsForUser ListInstanceProfiles"
            " ListInstanceProfilesForRole ListPolicies ListPolicyVersions ListRolePolicies ListRoles ListUserPolicies"
            " ListUsers PutGroupPolicy PutRolePolicy PutUserPolicy RemoveRoleFromInstanceProfile RemoveUserFromGroup"
            " SetDefaultPolicyVersion UpdateAccessKey UpdateAssumeRolePolicy UpdateGroup UpdateRole UpdateRoleDescription"
            " UpdateUser GetAccessKeyLastUsed GetAccountAuthorizationDetails GetAccountSummary",
        ),
        **_shape(
            "ListInstanceProfileTags ListPolicyTags ListRoleTags ListUserTags TagInstanceProfile TagPolicy TagRole TagUser"
            " UntagInstanceProfile UntagPolicy UntagRole UntagUser",
        ),
        **_shape("CreateAccountAlias DeleteAccountAlias ListAccountAliases"),
        **_shape(
            "DeleteRolePermissionsBoundary PutRolePermissionsBoundary DeleteUserPermissionsBoundary"
            " PutUserPermissionsBoundary",
            "the boundary is kept; it is not enforced yet",
        ),
    },
    "ecr": {
        **_works(
            "BatchDeleteImage BatchGetImage CreateRepository DeleteRepository DescribeImages DescribeRepositories"
            " GetAuthorizationToken ListImages",
            "no image can be pushed, so repositories are empty",
        ),
        **_shape("ListTagsForResource TagResource UntagResource"),
        **_shape("DeleteLifecyclePolicy GetLifecyclePolicy PutLifecyclePolicy", "the policy is kept; nothing expires"),
        **_shape(
            "DeleteRepositoryPolicy GetRepositoryPolicy SetRepositoryPolicy", "the policy is kept; not enforced yet"
        ),
        **_shape("PutImageScanningConfiguration PutImageTagMutability"),
    },
}
