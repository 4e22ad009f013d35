"""AWS's part: deploy and predict through boto3; throughput as replicas grow; memory as endpoints and calls grow."""

from __future__ import annotations

import io
import json
import statistics
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import bare
from benchmarks.memory import of_clouds
from benchmarks.results import Line

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
BUCKET = "bench-models"
PART = "Amazon SageMaker"
#: Twenty instances of each are what an account may have.
MACHINES = ("ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge", "ml.c5.large", "ml.c5.xlarge", "ml.c5.2xlarge")
#: Seconds that the flood of predictions may take.
LONGEST = 240.0
#: A model of no work: what is left is the clouds' own.
ECHO = """
def model_fn(model_dir):
    return None


def transform_fn(model, body, content_type, accept):
    return body, accept
"""


class Aws:
    """The account in which everything is deployed."""

    def __init__(self) -> None:
        import boto3
        from botocore.config import Config

        config = Config(max_pool_connections=64, retries={"max_attempts": 1})
        self.s3, iam = boto3.client("s3"), boto3.client("iam")
        self.sagemaker = boto3.client("sagemaker")
        self.runtime = boto3.client("sagemaker-runtime", config=config)
        self.s3.create_bucket(Bucket=BUCKET)
        trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        self.role = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=document)["Role"]["Arn"]
        read = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [read]})
        iam.put_role_policy(RoleName="bench", PolicyName="read", PolicyDocument=policy)

    def keep(self, key: str, files: Mapping[str, bytes]) -> str:
        """Puts an archive with the files into the bucket; returns its URI."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=archive.getvalue())
        return f"s3://{BUCKET}/{key}"

    def deploy(self, name: str, data: str, replicas: int = 1, machine: str = MACHINES[0]) -> None:
        """Makes an endpoint; returns before it is in service."""
        container = {"Image": IMAGE, "ModelDataUrl": data}
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=self.role)
        variant = {
            "VariantName": "all",
            "ModelName": name,
            "InitialInstanceCount": replicas,
            "InstanceType": machine,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def ready(self, name: str) -> None:
        self.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)

    def invoking(self, name: str) -> bare.Call:
        """What asks the endpoint."""

        def invoke(body: bytes) -> bytes:
            answer = self.runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=body)
            return bytes(answer["Body"].read())

        return invoke


def measure(folder: Path, records: list[dict[str, Any]], quick: bool) -> Iterator[Line]:
    """Lines on the model in ``folder`` behind endpoints of SageMaker."""
    aws = Aws()
    files = {"model.joblib": (folder / "model.joblib").read_bytes()}
    data = aws.keep("model.tar.gz", files | {"code/inference.py": (folder / "inference.py").read_bytes()})
    bodies = [json.dumps([record]).encode() for record in records]
    taken = []
    for number in range(2 if quick else 4):  # the first pays for the imports
        started = time.perf_counter()
        aws.deploy(f"bench-{number}", data)
        aws.ready(f"bench-{number}")
        aws.invoking(f"bench-{number}")(bodies[0])
        taken.append(time.perf_counter() - started)
    yield Line(PART, "deploy to first prediction, boto3", statistics.median(taken[1:]), "s", limit=1.0)
    count = 25 if quick else 300
    with bare.app(folder) as post:
        invoke = aws.invoking("bench-1")
        assert post(bodies[0]) == invoke(bodies[0])
        calls = {bare.LABEL: post, "invoke_endpoint, boto3": invoke}
        yield from bare.compared(PART, calls, bodies, count, limited=["invoke_endpoint, boto3"])
    yield from replicas(aws, data, bodies, quick)
    yield from proxied_bodies(aws, 20 if quick else 100)
    yield from growth(aws, quick)


def replicas(aws: Aws, data: str, bodies: list[bytes], quick: bool) -> Iterator[Line]:
    """Predictions in a second by eight clients as replicas grow, beside one replica's."""
    first = 0.0
    for number in (1, 2) if quick else (1, 2, 4):
        name = f"replicas-{number}"
        aws.deploy(name, data, number)
        aws.ready(name)
        rate = bare.at_once(aws.invoking(name), bodies, 8, 40 if quick else 400)
        first = first or rate
        what = f"{number} replicas, 8 clients"
        yield Line("Replicas", what, rate, "1/s", rate / first, "one replica's", None, "replicas", number)
        aws.sagemaker.delete_endpoint(EndpointName=name)


