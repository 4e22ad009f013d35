"""The checks of ``foundations/aws``: each right, wrong in the ways that learners get it wrong, and not attempted."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from labkit.cloud.state import Lab
from labkit.labs.foundations import aws_checks, aws_trail, aws_trust
from labkit.labs.task import NotAttempted, Work, Wrong

ACCOUNT = "123456789012"
ME = f"arn:aws:iam::{ACCOUNT}:user/learner"
BUCKET = f"who-lab-{ACCOUNT}-us-east-1"
SCORES = f"arn:aws:s3:::{BUCKET}/scores/*"
DEPLOYER, CALLER = "who-lab-deployer", "who-lab-caller"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/who-lab-boundary"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(action: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


LIST = allow("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", Condition={"StringLike": {"s3:prefix": "scores/*"}})
WRITE, READ = allow(["s3:GetObject", "s3:PutObject"], SCORES), allow("s3:GetObject", SCORES)


class Learner:
    """Does the lab's tasks, well or badly."""

    def __init__(self, work: Work) -> None:
        self.build = work.folder / "build"
        self.iam, self.s3 = boto3.client("iam"), boto3.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_object(Bucket=BUCKET, Key="customers/customers.csv", Body=b"")

    def role(self, principal: Any = None) -> None:
        trusted = {"Effect": "Allow", "Principal": principal or {"AWS": ME}, "Action": "sts:AssumeRole"}
        self.iam.create_role(RoleName=DEPLOYER, AssumeRolePolicyDocument=document(trusted))

    def user(self) -> None:
        self.iam.create_user(UserName=CALLER)
        self.key("caller.json")

    def key(self, file: str) -> None:
        key = self.iam.create_access_key(UserName=CALLER)["AccessKey"]
        kept = {name: key[name] for name in ("AccessKeyId", "SecretAccessKey")}
        (self.build / file).write_text(json.dumps(kept))

    def policies(self, deployer: list[dict[str, Any]], caller: list[dict[str, Any]]) -> None:
        self.iam.put_role_policy(RoleName=DEPLOYER, PolicyName="just-enough", PolicyDocument=document(*deployer))
        self.iam.put_user_policy(UserName=CALLER, PolicyName="just-enough", PolicyDocument=document(*caller))

    def boundary(self, *statements: dict[str, Any]) -> None:
        self.iam.create_policy(PolicyName="who-lab-boundary", PolicyDocument=document(*statements))
        self.iam.put_role_permissions_boundary(RoleName=DEPLOYER, PermissionsBoundary=BOUNDARY)

    def attempts(self) -> None:
        """The three that are denied in section 7."""
        closed = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}
        self.s3.put_bucket_policy(Bucket=BUCKET, Policy=document(closed))
        self.iam.attach_role_policy(RoleName=DEPLOYER, PolicyArn=ADMINISTRATOR)
        role = f"arn:aws:iam::{ACCOUNT}:role/{DEPLOYER}"
        answer = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="lab")["Credentials"]
        session = boto3.Session(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
        key = json.loads((self.build / "caller.json").read_text())
        caller = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
        for call in (
            lambda: caller.client("iam").create_access_key(UserName=CALLER),
            lambda: session.client("iam").create_user(UserName="who-lab-intruder"),
            lambda: session.client("s3").delete_bucket(Bucket=BUCKET),
        ):
            with suppress(ClientError):
                call()
        self.iam.detach_role_policy(RoleName=DEPLOYER, PolicyArn=ADMINISTRATOR)


@pytest.fixture
def learner(empty_clouds: Lab, work: Work) -> Learner:
    return Learner(work)


@pytest.fixture
def ready(learner: Learner) -> Learner:
    """Everything as it should be, as far as section 6."""
    learner.role()
    learner.user()
    learner.policies([LIST, WRITE], [READ])
    learner.boundary(allow("s3:*", SCORES), allow("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"))
    return learner


# deployer, caller --------------------------------------------------------------------------------------------------


def test_deployer_right(learner: Learner, work: Work) -> None:
    learner.role()
    assert "assumed-role/who-lab-deployer/check" in aws_checks.deployer(work)


def test_deployer_not_attempted(learner: Learner, work: Work) -> None:
    with pytest.raises(NotAttempted, match="no role named who-lab-deployer"):
        aws_checks.deployer(work)


@pytest.mark.parametrize(
    ("principal", "found"),
    [
        ({"AWS": "*"}, "lets another user of the account in"),
        ("*", "lets another user of the account in"),
        ({"AWS": ACCOUNT}, "lets another user of the account in"),
        ({"AWS": [ME, "210987654321"]}, "lets 210987654321 in"),
        ({"AWS": ME, "Service": "sagemaker.amazonaws.com"}, "lets sagemaker.amazonaws.com in"),
        ({"AWS": ME, "Federated": "accounts.google.com"}, "lets accounts.google.com in"),
    ],
)
def test_deployer_that_trusts_others(learner: Learner, work: Work, principal: Any, found: str) -> None:
    learner.role(principal)
    with pytest.raises(Wrong, match=found):
        aws_checks.deployer(work)


ONLY_ME = {"ArnEquals": {"aws:PrincipalArn": ME}}
ASSUME = {"Effect": "Allow", "Action": "sts:AssumeRole"}
EVERYBODY = ASSUME | {"Principal": {"AWS": "*"}}
SOMEBODY_ELSE = {"ArnNotEquals": {"aws:PrincipalArn": ME}}


@pytest.mark.parametrize(
    "statements",
    [
        [EVERYBODY | {"Condition": ONLY_ME}],
        [ASSUME | {"Principal": {"AWS": ACCOUNT}, "Condition": ONLY_ME}],
        [EVERYBODY, EVERYBODY | {"Effect": "Deny", "Condition": SOMEBODY_ELSE}],
    ],
)
def test_deployer_that_trusts_nobody_else_in_other_words(learner: Learner, work: Work, statements: Any) -> None:
    learner.iam.create_role(RoleName=DEPLOYER, AssumeRolePolicyDocument=document(*statements))
    assert aws_checks.deployer(work).startswith("a role that you can assume and another user cannot")


@pytest.mark.parametrize(
    "statement",
    [
        ASSUME | {"NotPrincipal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/churn-lab-caller"}},
        EVERYBODY | {"Condition": {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}},
    ],
)
def test_deployer_whose_trust_is_wider_than_it_looks(learner: Learner, work: Work, statement: Any) -> None:
    learner.iam.create_user(UserName="churn-lab-caller")
    learner.iam.create_role(RoleName=DEPLOYER, AssumeRolePolicyDocument=document(statement))
    with pytest.raises(Wrong, match="lets another user of the account in"):
        aws_checks.deployer(work)
    names = {each["UserName"] for each in learner.iam.list_users()["Users"]}
    assert aws_trust.STRANGER not in names


