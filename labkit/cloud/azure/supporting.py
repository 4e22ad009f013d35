"""What a workspace is given beside its storage: a key vault, Application Insights, a Log Analytics workspace.

Records only: they can be made, read, listed and deleted, so that workspaces and templates name something that exists.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure.groups import location_of, tags_of
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import GROUP, SUBSCRIPTION, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page, time_text
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

VAULTS = "Microsoft.KeyVault/vaults"
COMPONENTS = "Microsoft.Insights/components"
LOG_WORKSPACES = "Microsoft.OperationalInsights/workspaces"


def make(
    cloud: AzureCloud, caller: Caller, resource_id: str, location: str, asked: dict[str, Any] | None = None
) -> Resource:
    """A new record of one of these kinds, or the one that exists, brought up to date with what is ``asked`` for."""
    body = asked or {}
    with cloud.resources.lock:
        made = cloud.resources.get(resource_id) or Resource(resource_id, {}, location)
        properties = {**made.properties, **section(body, "properties"), "provisioningState": "Succeeded"}
        made.properties = _OWN[made.type.lower()](cloud, made, properties)
        made.tags = tags_of(body) if "tags" in body else made.tags
        made.kind, made.sku = text(body, "kind") or made.kind, section(body, "sku") or made.sku
        made.touch(cloud.engine.clock.now(), caller)
        cloud.resources.put(made)
    return made


def _vault(cloud: AzureCloud, vault: Resource, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "sku": {"family": "A", "name": "standard"},
        "accessPolicies": [],
        **properties,
        "tenantId": cloud.identities.tenant,
        "vaultUri": f"https://{vault.name.lower()}.vault.azure.net/",
    }


def _component(cloud: AzureCloud, component: Resource, properties: dict[str, Any]) -> dict[str, Any]:
    component.kind = component.kind or "web"
    key = properties.get("InstrumentationKey") or str(uuid.uuid4())
    return {
        "Application_Type": "web",
        "CreationDate": time_text(cloud.engine.clock.now()),
        **properties,
        "ApplicationId": component.name,
        "AppId": properties.get("AppId") or str(uuid.uuid4()),
        "InstrumentationKey": key,
        "TenantId": cloud.identities.subscription,
    }


def _log_workspace(cloud: AzureCloud, workspace: Resource, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "sku": {"name": "PerGB2018"},
        "retentionInDays": 30,
        "createdDate": time_text(cloud.engine.clock.now()),
        **properties,
        "customerId": properties.get("customerId") or str(uuid.uuid4()),
    }


_OWN: dict[str, Callable[[AzureCloud, Resource, dict[str, Any]], dict[str, Any]]] = {
    VAULTS.lower(): _vault,
    COMPONENTS.lower(): _component,
    LOG_WORKSPACES.lower(): _log_workspace,
}


def put(call: Call, names: dict[str, str]) -> Response:
    body = call.body()
    existed = call.cloud.resources.get(call.resource)
    made = make(call.cloud, call.caller, call.resource, existed.location if existed else location_of(body), body)
    return json_response(200 if existed else 201, made.view())


def get(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return call.cloud.resources.require(call.resource).view()


def list_all(call: Call, names: dict[str, str]) -> dict[str, Any]:
    path = call.request.path.rstrip("/").split("/")
    return page(call, [each.view() for each in call.cloud.resources.below(call.resource, "/".join(path[-2:]))])


def delete(call: Call, names: dict[str, str]) -> Response:
    return Response(200 if call.cloud.resources.delete(call.resource) else 204)


def _routes(kind: str, note: str) -> list[Route]:
    one = f"{GROUP}/providers/{kind}/{{name}}"
    return [
        Route("GET", f"{SUBSCRIPTION}/providers/{kind}", list_all, "shape"),
        Route("GET", f"{GROUP}/providers/{kind}", list_all, "shape"),
        Route("PUT", one, put, "shape", note),
        Route("GET", one, get, "shape"),
        Route("DELETE", one, delete, "shape"),
    ]


ROUTES = [
    *_routes(VAULTS, "a record; no secret can be kept in it"),
    *_routes(COMPONENTS, "a record; nothing is sent to it"),
    *_routes(LOG_WORKSPACES, "a record"),
]
