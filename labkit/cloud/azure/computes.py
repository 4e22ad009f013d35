"""Compute targets: clusters, whose nodes jobs wait for, and the records of instances. No machine stands behind them.

https://learn.microsoft.com/rest/api/azureml/compute
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import managed_identities, operations
from labkit.cloud.azure.errors import refusal
from labkit.cloud.azure.groups import tags_of
from labkit.cloud.azure.jobs_nodes import Nodes
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import MACHINE_LEARNING, WORKSPACE, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page, time_text
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

TYPE = f"{MACHINE_LEARNING}/workspaces/computes"
_NAME = re.compile(r"[a-zA-Z](?:[a-zA-Z0-9-]{0,30}[a-zA-Z0-9])")
#: The properties that a kind of compute has beside those that were asked for.
_KINDS: dict[str, dict[str, Any]] = {
    "AmlCompute": {
        "vmPriority": "Dedicated",
        "osType": "Linux",
        "allocationState": "Steady",
        "currentNodeCount": 0,
        "targetNodeCount": 0,
        "nodeStateCounts": dict.fromkeys(
            ("idleNodeCount", "leavingNodeCount", "preemptedNodeCount", "preparingNodeCount", "runningNodeCount"), 0
        )
        | {"unusableNodeCount": 0},
    },
    "ComputeInstance": {"osType": "Linux", "state": "Running", "applications": [], "errors": []},
}


def put_compute(call: Call, names: dict[str, str]) -> Response:
    name, body = names["name"], call.body()
    asked = section(body, "properties")
    kind = text(asked, "computeType")
    if kind not in _KINDS:
        raise refusal(f"computes of type {kind}")
    if not _NAME.fullmatch(name):
        message = (
            f"Compute name '{name}' is invalid: it has to be 2 to 32 characters long, begin with a letter, end with a "
            "letter or a digit, and hold letters, digits and hyphens only."
        )
        raise call.user_error(message, 400, "InvalidName")
    given = {key: value for key, value in section(asked, "properties").items() if value is not None}
    if not text(given, "vmSize"):
        raise call.user_error("A compute needs the size of its machines (vmSize).", 400, "BadArgument")
    now = call.engine.clock.now()
    with call.cloud.resources.lock:
        existing = call.cloud.resources.get(call.resource)
        if existing is not None and existing.properties["computeType"] != kind:
            raise call.user_error(f"Compute {name} exists already, of another type.", 409, "Conflict")
        made = existing or Resource(call.resource, {}, call.workspace.location)
        scale = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT120S"}
        own = dict(_KINDS[kind])
        if kind == "AmlCompute":
            own["scaleSettings"] = scale | section(given, "scaleSettings")
            given.pop("scaleSettings", None)
        made.properties = {
            "description": None,
            "disableLocalAuth": True,
            **{key: value for key, value in asked.items() if value is not None},
            "computeType": kind,
            "computeLocation": made.location,
            "createdOn": made.properties.get("createdOn") or time_text(now),
            "modifiedOn": time_text(now),
            "provisioningState": "Succeeded",
            "provisioningErrors": None,
            "isAttachedCompute": False,
            "properties": own | given,
        }
        made.tags = tags_of(body)
        made.identity = managed_identities.section_of(call, body, made.id, default="None") or None
        if kind == "AmlCompute":
            made.state = made.state or Nodes(own["scaleSettings"])
            made.state.rescale(own["scaleSettings"])
        made.touch(now, call.caller)
        call.cloud.resources.put(made)
    return json_response(200 if existing else 201, _view(call, made))


def patch_compute(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """Changes a cluster's scale settings."""
    made, asked = _require(call, names), section(call.body(), "properties")
    scale = section(section(asked, "properties") or asked, "scaleSettings")
    if made.properties["computeType"] != "AmlCompute" or not scale:
        raise call.user_error("Only the scaleSettings of an AmlCompute can be changed.", 400, "BadArgument")
    inner = made.properties["properties"]
    made.properties["properties"] = inner | {"scaleSettings": inner["scaleSettings"] | scale}
    made.state.rescale(made.properties["properties"]["scaleSettings"])
    made.touch(call.engine.clock.now(), call.caller)
    return _view(call, made)


def get_compute(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return _view(call, _require(call, names))


def list_computes(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return page(call, [_view(call, each) for each in call.cloud.resources.below(call.workspace_id, TYPE)])


def list_nodes(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """The cluster's nodes: those that jobs run on, and those that wait for one."""
    nodes = _require(call, names).state
    counts = nodes.counts(call.engine.clock.now()) if isinstance(nodes, Nodes) else {}
    states = ["running"] * counts.get("runningNodeCount", 0) + ["idle"] * counts.get("idleNodeCount", 0)
    return {"nodes": [{"nodeId": f"tvmps_{at:04}", "nodeState": state} for at, state in enumerate(states)]}


def delete_compute(call: Call, names: dict[str, str]) -> Response:
    _require(call, names)

    def work() -> None:
        call.cloud.resources.delete(call.resource)

    return operations.begin(call, work)


def _view(call: Call, compute: Resource) -> dict[str, Any]:
    """A compute as it is now: a cluster with the nodes that it has."""
    shown = compute.view()
    if isinstance(compute.state, Nodes):
        counts = compute.state.counts(call.engine.clock.now())
        inner = compute.properties["properties"]
        total = sum(counts.values())
        nodes = {**inner["nodeStateCounts"], **counts}
        now = {"currentNodeCount": total, "targetNodeCount": total, "nodeStateCounts": nodes}
        shown["properties"] = {**compute.properties, "properties": {**inner, **now}}
    return shown


def _require(call: Call, names: dict[str, str]) -> Resource:
    found = call.cloud.resources.get(call.resource)
    if found is None:
        message = f"Compute {names['name']} was not found in workspace {call.workspace.name}."
        raise call.user_error(message, 404, "ComputeNotFound")
    return found


_COMPUTE = f"{WORKSPACE}/computes/{{name}}"

_NOTE = "AmlCompute: jobs wait for its nodes, and low-priority ones are taken away; a ComputeInstance is a record only"

ROUTES = [
    Route("GET", f"{WORKSPACE}/computes", list_computes),
    Route("GET", _COMPUTE, get_compute),
    Route("PUT", _COMPUTE, put_compute, note=_NOTE),
    Route("PATCH", _COMPUTE, patch_compute),
    Route("DELETE", _COMPUTE, delete_compute),
    Route("POST", f"{_COMPUTE}/listNodes", list_nodes, read_only=True),
]
