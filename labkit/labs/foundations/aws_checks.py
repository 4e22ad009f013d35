"""What the lab ``foundations/aws`` checks: it signs in as the learner's identities and tries what they can do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from labkit.labs import trials
from labkit.labs.beginner.aws_checks import account, client, code, counted, is_denied, names_of, region
from labkit.labs.beginner.churn import read_json
from labkit.labs.policy import as_list
from labkit.labs.task import NotAttempted, Work, Wrong
from labkit.labs.trials import Trial

DEPLOYER, CALLER, BOUNDARY = "who-lab-deployer", "who-lab-caller", "who-lab-boundary"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
#: The object that a check writes and takes away again.
MARK = "scores/check"
#: The attempts of section 7: the name of the event.
ATTEMPTS = ("CreateAccessKey", "CreateUser", "DeleteBucket")
#: Why a call can be denied, as the task has it.
WHYS = ("no policy allows it", "explicit deny", "boundary")
LIST_HINT = (
    "s3:ListBucket is a statement of its own: its resource is the bucket's ARN without /*, and its condition "
    '{"StringLike": {"s3:prefix": "scores/*"}}'
)
_SENTENCE = re.compile(r'User: (\S+) is not authorized to perform: (\S+) on resource: "?([^\s"]+)"? .*')


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
    key = read_json(work, file, expected)
    if not isinstance(key, dict) or not {"AccessKeyId", "SecretAccessKey"} <= key.keys():
        raise Wrong(
            f"a {file} without AccessKeyId or SecretAccessKey",
            "these two and nothing around them",
            'both are in the "AccessKey" of what create_access_key answers',
        )
    return key


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
    me = client("sts").get_caller_identity()["Arn"]
    for statement in as_list(role["AssumeRolePolicyDocument"]["Statement"]):
        named = statement.get("Principal", {})
        trusted = as_list(named.get("AWS")) + as_list(named.get("Service")) if isinstance(named, dict) else [named]
        if wider := [each for each in trusted if statement["Effect"] == "Allow" and each != me]:
            raise Wrong(
                f"a trust policy that lets {wider[0]} in",
                expected,
                'its Principal is {"AWS": me}, your ARN; update_assume_role_policy changes it',
            )
    arn = as_deployer().client("sts").get_caller_identity()["Arn"]
    return f"a role that you can assume: it is {arn} then"


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
    if not _has_policies():
        raise NotAttempted("neither identity with a policy of its own", "just-enough on both")
    _needs_bucket()
    try:
        tried = trials.run("the deployer", _of_deployer(as_deployer()), is_denied)
        tried += trials.run("the caller", _of_caller(as_caller(work)), is_denied)
    finally:
        client("s3").delete_object(Bucket=bucket(), Key=MARK)
    return f"{tried} calls tried: what is needed is allowed, all else denied"


def _has_policies() -> bool:
    """Whether one of the two identities has a policy, inline or attached."""
    iam = client("iam")
    role, user = {"RoleName": DEPLOYER}, {"UserName": CALLER}
    try:
        of_role = (
            iam.list_role_policies(**role)["PolicyNames"] + iam.list_attached_role_policies(**role)["AttachedPolicies"]
        )
    except iam.exceptions.NoSuchEntityException:
        raise NotAttempted(f"no role named {DEPLOYER}", "the role of the task deployer") from None
    try:
        of_user = (
            iam.list_user_policies(**user)["PolicyNames"] + iam.list_attached_user_policies(**user)["AttachedPolicies"]
        )
    except iam.exceptions.NoSuchEntityException:
        raise NotAttempted(f"no user named {CALLER}", "the user of the task caller") from None
    return bool(of_role or of_user)


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
    yield Trial("write below scores/", True, lambda: s3.put_object(Bucket=bucket(), Key=MARK, Body=b"check"))
    yield Trial("list scores/", True, lambda: s3.list_objects_v2(Bucket=bucket(), Prefix="scores/"))
    yield Trial("read customers/", False, lambda: s3.get_object(Bucket=bucket(), Key="customers/customers.csv"))
    yield Trial("list users", False, iam.list_users)
    yield Trial(
        "lift its own boundary",
        False,
        lambda: iam.put_role_permissions_boundary(
            RoleName=DEPLOYER, PermissionsBoundary=f"{arn_of('policy', 'no-such-policy')}"
        ),
    )
    yield Trial("list all buckets", False, s3.list_buckets)


def events() -> Iterator[dict[str, Any]]:
    """The account's event history, newest first, as records."""
    for page in client("cloudtrail").get_paginator("lookup_events").paginate():
        for found in page["Events"]:
            yield json.loads(found["CloudTrailEvent"])


def denied_events() -> list[dict[str, Any]]:
    """The denied calls of the lab's identities, the checks' own left out."""
    return [
        event
        for event in events()
        if event.get("errorCode") == "AccessDenied"
        and "who-lab-" in event["userIdentity"]["arn"]
        and not event["userIdentity"]["arn"].endswith("/check")
    ]


