"""Vertex AI, Monitoring and Logging through the gateway, with Google's unmodified libraries over gRPC and REST."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
import requests
from google.api_core import exceptions

from labkit.cloud.state import Lab
from tests.cloud.gcp.vertex_world import IMAGE, ROWS, constant, trained

PROJECT, REGION = "mlops-lab", "us-central1"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def aiplatform() -> Any:
    """The module ``google.cloud.aiplatform``; importing it takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.cloud import aiplatform

    return aiplatform


@pytest.fixture(params=["grpc", "rest"])
def sdk(request: pytest.FixtureRequest, clouds: Lab, aiplatform: Any) -> Iterator[Any]:
    """The SDK over each of its transports."""
    aiplatform.init(project=PROJECT, location=REGION, api_transport=request.param)
    yield aiplatform
    for endpoint in aiplatform.Endpoint.list():
        endpoint.delete(force=True)
    aiplatform.initializer.global_config._api_transport = None


@pytest.fixture
def upload(sdk: Any, tmp_path: Path) -> Callable[..., Any]:
    """Uploads a model from a bucket of its own."""
    from google.cloud import storage

    def upload(model: Any, name: str = "churn", **more: Any) -> Any:
        bucket = storage.Client(project=PROJECT).create_bucket(f"vertex-clients-{uuid.uuid4().hex}")
        joblib.dump(model, tmp_path / "model.joblib")
        bucket.blob("model/model.joblib").upload_from_filename(str(tmp_path / "model.joblib"))
        return sdk.Model.upload(
            display_name=name,
            artifact_uri=f"gs://{bucket.name}/model",
            serving_container_image_uri=IMAGE,
            **more,
        )

    return upload


def failure(action: Callable[[], Any]) -> Exception:
    """The error that ``action`` raises, whichever transport it came over."""
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        action()
    return caught.value


def test_a_model_from_upload_to_clean_up(sdk: Any, upload: Callable[..., Any]) -> None:
    name = f"churn-{next(_numbers)}"
    model = upload(trained(), name, labels={"team": "growth"})
    assert (model.version_id, list(model.version_aliases)) == ("1", ["default"])
    second = upload(
        trained(), name, parent_model=model.resource_name, is_default_version=False, version_aliases=["next"]
    )
    assert second.version_id == "2"
    model.versioning_registry.add_version_aliases(["next"], "1")
    versions = {each.version_id: sorted(each.version_aliases) for each in model.versioning_registry.list_versions()}
    assert versions == {"1": ["default", "next"], "2": []}
    model.versioning_registry.update_version("2", version_description="challenger")
    assert model.versioning_registry.get_version_info("2").version_description == "challenger"
    assert sdk.Model(f"{model.resource_name}@next").version_id == "1"
    assert [each.resource_name for each in sdk.Model.list(filter=f'display_name="{name}"')] == [model.resource_name]

    endpoint = sdk.Endpoint.create(display_name=name)
    model.deploy(endpoint=endpoint, machine_type="n1-standard-2", traffic_percentage=100)
    (first,) = endpoint.traffic_split
    answer = endpoint.predict(instances=ROWS.tolist())
    assert answer.predictions == trained().predict(ROWS).tolist()
    assert (answer.deployed_model_id, answer.model_version_id) == (first, "1")
    assert answer.model_resource_name == model.resource_name
    raw = endpoint.predict(instances=ROWS.tolist(), use_raw_predict=True)
    assert raw.predictions == answer.predictions
    assert raw.deployed_model_id == first

    second.deploy(endpoint=endpoint, machine_type="n1-standard-2", traffic_percentage=30)
    (other,) = set(endpoint.traffic_split) - {first}
    assert endpoint.traffic_split == {first: 70, other: 30}
    endpoint.update(traffic_split={first: 0, other: 100})
    assert {endpoint.predict(ROWS[:1].tolist()).deployed_model_id for _ in range(20)} == {other}

    assert isinstance(failure(model.delete), exceptions.BadRequest)
    assert isinstance(failure(endpoint.delete), exceptions.BadRequest)
    endpoint.undeploy(first)
    assert endpoint.traffic_split == {other: 100}
    endpoint.undeploy_all()
    endpoint.delete()
    model.delete()
    assert isinstance(failure(lambda: sdk.Model(model.resource_name)), exceptions.NotFound)


def test_model_deploy_makes_the_endpoint(sdk: Any, upload: Callable[..., Any]) -> None:
    endpoint = upload(constant(3)).deploy(machine_type="e2-standard-2", min_replica_count=1, max_replica_count=2)
    assert endpoint.predict([[0, 0, 0, 0]]).predictions == [3]
    assert list(endpoint.traffic_split.values()) == [100]


def test_predict_async(sdk: Any, upload: Callable[..., Any]) -> None:
    endpoint = upload(trained()).deploy(machine_type="n1-standard-2")
    answer = asyncio.run(endpoint.predict_async(instances=ROWS[:10].tolist()))
    assert answer.predictions == trained().predict(ROWS[:10]).tolist()


