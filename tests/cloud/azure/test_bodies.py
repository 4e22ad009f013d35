"""Bodies of the wrong form: whatever a client sends, the answer is an error that says what was wrong, never a bug."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure.in_process import Rest

JUNK: list[Any] = [None, 1, True, "x", "", [], {}, [1], ["a"], {"a": 1}]
ASSET = {"tags": {"a": "b"}, "properties": {"a": "b"}, "description": "d", "isArchived": False}
FILES = "azureml://datastores/workspaceblobstore/paths/a"
VAULT = {
    "type": "Microsoft.KeyVault/vaults",
    "name": "fuzzed",
    "apiVersion": "2023-07-01",
    "location": "eastus",
    "dependsOn": [],
    "properties": {},
}
TEMPLATE = {
    "parameters": {"a": {"type": "string", "defaultValue": "y", "allowedValues": ["x", "y"]}},
    "variables": {"b": "[parameters('a')]"},
    "outputs": {"o": {"type": "string", "value": "[variables('b')]"}},
    "resources": [VAULT],
}
#: (path below the group or the workspace, api-version, a good body).
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("{subscription}/resourceGroups/fuzzed", "2021-04-01", {"location": "eastus", "tags": {"a": "b"}}),
    (
        "{group}/providers/Microsoft.Storage/storageAccounts/fuzzedacct",
        "2023-01-01",
        {
            "location": "eastus",
            "kind": "StorageV2",
            "sku": {"name": "Standard_LRS"},
            "properties": {
                "accessTier": "Hot",
                "networkAcls": {"defaultAction": "Allow"},
                "encryption": {"keySource": "Microsoft.Storage"},
            },
        },
    ),
    (
        "{group}/providers/Microsoft.KeyVault/vaults/fuzzed",
        "2023-07-01",
        {"location": "eastus", "properties": {"sku": {"name": "x"}}},
    ),
    (
        "{group}/providers/Microsoft.MachineLearningServices/workspaces/fuzzed",
        "2023-04-01",
        {
            "location": "eastus",
            "kind": "Default",
            "identity": {"type": "SystemAssigned"},
            "properties": {
                "storageAccount": "{group}/providers/Microsoft.Storage/storageAccounts/fuzzedacct",
                "keyVault": "{group}/providers/Microsoft.KeyVault/vaults/fuzzed",
                "managedNetwork": {"isolationMode": "Disabled"},
            },
        },
    ),
    (
        "{workspace}/datastores/fuzzed",
        "2023-04-01",
        {
            "properties": {
                "datastoreType": "AzureBlob",
                "accountName": "fuzzedacct",
                "containerName": "azureml",
                "credentials": {"credentialsType": "AccountKey", "secrets": {"key": "x"}},
            }
        },
    ),
    ("{workspace}/models/fuzzed/versions/1", "2023-04-01", {"properties": {"modelUri": FILES, "flavors": {}, **ASSET}}),
    ("{workspace}/models/fuzzed", "2023-04-01", {"properties": ASSET}),
    ("{workspace}/environments/fuzzed/versions/1", "2023-04-01", {"properties": {"image": "x", "condaFile": "y"}}),
    ("{workspace}/environments/fuzzed/versions/2", "2023-04-01", {"properties": {"build": {"contextUri": "x"}}}),
    ("{workspace}/codes/fuzzed/versions/1", "2023-04-01", {"properties": {"codeUri": FILES, **ASSET}}),
    ("{workspace}/data/fuzzed/versions/1", "2023-04-01", {"properties": {"dataUri": FILES, "dataType": "uri_file"}}),
    (
        "{workspace}/computes/fuzzed",
        "2023-04-01",
        {
            "properties": {
                "computeType": "AmlCompute",
                "properties": {"vmSize": "x", "scaleSettings": {"maxNodeCount": 1}},
            }
        },
    ),
    (
        "{group}/providers/Microsoft.Resources/deployments/fuzzed",
        "2021-04-01",
        {"properties": {"mode": "Incremental", "parameters": {"a": {"value": "x"}}, "template": TEMPLATE}},
    ),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """A cloud of its own: what is made here has the oddest properties."""
    from labkit.cloud.engine import Engine
    from tests.cloud.azure.in_process import Lab

    engine = Engine(tmp_path_factory.mktemp("bodies-engine"))
    cloud = AzureCloud(engine, Lab(tmp_path_factory.mktemp("bodies")))
    yield Rest(cloud)
    cloud.close()
    engine.close()


def places(whole: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where everything in a body is, by the keys that lead there."""
    if at:
        yield at
    pairs = whole.items() if isinstance(whole, dict) else enumerate(whole) if isinstance(whole, list) else ()
    for key, value in pairs:
        yield from places(value, (*at, key))


def changed(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    body = copy.deepcopy(body)
    inner = body
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return body


@pytest.mark.parametrize(
    ("path", "version", "body"), CASES, ids=[case[0].rpartition("/providers/")[2] for case in CASES]
)
def test_every_element_of_the_wrong_form(own: Rest, path: str, version: str, body: dict[str, Any]) -> None:
    path = path.format(subscription=own.subscription, group=own.group, workspace=own.workspace)
    body = json.loads(json.dumps(body).replace("{group}", own.group))
    for at in places(body):
        for value in JUNK:
            status, answer, headers = own("PUT", path, changed(body, at, value), version=version)
            text = json.dumps(answer)
            assert status < 500 or (status == 501 and "could not serve" not in text), (at, value, text)
            if status >= 400:
                assert answer["error"]["message"]
            if operation := headers.get("azure-asyncoperation"):
                where = operation.removeprefix("https://management.azure.com").partition("?")[0]
                assert "InternalServerError" not in json.dumps(own("GET", where, version=version)[1]), (at, value)


def test_what_was_made_can_be_listed(own: Rest) -> None:
    for kind in ("models", "environments", "codes", "data", "computes", "datastores"):
        assert own("GET", f"{own.workspace}/{kind}")[0] == 200
