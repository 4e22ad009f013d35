"""What the checks of Azure's labs share: where the learner's resources are, and plain REST calls with a token.

Plain, so that what Azure answered is what is shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import requests

WORKSPACES = "Microsoft.MachineLearningServices/workspaces"
MANAGEMENT, GRAPH = "https://management.azure.com", "https://graph.microsoft.com"
STORAGE, SCORING = "https://storage.azure.com", "https://ml.azure.com"
#: Versions of Resource Manager's interfaces: the workspace's, and that of roles.
WORKSPACE_API, ROLES_API = "2024-10-01", "2022-04-01"
#: Seconds that one call may take.
PATIENCE = 60.0


def subscription() -> str:
    return os.environ["AZURE_SUBSCRIPTION_ID"]


def group_id() -> str:
    return f"/subscriptions/{subscription()}/resourceGroups/{os.environ['AZURE_RESOURCE_GROUP']}"


def workspace_id() -> str:
    return f"{group_id()}/providers/{WORKSPACES}/{os.environ['AZURE_ML_WORKSPACE']}"


def credential() -> Any:
    """A credential as the learner's own code makes it."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def token(audience: str) -> str:
    return str(credential().get_token(f"{audience}/.default").token)


def call(method: str, url: str, credential: str, body: Any = None, **headers: str) -> requests.Response:
    """One call with a token."""
    return requests.request(
        method,
        url,
        json=body if not isinstance(body, bytes) else None,
        data=body if isinstance(body, bytes) else None,
        headers={"Authorization": f"Bearer {credential}", **headers},
        timeout=PATIENCE,
    )


def arm(method: str, path: str, version: str, credential: str = "", body: Any = None) -> requests.Response:
    """One call to Resource Manager, as the learner unless told."""
    separator = "&" if "?" in path else "?"
    url = f"{MANAGEMENT}{path}{separator}api-version={version}"
    return call(method, url, credential or token(MANAGEMENT), body)


def graph(path: str) -> list[dict[str, Any]]:
    """What Microsoft Graph lists, as the learner."""
    answer = call("GET", f"{GRAPH}/v1.0{path}", token(GRAPH))
    answer.raise_for_status()
    return list(answer.json()["value"])


def resource(path: str, version: str = WORKSPACE_API) -> dict[str, Any] | None:
    """A resource, or None where there is none."""
    answer = arm("GET", path, version)
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    return dict(answer.json())


def listed(path: str, version: str = WORKSPACE_API) -> Iterator[dict[str, Any]]:
    """What Resource Manager lists, page by page; nothing where that of which it is a list is not there."""
    answer = arm("GET", path, version)
    while answer.status_code != 404:
        answer.raise_for_status()
        page = answer.json()
        yield from page["value"]
        if not page.get("nextLink"):
            return
        answer = call("GET", page["nextLink"], token(MANAGEMENT))


def assigned(principal: str) -> list[dict[str, Any]]:
    """The role assignments of a principal, at any scope."""
    path = f"/subscriptions/{subscription()}/providers/Microsoft.Authorization/roleAssignments"
    return list(listed(f"{path}?$filter=principalId eq '{principal}'", ROLES_API))


def custom_roles() -> list[dict[str, Any]]:
    """The custom roles that can be given in the resource group."""
    path = f"{group_id()}/providers/Microsoft.Authorization/roleDefinitions"
    return list(listed(f"{path}?$filter=type eq 'CustomRole'", ROLES_API))


def said(answer: requests.Response) -> str:
    """What Azure answered, in one line."""
    try:
        body = answer.json()
        error = body.get("error")
        message = error["message"] if isinstance(error, dict) else body.get("error_description", "")
    except ValueError:
        message = answer.headers.get("x-ms-error-code") or answer.text
    return f"{answer.status_code} {message.partition(' Trace ID')[0][:300]}"
