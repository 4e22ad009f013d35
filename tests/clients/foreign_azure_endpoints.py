"""A script as a stranger would write it from Azure's documentation: nothing in it knows of local clouds.

It trains two models, serves both behind one endpoint of a workspace of its own and one of them behind another, divides
and mirrors traffic, changes keys, and reads metrics and logs. Exits non-zero when a prediction is not the local model's
or anything else is not as Microsoft documents it.
"""

import json
import math
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import joblib
import numpy as np
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
    Workspace,
)
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.monitor.query import LogsQueryClient
from azure.monitor.querymetrics import MetricsClient
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

SUBSCRIPTION, GROUP, WORKSPACE, REGION = os.environ["AZURE_SUBSCRIPTION_ID"], "rg-prices", "ws-prices", "westeurope"
PRICES, RENTS = "prices-ew1", "rents-ew1"
SCORE = """
import json
import logging
import os
import joblib
import numpy

def init():
    global model
    model = joblib.load(os.path.join(os.getenv("AZUREML_MODEL_DIR"), "artifacts", "model.pkl"))
    print("the model is loaded")
    logging.warning("nothing was checked")

def run(raw_data):
    rows = numpy.array(json.loads(raw_data)["data"])
    return {"predictions": model.predict(rows).tolist()}
"""
CONDA = """
name: prices
channels:
  - conda-forge
dependencies:
  - python
  - pip
  - pip:
      - azureml-inference-server-http
      - scikit-learn
      - numpy
      - joblib
"""

credential = DefaultAzureCredential()
random = np.random.default_rng(11)
rows = random.normal(size=(200, 6))
prices = rows @ random.normal(size=6) + random.normal(size=200)
models = {
    "linear": Ridge().fit(rows, prices),
    "forest": RandomForestRegressor(n_estimators=10, random_state=3).fit(rows, prices),
}


def workspace():
    resources = ResourceManagementClient(credential, SUBSCRIPTION)
    resources.resource_groups.create_or_update(GROUP, {"location": REGION})
    client = MLClient(credential, SUBSCRIPTION, GROUP, WORKSPACE)
    client.workspaces.begin_create(Workspace(name=WORKSPACE, location=REGION)).result()
    return client


def deploy(client, folder, endpoint, deployment, model):
    settings = OnlineRequestSettings(request_timeout_ms=10_000, max_concurrent_requests_per_instance=10)
    client.online_deployments.begin_create_or_update(
        ManagedOnlineDeployment(
            name=deployment,
            endpoint_name=endpoint,
            model=client.models.get(model, label="latest"),
            environment="prices-env@latest",
            code_configuration=CodeConfiguration(code=str(folder / "src"), scoring_script="score.py"),
            instance_type="Standard_DS3_v2",
            instance_count=1,
            request_settings=settings,
        )
    ).result()


def score(uri, key, data, deployment=""):
    headers = {"Authorization": f"Bearer {key}", **({"azureml-model-deployment": deployment} if deployment else {})}
    return requests.post(uri, json={"data": data}, headers=headers, timeout=250)


def refused(action, text):
    try:
        action()
    except HttpResponseError as error:
        if text in str(error):
            return
        raise
    raise SystemExit(f"this should have been refused: {text}")


def assets(client, folder):
    (folder / "src").mkdir()
    (folder / "src" / "score.py").write_text(SCORE)
    (folder / "conda.yml").write_text(CONDA)
    for name, model in models.items():
        artifacts = folder / name / "artifacts"
        artifacts.mkdir(parents=True)
        joblib.dump(model, artifacts / "model.pkl")
        client.models.create_or_update(Model(name=name, path=str(artifacts), type="custom_model"))
    image = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
    client.environments.create_or_update(Environment(name="prices-env", image=image, conda_file=folder / "conda.yml"))


