"""Azure Machine Learning workspaces: made with their storage and datastores, read, changed, listed, deleted.

https://learn.microsoft.com/rest/api/azureml/workspaces
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import datastores, operations, storage_accounts, supporting
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.groups import location_of, tags_of
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import MACHINE_LEARNING, SUBSCRIPTION, WORKSPACE, WORKSPACES, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page, time_text
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

TYPE = f"{MACHINE_LEARNING}/workspaces"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}")
#: What only feature stores heed.
_WITHOUT_EFFECT = ("featureStoreSettings",)
#: Properties that a request may set; what else it holds is refused by name.
_SETTABLE = (
    "friendlyName description hbiWorkspace storageAccount keyVault applicationInsights containerRegistry"
    " imageBuildCompute publicNetworkAccess systemDatastoresAuthMode v1LegacyMode enableDataIsolation"
    " allowPublicAccessWhenBehindVnet primaryUserAssignedIdentity allowRoleAssignmentOnRG managedNetwork"
    " discoveryUrl"
)


def make(
    cloud: AzureCloud, caller: Caller, resource_id: str, location: str, body: dict[str, Any] | None = None
) -> Resource:
    """A new workspace with its datastores, and with storage and the like of its own where ``body`` names none."""
    asked = section(body or {}, "properties")
    group_id = resource_id[: resource_id.lower().index("/providers/")]
    name, identifier = resource_id.rpartition("/")[2], str(uuid.uuid4())
    linked = _dependents(cloud, caller, group_id, name, location) if body is None else {}
    identity = cloud.identities.assign(resource_id)
    made = Resource(
        resource_id,
        {
            "friendlyName": name,
            "description": "",
            "hbiWorkspace": False,
            "publicNetworkAccess": "Enabled",
            "allowPublicAccessWhenBehindVnet": False,
            "v1LegacyMode": False,
            "enableDataIsolation": False,
            "systemDatastoresAuthMode": "accessKey",
            **linked,
            **{name: value for name, value in _flags(asked).items() if name in _SETTABLE.split()},
            "workspaceId": identifier,
            "tenantId": cloud.identities.tenant,
            "provisioningState": "Succeeded",
            "creationTime": time_text(cloud.engine.clock.now()),
            "discoveryUrl": f"https://{location}.api.azureml.ms/discovery",
            "mlFlowTrackingUri": f"azureml://{location}.api.azureml.ms/mlflow/v1.0{resource_id}",
            "storageHnsEnabled": False,
            "privateLinkCount": 0,
        },
        location,
        tags_of(body or {}),
        kind=text(body or {}, "kind", "Default"),
        sku={"name": "Basic", "tier": "Basic"},
        identity={"type": "SystemAssigned", "principalId": identity.object_id, "tenantId": cloud.identities.tenant},
    )
    made.touch(cloud.engine.clock.now(), caller)
    with cloud.resources.lock:
        cloud.resources.put(made)
        datastores.lay_out(cloud, caller, made)
    return made


def _dependents(cloud: AzureCloud, caller: Caller, group_id: str, name: str, location: str) -> dict[str, str]:
    """Makes what a workspace needs and answers its ids, by the workspace's properties."""
    mark = hashlib.sha256(f"{group_id}/{name}".lower().encode()).hexdigest()
    stem = re.sub("[^a-z0-9]", "", name.lower())[:8]
    ids = {
        "storageAccount": f"{group_id}/providers/{storage_accounts.TYPE}/{f'{stem}storage{mark}'[:24]}",
        "keyVault": f"{group_id}/providers/{supporting.VAULTS}/{f'{stem}keyvault{mark}'[:24]}",
        "applicationInsights": f"{group_id}/providers/{supporting.COMPONENTS}/{f'{stem}insights{mark}'[:24]}",
    }
    storage_accounts.make(cloud, caller, ids["storageAccount"], location, {})
    logs_id = f"{group_id}/providers/{supporting.LOG_WORKSPACES}/{f'{stem}logs{mark}'[:24]}"
    supporting.make(cloud, caller, logs_id, location)
    supporting.make(cloud, caller, ids["keyVault"], location)
    supporting.make(
        cloud, caller, ids["applicationInsights"], location, {"properties": {"WorkspaceResourceId": logs_id}}
    )
    return ids


def put_workspace(call: Call, names: dict[str, str]) -> Response:
    """Makes a workspace, or changes one: its storage account, once chosen, stays."""
    body = call.body()
    name, properties = names["workspace"], section(body, "properties")
    if not _NAME.fullmatch(name):
        raise AzureError(
            "ValidationError",
            f"Workspace name '{name}' is invalid: it has to be 3 to 33 characters long, begin with a letter or a "
            "digit, and hold letters, digits, hyphens and underscores only.",
            400,
        )
    _check(body, properties)
    resources = call.cloud.resources
    with resources.lock:
        workspace = resources.get(call.resource)
        status = 200 if workspace else 201
        if workspace is None:
            location = location_of(body)
            _check_dependents(call, properties)
            workspace = make(call.cloud, call.caller, call.resource, location, body)
        else:
            _change(call, workspace, body)
    return json_response(status, workspace.view())


