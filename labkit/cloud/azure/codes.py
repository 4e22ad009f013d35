"""Code: folders of scripts that deployments and jobs run, found again by the hash of their content.

https://learn.microsoft.com/rest/api/azureml/code-versions
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import asset_files, datastores, sas, storage_accounts
from labkit.cloud.azure.assets import Kind, view
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.routes import WORKSPACE, Route
from labkit.cloud.azure.shapes import text
from labkit.cloud.azure.wire import page

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call
    from labkit.cloud.azure.resources import Resource

#: How long the address of an upload is good for.
UPLOAD_TIME = timedelta(hours=2)


def _complete(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    uri = text(asked, "codeUri")
    if not uri:
        raise call.user_error("A code version needs a codeUri: where its files are.", 400, "BadArgument")
    asset_files.place_of(call.cloud, call.workspace_id, uri)
    return {name: value for name, value in asked.items() if value is not None}


def _conflict(call: Call, version: Resource) -> AzureError:
    return call.user_error("Asset paths cannot be updated.", 400, "ImmutableAsset")


CODES = Kind("codes", "code", ("codeUri",), _complete, _conflict)


def list_versions(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A page of versions. With ``hash``, those with this content, whatever their name, as on Azure."""
    wanted = call.query.get("hash")
    if not wanted:
        return CODES.list_versions(call, names)
    known = call.cloud.resources.below(call.workspace_id, f"{CODES.type}/versions")
    return page(call, [view(each) for each in known if each.properties["properties"].get("hash_sha256") == wanted])


def start_pending_upload(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A new container for a code's files, and a signed address to upload them to."""
    body = call.body()
    kind = text(body, "pendingUploadType", "TemporaryBlobReference")
    if kind not in ("TemporaryBlobReference", "None"):
        raise refusal(f"pending uploads of type {kind}")
    store = call.cloud.resources.require(f"{call.workspace_id}/datastores/{datastores.BLOBS}")
    resource = storage_accounts.find(call.cloud, store.properties["accountName"])
    if resource is None:
        raise call.user_error("The workspace's storage account does not exist any more.", 400, "StorageNotFound")
    account, container = resource.state, str(uuid.uuid4())
    account.create_container(container, own=True)
    signature = sas.container_sas(account.name, account.keys[0], container, "rwl", datetime.now(UTC), UPLOAD_TIME)
    address = f"https://{account.name}.blob.core.windows.net/{container}"
    return {
        "pendingUploadType": kind,
        "pendingUploadId": str(uuid.uuid4()),
        "blobReferenceForConsumption": {
            "blobUri": address,
            "storageAccountArmId": resource.id,
            "credential": {"credentialType": "SAS", "sasUri": f"{address}?{signature}"},
        },
    }


ROUTES = [
    *(route for route in CODES.routes() if route.function != CODES.list_versions),
    Route("GET", f"{WORKSPACE}/codes/{{name}}/versions", list_versions),
    Route("POST", f"{WORKSPACE}/codes/{{name}}/versions/{{version}}/startPendingUpload", start_pending_upload),
]
