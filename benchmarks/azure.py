"""Azure's part: register, deploy and predict through azure-ai-ml, and predict through the scoring URI."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import bare
from benchmarks.results import Line

SCORE = """
import os

import inference


def init():
    global model
    model = inference.model_fn(os.path.join(os.environ["AZUREML_MODEL_DIR"], "artifacts"))


def run(raw_data):
    return inference.predict_fn(inference.input_fn(raw_data, "application/json"), model).tolist()
"""
CONDA = "dependencies: [python, scikit-learn, pandas, pip]"
IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
PART = "Azure Machine Learning"


def measure(folder: Path, records: list[dict[str, Any]], quick: bool) -> Iterator[Line]:
    """Lines on the model in ``folder`` behind an online endpoint."""
    warnings.simplefilter("ignore")
    import requests
    from azure.ai.ml import MLClient
    from azure.ai.ml import entities as ml
    from azure.identity import DefaultAzureCredential

    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "model.joblib").hardlink_to(folder / "model.joblib")
    (folder / "code").mkdir()
    (folder / "code" / "score.py").write_text(SCORE)
    (folder / "code" / "inference.py").write_bytes((folder / "inference.py").read_bytes())
    (folder / "conda.yaml").write_text(CONDA)
    request = folder / "request.json"
    request.write_text(json.dumps(records[:1]))
    names = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZURE_ML_WORKSPACE")
    client = MLClient(DefaultAzureCredential(), *(os.environ[name] for name in names))
    register, deploy = [], []
    for number in range(2 if quick else 3):  # the first pays for connections and imports
        endpoint = ml.ManagedOnlineEndpoint(name=f"bench-{number}")
        endpoint = client.online_endpoints.begin_create_or_update(endpoint).result()
        started = time.perf_counter()
        model = client.models.create_or_update(ml.Model(name=f"bench-{number}", path=str(folder / "artifacts")))
        register.append(time.perf_counter() - started)
        environment = ml.Environment(name="bench", image=IMAGE, conda_file=folder / "conda.yaml")
        started = time.perf_counter()
        client.online_deployments.begin_create_or_update(
            ml.ManagedOnlineDeployment(
                name="blue",
                endpoint_name=endpoint.name,
                model=model,
                environment=client.environments.create_or_update(environment),
                code_configuration=ml.CodeConfiguration(code=str(folder / "code"), scoring_script="score.py"),
                instance_type="Standard_DS3_v2",
                instance_count=1,
                # One at a time is the default: of many clients at once, most would be answered 429.
                request_settings=ml.OnlineRequestSettings(max_concurrent_requests_per_instance=max(bare.CLIENTS)),
            )
        ).result()
        endpoint.traffic = {"blue": 100}
        client.online_endpoints.begin_create_or_update(endpoint).result()
        client.online_endpoints.invoke(endpoint.name, request_file=str(request))
        deploy.append(time.perf_counter() - started)
    yield Line(PART, "register a model, azure-ai-ml", statistics.median(register[1:]), "s")
    yield Line(PART, "deploy to first prediction, azure-ai-ml", statistics.median(deploy[1:]), "s", limit=1.0)

    key = client.online_endpoints.get_keys(endpoint.name).primary_key
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    local = threading.local()

    def score(body: bytes) -> bytes:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer = local.session.post(endpoint.scoring_uri, data=body, headers=headers)
        answer.raise_for_status()
        return bytes(answer.content)

    def invoke(body: bytes) -> bytes:
        return str(client.online_endpoints.invoke(endpoint.name, request_file=str(request))).encode()

    bodies = [json.dumps([record]).encode() for record in records]
    with bare.app(folder) as post:
        assert json.loads(post(bodies[0])) == json.loads(score(bodies[0])) == json.loads(invoke(bodies[0]))
        calls = {bare.LABEL: post, "scoring URI, requests session": score}
        yield from bare.compared(PART, calls, bodies, 25 if quick else 300, limited=["scoring URI, requests session"])
        # It reads the endpoint and its keys before each call, and the request from a file.
        taken = bare.in_turns({"invoke": invoke}, bodies, 5 if quick else 25)["invoke"]
        yield Line(PART, "invoke, azure-ai-ml (three calls), median", 1000 * statistics.median(taken), "ms")