def denial(work: Work) -> str:
    """The learner's answers are what the event history says of the three attempts."""
    answers = read_json(work, "answers.json", "a list of three denials")
    known: dict[tuple[str, str, str], str] = {}
    there = set()
    for event in denied_events():
        if event["eventName"] in ATTEMPTS and (said := _SENTENCE.fullmatch(event["errorMessage"])):
            # The newest comes first, and counts: an attempt may have been made before the limits were right.
            known.setdefault((said[1], said[2], said[3]), _why(event["errorMessage"]))
            there.add(event["eventName"])
    if missing := [name for name in ATTEMPTS if name not in there]:
        raise NotAttempted(
            f"{len(there)} of the three attempts in the event history",
            "all three, and denied",
            f"run the two cells above again, the bucket's policy and the attempts, once the checks of the earlier "
            f"tasks are right; what is missing is {' and '.join(missing)}",
        )
    if not answers:
        raise NotAttempted("an empty list of answers", "three denials, each with who, action, resource and why")
    if not isinstance(answers, list):
        raise Wrong("an answers.json that is no list", "a list of three denials")
    given = {}
    for answer in answers:
        if not isinstance(answer, dict) or {"who", "action", "resource", "why"} - answer.keys():
            raise Wrong("an answer without who, action, resource or why", "all four in each")
        given[str(answer["who"]), str(answer["action"]), str(answer["resource"])] = answer["why"]
    for key, why in given.items():
        if key not in known:
            raise Wrong(f"{key[1]} of {key[0]} on {key[2]}", "who, action and resource as AWS's sentences name them")
        if why not in WHYS:
            raise Wrong(f"{why!r} as the reason of {key[1]}", f"one of {', '.join(map(repr, WHYS))}")
        if why != known[key]:
            raise Wrong(
                f"{why!r} for {key[1]}",
                "the reason in the last words of AWS's sentence",
                "the list above says what each ending means",
            )
    for name in ATTEMPTS:
        if name not in {action.partition(":")[2] for _, action, _ in given}:
            raise Wrong(f"no answer about {name}", "one for each of the three attempts")
    return f"three denials with their reasons: {', '.join(sorted(set(given.values())))}"


def _why(sentence: str) -> str:
    if "explicit deny" in sentence:
        return "explicit deny"
    return "boundary" if "no permissions boundary" in sentence else "no policy allows it"


def audit(work: Work) -> str:
    """The learner's list has the denied calls of the event history, and no others."""
    listed = read_json(work, "denied.json", "the denied calls, each with id, when, who and what")
    if not listed:
        raise NotAttempted("an empty list of denied calls", "those of the two identities")
    known = {event["eventID"]: event for event in events() if event.get("errorCode") == "AccessDenied"}
    for each in listed:
        if not isinstance(each, dict) or {"id", "when", "who", "what"} - each.keys():
            raise Wrong("a call without id, when, who or what", "all four in each")
        event = known.get(each["id"])
        if event is None:
            raise Wrong(f"{each['what']} with an id that no denied call has", "eventID of calls with AccessDenied")
        when, who, what = event["eventTime"], event["userIdentity"]["arn"], event["eventName"]
        if (each["who"], each["what"]) != (who, what) or _moment(each["when"]) != _moment(when):
            raise Wrong(
                f"{each['what']} of {each['who']} at {each['when']}", f"{what} of {who} at {when} under that id"
            )
        if "who-lab-" not in each["who"]:
            raise Wrong(f"a call of {each['who']}", f"those of {DEPLOYER} and {CALLER}")
    newest = max(known[each["id"]]["eventTime"] for each in listed)
    missing = [
        event
        for event in denied_events()
        if event["eventTime"] <= newest and event["eventID"] not in {each["id"] for each in listed}
    ]
    if missing:
        raise Wrong(
            f"a list without {missing[0]['eventName']} of {missing[0]['userIdentity']['arn']}",
            "every denied call of both",
            "answers come in pages: a paginator reads them all",
        )
    if not {each["what"] for each in listed} >= set(ATTEMPTS):
        raise Wrong("a list without the three attempts of section 7", "every denied call of both")
    return f"{len(listed)} denied calls, all of them in the event history"


def _moment(text: object) -> datetime | None:
    """A time in any ISO form, to the second; None for what is none."""
    try:
        moment = datetime.fromisoformat(str(text)).replace(microsecond=0)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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
    return "a new key that works and an old one that is refused"


def cleanup(_: Work) -> str:
    """Nothing of the lab is left, and there was something once."""
    found = {
        "user": names_of("iam", "list_users", "Users", "UserName"),
        "role": names_of("iam", "list_roles", "Roles", "RoleName"),
        "policy": names_of("iam", "list_policies", "Policies", "PolicyName", Scope="Local"),
        "bucket": [each["Name"] for each in client("s3").list_buckets()["Buckets"]],
    }
    kept = {kind: left for kind, names in found.items() if (left := [each for each in names if "who-lab" in each])}
    expected = "an account without anything named who-lab"
    if kept:
        told = "; ".join(counted(kind, names) for kind, names in kept.items())
        raise (NotAttempted if len(kept) == len(found) else Wrong)(f"still there: {told}", expected)
    if not any(event["eventName"] == "CreateRole" and "errorCode" not in event for event in events()):
        raise NotAttempted("no role ever made", "one that was used and then deleted")
    return "no user, role, policy or bucket of this lab left"
