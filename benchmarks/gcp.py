"""Google's part: upload, deploy and predict through google-cloud-aiplatform over gRPC and REST, and by plain REST."""

from __future__ import annotations

import json
import logging
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import bare

#: What the prebuilt container does, for the yardstick.
INFERENCE = """
import json
import os

import joblib
import numpy


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def input_fn(body, content_type):
    return numpy.array(json.loads(body)["instances"])


def predict_fn(rows, model):
    return model.predict(rows)


def output_fn(prediction, accept):
    return json.dumps({"predictions": prediction.tolist()})
"""
IMAGE = "us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest"
REGION = "us-central1"
#: Uploads and deployments that are measured, after one that pays for connections and imports.
TIMES = 5


def measure(folder: Path, count: int) -> Iterator[bare.Row]:
    """Rows on a model of numbers behind an endpoint of Vertex AI; ``count`` predictions of each kind."""
    folder = folder / "google"
    folder.mkdir()
    bodies = train(folder)
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    from google.cloud import aiplatform

    yield "Google: import of google.cloud.aiplatform", f"{time.perf_counter() - started:.1f} s", ""
    # The SDK tells each step of its work.
    logging.disable(logging.INFO)
    directory = keep(folder)
    calls: dict[str, bare.Call] = {}
    for transport in ("grpc", "rest"):
        aiplatform.init(project="mlops-lab", location=REGION, api_transport=transport)
        uploads, deployments = [], []
        for _ in range(TIMES + 1):
            started = time.perf_counter()
            model = aiplatform.Model.upload(
                display_name="bench", artifact_uri=directory, serving_container_image_uri=IMAGE
            )
            uploads.append(time.perf_counter() - started)
            started = time.perf_counter()
            endpoint = model.deploy(machine_type="n1-standard-2")
            endpoint.predict(json.loads(bodies[0])["instances"])
            deployments.append(time.perf_counter() - started)
        yield f"Google: upload a model, SDK over {transport}, median", f"{statistics.median(uploads[1:]):.3f} s", ""
        taken = f"{statistics.median(deployments[1:]):.2f} s"
        yield f"Google: deploy to first prediction, SDK over {transport}, median", taken, ""
        calls[f"Endpoint.predict, SDK over {transport}"] = predicting(endpoint)
    calls["Endpoint's predict, requests session"] = plain(endpoint.resource_name)
    with bare.app(folder) as post:
        expected = json.loads(post(bodies[0]))["predictions"]
        assert all(json.loads(call(bodies[0]))["predictions"] == expected for call in calls.values())
        yield from bare.compared(bare.in_turns({bare.LABEL: post, **calls}, bodies, count))


def train(folder: Path) -> list[bytes]:
    """Leaves a model in the folder; returns bodies of requests with a row each."""
    import joblib
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = np.random.default_rng(0).normal(size=(1000, 12))
    model = HistGradientBoostingClassifier(learning_rate=0.03, max_iter=150, max_leaf_nodes=8)
    joblib.dump(model.fit(rows, rows.sum(axis=1) > 0), folder / "model.joblib")
    (folder / "inference.py").write_text(INFERENCE)
    return [json.dumps({"instances": [row.tolist()]}).encode() for row in rows[:100]]


def keep(folder: Path) -> str:
    """Puts the model into a bucket; returns its directory's URI."""
    from google.cloud import storage

    bucket = storage.Client().create_bucket("mlops-lab-bench")
    bucket.blob("model/model.joblib").upload_from_filename(str(folder / "model.joblib"))
    return f"gs://{bucket.name}/model"


def predicting(endpoint: Any) -> bare.Call:
    """What asks an endpoint through the SDK."""
    return lambda body: json.dumps(
        {"predictions": endpoint.predict(json.loads(body)["instances"]).predictions}
    ).encode()


def plain(name: str) -> bare.Call:
    """What asks an endpoint over REST with a bearer token."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    session = AuthorizedSession(credentials)
    url = f"https://{REGION}-aiplatform.googleapis.com/v1/{name}:predict"
    return lambda body: session.post(url, data=body, headers={"Content-Type": "application/json"}).content
