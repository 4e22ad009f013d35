"""`make bench`: what the kit costs, as ratios in one run, because the machines that run this are noisy.

Everything is measured from outside, through unmodified clients: the clouds are started as `labkit exec --fresh` starts
them, and called with boto3, azure-ai-ml and google-cloud-aiplatform; the yardstick is the same model and inference
code behind a bare uvicorn app, called with a `requests` session.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import azure, bare, gcp
from benchmarks.bare import HERE, ROOT

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--requests", type=int, default=500, help="predictions per measurement (default 500)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.inside:
        command = ["-m", "benchmarks", "--inside", "--requests", str(arguments.requests)]
        sys.exit(subprocess.call([sys.executable, "-m", "labkit", "exec", "--fresh", "--", sys.executable, *command]))
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(Path(folder), arguments.requests))
    width = max(len(what) for what, _, _ in rows)
    for what, figure, ratio in rows:
        print(f"{what:<{width}}  {figure:>14}  {ratio}")


def measure(folder: Path, count: int) -> Any:
    yield from clouds()
    records = train(folder)
    deploy_seconds, invoke = deploy(folder, records)
    yield "deploy to first prediction, imports warm", f"{deploy_seconds:.2f} s", "at most 1 s"
    yield from predictions(folder, records, invoke, count)
    yield from azure.measure(folder, records, count)
    yield from gcp.measure(folder, count)
    yield from proxied_bodies()


def clouds() -> Any:
    import psutil

    from labkit.cloud.state import Lab

    with tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, "LABKIT_STATE": state}
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "labkit", "up"], env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        server = psutil.Process(json.loads((Path(state) / "server.json").read_text())["pid"])
        time.sleep(6)  # the usual imports go on in the background: the memory is measured with them done
        memory = sum(p.memory_full_info().pss for p in [server, *server.children(recursive=True)]) / 2**20
        subprocess.run([sys.executable, "-m", "labkit", "down"], env=environment, check=True, stdout=subprocess.DEVNULL)
        del Lab
    yield "labkit up, from nothing to ready", f"{seconds:.2f} s", "at most 2 s"
    yield "memory of the clouds, every process", f"{memory:.0f} MB", "at most 300 MB"


def train(folder: Path) -> list[dict[str, Any]]:
    import joblib
    import pandas as pd
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    data = pd.read_csv(ROOT / "data" / "churn.csv")
    features, churned = data.drop(columns="churn"), data["churn"] == "yes"
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number")),
        remainder="passthrough",
    )
    model = make_pipeline(encode, HistGradientBoostingClassifier(learning_rate=0.03, max_iter=150, max_leaf_nodes=8))
    model.fit(features, churned)
    joblib.dump(model, folder / "model.joblib")
    (folder / "inference.py").write_bytes((HERE / "inference.py").read_bytes())
    return json.loads(features.head(100).to_json(orient="records"))


def deploy(folder: Path, records: list[dict[str, Any]]) -> tuple[float, Callable[[bytes], bytes]]:
    import boto3

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(folder / "model.joblib", "model.joblib")
        tar.add(folder / "inference.py", "code/inference.py")
    s3, iam = boto3.client("s3"), boto3.client("iam")
    sagemaker, runtime = boto3.client("sagemaker"), boto3.client("sagemaker-runtime")
    s3.create_bucket(Bucket="bench-models")
    s3.put_object(Bucket="bench-models", Key="model.tar.gz", Body=archive.getvalue())
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=document)["Role"]["Arn"]

    def invoke(body: bytes, name: str = "bench-1") -> bytes:
        return runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=body)["Body"].read()

    one = json.dumps(records[:1]).encode()
    seconds = 0.0
    for number in (0, 1):  # the first pays for the imports
        name = f"bench-{number}"
        started = time.perf_counter()
        container = {"Image": IMAGE, "ModelDataUrl": "s3://bench-models/model.tar.gz"}
        sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
        variant = {"VariantName": "all", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
        invoke(one, name)
        seconds = time.perf_counter() - started
    return seconds, invoke


def predictions(folder: Path, records: list[dict[str, Any]], invoke: Callable[[bytes], bytes], count: int) -> Any:
    bodies = [json.dumps([record]).encode() for record in records]
    with bare.app(folder) as post:
        assert post(bodies[0]) == invoke(bodies[0])
        calls = {bare.LABEL: post, "invoke_endpoint, boto3": invoke}
        yield from bare.compared(bare.in_turns(calls, bodies, count), "at most 2 x")


def proxied_bodies() -> Any:
    """A PUT through the gateway against a HEAD: a delayed acknowledgement would make it 40 ms longer."""
    import boto3

    s3 = boto3.client("s3")
    times: dict[str, list[float]] = {"head": [], "put": []}
    for number in range(100):
        for name, call in (
            ("head", lambda: s3.head_object(Bucket="bench-models", Key="model.tar.gz")),
            ("put", lambda: s3.put_object(Bucket="bench-models", Key="small", Body=b"x" * 1024)),
        ):
            started = time.perf_counter()
            call()
            if number >= 10:
                times[name].append(time.perf_counter() - started)
    head, put = (statistics.median(times[name]) for name in ("head", "put"))
    yield "S3 HeadObject through the gateway, median", f"{1000 * head:.2f} ms", "1"
    yield (
        "S3 PutObject of 1 KB, median",
        f"{1000 * put:.2f} ms",
        f"{put / head:.2f} x HeadObject (a stall would be 40 ms)",
    )


if __name__ == "__main__":
    main()
