"""Resource Manager: what it answers before any function is reached."""

from __future__ import annotations

import json

import pytest

from labkit.cloud.azure import AzureCloud, arm
from tests.cloud.azure.in_process import MANAGEMENT, Rest, call


def test_paths_are_matched_without_regard_to_case(rest: Rest) -> None:
    _, usual, _ = rest("GET", rest.workspace)
    status, body, _ = rest("GET", rest.workspace.replace("resourceGroups/learning", "RESOURCEGROUPS/Learning").upper())
    assert status == 200
    assert body["id"] == usual["id"] == rest.workspace


def test_ids_are_written_as_azure_writes_them(rest: Rest, name: str) -> None:
    path = f"{rest.workspace}/datastores".lower().replace("learning", "LEARNING")
    uri = {"properties": {"modelUri": "azureml://datastores/workspaceblobstore/paths/a"}}
    _, made, _ = rest("PUT", f"{path.removesuffix('datastores')}MODELS/{name}/Versions/1", uri)
    assert made["id"] == f"{rest.workspace}/models/{name}/versions/1"


@pytest.mark.parametrize(
    ("version", "code", "message"),
    [
        (None, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required"),
        ("latest", "InvalidApiVersionParameter", "The api-version 'latest' is invalid. The supported versions are '"),
        ("2023-4-1", "InvalidApiVersionParameter", "The api-version '2023-4-1' is invalid."),
        (
            "2031-01-01",
            "NoRegisteredProviderFound",
            "No registered resource provider found for API version '2031-01-01' for type 'workspaces'.",
        ),
    ],
)
def test_api_versions(rest: Rest, version: str | None, code: str, message: str) -> None:
    status, found, text = rest.error("GET", rest.workspace, version=version)
    assert (status, found) == (400, code)
    assert text.startswith(message)


def test_every_version_that_the_sdk_sends(rest: Rest) -> None:
    # Those of azure-ai-ml 1.35's clients (azure/ai/ml/_ml_client.py).
    sent = "2022-05-01 2022-10-01 2023-04-01 2023-10-01 2022-02-01-preview 2022-10-01-preview 2023-02-01-preview"
    sent += " 2023-04-01-preview 2023-06-01-preview 2023-08-01-preview 2025-01-01-preview 2024-10-01-preview"
    sent += " 2024-04-01-preview 2024-01-01-preview"
    assert {rest("GET", rest.workspace, version=version)[0] for version in sent.split()} == {200}


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "message"),
    [
        ("GET", "{subscription}x", 400, "InvalidSubscriptionId", "malformed or invalid"),
        (
            "GET",
            "/subscriptions/00000000-0000-0000-0000-000000000001",
            404,
            "SubscriptionNotFound",
            "The subscription '00000000-0000-0000-0000-000000000001' could not be found.",
        ),
        (
            "GET",
            "{subscription}/resourceGroups/none",
            404,
            "ResourceGroupNotFound",
            "Resource group 'none' could not be found.",
        ),
        (
            "GET",
            "{subscription}/resourceGroups/none/providers/Microsoft.MachineLearningServices/workspaces/x",
            404,
            "ResourceGroupNotFound",
            "Resource group 'none' could not be found.",
        ),
        (
            "GET",
            "{group}/providers/Microsoft.MachineLearningServices/workspaces/none/models",
            404,
            "ResourceNotFound",
            "The Resource 'Microsoft.MachineLearningServices/workspaces/none' under resource group 'learning' was not",
        ),
        (
            "GET",
            "{workspace}/widgets",
            404,
            "InvalidResourceType",
            "The resource type 'workspaces/widgets' could not be found in the namespace",
        ),
        (
            "GET",
            "{group}/providers/Contoso.Things/toys/x",
            404,
            "InvalidResourceNamespace",
            "The resource namespace 'Contoso.Things' is invalid.",
        ),
        (
            "PUT",
            "{group}/providers/Microsoft.Compute/virtualMachines/vm1",
            501,
            "NotImplemented",
            "The local clouds do not serve PUT of Microsoft.Compute/virtualMachines yet; see docs/fidelity.md.",
        ),
        ("POST", "{workspace}/diagnose", 501, "NotImplemented", "POST of Microsoft.MachineLearningServices/workspaces"),
        ("DELETE", "{workspace}/listKeys", 501, "NotImplemented", "DELETE of Microsoft.MachineLearningServices"),
        ("BREW", "{workspace}", 405, "MethodNotAllowed", "does not take BREW"),
        ("GET", "/nothing/at/all", 501, "NotImplemented", "GET /nothing/at/all"),
    ],
)
def test_what_is_not_there(rest: Rest, method: str, path: str, status: int, code: str, message: str) -> None:
    path = path.format(subscription=rest.subscription, group=rest.group, workspace=rest.workspace)
    found = rest.error(method, path, version="2023-04-01" if "MachineLearning" in path else "2021-04-01")
    if "widgets" in path or "workspace" in path:
        found = rest.error(method, path)
    assert found[:2] == (status, code)
    assert message in found[2]


def test_a_body_that_is_no_json(rest: Rest, cloud: AzureCloud) -> None:
    token = rest._token
    for body in (b"{", b"[1]"):
        url = f"{MANAGEMENT}{rest.group}x?api-version=2021-04-01"
        answer = call(cloud, "PUT", url, body, token=token)
        assert (answer.status, json.loads(bytes(answer.body))["error"]["code"]) == (400, "InvalidRequestContent")


def test_a_refusal_is_in_the_audit_trail(cloud: AzureCloud, rest: Rest) -> None:
    rest("PUT", f"{rest.group}/providers/Microsoft.Compute/virtualMachines/vm1", version="2023-03-01")
    event = next(iter(cloud.engine.audit.events()))
    assert (event.operation, event.status, event.error) == (
        "PUT Microsoft.Compute/virtualMachines",
        501,
        "NotImplemented",
    )
    assert not event.read_only


def test_a_bug_is_answered_in_resource_managers_shape(
    rest: Rest, cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.resources, "below", lambda *_: 1 / 0)
    status, code, message = rest.error("GET", f"{rest.workspace}/models")
    assert (status, code) == (501, "NotImplemented")
    assert "ZeroDivisionError" in message
    assert "Microsoft.MachineLearningServices/workspaces/models/read" in message


def test_every_route_names_its_action_once() -> None:
    routes = arm.table().routes
    assert len({(route.method, route.path.lower()) for route in routes}) == len(routes)
    for route in routes:
        namespace, _, rest = route.needs.partition("/")
        assert namespace.startswith("Microsoft.")
        assert rest
        assert "{" not in route.needs