def patch_workspace(call: Call, names: dict[str, str]) -> dict[str, Any]:
    body = call.body()
    _check(body, section(body, "properties"))
    workspace = call.cloud.resources.require(call.resource)
    _change(call, workspace, body)
    return workspace.view()


def get_workspace(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return call.cloud.resources.require(call.resource).view()


def list_workspaces(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return page(call, [each.view() for each in call.cloud.resources.below(call.resource, TYPE)])


def delete_workspace(call: Call, names: dict[str, str]) -> Response:
    """Deletes the workspace and all that is in it. Its storage account stays, as on Azure."""
    workspace = call.cloud.resources.get(call.resource)
    if workspace is None:
        return Response(204)
    workspace.properties["provisioningState"] = "Deleting"

    def work() -> None:
        call.cloud.resources.delete(workspace.id)
        call.cloud.identities.unassign(workspace.id)

    return operations.begin(call, work, location=workspace.location)


def list_keys(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The keys of what the workspace is linked to."""
    workspace = call.workspace
    storage_id = workspace.properties["storageAccount"]
    account = call.cloud.resources.require(storage_id).state
    component = call.cloud.resources.get(workspace.properties.get("applicationInsights") or "")
    return {
        "userStorageKey": account.keys[0],
        "userStorageResourceId": storage_id,
        "userStorageArmId": storage_id,
        "appInsightsInstrumentationKey": component.properties["InstrumentationKey"] if component else "",
    }


def _check(body: dict[str, Any], properties: dict[str, Any]) -> None:
    for name, value in properties.items():
        if name not in (*_SETTABLE.split(), *_WITHOUT_EFFECT) and not _is_off(value):
            raise refusal(f"the property {name} of a workspace")
    kind = text(body, "kind", "Default")
    if kind.lower() != "default":
        raise refusal(f"workspaces of kind {kind}")
    if properties.get("publicNetworkAccess", "Enabled") != "Enabled":
        raise refusal("publicNetworkAccess Disabled of a workspace")
    if text(section(properties, "managedNetwork"), "isolationMode", "Disabled") != "Disabled":
        raise refusal("managed networks of a workspace")
    identity = text(section(body, "identity"), "type", "SystemAssigned")
    if identity.lower() != "systemassigned":
        raise refusal(f"identity of type {identity} of a workspace")


def _is_off(value: Any) -> bool:
    """Whether a setting, given in full, asks for nothing."""
    if isinstance(value, dict):
        return value.get("status") == "Disabled" or all(_is_off(each) for each in value.values())
    return value in (None, "", [], False, "false")


def _flags(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties that are given, with flags that templates write as texts."""
    texts = {"true": True, "false": False}
    given = {name: value for name, value in properties.items() if value is not None and name not in _WITHOUT_EFFECT}
    # The SDK's template leaves it empty where nobody chose: then it is the default.
    given = {name: value for name, value in given.items() if (name, value) != ("systemDatastoresAuthMode", "")}
    return {name: texts.get(value, value) if isinstance(value, str) else value for name, value in given.items()}


def _check_dependents(call: Call, properties: dict[str, Any]) -> None:
    """Sees that the linked resources are named and exist."""
    for name in ("storageAccount", "keyVault"):
        if not text(properties, name):
            raise AzureError("BadRequest", "Missing dependent resources in workspace json", 400, target=name)
    for name in ("storageAccount", "keyVault", "applicationInsights"):
        if (linked := text(properties, name)) and call.cloud.resources.get(linked) is None:
            raise AzureError("ResourceNotFound", f"The resource {linked}, the workspace's {name}, was not found.", 404)
    if properties.get("containerRegistry"):
        raise refusal("the property containerRegistry of a workspace")


def _change(call: Call, workspace: Resource, body: dict[str, Any]) -> None:
    properties = _flags(section(body, "properties"))
    properties = {name: value for name, value in properties.items() if name in _SETTABLE.split()}
    for name in ("storageAccount", "keyVault"):
        if name in properties and text(properties, name).lower() != str(workspace.properties.get(name)).lower():
            raise AzureError("BadRequest", f"The {name} of an existing workspace cannot be changed.", 400, target=name)
    with workspace.lock:
        workspace.properties = workspace.properties | properties
        workspace.tags = tags_of(body) if "tags" in body else workspace.tags
        workspace.touch(call.engine.clock.now(), call.caller)


ROUTES = [
    Route("GET", f"{SUBSCRIPTION}/providers/{TYPE}", list_workspaces),
    Route("GET", WORKSPACES, list_workspaces),
    Route("PUT", WORKSPACE, put_workspace, note="kind Default, public network, system-assigned identity"),
    Route("PATCH", WORKSPACE, patch_workspace),
    Route("GET", WORKSPACE, get_workspace),
    Route("DELETE", WORKSPACE, delete_workspace, note="at once: there is no soft delete"),
    Route("POST", f"{WORKSPACE}/listKeys", list_keys, read_only=True),
]
