"""Checks what ``intermediate/azure`` makes beside the pipeline: what its identity may do, and that nothing is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.labs import roles, trials
from labkit.labs.azure_rest import ROLES_API, WORKSPACES, assigned, custom_roles, group_id, resource, workspace_id
from labkit.labs.intermediate import azure_cloud
from labkit.labs.intermediate.azure_cloud import (
    CHEAP_CLUSTER,
    CLUSTER,
    COMPONENT,
    CONTAINER,
    DATASTORE,
    ENVIRONMENT,
    IDENTITIES_API,
    IDENTITY,
    MODEL,
    ROLE,
    SCHEDULE,
    STORAGE_API,
    container_id,
    endpoint_name,
    identity_id,
)
from labkit.labs.phrases import counted
from labkit.labs.task import NotAttempted, Work, Wrong
from labkit.labs.trials import Trial

READER = "Storage Blob Data Reader"
BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


@dataclass(frozen=True)
class Grant:
    """One role that the identity has, and where."""

    role: Mapping[str, Any]
    scope: str

    @property
    def name(self) -> str:
        return str(self.role["properties"]["roleName"])

    def allows(self, action: str, on: str) -> bool:
        permissions = self.role["properties"]["permissions"]
        data = action.startswith(BLOBS)
        return roles.within(self.scope, on) and any(roles.allows(each, action, data=data) for each in permissions)


def _grants() -> list[Grant]:
    """What the identity has been given; none where there is no identity."""
    identity = resource(identity_id(), IDENTITIES_API)
    found = []
    for each in assigned(identity["properties"]["principalId"]) if identity else []:
        definition = resource(each["properties"]["roleDefinitionId"], ROLES_API)
        if definition is not None:
            found.append(Grant(definition, each["properties"]["scope"]))
    return found


def _custom_role() -> dict[str, Any] | None:
    """The lab's own role, None where there is none."""
    return next((each for each in custom_roles() if each["properties"]["roleName"] == ROLE), None)


def role(_: Work) -> str:
    """The pipeline's identity may read one container and register models in one workspace, and nothing else."""
    expected = f"the role {ROLE} for {IDENTITY} on the workspace, and {READER} on the container {CONTAINER}"
    if resource(identity_id(), IDENTITIES_API) is None:
        raise NotAttempted(f"no managed identity {IDENTITY}", expected, "run the cells above: they make it")
    given, custom = _grants(), _custom_role()
    if not given and custom is None:
        raise NotAttempted(f"no role for {IDENTITY}", expected)
    if custom is None:
        raise Wrong(f"no role named {ROLE}", expected)
    if not given:
        raise Wrong(f"a role {ROLE} that nobody has given to {IDENTITY}", expected, "give(role_id, scope) does it")
    if all(each.name != ROLE for each in given):
        raise Wrong(f"{IDENTITY} with {_told(given)}, and without {ROLE}", expected)
    who = f"the identity {IDENTITY}"
    count = trials.run(who, _trials(given), lambda call: not call())
    more = [each for each in given if each.name not in (ROLE, READER)]
    if more:
        raise Wrong(f"{who} with {_told(more)} too", "two roles, and no more", "roles add up: take this one away")
    return f"{IDENTITY} with {_told(given)}: {count} things that it needs or must not do, each as it should be"


def _told(given: list[Grant]) -> str:
    return " and ".join(f"{each.name} on {each.scope.rpartition('/')[2]}" for each in given)


