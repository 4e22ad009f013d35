"""Azure Resource Manager: authentication, api-versions, the table of operations, and what exists from the beginning.

https://learn.microsoft.com/azure/azure-resource-manager/management/overview
"""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from labkit.cloud.azure import errors, scopes, settings, tokens, versions
from labkit.cloud.azure.errors import AzureError, Codes
from labkit.cloud.azure.managed_identities import check_linked
from labkit.cloud.azure.routes import SCOPE, SUBSCRIPTION, Route, Table
from labkit.cloud.azure.unserved import TYPES
from labkit.cloud.azure.wire import json_response
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import Denied
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

#: The modules whose ``ROUTES`` make the table.
MODULES = (
    "operations",
    "groups",
    "role_definitions",
    "role_assignments",
    "managed_identities",
    "activity_log",
    "deployments",
    "storage_accounts",
    "storage_containers",
    "supporting",
    "workspaces",
    "datastores",
    "models",
    "environments",
    "codes",
    "data_assets",
    "components",
    "jobs",
    "schedules",
    "computes",
    "online_endpoints",
    "online_deployments",
    "monitor_metrics",
)
AUDIENCES = (
    "https://management.core.windows.net/",
    "https://management.core.windows.net",
    "https://management.azure.com/",
    "https://management.azure.com",
)
ERRORS: Codes = {}
#: Kinds of resource that a learner would miss, with what people call them.
_INVENTORY = {
    "Microsoft.Resources/resourceGroups": "resource groups",
    "Microsoft.MachineLearningServices/workspaces": "workspaces",
    "Microsoft.Storage/storageAccounts": "storage accounts",
    "Microsoft.MachineLearningServices/workspaces/models": "models",
    "Microsoft.MachineLearningServices/workspaces/environments": "environments",
    "Microsoft.MachineLearningServices/workspaces/data": "data assets",
    "Microsoft.MachineLearningServices/workspaces/components": "components",
    "Microsoft.MachineLearningServices/workspaces/jobs": "jobs",
    "Microsoft.MachineLearningServices/workspaces/schedules": "schedules",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints": "endpoints",
    "Microsoft.MachineLearningServices/workspaces/computes": "computes",
}

#: What everyone in the tenant may read, and what everyone may who has a role somewhere in the subscription.
_ANYONES = ("/tenants", "/subscriptions", "/providers/Microsoft.Insights/eventcategories")
_ANY_ROLES = (SUBSCRIPTION, f"{SUBSCRIPTION}/locations")
_METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE")
_accepts = tokens.one_of(AUDIENCES)


@cache
def table() -> Table:
    """Every operation that Resource Manager has here."""
    modules = [importlib.import_module(f"{__package__}.{name}") for name in MODULES]
    return Table(route for module in modules for route in module.ROUTES)


def lay_out(cloud: AzureCloud) -> None:
    """Makes the lab's own resource group and workspace, and notes what belongs to them."""
    from labkit.cloud.azure import groups, workspaces

    learner = cloud.identities.learner
    caller = Caller("azure", learner.object_id, cloud.identities.tenant, "")
    group = groups.make(cloud, caller, settings.GROUP)
    workspaces.make(cloud, caller, f"{group.id}/providers/{workspaces.TYPE}/{settings.WORKSPACE}", group.location)
    cloud.laid_out = frozenset(each.id for each in cloud.resources.below("/subscriptions"))


def inventory(cloud: AzureCloud) -> dict[str, list[str]]:
    """The names of what was made, by kind, without what the lab has from the beginning."""
    made = [each for each in cloud.resources.below("/subscriptions") if each.id not in cloud.laid_out]
    found = {title: sorted({each.name for each in made if each.type == kind}) for kind, title in _INVENTORY.items()}
    accounts = cloud.resources.below("/subscriptions", "Microsoft.Storage/storageAccounts")
    found["containers"] = sorted(
        container.name for each in accounts for container in list(each.state.containers.values()) if not container.own
    )
    return {kind: names for kind, names in found.items() if names}


