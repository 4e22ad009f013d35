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
        **_works("GetBucketLocation"),
        **_shape(
            "DeleteBucketLifecycle GetBucketLifecycleConfiguration PutBucketLifecycleConfiguration",
            "the rules are kept; no object expires or moves",
        ),
        **_shape("DeleteBucketEncryption", "nothing is encrypted"),
        **_works(
            "DeleteBucketPolicy GetBucketPolicy GetBucketPolicyStatus",
            "requests without a signature are refused in any case",
        ),
        **_shape("DeleteBucketOwnershipControls GetBucketOwnershipControls PutBucketOwnershipControls"),
    },
    "iam": {
        **_works(
            """
            AddRoleToInstanceProfile AddUserToGroup AttachGroupPolicy AttachRolePolicy AttachUserPolicy CreateAccessKey
            CreateGroup CreateInstanceProfile CreatePolicy CreatePolicyVersion CreateRole CreateUser DeleteAccessKey
            DeleteGroup DeleteGroupPolicy DeleteInstanceProfile DeletePolicy DeletePolicyVersion DeleteRole
            DeleteRolePolicy DeleteUser DeleteUserPolicy DetachGroupPolicy DetachRolePolicy DetachUserPolicy GetGroup
            GetGroupPolicy GetInstanceProfile GetPolicy GetPolicyVersion GetRole GetRolePolicy GetUser GetUserPolicy
            ListAccessKeys ListAttachedGroupPolicies ListAttachedRolePolicies ListAttachedUserPolicies
            ListEntitiesForPolicy ListGroupPolicies ListGroups ListGroupsForUser ListInstanceProfiles
            ListInstanceProfilesForRole ListPolicies ListPolicyVersions ListRolePolicies ListRoles ListUserPolicies
            ListUsers PutGroupPolicy PutRolePolicy PutUserPolicy RemoveRoleFromInstanceProfile RemoveUserFromGroup
            SetDefaultPolicyVersion UpdateAccessKey UpdateAssumeRolePolicy UpdateGroup UpdateRole
            UpdateRoleDescription UpdateUser
            """,
        ),
        **_works("ListPolicyTags ListRoleTags ListUserTags TagPolicy TagRole TagUser UntagPolicy UntagRole UntagUser"),
        **_works("GetAccountAuthorizationDetails", "whole, without pages")
        | _works("ListMFADevices ListVirtualMFADevices", "there are none"),
        **_shape("CreateAccountAlias DeleteAccountAlias ListAccountAliases"),
    },
    "ecr": {
        **_works("CreateRepository DeleteRepository DescribeRepositories"),
        **_works("BatchDeleteImage BatchGetImage DescribeImages ListImages", "no image can be pushed: there are none"),
        **_shape("ListTagsForResource TagResource UntagResource"),
        **_shape("DeleteLifecyclePolicy GetLifecyclePolicy PutLifecyclePolicy", "the policy is kept; nothing expires"),
        **_shape(
            "DeleteRepositoryPolicy GetRepositoryPolicy SetRepositoryPolicy",
            "not evaluated: there are no images",
        ),
        **_shape("PutImageScanningConfiguration PutImageTagMutability"),
    },
}
