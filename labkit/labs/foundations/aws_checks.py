"""What the lab ``foundations/aws`` checks: it signs in as the learner's identities and tries what they can do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
from botocore.exceptions import ClientError

from labkit.labs import trials
from labkit.labs.beginner.aws_checks import account, client, code, counted, is_denied, names_of, region
from labkit.labs.foundations import aws_trust
from labkit.labs.foundations.aws_trail import events
from labkit.labs.foundations.files import record
from labkit.labs.policy import statements
from labkit.labs.task import NotAttempted, Work, Wrong
from labkit.labs.trials import Trial

DEPLOYER, CALLER, BOUNDARY = "who-lab-deployer", "who-lab-caller", "who-lab-boundary"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
#: What the names that the lab gives have in common, and the parameters of a call that name what a learner makes.
MADE = "who-lab"
NAMING = ("userName", "roleName", "groupName", "policyName", "policyArn", "permissionsBoundary")
#: The object that a check writes and takes away again.
MARK = "scores/check"
LIST_HINT = (
    "s3:ListBucket is a statement of its own: its resource is the bucket's ARN without /*, and its condition "
    '{"StringLike": {"s3:prefix": "scores/*"}}'
)


def bucket() -> str:
    return f"who-lab-{account()}-{region()}"


def arn_of(kind: str, name: str) -> str:
    return f"arn:aws:iam::{account()}:{kind}/{name}"


# -- signing in ----------------------------------------------------------------------------------------------------


def as_deployer() -> boto3.Session:
    """The role's session; what AWS says where it cannot be assumed is :class:`Wrong`."""
    try:
        answer = client("sts").assume_role(RoleArn=arn_of("role", DEPLOYER), RoleSessionName="check")["Credentials"]
    except ClientError as error:
        raise Wrong(
            f"a role {DEPLOYER} that you cannot assume ({code(error)})",
            "a trust policy that allows you sts:AssumeRole",
            "update_assume_role_policy changes the trust policy of a role that is there",
        ) from None
    return boto3.Session(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], region())


def as_caller(work: Work, file: str = "caller.json") -> boto3.Session:
    """The user's session, by the key in a file of the learner's."""
    key = _key(work, file, "an access key as JSON, with AccessKeyId and SecretAccessKey")
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=region())


def _key(work: Work, file: str, expected: str) -> dict[str, str]:
    hint = 'both are in the "AccessKey" of what create_access_key answers'
    return record(work, file, ("AccessKeyId", "SecretAccessKey"), expected, hint)


# -- tasks ---------------------------------------------------------------------------------------------------------


def deployer(_: Work) -> str:
    """The role is there, and the learner alone can assume it."""
    expected = f"a role {DEPLOYER} that you can assume, and nobody else"
    try:
        role = client("iam").get_role(RoleName=DEPLOYER)["Role"]
    except ClientError as error:
        if code(error) != "NoSuchEntity":
            raise
        raise NotAttempted(f"no role named {DEPLOYER}", expected) from None
    hint = 'its Principal is {"AWS": me}, your ARN; update_assume_role_policy changes it'
    me = client("sts").get_caller_identity()["Arn"]
    if others := aws_trust.named_beside(me, role["AssumeRolePolicyDocument"]):
        raise Wrong(f"a trust policy that lets {others[0]} in", expected, hint)
    arn = as_deployer().client("sts").get_caller_identity()["Arn"]
    with aws_trust.stranger(role["Arn"]) as session:
        sts = session.client("sts")
        if not is_denied(lambda: sts.assume_role(RoleArn=role["Arn"], RoleSessionName="check")):
            raise Wrong("a trust policy that lets another user of the account in", expected, hint)
    return f"a role that you can assume and another user cannot: it is {arn} then"


def caller(work: Work) -> str:
    """The user's key is in the file, and it is the user's."""
    expected = f"an access key of the user {CALLER}"
    session = as_caller(work)
    try:
        arn = session.client("sts").get_caller_identity()["Arn"]
    except ClientError as error:
        raise Wrong(f"a key that AWS does not take ({code(error)})", expected) from None
    if arn != arn_of("user", CALLER):
        raise Wrong(f"a key of {arn}", expected)
    return f"a key that signs as {arn}"


def policy(work: Work) -> str:
    """Each identity can do what it needs and nothing else: all of it tried."""
    if not _is_given_something():
        raise NotAttempted(
            "neither identity with a policy: none inline or attached, none of a group, none on the bucket",
            "just-enough on both",
        )
    _needs_bucket()
    try:
        tried = trials.run("the deployer", _of_deployer(as_deployer()), is_denied)
        tried += trials.run("the caller", _of_caller(as_caller(work)), is_denied)
    finally:
        client("s3").delete_object(Bucket=bucket(), Key=MARK)
    return f"{tried} calls tried: what is needed is allowed, all else denied"


