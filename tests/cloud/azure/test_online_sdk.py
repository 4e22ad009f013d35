"""Online endpoints through an unmodified azure-ai-ml: Microsoft's own how-to, and the errors on its way.

https://learn.microsoft.com/azure/machine-learning/how-to-deploy-online-endpoints (the Python tabs).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from tests.cloud.azure.in_process import raised

SCORE = """
import json, logging, os
import joblib, numpy
def init():
    global model
    path = os.path.join(os.getenv("AZUREML_MODEL_DIR"), "model/sklearn_regression_model.pkl")
    model = joblib.load(path)
    logging.info("Init complete")
def run(raw_data):
    data = numpy.array(json.loads(raw_data)["data"])
    return model.predict(data).tolist()
"""
CONDA = """
name: model-env
channels: [conda-forge]
dependencies:
  - python
  - numpy
  - pip
  - scikit-learn
  - pip:
      - azureml-inference-server-http
"""
IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"


class Project:
    """A learner's folder, and what the SDK makes of it."""

    def __init__(self, folder: Path, sdk: Any) -> None:
        import joblib
        import numpy
        from sklearn.linear_model import Ridge

        self.folder, self.entities = folder, sdk.entities
        random = numpy.random.default_rng(7)
        self.rows = random.normal(size=(200, 10))
        self.model = Ridge().fit(self.rows, self.rows @ random.normal(size=10) + 1)
        (folder / "model").mkdir()
        joblib.dump(self.model, folder / "model" / "sklearn_regression_model.pkl")
        self.write("conda.yaml", CONDA)
        self.write("onlinescoring/score.py", SCORE)
        self.write("sample-request.json", json.dumps({"data": self.rows[:2].tolist()}))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def deployment(self, endpoint: str, name: str = "blue", **settings: Any) -> Any:
        entities = self.entities
        code = entities.CodeConfiguration(code=str(self.folder / "onlinescoring"), scoring_script="score.py")
        given: dict[str, Any] = {
            "model": entities.Model(path=self.folder / "model"),
            "environment": entities.Environment(conda_file=self.folder / "conda.yaml", image=IMAGE),
            "code_configuration": code,
            "instance_type": "Standard_DS3_v2",
            "instance_count": 1,
            **settings,
        }
        return entities.ManagedOnlineDeployment(name=name, endpoint_name=endpoint, **given)


@pytest.fixture
def project(tmp_path: Path, sdk: Any) -> Project:
    return Project(tmp_path, sdk)


