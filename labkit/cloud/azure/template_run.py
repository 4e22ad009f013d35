"""One run of a template: its parameters read, its resources made by their own operations, in the order that they need.

https://learn.microsoft.com/azure/azure-resource-manager/templates/syntax
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import operations
from labkit.cloud.azure.errors import AzureError, of_engine, refusal
from labkit.cloud.azure.resources import parse_id
from labkit.cloud.azure.template_functions import PURE
from labkit.cloud.azure.template_language import Function, TemplateError, evaluate
from labkit.cloud.azure.wire import MANAGEMENT, time_text
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.http import Headers, Request

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

TYPE = "Microsoft.Resources/deployments"
#: Parts of a template, and of a resource in it, that are not served.
_NOT_SERVED = ("functions", "definitions", "imports")
_NOT_SERVED_OF_RESOURCE = ("copy", "existing", "extension", "plan", "zones")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "securestring": (str,),
    "int": (int,),
    "bool": (bool,),
    "object": (dict,),
    "secureobject": (dict,),
    "array": (list,),
}

#: What reading a template raises where an element of it is of another form than it should be.
_FORM_ERRORS = (KeyError, TypeError, ValueError, AttributeError)


class _NotYet(Exception):
    """A resource refers to another one of the template that has not been deployed."""


@dataclass(slots=True)
class Step:
    """One resource of a deployment, as ``operations`` shows it. ``took`` in seconds."""

    id: str
    type: str
    name: str
    at: datetime
    state: str = "Running"
    took: float = 0.0
    error: AzureError | None = None
    number: str = field(default_factory=lambda: uuid.uuid4().hex[:16].upper())

    def view(self, deployment_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "provisioningOperation": "Create",
            "provisioningState": self.state,
            "timestamp": time_text(self.at),
            "duration": _duration(self.took),
            "trackingId": str(uuid.uuid4()),
            "statusCode": "OK" if self.error is None else "BadRequest",
            "targetResource": {"id": self.id, "resourceType": self.type, "resourceName": self.name},
        }
        if self.error is not None:
            shown["statusMessage"] = {"status": "Failed", "error": self.error.body()}
        return {"id": f"{deployment_id}/operations/{self.number}", "operationId": self.number, "properties": shown}


class TemplateRun:
    """One run of a template in a resource group; made, and the template checked, before it is answered."""

    def __init__(self, call: Call, names: Mapping[str, str], template: dict[str, Any], given: dict[str, Any]) -> None:
        self._call = call
        self._names = names
        self._template = template
        self._started = time.monotonic()
        self._took = 0.0
        self.done = threading.Event()
        self.steps: list[Step] = []
        self.failed = True
        self._outputs: dict[str, Any] = {}
        self._deployed: set[str] = set()
        for name in _NOT_SERVED:
            if template.get(name):
                raise refusal(f"the element {name} of a template")
        try:
            self._parameters = self._read_parameters(given)
            self._resources = self._read_resources()
        except TemplateError as error:
            raise _invalid(str(error)) from None
        except _FORM_ERRORS as error:
            raise _misformed(error) from None

    def deploy(self) -> None:
        """Deploys every resource, those first on which others depend; raises what the first failure was."""
        try:
            self._deploy_all()
            self._outputs = self._read_outputs()
            self.failed = False
        except TemplateError as error:
            raise _invalid(str(error)) from None
        except CloudError as error:
            raise AzureError(
                "DeploymentFailed",
                "At least one resource deployment operation failed. Please list deployment operations for details. "
                "Please see https://aka.ms/arm-deployment-operations for usage details.",
                400,
                details=[of_engine(error).body()],
            ) from None
        except _FORM_ERRORS as error:
            raise _misformed(error) from None
        finally:
            self._took = time.monotonic() - self._started

    def _deploy_all(self) -> None:
        left = dict(self._resources)
        while left:
            before = len(left)
            for key, resource in list(left.items()):
                if not self._waits(resource, left):
                    try:
                        self._deploy(resource)
                    except _NotYet:
                        continue
                    del left[key]
            if len(left) == before:
                raise TemplateError(f"the resources {', '.join(sorted(left))} depend on one another")

    def properties(self, state: str) -> dict[str, Any]:
        """The deployment as Azure shows it. Secure parameters are not shown."""
        parameters = self._template.get("parameters") or {}
        shown = {
            name: {"type": parameters[name].get("type", "String")}
            | ({} if str(parameters[name].get("type", "")).lower().startswith("secure") else {"value": value})
            for name, value in self._parameters.items()
        }
        text = json.dumps(self._template, sort_keys=True).encode()
        return {
            "templateHash": str(int.from_bytes(hashlib.sha256(text).digest()[:8], "big")),
            "parameters": shown,
            "mode": "Incremental",
            "provisioningState": state,
            "timestamp": time_text(self._call.engine.clock.now()),
            "duration": _duration(self._took),
            "correlationId": self._call.request_id,
            "providers": [],
            "dependencies": [],
            "outputs": self._outputs,
            "outputResources": [{"id": step.id} for step in self.steps if step.state == "Succeeded"],
        }

    # -- reading the template --------------------------------------------------------------------------------------

    def _read_parameters(self, given: dict[str, Any]) -> dict[str, Any]:
        declared = self._template.get("parameters") or {}
        for name in given:
            if name.lower() not in {each.lower() for each in declared}:
                raise TemplateError(
                    f"the template parameters '{name}' in the parameters file are not valid; they are not present in "
                    "the original template"
                )
        lower = {name.lower(): value for name, value in given.items()}
        # A default may name other parameters, whatever their order.
        self._parameters = {}
        self._defaults = {
            name: spec["defaultValue"]
            for name, spec in declared.items()
            if "defaultValue" in spec and name.lower() not in lower
        }
        for name in declared:
            if name.lower() in lower:
                wrapped = lower[name.lower()]
                if "reference" in wrapped:
                    raise refusal("parameters that refer to a key vault")
                self._parameters[name] = wrapped.get("value")
            elif name not in self._defaults:
                raise TemplateError(
                    f"the value for the template parameter '{name}' is not provided; supply it in the deployment"
                )
        for name in list(self._defaults):
            self._parameter(name)
        for name, spec in declared.items():
            self._check_parameter(name, spec, self._parameters[name])
        return self._parameters

    def _check_parameter(self, name: str, spec: dict[str, Any], value: Any) -> None:
        kinds = _TYPES.get(str(spec.get("type", "")).lower())
        if kinds is None:
            raise TemplateError(f"the template parameter '{name}' has no type of the template language")
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise TemplateError(f"the value of the template parameter '{name}' is not of type {spec['type']}")
        allowed = spec.get("allowedValues")
        if allowed and str(value).lower() not in [str(each).lower() for each in allowed]:
            raise TemplateError(
                f"the provided value '{value}' for the template parameter '{name}' is not valid; it is not part of the "
                f"allowed value(s): '{','.join(map(str, allowed))}'"
            )

    def _read_resources(self) -> dict[str, dict[str, Any]]:
        """The resources that are to be made, by id, their names evaluated."""
        listed = self._template.get("resources") or []
        if isinstance(listed, dict):
            listed = list(listed.values())
        found: dict[str, dict[str, Any]] = {}
        for resource in listed:
            if resource.get("scope") or resource.get("resourceGroup") or resource.get("subscriptionId"):
                if evaluate(resource.get("condition", True), self._functions()):
                    raise refusal("resources of a template in another scope than its deployment's")
                continue
            found |= self._expand(resource, "", "")
        return found

    def _expand(self, resource: dict[str, Any], parent_type: str, parent_name: str) -> dict[str, dict[str, Any]]:
        """A resource and those nested in it, by id, as far as they are to be made."""
        if not evaluate(resource.get("condition", True), self._functions()):
            return {}
        for element in _NOT_SERVED_OF_RESOURCE:
            if resource.get(element):
                raise refusal(f"the element {element} of a resource in a template")
        kind = f"{parent_type}/{resource['type']}" if parent_type else str(resource["type"])
        name = evaluate(resource["name"], self._functions())
        name = f"{parent_name}/{name}" if parent_name else str(name)
        identifier = self._id(kind, *name.split("/"))
        own = {**resource, "type": kind, "name": name}
        if parent_name:
            own["dependsOn"] = [*resource.get("dependsOn", []), self._id(parent_type, *parent_name.split("/"))]
        found = {identifier.lower(): own}
        for nested in own.pop("resources", []):
            found |= self._expand(nested, kind, name)
        return found

    def _read_outputs(self) -> dict[str, Any]:
        functions = self._functions()
        return {
            name: {"type": spec.get("type"), "value": evaluate(spec.get("value"), functions)}
            for name, spec in (self._template.get("outputs") or {}).items()
            if evaluate(spec.get("condition", True), functions)
        }

    # -- deploying -------------------------------------------------------------------------------------------------

    def _waits(self, resource: dict[str, Any], left: Mapping[str, Any]) -> bool:
        """Whether something that the resource depends on has not been deployed."""
        for needed in evaluate(resource.get("dependsOn") or [], self._functions()):
            low = str(needed).lower()
            if any(each != self._key(resource) and (each == low or each.endswith(f"/{low}")) for each in left):
                return True
        return False

    def _key(self, resource: dict[str, Any]) -> str:
        return self._id(resource["type"], *resource["name"].split("/")).lower()

    def _deploy(self, resource: dict[str, Any]) -> None:
        version = str(evaluate(resource.get("apiVersion", ""), self._functions()))
        body = {
            name: evaluate(value, self._functions())
            for name, value in resource.items()
            if name not in ("type", "name", "apiVersion", "dependsOn", "condition", "comments", "metadata", "scope")
        }
        identifier = self._id(resource["type"], *resource["name"].split("/"))
        step = Step(identifier, resource["type"], resource["name"], self._call.engine.clock.now())
        self.steps.append(step)
        began = time.monotonic()
        try:
            self._put(identifier, version, body)
            step.state = "Succeeded"
            self._deployed.add(identifier.lower())
        except CloudError as error:
            step.state, step.error = "Failed", of_engine(error)
            raise
        finally:
            step.took = time.monotonic() - began
            step.at = self._call.engine.clock.now()

    def _put(self, identifier: str, version: str, body: dict[str, Any]) -> None:
        """Makes one resource as a client would, as the deployment's caller, and waits until that has ended."""
        headers = Headers([("Authorization", self._call.request.headers.get("authorization"))])
        target = f"{identifier}?api-version={version}"
        request = Request("PUT", self._call.request.host, target, headers, json.dumps(body).encode())
        answer = self._call.cloud.send(request, self._call)
        addresses = [value for name, value in answer.headers if name == "Azure-AsyncOperation"]
        if addresses:
            number = addresses[0].partition("?")[0].rpartition("/")[2]
            operations.wait(self._call, number)

    # -- functions -------------------------------------------------------------------------------------------------

    def _functions(self) -> dict[str, Function]:
        return {
            **PURE,
            "parameters": self._parameter,
            "variables": self._variable,
            "resourcegroup": self._resource_group,
            "subscription": self._subscription,
            "deployment": lambda: {"name": self._names["name"], "properties": {"mode": "Incremental"}},
            "environment": lambda: {"name": "AzureCloud", "resourceManager": f"{MANAGEMENT}/"},
            "resourceid": self._resource_id,
            "subscriptionresourceid": lambda kind, *names: (
                f"/subscriptions/{self._call.subscription}/providers/{_typed(kind, names)}"
            ),
            "reference": self._reference,
            "newguid": lambda: str(uuid.uuid4()),
            "utcnow": lambda form="": f"{self._call.engine.clock.now():%Y%m%dT%H%M%SZ}",
        }

    def _parameter(self, name: str) -> Any:
        for known, value in self._parameters.items():
            if known.lower() == name.lower():
                return value
        for known, value in list(self._defaults.items()):
            if known.lower() == name.lower():
                del self._defaults[known]
                self._parameters[known] = evaluate(value, self._functions())
                return self._parameters[known]
        raise TemplateError(f"the template has no parameter '{name}'")

    def _variable(self, name: str) -> Any:
        for known, value in (self._template.get("variables") or {}).items():
            if known == "copy":
                raise TemplateError("the local clouds do not serve copies of variables yet; see docs/fidelity.md")
            if known.lower() == name.lower():
                return evaluate(value, self._functions())
        raise TemplateError(f"the template has no variable '{name}'")

    def _resource_group(self) -> dict[str, Any]:
        return self._call.cloud.resources.require(self._group_id()).view()

    def _subscription(self) -> dict[str, Any]:
        return {
            "id": f"/subscriptions/{self._call.subscription}",
            "subscriptionId": self._call.subscription,
            "tenantId": self._call.cloud.identities.tenant,
            "displayName": "Local clouds",
        }

    def _group_id(self, group: str = "") -> str:
        return f"/subscriptions/{self._call.subscription}/resourceGroups/{group or self._names['group']}"

    def _id(self, kind: str, *names: str) -> str:
        return f"{self._group_id()}/providers/{_typed(kind, names)}"

    def _resource_id(self, *parts: str) -> str:
        """``resourceId([subscription], [group], type, name, ...)``."""
        at = next((index for index, part in enumerate(parts) if "/" in part), None)
        if at is None or at > 2:
            raise TemplateError(f"resourceId({', '.join(parts)}) names no type of resource")
        group = parts[at - 1] if at else self._names["group"]
        subscription = parts[0] if at == 2 else self._call.subscription
        return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{_typed(parts[at], parts[at + 1 :])}"

    def _reference(self, name: str, version: str = "", full: str = "") -> Any:
        identifier = name.lower()
        if parse_id(name) is None:
            known = [each for each in self._resources if each.endswith(f"/{identifier}")]
            identifier = known[0] if known else identifier
        if identifier in self._resources and identifier not in self._deployed:
            raise _NotYet
        found = self._call.cloud.resources.require(identifier)
        return found.view() if full.lower() == "full" else found.properties


def _typed(kind: str, names: tuple[str, ...] | list[str]) -> str:
    """``Microsoft.X/a/b`` with names, as the end of a resource id."""
    namespace, *types = kind.split("/")
    if len(types) != len(names):
        raise TemplateError(f"the type {kind} needs {len(types)} name(s), not {len(names)}")
    return "/".join([namespace, *(part for pair in zip(types, names, strict=True) for part in pair)])


def _invalid(what: str) -> AzureError:
    return AzureError(
        "InvalidTemplate", f"Deployment template validation failed: '{what[:1].upper()}{what[1:]}.'.", 400
    )


def _misformed(error: Exception) -> AzureError:
    return _invalid(f"an element of the template is not of the form that it should have ({error})")


def _duration(seconds: float) -> str:
    return f"PT{seconds:.7f}S"
