"""Storage accounts as Resource Manager shows them: made, listed, their keys, their containers, deleted.

What is in them is :mod:`labkit.cloud.azure.blob_service`'s. https://learn.microsoft.com/rest/api/storagerp/
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure.blob_containers import check_container_name
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_store import Account, Container
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.groups import location_of, tags_of
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import GROUP, SUBSCRIPTION, Route
from labkit.cloud.azure.wire import json_response, page, time_text
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

TYPE = "Microsoft.Storage/storageAccounts"
_NAME = re.compile(r"[a-z0-9]{3,24}")
_KEY_NAMES = ("key1", "key2")


def make(cloud: AzureCloud, caller: Caller, resource_id: str, location: str, body: dict[str, Any]) -> Resource:
    """A new storage account; ``body`` is what was asked for."""
    name = resource_id.rpartition("/")[2]
    account = Account(name, cloud.lab.run / "azure-blobs", cloud.engine.clock.now)
    asked = body.get("properties") or {}
    made = Resource(
        resource_id,
        {
            "provisioningState": "Succeeded",
            "creationTime": time_text(cloud.engine.clock.now()),
            "primaryLocation": location,
            "statusOfPrimary": "available",
            "primaryEndpoints": {"blob": f"https://{name}.blob.core.windows.net/"},
            "accessTier": asked.get("accessTier", "Hot"),
            "allowBlobPublicAccess": False,
            "allowSharedKeyAccess": asked.get("allowSharedKeyAccess", True),
            "minimumTlsVersion": asked.get("minimumTlsVersion", "TLS1_2"),
            "supportsHttpsTrafficOnly": True,
            "publicNetworkAccess": "Enabled",
            "networkAcls": {
                "bypass": "AzureServices",
                "defaultAction": "Allow",
                "ipRules": [],
                "virtualNetworkRules": [],
            },
            "encryption": {"keySource": "Microsoft.Storage", "services": {"blob": {"enabled": True}}},
        },
        location,
        tags_of(body),
        kind=body.get("kind") or "StorageV2",
        sku={"name": (body.get("sku") or {}).get("name", "Standard_LRS"), "tier": "Standard"},
        state=account,
        closing=account.close,
    )
    made.touch(cloud.engine.clock.now(), caller)
    account.keys = [_key(cloud, made, number, 0) for number in range(len(_KEY_NAMES))]
    cloud.resources.put(made)
    return made


def find(cloud: AzureCloud, name: str) -> Resource | None:
    """The account with this name, which is its own in the whole of Azure, or None."""
    accounts = cloud.resources.below("/subscriptions", TYPE)
    return next((each for each in accounts if each.name == name.lower()), None)


def put_account(call: Call, names: dict[str, str]) -> Response:
    name, body = names["account"], call.body()
    if not _NAME.fullmatch(name):
        raise AzureError(
            "AccountNameInvalid",
            f"{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in "
            "length and use numbers and lower-case letters only.",
            400,
        )
    kind = body.get("kind") or "StorageV2"
    if (body.get("properties") or {}).get("isHnsEnabled"):
        raise AzureError(
            "NotImplemented",
            "The local clouds do not serve a hierarchical namespace (isHnsEnabled) yet; see docs/fidelity.md.",
            501,
        )
    resources = call.cloud.resources
    with resources.lock:
        account = resources.get(call.resource)
        if account is None:
            location = location_of(body)
            if find(call.cloud, name) is not None:
                raise AzureError(
                    "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken.", 409
                )
            account = make(call.cloud, call.caller, call.resource, location, body)
        else:
            if kind != account.kind:
                message = "The property 'kind' was specified in the input, but it cannot be updated."
                raise AzureError("AccountPropertyCannotBeUpdated", message, 409)
            account.tags = tags_of(body) if "tags" in body else account.tags
            account.touch(call.engine.clock.now(), call.caller)
    return json_response(200, account.view())


def get_account(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return call.cloud.resources.require(call.resource).view()


def list_accounts(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return page(call, [each.view() for each in call.cloud.resources.below(call.resource, TYPE)])


def delete_account(call: Call, names: dict[str, str]) -> Response:
    """Deletes the account with all that is in it: 200, or 204 when there was none."""
    return Response(200 if call.cloud.resources.delete(call.resource) else 204)


def list_keys(call: Call, names: dict[str, str]) -> dict[str, Any]:
    account = call.cloud.resources.require(call.resource).state
    made = time_text(call.cloud.resources.require(call.resource).created or call.engine.clock.now())
    keys = [
        {"keyName": name, "value": key, "permissions": "FULL", "creationTime": made}
        for name, key in zip(_KEY_NAMES, account.keys, strict=True)
    ]
    return {"keys": keys}


def regenerate_key(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Replaces one of the two keys: signatures made with the old one are refused from now on."""
    name = call.body().get("keyName")
    if name not in _KEY_NAMES:
        raise AzureError(
            "InvalidValuesForRequestParameters", f"Values for request parameters are invalid: keyName {name!r}.", 400
        )
    resource = call.cloud.resources.require(call.resource)
    account, number = resource.state, _KEY_NAMES.index(name)
    account.key_rotations += 1
    account.keys[number] = _key(call.cloud, resource, number, account.key_rotations)
    return list_keys(call, names)


