"""The sign-in host: what it says of the tenant, and that nobody signs in there."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure.in_process import call, token

HOST = "https://login.microsoftonline.com"


def ask(cloud: AzureCloud, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    answer = call(cloud, method, f"{HOST}/{path}", body)
    return answer.status, json.loads(bytes(answer.body))


def test_anyone_can_verify_a_token(cloud: AzureCloud) -> None:
    tenant = cloud.identities.tenant
    _, configuration = ask(cloud, "GET", f"{tenant}/v2.0/.well-known/openid-configuration")
    assert configuration["issuer"] == f"https://sts.windows.net/{tenant}/"
    _, keys = ask(cloud, "GET", configuration["jwks_uri"].removeprefix(f"{HOST}/"))
    presented = token(cloud)
    key = next(each for each in keys["keys"] if each["kid"] == jwt.get_unverified_header(presented)["kid"])
    claims = jwt.decode(
        presented, jwt.PyJWK(key), audience="https://management.azure.com", issuer=configuration["issuer"]
    )
    assert claims["oid"] == cloud.identities.learner.object_id


def test_an_application_is_not_in_the_tenant(reached: AzureCloud) -> None:
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import ClientSecretCredential

    credential = ClientSecretCredential(reached.identities.tenant, "an-application", "a-secret")
    with pytest.raises(ClientAuthenticationError, match="AADSTS700016: Application with identifier 'an-application'"):
        credential.get_token("https://management.azure.com/.default")


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "message"),
    [
        ("GET", "11111111-0000-0000-0000-000000000000/discovery/keys", None, "invalid_request", "AADSTS90002: Tenant"),
        ("POST", "common/oauth2/v2.0/token", b"", "invalid_request", "'grant_type'"),
        ("POST", "common/oauth2/v2.0/token", b"grant_type=x&client_id=c", "unsupported_grant_type", "AADSTS70003"),
        ("POST", "common/oauth2/v2.0/devicecode", b"", "invalid_request", "do not serve"),
    ],
)
def test_refusals(cloud: AzureCloud, method: str, path: str, body: bytes | None, code: str, message: str) -> None:
    status, answer = ask(cloud, method, path, body)
    assert (status, answer["error"]) == (400, code)
    assert message in answer["error_description"]