def _trials(given: list[Grant]) -> Iterator[Trial]:
    """What the identity needs, and what it must not be able to do."""
    here, container = workspace_id(), container_id()
    account = container.partition("/blobServices/")[0]
    own = f"{here}/models/{MODEL}/versions/1"

    def trial(what: str, action: str, on: str, needed: bool, hint: str = "") -> Trial:
        return Trial(what, needed, lambda: any(each.allows(action, on) for each in given), hint)

    def needs(what: str, action: str, on: str, hint: str = "") -> Trial:
        return trial(what, action, on, True, hint)

    def not_allowed(what: str, action: str, on: str, hint: str = "") -> Trial:
        return trial(what, action, on, False, hint)

    scope = "a role holds on its scope and all below: the narrowest one that is enough"
    yield needs("register versions of models", f"{WORKSPACES}/models/versions/write", own)
    yield needs("read versions of models", f"{WORKSPACES}/models/versions/read", own)
    yield needs(f"read blobs in {CONTAINER}", f"{BLOBS}/read", container, f"{READER}, given on the container")
    another = f"{group_id()}/providers/{WORKSPACES}/another"
    yield not_allowed(
        "register models in another workspace", f"{WORKSPACES}/models/versions/write", f"{another}/models/m", scope
    )
    yield not_allowed("delete versions of models", f"{WORKSPACES}/models/versions/delete", own)
    yield not_allowed("start jobs", f"{WORKSPACES}/jobs/write", f"{here}/jobs/job")
    yield not_allowed("deploy", f"{WORKSPACES}/onlineEndpoints/deployments/write", f"{here}/onlineEndpoints/e")
    yield not_allowed("call endpoints", f"{WORKSPACES}/onlineEndpoints/score/action", f"{here}/onlineEndpoints/e")
    yield not_allowed("make clusters", f"{WORKSPACES}/computes/write", f"{here}/computes/c")
    yield not_allowed("give roles", "Microsoft.Authorization/roleAssignments/write", here)
    yield not_allowed("list the secrets of datastores", f"{WORKSPACES}/datastores/listsecrets/action", here)
    yield not_allowed("list the keys of the storage", "Microsoft.Storage/storageAccounts/listKeys/action", account)
    yield not_allowed(
        f"write blobs in {CONTAINER}", f"{BLOBS}/write", container, f"the steps only read there: {READER} is enough"
    )
    yield not_allowed("read blobs in other containers", f"{BLOBS}/read", container_id("another"), scope)


# -- clean-up ------------------------------------------------------------------------------------------------------


def leftovers() -> dict[str, list[str]]:
    """What of this lab's is still there: the names by kind, most expensive kind first."""
    here = workspace_id()
    clusters = (CLUSTER, CHEAP_CLUSTER)
    identity = resource(identity_id(), IDENTITIES_API)
    found = {
        "endpoint": [endpoint_name()] if resource(f"{here}/onlineEndpoints/{endpoint_name()}") else [],
        "cluster": [name for name in clusters if resource(f"{here}/computes/{name}")],
        "schedule": [SCHEDULE] if azure_cloud.schedule() else [],
        "version": [f"{MODEL}:{each.name}" for each in azure_cloud.model_versions()],
        "component version": _active("components", COMPONENT),
        "environment version": _active("environments", ENVIRONMENT),
        "datastore": [DATASTORE] if resource(f"{here}/datastores/{DATASTORE}") else [],
        "container": [CONTAINER] if resource(container_id(), STORAGE_API) else [],
        "role": [ROLE] if _custom_role() else [],
        "identity": [IDENTITY] if identity else [],
    }
    return {kind: there for kind, there in found.items() if there}


def _active(kind: str, name: str) -> list[str]:
    return [f"{name}:{each['name']}" for each in azure_cloud.versions(kind, name)]


def cleanup(_: Work) -> str:
    """Nothing of the lab is left, and there was something once."""
    kept = leftovers()
    expected = "a workspace as empty as before the lab: versions archived, and jobs alone left as its history"
    ran = azure_cloud.pipeline_runs()
    if kept:
        deployed = any(version.stage == "Production" for version in azure_cloud.model_versions())
        untouched = ("endpoint" in kept or not deployed) and {
            "cluster",
            "datastore",
            "container",
            "identity",
        } <= kept.keys()
        found = "; ".join(counted(kind, there) for kind, there in kept.items())
        raise (NotAttempted if untouched else Wrong)(f"still there: {found}", expected)
    if not ran:
        raise NotAttempted("no trace of a run of the pipeline", "one that ran and was then deleted")
    return "no endpoint, cluster, schedule, asset, datastore, container, role or identity of this lab left"
