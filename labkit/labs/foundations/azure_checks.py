"""What the lab ``foundations/azure`` checks: it signs in as the identities that were made and tries what they can do.

Plain REST throughout, so that what Azure answered is what is shown.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import requests

from labkit.labs import roles
from labkit.labs.azure_rest import (
    ROLES_API,
    STORAGE,
    arm,
    assigned,
    call,
    custom_roles,
    graph,
    said,
    subscription,
)
from labkit.labs.beginner.azure_checks import explain, whoami
from labkit.labs.foundations.azure_identities import (
    CALLER,
    CONTAINERS,
    DEPLOYER,
    account_id,
    account_name,
    container_id,
    credentials,
    identity,
    sign_in,
)
from labkit.labs.foundations.azure_trail import action_of, events
from labkit.labs.task import NotAttempted, Work, Wrong

__all__ = ["boundary", "caller", "cleanup", "deployer", "explain", "policy", "rotate", "whoami"]

ROLE = "who-lab-writer"
SCORES, CUSTOMERS = "scores", "customers"
BLOB, PERSONAL = "2026-11.csv", "customers.csv"
#: The id of the built-in role Storage Blob Data Owner, the same in every tenant.
DATA_OWNER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
#: The days that a caller's secret may be good for.
LONGEST = 30


def deployer(work: Work) -> str:
    """The deployer's application has a service principal, and its secret signs in."""
    identity(work, DEPLOYER, "deployer.json")
    return f"{DEPLOYER}, an application with a service principal, whose secret signs in"


def caller(work: Work) -> str:
    """The same for the caller, with a secret that ends soon."""
    found = identity(work, CALLER, "caller.json")
    (application,) = graph(f"/applications?$filter=appId eq '{found['appId']}'")
    days = max(_days(each) for each in application["passwordCredentials"])
    if days > LONGEST:
        raise Wrong(
            f"a secret that is good for {days} days",
            f"one that ends within {LONGEST}",
            'addPassword takes "endDateTime" in "passwordCredential", such as "2026-12-01T00:00:00Z"',
        )
    return f"{CALLER}, whose secret signs in and ends within {LONGEST} days"


def _days(secret: Mapping[str, str]) -> int:
    """How many days a secret is good for."""
    starts, ends = (datetime.fromisoformat(secret[name]) for name in ("startDateTime", "endDateTime"))
    return (ends - starts).days


def policy(work: Work) -> str:
    """Each identity can do what it needs with the scores, and nothing with the customers."""
    mine = signed_in(work)
    if not any(assigned(each["id"]) for each in mine.values()):
        raise NotAttempted("no role assigned to either of them", "one role each, on the container scores")
    must = {
        "list the scores": lambda: blob(mine[DEPLOYER], "GET", f"{SCORES}?restype=container&comp=list"),
        "read the scores": lambda: blob(mine[DEPLOYER], "GET", f"{SCORES}/{BLOB}"),
        "write scores": lambda: blob(mine[DEPLOYER], "PUT", f"{SCORES}/checked.csv", b"customer,score\n"),
    }
    for what, tried in must.items():
        needs_allowed(DEPLOYER, what, tried())
    needs_allowed(CALLER, "read the scores", blob(mine[CALLER], "GET", f"{SCORES}/{BLOB}"))
    needs_denied(CALLER, "write scores", blob(mine[CALLER], "PUT", f"{SCORES}/refused.csv", b"x"))
    needs_denied(CALLER, "delete a blob of scores", blob(mine[CALLER], "DELETE", f"{SCORES}/checked.csv"))
    for name, who in mine.items():
        needs_denied(name, "read the customers", blob(who, "GET", f"{CUSTOMERS}/{PERSONAL}"))
        needs_denied(name, "list the customers", blob(who, "GET", f"{CUSTOMERS}?restype=container&comp=list"))
        needs_denied(name, "list the account's keys", arm_as(who, "POST", f"{account_id()}/listKeys", "2023-01-01"))
        needs_denied(name, "give itself a role", give_itself(who))
        needs_denied(name, "read the storage account's settings", arm_as(who, "GET", account_id(), "2023-01-01"))
        needs_one_role(name, who["id"])
    return "12 calls that are refused and 4 that are not, each tried as the identity; and no other role anywhere"


def boundary(work: Work) -> str:
    """A custom role in place of the built-in one, without deleting; and keys of the account that open nothing."""
    mine = signed_in(work)
    made = [each for each in custom_roles() if each["properties"]["roleName"] == ROLE]
    if not made:
        raise NotAttempted(
            f"no role named {ROLE}", f"a custom role {ROLE}, given to {DEPLOYER} on the container {SCORES}"
        )
    given = {each["properties"]["roleDefinitionId"].rpartition("/")[2] for each in assigned(mine[DEPLOYER]["id"])}
    if given != {made[0]["name"]}:
        raise Wrong(f"{DEPLOYER} with {len(given)} roles", f"{ROLE} alone", "take the built-in role away: roles add up")
    needs_one_role(DEPLOYER, mine[DEPLOYER]["id"])
    who = mine[DEPLOYER]
    needs_allowed(DEPLOYER, "write scores", blob(who, "PUT", f"{SCORES}/checked.csv", b"customer,score\n"))
    needs_allowed(DEPLOYER, "read the scores", blob(who, "GET", f"{SCORES}/{BLOB}"))
    needs_denied(DEPLOYER, "delete a blob of scores", blob(who, "DELETE", f"{SCORES}/checked.csv"))
    if may_delete(made[0]):
        raise Wrong(f"a {ROLE} that may delete the container", f"notActions with {CONTAINERS}/delete")
    needs_denied(DEPLOYER, "delete the container", arm_as(who, "DELETE", container_id(SCORES), "2023-01-01"))
    account = arm("GET", account_id(), "2023-01-01").json()
    if account["properties"]["allowSharedKeyAccess"]:
        raise Wrong(
            "an account whose keys open every container",
            "allowSharedKeyAccess false",
            'PATCH the account with {"properties": {"allowSharedKeyAccess": false}}',
        )
    return f"{DEPLOYER} writes and deletes nothing, and the account's keys open nothing"


