"""Managed online endpoints over plain REST: what they show, what is refused, keys and tokens, traffic, deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cloud.azure.in_process import Rest
from tests.cloud.azure.online_world import World
from tests.waiting import eventually


def test_an_endpoint_shows_what_azure_shows(world: World) -> None:
    body = {"location": "eastus", "tags": {"team": "a"}, "identity": {"type": "SystemAssigned"}, "properties": {}}
    status, shown, headers = world.rest("PUT", world.path, body)
    assert (status, shown["properties"]["provisioningState"]) == (201, "Creating")
    assert world.wait(headers["azure-asyncoperation"])["status"] == "Succeeded"
    _, shown, _ = world.rest("GET", world.path)
    properties = shown["properties"]
    assert shown["id"] == world.path
    assert shown["type"] == "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
    assert (shown["kind"], shown["location"], shown["tags"]) == ("Managed", "eastus", {"team": "a"})
    assert set(shown["identity"]) == {"type", "principalId", "tenantId"}
    assert {name: properties[name] for name in ("authMode", "provisioningState", "publicNetworkAccess")} == {
        "authMode": "Key",
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Enabled",
    }
    assert properties["scoringUri"] == f"https://{world.name}.eastus.inference.ml.azure.com/score"
    assert properties["swaggerUri"] == f"https://{world.name}.eastus.inference.ml.azure.com/swagger.json"
    assert (properties["traffic"], properties["mirrorTraffic"]) == ({}, {})
    assert properties["properties"]["azureml.onlineendpointid"] == world.path
    assert "keys" not in properties
    assert {"createdAt", "createdBy", "lastModifiedAt"} <= set(shown["systemData"])


def test_an_endpoint_is_changed_and_its_tags_are_patched(world: World) -> None:
    world.make(description="first", properties={"owner": "ann"})
    principal = world.rest("GET", world.path)[1]["identity"]["principalId"]
    shown = world.make(authMode="AADToken", publicNetworkAccess="Disabled")
    assert shown["properties"]["authMode"] == "AADToken"
    assert shown["properties"]["publicNetworkAccess"] == "Disabled"
    assert "description" not in shown["properties"]
    assert shown["properties"]["properties"]["owner"] == "ann"
    assert shown["identity"]["principalId"] == principal
    assert world.done("PATCH", world.path, {"tags": {"a": "1"}})["tags"] == {"a": "1"}
    status, reason = world.refused("PATCH", world.path, {"identity": {"type": "None"}})
    assert (status, "PATCH of identity" in reason) == (501, True)


def test_endpoints_are_listed_and_chosen_among(world: World, rest: Rest) -> None:
    world.make(properties={"owner": world.name})
    world.done("PATCH", world.path, {"tags": {"only": world.name, "x": "1"}})

    def names(**query: str) -> list[str]:
        status, found, _ = rest("GET", f"{rest.workspace}/onlineEndpoints", **query)
        assert status == 200
        return [each["name"] for each in found["value"]]

    assert world.name in names()
    assert names(name=world.name) == names(name=world.name, computeType="Managed") == [world.name]
    assert names(name=world.name, computeType="Kubernetes") == []
    assert names(tags=f"only={world.name},x") == names(properties=f"owner={world.name}") == [world.name]
    assert names(tags=f"only={world.name},y") == []


@pytest.mark.parametrize(
    "name", ["ab", "1abc", "ab-", "a_b", "a" * 33, "ab.c"], ids=lambda name: f"{len(name)}-{name[:6]}"
)
def test_a_name_has_a_form(rest: Rest, name: str) -> None:
    found = rest.error("PUT", f"{rest.workspace}/onlineEndpoints/{name}", {"location": "eastus"})
    assert found[:2] == (400, "BadRequest")


def test_a_name_is_its_regions(world: World, rest: Rest, name: str) -> None:
    world.make()
    other = f"{rest.group}/providers/Microsoft.MachineLearningServices/workspaces/{name}w"
    linked = rest("GET", rest.workspace)[1]["properties"]
    kept = ("storageAccount", "keyVault", "applicationInsights")
    body = {"location": "eastus", "properties": {each: linked[each] for each in kept}}
    body["identity"] = {"type": "SystemAssigned"}
    status, answer, headers = rest("PUT", other, body)
    assert status in (200, 201, 202), answer
    if "azure-asyncoperation" in headers:
        world.wait(headers["azure-asyncoperation"])
    try:
        status, reason = world.refused("PUT", f"{other}/onlineEndpoints/{world.name.upper()}", {"location": "eastus"})
        assert (status, reason.startswith("There is already an endpoint with this name")) == (400, True)
    finally:
        rest("DELETE", other)


@pytest.mark.parametrize(
    ("properties", "status", "reason"),
    [
        ({"authMode": "Password"}, 400, "AuthMode must be one of Key, AMLToken, AADToken"),
        ({"publicNetworkAccess": "Sometimes"}, 400, "neither Enabled nor Disabled"),
        ({"compute": "azureml:cluster"}, 501, "Kubernetes online endpoints"),
        ({"properties": {"enforce_access_to_default_secret_stores": "enabled"}}, 501, "secret injection"),
        ({"traffic": {"blue": 100}}, 400, "has no deployment blue"),
        ({"traffic": {"blue": 140}}, 400, "whole number from 0 to 100"),
        ({"traffic": {"blue": "all"}}, 400, "whole number from 0 to 100"),
        ({"traffic": ["blue"]}, 400, "has to be an object"),
    ],
)
def test_settings_that_are_refused(world: World, properties: dict[str, Any], status: int, reason: str) -> None:
    found = world.refused("PUT", world.path, {"location": "eastus", "properties": properties})
    assert (found[0], reason in found[1]) == (status, True), found
    assert world.rest("GET", world.path)[0] == 404


def test_what_is_not_a_managed_endpoint_is_refused_by_name(world: World, rest: Rest) -> None:
    body = {"location": "eastus", "identity": {"type": "SystemAssigned,UserAssigned"}}
    status, reason = world.refused("PUT", world.path, body)
    assert (status, "has a SystemAssigned or a UserAssigned identity" in reason) == (400, True)
    status, reason = world.refused("PUT", world.path, {"location": "westus"})
    assert (status, "has to be its workspace's, eastus" in reason) == (400, True)
    status, _, message = rest.error("PUT", f"{rest.workspace}/batchEndpoints/{world.name}", {"location": "eastus"})
    assert status == 501
    assert "batch" in message.lower()


def test_traffic_sums_to_0_or_100_and_goes_to_what_is_there(world: World) -> None:
    world.serve("blue", "green")

    def refused(**properties: Any) -> str:
        status, reason = world.refused("PUT", world.path, {"location": "eastus", "properties": properties})
        assert status == 400
        return reason

    sums = "Traffic values need to sum to 0 or 100, but they sum to {}."
    assert refused(traffic={"blue": 70, "green": 70}) == sums.format(140)
    assert refused(traffic={"blue": 50}) == sums.format(50)
    assert "has no deployment red" in refused(traffic={"blue": 50, "red": 50})
    assert "at most 50, but they sum to 60" in refused(traffic={"blue": 100}, mirrorTraffic={"green": 60})
    assert "only one deployment" in refused(traffic={}, mirrorTraffic={"green": 10, "blue": 10})
    assert "not both" in refused(traffic={"blue": 100}, mirrorTraffic={"blue": 10})
    assert "has no deployment red" in refused(traffic={"blue": 100}, mirrorTraffic={"red": 10})
    _, shown, _ = world.rest("GET", world.path)
    assert (shown["properties"]["traffic"], shown["properties"]["mirrorTraffic"]) == ({"blue": 100}, {})
    shown = world.make(traffic={"BLUE": 100, "green": 0}, mirrorTraffic={"Green": 50})
    assert shown["properties"]["traffic"] == {"blue": 100, "green": 0}
    assert shown["properties"]["mirrorTraffic"] == {"green": 50}


def test_keys_are_changed_one_at_a_time(world: World) -> None:
    world.serve()
    old = world.keys
    assert old["primaryKey"] != old["secondaryKey"]
    regenerate = f"{world.path}/regenerateKeys"

    def works(key: str) -> bool:
        return world.score({}, credential=key).status == 200

    assert works(old["primaryKey"])
    assert works(old["secondaryKey"])
    world.ends("POST", regenerate, {"keyType": "Primary", "keyValue": old["primaryKey"]}, "Succeeded")
    new = world.keys
    assert new["secondaryKey"] == old["secondaryKey"]
    assert (works(old["primaryKey"]), works(new["primaryKey"]), works(old["secondaryKey"])) == (False, True, True)
    world.ends("POST", regenerate, {"keyType": "Secondary", "keyValue": "my-own-key"}, "Succeeded")
    assert world.keys == {"primaryKey": new["primaryKey"], "secondaryKey": "my-own-key"}
    assert (works("my-own-key"), works(old["secondaryKey"])) == (True, False)
    assert "neither Primary nor Secondary" in world.refused("POST", regenerate, {"keyType": "Third"})[1]
    assert "ASCII" in world.refused("POST", regenerate, {"keyType": "Primary", "keyValue": "ключ"})[1]


def test_keys_can_be_given_when_the_endpoint_is_made_and_not_later(world: World) -> None:
    world.make(keys={"primaryKey": "given", "secondaryKey": "too"})
    assert world.keys == {"primaryKey": "given", "secondaryKey": "too"}
    body = {"location": "eastus", "properties": {"keys": {"primaryKey": "other"}}}
    assert "regenerateKeys changes them" in world.refused("PUT", world.path, body)[1]


def test_keys_and_tokens_are_each_modes_own(world: World) -> None:
    world.serve()
    assert "has the auth mode Key" in world.refused("POST", f"{world.path}/token")[1]
    world.make(authMode="AMLToken", traffic={"blue": 100})
    for action in ("listKeys", "regenerateKeys"):
        assert "has the auth mode AMLToken" in world.refused("POST", f"{world.path}/{action}", {})[1]
    status, given, _ = world.rest("POST", f"{world.path}/token")
    assert (status, given["tokenType"]) == (200, "Bearer")
    assert given["expiryTimeUtc"] - given["refreshAfterTimeUtc"] == 3 * 3600
    assert world.score({}, credential=given["accessToken"]).status == 200
    for credential in (world.token("https://ml.azure.com"), "x.y.z"):
        refused = world.score({}, credential=credential)
        assert (refused.status, refused.body) == (401, b"token_auth_access_denied")
    world.make(authMode="AADToken", traffic={"blue": 100})
    assert world.score({}, credential=world.token("https://ml.azure.com")).status == 200
    for credential in (world.token("https://management.azure.com"), given["accessToken"]):
        assert world.score({}, credential=credential).status == 401
    assert world.score({}, credential="").body == b"token_auth_bad_header_forbidden"


def test_an_endpoint_goes_with_its_deployments_and_its_name_is_free_again(world: World) -> None:
    world.serve("blue", "green")
    (pid,) = {world.score({}).json["pid"] for _ in range(3)}
    assert world.ends("DELETE", world.path, None, "Succeeded")
    assert world.rest("GET", world.path)[0] == 404
    assert world.rest("GET", f"{world.path}/deployments/blue")[0] == 404
    assert world.score({}).status == 404
    assert world.rest("DELETE", world.path)[0] == 204
    world.make()
    status, found, _ = world.rest("GET", f"{world.path}/deployments")
    assert (status, found["value"]) == (200, [])
    _gone(pid)


def test_an_endpoint_that_is_not_there(world: World) -> None:
    assert world.rest.error("GET", world.path)[:2] == (404, "ResourceNotFound")
    assert world.rest.error("POST", f"{world.path}/listKeys")[:2] == (404, "ResourceNotFound")
    assert world.rest.error("PATCH", world.path, {"tags": {}})[:2] == (404, "ResourceNotFound")
    assert world.rest("GET", f"{world.path}/deployments")[0] == 404


def test_the_inventory_lists_endpoints(world: World) -> None:
    world.make()
    assert any(world.name in line for line in world.cloud.inventory()["endpoints"])


def _gone(pid: int) -> None:
    """Waits until a replica's process has ended."""
    eventually(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])
