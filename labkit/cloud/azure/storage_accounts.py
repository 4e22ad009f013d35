"""Storage accounts as Resource Manager shows them: made, changed, listed, their keys, deleted.

What is in them is :mod:`labkit.cloud.azure.blob_service`'s. https://learn.microsoft.com/rest/api/storagerp/
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure.blob_store import Account
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.groups import location_of, tags_of
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import GROUP, SUBSCRIPTION, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page, time_text
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

TYPE = "Microsoft.Storage/storageAccounts"
_NAME = re.compile(r"[a-z0-9]{3,24}")
_KEY_NAMES = ("key1", "key2")
#: Who keeps the keys that content is encrypted with.
_OWN_KEYS = "Microsoft.Storage"
#: The settings that have an effect, or whose record is their whole effect, with their defaults.
_SETTINGS = {"accessTier": "Hot", "allowSharedKeyAccess": True, "minimumTlsVersion": "TLS1_2"}
#: The values of other settings that ask for what there is.
_AS_IS: dict[str, Any] = {
    "supportsHttpsTrafficOnly": True,
    "publicNetworkAccess": "Enabled",
    "allowCrossTenantReplication": False,
    "dnsEndpointType": "Standard",
}


def make(cloud: AzureCloud, caller: Caller, resource_id: str, location: str, body: dict[str, Any]) -> Resource:
    """A new storage account; ``body`` is what was asked for."""
    name = resource_id.rpartition("/")[2]
    account = Account(name, cloud.lab.run / "azure-blobs", cloud.engine.clock.now)
    made = Resource(
        resource_id,
        {
            "provisioningState": "Succeeded",
            "creationTime": time_text(cloud.engine.clock.now()),
            "primaryLocation": location,
            "statusOfPrimary": "available",
            "primaryEndpoints": {"blob": f"https://{name}.blob.core.windows.net/"},
            **_SETTINGS,
            **_settings(body),
            "allowBlobPublicAccess": False,
            "supportsHttpsTrafficOnly": True,
            "publicNetworkAccess": "Enabled",
            "networkAcls": {
                "bypass": "AzureServices",
                "defaultAction": "Allow",
                "ipRules": [],
                "virtualNetworkRules": [],
            },
            "encryption": {"keySource": _OWN_KEYS, "services": {"blob": {"enabled": True}}},
        },
        location,
        tags_of(body),
        kind=text(body, "kind", "StorageV2"),
        sku={"name": text(section(body, "sku"), "name", "Standard_LRS"), "tier": "Standard"},
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
    kind, settings = text(body, "kind", "StorageV2"), _settings(body)
    if kind not in ("StorageV2", "BlobStorage", "BlockBlobStorage", "Storage"):
        raise refusal(f"storage accounts of kind {kind}")
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
            _change(call, account, body, settings)
    return json_response(200, account.view())


def patch_account(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body, account = call.body(), call.cloud.resources.require(call.resource)
    _change(call, account, body, _settings(body))
    return account.view()


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


def _settings(body: dict[str, Any]) -> dict[str, Any]:
    """The settings that a request gives; refuses those that ask for what there is not."""
    given = {name: value for name, value in section(body, "properties").items() if value is not None}
    for name, value in given.items():
        if name in _SETTINGS or value == _AS_IS.get(name, False):
            continue
        if name == "networkAcls" and text(section(given, name), "defaultAction", "Allow").lower() == "allow":
            continue
        if name == "encryption" and text(section(given, name), "keySource", _OWN_KEYS) == _OWN_KEYS:
            continue
        raise refusal(f"the setting {name} {value} of a storage account")
    return {name: value for name, value in given.items() if name in _SETTINGS}


def _change(call: Call, account: Resource, body: dict[str, Any], settings: dict[str, Any]) -> None:
    with account.lock:
        account.properties = account.properties | settings
        account.tags = tags_of(body) if "tags" in body else account.tags
        account.touch(call.engine.clock.now(), call.caller)


def _key(cloud: AzureCloud, resource: Resource, number: int, rotation: int) -> str:
    purpose = f"storage key {number} {rotation} of {resource.id.lower()} {resource.created}"
    return b64encode(cloud.identities.derived(purpose)).decode()


_ACCOUNT = f"{GROUP}/providers/{TYPE}/{{account}}"

ROUTES = [
    Route("GET", f"{SUBSCRIPTION}/providers/{TYPE}", list_accounts),
    Route("GET", f"{GROUP}/providers/{TYPE}", list_accounts),
    Route("PUT", _ACCOUNT, put_account, note="of kind StorageV2; for blobs"),
    Route("PATCH", _ACCOUNT, patch_account),
    Route("GET", _ACCOUNT, get_account),
    Route("DELETE", _ACCOUNT, delete_account),
    Route("POST", f"{_ACCOUNT}/listKeys", list_keys, read_only=True),
    Route("POST", f"{_ACCOUNT}/regenerateKey", regenerate_key),
]
