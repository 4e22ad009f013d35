"""What the pipeline's identity may do, and what is left at the end: right, not attempted, and wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labkit.labs.intermediate import azure_account, azure_checks, azure_schedule
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.intermediate.azure_world import REGISTRAR, World

WORK: Any = None
MODELS = "Microsoft.MachineLearningServices/workspaces/models"


def test_nothing_is_not_attempted(azure_world: World, azure_work: Work) -> None:
    for check in (
        azure_account.role,
        azure_checks.evaluate,
        azure_checks.gate,
        azure_checks.refused,
        azure_checks.registered,
        azure_checks.trigger,
        azure_schedule.schedule,
        azure_checks.approve,
        azure_checks.failure,
        azure_account.cleanup,
    ):
        with pytest.raises(NotAttempted):
            check(azure_work)


# -- role ----------------------------------------------------------------------------------------------------------


def test_role_not_attempted(azure_world: World) -> None:
    with pytest.raises(NotAttempted, match="no managed identity churn-pipeline"):
        azure_account.role(WORK)
    azure_world.identity()
    with pytest.raises(NotAttempted, match="no role for churn-pipeline"):
        azure_account.role(WORK)


def test_role_right(azure_world: World) -> None:
    azure_world.reads()
    azure_world.give(azure_world.define(), azure_world.here)
    assert azure_account.role(WORK) == (
        "churn-pipeline with Storage Blob Data Reader on churn-pipeline and churn-pipeline-registrar on mlops: 14 "
        "things that it needs or must not do, each as it should be"
    )


def test_a_read_of_the_workspace_more_is_right(azure_world: World) -> None:
    azure_world.reads()
    azure_world.give(azure_world.define(*REGISTRAR, "*/workspaces/read"), azure_world.here)
    assert "each as it should be" in azure_account.role(WORK)


def given(role: str = "", scope: Callable[[World], str] = lambda world: world.here) -> Callable[[World], None]:
    """Gives the right two roles, and one more."""

    def give(world: World) -> None:
        world.reads()
        world.give(world.define(), world.here)
        if role:
            world.give(role, scope(world))

    return give


def defined(*actions: str, scope: Callable[[World], str] = lambda world: world.here) -> Callable[[World], None]:
    """Gives a registrar of these actions, on a scope, and the right to read."""

    def give(world: World) -> None:
        world.reads()
        world.give(world.define(*actions), scope(world))

    return give


def only(role: str) -> Callable[[World], None]:
    def give(world: World) -> None:
        world.give(world.define(), world.here)
        world.reads(role)

    return give


def account(world: World) -> str:
    return world.container.partition("/blobServices/")[0]


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda world: (world.identity(), world.define()), "that nobody has given to churn-pipeline"),
        (lambda world: world.reads(), "no role named churn-pipeline-registrar"),
        (
            lambda world: (world.reads(), world.define()),
            "churn-pipeline with Storage Blob Data Reader on churn-pipeline, and without churn-pipeline-registrar",
        ),
        (lambda world: world.give(world.define(), world.here), "denied to read blobs in churn-pipeline"),
        (defined(*REGISTRAR[:2]), "denied to register versions of models"),
        (defined(REGISTRAR[1], REGISTRAR[2]), "denied to read versions of models"),
        (defined(f"{MODELS}/*"), "allowed to delete versions of models"),
        (defined("Microsoft.MachineLearningServices/workspaces/*"), "allowed to delete versions of models"),
        (
            defined(*REGISTRAR, "Microsoft.MachineLearningServices/workspaces/*/write"),
            "allowed to start jobs",
        ),
        (
            defined(*REGISTRAR, "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/*"),
            "allowed to deploy",
        ),
        (
            defined(*REGISTRAR, "Microsoft.Authorization/roleAssignments/*"),
            "allowed to give roles",
        ),
        (
            defined(*REGISTRAR, "Microsoft.MachineLearningServices/workspaces/datastores/listSecrets/action"),
            "allowed to list the secrets of datastores",
        ),
        (defined(*REGISTRAR, scope=lambda world: world.rest.group), "allowed to register models in another workspace"),
        (only("Storage Blob Data Contributor"), "allowed to write blobs in churn-pipeline"),
        (only("Storage Blob Data Owner"), "allowed to write blobs in churn-pipeline"),
        (given("Storage Blob Data Reader", account), "allowed to read blobs in other containers"),
        (given("Contributor"), "allowed to delete versions of models"),
        (given("AzureML Data Scientist"), "allowed to delete versions of models"),
        (given("Reader"), "with Reader on mlops too"),
    ],
    ids=[
        "not-given",
        "no-role",
        "reads-only",
        "no-data",
        "no-write",
        "no-read",
        "all-of-models",
        "all-of-workspace",
        "jobs",
        "endpoints",
        "roles",
        "secrets",
        "group",
        "data-contributor",
        "data-owner",
        "account",
        "contributor",
        "scientist",
        "reader",
    ],
)
def test_role_wrong(azure_world: World, make: Callable[[World], Any], found: str) -> None:
    make(azure_world)
    with pytest.raises(Wrong, match=found):
        azure_account.role(WORK)


# -- clean-up ------------------------------------------------------------------------------------------------------


def test_what_is_left_is_listed_and_then_nothing_is(azure_world: World) -> None:
    world, here = azure_world, azure_world.here
    world.put("environments/churn-pipeline/versions/1", {"image": "mcr.microsoft.com/image:latest"})
    world.give(world.define(), here)
    world.schedule()
    world.cluster("churn-cheap")
    world.register_pipeline()
    with pytest.raises(NotAttempted, match=r"still there: 2 clusters \(churn-cluster, churn-cheap\); the schedule .*"):
        azure_account.cleanup(WORK)
    world.version(world.run(), stage="Production")
    with pytest.raises(Wrong, match="still there: 2 clusters"):
        azure_account.cleanup(WORK)
    world.online.make()
    assert list(azure_account.leftovers()) == [
        "endpoint",
        "cluster",
        "schedule",
        "version",
        "component version",
        "environment version",
        "datastore",
        "container",
        "role",
        "identity",
    ]
    with pytest.raises(NotAttempted, match="the endpoint churn-champion-"):
        azure_account.cleanup(WORK)
    schedule = world.rest("GET", f"{here}/schedules/churn-monthly")[1]["properties"]
    world.put("schedules/churn-monthly", {**schedule, "isEnabled": False})
    for path in ("schedules/churn-monthly", "computes/churn-cluster", "computes/churn-cheap"):
        world.online.done("DELETE", f"{here}/{path}")
    with pytest.raises(
        Wrong, match="the version churn-retrained:1; the component version churn_monthly:1; the environment version"
    ):
        azure_account.cleanup(WORK)
    for each in ("models/churn-retrained", "components/churn_monthly", "environments/churn-pipeline"):
        world.put(f"{each}/versions/1", {"isArchived": True})
    world.online.done("DELETE", world.online.path)
    with pytest.raises(
        Wrong, match="still there: the datastore churn_pipeline; the container churn-pipeline; the role"
    ):
        azure_account.cleanup(WORK)
    assert world.rest("DELETE", f"{here}/datastores/churn_pipeline")[0] == 200
    assert world.rest("DELETE", world.container, version="2023-01-01")[0] in (200, 202)
    for each in world.rest("GET", f"{here}/providers/Microsoft.Authorization/roleAssignments", version="2022-04-01")[1][
        "value"
    ]:
        if each["properties"]["scope"] == here:
            world.rest("DELETE", each["id"], version="2022-04-01")
    definitions = f"{world.rest.group}/providers/Microsoft.Authorization/roleDefinitions"
    assert world.rest("DELETE", f"{definitions}/{world.define()}", version="2022-04-01")[0] == 200
    identity = f"{world.rest.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/churn-pipeline"
    assert world.rest("DELETE", identity, version="2023-01-31")[0] == 200
    assert azure_account.cleanup(WORK).startswith("no endpoint, cluster, schedule")


def test_an_empty_workspace_without_a_run_is_not_attempted(azure_world: World) -> None:
    with pytest.raises(NotAttempted, match="no trace of a run of the pipeline"):
        azure_account.cleanup(WORK)
