"""What a SageMaker test needs around it: a bucket, a role, packages, and an endpoint in a line."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.waiting import eventually

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
#: What an execution role may do where a test does not say otherwise.
ACTIONS = ("s3:GetObject", "s3:ListBucket", "logs:*", "cloudwatch:PutMetricData", "ecr:*")
#: A model that doubles its input and obeys orders given instead of data.
DOUBLER = """
import os, sys, time
def model_fn(model_dir):
    print("loading doubler")
    return "doubler"
def predict_fn(data, model):
    return data * 2
"""
ORDERS = """
import json, os, time
def model_fn(model_dir):
    return os.environ.get("NAME", "")
def input_fn(body, content_type):
    return json.loads(body)
def predict_fn(order, model):
    if "sleep" in order:
        time.sleep(order["sleep"])
    if "exit" in order:
        os._exit(order["exit"])
    if "raise" in order:
        raise RuntimeError(order["raise"])
    if "env" in order:
        return {name: os.environ.get(name) for name in order["env"]}
    return {"name": model, "pid": os.getpid(), **order}
def output_fn(answer, accept):
    return json.dumps(answer), accept
"""


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """A model.tar.gz with these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


class World:
    """Clients of one account, and shortcuts. Names get a prefix, so that tests on shared clouds do not meet."""

    def __init__(self, client: Callable[[str], Any], prefix: str = "t") -> None:
        self.s3, self.iam, self.sm = client("s3"), client("iam"), client("sagemaker")
        self.runtime, self.logs, self.metrics = client("sagemaker-runtime"), client("logs"), client("cloudwatch")
        self.prefix = prefix
        self.bucket = f"{prefix}-bucket"
        self.s3.create_bucket(Bucket=self.bucket)
        self.role = self.make_role("role")

    def close(self) -> None:
        """Deletes the endpoints that are left."""
        for each in self.sm.list_endpoints(NameContains=self.prefix, MaxResults=100)["Endpoints"]:
            if each["EndpointName"].startswith(f"{self.prefix}-"):
                self.settle(each["EndpointName"])
                self.sm.delete_endpoint(EndpointName=each["EndpointName"])

    def name(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def make_role(self, name: str, trust: Mapping[str, Any] = TRUST, actions: Sequence[str] = ACTIONS) -> str:
        name = self.name(name)
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        if actions:
            document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
            self.iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=document)
        return str(made["Role"]["Arn"])

    def upload(self, key: str, content: bytes) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)
        return f"s3://{self.bucket}/{key}"

    def model(
        self, name: str, code: str | None = DOUBLER, files: Mapping[str, str | bytes] | None = None, **more: Any
    ) -> str:
        """A model with ``code`` as its inference.py; ``more`` goes into its container. Returns its name."""
        name = self.name(name)
        packed = {**(files or {}), **({} if code is None else {"code/inference.py": code})}
        container = {"Image": IMAGE, "ModelDataUrl": self.upload(f"{name}/model.tar.gz", archive(packed)), **more}
        container.setdefault("Environment", {}).setdefault("SAGEMAKER_PROGRAM", "inference.py")
        self.sm.create_model(ModelName=name, ExecutionRoleArn=self.role, PrimaryContainer=container)
        return name

    def config(self, name: str, *variants: Mapping[str, Any] | str, **more: Any) -> str:
        """An endpoint configuration; a variant is a model's name or an entry's own parts. Returns its name."""
        entries = []
        for each in variants:
            own = {"ModelName": each} if isinstance(each, str) else each
            entries.append(
                {"VariantName": "AllTraffic", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1, **own}
            )
        name = self.name(name)
        self.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=entries, **more)
        return name

    def endpoint(self, name: str, *variants: Mapping[str, Any] | str) -> str:
        """An endpoint of a configuration of its own, in service. Returns its name."""
        config = self.config(name, *variants)
        self.sm.create_endpoint(EndpointName=self.name(name), EndpointConfigName=config)
        self.wait(self.name(name))
        return self.name(name)

    def failure(self, name: str, *variants: Mapping[str, Any] | str) -> str:
        """The FailureReason of an endpoint that cannot be made."""
        config = self.config(name, *variants)
        self.sm.create_endpoint(EndpointName=self.name(name), EndpointConfigName=config)
        described = self.settle(self.name(name))
        assert described["EndpointStatus"] == "Failed", described
        return str(described["FailureReason"])

    def wait(self, endpoint: str) -> None:
        self.sm.get_waiter("endpoint_in_service").wait(EndpointName=endpoint, WaiterConfig={"Delay": 1})

    def settle(self, endpoint: str) -> dict[str, Any]:
        """The endpoint's description once nothing is under way."""

        def settled() -> dict[str, Any] | None:
            described: dict[str, Any] = self.sm.describe_endpoint(EndpointName=endpoint)
            return None if described["EndpointStatus"] in ("Creating", "Updating") else described

        return eventually(settled)

    def invoke(self, endpoint: str, body: bytes | str | dict[str, Any], **more: Any) -> Any:
        """The answer's body, read as JSON."""
        sent = json.dumps(body) if isinstance(body, dict) else body
        more.setdefault("ContentType", "application/json")
        return json.loads(self.runtime.invoke_endpoint(EndpointName=endpoint, Body=sent, **more)["Body"].read())

    def log(self, engine: Any, endpoint: str) -> str:
        """What the endpoint's containers wrote, read from the engine."""
        scope, group = "aws:123456789012:us-east-1", f"/aws/sagemaker/Endpoints/{endpoint}"
        streams = [stream.name for stream in engine.logs.streams(scope, group)]
        return "\n".join(event.message for each in streams for event in engine.logs.read(scope, group, [each]))
