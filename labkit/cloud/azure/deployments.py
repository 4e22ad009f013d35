"""Deployments: resource groups filled from templates (ARM JSON).

https://learn.microsoft.com/rest/api/resources/deployments
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import operations
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import GROUP, Route
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.template_run import TYPE, TemplateRun
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

_NAME = re.compile(r"[\w.()-]{1,64}")
#: Seconds that the answer waits for a deployment to end: most end at once.
WAIT = 2.0


def put_deployment(call: Call, names: dict[str, str]) -> Response:
    """Deploys a template. The answer waits a little, so that what is done at once needs no polling."""
    if not _NAME.fullmatch(names["name"]):
        raise AzureError("InvalidDeploymentName", f"'{names['name']}' cannot be the name of a deployment.", 400)
    asked = section(call.body(), "properties")
    template = section(asked, "template")
    if asked.get("templateLink") or asked.get("parametersLink"):
        raise refusal("templates and parameters given as a link")
    if text(asked, "mode", "Incremental").lower() != "incremental":
        raise refusal(f"deployments of mode {asked.get('mode')}")
    if not template:
        raise AzureError("InvalidRequestContent", "The deployment has no template.", 400)
    run = TemplateRun(call, names, template, section(asked, "parameters"))
    made = Resource(call.resource, run.properties("Running"), state=run)
    made.touch(call.engine.clock.now(), call.caller)
    call.cloud.resources.put(made)

    def work() -> None:
        try:
            run.deploy()
        finally:
            made.properties = run.properties("Failed" if run.failed else "Succeeded")
            run.done.set()

    running = made.view()
    answer = operations.begin(call, work, status=201, body=running, own_address=f"{call.resource}/operationStatuses")
    if run.done.wait(WAIT) and not run.failed:
        # Nothing is left to ask for.
        return json_response(201, made.view())
    return answer


def get_deployment(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return _require(call, names).view()


def has_deployment(call: Call, names: dict[str, str]) -> Response:
    return Response(204 if call.cloud.resources.get(call.resource) else 404)


def list_deployments(call: Call, names: dict[str, str]) -> dict[str, Any]:
    return page(call, [each.view() for each in call.cloud.resources.below(call.resource, TYPE)])


def delete_deployment(call: Call, names: dict[str, str]) -> Response:
    """Forgets the deployment. What it made stays."""
    call.cloud.resources.delete(call.resource)
    return Response(204)


def list_steps(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """What the deployment did, resource by resource."""
    deployment = _require(call, names)
    return page(call, [step.view(deployment.id) for step in deployment.state.steps])


def _require(call: Call, names: dict[str, str]) -> Resource:
    group = f"/subscriptions/{call.subscription}/resourceGroups/{names['group']}"
    found = call.cloud.resources.get(f"{group}/providers/{TYPE}/{names['name']}")
    if found is None:
        raise AzureError("DeploymentNotFound", f"Deployment '{names['name']}' could not be found.", 404)
    return found


_DEPLOYMENT = f"{GROUP}/providers/{TYPE}/{{name}}"

ROUTES = [
    Route("GET", f"{GROUP}/providers/{TYPE}", list_deployments),
    Route("PUT", _DEPLOYMENT, put_deployment, note="mode Incremental, into one group, without copy loops"),
    Route("GET", _DEPLOYMENT, get_deployment),
    Route("HEAD", _DEPLOYMENT, has_deployment),
    Route("DELETE", _DEPLOYMENT, delete_deployment),
    Route("GET", f"{GROUP}/deployments/{{name}}/operations", list_steps),
    Route("GET", f"{_DEPLOYMENT}/operationStatuses/{{operation}}", operations.get_status),
]
