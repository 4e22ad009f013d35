"""Google's part: upload, deploy and predict through google-cloud-aiplatform over gRPC and REST, and by plain REST."""

from __future__ import annotations

import json
import logging
import statistics
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import bare
from benchmarks.results import Line

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


PART = "Google Vertex AI"


def measure(folder: Path, quick: bool) -> Iterator[Line]:
    """Lines on two models behind endpoints: the churn pipeline, and one that predicts in 2 ms."""
    warnings.simplefilter("ignore")
    from google.cloud import aiplatform, storage

    # The SDK tells each step of its work.
    logging.disable(logging.INFO)
    bucket = storage.Client().create_bucket("mlops-lab-bench")
    for model, train in (("churn pipeline", churn), ("model of 2 ms", plain_numbers)):
        place = folder / model.replace(" ", "-")
        place.mkdir()
        bodies = train(place)
        bucket.blob(f"{place.name}/model.joblib").upload_from_filename(str(place / "model.joblib"))
        calls: dict[str, bare.Call] = {}
        for transport in ("grpc", "rest"):
            aiplatform.init(project="mlops-lab", location=REGION, api_transport=transport)
            taken = []
            for _ in range(2 if quick else 4):  # the first pays for connections and imports
                uploaded = aiplatform.Model.upload(
                    display_name="bench",
                    artifact_uri=f"gs://{bucket.name}/{place.name}",
                    serving_container_image_uri=IMAGE,
                )
                started = time.perf_counter()
                endpoint = uploaded.deploy(machine_type="n1-standard-2")
                endpoint.predict(json.loads(bodies[0])["instances"])
                taken.append(time.perf_counter() - started)
            if model == "churn pipeline":
                what = f"deploy to first prediction, SDK over {transport}"
                yield Line(PART, what, statistics.median(taken[1:]), "s", limit=1.0)
            calls[f"Endpoint.predict, SDK over {transport}"] = predicting(endpoint)
        calls["predict, requests session"] = plain(endpoint.resource_name)
        with bare.app(place) as post:
            expected = json.loads(post(bodies[0]))["predictions"]
            calls = {bare.LABEL: post, **calls}
            assert all(json.loads(call(bodies[0]))["predictions"] == expected for call in calls.values())
            limited = list(calls)[1:]
            yield from bare.compared(f"{PART}: {model}", calls, bodies, 25 if quick else 200, limited)


def classifier() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(learning_rate=0.03, max_iter=150, max_leaf_nodes=8)


def churn(folder: Path) -> list[bytes]:
    """Leaves the pipeline in the folder; returns requests. The container makes one array of strings of a row."""
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

    data = pd.read_csv(bare.ROOT / "data" / "churn.csv")
    features, churned = data.drop(columns="churn"), (data["churn"] == "yes").astype(int)
    texts = [n for n, kind in enumerate(features.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    numbers = [n for n in range(features.shape[1]) if n not in texts]
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        (FunctionTransformer(np.asarray, kw_args={"dtype": float}), numbers),
    )
    rows = json.loads(features.to_json(orient="values"))
    model = make_pipeline(encode, classifier()).fit(np.array(rows), churned)
    joblib.dump(model, folder / "model.joblib")
    (folder / "inference.py").write_text(INFERENCE)
    return [json.dumps({"instances": [row]}).encode() for row in rows[:100]]


def plain_numbers(folder: Path) -> list[bytes]:
    """Leaves a model of twelve numbers in the folder; returns requests with a row each."""
    import joblib
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(1000, 12))
    joblib.dump(classifier().fit(rows, rows.sum(axis=1) > 0), folder / "model.joblib")
    (folder / "inference.py").write_text(INFERENCE)
    return [json.dumps({"instances": [row.tolist()]}).encode() for row in rows[:100]]


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
    url = f"https://{REGION}-aiplatform.googleapis.com/v1/{name}:predict"
    local = threading.local()

    def post(body: bytes) -> bytes:
        if not hasattr(local, "session"):
            local.session = AuthorizedSession(credentials)
        answer = local.session.post(url, data=body, headers={"Content-Type": "application/json"})
        answer.raise_for_status()
        return bytes(answer.content)

    return post
