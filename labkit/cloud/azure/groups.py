"""Subscriptions and resource groups.

https://learn.microsoft.com/rest/api/resources/resource-groups
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import locations, operations
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import GROUP, SUBSCRIPTION, Route
from labkit.cloud.azure.shapes import section
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.engine.access import Caller
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

TYPE = "Microsoft.Resources/resourceGroups"
#: Letters, digits, underscores, parentheses, hyphens and periods, not at the end.
_NAME = re.compile(r"[\w().-]{0,89}[\w()-]")


def make(cloud: AzureCloud, caller: Caller, name: str, location: str = locations.DEFAULT) -> Resource:
    """A new resource group."""
    made = Resource(f"/subscriptions/{cloud.identities.subscription}/resourceGroups/{name}", {}, location)
    made.properties["provisioningState"] = "Succeeded"
    made.touch(cloud.engine.clock.now(), caller)
    cloud.resources.put(made)
    return made


def list_subscriptions(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The subscription, for who has a role somewhere in it."""
    found = [_subscription(call)] if call.cloud.authorization.has_any(call.caller.principal) else []
    return {"value": found, "count": {"type": "Total", "value": len(found)}}


def get_subscription(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return _subscription(call)


def list_locations(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The regions: each one's name and display name."""
    values = [
        {
            "id": f"/subscriptions/{call.subscription}/locations/{name}",
            "name": name,
            "type": "Region",
            "displayName": shown,
            "regionalDisplayName": shown,
        }
        for name, shown in locations.DISPLAY_NAMES.items()
    ]
    return {"value": values}


def list_tenants(call: Call, names: dict[str, str]) -> dict[str, Any]:
    tenant = call.cloud.identities.tenant
    return {"value": [{"id": f"/tenants/{tenant}", "tenantId": tenant, "tenantCategory": "Home"}]}


def list_groups(call: Call, names: dict[str, str]) -> dict[str, Any]:
    found = call.cloud.resources.below(f"/subscriptions/{call.subscription}/resourceGroups", TYPE)
    return page(call, [_view(each) for each in found])


def get_group(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return _view(_group(call, names))


def has_group(call: Call, names: dict[str, str]) -> Response:
    """Whether the group exists: 204, or 404 without a body."""
    return Response(204 if call.cloud.resources.get(call.resource) else 404)


def put_group(call: Call, names: dict[str, str]) -> Response:
    name, body = names["group"], call.body()
    if not _NAME.fullmatch(name):
        raise AzureError(
            "InvalidResourceGroupName" if len(name) <= 90 else "ResourceGroupNameTooLong",
            f"The provided resource group name '{name}' has these invalid characters or is too long: it can hold up to "
            "90 letters, digits, underscores, parentheses, hyphens and periods, and cannot end with a period.",
            400,
        )
    location = location_of(body)
    resources = call.cloud.resources
    with resources.lock:
        group = resources.get(call.resource)
        status = 200 if group else 201
        if group is None:
            group = make(call.cloud, call.caller, name, location)
        elif group.location != location:
            raise AzureError(
                "InvalidResourceGroupLocation",
                f"Invalid resource group location '{location}'. The Resource group already exists in location "
                f"'{group.location}'.",
                409,
            )
        group.tags = tags_of(body)
        group.touch(call.engine.clock.now(), call.caller)
    return json_response(status, _view(group))


def patch_group(call: Call, names: dict[str, str]) -> dict[str, Any]:
    group, body = _group(call, names), call.body()
    if "tags" in body:
        group.tags = tags_of(body)
    group.touch(call.engine.clock.now(), call.caller)
    return _view(group)


def delete_group(call: Call, names: dict[str, str]) -> Response:
    """Deletes the group with everything in it."""
    group = _group(call, names)
    group.properties["provisioningState"] = "Deleting"

    def work() -> None:
        call.cloud.resources.delete(group.id)
        call.cloud.identities.unassign(group.id)

    return operations.begin(call, work, location=group.location)


def list_resources(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The top-level resources of the subscription, or of one group; ``$filter`` by ``resourceType eq '...'``."""
    scope = f"/subscriptions/{call.subscription}/resourceGroups"
    if "group" in names:
        scope = f"{scope}/{names['group']}"
    wanted = ""
    if condition := call.query.get("$filter", ""):
        matched = re.fullmatch(r"\s*resourceType\s+eq\s+'([^']+)'\s*", condition, re.IGNORECASE)
        if matched is None:
            raise AzureError(
                "InvalidFilterInQueryString", f"The local clouds do not serve the filter {condition!r}.", 400
            )
        wanted = matched[1].lower()
    found = [
        {name: value for name, value in each.view().items() if name != "properties"}
        for each in call.cloud.resources.below(scope)
        if each.type != TYPE and each.type.count("/") == 1 and wanted in ("", each.type.lower())
    ]
    return page(call, found)


def location_of(body: dict[str, Any]) -> str:
    """The name of the region in a request's ``location``; raises :class:`AzureError` where it is missing or unknown."""
    given = body.get("location")
    if not isinstance(given, str) or not given:
        raise AzureError("LocationRequired", "The location property is required for this definition.", 400)
    name = locations.name_of(given)
    if name is None:
        raise AzureError(
            "LocationNotAvailableForResourceGroup",
            f"The provided location '{given}' is not available for resource group. List of available regions is "
            f"'{','.join(locations.DISPLAY_NAMES)}'.",
            400,
        )
    return name


def tags_of(body: dict[str, Any]) -> dict[str, str]:
    """The tags in a request; raises :class:`AzureError` for what is no flat object of at most 50 texts."""
    tags = section(body, "tags")
    if len(tags) > 50:
        raise AzureError("InvalidTagCount", f"{len(tags)} tags were given; a resource can have 50 at most.", 400)
    for name, value in tags.items():
        if len(name) > 512 or not isinstance(value, (str, int, float, bool, type(None))):
            raise AzureError("InvalidTagValue", f"The tag '{name}' has a name or a value that no tag can have.", 400)
    return {name: value if isinstance(value, str) else str(value) for name, value in tags.items() if value is not None}


def _group(call: Call, names: dict[str, str]) -> Resource:
    group = call.cloud.resources.get(call.resource)
    if group is None:
        raise AzureError("ResourceGroupNotFound", f"Resource group '{names['group']}' could not be found.", 404)
    return group


def _view(group: Resource) -> dict[str, Any]:
    shown = group.view()
    shown.pop("systemData", None)
    return shown


def _subscription(call: Call) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{call.subscription}",
        "authorizationSource": "RoleBased",
        "subscriptionId": call.subscription,
        "tenantId": call.cloud.identities.tenant,
        "displayName": "Local clouds",
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    }


ROUTES = [
    Route("GET", "/tenants", list_tenants),
    Route("GET", "/subscriptions", list_subscriptions),
    Route("GET", SUBSCRIPTION, get_subscription),
    Route("GET", f"{SUBSCRIPTION}/locations", list_locations),
    Route("GET", f"{SUBSCRIPTION}/resourceGroups", list_groups),
    Route("GET", GROUP, get_group),
    Route("HEAD", GROUP, has_group),
    Route("PUT", GROUP, put_group),
    Route("PATCH", GROUP, patch_group, note="tags"),
    Route("DELETE", GROUP, delete_group),
    Route("GET", f"{SUBSCRIPTION}/resources", list_resources, note="filter by resourceType only"),
    Route("GET", f"{GROUP}/resources", list_resources, note="filter by resourceType only"),
]
