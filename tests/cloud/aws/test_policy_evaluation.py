"""The cases that AWS documents, decided by the engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from labkit.cloud.aws import policy_keys
from labkit.cloud.aws.policy_document import Malformed, parse
from labkit.cloud.aws.policy_evaluation import Policies, Principal, Question, Source, decide
from labkit.cloud.engine.errors import Unsupported
from tests.cloud.aws.policy_cases import CASES, Case

_ALL = [case for cases in CASES.values() for case in cases]


def _sources(kind: Any, statements: Sequence[Any] | None, version: str) -> list[Source]:
    if statements is None:
        return []
    text = json.dumps({"Version": version, "Statement": list(statements)})
    return [Source(kind, kind, parse(text))]


def _principal(arn: str) -> Principal:
    account = arn.split(":")[4]
    kind: Literal["user", "role", "root"] = "user"
    issuer = arn
    if arn.endswith(":root"):
        kind = "root"
    elif ":assumed-role/" in arn:
        kind, issuer = "role", f"arn:aws:iam::{account}:role/{arn.split('/')[1]}"
    return Principal(arn, issuer, account, kind)


def _decided(case: Case) -> str:
    keys = {name.lower(): value for name, value in case.keys.items()}
    owner = keys.pop("owner", "")
    lookup = policy_keys.Keys(case.action.partition(":")[0], keys).value
    resource = _sources("trust" if case.trust else "resource", case.resource_policy, case.version)
    policies = Policies(
        _sources("identity", case.identity, case.version),
        _sources("boundary", case.boundary, case.version) if case.boundary is not None else None,
        _sources("session", case.session, case.version) if case.session is not None else None,
        resource[0] if resource else None,
        required=case.trust,
    )
    try:
        outcome = decide(Question(_principal(case.principal), case.action, case.resource, lookup, owner), policies)
    except Unsupported as error:
        return f"refused: {error.message.removeprefix('The local clouds do not evaluate ').partition(', and')[0]}"
    if outcome.allowed:
        return "allowed"
    return f"denied by {outcome.kind}" if outcome.explicit else f"no {outcome.kind}"


@pytest.mark.parametrize("case", _ALL, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    assert _decided(case) == case.wanted


def test_there_are_enough_cases() -> None:
    assert len(_ALL) >= 60
    assert len({case.name for case in _ALL}) == len(_ALL)
    assert all(page.startswith("https://docs.aws.amazon.com/") for page in CASES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "This policy contains invalid Json"),
        ("[]", "Syntax errors in policy."),
        ('{"Statement": {"Effect": "Maybe", "Action": "*", "Resource": "*"}}', "Syntax errors in policy."),
        ('{"Statement": {"Effect": "Allow", "Resource": "*"}}', "Missing required field Action"),
        ('{"Statement": {"Effect": "Allow", "Action": "*", "Resources": "*"}}', "Unknown field Resources"),
        (
            '{"Statement": {"Effect": "Allow", "Action": "*", "NotAction": "*"}}',
            "Statement has both Action and NotAction",
        ),
        ('{"Version": "2013-10-17", "Statement": []}', "Syntax errors in policy."),
    ],
)
def test_documents_that_are_no_policies(text: str, message: str) -> None:
    with pytest.raises(Malformed, match=f"^{message}$"):
        parse(text)


def test_where_statements_stand() -> None:
    statement = '{"Effect": "Allow", "Action": "*", "Resource": "*"}'
    text = f'{{\n  "Version": "2012-10-17",\n  "Statement": [\n    {statement}\n  ]\n}}'
    found = parse(text).statements[0]
    assert (found.start, found.end) == ((4, 5), (4, 56))
