from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from labkit.cloud.engine import Engine
from labkit.cloud.gcp import GcpCloud
from labkit.cloud.gcp.identity import LEARNER, SCOPE, VARIABLES, Identities, ServiceAccount
from labkit.cloud.gcp.tokens import Rejected
from labkit.cloud.http import Response
from tests.cloud.gcp.in_process import URL, Lab, call

HOST = "us-central1-aiplatform.googleapis.com"
OPERATIONS = "/v1/projects/mlops-lab/locations/us-central1/operations"
BASE = "/computeMetadata/v1"


def metadata(cloud: GcpCloud, path: str, variables: dict[str, str] | None = None, **headers: str) -> Response:
    """What the metadata server answers to a program with these variables (the learner's)."""
    address = (variables or cloud.identities.learners_variables())["GCE_METADATA_HOST"]
    sent = {"Authorization": "", "Metadata-Flavor": "Google"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return call(cloud, "GET", "", urlsplit(f"http://{address}").path + path, headers=sent)


def text(response: Response) -> str:
    return bytes(response.body).decode()  # type: ignore[arg-type]


def test_the_variables_lead_to_the_gateway(cloud: GcpCloud) -> None:
    variables = cloud.identities.learners_variables()
    assert set(variables) == set(VARIABLES)
    assert all(value.startswith(URL.removeprefix("http://")) for value in variables.values())


def test_a_lab_keeps_its_address_and_another_has_its_own(tmp_path: Path) -> None:
    first, again, other = (Identities(Lab(tmp_path, token)) for token in ("one", "one", "two"))
    assert first.learners_variables() == again.learners_variables() != other.learners_variables()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "computeMetadata/\n"),
        (f"{BASE}/project/project-id", "mlops-lab"),
        (f"{BASE}/project/numeric-project-id", "314159265358"),
        (f"{BASE}/universe/universe-domain", "googleapis.com"),
        (f"{BASE}/instance/service-accounts/default/email", LEARNER.email),
        (f"{BASE}/instance/service-accounts/default/scopes", SCOPE),
        (f"{BASE}/instance/service-accounts/", f"default/\n{LEARNER.email}/\n"),
    ],
)
def test_keys(cloud: GcpCloud, path: str, expected: str) -> None:
    answer = metadata(cloud, path)
    assert (answer.status, text(answer)) == (200, expected)
    assert ("Metadata-Flavor", "Google") in answer.headers


def test_a_recursive_key_is_json(cloud: GcpCloud) -> None:
    answer = metadata(cloud, f"{BASE}/instance/service-accounts/default/?recursive=true")
    assert json.loads(text(answer)) == {"aliases": ["default"], "email": LEARNER.email, "scopes": [SCOPE]}


def test_a_token_is_good_for_an_hour_and_says_who(cloud: GcpCloud) -> None:
    answer = json.loads(text(metadata(cloud, f"{BASE}/instance/service-accounts/default/token?scopes=a,b")))
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3599
    claims = cloud.identities.tokens.verify(answer["access_token"])
    assert (claims.email, claims.scopes) == (LEARNER.email, ("a", "b"))


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"{BASE}/project/project-id", {"Metadata_Flavor": ""}, 403),
        (f"{BASE}/project/project-id", {"X_Forwarded_For": "10.0.0.1"}, 403),
        (f"{BASE}/instance/no-such-key", {}, 404),
        (f"{BASE}/instance/service-accounts/default/identity", {}, 400),
        ("/elsewhere", {}, 404),
    ],
)
def test_what_the_metadata_server_refuses(cloud: GcpCloud, path: str, headers: dict[str, str], status: int) -> None:
    assert metadata(cloud, path, **headers).status == status


def test_a_program_without_the_address_gets_nothing(cloud: GcpCloud) -> None:
    stranger = {"GCE_METADATA_HOST": "127.0.0.1:1/_gcp/metadata/guess"}
    assert metadata(cloud, f"{BASE}/project/project-id", stranger).status == 404


