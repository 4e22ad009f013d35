"""What a reset, or the server's end, would take with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.cloud.azure import AzureCloud
from labkit.cloud.engine import Engine
from tests.cloud.azure.in_process import Lab, Rest


@pytest.fixture
def own(tmp_path: Path) -> Iterator[AzureCloud]:
    engine = Engine(tmp_path / "engine")
    cloud = AzureCloud(engine, Lab(tmp_path))
    yield cloud
    cloud.close()
    engine.close()


def test_what_the_lab_has_from_the_beginning_is_not_listed(own: AzureCloud) -> None:
    assert own.inventory() == {}


def test_what_was_made_is_listed_and_reset_takes_it(own: AzureCloud) -> None:
    rest = Rest(own)
    group = f"{rest.subscription}/resourceGroups/mine"
    rest("PUT", group, {"location": "eastus"}, version="2021-04-01")
    account = f"{group}/providers/Microsoft.Storage/storageAccounts/minedata"
    rest("PUT", account, {"location": "eastus"}, version="2023-01-01")
    rest("PUT", f"{account}/blobServices/default/containers/raw", {}, version="2023-01-01")
    uri = {"properties": {"modelUri": "azureml://datastores/workspaceblobstore/paths/a"}}
    rest("PUT", f"{rest.workspace}/models/churn/versions/1", uri)
    rest("PUT", f"{rest.workspace}/models/churn/versions/2", uri)
    assert own.inventory() == {
        "resource groups": ["mine"],
        "storage accounts": ["minedata"],
        "models": ["churn"],
        "containers": ["raw"],
    }
    own.reset()
    assert own.inventory() == {}
    assert rest("GET", rest.workspace)[0] == 200
    assert rest.error("GET", group, version="2021-04-01")[1] == "ResourceGroupNotFound"
