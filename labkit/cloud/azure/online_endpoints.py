"""Managed online endpoints: made, changed, listed, deleted; their keys and tokens; how they divide their traffic.

https://learn.microsoft.com/rest/api/azureml/online-endpoints
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import deployment_logs, locations, managed_identities, operations, scoring
from labkit.cloud.azure.groups import tags_of
from labkit.cloud.azure.online_errors import busy, invalid, not_served
from labkit.cloud.azure.online_hosting import Endpoint, new_key
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import MACHINE_LEARNING, WORKSPACE, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import page
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

TYPE = f"{MACHINE_LEARNING}/workspaces/onlineEndpoints"
#: Endpoints that a subscription may have in a region.
MOST_ENDPOINTS = 100
#: The most that may be mirrored, in per cent.
MOST_MIRRORED = 50
#: Seconds that an Azure Machine Learning token is good for, and after which it is to be renewed.
TOKEN_LIFETIME, TOKEN_REFRESH = 12 * 3600, 9 * 3600

#: What names of endpoints and deployments look like.
NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{1,30}[A-Za-z0-9])")
NAME_RULE = (
    "has to be 3 to 32 characters long, begin with a letter, end with a letter or a digit, and hold only letters, "
    "digits and hyphens"
)
_MODES = {mode.lower(): mode for mode in ("Key", "AMLToken", "AADToken")}
_ENFORCE_SECRETS = "enforce_access_to_default_secret_stores"
#: States in which something is under way.
UNDER_WAY = ("Creating", "Updating", "Deleting")


def put_endpoint(call: Call, names: dict[str, str]) -> Response:
    """Makes an endpoint, or gives one other settings: what the request leaves out goes back to its default."""
    body = call.body()
    asked = {name: value for name, value in section(body, "properties").items() if value is not None}
    if not NAME.fullmatch(names["endpoint"]):
        raise invalid(call, f"The endpoint name {names['endpoint']!r} {NAME_RULE}.", "Name")
    settings, tags = _settings(call, asked), tags_of(body)
    resources = call.cloud.resources
    with resources.lock:
        resource = resources.get(call.resource)
        if resource is not None:
            _refuse_under_way(call, resource)
            if "keys" in asked:
                raise invalid(call, "Keys are given when an endpoint is made; regenerateKeys changes them.", "Keys")
        shares = _shares(call, resource, asked)
        status = 200 if resource else 201
        _check_identity(call, resource, body)
        resource = resource or _make(call, body, asked)
        resource.tags, resource.kind = tags, str(body.get("kind") or "Managed")
        if resource.identity is None:
            resource.identity = managed_identities.section_of(call, body, resource.id)
            _let_read(call, resource)
        kept = {name: value for name, value in resource.properties.items() if name != "description"}
        resource.properties = {**kept, **settings, **shares, "properties": _own(resource, asked)}
        resource.properties["provisioningState"] = "Creating" if status == 201 else "Updating"
        resource.touch(call.engine.clock.now(), call.caller)
    endpoint: Endpoint = resource.state

    def work() -> None:
        endpoint.auth_mode = settings["authMode"]
        endpoint.is_public = settings["publicNetworkAccess"] == "Enabled"
        endpoint.divide(shares["traffic"], shares["mirrorTraffic"])
        resource.properties["provisioningState"] = "Succeeded"

    return begin(call, resource, work, status)


def patch_endpoint(call: Call, names: dict[str, str]) -> Response:
    """Changes an endpoint's tags."""
    body = call.body()
    resource = call.cloud.resources.require(call.resource)
    _refuse_under_way(call, resource)
    if set(body) - {"tags"}:
        raise not_served(f"PATCH of {', '.join(sorted(set(body) - {'tags'}))} of an online endpoint")
    with resource.lock:
        resource.tags = tags_of(body)
        resource.touch(call.engine.clock.now(), call.caller)
    return begin(call, resource, lambda: None, 200)


