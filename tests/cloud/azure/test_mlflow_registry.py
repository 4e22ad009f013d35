"""Registered models in MLflow's interface, by an unmodified client and by REST: stages, tags, searches, refusals."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.azure import in_process
from tests.cloud.azure.jobs_world import Jobs

BASE = "/mlflow/v1.0{ws}/api/2.0/mlflow"


@pytest.fixture
def jobs(rest: in_process.Rest, name: str) -> Jobs:
    return Jobs(rest, name)


@pytest.fixture
def client(mlflow: Any) -> Iterator[Any]:
    """A client of MLflow; that stages are deprecated in favor of aliases, which Azure does not have, is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield mlflow.MlflowClient()


@pytest.fixture
def run(mlflow: Any, name: str, tmp_path: Path) -> str:
    """A run that has logged a folder ``model``."""
    mlflow.set_experiment(name)
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "MLmodel"), "model")
    return str(run.info.run_id)


def versions(client: Any, mlflow: Any, run: str, name: str, count: int) -> None:
    """A registered model with versions of what the run has logged."""
    client.create_registered_model(name, tags={"team": "a"}, description="grades wine")
    for _ in range(count):
        client.create_model_version(name, f"{mlflow.get_run(run).info.artifact_uri}/model", run)


def test_models_are_found_described_and_deleted(client: Any, mlflow: Any, run: str, name: str) -> None:
    versions(client, mlflow, run, name, 1)
    model = client.get_registered_model(name)
    assert (model.description, model.tags, model.latest_versions[0].version) == ("grades wine", {"team": "a"}, "1")
    assert [each.name for each in client.search_registered_models(f"name='{name}'")] == [name]
    assert [each.name for each in client.search_registered_models(f"name ILIKE '{name[:-1].upper()}%'")] == [name]
    assert client.search_registered_models(f"name LIKE '{name}-%'") == []
    assert [each.name for each in client.search_registered_models(f"name='{name}' and tags.team='a'")] == [name]
    assert client.search_registered_models(f"name='{name}' and tags.`team` != 'a'") == []
    assert name in [each.name for each in client.search_registered_models(order_by=["name DESC"])]
    client.update_registered_model(name, "grades whisky")
    client.set_registered_model_tag(name, "team", "b")
    client.set_registered_model_tag(name, "year", "1")
    client.delete_registered_model_tag(name, "year")
    model = client.get_registered_model(name)
    assert (model.description, model.tags) == ("grades whisky", {"team": "b"})
    client.delete_registered_model(name)
    assert client.search_registered_models(f"name='{name}'") == []


def test_stages_are_the_workspaces(client: Any, mlflow: Any, run: str, jobs: Jobs, name: str) -> None:
    versions(client, mlflow, run, name, 3)
    client.transition_model_version_stage(name, 1, "staging")
    assert client.transition_model_version_stage(name, 2, "Staging", True).current_stage == "Staging"
    found = {each.version: each.current_stage for each in client.search_model_versions(f"name='{name}'")}
    assert found == {"3": "None", "2": "Staging", "1": "Archived"}
    assert [each.version for each in client.get_latest_versions(name, ["Staging"])] == ["2"]
    assert {each.version for each in client.get_latest_versions(name)} == {"1", "2", "3"}
    path = f"{jobs.rest.workspace}/models/{name}/versions"
    assert jobs.rest("GET", f"{path}/2")[1]["properties"]["stage"] == "Staging"
    listed = jobs.rest("GET", path, stage="Archived")[1]["value"]
    assert [each["name"] for each in listed] == ["1"]


def test_versions_are_described_tagged_and_deleted(client: Any, mlflow: Any, run: str, jobs: Jobs, name: str) -> None:
    versions(client, mlflow, run, name, 2)
    client.update_model_version(name, "1", "the first")
    client.set_model_version_tag(name, "1", "gate", "passed")
    client.set_model_version_tag(name, "1", "old", "x")
    client.delete_model_version_tag(name, "1", "old")
    first = client.get_model_version(name, "1")
    assert (first.description, first.tags, first.run_id) == ("the first", {"gate": "passed"}, run)
    shown = jobs.rest("GET", f"{jobs.rest.workspace}/models/{name}/versions/1")[1]["properties"]
    assert (shown["description"], shown["tags"]) == ("the first", {"gate": "passed"})
    assert [each.version for each in client.search_model_versions(f"run_id='{run}'")] == ["2", "1"]
    ascending = client.search_model_versions(f"name='{name}'", order_by=["version_number ASC"], max_results=1)
    assert ([each.version for each in ascending], bool(ascending.token)) == (["1"], True)
    client.delete_model_version(name, "2")
    assert [each.version for each in client.search_model_versions(f"name='{name}'")] == ["1"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("PATCH", "registered-models/update", {"name": "none"}, 404, "Registered Model with name=none not found"),
        ("POST", "model-versions/transition-stage", {"name": "none", "version": "1"}, 404, "(name=none, version=1)"),
        ("GET", "registered-models/search?filter=size%3D%27b%27", None, 400, "it compares name and tags."),
        ("GET", "model-versions/search?order_by=size", None, 400, "cannot order by 'size'"),
        ("DELETE", "model-versions/delete", {}, 404, "Model Version (name=, version=) not found"),
        ("POST", "registered-models/rename", {}, 501, "registered-models/rename"),
        ("POST", "registered-models/alias", {}, 501, "registered-models/alias"),
    ],
)
def test_what_cannot_be_done(jobs: Jobs, method: str, path: str, body: Any, status: int, message: str) -> None:
    said = jobs.services(method, f"{BASE}/{path}", body)
    assert (said[0], message in said[1]["message"]) == (status, True), json.dumps(said[1])


def test_stages_that_there_are_not(client: Any, mlflow: Any, run: str, jobs: Jobs, name: str) -> None:
    versions(client, mlflow, run, name, 1)
    body = {"name": name, "version": "1", "stage": "Live"}
    status, answer = jobs.services("POST", f"{BASE}/model-versions/transition-stage", body)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer["message"].startswith("Invalid Model Version stage: Live. Value must be one of None, Staging")
    body |= {"stage": "Archived", "archive_existing_versions": True}
    status, answer = jobs.services("POST", f"{BASE}/model-versions/transition-stage", body)
    assert (status, "unless the stage is active" in answer["message"]) == (400, True)
