"""Workspaces and their datastores, through azure-ai-ml and plain REST."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from labkit.cloud.engine.clock import EPOCH
from tests.cloud.azure.in_process import Rest, raised
from tests.waiting import eventually


def test_the_labs_own_workspace(ml: Any, cloud: AzureCloud) -> None:
    workspace = ml.workspaces.get("mlops")
    assert (workspace.name, workspace.location, workspace.resource_group) == ("mlops", "eastus", "learning")
    assert workspace.discovery_url == "https://eastus.api.azureml.ms/discovery"
    assert workspace.identity.type == "system_assigned"
    assert "mlops" in [each.name for each in ml.workspaces.list()]
    for linked in (workspace.storage_account, workspace.key_vault, workspace.application_insights):
        assert cloud.resources.get(linked) is not None


def test_a_workspace_is_deployed_from_the_sdks_template(ml: Any, name: str, sdk: Any) -> None:
    made = ml.workspaces.begin_create(
        sdk.entities.Workspace(name=name, location="westeurope", display_name="Mine", tags={"a": "b"})
    ).result()
    assert (made.name, made.location, made.display_name, made.tags["a"]) == (name, "westeurope", "Mine", "b")
    other = sdk.MLClient(ml._credential, ml.subscription_id, "learning", name)
    assert sorted(each.name for each in other.datastores.list()) == ["workspaceartifactstore", "workspaceblobstore"]
    assert other.datastores.get_default().account_name in made.storage_account
    updated = ml.workspaces.begin_update(sdk.entities.Workspace(name=name, description="changed")).result()
    assert updated.description == "changed"
    ml.workspaces.begin_delete(name, delete_dependent_resources=True).result()
    error = raised(lambda: ml.workspaces.get(name))
    assert (error.status_code, error.error.code) == (404, "ResourceNotFound")


def test_deleting_a_workspace_keeps_its_storage(rest: Rest, name: str) -> None:
    path, account = _workspace(rest, name)
    assert rest("DELETE", path)[0] == 202
    _await_gone(rest, path)
    assert rest("GET", account, version="2023-01-01")[0] == 200
    assert rest.error("GET", f"{path}/datastores")[1] == "ResourceNotFound"


@pytest.mark.parametrize(
    ("change", "status", "code", "message"),
    [
        ({"location": None}, 400, "LocationRequired", "location"),
        ({"kind": "Hub"}, 501, "NotImplemented", "workspaces of kind Hub"),
        ({"identity": {"type": "UserAssigned"}}, 501, "NotImplemented", "identity of type UserAssigned"),
        ({"properties": {}}, 400, "BadRequest", "Missing dependent resources in workspace json"),
        ({"properties": {"encryption": {"status": "Enabled"}}}, 501, "NotImplemented", "encryption"),
        ({"properties": {"publicNetworkAccess": "Disabled"}}, 501, "NotImplemented", "publicNetworkAccess"),
    ],
)
def test_workspaces_that_cannot_be_made(
    rest: Rest, name: str, change: dict[str, Any], status: int, code: str, message: str
) -> None:
    path = rest.workspace.replace("/mlops", f"/{name}")
    found = rest.error("PUT", path, {"location": "eastus", "properties": {"storageAccount": "x"}} | change)
    assert found[:2] == (status, code)
    assert message in found[2]


def test_a_name_that_no_workspace_can_have(rest: Rest) -> None:
    status, code, message = rest.error("PUT", rest.workspace.replace("/mlops", "/a b"), {"location": "eastus"})
    assert (status, code) == (400, "ValidationError")
    assert "'a b'" in message


def test_system_data_is_in_lab_time(rest: Rest, cloud: AzureCloud, name: str) -> None:
    cloud.engine.clock.advance(timedelta(days=2))
    path, _ = _workspace(rest, name)
    _, made, _ = rest("GET", path)
    assert made["systemData"]["createdAt"].startswith(f"{cloud.engine.clock.now():%Y-%m-%dT%H:%M}"[:13])
    assert made["systemData"]["createdBy"] == cloud.identities.learner.object_id
    assert cloud.engine.clock.now() > EPOCH


def test_secrets_of_the_default_datastore(ml: Any, cloud: AzureCloud) -> None:
    default = ml.datastores.get_default(include_secrets=True)
    assert default.name == "workspaceblobstore"
    account = cloud.resources.require(ml.workspaces.get("mlops").storage_account).state
    assert default.credentials.account_key == account.keys[0]
    assert ml.datastores.get("workspaceblobstore").credentials.account_key is None


def test_a_datastore_of_ones_own(ml: Any, cloud: AzureCloud, name: str, sdk: Any) -> None:
    account = cloud.resources.require(ml.workspaces.get("mlops").storage_account).state
    account.create_container(name)
    entities = sdk.entities
    wanted = entities.AzureBlobDatastore(
        name=name,
        account_name=account.name,
        container_name=name,
        credentials=entities.AccountKeyConfiguration(account_key=account.keys[1]),
    )
    made = ml.datastores.create_or_update(wanted)
    assert (made.name, made.container_name) == (name, name)
    assert name in [each.name for each in ml.datastores.list()]
    ml.datastores.delete(name)
    error = raised(lambda: ml.datastores.get(name))
    assert (error.status_code, error.error.code) == (404, "UserError")


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"datastoreType": "AzureFile"}, 501, "datastores of type AzureFile"),
        ({"containerName": "absent"}, 400, "Container absent of storage account"),
        ({"credentials": {"credentialsType": "AccountKey", "secrets": {"key": "bm8="}}}, 400, "not one of its keys"),
        ({"accountName": None}, 400, "needs accountName and containerName"),
    ],
)
def test_datastores_that_cannot_be_made(
    rest: Rest, cloud: AzureCloud, name: str, change: dict[str, Any], status: int, message: str
) -> None:
    storage = cloud.resources.require(rest.workspace).properties["storageAccount"].rpartition("/")[2]
    properties = {"datastoreType": "AzureBlob", "accountName": storage, "containerName": "azureml"} | change
    found = rest.error("PUT", f"{rest.workspace}/datastores/{name}", {"properties": properties})
    assert found[0] == status
    assert message in found[2]


def _workspace(rest: Rest, name: str) -> tuple[str, str]:
    """A workspace made over plain REST, and its storage account's id."""
    account = f"{rest.group}/providers/Microsoft.Storage/storageAccounts/{name}"
    vault = f"{rest.group}/providers/Microsoft.KeyVault/vaults/{name}"
    assert rest("PUT", account, {"location": "eastus"}, version="2023-01-01")[0] == 200
    assert rest("PUT", vault, {"location": "eastus"}, version="2023-07-01")[0] == 201
    path = rest.workspace.replace("/mlops", f"/{name}")
    body = {"location": "eastus", "properties": {"storageAccount": account, "keyVault": vault}}
    assert rest("PUT", path, body)[0] == 201
    return path, account


def _await_gone(rest: Rest, path: str) -> None:
    """Waits as a poller would: the operation's own resource answers when it has ended."""
    status, _, headers = rest("DELETE", path)
    if status == 202:
        where = headers["azure-asyncoperation"].removeprefix("https://management.azure.com").partition("?")[0]
        eventually(lambda: rest("GET", where)[1]["status"] == "Succeeded")
    eventually(lambda: rest("GET", path)[0] == 404)