def test_caller_right(learner: Learner, work: Work) -> None:
    learner.user()
    assert aws_checks.caller(work).endswith(":user/who-lab-caller")


def test_caller_not_attempted(learner: Learner, work: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file aws/build/caller\.json"):
        aws_checks.caller(work)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("AKIA", r"that is no JSON \(line 1, column 1: Expecting value\)"),
        ('{"AccessKeyId": "AKIA"}', r"aws/build/caller\.json without SecretAccessKey"),
        ('["AKIA"]', r"a list as aws/build/caller\.json"),
        ('{"AccessKeyId": "AKIA", "SecretAccessKey": ""}', "with an empty text under SecretAccessKey"),
        ('{"AccessKey": {"AccessKeyId": "AKIAX", "SecretAccessKey": "x"}}', "without AccessKeyId"),
        ('{"AccessKeyId": "AKIAX", "SecretAccessKey": "x"}', "a key that AWS does not take"),
    ],
)
def test_caller_wrong(learner: Learner, work: Work, text: str, found: str) -> None:
    (learner.build / "caller.json").write_text(text)
    with pytest.raises(Wrong, match=found):
        aws_checks.caller(work)


# policy ------------------------------------------------------------------------------------------------------------


def test_policy_right(ready: Learner, work: Work) -> None:
    assert aws_checks.policy(work).startswith("14 calls tried")
    keys = [each["Key"] for each in ready.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert keys == ["customers/customers.csv"]


def test_policy_attached_instead_of_inline(learner: Learner, work: Work) -> None:
    learner.role()
    learner.user()
    for name, statements in (("scores-job", [WRITE, LIST]), ("scores-reader", [READ])):
        learner.iam.create_policy(PolicyName=name, PolicyDocument=document(*statements))
    learner.iam.attach_role_policy(RoleName=DEPLOYER, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/scores-job")
    learner.iam.attach_user_policy(UserName=CALLER, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/scores-reader")
    assert aws_checks.policy(work).startswith("14 calls tried")


@pytest.mark.parametrize("attached", [True, False])
def test_policy_of_a_group(learner: Learner, work: Work, attached: bool) -> None:
    learner.role()
    learner.user()
    learner.iam.create_group(GroupName="readers")
    learner.iam.add_user_to_group(GroupName="readers", UserName=CALLER)
    if attached:
        arn = learner.iam.create_policy(PolicyName="reading", PolicyDocument=document(READ))["Policy"]["Arn"]
        learner.iam.attach_group_policy(GroupName="readers", PolicyArn=arn)
    else:
        learner.iam.put_group_policy(GroupName="readers", PolicyName="reading", PolicyDocument=document(READ))
    with pytest.raises(Wrong, match="the deployer denied to list scores/"):
        aws_checks.policy(work)
    learner.iam.put_role_policy(RoleName=DEPLOYER, PolicyName="just-enough", PolicyDocument=document(LIST, WRITE))
    assert aws_checks.policy(work).startswith("14 calls tried")


def test_policy_of_the_bucket(learner: Learner, work: Work) -> None:
    learner.role()
    learner.user()
    role = f"arn:aws:iam::{ACCOUNT}:role/{DEPLOYER}"
    statements = [each | {"Principal": {"AWS": role}} for each in (LIST, WRITE)]
    statements.append(READ | {"Principal": {"AWS": USER + CALLER}})
    learner.s3.put_bucket_policy(Bucket=BUCKET, Policy=document(*statements))
    assert aws_checks.policy(work).startswith("14 calls tried")


def test_policy_not_attempted(learner: Learner, work: Work) -> None:
    with pytest.raises(NotAttempted, match="no role named who-lab-deployer"):
        aws_checks.policy(work)
    learner.role()
    with pytest.raises(NotAttempted, match="no user named who-lab-caller"):
        aws_checks.policy(work)
    learner.user()
    closed = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}
    learner.s3.put_bucket_policy(Bucket=BUCKET, Policy=document(closed))
    with pytest.raises(NotAttempted, match="neither identity with a policy"):
        aws_checks.policy(work)


WHOLE = allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{BUCKET}/*")
WIDE_LIST = allow("s3:ListBucket", f"arn:aws:s3:::{BUCKET}")


@pytest.mark.parametrize(
    ("deployer", "caller", "found"),
    [
        ([WRITE], [READ], "the deployer denied to list scores/"),
        ([LIST, READ], [READ], "the deployer denied to write below scores/"),
        ([WIDE_LIST, WRITE], [READ], "the deployer allowed to list customers/"),
        (
            [LIST, allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{BUCKET}/*")],
            [READ],
            "allowed to read customers/",
        ),
        ([LIST, allow("s3:*Object", SCORES)], [READ], "the deployer allowed to delete below scores/"),
        ([allow("*", "*")], [READ], "the deployer allowed to list customers/"),
        ([LIST, WRITE], [WRITE], "the caller allowed to write below scores/"),
        ([LIST, WRITE], [READ, LIST], "the caller allowed to list scores/"),
        ([LIST, WRITE], [LIST], "the caller denied to read below scores/"),
        ([LIST, WRITE, allow("iam:*", "*")], [READ], "the deployer allowed to change its own rights"),
    ],
)
def test_policy_wrong(learner: Learner, work: Work, deployer: Any, caller: Any, found: str) -> None:
    learner.role()
    learner.user()
    learner.policies(deployer, caller)
    with pytest.raises(Wrong, match=found) as wrong:
        aws_checks.policy(work)
    assert wrong.value.hint == (aws_checks.LIST_HINT if "the deployer" in found and "list" in found else "")


def test_checks_without_the_bucket(ready: Learner, work: Work) -> None:
    ready.s3.delete_object(Bucket=BUCKET, Key="customers/customers.csv")
    ready.s3.delete_bucket(Bucket=BUCKET)
    for check in (aws_checks.policy, aws_checks.boundary):
        with pytest.raises(NotAttempted, match=f"no bucket {BUCKET}"):
            check(work)


# boundary ----------------------------------------------------------------------------------------------------------


def test_boundary_right(ready: Learner, work: Work) -> None:
    assert "stays below scores/" in aws_checks.boundary(work)
    assert ready.iam.list_attached_role_policies(RoleName=DEPLOYER)["AttachedPolicies"] == []


def test_boundary_not_attempted(learner: Learner, work: Work) -> None:
    learner.role()
    with pytest.raises(NotAttempted, match="without a boundary"):
        aws_checks.boundary(work)
    learner.iam.create_policy(PolicyName="who-lab-boundary", PolicyDocument=document(allow("s3:*", SCORES)))
    learner.iam.attach_role_policy(RoleName=DEPLOYER, PolicyArn=BOUNDARY)
    with pytest.raises(Wrong, match="who-lab-boundary attached to who-lab-deployer"):
        aws_checks.boundary(work)


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ([allow("*", "*")], "allowed to read customers/"),
        ([allow("s3:*", "*")], "allowed to read customers/"),
        ([allow("s3:*", SCORES)], "denied to list scores/"),
    ],
)
def test_boundary_wrong(learner: Learner, work: Work, statements: Any, found: str) -> None:
    learner.role()
    learner.boundary(*statements)
    with pytest.raises(Wrong, match=f"the deployer with AdministratorAccess {found}"):
        aws_checks.boundary(work)


# denial, audit -----------------------------------------------------------------------------------------------------

SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/{DEPLOYER}/lab"
USER = f"arn:aws:iam::{ACCOUNT}:user/"
ANSWERS = [
    {"who": USER + CALLER, "action": "iam:CreateAccessKey", "resource": USER + CALLER, "why": "no policy allows it"},
    {"who": SESSION, "action": "iam:CreateUser", "resource": f"{USER}who-lab-intruder", "why": "boundary"},
    {"who": SESSION, "action": "s3:DeleteBucket", "resource": f"arn:aws:s3:::{BUCKET}", "why": "explicit deny"},
]


def test_denial_right(ready: Learner, work: Work) -> None:
    ready.attempts()
    (ready.build / "answers.json").write_text(json.dumps(ANSWERS))
    assert aws_trail.denial(work).startswith("three denials")


def test_denial_goes_by_the_newest_attempt(ready: Learner, work: Work) -> None:
    deployer = boto3.client("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{DEPLOYER}", RoleSessionName="lab")
    key = deployer["Credentials"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
    for name in ("who-lab-intruder", "somebody-else"):
        with pytest.raises(ClientError, match="no identity-based policy allows"):
            session.client("iam").create_user(UserName=name)
    (ready.build / "answers.json").write_text(json.dumps(ANSWERS))
    with pytest.raises(NotAttempted, match="1 of the three attempts") as unfinished:
        aws_trail.denial(work)
    assert unfinished.value.hint.endswith("what is missing is CreateAccessKey and DeleteBucket")
    ready.attempts()
    assert aws_trail.denial(work).startswith("three denials")


def test_denial_left_out(ready: Learner, work: Work) -> None:
    ready.attempts()
    (ready.build / "answers.json").write_text(json.dumps(ANSWERS[:2]))
    with pytest.raises(Wrong, match="no answer about DeleteBucket"):
        aws_trail.denial(work)
    (ready.build / "answers.json").write_text(json.dumps(ANSWERS[0]))
    with pytest.raises(Wrong, match=r"an object as aws/build/answers\.json"):
        aws_trail.denial(work)


def test_denial_not_attempted(ready: Learner, work: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file aws/build/answers\.json"):
        aws_trail.denial(work)
    (ready.build / "answers.json").write_text("[]")
    with pytest.raises(NotAttempted, match="0 of the three attempts"):
        aws_trail.denial(work)
    ready.attempts()
    with pytest.raises(NotAttempted, match="an empty list"):
        aws_trail.denial(work)


@pytest.mark.parametrize(
    ("number", "change", "found"),
    [
        (1, {"why": "explicit deny"}, "'explicit deny' for iam:CreateUser"),
        (1, {"why": "no permissions boundary allows"}, "'no permissions boundary allows' as the reason of"),
        (0, {"who": ME}, f"iam:CreateAccessKey of {ME}"),
        (2, {"action": "s3:PutBucketPolicy"}, "s3:PutBucketPolicy of"),
    ],
)
def test_denial_wrong(ready: Learner, work: Work, number: int, change: dict[str, str], found: str) -> None:
    ready.attempts()
    answers = [each | (change if at == number else {}) for at, each in enumerate(ANSWERS)]
    (ready.build / "answers.json").write_text(json.dumps(answers))
    with pytest.raises(Wrong, match=found):
        aws_trail.denial(work)


def listed() -> list[dict[str, str]]:
    """The list that a learner would write."""
    return [
        {
            "id": event["eventID"],
            "when": event["eventTime"],
            "who": event["userIdentity"]["arn"],
            "what": event["eventName"],
        }
        for event in aws_trail.denied_events()
    ]


def test_audit_right(ready: Learner, work: Work) -> None:
    ready.attempts()
    (ready.build / "denied.json").write_text(json.dumps(listed()))
    assert aws_trail.audit(work).startswith("3 denied calls")


def test_audit_with_the_times_of_the_sdk(ready: Learner, work: Work) -> None:
    ready.attempts()
    times = [each | {"when": each["when"].replace("T", " ").replace("Z", "+00:00")} for each in listed()]
    (ready.build / "denied.json").write_text(json.dumps(times))
    assert aws_trail.audit(work).startswith("3 denied calls")


def test_audit_not_attempted(ready: Learner, work: Work) -> None:
    (ready.build / "denied.json").write_text("[]")
    with pytest.raises(NotAttempted, match="an empty list of denied calls"):
        aws_trail.audit(work)


def test_audit_wrong(ready: Learner, work: Work) -> None:
    ready.attempts()
    whole = listed()
    for spoiled, found in (
        (whole[:1], "a list without"),
        ([{**whole[0], "who": ME}, *whole[1:]], f"of {ME}"),
        ([{**whole[0], "when": "this night"}, *whole[1:]], "at this night"),
        ([{**whole[0], "id": "1"}, *whole[1:]], "with an id that no denied call has"),
    ):
        (ready.build / "denied.json").write_text(json.dumps(spoiled))
        with pytest.raises(Wrong, match=found):
            aws_trail.audit(work)


# rotate, cleanup ---------------------------------------------------------------------------------------------------


def test_rotate(ready: Learner, work: Work) -> None:
    old = (ready.build / "caller.json").read_text()
    (ready.build / "caller-old.json").write_text(old)
    with pytest.raises(NotAttempted, match="the same key as before"):
        aws_checks.rotate(work)
    ready.key("caller.json")
    with pytest.raises(Wrong, match="an old key that still works"):
        aws_checks.rotate(work)
    old_key = {"UserName": CALLER, "AccessKeyId": json.loads(old)["AccessKeyId"]}
    ready.iam.update_access_key(Status="Inactive", **old_key)
    with pytest.raises(Wrong, match="an old key that is inactive and still there"):
        aws_checks.rotate(work)
    ready.iam.delete_access_key(**old_key)
    assert aws_checks.rotate(work) == "a new key that works and an old one that is refused"


def test_cleanup(ready: Learner, work: Work) -> None:
    with pytest.raises(NotAttempted, match="still there"):
        aws_checks.cleanup(work)
    for name in ("caller.json",):
        key = json.loads((ready.build / name).read_text())
        ready.iam.delete_access_key(UserName=CALLER, AccessKeyId=key["AccessKeyId"])
    ready.iam.delete_user_policy(UserName=CALLER, PolicyName="just-enough")
    ready.iam.delete_user(UserName=CALLER)
    with pytest.raises(Wrong, match="still there: the role who-lab-deployer"):
        aws_checks.cleanup(work)
    ready.iam.delete_role_policy(RoleName=DEPLOYER, PolicyName="just-enough")
    ready.iam.delete_role(RoleName=DEPLOYER)
    ready.iam.delete_policy(PolicyArn=BOUNDARY)
    ready.s3.delete_object(Bucket=BUCKET, Key="customers/customers.csv")
    ready.s3.delete_bucket(Bucket=BUCKET)
    assert aws_checks.cleanup(work) == "no user, role, policy, group or bucket of this lab left"


def test_cleanup_of_what_the_learner_has_named(learner: Learner, work: Work) -> None:
    """Policies, a group and a user by names of the learner's own; what is nothing of this lab is not counted."""
    everything = document(allow("s3:GetObject", "*"))
    for name, text in (("scores-reader", document(READ)), ("wide", everything), ("of-another-lab", everything)):
        learner.iam.create_policy(PolicyName=name, PolicyDocument=text)
    learner.role()
    learner.iam.attach_role_policy(RoleName=DEPLOYER, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/wide")
    learner.iam.detach_role_policy(RoleName=DEPLOYER, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/wide")
    learner.iam.delete_role(RoleName=DEPLOYER)
    learner.user()
    key = json.loads((learner.build / "caller.json").read_text())["AccessKeyId"]
    for group in ("readers", "others"):
        learner.iam.create_group(GroupName=group)
    learner.iam.add_user_to_group(GroupName="readers", UserName=CALLER)
    learner.iam.remove_user_from_group(GroupName="readers", UserName=CALLER)
    learner.iam.delete_access_key(UserName=CALLER, AccessKeyId=key)
    learner.iam.delete_user(UserName=CALLER)
    learner.iam.create_user(UserName="call-center")
    learner.iam.put_user_policy(UserName="call-center", PolicyName="read", PolicyDocument=document(READ))
    learner.s3.delete_object(Bucket=BUCKET, Key="customers/customers.csv")
    learner.s3.delete_bucket(Bucket=BUCKET)
    with pytest.raises(Wrong) as wrong:
        aws_checks.cleanup(work)
    left = "the user call-center; 2 policies (scores-reader, wide); the group readers"
    assert wrong.value.found == f"still there: {left}"


def test_cleanup_of_nothing(empty_clouds: Lab, work: Work) -> None:
    with pytest.raises(NotAttempted, match="no role ever made"):
        aws_checks.cleanup(work)
