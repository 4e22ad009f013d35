"""IAM's policy simulator through boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cloud.aws.in_process import error
from tests.cloud.aws.policy_cases import allow, deny
from tests.cloud.aws.test_permissions import document

OBJECT = "arn:aws:s3:::data/scores/a"
USER = "arn:aws:iam::123456789012:user/sim"


@pytest.fixture
def iam(client: Callable[[str], Any]) -> Any:
    return client("iam")


def test_custom_policies(iam: Any) -> None:
    policy = document(allow("s3:Get*", "arn:aws:s3:::data/*"), deny("s3:*", "arn:aws:s3:::data/secret"))
    answer = iam.simulate_custom_policy(
        PolicyInputList=[policy],
        ActionNames=["s3:GetObject", "s3:PutObject"],
        ResourceArns=[OBJECT, "arn:aws:s3:::data/secret"],
    )
    results = answer["EvaluationResults"]
    found = [(each["EvalActionName"], each["EvalResourceName"][-1], each["EvalDecision"]) for each in results]
    assert found == [
        ("s3:GetObject", "a", "allowed"),
        ("s3:GetObject", "t", "explicitDeny"),
        ("s3:PutObject", "a", "implicitDeny"),
        ("s3:PutObject", "t", "explicitDeny"),
    ]
    (matched,) = results[0]["MatchedStatements"]
    assert matched["SourcePolicyId"] == "PolicyInputList.1"
    assert matched["StartPosition"] == {"Line": 1, "Column": policy.index('{"Effect": "Allow"') + 1}
    assert answer["IsTruncated"] is False


def test_context_boundary_and_pages(iam: Any) -> None:
    policy = document(allow(Condition={"StringEquals": {"aws:PrincipalTag/team": "ml"}}))
    asked = {"PolicyInputList": [policy], "ActionNames": ["s3:GetObject"]}
    (result,) = iam.simulate_custom_policy(**asked)["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("implicitDeny", ["aws:PrincipalTag/team"])
    entry = {"ContextKeyName": "aws:PrincipalTag/team", "ContextKeyValues": ["ml"], "ContextKeyType": "string"}
    (result,) = iam.simulate_custom_policy(**asked, ContextEntries=[entry])["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])
    limit = [document(allow("sagemaker:*"))]
    (result,) = iam.simulate_custom_policy(**asked, ContextEntries=[entry], PermissionsBoundaryPolicyInputList=limit)[
        "EvaluationResults"
    ]
    assert result["EvalDecision"] == "implicitDeny"
    assert result["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    page = iam.simulate_custom_policy(PolicyInputList=[policy], ActionNames=["a:B", "a:C"], MaxItems=1)
    assert page["IsTruncated"]
    rest = iam.simulate_custom_policy(PolicyInputList=[policy], ActionNames=["a:B", "a:C"], Marker=page["Marker"])
    assert [each["EvalActionName"] for each in rest["EvaluationResults"]] == ["a:C"]


def test_principals(iam: Any) -> None:
    iam.create_user(UserName="sim")
    mine = document(allow("s3:GetObject", "arn:aws:s3:::data/${aws:username}/*"))
    iam.put_user_policy(UserName="sim", PolicyName="mine", PolicyDocument=mine)
    asked = {
        "PolicySourceArn": USER,
        "ActionNames": ["s3:GetObject"],
        "ResourceArns": ["arn:aws:s3:::data/sim/x", OBJECT],
    }
    results = iam.simulate_principal_policy(**asked)["EvaluationResults"]
    assert [each["EvalDecision"] for each in results] == ["allowed", "implicitDeny"]
    assert results[0]["MatchedStatements"][0]["SourcePolicyId"] == "user_sim_mine"
    let_in = document(allow("s3:GetObject", OBJECT, Principal={"AWS": USER}))
    results = iam.simulate_principal_policy(**asked, ResourcePolicy=let_in, CallerArn=USER)["EvaluationResults"]
    assert [each["EvalDecision"] for each in results] == ["allowed", "allowed"]
    assert iam.get_context_keys_for_principal_policy(PolicySourceArn=USER)["ContextKeyNames"] == ["aws:username"]
    keys = iam.get_context_keys_for_custom_policy(
        PolicyInputList=[document(allow(Condition={"Bool": {"aws:X": "true"}}))]
    )
    assert keys["ContextKeyNames"] == ["aws:X"]


def test_what_is_wrong(iam: Any) -> None:
    policy = document(allow())
    assert error(iam.simulate_custom_policy, PolicyInputList=[policy], ActionNames=["GetObject"]) == (
        400,
        "InvalidInput",
        "Invalid Action Name: GetObject",
    )
    assert error(iam.simulate_custom_policy, PolicyInputList=["{"], ActionNames=["s3:GetObject"])[1] == "InvalidInput"
    ghost = "arn:aws:iam::123456789012:role/ghost"
    assert error(iam.simulate_principal_policy, PolicySourceArn=ghost, ActionNames=["s3:GetObject"]) == (
        404,
        "NoSuchEntity",
        "The role with name ghost cannot be found.",
    )
    odd = document(allow(Condition={"StringAlmost": {"aws:username": "x"}}))
    status, code, message = error(iam.simulate_custom_policy, PolicyInputList=[odd], ActionNames=["s3:GetObject"])
    assert (status, code) == (501, "NotImplemented")
    assert "the condition operator StringAlmost" in message
