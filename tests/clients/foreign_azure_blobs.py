"""A script as a stranger would write it from Azure's documentation: nothing in it knows of local clouds.

It makes a resource group, a storage account and a workspace of its own, moves 70 MB through the account, and registers
a model in the workspace. Exits non-zero when anything that it gets back is not what it put in.
"""

import io
import os
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model, Workspace
from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

GROUP, WORKSPACE, ACCOUNT, REGION = "rg-strangers", "ws-strangers", "strangersdata01", "northeurope"
SUBSCRIPTION = os.environ["AZURE_SUBSCRIPTION_ID"]
MANAGEMENT = f"https://management.azure.com/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"

credential = DefaultAzureCredential()


def send(method, path, body=None, version="2023-01-01"):
    """One request to Resource Manager; its answer's JSON."""
    headers = {"Authorization": f"Bearer {credential.get_token('https://management.azure.com/.default').token}"}
    response = requests.request(
        method, f"{MANAGEMENT}/{path}", params={"api-version": version}, headers=headers, json=body, timeout=250
    )
    response.raise_for_status()
    return response.json()


def storage():
    path = f"providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"
    send("PUT", path, {"location": REGION, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}})
    key = send("POST", f"{path}/listKeys")["keys"][0]["value"]
    service = BlobServiceClient(f"https://{ACCOUNT}.blob.core.windows.net", credential=key)
    container = service.create_container("training-data")
    data = random.Random(1).randbytes(70_000_000)
    blob = container.get_blob_client("raw/2026/customers.bin")
    blob.upload_blob(io.BytesIO(data), max_concurrency=4)
    assert blob.download_blob(max_concurrency=4).readall() == data
    assert blob.download_blob(offset=69_999_990, length=10).readall() == data[-10:]
    for number in range(5):
        container.upload_blob(f"raw/small/{number}.txt", str(number))
    assert len(list(container.list_blobs(name_starts_with="raw/"))) == 6
    assert [each.name for each in container.walk_blobs(name_starts_with="raw/")] == ["raw/2026/", "raw/small/"]
    small = container.get_blob_client("raw/small/0.txt")
    seen = small.get_blob_properties().etag
    small.upload_blob(b"changed", overwrite=True, etag=seen, match_condition=MatchConditions.IfNotModified)
    try:
        small.upload_blob(b"lost", overwrite=True, etag=seen, match_condition=MatchConditions.IfNotModified)
        raise SystemExit("an overwrite under an old ETag was taken")
    except ResourceModifiedError:
        pass
    until = datetime.now(UTC) + timedelta(hours=1)
    signature = generate_blob_sas(
        ACCOUNT,
        "training-data",
        small.blob_name,
        account_key=key,
        permission=BlobSasPermissions(read=True),
        expiry=until,
    )
    assert requests.get(f"{small.url}?{signature}", timeout=250).content == b"changed"
    assert requests.delete(f"{small.url}?{signature}", timeout=250).status_code == 403
    blob.delete_blob()
    assert not blob.exists()
    container.delete_container()


def assets():
    client = MLClient(credential, SUBSCRIPTION, GROUP, WORKSPACE)
    client.workspaces.begin_create(Workspace(name=WORKSPACE, location=REGION)).result()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.bin"
        file.write_bytes(b"w" * 1000)
        for _ in range(2):
            client.models.create_or_update(Model(path=str(file), name="ranker", tags={"team": "search"}))
        client.models.download("ranker", "2", folder)
        assert (Path(folder) / "ranker" / "weights.bin").read_bytes() == file.read_bytes()
    assert client.models.get("ranker", label="latest").version == "2"
    image = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"
    assert client.environments.create_or_update(Environment(name="serving", image=image)).version == "1"
    try:
        client.models.get("ranker", "3")
        raise SystemExit("a model that is not there was found")
    except ResourceNotFoundError:
        pass


def main():
    resources = ResourceManagementClient(credential, SUBSCRIPTION)
    resources.resource_groups.create_or_update(GROUP, {"location": REGION})
    storage()
    assets()
    resources.resource_groups.begin_delete(GROUP).result()
    assert not resources.resource_groups.check_existence(GROUP)
    print("everything came back")


if __name__ == "__main__":
    main()
