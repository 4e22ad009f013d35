"""STS through boto3: who is calling, sessions, what a trust policy allows, and credentials for containers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.config import Config
from botocore.credentials import ContainerProvider

from labkit.cloud.aws import AwsCloud, identity
from labkit.cloud.engine import Engine
from labkit.cloud.http import Headers, Request
from tests.cloud.aws import in_process
from tests.cloud.aws.in_process import error

ACCOUNT = "123456789012"
LEARNER = f"arn:aws:iam::{ACCOUNT}:user/learner"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
NO_TRUST = "because no role trust policy allows the sts:AssumeRole action"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture
def sts(client: Callable[[str], Any], cloud: AwsCloud) -> Any:
    cloud.reset()
    return client("sts")


@pytest.fixture
def make_role(client: Callable[[str], Any]) -> Callable[..., None]:
    def make(principal: Any, condition: dict[str, Any] | None = None, effect: str = "Allow", **more: Any) -> None:
        statement = {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole"}
        if condition:
            statement["Condition"] = condition
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=trust, **more)

    return make


def as_session(cloud: AwsCloud, credentials: dict[str, Any], service: str = "sts") -> Any:
    return in_process.client(
        cloud,
        service,
        key=credentials["AccessKeyId"],
        secret=credentials["SecretAccessKey"],
        token=credentials["SessionToken"],
    )


def test_the_caller(sts: Any, client: Callable[[str], Any]) -> None:
    who = sts.get_caller_identity()
    assert (who["Account"], who["Arn"]) == (ACCOUNT, LEARNER)
    assert who["UserId"] == client("iam").get_user()["User"]["UserId"]
    assert sts.get_access_key_info(AccessKeyId=in_process.ACCESS_KEY)["Account"] == ACCOUNT


def test_a_role_that_trusts_the_account(sts: Any, cloud: AwsCloud, make_role: Callable[..., None]) -> None:
    make_role({"AWS": ACCOUNT})
    answer = sts.assume_role(RoleArn=ROLE, RoleSessionName="me")
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert timedelta(minutes=59) < credentials["Expiration"] - datetime.now(UTC) <= timedelta(hours=1)
    who = as_session(cloud, credentials).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/r/me" == answer["AssumedRoleUser"]["Arn"]
    assert who["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]


@pytest.mark.parametrize(
    ("principal", "condition", "allowed"),
    [
        ("*", None, True),
        ({"AWS": "*"}, None, True),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, None, True),
        ({"AWS": ["999999999999", LEARNER]}, None, True),
        ({"AWS": "999999999999"}, None, False),
        ({"Service": "sagemaker.amazonaws.com"}, None, False),
        ({"AWS": ACCOUNT}, {"StringEquals": {"sts:ExternalId": "secret"}}, False),
        ({"AWS": ACCOUNT}, {"StringEquals": {"aws:PrincipalArn": LEARNER}}, True),
        ({"AWS": ACCOUNT}, {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/l?arner"}}, True),
        ({"AWS": ACCOUNT}, {"StringNotEquals": {"aws:PrincipalAccount": ACCOUNT}}, False),
    ],
)
def test_trust(sts: Any, make_role: Callable[..., None], principal: Any, condition: Any, allowed: bool) -> None:
    make_role(principal, condition)
    if allowed:
        sts.assume_role(RoleArn=ROLE, RoleSessionName="me")
    else:
        message = f"User: {LEARNER} is not authorized to perform: sts:AssumeRole on resource: {ROLE} {NO_TRUST}"
        assert error(sts.assume_role, RoleArn=ROLE, RoleSessionName="me") == (403, "AccessDenied", message)


def test_an_external_id(sts: Any, make_role: Callable[..., None]) -> None:
    make_role({"AWS": ACCOUNT}, {"StringEquals": {"sts:ExternalId": ["one", "two"]}})
    sts.assume_role(RoleArn=ROLE, RoleSessionName="me", ExternalId="two")
    assert error(sts.assume_role, RoleArn=ROLE, RoleSessionName="me", ExternalId="three")[1] == "AccessDenied"


def test_a_condition_that_is_not_evaluated_refuses(sts: Any, make_role: Callable[..., None]) -> None:
    make_role({"AWS": ACCOUNT}, {"StringEquals": {"sts:RoleSession": "me"}})
    status, code, message = error(sts.assume_role, RoleArn=ROLE, RoleSessionName="me")
    assert (status, code) == (501, "NotImplemented")
    assert message.startswith("The local clouds do not evaluate the condition key sts:RoleSession, and whether sts:Ass")


def test_roles_that_are_not_there(sts: Any) -> None:
    message = f"User: {LEARNER} is not authorized to perform: sts:AssumeRole on resource: {ROLE} {NO_TRUST}"
    assert error(sts.assume_role, RoleArn=ROLE, RoleSessionName="me") == (403, "AccessDenied", message)
    wrong = "arn:aws:iam::123456789012:user/learner"
    assert error(sts.assume_role, RoleArn=wrong, RoleSessionName="me") == (
        400,
        "ValidationError",
        f"{wrong} is invalid",
    )


def test_durations(sts: Any, cloud: AwsCloud, make_role: Callable[..., None]) -> None:
    make_role({"AWS": "*"}, MaxSessionDuration=7200)
    longest = sts.assume_role(RoleArn=ROLE, RoleSessionName="me", DurationSeconds=7200)["Credentials"]
    exceeds = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    wrong = error(sts.assume_role, RoleArn=ROLE, RoleSessionName="me", DurationSeconds=7201)
    assert wrong == (400, "ValidationError", exceeds)
    chained = error(as_session(cloud, longest).assume_role, RoleArn=ROLE, RoleSessionName="me", DurationSeconds=7200)
    assert chained[2].endswith("exceeds the 1 hour session limit for roles assumed by role chaining")
    careless = in_process.client(cloud, "sts", config=Config(parameter_validation=False))
    short = error(careless.assume_role, RoleArn=ROLE, RoleSessionName="me", DurationSeconds=60)
    assert "Member must have value greater than or equal to 900" in short[2]


def test_session_names(sts: Any, make_role: Callable[..., None]) -> None:
    make_role({"AWS": "*"})
    status, code, message = error(sts.assume_role, RoleArn=ROLE, RoleSessionName="a b")
    assert (status, code) == (400, "ValidationError")
    assert message.startswith("1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy")


def test_session_and_federation_tokens(sts: Any, cloud: AwsCloud) -> None:
    session = as_session(cloud, sts.get_session_token(DurationSeconds=900)["Credentials"])
    assert session.get_caller_identity()["Arn"] == LEARNER
    for call in (session.get_session_token, lambda: session.get_federation_token(Name="bob")):
        status, code, message = error(call)
        assert (status, code) == (403, "AccessDenied")
        assert message.endswith("with session credentials")
    answer = sts.get_federation_token(Name="bob")
    federated = as_session(cloud, answer["Credentials"]).get_caller_identity()
    assert federated["Arn"] == f"arn:aws:sts::{ACCOUNT}:federated-user/bob" == answer["FederatedUser"]["Arn"]


@pytest.mark.parametrize(
    ("service", "operation", "expired", "bad"),
    [
        (
            "sts",
            "get_caller_identity",
            (403, "ExpiredToken", "The security token included in the request is expired"),
            (403, "InvalidClientTokenId", "The security token included in the request is invalid."),
        ),
        (
            "s3",
            "list_buckets",
            (400, "ExpiredToken", "The provided token has expired."),
            (400, "InvalidToken", "The provided token is malformed or otherwise invalid."),
        ),
        (
            "sagemaker",
            "list_endpoints",
            (400, "ExpiredTokenException", "The security token included in the request is expired"),
            (400, "UnrecognizedClientException", "The security token included in the request is invalid."),
        ),
    ],
)
def test_tokens_that_are_over_or_wrong(
    sts: Any, cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch, service: str, operation: str, expired: Any, bad: Any
) -> None:
    credentials = sts.get_session_token(DurationSeconds=900)["Credentials"]
    wrong = as_session(cloud, {**credentials, "SessionToken": "bm90IGl0"}, service)
    assert error(getattr(wrong, operation)) == bad

    class Past(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr(identity, "datetime", Past)
    over = as_session(cloud, sts.get_session_token(DurationSeconds=900)["Credentials"], service)
    assert error(getattr(over, operation)) == expired


def test_a_temporary_key_without_its_token(sts: Any, cloud: AwsCloud) -> None:
    credentials = sts.get_session_token()["Credentials"]
    bare = in_process.client(cloud, "s3", key=credentials["AccessKeyId"], secret=credentials["SecretAccessKey"])
    message = "The AWS Access Key Id you provided does not exist in our records."
    assert error(bare.list_buckets) == (403, "InvalidAccessKeyId", message)


# -- what runs in the clouds ---------------------------------------------------------------------------------------


def test_a_container_gets_its_roles_credentials(
    sts: Any, cloud: AwsCloud, make_role: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As botocore asks for them, given the two variables that the container has."""
    make_role({"Service": "sagemaker.amazonaws.com"})
    token = cloud.identities.container(ROLE, "SageMaker")
    asked: list[Request] = []

    class Fetcher:
        def retrieve_full_uri(self, uri: str, headers: dict[str, str]) -> Any:
            request = Request("GET", "", "/_aws/credentials", Headers(headers.items()))
            assert uri.endswith(request.target)
            assert cloud.front(request)
            asked.append(request)
            return json.loads(cloud.handle(request).body)

    variables = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/_aws/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
    }
    found = ContainerProvider(variables, Fetcher()).load().get_frozen_credentials()
    assert asked
    session = {"AccessKeyId": found.access_key, "SecretAccessKey": found.secret_key, "SessionToken": found.token}
    who = as_session(cloud, session).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/r/SageMaker"
    cloud.identities.release(token)
    assert cloud.handle(asked[0]).status == 403


def test_does_trust(sts: Any, cloud: AwsCloud, make_role: Callable[..., None]) -> None:
    make_role({"Service": ["sagemaker.amazonaws.com", "glue.amazonaws.com"]})
    role = cloud.identities.role(ROLE)
    assert cloud.identities.does_trust(role, "sagemaker.amazonaws.com")
    assert not cloud.identities.does_trust(role, "lambda.amazonaws.com")
    assert cloud.identities.role(f"{ROLE}x") is None


def test_web_identities_are_refused_by_name(cloud: AwsCloud) -> None:
    sts = in_process.client(cloud, "sts")
    given = {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "ci", "WebIdentityToken": "x.y.z"}
    status, code, message = error(sts.assume_role_with_web_identity, **given)
    assert (status, code) == (501, "NotImplemented")
    assert "sts:AssumeRoleWithWebIdentity" in message