def rotate(work: Work) -> str:
    """The new secret signs in, the old one does not."""
    expected = "a new secret in caller.json, and the one in caller-old.json removed"
    old, new = credentials(work, "caller-old.json"), credentials(work, "caller.json")
    if old["client_secret"] == new["client_secret"]:
        raise NotAttempted("the same secret as before", expected)
    answer = sign_in(new)
    if not answer.ok:
        raise Wrong(f"a new secret that does not work ({said(answer)})", expected)
    if sign_in(old).ok:
        raise Wrong("an old secret that still works", expected, "removePassword takes the keyId of the old one")
    caller(work)  # the new one has to end, too
    return "a new secret that signs in, and an old one that is refused"


def cleanup(work: Work) -> str:
    """Nothing of the lab is left, and there was something once."""
    kept = [
        f"the application {name}"
        for name in (DEPLOYER, CALLER)
        if graph(f"/applications?$filter=displayName eq '{name}'")
    ]
    kept += [f"the role {ROLE}" for each in custom_roles() if each["properties"]["roleName"] == ROLE]
    there = arm("GET", account_id(), "2023-01-01").ok
    kept += [f"the storage account {account_name()}"] if there else []
    if kept:
        untouched = len(kept) == 4
        raise (NotAttempted if untouched else Wrong)(f"{', '.join(kept)} still there", "nothing of this lab")
    made = [each for each in events(f"resourceUri eq '{account_id()}'") if action_of(each).endswith("/write")]
    if not made:
        raise NotAttempted("no trace of the storage account", "one that was used and then deleted")
    return "no application, no role and no storage account of this lab left"


# -- what the checks share -----------------------------------------------------------------------------------------


def signed_in(work: Work) -> dict[str, dict[str, Any]]:
    """Both service principals with their credentials (``known``); raises where there is none yet."""
    found = {}
    for name, file in ((DEPLOYER, "deployer.json"), (CALLER, "caller.json")):
        found[name] = {**identity(work, name, file), "known": credentials(work, file)}
    if not arm("GET", account_id(), "2023-01-01").ok:
        raise NotAttempted(f"no storage account {account_name()}", "the one that section 3 makes")
    return found


def blob(who: Mapping[str, Any], method: str, path: str, body: bytes | None = None) -> requests.Response:
    """One call to the account's blobs as an identity."""
    url = f"https://{account_name()}.blob.core.windows.net/{path}"
    headers = {"x-ms-version": "2023-11-03", **({"x-ms-blob-type": "BlockBlob"} if method == "PUT" else {})}
    return call(method, url, sign_in(who["known"], STORAGE).json()["access_token"], body, **headers)


def arm_as(who: Mapping[str, Any], method: str, path: str, version: str, body: Any = None) -> requests.Response:
    """One call to Resource Manager as an identity."""
    return arm(method, path, version, sign_in(who["known"]).json()["access_token"], body)


def give_itself(who: Mapping[str, Any]) -> requests.Response:
    """An identity's attempt to be the account's owner."""
    owner = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
    definition = f"/subscriptions/{subscription()}/providers/Microsoft.Authorization/roleDefinitions/{owner}"
    path = f"{account_id()}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    body = {"properties": {"roleDefinitionId": definition, "principalId": who["id"]}}
    return arm_as(who, "PUT", path, "2022-04-01", body)


def needs_allowed(name: str, what: str, answer: requests.Response) -> None:
    if not answer.ok:
        raise Wrong(f"that {name} cannot {what} ({said(answer)})", f"that {name} can")


def needs_denied(name: str, what: str, answer: requests.Response) -> None:
    if answer.ok:
        raise Wrong(f"that {name} can {what}", f"that {name} cannot", "a role that is narrower, or a scope that is")
    if answer.status_code != 403:
        raise Wrong(f"that {name} got {said(answer)} when it tried to {what}", "that it is denied")


def needs_one_role(name: str, principal: str) -> None:
    """One role, on the container: what another gives need not show in any call that is tried."""
    given = [each["properties"] for each in assigned(principal)]
    at = container_id(SCORES).lower()
    if len(given) == 1 and given[0]["scope"].lower() == at:
        if given[0]["roleDefinitionId"].endswith(DATA_OWNER):
            hint = "Storage Blob Data Owner also changes owners and permissions; Contributor reads, writes and lists"
            raise Wrong(f"that {name} has Storage Blob Data Owner", "nothing that it does not need", hint)
        return
    held = sorted(
        f"{arm('GET', each['roleDefinitionId'], ROLES_API).json()['properties']['roleName']} on "
        f"{f'the container {SCORES}' if each['scope'].lower() == at else each['scope']}"
        for each in given
    )
    raise Wrong(
        f"that {name} has {' and '.join(held)}",
        f"one role, on the container {SCORES}",
        "roles add up, wherever they were given: role_assignments.delete_by_id takes one away",
    )


def may_delete(role: Mapping[str, Any]) -> bool:
    """Whether a role may delete containers, so that the check need not try it."""
    return any(roles.allows(each, f"{CONTAINERS}/delete") for each in role["properties"]["permissions"])