def proxied_bodies(aws: Aws, count: int) -> Iterator[Line]:
    """A PUT through the gateway against a HEAD: a delayed acknowledgement would make it 40 ms longer."""
    calls: dict[str, Callable[[], Any]] = {
        "HeadObject": lambda: aws.s3.head_object(Bucket=BUCKET, Key="model.tar.gz"),
        "PutObject of 1 KB": lambda: aws.s3.put_object(Bucket=BUCKET, Key="small", Body=b"x" * 1024),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - started))
    head, put = (statistics.median(taken) for taken in times.values())
    yield Line("Amazon S3", "HeadObject, median", head, "ms")
    yield Line("Amazon S3", "PutObject of 1 KB, median", put, "ms", put / head, "HeadObject")


def growth(aws: Aws, quick: bool) -> Iterator[Line]:
    """Memory of all processes of the clouds after many endpoints and after many predictions."""
    part = "Growth"
    before = of_clouds()
    yield Line(part, "memory before", before, "MB", None, "", None, "endpoints", 0)
    many, calls = (3, 500) if quick else (100, 100_000)
    data = aws.keep("echo.tar.gz", {"code/inference.py": ECHO.encode()})
    started = time.perf_counter()
    names = [f"many-{number}" for number in range(many)]
    others = MACHINES[1:]  # the first has the endpoints of before
    for number, name in enumerate(names):
        aws.deploy(name, data, machine=others[number % len(others)])
    for name in names:
        aws.ready(name)
    yield Line(part, f"{many} endpoints made", time.perf_counter() - started, "s")
    for name in names:
        aws.invoking(name)(b"{}")
    after = of_clouds()
    what = f"memory with {many} endpoints, each a replica's process"
    yield Line(part, what, after, "MB", (after - before) / many, "1 MB for each", None, "endpoints", many)
    for name in names[1:]:
        aws.sagemaker.delete_endpoint(EndpointName=name)
    before = of_clouds()
    started = time.perf_counter()
    calls = flood(aws, names[0], calls)
    rate = calls / (time.perf_counter() - started)
    yield Line(part, f"{calls:,} predictions by a model of no work, 4 clients", rate, "1/s")
    after = of_clouds()
    yield Line(part, f"memory after {calls:,} predictions", after, "MB", after / before, "before them")


def flood(aws: Aws, name: str, count: int) -> int:
    """Asks the endpoint many times with one signed request, because signing takes longer than the answer.

    Returns how often: on a busy machine it stops after :data:`LONGEST` seconds.
    """
    import requests
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.session import get_session

    url = f"{aws.runtime.meta.endpoint_url}/endpoints/{name}/invocations"

    def signed() -> dict[str, str]:
        request = AWSRequest("POST", url, {"Content-Type": "application/json"}, b"{}")
        credentials = get_session().get_credentials()
        SigV4Auth(credentials, "sagemaker", aws.runtime.meta.region_name).add_auth(request)
        return dict(request.headers.items())

    failures: list[str] = []
    answered: list[int] = []
    deadline = time.monotonic() + LONGEST

    def work() -> None:
        session, number = requests.Session(), 0
        while number < count // 4 and time.monotonic() < deadline:
            if number % 5000 == 0:  # a signature is good for minutes
                headers = signed()
            answer = session.post(url, data=b"{}", headers=headers)
            if answer.status_code != 200:
                failures.append(f"{answer.status_code} {answer.text[:200]}")
                return
            number += 1
        answered.append(number)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"a prediction failed: {failures[0]}")
    return sum(answered)
