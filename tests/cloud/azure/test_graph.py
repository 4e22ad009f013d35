"""Applications, service principals and their secrets; and how they sign in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure import principals
from tests.cloud.azure.in_process import MANAGEMENT, raised, token
from tests.cloud.azure.principals import GRAPH, graph


def test_a_client_secret_credential_unmodified(reached: AzureCloud, name: str) -> None:
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import ClientSecretCredential
    from azure.mgmt.resource.resources import ResourceManagementClient

    made = principals.make(reached, name)
    made.give("Reader", f"/subscriptions/{reached.identities.subscription}/resourceGroups/learning")
    credential = ClientSecretCredential(reached.identities.tenant, made.client_id, made.secret)
    groups = ResourceManagementClient(credential, reached.identities.subscription).resource_groups
    assert groups.get("learning").name == "learning"
    assert [each.name for each in groups.list()] == ["learning"]
    assert (
        raised(lambda: groups.create_or_update("another", {"location": "eastus"})).error.code == "AuthorizationFailed"
    )
    wrong = ClientSecretCredential(reached.identities.tenant, made.client_id, "wrong")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215: Invalid client secret provided"):
        wrong.get_token(f"{MANAGEMENT}/.default")


@pytest.mark.parametrize(
    ("changed", "status", "code", "message"),
    [
        ({"client_secret": "x"}, 401, "invalid_client", "AADSTS7000215: Invalid client secret provided."),
        ({"client_secret": ""}, 401, "invalid_client", "AADSTS7000216: 'client_assertion', 'client_secret'"),
        ({"client_id": "8c1f"}, 400, "unauthorized_client", "AADSTS700016: Application with identifier '8c1f'"),
        ({"scope": f"{MANAGEMENT}/x"}, 400, "invalid_scope", "AADSTS1002012: The provided value for scope"),
        ({"grant_type": "password"}, 400, "invalid_grant", "AADSTS50034"),
        ({"client_assertion": "x"}, 401, "invalid_client", "AADSTS700027"),
    ],
)
def test_sign_in_errors(
    cloud: AzureCloud, name: str, changed: dict[str, str], status: int, code: str, message: str
) -> None:
    made = principals.make(cloud, name)
    assert made.sign_in()[0] == 200
    found, answer = made.sign_in(**changed)
    assert (found, answer["error"]) == (status, code)
    assert answer["error_description"].startswith(message)


def test_a_secret_is_rotated(cloud: AzureCloud, name: str) -> None:
    made = principals.make(cloud, name)
    at = f"/applications/{made.application}"
    _, second = graph(cloud, "POST", f"{at}/addPassword", {"passwordCredential": {"displayName": "second"}})
    assert second["hint"] == second["secretText"][:3]
    _, shown = graph(cloud, "GET", at)
    assert [each["secretText"] for each in shown["passwordCredentials"]] == [None, None]
    old = shown["passwordCredentials"][0]["keyId"]
    assert made.sign_in(client_secret=second["secretText"])[0] == 200
    assert graph(cloud, "POST", f"{at}/removePassword", {"keyId": old})[0] == 204
    assert made.sign_in()[0] == 401
    assert made.sign_in(client_secret=second["secretText"])[0] == 200
    status, answer = graph(cloud, "POST", f"{at}/removePassword", {"keyId": old})
    assert (status, answer["error"]["code"]) == (400, "Request_BadRequest")


def test_a_secret_expires_by_the_labs_clock(own_world: Any) -> None:
    cloud = own_world.cloud
    made = principals.make(cloud, "own")
    cloud.engine.clock.advance(timedelta(days=731))
    status, answer = made.sign_in()
    assert (status, answer["error"]) == (401, "invalid_client")
    assert f"AADSTS7000222: The provided client secret keys for app '{made.client_id}' are expired." in str(answer)


def test_a_principal_that_is_gone(cloud: AzureCloud, name: str) -> None:
    made = principals.make(cloud, name)
    rest = made.rest()
    assert rest("GET", "/subscriptions", version="2021-04-01")[:2][1]["value"] == []
    graph(cloud, "DELETE", f"/servicePrincipals/{made.object_id}")
    assert rest.error("GET", "/subscriptions", version="2021-04-01")[:2] == (401, "InvalidAuthenticationToken")
    assert "AADSTS7000229" in made.sign_in()[1]["error_description"]
    graph(cloud, "DELETE", f"/applications/{made.application}")
    assert "AADSTS700016" in made.sign_in()[1]["error_description"]


def test_how_graph_lists_and_finds(cloud: AzureCloud, name: str) -> None:
    made = principals.make(cloud, name)
    for path in (
        f"/applications?$filter=displayName eq '{name}'",
        f"/servicePrincipals?$filter=appId eq '{made.client_id}'",
    ):
        status, found = graph(cloud, "GET", path)
        assert (status, [each["appId"] for each in found["value"]]) == (200, [made.client_id])
    assert graph(cloud, "GET", f"/applications(appId='{made.client_id}')")[1]["id"] == made.application
    assert graph(cloud, "GET", f"/servicePrincipals(appId='{made.client_id}')?$select=id")[1]["id"] == made.object_id
    assert graph(cloud, "GET", "/users")[1]["value"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/me", None, 400, "Request_BadRequest"),
        ("GET", "/applications/none", None, 404, "Request_ResourceNotFound"),
        ("POST", "/applications", {}, 400, "Request_BadRequest"),
        ("POST", "/applications", {"displayName": "x", "tags": 5}, 400, "Request_BadRequest"),
        ("POST", "/servicePrincipals", {"appId": "none"}, 400, "Request_BadRequest"),
        ("GET", "/groups", None, 501, "NotImplemented"),
        ("POST", "/applications", {"displayName": "x", "web": {"redirectUris": ["y"]}}, 501, "NotImplemented"),
        ("GET", "/applications?$filter=startswith(displayName,'a')", None, 501, "NotImplemented"),
    ],
)
def test_what_graph_refuses(cloud: AzureCloud, method: str, path: str, body: Any, status: int, code: str) -> None:
    found, answer = graph(cloud, method, path, body)
    assert (found, answer["error"]["code"]) == (status, code)


def test_who_may_use_graph(cloud: AzureCloud, name: str) -> None:
    made = principals.make(cloud, name)
    status, answer = graph(cloud, "GET", "/applications", credential=made.token(GRAPH))
    assert (status, answer["error"]["code"]) == (403, "Authorization_RequestDenied")
    status, answer = graph(cloud, "GET", "/applications", credential=token(cloud))
    assert (status, answer["error"]["message"]) == (401, "Access token validation failure. Invalid audience.")
