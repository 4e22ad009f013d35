"""User-assigned identities; what endpoints act as, and what they fail at without a role."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure import principals
from tests.cloud.azure.in_process import Rest
from tests.cloud.azure.online_world import World

VERSION = "2023-01-31"


@pytest.fixture
def identity(rest: Rest, name: str) -> Any:
    """A user-assigned identity, as Resource Manager shows it."""
    path = f"{rest.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    status, made, _ = rest("PUT", path, {"location": "eastus", "tags": {"for": "tests"}}, version=VERSION)
    assert status == 201
    return made


def user_assigned(identity: Any) -> dict[str, Any]:
    return {"identity": {"type": "UserAssigned", "userAssignedIdentities": {identity["id"]: {}}}, "location": "eastus"}


def test_an_identity_is_a_resource(rest: Rest, cloud: AzureCloud, identity: Any) -> None:
    properties = identity["properties"]
    found = cloud.identities.named(client_id=properties["clientId"], resource_id=identity["id"].upper())
    assert found is not None
    assert (found.object_id, properties["tenantId"]) == (properties["principalId"], cloud.identities.tenant)
    assert cloud.identities.named(client_id=properties["clientId"], object_id="another") is None
    assert cloud.identities.named() is None
    _, again, _ = rest("PUT", identity["id"], {"location": "eastus"}, version=VERSION)
    assert again["properties"] == properties
    path = f"{rest.subscription}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    assert identity["id"] in [each["id"] for each in rest("GET", path, version=VERSION)[1]["value"]]
    assert [rest("DELETE", identity["id"], version=VERSION)[0] for _ in range(2)] == [200, 204]
    assert cloud.identities.find(properties["principalId"]) is None
    federated = f"{identity['id']}/federatedIdentityCredentials/x"
    assert rest.error("PUT", federated, {}, version=VERSION)[:2] == (501, "NotImplemented")


def test_an_endpoint_with_its_own_identity_may_read_its_files(world: World, cloud: AzureCloud) -> None:
    shown = world.make()["identity"]
    given = cloud.authorization.of(shown["principalId"])
    assert [each.role.name for each in given] == ["Storage Blob Data Reader", "AzureML Metrics Writer (preview)"]
    world.rest("DELETE", world.path)


def test_a_user_assigned_identity_needs_the_blob_role(world: World, rest: Rest, identity: Any) -> None:
    made = world.done("PUT", world.path, user_assigned(identity))
    own = identity["properties"]
    assert made["identity"] == {
        "type": "UserAssigned",
        "userAssignedIdentities": {identity["id"]: {"principalId": own["principalId"], "clientId": own["clientId"]}},
    }
    code, message = world.fails("PUT", f"{world.path}/deployments/blue", world.deployment())
    assert code == "BadArgument"
    assert "This request is not authorized to perform this operation using this permission." in message
    assert f"the endpoint's identity {own['principalId']} may not read the container" in message
    assert message.endswith("https://aka.ms/oe-tsg#authorization-error")
    rest("DELETE", f"{world.path}/deployments/blue")
    storage = rest("GET", rest.workspace)[1]["properties"]["storageAccount"]
    reader = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
    assert principals.assign(rest, own["principalId"], reader, storage)[0] == 201
    world.deploy("green")
    assert world.done("PUT", world.path, {**user_assigned(identity), "properties": {"traffic": {"green": 100}}})
    assert world.score({}).status == 200
    status, reason = world.refused("PUT", world.path, {"location": "eastus", "identity": {"type": "SystemAssigned"}})
    assert (status, "cannot be changed" in reason) == (400, True)


def test_giving_an_identity_away_needs_a_role_on_it(rest: Rest, cloud: AzureCloud, name: str, identity: Any) -> None:
    someone = principals.make(cloud, name)
    someone.give("AzureML Data Scientist", rest.workspace)
    path = f"{rest.workspace}/onlineEndpoints/{name}"
    status, code, message = someone.rest().error("PUT", path, user_assigned(identity))
    assert (status, code) == (403, "LinkedAuthorizationFailed")
    assert message == (
        f"The client '{someone.client_id}' with object id '{someone.object_id}' has permission to perform action "
        f"'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write' on scope '{path}'; however, it does not "
        "have permission to perform action(s) 'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action' on the "
        f"linked scope(s) '{identity['id']}' (respectively) or the linked scope(s) are invalid."
    )
    someone.give("Managed Identity Operator", identity["id"])
    assert someone.rest()("PUT", path, user_assigned(identity))[0] == 201
    rest("DELETE", path)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"type": "UserAssigned"}, "InvalidIdentityValues"),
        ({"type": "SystemAssigned", "userAssignedIdentities": {"own": {}}}, "InvalidIdentityValues"),
    ],
)
def test_identities_that_do_not_fit(rest: Rest, name: str, identity: Any, asked: Any, code: str) -> None:
    body = {"location": "eastus", "identity": asked}
    if "userAssignedIdentities" in asked:
        body["identity"] = asked | {"userAssignedIdentities": {identity["id"]: {}}}
    assert rest.error("PUT", f"{rest.workspace}/onlineEndpoints/{name}", body)[:2] == (400, code)


def test_a_caller_scores_only_with_a_role(world: World, rest: Rest, cloud: AzureCloud) -> None:
    world.serve()
    world.make(authMode="AADToken", traffic={"blue": 100})
    someone = principals.make(cloud, world.name)
    token = someone.token("https://ml.azure.com")
    assert jwt.decode(token, options={"verify_signature": False})["oid"] == someone.object_id
    refused = world.score({}, credential=token)
    assert refused.status == 403
    assert f"'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action' over scope '{world.path}'" in (
        refused.body.decode()
    )
    someone.give("AzureML Data Scientist", world.path)
    assert world.score({}, credential=token).status == 200
