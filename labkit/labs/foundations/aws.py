"""Who may do what on AWS: identities, policies, limits, denials and the audit trail. Tasks, points and hints."""

from __future__ import annotations

from labkit.labs.beginner.aws_checks import explain, whoami
from labkit.labs.foundations import aws_checks, aws_trail
from labkit.labs.task import Definition, Task

LAB = Definition(
    name="foundations/aws",
    title="Who may do what, on AWS",
    cloud="AWS",
    whoami=whoami,
    explain=explain,
    tasks=(
        Task(
            "deployer",
            "Make a role that you can assume",
            points=10,
            check=aws_checks.deployer,
            hints=(
                "a trust policy is a policy with a Principal and without a Resource",
                '"Principal": {"AWS": me} is you alone; {"AWS": "*"} would be everybody with an account at AWS',
                "iam.create_role(RoleName=deployer_name, AssumeRolePolicyDocument=json.dumps(trust))",
            ),
        ),
        Task(
            "caller",
            "Make a user with an access key",
            points=10,
            check=aws_checks.caller,
            hints=(
                "create_user, then create_access_key: its answer is the only time that the secret is shown",
                'json.dumps({"AccessKeyId": ..., "SecretAccessKey": ...}) into build / "caller.json"',
                "a user can have two keys: before a third, delete_access_key takes one away",
            ),
        ),
        Task(
            "policy",
            "Give each just enough",
            points=25,
            check=aws_checks.policy,
            hints=(
                "objects are BUCKET/scores/*; listing is asked about the bucket itself",
                (
                    "put_role_policy(RoleName=..., PolicyName='just-enough', PolicyDocument=json.dumps(...)) and "
                    "put_user_policy(UserName=..., ...)"
                ),
                (
                    'listing needs "Condition": {"StringLike": {"s3:prefix": "scores/*"}}, or all of the bucket can be '
                    "seen"
                ),
            ),
        ),
        Task(
            "boundary",
            "Set a limit above the rights",
            points=15,
            check=aws_checks.boundary,
            hints=(
                (
                    "a boundary is a customer-managed policy like any other: create_policy makes it, "
                    "create_policy_version with SetAsDefault=True changes it"
                ),
                "put_role_permissions_boundary(RoleName=deployer_name, PermissionsBoundary=boundary_arn) sets it",
            ),
        ),
        Task(
            "denial",
            "Read three denials",
            points=15,
            check=aws_trail.denial,
            hints=(
                "each sentence names who, action and resource in this order; 'why' is in its last words",
                "the role's session has an ARN of its own: arn:aws:sts::ACCOUNT:assumed-role/who-lab-deployer/lab",
            ),
        ),
        Task(
            "audit",
            "Find them in the audit trail",
            points=10,
            check=aws_trail.audit,
            hints=(
                "json.loads(found['CloudTrailEvent']) has all; errorCode is only there when the call failed",
                "keep the events whose errorCode is AccessDenied and whose userIdentity.arn has who-lab- in it",
            ),
        ),
        Task(
            "rotate",
            "Change a key",
            points=10,
            check=aws_checks.rotate,
            hints=(
                "first the new key, then the file, last delete_access_key with the old AccessKeyId",
                "the old id is in build / 'caller-old.json'",
            ),
        ),
        Task(
            "cleanup",
            "Leave nothing behind",
            points=5,
            check=aws_checks.cleanup,
            hints=(
                "keys, policies and attachments go before the user or role that they are on; objects before the bucket",
                "what you have named yourself goes too: policies that you attached, a group that the user is in",
                "delete_policy takes the ARN of the boundary, once the role is gone",
            ),
            after_cleanup=True,
        ),
    ),
)
