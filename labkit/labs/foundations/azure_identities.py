"""The identities of the lab ``foundations/azure`` and what they are given: found in the tenant, and signed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from labkit.labs.azure_rest import MANAGEMENT, PATIENCE, graph, group_id, said, subscription
from labkit.labs.beginner.churn import shown
from labkit.labs.foundations.files import record
from labkit.labs.task import NotAttempted, Work, Wrong

DEPLOYER, CALLER = "who-lab-deployer", "who-lab-caller"
CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
#: What a program needs to sign in.
CREDENTIALS = ("tenant_id", "client_id", "client_secret")


def account_name() -> str:
    """The storage account. Such names are unique in all of Azure, so the subscription is part of it."""
    return f"wholab{subscription()[:8]}"


def account_id() -> str:
    return f"{group_id()}/providers/Microsoft.Storage/storageAccounts/{account_name()}"


def container_id(name: str) -> str:
    return f"{account_id()}/blobServices/default/containers/{name}"


def sign_in(known: Mapping[str, str], resource: str = MANAGEMENT) -> requests.Response:
    """What the sign-in host answers to an application's id and secret."""
    url = f"https://login.microsoftonline.com/{known.get('tenant_id', '')}/oauth2/v2.0/token"
    form = {
        "grant_type": "client_credentials",
        "client_id": known.get("client_id", ""),
        "client_secret": known.get("client_secret", ""),
        "scope": f"{resource}/.default",
    }
    return requests.post(url, data=form, timeout=PATIENCE)


def identity(work: Work, name: str, file: str) -> dict[str, Any]:
    """The service principal of this name, whose credentials are in the file."""
    path = shown(work, work.folder / "build" / file)
    expected = f"an application {name} with a service principal, and its secret in {path}"
    applications = graph(f"/applications?$filter=displayName eq '{name}'")
    if not applications:
        raise NotAttempted(f"no application named {name}", expected)
    if len(applications) > 1:
        raise Wrong(
            f"{len(applications)} applications named {name}",
            "one",
            f"forget({name!r}) deletes them all; then run your own cell again",
        )
    principals = graph(f"/servicePrincipals?$filter=appId eq '{applications[0]['appId']}'")
    if not principals:
        raise Wrong(
            f"an application {name} without a service principal",
            expected,
            'POST /servicePrincipals with {"appId": ...} makes it: roles are given to it, not to the application',
        )
    known = credentials(work, file)
    if known["client_id"] != applications[0]["appId"]:
        raise Wrong(f"the client_id {known['client_id']!r} in {path}", f"the appId of {name}")
    answer = sign_in(known)
    if not answer.ok:
        raise Wrong(f"that {name} cannot sign in ({said(answer)})", "a secret that works")
    return principals[0]


def credentials(work: Work, file: str) -> dict[str, Any]:
    """An application's tenant, id and secret, as the task keeps them."""
    return record(
        work, file, CREDENTIALS, ", ".join(CREDENTIALS), "save(...), in the cell of the task, writes all three"
    )
