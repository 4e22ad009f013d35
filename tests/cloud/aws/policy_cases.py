"""What IAM decides, case by case, each group with the page that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
ACCOUNT, OTHER = "123456789012", "999988887777"
USER, ROLE = f"arn:aws:iam::{ACCOUNT}:user/ann", f"arn:aws:iam::{ACCOUNT}:role/app"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/app/one"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
STRANGER = f"arn:aws:iam::{OTHER}:user/eve"
OBJECT, BUCKET = "arn:aws:s3:::data/scores/a.csv", "arn:aws:s3:::data"
ENDPOINT = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/churn"

Statement = dict[str, Any]
ALLOWED = "allowed"


@dataclass(frozen=True)
class Case:
    """One request. ``wanted`` is ``allowed``, ``denied by KIND``, ``no KIND`` or ``refused: WHAT``."""

    name: str
    wanted: str
    identity: Sequence[Statement] = ()
    boundary: Sequence[Statement] | None = None
    session: Sequence[Statement] | None = None
    resource_policy: Sequence[Statement] | None = None
    trust: bool = False
    action: str = "s3:GetObject"
    resource: str = OBJECT
    principal: str = USER
    keys: Mapping[str, Any] = field(default_factory=dict)
    version: str = "2012-10-17"


def allow(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> Statement:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def when(operator: str, key: str, value: Any) -> Statement:
    """An allowance under one condition."""
    return allow(Condition={operator: {key: value}})


def on(principal: Any, **more: Any) -> Statement:
    """An allowance of the resource's policy."""
    return allow(Principal=principal, **more)


def only_if(name: str, operator: str, key: str, value: Any, wanted: bool, **keys: Any) -> Case:
    """One condition against the keys of one request; double underscores stand for colons."""
    given = {name.replace("__", ":").replace("_SLASH_", "/"): each for name, each in keys.items()}
    return Case(name, ALLOWED if wanted else "no identity", [when(operator, key, value)], keys=given)


TRUST: dict[str, Any] = {"trust": True, "action": "sts:AssumeRole", "resource": ROLE}
MAY_ASSUME = allow("sts:AssumeRole", ROLE)


def trusts(principal: Any, **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, **more}