def _is_given_something() -> bool:
    """Whether there is a policy from which one of the two could have a right: its own, a group's or the bucket's."""
    iam = client("iam")
    try:
        of_role = _policies_of("role", DEPLOYER)
    except iam.exceptions.NoSuchEntityException:
        raise NotAttempted(f"no role named {DEPLOYER}", "the role of the task deployer") from None
    try:
        of_user = _policies_of("user", CALLER)
    except iam.exceptions.NoSuchEntityException:
        raise NotAttempted(f"no user named {CALLER}", "the user of the task caller") from None
    groups = names_of("iam", "list_groups_for_user", "Groups", "GroupName", UserName=CALLER)
    of_groups = [each for name in groups for each in _policies_of("group", name)]
    return bool(of_role or of_user or of_groups or _bucket_allows())


def _policies_of(kind: str, name: str) -> list[str]:
    """The policies of a ``role``, ``user`` or ``group``, inline and attached."""
    which = {f"{kind.capitalize()}Name": name}
    inline: list[str] = getattr(client("iam"), f"list_{kind}_policies")(**which)["PolicyNames"]
    return inline + names_of("iam", f"list_attached_{kind}_policies", "AttachedPolicies", "PolicyName", **which)


def _bucket_allows() -> bool:
    """Whether the bucket has a policy that allows anybody anything."""
    try:
        found = json.loads(client("s3").get_bucket_policy(Bucket=bucket())["Policy"])
    except ClientError as error:
        if code(error) not in ("NoSuchBucket", "NoSuchBucketPolicy"):
            raise
        return False
    return any(statements([found]))


def _needs_bucket() -> None:
    try:
        client("s3").head_bucket(Bucket=bucket())
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        raise NotAttempted(f"no bucket {bucket()}", "the bucket of section 3", "run section 3 again") from None


def _of_deployer(session: boto3.Session) -> Iterator[Trial]:
    s3, iam = session.client("s3"), session.client("iam")
    yield Trial("list scores/", True, lambda: s3.list_objects_v2(Bucket=bucket(), Prefix="scores/"), LIST_HINT)
    yield Trial("write below scores/", True, lambda: s3.put_object(Bucket=bucket(), Key=MARK, Body=b"check"))
    yield Trial("read below scores/", True, lambda: s3.get_object(Bucket=bucket(), Key=MARK))
    yield Trial("list customers/", False, lambda: s3.list_objects_v2(Bucket=bucket(), Prefix="customers/"), LIST_HINT)
    yield Trial("list the whole bucket", False, lambda: s3.list_objects_v2(Bucket=bucket()), LIST_HINT)
    yield Trial("read customers/", False, lambda: s3.get_object(Bucket=bucket(), Key="customers/customers.csv"))
    yield Trial("delete below scores/", False, lambda: s3.delete_object(Bucket=bucket(), Key="scores/no-such-file"))
    yield Trial("list all buckets", False, s3.list_buckets)
    yield Trial("change its own rights", False, lambda: iam.delete_role_policy(RoleName=DEPLOYER, PolicyName="none"))


def _of_caller(session: boto3.Session) -> Iterator[Trial]:
    s3, iam = session.client("s3"), session.client("iam")
    yield Trial("read below scores/", True, lambda: s3.get_object(Bucket=bucket(), Key=MARK))
    yield Trial("write below scores/", False, lambda: s3.put_object(Bucket=bucket(), Key=MARK, Body=b"caller"))
    yield Trial("list scores/", False, lambda: s3.list_objects_v2(Bucket=bucket(), Prefix="scores/"))
    yield Trial("read customers/", False, lambda: s3.get_object(Bucket=bucket(), Key="customers/customers.csv"))
    yield Trial("list its own keys", False, lambda: iam.list_access_keys(UserName=CALLER))


