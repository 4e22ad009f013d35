"""The endpoint with an approved version: right, not attempted, and wrong one thing at a time, on one deployment."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.dummy import DummyClassifier

from labkit.labs.intermediate import azure_checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.intermediate.azure_world import World, opened

APPROVED = {"stage": "Production", "tags": {"approved": "AUC 0.92 on customers that it has not seen"}}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[World]:
    """A run, its version in production, and the endpoint that serves it."""
    with opened(tmp_path_factory.mktemp("azure")) as world:
        world.version(world.run(name="good", model=model_file.read_bytes()), **APPROVED)
        world.deploy()
        yield world


def test_right(deployed: World, azure_work: Work) -> None:
    assert azure_checks.approve(azure_work) == (
        f"version 1, in Production, at {deployed.online.name}; it answers 20 customers as its model does"
    )


def version(**changed: Any) -> Callable[[World], Callable[[], Any]]:
    """Says something else of the version; undone afterwards."""

    def change(world: World) -> Callable[[], Any]:
        run = world.jobs.run("good")
        world.version(run, **(APPROVED | changed))
        return lambda: world.version(run, **APPROVED)

    return change


def traffic(share: int) -> Callable[[World], Callable[[], Any]]:
    def change(world: World) -> Callable[[], Any]:
        world.online.make(traffic={"blue": share})
        return lambda: world.online.make(traffic={"blue": 100})

    return change


def archived(world: World) -> Callable[[], Any]:
    path = "models/churn-retrained/versions/1"
    world.put(path, {"isArchived": True})
    return lambda: world.put(path, {"isArchived": False})


def another_model(world: World) -> Callable[[], Any]:
    """Puts another model where the version's lies: one that says the same of all customers."""
    stream = io.BytesIO()
    joblib.dump(DummyClassifier().fit([[0], [0], [0]], [False, False, True]), stream)
    uri = world.jobs.steps(world.jobs.run("good"))["train"].outputs["model"].uri
    path = uri.partition("/paths/")[2] + "churn.joblib"
    kept = world.jobs.read(uri.rstrip("/"))["churn.joblib"]
    world.jobs.blob(path, stream.getvalue())
    return lambda: world.jobs.blob(path, kept)


def failed_run(world: World) -> Callable[[], Any]:
    run = world.jobs.run("good")
    run.status = "Failed"

    def undo() -> None:
        run.status = "Completed"

    return undo


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (version(stage="Staging"), "version 1, which is in Staging, at the endpoint"),
        (version(stage="production"), "version 1, which is in production, at the endpoint"),
        (version(tags={"approved": None}), "version 1 without a tag approved"),
        (version(tags={"approved": ""}), "version 1 without a tag approved"),
        (version(tags={"approved": "yes", "run": None}), "which no run of the pipeline registered, at the endpoint"),
        (version(tags={"approved": "yes", "auc": "0.99"}), r"with the tag auc '0\.99' for an AUC of 0\.9200"),
        (failed_run, "of a run that is Failed, at the endpoint"),
        (traffic(0), "0 % of the traffic for blue"),
        (archived, "a deployment of churn-retrained/versions/1"),
        (another_model, r"for customer 1, for whom the saved model says 0\.333333"),
    ],
    ids=["stage", "case", "no-tag", "empty", "no-run", "auc", "failed", "traffic", "archived", "model"],
)
def test_wrong(deployed: World, azure_work: Work, change: Callable[[World], Callable[[], Any]], found: str) -> None:
    undo = change(deployed)
    try:
        with pytest.raises(Wrong, match=found):
            azure_checks.approve(azure_work)
    finally:
        undo()


def test_before_it_is_deployed(azure_world: World, azure_work: Work) -> None:
    run = azure_world.run()
    azure_world.version(run)
    with pytest.raises(NotAttempted, match="no endpoint named churn-champion-"):
        azure_checks.approve(azure_work)
    azure_world.version(run, **APPROVED)
    with pytest.raises(Wrong, match="version 1 in the stage Production, and no endpoint churn-champion-"):
        azure_checks.approve(azure_work)
    azure_world.online.make()
    with pytest.raises(Wrong, match="an endpoint without a deployment named blue"):
        azure_checks.approve(azure_work)


def test_another_model_deployed_is_wrong(azure_world: World, azure_work: Work, model_file: Path) -> None:
    azure_world.version(azure_world.run(model=model_file.read_bytes()), **APPROVED)
    azure_world.put(
        "models/churn/versions/3",
        {"modelUri": "azureml://datastores/workspaceblobstore/paths/mine", "modelType": "custom_model"},
    )
    azure_world.jobs.blob("mine/churn.joblib", model_file.read_bytes())
    azure_world.deploy(3, "churn")
    with pytest.raises(Wrong, match="a deployment of churn/versions/3"):
        azure_checks.approve(azure_work)
