"""Datastores: names, in a workspace, for containers of storage accounts, with what it takes to reach them.

https://learn.microsoft.com/rest/api/azureml/datastores
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import storage_accounts
from labkit.cloud.azure.blob_store import Account
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.resources import Resource, not_found
from labkit.cloud.azure.routes import MACHINE_LEARNING, WORKSPACE, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

TYPE = f"{MACHINE_LEARNING}/workspaces/datastores"
#: A workspace's own: the default one, and where jobs and endpoints put what they make.
BLOBS, ARTIFACTS = "workspaceblobstore", "workspaceartifactstore"
_NAME = re.compile(r"[a-zA-Z0-9_]{1,255}")
_SECRETS = {"AccountKey": ("AccountKey", "key"), "Sas": ("Sas", "sasToken")}


def lay_out(cloud: AzureCloud, caller: Caller, workspace: Resource) -> None:
    """Makes a new workspace's own datastores and their containers."""
    account = cloud.resources.require(workspace.properties["storageAccount"])
    by_key = workspace.properties["systemDatastoresAuthMode"].lower() == "accesskey"
    containers = {BLOBS: f"azureml-blobstore-{workspace.properties['workspaceId']}", ARTIFACTS: "azureml"}
    for name, container in containers.items():
        state: Account = account.state
        if container not in state.containers:
            state.create_container(container, own=True)
        made = Resource(
            f"{workspace.id}/datastores/{name}",
            {
                "description": None,
                "tags": {},
                "properties": None,
                "isDefault": name == BLOBS,
                "credentials": {"credentialsType": "AccountKey" if by_key else "None"},
                "datastoreType": "AzureBlob",
                "accountName": account.name,
                "containerName": container,
                "endpoint": "core.windows.net",
                "protocol": "https",
                "serviceDataAccessAuthIdentity": "None" if by_key else "WorkspaceSystemAssignedIdentity",
                "subscriptionId": cloud.identities.subscription,
                "resourceGroup": account.group,
            },
        )
        made.touch(cloud.engine.clock.now(), caller)
        cloud.resources.put(made)


def find(cloud: AzureCloud, workspace_id: str, name: str) -> tuple[Account, str]:
    """The account and the name of the container behind a datastore; raises :class:`AzureError`."""
    datastore = cloud.resources.require(f"{workspace_id}/datastores/{name}")
    account = storage_accounts.find(cloud, datastore.properties["accountName"])
    if account is None:
        raise AzureError(
            "UserError",
            f"The storage account {datastore.properties['accountName']} of datastore {name} does not exist.",
            400,
        )
    return account.state, datastore.properties["containerName"]


