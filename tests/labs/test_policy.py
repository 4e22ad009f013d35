"""What a set of IAM policies allows, by its text."""

from __future__ import annotations

import pytest

from labkit.labs import policy

READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::mine/models/*"}


def document(*statements: dict[str, object]) -> policy.Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("s3:GetObject", "arn:aws:s3:::mine/models/a/b.tar.gz", True),
        ("S3:getobject", "arn:aws:s3:::mine/models/a", True),
        ("s3:GetObject", "arn:aws:s3:::mine/other", False),
        ("s3:GetObject", "arn:aws:s3:::Mine/models/a", False),
        ("s3:PutObject", "arn:aws:s3:::mine/models/a", False),
    ],
)
def test_a_statement_allows_what_its_patterns_cover(action: str, resource: str, allowed: bool) -> None:
    assert policy.allows([document(READ)], action, resource) is allowed


def test_a_denial_in_another_policy_wins() -> None:
    denial = document({"Effect": "Deny", "Action": "s3:*", "Resource": "*"})
    assert not policy.allows([document(READ), denial], "s3:GetObject", "arn:aws:s3:::mine/models/a")


def test_everything_but_something_is_allowed_but_that() -> None:
    wide = document({"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::mine/*"})
    assert policy.allows([wide], "s3:PutObject", "arn:aws:s3:::yours/file")
    assert not policy.allows([wide], "iam:CreateUser", "*")
    assert not policy.allows([wide], "s3:PutObject", "arn:aws:s3:::mine/file")


def test_one_statement_need_not_be_in_a_list() -> None:
    assert policy.allows([{"Statement": READ}], "s3:GetObject", "arn:aws:s3:::mine/models/a")


def test_what_is_left_out_counts_as_everything() -> None:
    assert policy.grants([document({"Effect": "Allow", "NotAction": "iam:*", "Resource": ["a", "b"]})]) == [
        ("*", "a"),
        ("*", "b"),
    ]


def test_brackets_in_a_pattern_stand_for_themselves() -> None:
    assert policy.covers("a[b]*", "a[b]c")
    assert not policy.covers("a[b]*", "abc")