def boundary(_: Work) -> str:
    """Even an administrator's policy does not lead the deployer out of its boundary."""
    iam = client("iam")
    arn = arn_of("policy", BOUNDARY)
    expected = f"the policy {BOUNDARY} as the permissions boundary of {DEPLOYER}"
    try:
        limit = iam.get_role(RoleName=DEPLOYER)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    except iam.exceptions.NoSuchEntityException:
        raise NotAttempted(f"no role named {DEPLOYER}", expected) from None
    if limit is None:
        attached = iam.list_attached_role_policies(RoleName=DEPLOYER)["AttachedPolicies"]
        if any(each["PolicyArn"] == arn for each in attached):
            hint = "attached, a policy gives; put_role_permissions_boundary makes a limit of it"
            raise Wrong(f"{BOUNDARY} attached to {DEPLOYER}", expected, hint)
        raise NotAttempted(f"a role {DEPLOYER} without a boundary", expected)
    if limit != arn:
        raise Wrong(f"another boundary, {limit}", expected)
    _needs_bucket()
    attached = iam.list_attached_role_policies(RoleName=DEPLOYER)["AttachedPolicies"]
    is_there = any(each["PolicyArn"] == ADMINISTRATOR for each in attached)
    if not is_there:
        iam.attach_role_policy(RoleName=DEPLOYER, PolicyArn=ADMINISTRATOR)
    try:
        trials.run("the deployer with AdministratorAccess", _within(as_deployer()), is_denied)
    finally:
        if not is_there:
            iam.detach_role_policy(RoleName=DEPLOYER, PolicyArn=ADMINISTRATOR)
        client("s3").delete_object(Bucket=bucket(), Key=MARK)
    return "a deployer that stays below scores/, AdministratorAccess or not"


def _within(session: boto3.Session) -> Iterator[Trial]:
    s3, iam = session.client("s3"), session.client("iam")
    narrow = "what is in the boundary can be given: any action on BUCKET/scores/*, and the listing of the bucket alone"
    wide = (
        "what the boundary leaves out is denied, whoever gives it: the listing is a statement of its own, on the bucket"
    )
    yield Trial("write below scores/", True, lambda: s3.put_object(Bucket=bucket(), Key=MARK, Body=b"check"), wide)
    yield Trial("list scores/", True, lambda: s3.list_objects_v2(Bucket=bucket(), Prefix="scores/"), wide)
    yield Trial("read customers/", False, lambda: s3.get_object(Bucket=bucket(), Key="customers/customers.csv"), narrow)
    yield Trial("list users", False, iam.list_users, narrow)
    yield Trial(
        "lift its own boundary",
        False,
        lambda: iam.put_role_permissions_boundary(
            RoleName=DEPLOYER, PermissionsBoundary=f"{arn_of('policy', 'no-such-policy')}"
        ),
    )
    yield Trial("list all buckets", False, s3.list_buckets)


def rotate(work: Work) -> str:
    """The new key works, the old one does not."""
    old = _key(work, "caller-old.json", "a copy of the old key, which the cell above makes")
    new = _key(work, "caller.json", "the new key")
    if old["AccessKeyId"] == new["AccessKeyId"]:
        raise NotAttempted("the same key as before", "a new one in build/caller.json")
    caller(work)
    try:
        as_caller(work, "caller-old.json").client("sts").get_caller_identity()
    except ClientError as error:
        if code(error) != "InvalidClientTokenId":
            raise
    else:
        raise Wrong("an old key that still works", "a refusal of it", "delete_access_key takes the old AccessKeyId")
    kept = client("iam").list_access_keys(UserName=CALLER)["AccessKeyMetadata"]
    if any(each["AccessKeyId"] == old["AccessKeyId"] for each in kept):
        hint = "a key that is switched off can be switched on again; delete_access_key takes the old AccessKeyId"
        raise Wrong("an old key that is inactive and still there", "that it is deleted", hint)
    return "a new key that works and an old one that is refused"


def cleanup(_: Work) -> str:
    """Nothing of the lab is left, and there was something once."""
    there = {
        "user": names_of("iam", "list_users", "Users", "UserName"),
        "role": names_of("iam", "list_roles", "Roles", "RoleName"),
        "policy": names_of("iam", "list_policies", "Policies", "PolicyName", Scope="Local"),
        "bucket": [each["Name"] for each in client("s3").list_buckets()["Buckets"]],
        "group": names_of("iam", "list_groups", "Groups", "GroupName"),
    }
    made = _named_in_calls()
    kept = {
        kind: left
        for kind, names in there.items()
        if (left := [each for each in names if MADE in each or each in made])
    }
    if kept:
        told = "; ".join(counted(kind, names) for kind, names in kept.items())
        untouched = {"user", "role", "policy", "bucket"} <= kept.keys()
        raise (NotAttempted if untouched else Wrong)(f"still there: {told}", "an account without what this lab made")
    if not any(event["eventName"] == "CreateRole" and "errorCode" not in event for event in events()):
        raise NotAttempted("no role ever made", "one that was used and then deleted")
    return "no user, role, policy, group or bucket of this lab left"


def _named_in_calls() -> set[str]:
    """What this lab made under other names: each was named in a call that names its bucket or identities, too."""
    found = set()
    for event in events():
        asked = event.get("requestParameters") or {}
        if MADE in json.dumps(asked):
            found |= {str(asked[key]).rpartition("/")[2] for key in NAMING if key in asked}
    return found - {client("sts").get_caller_identity()["Arn"].rpartition("/")[2]}
