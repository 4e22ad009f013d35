"""The containers of storage accounts as Resource Manager shows them; templates make them so.

https://learn.microsoft.com/rest/api/storagerp/blob-containers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import storage_accounts
from labkit.cloud.azure.blob_containers import check_container_name
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_store import Account, Container
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.routes import GROUP, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page, time_text
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call


def put_container(call: Call, names: dict[str, str]) -> Response:
    """Makes a container, or changes its metadata."""
    account: Account = call.cloud.resources.require(_account_id(call)).state
    asked = section(call.body(), "properties")
    if text(asked, "publicAccess", "None") != "None":
        raise AzureError("PublicAccessNotPermitted", "Public access is not permitted on this storage account.", 409)
    check_container_name(names["container"])
    metadata = {str(name): str(value) for name, value in section(asked, "metadata").items()}
    with account.lock:
        found = account.containers.get(names["container"])
        status = 200 if found else 201
        if found is None:
            found = account.create_container(names["container"], metadata)
        elif "metadata" in asked:
            found.metadata, found.etag, found.modified = metadata, account.new_etag(), account.now()
    return json_response(status, _container(call, found))


def get_container(call: Call, names: dict[str, str]) -> dict[str, Any]:
    account: Account = call.cloud.resources.require(_account_id(call)).state
    found = account.containers.get(names["container"])
    if found is None:
        raise error("ContainerNotFound")
    return _container(call, found)


def list_containers(call: Call, names: dict[str, str]) -> dict[str, Any]:
    account: Account = call.cloud.resources.require(_account_id(call)).state
    with account.lock:
        found = sorted(account.containers.values(), key=lambda each: each.name)
    return page(call, [_container(call, each) for each in found])


def delete_container(call: Call, names: dict[str, str]) -> Response:
    """Deletes the container with its blobs and the roles given on it: 200, or 204 when there was none."""
    account: Account = call.cloud.resources.require(_account_id(call)).state
    found = account.containers.get(names["container"])
    if found is not None:
        account.delete_container(found)
        call.cloud.authorization.forget(call.resource)
    return Response(200 if found else 204)


def _account_id(call: Call) -> str:
    """The id of the account that a path below it is about."""
    return "/".join(call.resource.split("/")[:9])


def _container(call: Call, found: Container) -> dict[str, Any]:
    return {
        "id": f"{_account_id(call)}/blobServices/default/containers/{found.name}",
        "name": found.name,
        "type": f"{storage_accounts.TYPE}/blobServices/containers",
        "etag": found.etag,
        "properties": {
            "publicAccess": "None",
            "leaseStatus": "Unlocked",
            "leaseState": "Available",
            "lastModifiedTime": time_text(found.modified),
            "metadata": dict(found.metadata),
            "hasImmutabilityPolicy": False,
            "hasLegalHold": False,
            "deleted": False,
        },
    }


_CONTAINERS = f"{GROUP}/providers/{storage_accounts.TYPE}/{{account}}/blobServices/default/containers"

ROUTES = [
    Route("GET", _CONTAINERS, list_containers),
    Route("PUT", f"{_CONTAINERS}/{{container}}", put_container),
    Route("GET", f"{_CONTAINERS}/{{container}}", get_container),
    Route("DELETE", f"{_CONTAINERS}/{{container}}", delete_container),
]