def list_datastores(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A page of datastores; ``isDefault``, ``names`` and ``searchText`` choose among them."""
    found = call.cloud.resources.below(call.workspace_id, TYPE)
    if wanted := call.query.get("names"):
        found = [each for each in found if each.name in wanted.split(",")]
    if (default := call.query.get("isdefault")) is not None:
        found = [each for each in found if each.properties["isDefault"] is (default.lower() == "true")]
    if text := call.query.get("searchtext"):
        found = [each for each in found if text.lower() in each.name.lower()]
    return page(call, [_view(each) for each in found], size=30)


def get_datastore(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return _view(_require(call, names))


def put_datastore(call: Call, names: dict[str, str]) -> Response:
    """Names a container. Its account and container have to exist, whether or not validation is skipped."""
    name, properties = names["name"], dict(section(call.body(), "properties"))
    if not _NAME.fullmatch(name):
        message = f"Datastore name '{name}' is invalid: it can hold letters, digits and underscores only, 255 at most."
        raise call.user_error(message, 400, "InvalidName")
    kind = text(properties, "datastoreType")
    if kind != "AzureBlob":
        raise refusal(f"datastores of type {kind}")
    account_name, container = text(properties, "accountName"), text(properties, "containerName")
    if not account_name or not container:
        raise call.user_error("A blob datastore needs accountName and containerName.", 400, "BadArgument")
    credentials = dict(section(properties, "credentials"))
    secrets, how = section(credentials, "secrets"), text(credentials, "credentialsType", "None")
    credentials = {name: value for name, value in credentials.items() if name != "secrets"} | {"credentialsType": how}
    if how not in (*_SECRETS, "None"):
        raise refusal(f"datastores with credentials of type {how}")
    account = storage_accounts.find(call.cloud, account_name)
    if account is None or container not in account.state.containers:
        message = f"Container {container} of storage account {account_name} does not exist; create it first."
        raise call.user_error(message, 400, "ContainerNotFound")
    if how == "AccountKey" and secrets.get("key") not in account.state.keys:
        message = f"The account key given for storage account {account_name} is not one of its keys."
        raise call.user_error(message, 400, "InvalidCredential")
    with call.cloud.resources.lock:
        existing = call.cloud.resources.get(call.resource)
        made = existing or Resource(call.resource, {})
        made.properties = {
            "description": None,
            "tags": {},
            "properties": None,
            "endpoint": "core.windows.net",
            "protocol": "https",
            "serviceDataAccessAuthIdentity": "None",
            **properties,
            "isDefault": bool(properties.get("isDefault")),
            "credentials": credentials,
            "subscriptionId": call.subscription,
            "resourceGroup": account.group,
        }
        made.state = secrets
        if made.properties["isDefault"]:
            for other in call.cloud.resources.below(call.workspace_id, TYPE):
                other.properties["isDefault"] = False
            made.properties["isDefault"] = True
        made.touch(call.engine.clock.now(), call.caller)
        call.cloud.resources.put(made)
    return json_response(200 if existing else 201, _view(made))


def list_secrets(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """What it takes to reach the container: a key of its account, or the SAS that the datastore was given."""
    datastore = _require(call, names)
    how = datastore.properties["credentials"]["credentialsType"]
    if how == "Sas":
        return {"secretsType": "Sas", "sasToken": datastore.state.get("sasToken")}
    if how == "AccountKey":
        account, _ = find(call.cloud, call.workspace_id, datastore.name)
        return {"secretsType": "AccountKey", "key": account.keys[0]}
    message = f"Datastore {datastore.name} has no credentials: it is reached with the caller's own identity."
    raise call.user_error(message, 400, "NoSecrets")


def delete_datastore(call: Call, names: dict[str, str]) -> Response:
    """Forgets the name. What is in the container stays."""
    datastore = call.cloud.resources.get(call.resource)
    if datastore is None:
        return Response(204)
    if datastore.properties["isDefault"]:
        raise call.user_error("The default datastore of a workspace cannot be deleted.", 400, "DefaultDatastore")
    call.cloud.resources.delete(datastore.id)
    return Response(200)


def _require(call: Call, names: dict[str, str]) -> Resource:
    found = call.cloud.resources.get(call.resource)
    if found is None:
        if names["name"] in (BLOBS, ARTIFACTS):
            raise not_found(call.resource)
        message = f"Could not find datastore with name: {names['name']}."
        raise call.user_error(message, 404, "DatastoreNotFound")
    return found


def _view(datastore: Resource) -> dict[str, Any]:
    shown = datastore.view()
    shown.pop("tags", None)
    return shown


_DATASTORE = f"{WORKSPACE}/datastores/{{name}}"

ROUTES = [
    Route("GET", f"{WORKSPACE}/datastores", list_datastores),
    Route("GET", _DATASTORE, get_datastore),
    Route("PUT", _DATASTORE, put_datastore, note="type AzureBlob, with a key, a SAS or the caller's identity"),
    Route("DELETE", _DATASTORE, delete_datastore),
    Route("POST", f"{_DATASTORE}/listSecrets", list_secrets, read_only=True),
]