def test_a_program_of_the_clouds_has_its_own_account_until_it_is_dismissed(cloud: GcpCloud) -> None:
    account = ServiceAccount("models@another.iam.gserviceaccount.com", "another")
    variables = cloud.identities.admit(account)
    assert text(metadata(cloud, f"{BASE}/instance/service-accounts/default/email", variables)) == account.email
    assert text(metadata(cloud, f"{BASE}/project/project-id", variables)) == "another"
    cloud.identities.dismiss(variables)
    assert metadata(cloud, f"{BASE}/project/project-id", variables).status == 404


def test_tokens_are_refused_that_are_changed_expired_or_anothers(cloud: GcpCloud, tmp_path: Path) -> None:
    tokens = cloud.identities.tokens
    good = tokens.issue("a@b.c", (SCOPE,))
    reasons = {}
    for name, token in {
        "changed": f"{good[:-2]}{'A' if good[-2] != 'A' else 'B'}{good[-1]}",
        "old": tokens.issue("a@b.c", (SCOPE,), lifetime=-1),
        "other": Identities(Lab(tmp_path, "other")).tokens.issue("a@b.c", (SCOPE,)),
        "nonsense": "nonsense",
    }.items():
        with pytest.raises(Rejected) as caught:
            tokens.verify(token)
        reasons[name] = caught.value.reason
    assert reasons == {"changed": "signature", "old": "expired", "other": "signature", "nonsense": "malformed"}


@pytest.mark.parametrize(
    ("sent", "reason", "challenge"),
    [
        ("", "CREDENTIALS_MISSING", 'Bearer realm="https://accounts.google.com/"'),
        ("Bearer nonsense", "ACCESS_TOKEN_TYPE_UNSUPPORTED", 'error="invalid_token"'),
        ("Basic YTpi", "ACCESS_TOKEN_TYPE_UNSUPPORTED", 'error="invalid_token"'),
    ],
)
def test_a_call_without_a_good_token_is_unauthenticated(
    cloud: GcpCloud, engine: Engine, sent: str, reason: str, challenge: str
) -> None:
    answer = call(cloud, "GET", HOST, OPERATIONS, headers={"Authorization": sent})
    error = json.loads(text(answer))["error"]
    assert (answer.status, error["status"], error["details"][0]["reason"]) == (401, "UNAUTHENTICATED", reason)
    assert error["details"][0]["metadata"]["service"] == "aiplatform.googleapis.com"
    assert challenge in dict(answer.headers)["WWW-Authenticate"]
    last = next(iter(engine.audit.events()))
    assert (last.caller, last.error) == (None, "UNAUTHENTICATED")


def test_an_expired_token_says_so(cloud: GcpCloud) -> None:
    old = cloud.identities.tokens.issue(LEARNER.email, (SCOPE,), lifetime=-1)
    answer = call(cloud, "GET", HOST, OPERATIONS, headers={"Authorization": f"Bearer {old}"})
    assert json.loads(text(answer))["error"]["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"


def test_what_a_token_is(cloud: GcpCloud) -> None:
    token = cloud.identities.tokens.issue(LEARNER.email, (SCOPE,))
    said = json.loads(text(call(cloud, "GET", "oauth2.googleapis.com", f"/tokeninfo?access_token={token}")))
    assert (said["email"], said["scope"]) == (LEARNER.email, SCOPE)
    assert int(said["exp"]) > time.time()
    wrong = call(cloud, "GET", "oauth2.googleapis.com", "/tokeninfo?access_token=x")
    assert (wrong.status, json.loads(text(wrong))["error"]) == (400, "invalid_token")
    identity = cloud.identities.identity_token(LEARNER.email, "7", "https://a.b", include_email=True)
    told = json.loads(text(call(cloud, "GET", "oauth2.googleapis.com", f"/tokeninfo?id_token={identity}")))
    assert (told["aud"], told["email"], told["email_verified"], told["alg"]) == (
        "https://a.b",
        LEARNER.email,
        "true",
        "RS256",
    )
    wrong = call(cloud, "GET", "oauth2.googleapis.com", f"/tokeninfo?id_token={identity[:-4]}AAAA")
    assert (wrong.status, json.loads(text(wrong))["error"]) == (400, "invalid_token")
    exchange = call(cloud, "POST", "oauth2.googleapis.com", "/token", b"grant_type=refresh_token")
    assert exchange.status == 501
    assert "metadata server" in json.loads(text(exchange))["error_description"]