@pytest.fixture
def quiet() -> Iterator[None]:
    """The SDK's own warnings, of experimental classes and the like, are none of the tests'."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


pytestmark = pytest.mark.usefixtures("quiet")


def test_microsofts_how_to(ml: Any, project: Project, name: str) -> None:
    entities = project.entities
    endpoint = entities.ManagedOnlineEndpoint(
        name=name, description="this is a sample endpoint", auth_mode="key", tags={"a": "b"}
    )
    made = ml.online_endpoints.begin_create_or_update(endpoint).result()
    assert (made.provisioning_state, made.auth_mode, made.tags) == ("Succeeded", "key", {"a": "b"})
    assert made.scoring_uri == f"https://{name}.eastus.inference.ml.azure.com/score"
    blue = ml.online_deployments.begin_create_or_update(project.deployment(name)).result()
    assert (blue.provisioning_state, blue.instance_count, blue.instance_type) == ("Succeeded", 1, "Standard_DS3_v2")
    assert (blue.request_settings.request_timeout_ms, blue.request_settings.max_concurrent_requests_per_instance) == (
        5000,
        1,
    )
    made.traffic = {"blue": 100}
    assert ml.online_endpoints.begin_create_or_update(made).result().traffic == {"blue": 100}
    assert ml.online_endpoints.get(name).description == "this is a sample endpoint"
    assert name in [each.name for each in ml.online_endpoints.list()]
    answer = ml.online_endpoints.invoke(
        endpoint_name=name, deployment_name="blue", request_file=project.folder / "sample-request.json"
    )
    assert json.loads(answer) == pytest.approx(project.model.predict(project.rows[:2]))
    logs = ml.online_deployments.get_logs(name="blue", endpoint_name=name, lines=50)
    assert "Instance status:" in logs
    assert "Worker with pid" in logs
    storage = ml.online_deployments.get_logs("blue", name, lines=10, container_type="storage-initializer")
    assert "Downloaded the model" in storage

    blue.instance_count = 2
    blue.request_settings = entities.OnlineRequestSettings(request_timeout_ms=10_000)
    scaled = ml.online_deployments.begin_create_or_update(blue).result()
    assert (scaled.instance_count, scaled.request_settings.request_timeout_ms) == (2, 10_000)
    assert [each.name for each in ml.online_deployments.list(name)] == ["blue"]
    ml.online_endpoints.begin_delete(name=name).result()
    assert raised(lambda: ml.online_endpoints.get(name)).status_code == 404


def test_200_rows_are_predicted_as_the_model_does(ml: Any, project: Project, name: str) -> None:
    entities = project.entities
    ml.online_endpoints.begin_create_or_update(entities.ManagedOnlineEndpoint(name=name)).result()
    model = ml.models.create_or_update(entities.Model(path=project.folder / "model", name=f"{name}-model"))
    environment = ml.environments.create_or_update(
        entities.Environment(conda_file=project.folder / "conda.yaml", image=IMAGE, name=f"{name}-env")
    )
    ml.online_deployments.begin_create_or_update(
        project.deployment(name, model=model, environment=f"azureml:{environment.name}:{environment.version}")
    ).result()
    request = project.write("all.json", json.dumps({"data": project.rows.tolist()}))
    answer = ml.online_endpoints.invoke(name, request_file=request, deployment_name="blue")
    assert json.loads(answer) == project.model.predict(project.rows).tolist()
    ml.online_endpoints.begin_delete(name).result()


def test_keys_and_tokens(ml: Any, reached: AzureCloud, project: Project, name: str) -> None:
    endpoint = project.entities.ManagedOnlineEndpoint(name=name, auth_mode="key")
    endpoint = ml.online_endpoints.begin_create_or_update(endpoint).result()
    old = ml.online_endpoints.get_keys(name)
    ml.online_endpoints.begin_regenerate_keys(name, key_type="primary").result()
    new = ml.online_endpoints.get_keys(name)
    assert (new.primary_key != old.primary_key, new.secondary_key) == (True, old.secondary_key)
    ml.online_endpoints.begin_regenerate_keys(name, key_type="secondary").result()
    assert ml.online_endpoints.get_keys(name).secondary_key != old.secondary_key
    for mode in ("aml_token", "aad_token"):
        endpoint.auth_mode = mode
        endpoint = ml.online_endpoints.begin_create_or_update(endpoint).result()
        assert endpoint.auth_mode == mode
        credential = ml.online_endpoints.get_keys(name)
        assert credential.access_token.count(".") == 2
    ml.online_endpoints.begin_delete(name).result()


@pytest.mark.parametrize("mode", ["aml_token", "aad_token"])
def test_invoke_with_a_token(ml: Any, project: Project, name: str, mode: str) -> None:
    endpoint = project.entities.ManagedOnlineEndpoint(name=name, auth_mode=mode)
    ml.online_endpoints.begin_create_or_update(endpoint).result()
    ml.online_deployments.begin_create_or_update(project.deployment(name)).result()
    answer = ml.online_endpoints.invoke(
        name, request_file=project.folder / "sample-request.json", deployment_name="blue"
    )
    assert json.loads(answer) == pytest.approx(project.model.predict(project.rows[:2]))
    ml.online_endpoints.begin_delete(name).result()


def test_blue_and_green(ml: Any, project: Project, name: str) -> None:
    entities = project.entities
    endpoint = ml.online_endpoints.begin_create_or_update(entities.ManagedOnlineEndpoint(name=name)).result()
    for each in ("blue", "green"):
        ml.online_deployments.begin_create_or_update(project.deployment(name, each)).result()
    endpoint.traffic, endpoint.mirror_traffic = {"blue": 100, "green": 0}, {"green": 10}
    changed = ml.online_endpoints.begin_create_or_update(endpoint).result()
    assert (changed.traffic, changed.mirror_traffic) == ({"blue": 100}, {"green": 10})

    changed.traffic, changed.mirror_traffic = {"blue": 70, "green": 70}, {}
    error = raised(lambda: ml.online_endpoints.begin_create_or_update(changed).result())
    assert error.status_code == 400
    assert "Traffic values need to sum to 0 or 100, but they sum to 140." in str(error)
    changed.traffic = {"blue": 0, "green": 100}
    ml.online_endpoints.begin_create_or_update(changed).result()
    error = raised(lambda: ml.online_deployments.begin_delete(name="green", endpoint_name=name).result())
    assert "You can't delete a deployment that has live traffic allocated to it" in str(error)
    ml.online_deployments.begin_delete(name="blue", endpoint_name=name).result()
    assert [each.name for each in ml.online_deployments.list(name)] == ["green"]
    ml.online_endpoints.begin_delete(name).result()


def test_a_failed_deployments_error_says_what_the_script_said(ml: Any, project: Project, name: str) -> None:
    ml.online_endpoints.begin_create_or_update(project.entities.ManagedOnlineEndpoint(name=name)).result()
    project.write("onlinescoring/score.py", SCORE.replace("sklearn_regression_model.pkl", "model.pkl"))
    error = raised(lambda: ml.online_deployments.begin_create_or_update(project.deployment(name)).result())
    text = str(error)
    assert "(ResourceNotReady) User container has crashed or terminated" in text
    assert "FileNotFoundError: [Errno 2] No such file or directory" in text
    assert "model/model.pkl" in text
    assert ml.online_deployments.get("blue", name).provisioning_state == "Failed"
    assert "FileNotFoundError" in ml.online_deployments.get_logs("blue", name, lines=100)
    ml.online_endpoints.begin_delete(name).result()


def test_a_failed_run_is_the_sdks_error(ml: Any, project: Project, name: str) -> None:
    ml.online_endpoints.begin_create_or_update(project.entities.ManagedOnlineEndpoint(name=name)).result()
    ml.online_deployments.begin_create_or_update(project.deployment(name)).result()
    from azure.ai.ml.exceptions import ValidationException

    request = project.write("wrong.json", json.dumps({"dta": []}))
    error = raised(lambda: ml.online_endpoints.invoke(name, request_file=request, deployment_name="blue"))
    assert error.status_code == 424
    assert "An unexpected error occurred in scoring script" in str(error)
    with pytest.raises(ValidationException, match="Deployment name red not found for this endpoint"):
        ml.online_endpoints.invoke(name, request_file=request, deployment_name="red")
    ml.online_endpoints.begin_delete(name).result()