def test_errors_are_those_of_the_client_libraries(sdk: Any, upload: Callable[..., Any]) -> None:
    model = upload(trained())
    endpoint = model.deploy(machine_type="n1-standard-2")
    wrong = failure(lambda: endpoint.predict([[1.0]]))
    assert isinstance(wrong, exceptions.BadRequest)
    assert "X has 1 features, but LogisticRegression is expecting 4 features" in str(wrong)
    ragged = failure(lambda: endpoint.predict([[1.0], [2.0, 3.0]]))
    assert isinstance(ragged, exceptions.BadRequest)
    assert "Prediction failed: Exception during sklearn prediction" in str(ragged)
    unserved = failure(lambda: endpoint.explain([[1.0, 1.0, 1.0, 1.0]]))
    assert isinstance(unserved, exceptions.MethodNotImplemented)
    assert "PredictionService.Explain" in str(unserved)
    (identifier,) = endpoint.traffic_split
    service = sdk.gapic.EndpointServiceClient(
        client_options={"api_endpoint": f"{REGION}-aiplatform.googleapis.com"},
        transport=sdk.initializer.global_config._api_transport,
    )
    split = sdk.gapic.Endpoint(name=endpoint.resource_name, traffic_split={identifier: 140})
    too_much = failure(lambda: service.update_endpoint(endpoint=split, update_mask={"paths": ["traffic_split"]}))
    assert isinstance(too_much, exceptions.BadRequest)
    assert f"must add up to 100 and not be negative; these are {identifier}: 140." in str(too_much)
    assert isinstance(failure(lambda: sdk.Model("1234567890")), exceptions.NotFound)
    custom = failure(
        lambda: sdk.Model.upload(display_name="x", serving_container_image_uri="gcr.io/p/i", artifact_uri="gs://b/m")
    )
    assert isinstance(custom, exceptions.MethodNotImplemented)
    missing = failure(
        lambda: sdk.Model.upload(display_name="x", serving_container_image_uri=IMAGE, artifact_uri="gs://absent/m")
    )
    assert isinstance(missing, exceptions.FailedPrecondition)


def test_metrics_and_logs_of_an_endpoint(sdk: Any, upload: Callable[..., Any]) -> None:
    from google.cloud import logging, monitoring_v3

    endpoint = upload(trained()).deploy(machine_type="n1-standard-2")
    for _ in range(3):
        endpoint.predict(ROWS[:7].tolist())
    failure(lambda: endpoint.predict([[1.0]]))
    now = time.time()
    client = monitoring_v3.MetricServiceClient()
    interval = monitoring_v3.TimeInterval(
        {"end_time": {"seconds": int(now) + 1}, "start_time": {"seconds": int(now) - 3600}}
    )

    def values(metric: str, aligner: Any, more: str = "") -> list[Any]:
        found = client.list_time_series(
            request={
                "name": f"projects/{PROJECT}",
                "filter": f'metric.type = "aiplatform.googleapis.com/prediction/online/{metric}" AND '
                f'resource.labels.endpoint_id = "{endpoint.name}" {more}',
                "interval": interval,
                "aggregation": {"alignment_period": {"seconds": 3600}, "per_series_aligner": aligner},
                "view": monitoring_v3.ListTimeSeriesRequest.TimeSeriesView.FULL,
            }
        )
        return [point.value for each in found for point in each.points]

    aligners = monitoring_v3.Aggregation.Aligner
    assert [value.int64_value for value in values("prediction_count", aligners.ALIGN_DELTA)] == [21]
    assert [value.int64_value for value in values("error_count", aligners.ALIGN_DELTA)] == [1]
    (p99,) = values("prediction_latencies", aligners.ALIGN_PERCENTILE_99, 'AND metric.labels.latency_type = "total"')
    assert 0 < p99.double_value < 60e6

    found = list(
        logging.Client(project=PROJECT).list_entries(
            filter_=f'resource.type="aiplatform.googleapis.com/Endpoint" AND severity>=ERROR AND '
            f'resource.labels.endpoint_id="{endpoint.name}"'
        )
    )
    assert ["X has 1 features" in each.payload["message"] for each in found] == [True]


def test_alert_policies_refuse(clouds: Lab) -> None:
    from google.cloud import monitoring_v3

    refused = failure(
        lambda: list(monitoring_v3.AlertPolicyServiceClient().list_alert_policies(name="projects/mlops-lab"))
    )
    assert isinstance(refused, exceptions.MethodNotImplemented)
    assert "AlertPolicyService.ListAlertPolicies" in str(refused)


def test_a_bearer_token_and_plain_rest(sdk: Any, upload: Callable[..., Any]) -> None:
    import google.auth
    from google.auth.transport.requests import Request

    endpoint = upload(trained()).deploy(machine_type="n1-standard-2")
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(Request())
    url = f"https://{REGION}-aiplatform.googleapis.com/v1/{endpoint.resource_name}:predict"
    body = {"instances": ROWS.tolist()}
    answer = requests.post(url, json=body, headers={"Authorization": f"Bearer {credentials.token}"}, timeout=250)
    assert answer.json()["predictions"] == trained().predict(ROWS).tolist()
    refused = requests.post(url, json=body, timeout=250)
    assert (refused.status_code, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
