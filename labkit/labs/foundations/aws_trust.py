"""Who else can assume a role: its trust policy read for whom it names, and tried as somebody it does not name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import boto3

from labkit.labs.policy import as_list, statements

#: The user that a check makes for a moment.
STRANGER = "lab-check-stranger"


def named_beside(me: str, trust: Mapping[str, Any]) -> list[str]:
    """Whom a trust policy lets in by name, other than ``me``: services, identity providers, other people and accounts.

    A check cannot sign in as one of these, so no condition on them counts. Everybody (``*``, ``NotPrincipal``) and the
    whole account are left out: whether a condition or a denial keeps others away is for :func:`stranger` to try.
    """
    account = me.split(":")[4]
    tried = {me, "*", account, f"arn:aws:iam::{account}:root"}
    found = []
    for statement in statements([trust]):
        principal = statement.get("Principal", {})
        kinds = principal.values() if isinstance(principal, dict) else [principal]
        found += [each for kind in kinds for each in as_list(kind) if each not in tried]
    return found


@contextmanager
def stranger(role: str) -> Iterator[boto3.Session]:
    """The session of a user made for this, who may ask for the role: only the trust policy can keep such a user out."""
    iam = boto3.client("iam")
    user = {"UserName": STRANGER}
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_user(**user)
    try:
        ask = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
        document = json.dumps({"Version": "2012-10-17", "Statement": [ask]})
        iam.put_user_policy(PolicyName="ask", PolicyDocument=document, **user)
        key = iam.create_access_key(**user)["AccessKey"]
        yield boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        for key in iam.list_access_keys(**user)["AccessKeyMetadata"]:
            iam.delete_access_key(AccessKeyId=key["AccessKeyId"], **user)
        with suppress(iam.exceptions.NoSuchEntityException):
            iam.delete_user_policy(PolicyName="ask", **user)
        iam.delete_user(**user)
