"""Service principals for tests: made through Microsoft Graph, given roles through Resource Manager."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from labkit.cloud.azure import AzureCloud, roles
from tests.cloud.azure.in_process import MANAGEMENT, Rest, call, token

GRAPH = "https://graph.microsoft.com"
STORAGE = "https://storage.azure.com"


@dataclass
class Principal:
    """A service principal with its secret."""

    cloud: AzureCloud
    application: str
    client_id: str
    object_id: str
    secret: str

    def token(self, resource: str = MANAGEMENT) -> str:
        """An access token, got with the secret."""
        return str(self.sign_in(resource)[1]["access_token"])

    def sign_in(self, resource: str = MANAGEMENT, **changed: str) -> tuple[int, dict[str, Any]]:
        """What the sign-in host answers; ``changed`` are other values of the form."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.secret,
            "scope": f"{resource}/.default",
        } | changed
        url = f"https://login.microsoftonline.com/{self.cloud.identities.tenant}/oauth2/v2.0/token"
        answer = call(self.cloud, "POST", url, urlencode(form).encode())
        return answer.status, json.loads(bytes(answer.body))

    def rest(self) -> Rest:
        """Resource Manager, as this principal."""
        rest = Rest(self.cloud)
        rest._token = self.token()
        return rest

    def give(self, role: str, scope: str) -> tuple[int, Any]:
        """Has the learner give it a built-in role."""
        return assign(Rest(self.cloud), self.object_id, roles.named(role).guid, scope)


def assign(rest: Rest, principal: str, guid: str, scope: str, name: str = "", **more: Any) -> tuple[int, Any]:
    """Gives a role: (status, answer)."""
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name or uuid.uuid4()}"
    definition = f"{rest.subscription}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
    body = {"properties": {"roleDefinitionId": definition, "principalId": principal, **more}}
    return rest("PUT", path, body, version="2022-04-01")[:2]


def graph(cloud: AzureCloud, method: str, path: str, body: Any = None, credential: str = "") -> tuple[int, Any]:
    """One call to Microsoft Graph, as the learner unless told: (status, answer)."""
    answer = call(cloud, method, f"{GRAPH}/v1.0{path}", body, token=credential or token(cloud, GRAPH))
    return answer.status, json.loads(bytes(answer.body)) if answer.body else None


def make(cloud: AzureCloud, name: str) -> Principal:
    """A new application with a service principal and a secret."""
    _, application = graph(cloud, "POST", "/applications", {"displayName": name})
    _, principal = graph(cloud, "POST", "/servicePrincipals", {"appId": application["appId"]})
    _, secret = graph(cloud, "POST", f"/applications/{application['id']}/addPassword", {"passwordCredential": {}})
    return Principal(cloud, application["id"], application["appId"], principal["id"], secret["secretText"])