CASES: dict[str, list[Case]] = {
    f"{GUIDE}reference_policies_evaluation-logic_policy-eval-basics.html": [
        Case("nothing is allowed by itself", "no identity"),
        Case("an allowance", ALLOWED, [allow()]),
        Case("another action's allowance", "no identity", [allow("s3:PutObject")]),
        Case("a denial wins", "denied by identity", [allow("*"), deny()]),
        Case("a denial wins whatever the order", "denied by identity", [deny(), allow("*")]),
        Case("a denial of something else", ALLOWED, [allow("*"), deny("s3:DeleteObject")]),
        Case("root needs no policy", ALLOWED, principal=ROOT),
        Case(
            "a resource's policy can deny root",
            "denied by resource",
            principal=ROOT,
            resource_policy=[deny(Principal="*")],
        ),
    ],
    f"{GUIDE}reference_policies_elements_action.html": [
        Case("all of a service", ALLOWED, [allow("s3:*")]),
        Case("a verb", ALLOWED, [allow("s3:Get*")]),
        Case("a question mark", ALLOWED, [allow("s3:GetObjec?")]),
        Case("a question mark is one character", "no identity", [allow("s3:GetObject?")]),
        Case("case does not matter", ALLOWED, [allow("S3:getobject")]),
        Case("a list", ALLOWED, [allow(["s3:PutObject", "s3:GetObject"])]),
        Case("another service", "no identity", [allow("sagemaker:*")]),
    ],
    f"{GUIDE}reference_policies_elements_notaction.html": [
        Case("all but", ALLOWED, [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]),
        Case("all but this", "no identity", [{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}]),
        Case(
            "denied are all but",
            "denied by identity",
            [allow("*"), {"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}],
        ),
    ],
    f"{GUIDE}reference_policies_elements_resource.html": [
        Case("one object", ALLOWED, [allow(resource=OBJECT)]),
        Case("below a prefix", ALLOWED, [allow(resource="arn:aws:s3:::data/scores/*")]),
        Case("below another prefix", "no identity", [allow(resource="arn:aws:s3:::data/customers/*")]),
        Case("a bucket is not what is in it", "no identity", [allow(resource=BUCKET)]),
        Case(
            "objects are not their bucket",
            "no identity",
            [allow("s3:ListBucket", f"{BUCKET}/*")],
            action="s3:ListBucket",
            resource=BUCKET,
        ),
        Case("case matters", "no identity", [allow(resource="arn:aws:s3:::data/Scores/*")]),
        Case(
            "any region",
            ALLOWED,
            [allow("sagemaker:InvokeEndpoint", f"arn:aws:sagemaker:*:{ACCOUNT}:endpoint/*")],
            action="sagemaker:InvokeEndpoint",
            resource=ENDPOINT,
        ),
        Case(
            "a wildcard stays in its part",
            "no identity",
            [allow("sagemaker:InvokeEndpoint", "arn:aws:sagemaker:*:endpoint/churn")],
            action="sagemaker:InvokeEndpoint",
            resource=ENDPOINT,
        ),
        Case("parts left out stand for any", ALLOWED, [allow(resource="arn:aws:s3")]),
        Case(
            "what has no resource wants a star",
            "no identity",
            [allow("s3:ListAllMyBuckets", "arn:aws:s3:::*")],
            action="s3:ListAllMyBuckets",
            resource="*",
        ),
        Case(
            "all but a resource", ALLOWED, [{"Effect": "Allow", "Action": "*", "NotResource": f"{BUCKET}/customers/*"}]
        ),
        Case(
            "all but this resource", "no identity", [{"Effect": "Allow", "Action": "*", "NotResource": f"{BUCKET}/*"}]
        ),
    ],
    f"{GUIDE}reference_policies_variables.html": [
        Case(
            "the user's own prefix",
            ALLOWED,
            [allow(resource="arn:aws:s3:::data/${aws:username}/*")],
            resource="arn:aws:s3:::data/ann/x",
            keys={"aws:username": "ann"},
        ),
        Case(
            "somebody else's prefix",
            "no identity",
            [allow(resource="arn:aws:s3:::data/${aws:username}/*")],
            resource="arn:aws:s3:::data/bob/x",
            keys={"aws:username": "ann"},
        ),
        Case(
            "a variable without a value",
            "no identity",
            [allow(resource="arn:aws:s3:::data/${aws:username}/*")],
            resource="arn:aws:s3:::data//x",
        ),
        Case(
            "a default",
            ALLOWED,
            [allow(resource="arn:aws:s3:::data/${aws:PrincipalTag/team, 'all'}/*")],
            resource="arn:aws:s3:::data/all/x",
        ),
        Case("a star that is a star", "no identity", [allow(resource="arn:aws:s3:::data/${*}")]),
        Case(
            "a star in a value is no wildcard",
            "no identity",
            [allow(resource="arn:aws:s3:::data/${aws:username}")],
            keys={"aws:username": "*"},
        ),
        Case(
            "plain text in the old version",
            "no identity",
            [allow(resource="arn:aws:s3:::data/${aws:username}")],
            resource="arn:aws:s3:::data/ann",
            keys={"aws:username": "ann"},
            version="2008-10-17",
        ),
        Case(
            "in a condition",
            ALLOWED,
            [when("StringEquals", "s3:prefix", "${aws:username}")],
            keys={"aws:username": "ann", "s3:prefix": "ann"},
        ),
    ],
    f"{GUIDE}reference_policies_elements_condition_operators.html": [
        only_if("equal", "StringEquals", "aws:username", "ann", True, aws__username="ann"),
        only_if("equal to one of", "StringEquals", "aws:username", ["bob", "ann"], True, aws__username="ann"),
        only_if("case counts", "StringEquals", "aws:username", "Ann", False, aws__username="ann"),
        only_if("case aside", "StringEqualsIgnoreCase", "aws:username", "Ann", True, aws__username="ann"),
        only_if("keys have no case", "StringEquals", "AWS:UserName", "ann", True, aws__username="ann"),
        only_if("no wildcards in equal", "StringEquals", "aws:username", "a*", False, aws__username="ann"),
        only_if("like", "StringLike", "s3:prefix", "scores/*", True, s3__prefix="scores/2026"),
        only_if("not like", "StringNotLike", "s3:prefix", ["a*", "b*"], True, s3__prefix="c"),
        only_if("not like any", "StringNotLike", "s3:prefix", ["a*", "b*"], False, s3__prefix="b"),
        only_if("a missing key is not equal", "StringEquals", "aws:username", "ann", False),
        only_if("a missing key meets a negation", "StringNotEquals", "aws:username", "ann", True),
        only_if("a missing key and IfExists", "StringEqualsIfExists", "aws:username", "ann", True),
        only_if("a present key and IfExists", "StringEqualsIfExists", "aws:username", "ann", False, aws__username="b"),
        only_if("a number", "NumericLessThanEquals", "s3:max-keys", "10", True, **{"s3__max-keys": "10"}),
        only_if("too great a number", "NumericLessThan", "s3:max-keys", 10, False, **{"s3__max-keys": "10"}),
        only_if(
            "before a date",
            "DateLessThan",
            "aws:CurrentTime",
            "2027-01-01T00:00:00Z",
            True,
            aws__currenttime="2026-11-24T12:00:00Z",
        ),
        only_if(
            "after a date",
            "DateGreaterThan",
            "aws:CurrentTime",
            "2027-01-01T00:00:00Z",
            False,
            aws__currenttime="2026-11-24T12:00:00Z",
        ),
        only_if("seconds of 1970", "DateGreaterThan", "aws:EpochTime", "1767225600", True, aws__epochtime="1767225601"),
        only_if("a truth", "Bool", "aws:SecureTransport", "true", True, aws__securetransport="true"),
        only_if("a truth written as JSON's", "Bool", "aws:SecureTransport", True, True, aws__securetransport="true"),
        only_if("an address", "IpAddress", "aws:SourceIp", "10.0.0.0/8", True, aws__sourceip="10.1.2.3"),
        only_if("another address", "IpAddress", "aws:SourceIp", "10.0.0.0/8", False, aws__sourceip="127.0.0.1"),
        only_if(
            "not an address", "NotIpAddress", "aws:SourceIp", ["10.0.0.0/8", "::1"], True, aws__sourceip="127.0.0.1"
        ),
        only_if(
            "an ARN like", "ArnLike", "aws:PrincipalArn", f"arn:aws:iam::{ACCOUNT}:role/*", True, aws__principalarn=ROLE
        ),
        only_if("an ARN's parts", "ArnLike", "aws:PrincipalArn", "arn:aws:*:role/app", False, aws__principalarn=ROLE),
        only_if("not an ARN", "ArnNotEquals", "aws:PrincipalArn", ROLE, False, aws__principalarn=ROLE),
        only_if("no such key", "Null", "aws:TokenIssueTime", "true", True),
        only_if("there is a key", "Null", "aws:TokenIssueTime", "true", False, aws__tokenissuetime="2026"),
        Case(
            "all conditions have to hold",
            "no identity",
            [allow(Condition={"StringEquals": {"aws:username": "ann", "s3:prefix": "x"}})],
            keys={"aws:username": "ann", "s3:prefix": "y"},
        ),
        Case(
            "an operator that IAM does not have",
            "refused: the condition operator StringAlmost",
            [when("StringAlmost", "aws:username", "ann")],
            keys={"aws:username": "ann"},
        ),
    ],
    f"{GUIDE}reference_policies_condition-single-vs-multi-valued-context-keys.html": [
        only_if("all of", "ForAllValues:StringEquals", "aws:TagKeys", ["a", "b"], True, aws__tagkeys=["a"]),
        only_if("not all of", "ForAllValues:StringEquals", "aws:TagKeys", ["a"], False, aws__tagkeys=["a", "c"]),
        only_if("all of nothing", "ForAllValues:StringEquals", "aws:TagKeys", ["a"], True),
        only_if("any of", "ForAnyValue:StringEquals", "aws:TagKeys", ["a"], True, aws__tagkeys=["a", "c"]),
        only_if("any of nothing", "ForAnyValue:StringEquals", "aws:TagKeys", ["a"], False),
        only_if("any that is not", "ForAnyValue:StringNotEquals", "aws:TagKeys", ["a"], True, aws__tagkeys=["a", "c"]),
        only_if("like any", "ForAnyValue:StringLike", "aws:TagKeys", ["c*"], True, aws__tagkeys=["a", "cost"]),
    ],
    f"{GUIDE}reference_policies_condition-keys.html": [
        Case(
            "a key that the kit does not know",
            "refused: the condition key s3:TlsVersion",
            [when("NumericGreaterThan", "s3:TlsVersion", "1.2")],
        ),
        Case("unknown, but it does not matter", ALLOWED, [allow(), when("NumericGreaterThan", "s3:TlsVersion", "1.2")]),
        Case(
            "unknown, but another condition fails",
            "no identity",
            [
                allow(
                    Condition={"NumericGreaterThan": {"s3:TlsVersion": "1.2"}, "Bool": {"aws:SecureTransport": "true"}}
                )
            ],
            keys={"aws:SecureTransport": "false"},
        ),
        Case(
            "a denial that hangs on it is not left out",
            "refused: the condition key s3:TlsVersion",
            [allow(), deny(Condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}})],
        ),
        Case(
            "another service's key is in no request", "no identity", [when("StringEquals", "ec2:Region", "us-east-1")]
        ),
        Case("there is no organization", "no identity", [when("StringEquals", "aws:PrincipalOrgID", "o-1")]),
        Case(
            "a tag of the principal",
            ALLOWED,
            [when("StringEquals", "aws:PrincipalTag/team", "ml")],
            keys={"aws:PrincipalTag/team": "ml"},
        ),
        Case(
            "a tag of the resource like the principal's",
            ALLOWED,
            [when("StringEquals", "aws:ResourceTag/team", "${aws:PrincipalTag/team}")],
            keys={"aws:PrincipalTag/team": "ml", "aws:ResourceTag/team": "ml"},
        ),
    ],
    f"{GUIDE}access_policies_boundaries.html": [
        Case("both allow", ALLOWED, [allow("*")], boundary=[allow("s3:*")]),
        Case("outside the boundary", "no boundary", [allow("*")], boundary=[allow("sagemaker:*")]),
        Case("a boundary gives nothing", "no identity", boundary=[allow("*")]),
        Case("a boundary denies", "denied by boundary", [allow("*")], boundary=[allow("*"), deny()]),
        Case(
            "a policy that names a user passes the boundary",
            ALLOWED,
            boundary=[allow("sagemaker:*")],
            resource_policy=[on({"AWS": USER})],
        ),
        Case(
            "one that names a role does not",
            "no boundary",
            boundary=[allow("sagemaker:*")],
            principal=SESSION,
            resource_policy=[on({"AWS": ROLE})],
        ),
        Case(
            "one that names the session does",
            ALLOWED,
            boundary=[allow("sagemaker:*")],
            principal=SESSION,
            resource_policy=[on({"AWS": SESSION})],
        ),
    ],
    f"{GUIDE}access_policies.html#policies_session": [
        Case("role and session allow", ALLOWED, [allow("*")], session=[allow()], principal=SESSION),
        Case(
            "the session's policy does not", "no session", [allow("*")], session=[allow("s3:Put*")], principal=SESSION
        ),
        Case("the session's policy gives nothing", "no identity", session=[allow("*")], principal=SESSION),
        Case(
            "the session's policy denies",
            "denied by session",
            [allow("*")],
            session=[allow("*"), deny()],
            principal=SESSION,
        ),
    ],
    f"{GUIDE}access_policies_identity-vs-resource.html": [
        Case("the resource's policy is enough in the account", ALLOWED, resource_policy=[on({"AWS": USER})]),
        Case("for everybody", ALLOWED, resource_policy=[on("*")]),
        Case("for the account, which has to pass it on", "no identity", resource_policy=[on({"AWS": ROOT})]),
        Case("passed on", ALLOWED, [allow()], resource_policy=[on({"AWS": ACCOUNT})]),
        Case("for somebody else", "no identity", resource_policy=[on({"AWS": ROLE})]),
        Case("it denies", "denied by resource", [allow()], resource_policy=[deny(Principal={"AWS": USER})]),
        Case(
            "it denies all but one",
            "denied by resource",
            [allow()],
            resource_policy=[{"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "*", "Resource": "*"}],
        ),
        Case(
            "that one",
            ALLOWED,
            [allow()],
            resource_policy=[{"Effect": "Deny", "NotPrincipal": {"AWS": USER}, "Action": "*", "Resource": "*"}],
        ),
        Case("a service is nobody's user", "no identity", resource_policy=[on({"Service": "sagemaker.amazonaws.com"})]),
    ],
    f"{GUIDE}reference_policies_evaluation-logic-cross-account.html": [
        Case(
            "another account's user needs both",
            ALLOWED,
            [allow()],
            principal=STRANGER,
            resource_policy=[on({"AWS": STRANGER})],
            keys={"owner": ACCOUNT},
        ),
        Case("their own policy is not enough", "no resource", [allow()], principal=STRANGER, keys={"owner": ACCOUNT}),
        Case(
            "the resource's policy is not enough",
            "no identity",
            principal=STRANGER,
            resource_policy=[on({"AWS": STRANGER})],
            keys={"owner": ACCOUNT},
        ),
        Case(
            "their account is let in",
            ALLOWED,
            [allow()],
            principal=STRANGER,
            resource_policy=[on({"AWS": OTHER})],
            keys={"owner": ACCOUNT},
        ),
    ],
    f"{GUIDE}id_roles_update-role-trust-policy.html": [
        Case("the trust policy names the user", ALLOWED, resource_policy=[trusts({"AWS": USER})], **TRUST),
        Case(
            "it trusts the account, the user may",
            ALLOWED,
            [MAY_ASSUME],
            resource_policy=[trusts({"AWS": ROOT})],
            **TRUST,
        ),
        Case(
            "it trusts the account, the user may not", "no identity", resource_policy=[trusts({"AWS": ROOT})], **TRUST
        ),
        Case(
            "the user may, it does not trust",
            "no trust",
            [MAY_ASSUME],
            resource_policy=[trusts({"AWS": SESSION})],
            **TRUST,
        ),
        Case(
            "it trusts a service only",
            "no trust",
            [allow("*")],
            resource_policy=[trusts({"Service": "sagemaker.amazonaws.com"})],
            **TRUST,
        ),
        Case(
            "it denies, in a trust policy",
            "denied by trust",
            [MAY_ASSUME],
            resource_policy=[trusts("*"), {**trusts({"AWS": USER}), "Effect": "Deny"}],
            **TRUST,
        ),
        Case(
            "an external id is missing",
            "no trust",
            [MAY_ASSUME],
            resource_policy=[trusts({"AWS": ROOT}, Condition={"StringEquals": {"sts:ExternalId": "7"}})],
            **TRUST,
        ),
        Case(
            "an external id",
            ALLOWED,
            [MAY_ASSUME],
            keys={"sts:ExternalId": "7"},
            resource_policy=[trusts({"AWS": ROOT}, Condition={"StringEquals": {"sts:ExternalId": "7"}})],
            **TRUST,
        ),
    ],
    f"{GUIDE}id_roles_use_passrole.html": [
        Case("passing one role", ALLOWED, [allow("iam:PassRole", ROLE)], action="iam:PassRole", resource=ROLE),
        Case(
            "passing another", "no identity", [allow("iam:PassRole", f"{ROLE}-2")], action="iam:PassRole", resource=ROLE
        ),
        Case(
            "passing it to one service",
            ALLOWED,
            [
                allow(
                    "iam:PassRole", ROLE, Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
                )
            ],
            action="iam:PassRole",
            resource=ROLE,
            keys={"iam:PassedToService": "sagemaker.amazonaws.com"},
        ),
        Case(
            "passing it to another",
            "no identity",
            [
                allow(
                    "iam:PassRole", ROLE, Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
                )
            ],
            action="iam:PassRole",
            resource=ROLE,
            keys={"iam:PassedToService": "lambda.amazonaws.com"},
        ),
    ],
}
