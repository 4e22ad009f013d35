"""The identity endpoint, the tokens that it gives out, and how Resource Manager takes them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from labkit.cloud.azure import AzureCloud
from labkit.cloud.azure.identity import PATH, Identities
from labkit.cloud.azure.tokens import Rejected, one_of
from tests.cloud.azure.in_process import MANAGEMENT, URL, Lab, Rest, call, token


def ask(cloud: AzureCloud, query: str, header: str | None = None) -> tuple[int, dict[str, Any]]:
    headers = {"X-IDENTITY-HEADER": header} if header is not None else {}
    answer = call(cloud, "GET", f"{URL}{PATH}?{query}", headers=headers)
    return answer.status, json.loads(bytes(answer.body))


def test_default_credential_unmodified(reached: AzureCloud) -> None:
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    for credential in (DefaultAzureCredential(), ManagedIdentityCredential()):
        found = credential.get_token("https://ml.azure.com/.default")
        claims = jwt.decode(found.token, options={"verify_signature": False})
        assert claims["aud"] == "https://ml.azure.com"
        assert claims["tid"] == reached.identities.tenant
        assert claims["oid"] == reached.identities.learner.object_id
        assert claims["iss"] == f"https://sts.windows.net/{reached.identities.tenant}/"
        assert abs(found.expires_on - time.time() - 86_400) < 60


def test_the_endpoint_as_app_service_documents_it(cloud: AzureCloud) -> None:
    header = cloud.identities.learners_header
    status, body = ask(cloud, f"api-version=2019-08-01&resource={MANAGEMENT}", header)
    assert status == 200
    assert body.keys() == {"access_token", "expires_on", "resource", "token_type", "client_id"}
    assert (body["resource"], body["token_type"]) == (MANAGEMENT, "Bearer")


@pytest.mark.parametrize("header", [None, "", "wrong"])
def test_a_wrong_identity_header_is_refused(cloud: AzureCloud, header: str | None) -> None:
    status, body = ask(cloud, f"api-version=2019-08-01&resource={MANAGEMENT}", header)
    assert (status, body["statusCode"]) == (401, 401)
    assert "X-IDENTITY-HEADER" in body["message"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("resource=https://management.azure.com", "api-version"),
        ("api-version=2019-08-01", "no resource"),
        ("api-version=2019-08-01&resource=x&client_id=other", "No User Assigned or Delegated Managed Identity found"),
        (
            "api-version=2019-08-01&resource=x&mi_res_id=/some/id",
            "No User Assigned or Delegated Managed Identity found",
        ),
    ],
)
def test_bad_questions(cloud: AzureCloud, query: str, message: str) -> None:
    status, body = ask(cloud, query, cloud.identities.learners_header)
    assert status == 400
    assert message in body["message"]


def test_code_in_the_clouds_has_its_own_identity(cloud: AzureCloud) -> None:
    identity = cloud.identities.assign(f"/subscriptions/{cloud.identities.subscription}/some/endpoint")
    header = cloud.identities.admit(identity)
    _, body = ask(cloud, f"api-version=2019-08-01&resource={MANAGEMENT}", header)
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["oid"] == identity.object_id != cloud.identities.learner.object_id
    assert claims["xms_mirid"] == identity.resource_id
    url = f"{MANAGEMENT}/subscriptions?api-version=2021-04-01"
    assert call(cloud, "GET", url, token=body["access_token"]).status == 200

    cloud.identities.unassign(identity.resource_id)
    assert ask(cloud, f"api-version=2019-08-01&resource={MANAGEMENT}", header)[0] == 401
    refused = call(cloud, "GET", url, token=body["access_token"])
    assert refused.status == 401
    assert json.loads(bytes(refused.body))["error"]["code"] == "InvalidAuthenticationToken"


def test_the_labs_ids_and_key_stay(tmp_path: Path) -> None:
    first, again, other = (Identities(Lab(tmp_path, secret)) for secret in ("one", "one", "two"))
    assert (first.tenant, first.subscription, first.learners_header) == (
        again.tenant,
        again.subscription,
        again.learners_header,
    )
    assert first.tenant != other.tenant
    issued, _ = first.tokens.issue(first.learner, MANAGEMENT)
    assert again.tokens.verify(issued, one_of([MANAGEMENT])).object_id == first.learner.object_id


def test_tokens_are_verified(cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, learner = cloud.identities.tokens, cloud.identities.learner
    good, expires = tokens.issue(learner, f"{MANAGEMENT}/")
    accepts = one_of([MANAGEMENT])
    assert tokens.verify(good, accepts).expires == expires
    head, claims, signature = good.split(".")
    forged = jwt.encode({**jwt.decode(good, options={"verify_signature": False}), "oid": "x"}, "k" * 32, "HS256")
    for bad, reason in [
        ("not a token", "malformed"),
        (f"{head}.{claims}.{signature[:-6]}AAAAAA", "signature"),
        (forged, "signature"),
        (tokens.issue(learner, "https://vault.azure.net")[0], "audience"),
        (tokens.issue(learner, MANAGEMENT, -1000)[0], "expired"),
    ]:
        with pytest.raises(Rejected) as caught:
            tokens.verify(bad, accepts)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("presented", "code", "message"),
    [
        (None, "AuthenticationFailed", "The 'Authorization' header is missing."),
        ("Bearer rubbish", "InvalidAuthenticationToken", "The access token is invalid."),
        ("Basic abc", "AuthenticationFailedInvalidHeader", "not Bearer"),
    ],
)
def test_resource_manager_without_a_good_token(
    cloud: AzureCloud, presented: str | None, code: str, message: str
) -> None:
    headers = {"Authorization": presented} if presented else {}
    answer = call(cloud, "GET", f"{MANAGEMENT}/subscriptions?api-version=2021-04-01", headers=headers)
    error = json.loads(bytes(answer.body))["error"]
    assert (answer.status, error["code"]) == (401, code)
    assert message in error["message"]
    challenge = dict(answer.headers)["WWW-Authenticate"]
    assert challenge.startswith(
        f'Bearer authorization_uri="https://login.microsoftonline.com/{cloud.identities.tenant}"'
    )


def test_expired_and_misdirected_tokens(cloud: AzureCloud) -> None:
    url = f"{MANAGEMENT}/subscriptions?api-version=2021-04-01"
    expired, _ = cloud.identities.tokens.issue(cloud.identities.learner, MANAGEMENT, -1000)
    for presented, code, message in [
        (expired, "ExpiredAuthenticationToken", "The access token expiry UTC time"),
        (
            token(cloud, "https://graph.microsoft.com"),
            "InvalidAuthenticationTokenAudience",
            "wrong audience or resource 'https://graph.microsoft.com'",
        ),
    ]:
        answer = call(cloud, "GET", url, token=presented)
        error = json.loads(bytes(answer.body))["error"]
        assert (answer.status, error["code"]) == (401, code)
        assert message in error["message"]


def test_the_caller_is_in_the_audit_trail(cloud: AzureCloud, rest: Rest) -> None:
    rest("GET", rest.workspace)
    event = next(iter(cloud.engine.audit.events()))
    assert event.caller is not None
    assert event.caller.principal == cloud.identities.learner.object_id
    assert (event.operation, event.status) == ("Microsoft.MachineLearningServices/workspaces/read", 200)
    assert event.resource == rest.workspace
