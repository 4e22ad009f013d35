"""Resource groups, through azure-mgmt-resource and plain REST."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure.in_process import Rest, raised

VERSION = "2021-04-01"


@pytest.fixture
def client(reached: AzureCloud) -> Any:
    from azure.identity import DefaultAzureCredential
    from azure.mgmt.resource.resources import ResourceManagementClient

    return ResourceManagementClient(DefaultAzureCredential(), reached.identities.subscription)


def test_a_groups_life(client: Any, name: str) -> None:
    assert client.resource_groups.check_existence(name) is False
    made = client.resource_groups.create_or_update(name, {"location": "West Europe", "tags": {"team": "mlops"}})
    assert (made.name, made.location, made.tags) == (name, "westeurope", {"team": "mlops"})
    assert made.properties.provisioning_state == "Succeeded"
    assert client.resource_groups.check_existence(name) is True
    assert client.resource_groups.get(name.upper()).name == name
    assert name in [group.name for group in client.resource_groups.list()]
    assert client.resource_groups.update(name, {"tags": {"team": "data"}}).tags == {"team": "data"}
    client.resource_groups.begin_delete(name).result()
    assert client.resource_groups.check_existence(name) is False
    error = raised(lambda: client.resource_groups.get(name))
    assert (error.status_code, error.error.code) == (404, "ResourceGroupNotFound")


def test_deleting_a_group_takes_what_is_in_it(client: Any, name: str, rest: Rest) -> None:
    client.resource_groups.create_or_update(name, {"location": "eastus"})
    account = f"{rest.subscription}/resourceGroups/{name}/providers/Microsoft.Storage/storageAccounts/{name}"
    assert rest("PUT", account, {"location": "eastus"}, version="2023-01-01")[0] == 200
    assert [each.id for each in client.resources.list_by_resource_group(name)] == [account]
    client.resource_groups.begin_delete(name).result()
    assert rest.error("GET", account, version="2023-01-01")[1] == "ResourceGroupNotFound"
    client.resource_groups.create_or_update(name, {"location": "eastus"})
    assert list(client.resources.list_by_resource_group(name)) == []


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("g1", {}, 400, "LocationRequired"),
        ("g1", {"location": "atlantis"}, 400, "LocationNotAvailableForResourceGroup"),
        ("ends.", {"location": "eastus"}, 400, "InvalidResourceGroupName"),
        ("g" * 91, {"location": "eastus"}, 400, "ResourceGroupNameTooLong"),
        ("learning", {"location": "westus"}, 409, "InvalidResourceGroupLocation"),
        ("g1", {"location": "eastus", "tags": {str(n): "" for n in range(51)}}, 400, "InvalidTagCount"),
    ],
)
def test_groups_that_cannot_be_made(rest: Rest, name: str, body: dict[str, Any], status: int, code: str) -> None:
    found = rest.error("PUT", f"{rest.subscription}/resourceGroups/{name}", body, version=VERSION)
    assert found[:2] == (status, code)


def test_subscription_tenant_and_locations(rest: Rest, cloud: AzureCloud) -> None:
    _, subscriptions, _ = rest("GET", "/subscriptions", version=VERSION)
    assert [each["id"] for each in subscriptions["value"]] == [rest.subscription]
    _, tenants, _ = rest("GET", "/tenants", version=VERSION)
    assert tenants["value"][0]["tenantId"] == cloud.identities.tenant
    _, locations, _ = rest("GET", f"{rest.subscription}/locations", version=VERSION)
    assert {"name": "westeurope", "displayName": "West Europe"}.items() <= next(
        each for each in locations["value"] if each["name"] == "westeurope"
    ).items()


def test_a_list_has_pages(rest: Rest, name: str) -> None:
    for number in range(3):
        path = f"{rest.subscription}/resourceGroups/{name}-{number}"
        rest("PUT", path, {"location": "eastus"}, version=VERSION)
    query = {"version": VERSION, "$top": "2"}
    status, first, _ = rest("GET", f"{rest.subscription}/resourceGroups", **query)
    assert (status, len(first["value"])) == (200, 2)
    link, seen = first["nextLink"], [each["name"] for each in first["value"]]
    while link:
        path, _, text = link.removeprefix("https://management.azure.com").partition("?")
        given = dict(part.split("=") for part in text.split("&") if not part.startswith("api-version"))
        _, following, _ = rest("GET", path, version=VERSION, **given)
        seen += [each["name"] for each in following["value"]]
        link = following.get("nextLink", "")
    assert len(seen) == len(set(seen))
    assert {"learning", *(f"{name}-{number}" for number in range(3))} <= set(seen)
