"""The Activity Log: what is in it, what is not, and how it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure import principals
from tests.cloud.azure.in_process import MANAGEMENT, Rest, call, raised

SINCE = "eventTimestamp ge '2020-01-01T00:00:00Z'"


@pytest.fixture
def group(rest: Rest, name: str) -> Iterator[str]:
    """A resource group of the test's own."""
    path = f"{rest.subscription}/resourceGroups/{name}"
    rest("PUT", path, {"location": "eastus"}, version="2021-04-01")
    yield path
    rest("DELETE", path, version="2021-04-01")


def asked(rest: Rest, condition: str, **query: str) -> list[dict[str, Any]]:
    """The events that a filter chooses, in full."""
    found: list[dict[str, Any]] = []
    path = f"{rest.subscription}/providers/Microsoft.Insights/eventtypes/management/values"
    query = {"$filter": f"{SINCE} and {condition}".replace(" ", "%20"), **query}
    status, answer, _ = rest("GET", path, version="2015-04-01", **query)
    assert status == 200, answer
    found += answer["value"]
    while "nextLink" in answer:
        body = call(rest.cloud, "GET", answer["nextLink"], token=rest._token).body
        answer = json.loads(bytes(body))
        found += answer["value"]
    return found


def test_a_write_is_in_the_log_and_a_read_is_not(rest: Rest, cloud: AzureCloud, group: str, name: str) -> None:
    account = f"{group}/providers/Microsoft.Storage/storageAccounts/{name}"
    rest("PUT", account, {"location": "eastus"}, version="2023-01-01")
    rest("GET", account, version="2023-01-01")
    ended, began = asked(rest, f"resourceUri eq '{account}'")
    assert (ended["status"]["value"], began["status"]["value"]) == ("Succeeded", "Started")
    assert ended["operationName"]["value"] == "Microsoft.Storage/storageAccounts/write"
    assert ended["caller"] == cloud.identities.learner.object_id
    assert ended["authorization"] == {"action": "Microsoft.Storage/storageAccounts/write", "scope": account}
    assert (ended["resourceId"], ended["resourceGroupName"], ended["httpRequest"]["method"]) == (account, name, "PUT")
    assert (ended["subStatus"]["value"], ended["level"]) == ("OK", "Informational")
    assert ended["claims"]["appid"] == cloud.identities.learner.client_id
    assert ended["correlationId"] == began["correlationId"]
    assert ended["eventDataId"] != began["eventDataId"]


def test_who_was_denied_what(rest: Rest, cloud: AzureCloud, group: str, name: str) -> None:
    someone = principals.make(cloud, name)
    someone.give("Reader", group)
    refused, code, message = someone.rest().error("DELETE", group, version="2021-04-01")
    assert (refused, code) == (403, "AuthorizationFailed")
    (event,) = asked(rest, f"resourceGroupName eq '{name}' and status eq 'Failed'")
    assert (event["caller"], event["status"]["value"], event["subStatus"]["value"]) == (
        someone.object_id,
        "Failed",
        "Forbidden",
    )
    assert event["subStatus"]["localizedValue"] == "Forbidden (HTTP Status Code: 403)"
    assert event["properties"]["statusCode"] == "Forbidden"
    assert json.loads(event["properties"]["statusMessage"])["error"] == {"code": code, "message": message}
    assert event["operationName"]["value"] == "Microsoft.Resources/subscriptions/resourceGroups/delete"


def test_the_sdk_pages_selects_and_filters(reached: AzureCloud, rest: Rest, group: str, name: str) -> None:
    from azure.identity import DefaultAzureCredential
    from azure.mgmt.monitor import MonitorManagementClient

    client = MonitorManagementClient(DefaultAzureCredential(), reached.identities.subscription)
    for _ in range(110):
        rest("PATCH", group, {"tags": {"a": "b"}}, version="2021-04-01")
    found = list(client.activity_logs.list(f"{SINCE} and resourceGroupName eq '{name}'"))
    assert len(found) == 222
    assert found[0].event_timestamp >= found[-1].event_timestamp
    assert found[0].operation_name.value == "Microsoft.Resources/subscriptions/resourceGroups/write"
    chosen = list(client.activity_logs.list(f"{SINCE} and resourceGroupName eq '{name}'", select="caller,status"))
    assert (chosen[0].caller, chosen[0].resource_id) == (reached.identities.learner.object_id, None)
    mine = f"{SINCE} and correlationId eq '{found[0].correlation_id}'"
    assert len(list(client.activity_logs.list(mine))) == 2
    assert list(client.activity_logs.list("eventTimestamp ge '2099-01-01'")) == []
    assert raised(lambda: list(client.activity_logs.list("caller eq 'x'"))).error.code == "BadRequest"
    assert raised(lambda: list(client.activity_logs.list(f"{SINCE} and nothing eq 'x'"))).error.code == "BadRequest"


@pytest.mark.parametrize(
    "since",
    ["2020-01-01", "2020-01-01 08:30:00.123456", "2020-01-01T08:30:00Z", "2020-01-01T08:30:00.1234567+02:00"],
)
def test_values_without_quotation_marks_as_samples_write_them(rest: Rest, group: str, name: str, since: str) -> None:
    path = f"{rest.subscription}/providers/Microsoft.Insights/eventtypes/management/values"
    query = quote(f"eventTimestamp ge {since} and resourceGroupName eq {name} and levels eq 'Informational,Error'")
    status, answer, _ = rest("GET", path, version="2015-04-01", **{"$filter": query})
    assert (status, len(answer["value"])) == (200, 2), answer
    query = quote(f"eventTimestamp ge {since} and resourceGroupName eq {name} and levels eq 'Error,Critical'")
    assert rest("GET", path, version="2015-04-01", **{"$filter": query})[1]["value"] == []
    query = quote(f"eventTimestamp ge {since} or caller eq x")
    status, code, message = rest.error("GET", path, version="2015-04-01", **{"$filter": query})
    assert (status, code) == (400, "BadRequest")
    assert message.endswith("is not supported by the Activity Log.")


def test_a_template_and_what_it_makes_share_a_correlation_id(rest: Rest, group: str, name: str) -> None:
    account = {"type": "Microsoft.Storage/storageAccounts", "name": name, "apiVersion": "2023-01-01"}
    template = {"resources": [account | {"location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}]}
    body = {"properties": {"mode": "Incremental", "template": template}}
    path = f"{group}/providers/Microsoft.Resources/deployments/one"
    status, answer, headers = rest("PUT", path, body, version="2022-09-01")
    assert status == 201, answer
    found = asked(rest, f"correlationId eq '{headers['x-ms-correlation-request-id']}'")
    assert {each["operationName"]["value"] for each in found} == {
        "Microsoft.Resources/deployments/write",
        "Microsoft.Storage/storageAccounts/write",
    }


def test_the_log_needs_a_role(rest: Rest, cloud: AzureCloud, group: str, name: str) -> None:
    someone = principals.make(cloud, name)
    someone.give("Reader", group)
    path = f"{rest.subscription}/providers/Microsoft.Insights/eventtypes/management/values"
    query = {"$filter": SINCE.replace(" ", "%20")}
    assert someone.rest().error("GET", path, version="2015-04-01", **query)[:2] == (403, "AuthorizationFailed")
    someone.give("Monitoring Reader", rest.subscription)
    assert someone.rest()("GET", path, version="2015-04-01", **query)[0] == 200
    url = f"{MANAGEMENT}/providers/Microsoft.Insights/eventcategories?api-version=2015-04-01"
    assert call(cloud, "GET", url, token=rest._token).status == 200