def get_endpoint(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return call.cloud.resources.require(call.resource).view()


def list_endpoints(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A page of endpoints; ``name``, ``computeType``, ``tags`` and ``properties`` choose among them."""
    found = call.cloud.resources.below(call.workspace_id, TYPE)
    if name := call.query.get("name"):
        found = [each for each in found if each.name.lower() == name.lower()]
    if (compute := call.query.get("computetype")) and compute.lower() != "managed":
        found = []
    for parameter, of in (("tags", lambda each: each.tags or {}), ("properties", lambda each: _custom(each))):
        if wanted := call.query.get(parameter):
            found = [each for each in found if _matches(wanted, of(each))]
    return page(call, [each.view() for each in found])


def delete_endpoint(call: Call, names: dict[str, str]) -> Response:
    """Deletes an endpoint with its deployments."""
    resource = call.cloud.resources.get(call.resource)
    if resource is None:
        return Response(204)
    with resource.lock:
        if resource.properties["provisioningState"] == "Deleting":
            raise busy(call, f"Online endpoint {resource.name}", "being deleted")
        resource.properties["provisioningState"] = "Deleting"

    def work() -> None:
        call.cloud.resources.delete(resource.id)
        call.cloud.identities.unassign(resource.id)

    return operations.begin(call, work, location=resource.location)


def list_keys(call: Call, names: dict[str, str]) -> dict[str, Any]:
    endpoint = _of_mode(call, "Key")
    return {"primaryKey": endpoint.keys[0], "secondaryKey": endpoint.keys[1]}


def regenerate_keys(call: Call, names: dict[str, str]) -> Response:
    """Makes a new key in place of the primary or the secondary one, which no longer works.

    A ``keyValue`` that is not one of the endpoint's keys becomes the key. The SDK sends the old key along.
    """
    endpoint, body = _of_mode(call, "Key"), call.body()
    which = str(body.get("keyType") or "").lower()
    if which not in ("primary", "secondary"):
        raise invalid(call, f"keyType {body.get('keyType')!r} is neither Primary nor Secondary.", "KeyType")
    given = body.get("keyValue")
    if given is not None and (not isinstance(given, str) or not given.isascii() or not given.strip()):
        raise invalid(call, "keyValue has to be a text of ASCII characters.", "KeyValue")

    def work() -> None:
        endpoint.keys[which == "secondary"] = given if given and given not in endpoint.keys else new_key()

    return operations.begin(call, work, location=endpoint.region)


def get_token(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A token of Azure Machine Learning's own for the caller, who can send requests with it while it is good."""
    endpoint = _of_mode(call, "AMLToken")
    identity = call.cloud.identities.find(call.caller.principal)
    assert identity is not None
    token, expires = call.cloud.identities.tokens.issue(identity, endpoint.id, TOKEN_LIFETIME)
    refresh = int(time.time()) + TOKEN_REFRESH
    return {"accessToken": token, "expiryTimeUtc": expires, "refreshAfterTimeUtc": refresh, "tokenType": "Bearer"}


def _make(call: Call, body: Mapping[str, Any], asked: Mapping[str, Any]) -> Resource:
    """A new endpoint with a host name of its own, if the name is free in the region."""
    workspace = call.workspace
    given = body.get("location")
    location = locations.name_of(str(given)) if given else workspace.location
    if location != workspace.location:
        why = f"The endpoint's location {given!r} has to be its workspace's, {workspace.location}."
        raise invalid(call, why, "Location")
    mine = call.cloud.resources.below(f"/subscriptions/{call.subscription}", TYPE)
    if len([each for each in mine if each.location == location]) >= MOST_ENDPOINTS:
        raise invalid(
            call, f"The subscription has {MOST_ENDPOINTS} endpoints in {location}, the most that it can have."
        )
    endpoint = Endpoint(call.resource, call.scope, workspace.location, call.engine.launcher)
    if initial := asked.get("keys"):
        endpoint.keys = [initial.get("primaryKey") or endpoint.keys[0], initial.get("secondaryKey") or endpoint.keys[1]]
    hosts = scoring.hosts(call)
    if not hosts.add(endpoint):
        raise invalid(
            call,
            "There is already an endpoint with this name, Endpoint name needs to be unique within a region. Try some "
            "other name.",
        )
    deployment_logs.lay_out(call.engine, call.scope, call.resource)
    properties = {
        "scoringUri": f"https://{endpoint.host}/score",
        "swaggerUri": f"https://{endpoint.host}/swagger.json",
    }

    def closing() -> None:
        hosts.remove(endpoint)
        endpoint.close()

    made = Resource(call.resource, properties, workspace.location, state=endpoint, closing=closing)
    call.cloud.resources.put(made)
    return made


def _settings(call: Call, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a request sets, checked, without the traffic."""
    if asked.get("compute"):
        raise not_served("Kubernetes online endpoints (compute)")
    mode = _MODES.get(str(asked.get("authMode", "Key")).lower())
    if mode is None:
        raise invalid(call, f"AuthMode must be one of {', '.join(_MODES.values())}.", "AuthMode")
    access = str(asked.get("publicNetworkAccess", "Enabled")).capitalize()
    if access not in ("Enabled", "Disabled"):
        raise invalid(call, f"publicNetworkAccess {access!r} is neither Enabled nor Disabled.", "PublicNetworkAccess")
    if str(section(asked, "properties").get(_ENFORCE_SECRETS, "disabled")).lower() != "disabled":
        raise not_served(f"secret injection ({_ENFORCE_SECRETS} of an online endpoint)")
    described = {name: asked[name] for name in ("description",) if name in asked}
    return {"authMode": mode, "publicNetworkAccess": access, **described}


def _check_identity(call: Call, resource: Resource | None, body: Mapping[str, Any]) -> None:
    """Sees that an endpoint is asked to have one kind of identity, and an existing one the identity that it has."""
    asked = section(body, "identity")
    kind = text(asked, "type", "SystemAssigned").lower()
    if kind not in ("systemassigned", "userassigned"):
        raise invalid(call, "An online endpoint has a SystemAssigned or a UserAssigned identity.", "Identity")
    if resource is None or resource.identity is None or not asked:
        return
    mine = {each.lower() for each in resource.identity.get("userAssignedIdentities", {})}
    theirs = {each.lower() for each in section(asked, "userAssignedIdentities")}
    if kind != str(resource.identity["type"]).lower() or theirs != mine:
        raise invalid(call, "The identity of an endpoint cannot be changed: make another endpoint.", "Identity")


def _let_read(call: Call, resource: Resource) -> None:
    """Gives an endpoint's own identity the role to read its deployments' files, as Azure Machine Learning does.

    https://learn.microsoft.com/azure/machine-learning/concept-endpoints-online-auth#permissions-needed-for-an-endpoint-identity
    """
    own = call.cloud.identities.find((resource.identity or {}).get("principalId", ""))
    if own is not None:
        storage = str(call.workspace.properties["storageAccount"])
        call.cloud.authorization.grant(own, "Storage Blob Data Reader", storage)
        call.cloud.authorization.grant(own, "AzureML Metrics Writer (preview)", call.workspace.id)


def _shares(call: Call, resource: Resource | None, asked: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """The traffic and the mirrored traffic of a request, by the names that the deployments have."""
    endpoint: Endpoint | None = resource.state if resource else None
    traffic = _percentages(call, endpoint, asked.get("traffic") or {}, "Traffic")
    mirror = _percentages(call, endpoint, asked.get("mirrorTraffic") or {}, "MirrorTraffic")
    mirrored = {name: share for name, share in mirror.items() if share}
    if (total := sum(traffic.values())) not in (0, 100):
        raise invalid(call, f"Traffic values need to sum to 0 or 100, but they sum to {total}.", "Traffic")
    if len(mirrored) > 1:
        raise invalid(call, "Traffic can be mirrored to only one deployment of an endpoint.", "MirrorTraffic")
    if (total := sum(mirrored.values())) > MOST_MIRRORED:
        why = f"Mirror traffic values need to sum to at most {MOST_MIRRORED}, but they sum to {total}."
        raise invalid(call, why, "MirrorTraffic")
    for name in mirrored:
        if traffic.get(name):
            why = f"Deployment {name} can receive live traffic or mirrored traffic, not both."
            raise invalid(call, why, "MirrorTraffic")
    return {"traffic": traffic, "mirrorTraffic": mirror}


def _percentages(call: Call, endpoint: Endpoint | None, given: Any, field: str) -> dict[str, int]:
    if not isinstance(given, dict):
        raise invalid(call, f"{field} has to be an object of deployments' names and percentages.", field)
    found: dict[str, int] = {}
    for name, share in given.items():
        if not isinstance(share, int) or isinstance(share, bool) or not 0 <= share <= 100:
            raise invalid(call, f"{field} of {name} is {share!r}: it has to be a whole number from 0 to 100.", field)
        deployment = endpoint.deployment(name) if endpoint else None
        if deployment is None and share:
            raise invalid(call, f"The endpoint has no deployment {name} that was provisioned successfully.", field)
        found[deployment.name if deployment else name] = share
    return found


def _own(resource: Resource, asked: Mapping[str, Any]) -> dict[str, str]:
    """The endpoint's property dictionary: what was given to it, and the platform's own entries."""
    given = {str(name): str(value) for name, value in (asked.get("properties") or {}).items()}
    return {**_custom(resource), **given, "azureml.onlineendpointid": resource.id}


def _custom(resource: Resource) -> dict[str, str]:
    found: dict[str, str] = resource.properties.get("properties") or {}
    return found


def begin(call: Call, resource: Resource, work: Callable[[], None], status: int) -> Response:
    """Begins a change of an endpoint or a deployment, whose properties say where to ask after it."""
    shown, properties = resource.view(), dict(resource.properties)
    response = operations.begin(call, work, status=status, body={}, location=resource.location)
    where = next(value for name, value in response.headers if name == "Azure-AsyncOperation")
    resource.properties["properties"] = {**_custom(resource), "AzureAsyncOperationUri": where}
    response.body = json.dumps({**shown, "properties": {**properties, "properties": _custom(resource)}}).encode()
    return response


def _of_mode(call: Call, mode: str) -> Endpoint:
    endpoint: Endpoint = call.cloud.resources.require(call.resource).state
    if endpoint.auth_mode != mode:
        what = "keys" if mode == "Key" else "Azure Machine Learning tokens"
        why = f"Endpoint {endpoint.name} has the auth mode {endpoint.auth_mode}: it has no {what}."
        raise invalid(call, why, "AuthMode")
    return endpoint


def _refuse_under_way(call: Call, resource: Resource) -> None:
    state = resource.properties["provisioningState"]
    if state in UNDER_WAY:
        raise busy(call, f"Online endpoint {resource.name}", state.lower())


def _matches(wanted: str, held: Mapping[str, str]) -> bool:
    """Whether a dictionary has everything in ``a,b=1``."""
    for part in wanted.split(","):
        name, equals, value = part.strip().partition("=")
        if name not in held or (equals and held[name] != value):
            return False
    return True


_ENDPOINT = f"{WORKSPACE}/onlineEndpoints/{{endpoint}}"
ROUTES = [
    Route("GET", f"{WORKSPACE}/onlineEndpoints", list_endpoints),
    Route("PUT", _ENDPOINT, put_endpoint, note="managed; a user-assigned identity needs its own roles"),
    Route("PATCH", _ENDPOINT, patch_endpoint, note="tags"),
    Route("GET", _ENDPOINT, get_endpoint),
    Route("DELETE", _ENDPOINT, delete_endpoint),
    Route("POST", f"{_ENDPOINT}/listKeys", list_keys, read_only=True),
    Route("POST", f"{_ENDPOINT}/regenerateKeys", regenerate_keys),
    Route("POST", f"{_ENDPOINT}/token", get_token, read_only=True),
]