def answer(call: Call) -> Response:
    """Answers one call to management.azure.com."""
    segments = [unquote(part) for part in call.request.raw_path.split("/") if part]
    found = table().find(segments)
    route = found.routes.get(call.request.method) if found else None
    call.resource = "/" + "/".join(segments)
    call.operation = route.needs if route else f"{call.request.method} {_kind(segments)}"
    call.read_only = route.reads if route else call.request.method in ("GET", "HEAD")
    authenticate(call)
    if route is None or found is None:
        raise _unknown(call, segments, found.routes if found else {})
    versions.check(call.api_version, route.namespace, route.type)
    _check_scope(call, found.names, route)
    call.resource = _resource_of(found.names, route)
    result = _permitted(call, found.names, route)
    response = result if isinstance(result, Response) else _plain(result)
    response.headers += [
        ("x-ms-request-id", call.request_id),
        ("x-ms-correlation-request-id", call.request_id),
        ("Cache-Control", "no-cache"),
    ]
    return response


def _permitted(call: Call, names: dict[str, str], route: Route) -> object:
    """The operation's result for who may have it; of a whole subscription, what there is that they may read.

    Raises :class:`Denied`. https://learn.microsoft.com/azure/role-based-access-control/overview
    """
    authorization, principal = call.cloud.authorization, call.caller.principal
    of_the_tenant = route.method == "GET" and route.type == "roleDefinitions" and names.get("scope") == ""
    if route.path in _ANYONES or of_the_tenant or (route.path in _ANY_ROLES and authorization.has_any(principal)):
        return route.function(call, names)
    try:
        call.engine.access.authorize(call.caller, route.needs, call.resource)
    except Denied:
        if not (route.lists_subscription and authorization.has_any(principal)):
            raise
        listed = route.function(call, names)
        needs = route.needs if route.type != "subscriptions/resources" else ""
        listed["value"] = [each for each in listed["value"] if _readable(call, each, needs)]
        return listed
    if route.method in ("PUT", "PATCH"):
        check_linked(call, route.needs)
    return route.function(call, names)


def _readable(call: Call, shown: dict[str, str], needs: str) -> bool:
    """Whether the caller may read what a list shows; ``needs`` is empty where the list is of many kinds."""
    return call.cloud.authorization.allows(call.caller.principal, needs or f"{shown['type']}/read", shown["id"])


def failure(call: Call, error: AzureError) -> Response:
    return errors.arm_response(error, call.request_id, head=call.request.method == "HEAD")


def authenticate(call: Call) -> None:
    """Verifies the bearer token and sets the caller; raises :class:`AzureError` as Resource Manager words it."""
    scheme, _, token = call.request.headers.get("authorization").partition(" ")
    if not token:
        message = "Authentication failed. The 'Authorization' header is missing."
        raise AzureError("AuthenticationFailed", message, 401, headers=_challenge(call, message))
    if scheme.lower() != "bearer":
        message = f"The 'Authorization' header is provided in an invalid format: '{scheme}' is not Bearer."
        raise AzureError("AuthenticationFailedInvalidHeader", message, 401, headers=_challenge(call, message))
    try:
        claims = call.cloud.identities.verify(token.strip(), _accepts)
    except tokens.Rejected as rejected:
        code, message = _words(rejected)
        raise AzureError(code, message, 401, headers=_challenge(call, message)) from None
    call._caller = Caller("azure", claims.object_id, claims.tenant, "", claims.identifier)


def _words(rejected: tokens.Rejected) -> tuple[str, str]:
    """What Resource Manager says of a token that it does not accept."""
    claims = rejected.claims
    if rejected.reason == "expired":
        expiry, now = datetime.fromtimestamp(claims["exp"], UTC), datetime.now(UTC)
        form = "%-m/%-d/%Y %-I:%M:%S %p"
        message = f"The access token expiry UTC time '{expiry:{form}}' is earlier than current UTC time '{now:{form}}'."
        return "ExpiredAuthenticationToken", message
    if rejected.reason == "audience":
        allowed = ",".join(f"'{each}'" for each in AUDIENCES)
        return "InvalidAuthenticationTokenAudience", (
            f"The access token has been obtained for wrong audience or resource '{claims.get('aud')}'. It should "
            f"exactly match with one of the allowed audiences {allowed}."
        )
    if rejected.reason == "issuer":
        return "InvalidAuthenticationTokenTenant", (
            f"The access token is from the wrong issuer '{claims.get('iss')}'. It must match the tenant associated "
            "with this subscription."
        )
    message = {
        "malformed": "The access token is invalid.",
        "signature": "The access token has a signature that could not be verified.",
        "early": "The access token is not valid yet.",
        "principal": "The access token is of a principal that is no longer in the tenant.",
    }[rejected.reason]
    return "InvalidAuthenticationToken", message


