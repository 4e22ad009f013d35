"""Components: a command, or a pipeline, with named inputs and outputs, registered to be used in pipelines.

https://learn.microsoft.com/rest/api/azureml/component-versions and
https://learn.microsoft.com/azure/machine-learning/reference-yaml-component-command
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import jobs_bindings
from labkit.cloud.azure.assets import Kind, view
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.shapes import section, text

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call
    from labkit.cloud.azure.resources import Resource

PRIMITIVES = ("string", "integer", "number", "boolean")
DATA_TYPES = ("uri_file", "uri_folder", "mltable")
MODEL_TYPES = ("custom_model", "mlflow_model", "triton_model")
_INPUT_TYPES = (*PRIMITIVES, *DATA_TYPES, *MODEL_TYPES)
_OUTPUT_TYPES = (*DATA_TYPES, *MODEL_TYPES)
_PORT = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.]*")
#: Kinds of component that Azure has beside those served.
_OTHER_TYPES = (
    "automl",
    "data_transfer",
    "flow_parallel",
    "import",
    "parallel",
    "promptflow",
    "promptflow_parallel",
    "spark",
    "sweep",
)
#: What the SDK asks for when somebody names no version.
DEFAULT_VERSION = "azureml_default"
#: What changes how a component runs, and is not served.
_UNSERVED = ("distribution", "services", "queue_settings")


def _complete(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    spec = section(asked, "componentSpec")
    check(call, spec)
    return {name: value for name, value in asked.items() if value is not None}


def check(call: Call, spec: Mapping[str, Any]) -> None:
    """Sees that a component's definition can be run; raises :class:`AzureError`."""
    kind = text(spec, "type", "command")
    if kind not in ("command", "pipeline"):
        if kind in _OTHER_TYPES:
            raise refusal(f"components of type {kind}")
        raise call.user_error(f"The component type '{kind}' is unknown.", 400, "BadArgument")
    for name, port in section(spec, "inputs").items():
        _check_port(call, name, port, _INPUT_TYPES, "input")
    for name, port in section(spec, "outputs").items():
        if isinstance(port, dict) and (port.get("type") in PRIMITIVES or port.get("is_control")):
            raise refusal("control outputs of components (boolean, integer, number, string)")
        _check_port(call, name, port, _OUTPUT_TYPES, "output")
    if kind == "pipeline":
        if not section(spec, "jobs"):
            raise call.user_error("A pipeline component needs jobs.", 400, "BadArgument")
        return
    for name in _UNSERVED:
        if spec.get(name):
            raise refusal(f"{name} of a command component")
    check_instances(spec.get("resources"))
    command = text(spec, "command")
    if not command:
        raise call.user_error("A command component needs a command.", 400, "BadArgument")
    if not text(spec, "environment"):
        raise call.user_error("A command component needs an environment.", 400, "BadArgument")
    known = {f"inputs.{name}" for name in section(spec, "inputs")} | {
        f"outputs.{name}" for name in section(spec, "outputs")
    }
    for name in jobs_bindings.names(command):
        if name not in known:
            message = f"The command of the component names ${{{{{name}}}}}, which is none of its inputs and outputs."
            raise call.user_error(message, 400, "BadArgument")
    for name in sorted(jobs_bindings.required(command)):
        port = section(spec, "inputs").get(name.removeprefix("inputs."), {}) if name.startswith("inputs.") else {}
        if port.get("optional") in (True, "true", "True"):
            message = (
                f"The command of the component names the optional input {name.removeprefix('inputs.')} outside "
                "$[[ ]]; put the part of the command that it belongs to in them."
            )
            raise call.user_error(message, 400, "BadArgument")


def check_instances(resources: Any) -> None:
    """Refuses what would run on several machines."""
    given = resources if isinstance(resources, dict) else {}
    count = given.get("instance_count") or given.get("instanceCount") or 1
    if str(count) != "1":
        raise refusal(f"jobs on {count} instances (instance_count)")


def _check_port(call: Call, name: str, port: Any, types: tuple[str, ...], what: str) -> None:
    if not _PORT.fullmatch(name):
        message = f"The {what} name '{name}' is invalid: letters, digits and '_' only, and no digit first."
        raise call.user_error(message, 400, "BadArgument")
    if not isinstance(port, dict):
        raise call.user_error(f"The {what} {name} of the component has to be an object.", 400, "BadArgument")
    kind = str(port.get("type"))
    if kind not in types:
        raise call.user_error(f"The type {kind} of {what} {name} is not one of {', '.join(types)}.", 400, "BadArgument")


def _conflict(call: Call, version: Resource) -> AzureError:
    name = version.id.split("/")[-3]
    message = (
        f"Component {name} with version {version.name} already exists and its definition cannot be changed. Choose "
        "another version to register a changed definition."
    )
    return call.user_error(message, 409, "Conflict")


class Components(Kind):
    """The components of a workspace. Azure fills name and version into a definition."""

    def get_version(self, call: Call, names: dict[str, str]) -> dict[str, Any]:
        """A version, or by the name :data:`DEFAULT_VERSION` the newest that is not archived."""
        if names["version"] == DEFAULT_VERSION:
            versions = self.versions(call.cloud, self.id(call.workspace_id, names["name"]))
            if active := [each for each in versions if not each.properties["isArchived"]]:
                return view(active[-1])
        return super().get_version(call, names)

    def _make(self, call: Call, names: Mapping[str, str], asked: dict[str, Any]) -> Resource:
        return super()._make(call, names, _filled_in(asked, names["name"], names["version"]))

    def _change(self, call: Call, version: Resource, asked: dict[str, Any]) -> Resource:
        return super()._change(call, version, _filled_in(asked, version.id.split("/")[-3], version.name))


def _filled_in(asked: dict[str, Any], name: str, version: str) -> dict[str, Any]:
    """What was asked for, with the component's name and version in its definition, unless it is anonymous."""
    if not asked.get("componentSpec") or asked.get("isAnonymous"):
        return asked
    return asked | {"componentSpec": section(asked, "componentSpec") | {"name": name, "version": version}}


COMPONENTS = Components("components", "component", ("componentSpec",), _complete, _conflict)

ROUTES = COMPONENTS.routes()
