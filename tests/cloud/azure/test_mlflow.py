"""MLflow's interface of a workspace: what is logged, found again, refused; and the plugin that leads clients there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from labkit.cloud.azure import mlflow_filters
from labkit.cloud.azure.errors import AzureError
from tests.cloud.azure import in_process
from tests.cloud.azure.jobs_world import Jobs

BASE = "/mlflow/v1.0{ws}/api/2.0/mlflow"


@pytest.fixture
def jobs(rest: in_process.Rest, name: str) -> Jobs:
    return Jobs(rest, name)


def experiment(jobs: Jobs) -> str:
    _, answer = jobs.services("POST", f"{BASE}/experiments/create", {"name": jobs.name})
    return str(answer["experiment_id"])


def logged(jobs: Jobs, experiment_id: str, **metrics: float) -> str:
    """A run with these metrics; its id."""
    _, answer = jobs.services("POST", f"{BASE}/runs/create", {"experiment_id": experiment_id, "run_name": "one"})
    run = answer["run"]["info"]["run_id"]
    points = [{"key": key, "value": value, "timestamp": 1, "step": 0} for key, value in metrics.items()]
    jobs.services(
        "POST", f"{BASE}/runs/log-batch", {"run_id": run, "metrics": points, "params": [{"key": "k", "value": "v"}]}
    )
    return str(run)


def test_an_unmodified_client(mlflow: Any, name: str, tmp_path: Path) -> None:
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name="first") as run:
        mlflow.log_param("depth", 3)
        mlflow.log_metric("auc", 0.5, step=1)
        mlflow.log_metric("auc", 0.75, step=2)
        mlflow.set_tag("team", "a")
        mlflow.log_text("hello", "notes/a.txt")
    with mlflow.start_run():
        mlflow.log_metric("auc", 0.25)
    client = mlflow.MlflowClient()
    found = client.get_run(run.info.run_id)
    assert (found.data.metrics, found.data.params, found.data.tags["team"]) == ({"auc": 0.75}, {"depth": "3"}, "a")
    assert (found.info.status, found.info.run_name) == ("FINISHED", "first")
    assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "auc")] == [
        (1, 0.5),
        (2, 0.75),
    ]
    best = mlflow.search_runs(experiment_names=[name], order_by=["metrics.auc DESC"])
    assert list(best["metrics.auc"]) == [0.75, 0.25]
    assert len(mlflow.search_runs(experiment_names=[name], filter_string="metrics.auc > 0.5 and tags.team = 'a'")) == 1
    assert [(each.path, each.is_dir) for each in client.list_artifacts(run.info.run_id)] == [("notes", True)]
    path = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="notes/a.txt", dst_path=str(tmp_path)
    )
    assert Path(path).read_text() == "hello"


def test_a_job_measures_itself(jobs: Jobs) -> None:
    code = jobs.code(
        main="""
        import json, os, urllib.request
        base = os.environ["MLFLOW_TRACKING_URI"].replace("azureml:", "https:")
        print(base, os.environ["MLFLOW_RUN_ID"])
        """
    )
    run = jobs.ended(jobs.command("python main.py", codeId=code, experimentName=jobs.name))
    said = jobs.log(run).split()
    assert said == [f"https://eastus.api.azureml.ms/mlflow/v1.0{jobs.rest.workspace}", run.name]
    metric = {"run_id": run.name, "key": "auc", "value": 0.9, "timestamp": 1_000, "step": 0}
    assert jobs.services("POST", f"{BASE}/runs/log-metric", metric)[0] == 200
    _, shown = jobs.services("GET", f"{BASE}/runs/get?run_id={run.name}")
    assert shown["run"]["data"]["metrics"] == [{"key": "auc", "value": 0.9, "timestamp": 1_000, "step": 0}]
    # How its code ends the run is not how the job ends.
    jobs.services("POST", f"{BASE}/runs/update", {"run_id": run.name, "status": "FAILED"})
    assert run.status == "Completed"


def test_numbers_that_json_does_not_have(jobs: Jobs) -> None:
    run = logged(jobs, experiment(jobs))
    for value in ("NaN", "Infinity"):
        jobs.services("POST", f"{BASE}/runs/log-metric", {"run_id": run, "key": value, "value": value, "timestamp": 1})
    _, shown = jobs.services("GET", f"{BASE}/runs/get?run_id={run}")
    assert {each["key"]: each["value"] for each in shown["run"]["data"]["metrics"]} == {
        "NaN": "NaN",
        "Infinity": "Infinity",
    }


def test_experiments_are_listed_as_by_older_clients(jobs: Jobs) -> None:
    identifier = experiment(jobs)
    _, answer = jobs.services("GET", f"{BASE}/experiments/list")
    assert identifier in [each["experiment_id"] for each in answer["experiments"]]
    status, answer = jobs.services("GET", f"{BASE}/experiments/search?filter=name%3D%27a%27")
    assert (status, answer["message"]) == (400, "Filters of experiments are not served by the local clouds.")


def test_what_cannot_be_logged_or_found(jobs: Jobs) -> None:
    run = logged(jobs, experiment(jobs))
    for path, body, status, code, message in (
        (
            "runs/log-parameter",
            {"run_id": run, "key": "k", "value": "w"},
            400,
            "INVALID_PARAMETER_VALUE",
            "not allowed",
        ),
        ("runs/log-parameter", {"run_id": run}, 400, "INVALID_PARAMETER_VALUE", "required parameter 'key'"),
        ("runs/log-metric", {"run_id": run, "key": "m", "value": "x"}, 400, "INVALID_PARAMETER_VALUE", "is no number"),
        (
            "runs/log-metric",
            {"run_id": run, "key": "m", "value": 1, "timestamp": "now"},
            400,
            "INVALID_PARAMETER_VALUE",
            "no time in milliseconds: 'now'",
        ),
        ("runs/log-batch", {"run_id": run, "metrics": 5}, 400, "INVALID_PARAMETER_VALUE", "'metrics': it has to be a"),
        ("runs/search", {"experiment_ids": "x"}, 400, "INVALID_PARAMETER_VALUE", "'experiment_ids': it has to be a"),
        ("runs/search", {"max_results": "x"}, 400, "INVALID_PARAMETER_VALUE", "Invalid value 'x' for parameter 'max_"),
        ("runs/log-metric", {"run_id": "nobody"}, 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nobody not found"),
        ("runs/delete-tag", {"run_id": run, "key": "t"}, 404, "RESOURCE_DOES_NOT_EXIST", "No tag with name: t"),
        ("runs/create", {"experiment_id": "x"}, 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=x exists"),
        ("experiments/create", {"name": jobs.name}, 400, "RESOURCE_ALREADY_EXISTS", "already exists"),
        ("logged-models", {"experiment_id": "x"}, 400, "INVALID_PARAMETER_VALUE", "'source_run_id'"),
        ("traces", {}, 501, "NotImplemented", "mlflow/traces"),
    ):
        said = jobs.services("POST", f"{BASE}/{path}", body)
        assert (said[0], said[1]["error_code"]) == (status, code), (path, said)
        assert message in said[1]["message"]


def test_runs_are_deleted_and_restored(jobs: Jobs) -> None:
    where = experiment(jobs)
    run = logged(jobs, where)

    def found(view: str) -> list[str]:
        _, answer = jobs.services(
            "POST", f"{BASE}/runs/search", {"experiment_ids": [where], "run_view_type": view, "max_results": 10}
        )
        return [each["info"]["run_id"] for each in answer["runs"]]

    jobs.services("POST", f"{BASE}/runs/delete", {"run_id": run})
    assert (found("ACTIVE_ONLY"), found("DELETED_ONLY"), found("ALL")) == ([], [run], [run])
    jobs.services("POST", f"{BASE}/runs/restore", {"run_id": run})
    assert found("ACTIVE_ONLY") == [run]


def test_pages_of_a_search(jobs: Jobs) -> None:
    where = experiment(jobs)
    runs = [logged(jobs, where, auc=number) for number in range(3)]
    body = {"experiment_ids": [where], "max_results": 2, "order_by": ["metrics.auc ASC"]}
    _, first = jobs.services("POST", f"{BASE}/runs/search", body)
    _, second = jobs.services("POST", f"{BASE}/runs/search", body | {"page_token": first["next_page_token"]})
    shown = [each["info"]["run_id"] for page in (first, second) for each in page["runs"]]
    assert shown == runs
    assert "next_page_token" not in second


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", True),
        ("metrics.auc >= 0.9", True),
        ("metrics.auc < 0.9", False),
        ("metrics.`a b` = 2", True),
        ("params.model = 'forest' and metrics.auc > 0.5", True),
        ("params.model != 'forest'", False),
        ("params.model LIKE 'for%'", True),
        ("params.model ilike 'FOR%'", True),
        ("params.model IN ('a', 'forest')", True),
        ("tags.team NOT IN ('a')", False),
        ("attributes.status = 'FINISHED'", True),
        ("run_name = 'first'", True),
        ("metrics.other > 0", False),
    ],
)
def test_filters(text: str, chosen: bool) -> None:
    run = {
        "info": {"status": "FINISHED", "run_name": "first"},
        "data": {
            "metrics": [{"key": "auc", "value": 0.9}, {"key": "a b", "value": 2}],
            "params": [{"key": "model", "value": "forest"}],
            "tags": [{"key": "team", "value": "a"}],
        },
    }
    assert mlflow_filters.parse(text)(run) is chosen


@pytest.mark.parametrize("text", ["metrics.auc", "metrics.auc > 0.5 or metrics.x > 1", "nonsense.x = 1", "odd = 1"])
def test_filters_that_cannot_be_read(text: str) -> None:
    with pytest.raises(AzureError) as caught:
        mlflow_filters.parse(text)({"info": {}, "data": {"metrics": [], "params": [], "tags": []}})
    assert caught.value.code == "INVALID_PARAMETER_VALUE"


def test_a_logged_model_is_registered(jobs: Jobs) -> None:
    run = logged(jobs, experiment(jobs))
    _, made = jobs.services("POST", f"{BASE}/logged-models", {"source_run_id": run, "name": "model"})
    model = made["model"]["info"]
    assert (model["status"], model["source_run_id"]) == ("LOGGED_MODEL_PENDING", run)
    assert (
        jobs.services("PUT", f"/mlflow/v1.0{{ws}}/api/2.0/mlflow-artifacts/artifacts/{run}/model/MLmodel", {})[0] == 200
    )
    ready = {"status": "LOGGED_MODEL_READY"}
    assert jobs.services("PATCH", f"{BASE}/logged-models/{model['model_id']}", ready)[1]["model"]["info"] == model | (
        ready | {"last_updated_timestamp_ms": ANY}
    )
    assert jobs.services("POST", f"{BASE}/registered-models/create", {"name": jobs.name})[0] == 200
    again = jobs.services("POST", f"{BASE}/registered-models/create", {"name": jobs.name})
    assert (again[0], again[1]["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
    for number, source in enumerate((f"models:/{model['model_id']}", model["artifact_uri"]), 1):
        body = {"name": jobs.name, "source": source, "run_id": run}
        _, answer = jobs.services("POST", f"{BASE}/model-versions/create", body)
        assert (answer["model_version"]["version"], answer["model_version"]["status"]) == (str(number), "READY")
    _, version, _ = jobs.rest("GET", f"{jobs.rest.workspace}/models/{jobs.name}/versions/2")
    shown = version["properties"]
    assert (shown["modelType"], shown["jobName"]) == ("mlflow_model", run)
    assert list(jobs.read(shown["modelUri"])) == ["MLmodel"]
    _, found = jobs.services("GET", f"{BASE}/model-versions/search?filter=name%3D%27{jobs.name}%27")
    assert [each["version"] for each in found["model_versions"]] == ["2", "1"]
    _, listed = jobs.services("POST", f"{BASE}/logged-models/search", {"experiment_ids": [model["experiment_id"]]})
    assert [each["info"]["model_id"] for each in listed["models"]] == [model["model_id"]]


def test_models_that_cannot_be_registered(jobs: Jobs) -> None:
    for method, path, body, status, message in (
        (
            "POST",
            "model-versions/create",
            {"name": "nothing", "source": "x"},
            404,
            "Registered Model with name=nothing",
        ),
        ("GET", "logged-models/m-none", None, 404, "Logged model with ID 'm-none' not found."),
        ("GET", "model-versions/get?name=a&version=1", None, 404, "Model Version (name=a, version=1) not found"),
        ("POST", "logged-models/search", {"filter": "metrics.auc > 1"}, 400, "cannot read the filter"),
        ("POST", "registered-models/alias", {}, 501, "registered-models/alias"),
    ):
        said = jobs.services(method, f"{BASE}/{path}", body)
        assert (said[0], message in said[1]["message"]) == (status, True), said