def _challenge(call: Call, message: str) -> list[tuple[str, str]]:
    tenant = call.cloud.identities.tenant
    described = message.replace('"', "'")
    challenge = f'Bearer authorization_uri="https://login.microsoftonline.com/{tenant}", error="invalid_token"'
    return [("WWW-Authenticate", f'{challenge}, error_description="{described}"')]


def _check_scope(call: Call, names: dict[str, str], route: Route) -> None:
    """Sees that the subscription is the lab's and that what contains the resource exists."""
    if "scope" in names:
        names["scope"] = scopes.find(call.cloud, names["scope"])
    if (subscription := names.get("subscription")) is None:
        return
    if subscription.lower() != call.subscription:
        raise scopes.no_subscription(subscription)
    names["subscription"] = call.subscription
    if "group" not in names:
        return
    group_id = f"/subscriptions/{call.subscription}/resourceGroups/{names['group']}"
    if route.path.endswith("/resourceGroups/{group}"):
        return
    group = call.cloud.resources.get(group_id)
    if group is None:
        raise AzureError("ResourceGroupNotFound", f"Resource group '{names['group']}' could not be found.", 404)
    names["group"] = group.name
    if "workspace" not in names:
        return
    workspace_id = f"{group.id}/providers/Microsoft.MachineLearningServices/workspaces/{names['workspace']}"
    call.workspace_id = workspace_id
    if not route.path.endswith("/workspaces/{workspace}"):
        workspace = call.cloud.resources.require(workspace_id)
        call.workspace_id, names["workspace"] = workspace.id, workspace.name


def _resource_of(names: dict[str, str], route: Route) -> str:
    """The id of the resource that a call is about: the path in its own spelling, without an action or collection."""
    template = route.segments
    while template and not template[-1].startswith("{"):
        template.pop()
    if template == [SCOPE.strip("/"), "providers", route.namespace]:
        template = template[:1]
    parts = [names[part[1:-1]] if part.startswith("{") else part for part in template]
    return "/" + "/".join(part.strip("/") for part in parts if part)


def _plain(body: object) -> Response:
    return Response(200) if body is None else json_response(200, body)


def _kind(segments: list[str]) -> str:
    """What a path without a route is about, as people name it: ``Microsoft.Compute/virtualMachines``."""
    low = [each.lower() for each in segments]
    if "providers" in low:
        rest = segments[len(low) - low[::-1].index("providers") :]
        return "/".join([*rest[:1], *rest[1::2]])
    return "/".join(segments[::2]) or "/"


def _unknown(call: Call, segments: list[str], methods: dict[str, Route]) -> AzureError:
    """What a path or method that is not in the table answers: Resource Manager's error, or a refusal that names it."""
    method, kind, version = call.request.method, _kind(segments), call.api_version
    namespace, _, types = kind.partition("/")
    if not version:
        versions.check(version, namespace, types)
    if method not in _METHODS:
        return AzureError("MethodNotAllowed", f"Resource Manager does not take {method}.", 405)
    if methods:
        return errors.refusal(f"{method} of {kind}")
    if "providers" not in [each.lower() for each in segments]:
        return errors.refusal(f"{method} {call.request.path}")
    if not namespace.lower().startswith("microsoft."):
        return AzureError("InvalidResourceNamespace", f"The resource namespace '{namespace}' is invalid.", 404)
    known = {route.type.lower() for route in table().routes if route.namespace.lower() == namespace.lower()}
    parent = types.rpartition("/")[0].lower()
    if method != "POST" and known and parent in known and not _is_published(namespace, types):
        return AzureError(
            "InvalidResourceType",
            f"The resource type '{types}' could not be found in the namespace '{namespace}' for api version "
            f"'{version}'.",
            404,
        )
    return errors.refusal(f"{method} of {kind}")


def _is_published(namespace: str, types: str) -> bool:
    """Whether Azure has such a kind of resource, though it is not served here."""
    return types.lower() in [each.lower() for each in TYPES.get(namespace.lower(), ())]