def _key(cloud: AzureCloud, resource: Resource, number: int, rotation: int) -> str:
    purpose = f"storage key {number} {rotation} of {resource.id.lower()} {resource.created}"
    return b64encode(cloud.identities.derived(purpose)).decode()


def put_container(call: Call, names: dict[str, str]) -> Response:
    """Makes a container, or changes its metadata."""
    account: Account = call.cloud.resources.require(_account_id(call)).state
    asked = call.body().get("properties") or {}
    if (asked.get("publicAccess") or "None") != "None":
        raise AzureError("PublicAccessNotPermitted", "Public access is not permitted on this storage account.", 409)
    check_container_name(names["container"])
    metadata = {str(name): str(value) for name, value in (asked.get("metadata") or {}).items()}
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
    """Deletes the container with its blobs: 200, or 204 when there was none."""
    account: Account = call.cloud.resources.require(_account_id(call)).state
    found = account.containers.get(names["container"])
    if found is not None:
        account.delete_container(found)
    return Response(200 if found else 204)


def _account_id(call: Call) -> str:
    """The id of the account that a path below it is about."""
    return "/".join(call.resource.split("/")[:9])


def _container(call: Call, found: Container) -> dict[str, Any]:
    return {
        "id": f"{_account_id(call)}/blobServices/default/containers/{found.name}",
        "name": found.name,
        "type": f"{TYPE}/blobServices/containers",
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


_ACCOUNT = f"{GROUP}/providers/{TYPE}/{{account}}"
_CONTAINERS = f"{_ACCOUNT}/blobServices/default/containers"

ROUTES = [
    Route("GET", f"{SUBSCRIPTION}/providers/{TYPE}", list_accounts),
    Route("GET", f"{GROUP}/providers/{TYPE}", list_accounts),
    Route("PUT", _ACCOUNT, put_account, note="of kind StorageV2; for blobs"),
    Route("GET", _ACCOUNT, get_account),
    Route("DELETE", _ACCOUNT, delete_account),
    Route("POST", f"{_ACCOUNT}/listKeys", list_keys, read_only=True),
    Route("POST", f"{_ACCOUNT}/regenerateKey", regenerate_key),
    Route("GET", f"{_CONTAINERS}", list_containers),
    Route("PUT", f"{_CONTAINERS}/{{container}}", put_container),
    Route("GET", f"{_CONTAINERS}/{{container}}", get_container),
    Route("DELETE", f"{_CONTAINERS}/{{container}}", delete_container),
]