def traffic(client, uri):
    endpoint = client.online_endpoints.get(PRICES)
    endpoint.traffic = {"blue": 70, "green": 30}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    key = client.online_endpoints.get_keys(PRICES).primary_key
    answered = [score(uri, key, rows[:1].tolist()).headers["azureml-model-deployment"] for _ in range(300)]
    assert abs(answered.count("blue") - 210) < 4 * math.sqrt(300 * 0.7 * 0.3), answered.count("blue")

    endpoint.traffic = {"blue": 100, "green": 40}
    refused(lambda: client.online_endpoints.begin_create_or_update(endpoint).result(), "sum to 0 or 100")
    endpoint.traffic, endpoint.mirror_traffic = {"blue": 100}, {"green": 50}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    answers = [score(uri, key, rows[:1].tolist()) for _ in range(60)]
    assert {answer.headers["azureml-model-deployment"] for answer in answers} == {"blue"}
    delete = client.online_deployments.begin_delete
    refused(lambda: delete(name="blue", endpoint_name=PRICES).result(), "live traffic")
    endpoint.mirror_traffic = {}
    client.online_endpoints.begin_create_or_update(endpoint).result()


def keys(client, uri):
    old = client.online_endpoints.get_keys(PRICES)
    client.online_endpoints.begin_regenerate_keys(PRICES, key_type="primary").result()
    new = client.online_endpoints.get_keys(PRICES)
    assert new.primary_key != old.primary_key
    one = rows[:1].tolist()
    assert [score(uri, key, one).status_code for key in (old.primary_key, new.primary_key, old.secondary_key)] == [
        401,
        200,
        200,
    ]
    assert score(uri, new.primary_key, one, deployment="red").status_code == 404
    failed = score(uri, new.primary_key, [["no", "number"]])
    assert (failed.status_code, failed.headers["ms-azureml-model-error-statuscode"]) == (424, "500")


def monitor(client):
    time.sleep(1)
    endpoint = client.online_endpoints.get(PRICES)
    metrics = MetricsClient(f"https://{REGION}.metrics.monitor.azure.com", credential)
    (result,) = metrics.query_resources(
        resource_ids=[endpoint.id],
        metric_namespace="Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
        metric_names=["RequestsPerMinute", "RequestLatency_P99"],
        timespan=timedelta(hours=1),
        aggregations=["Total", "Average"],
        filter="deployment eq '*'",
    )
    split = {
        series.metadata_values["deployment"]: sum(point.total or 0 for point in series.data)
        for series in result.metrics["RequestsPerMinute"].timeseries
    }
    assert set(split) >= {"blue", "green"}, split
    logs = LogsQueryClient(credential)
    answer = logs.query_resource(
        endpoint.id,
        "AmlOnlineEndpointTrafficLog | summarize Requests = count() by DeploymentName, ResponseCode",
        timespan=timedelta(hours=1),
    )
    logged = {(row["DeploymentName"], row["ResponseCode"]): row["Requests"] for row in answer.tables[0].rows}
    assert logged["blue", 424] == 1
    assert sum(count for (name, _), count in logged.items() if name == "green") == split["green"]
    text = client.online_deployments.get_logs("blue", PRICES, lines=10_000)
    assert "azmlinfsrv.print - the model is loaded" in text
    assert "WARNING:root:nothing was checked" in text


def main():
    client = workspace()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assets(client, folder)
        for endpoint in (PRICES, RENTS):
            client.online_endpoints.begin_create_or_update(
                ManagedOnlineEndpoint(name=endpoint, auth_mode="key")
            ).result()
        deploy(client, folder, PRICES, "blue", "linear")
        deploy(client, folder, PRICES, "green", "forest")
        deploy(client, folder, RENTS, "only", "forest")
        request = folder / "request.json"
        request.write_text(json.dumps({"data": rows.tolist()}))
        equal = 0
        for endpoint, deployment, model in (
            (PRICES, "blue", "linear"),
            (PRICES, "green", "forest"),
            (RENTS, "only", "forest"),
        ):
            answer = client.online_endpoints.invoke(endpoint, request_file=str(request), deployment_name=deployment)
            expected = models[model].predict(rows).tolist()
            assert json.loads(answer)["predictions"] == expected, (endpoint, deployment)
            equal += len(expected)
    uri = client.online_endpoints.get(PRICES).scoring_uri
    traffic(client, uri)
    keys(client, uri)
    monitor(client)
    for endpoint in (PRICES, RENTS):
        client.online_endpoints.begin_delete(endpoint).result()
    assert list(client.online_endpoints.list()) == []
    print(f"{equal} predictions equal")


if __name__ == "__main__":
    main()
