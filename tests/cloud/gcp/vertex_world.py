"""What a test of Vertex AI needs around it: a bucket with models in it, and models and endpoints in a line."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import joblib
import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from labkit.cloud.gcp import GcpCloud
from labkit.cloud.gcp.storage_store import Bucket
from tests.cloud.gcp import in_process
from tests.waiting import eventually

IMAGE = "us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest"
ROWS = np.random.default_rng(7).random((200, 4))


@cache
def trained() -> Any:
    """A model of four features."""
    return LogisticRegression().fit(ROWS, (ROWS.sum(axis=1) > 2).astype(int))


def constant(value: int) -> Any:
    """A model that always answers ``value``."""
    return DummyClassifier(strategy="constant", constant=value).fit(ROWS, [value] * len(ROWS))


def dumped(model: Any) -> bytes:
    stream = io.BytesIO()
    joblib.dump(model, stream)
    return stream.getvalue()


class World:
    """One project's Vertex AI in one region, over plain REST."""

    def __init__(self, cloud: GcpCloud, project: str, region: str = "us-central1") -> None:
        self.cloud = cloud
        self.engine = cloud.engine
        self.project = project
        self.number = cloud.projects.find(project).number
        self.region = region
        self.parent = f"projects/{project}/locations/{region}"
        self.scope = f"gcp:{project}"
        self.bucket = f"{project}-bucket"
        now = self.engine.clock.now()
        cloud.buckets.add(Bucket(self.bucket, project, "US", now, now))

    def close(self) -> None:
        """Deletes the endpoints that are left."""
        for endpoint in self("GET", f"{self.parent}/endpoints")[1].get("endpoints", []):
            split = {
                each["id"]: endpoint.get("trafficSplit", {}).get(each["id"], 0) for each in self.deployed(endpoint)
            }
            self("PATCH", f"{endpoint['name']}?updateMask=trafficSplit", {"trafficSplit": {}})
            for identifier in split:
                self.done("POST", f"{endpoint['name']}:undeployModel", {"deployedModelId": identifier})
            self.done("DELETE", endpoint["name"])

    def __call__(self, method: str, path: str, body: Any = None, *, api: str = "", **headers: str) -> tuple[int, Any]:
        """(status, body as JSON) of one request to Vertex AI, or to ``monitoring`` or ``logging``."""
        host = f"{api}.googleapis.com" if api else f"{self.region}-aiplatform.googleapis.com"
        version = {"monitoring": "v3", "logging": "v2"}.get(api, "v1")
        answer = in_process.call(self.cloud, method, host, f"/{version}/{path}", body, headers=headers)
        assert isinstance(answer.body, bytes)
        return answer.status, json.loads(answer.body)

    def ok(self, method: str, path: str, body: Any = None, **more: str) -> Any:
        """The body of a request that is expected to succeed."""
        status, answer = self(method, path, body, **more)
        assert status == 200, answer
        return answer

    def error(self, method: str, path: str, body: Any = None, **more: str) -> tuple[str, str]:
        """(code, message) of a request, or of its long-running operation, that is expected to fail."""
        status, answer = self(method, path, body, **more)
        if status == 200:
            answer = self._end(answer)
            numbers = {3: "INVALID_ARGUMENT", 5: "NOT_FOUND", 6: "ALREADY_EXISTS", 9: "FAILED_PRECONDITION"}
            return numbers[answer["error"]["code"]], answer["error"]["message"]
        return answer["error"]["status"], answer["error"]["message"]

    def done(self, method: str, path: str, body: Any = None) -> Any:
        """The response of a long-running operation that is expected to succeed."""
        ended = self._end(self.ok(method, path, body))
        assert "response" in ended, ended
        return ended["response"]

    def upload(self, model: Any = None, *, files: Mapping[str, bytes] | None = None, **more: Any) -> str:
        """Uploads a model from files of its own; ``more`` goes into the request beside it. Returns ``name@version``."""
        folder = f"models/{time.perf_counter_ns()}"
        content = {"model.joblib": dumped(model or trained())} if files is None else files
        for name, data in content.items():
            self.cloud.buckets.put(self.bucket, f"{folder}/{name}", self.cloud.buckets.write([data]), {})
        described = {
            "displayName": "churn",
            "containerSpec": {"imageUri": IMAGE},
            "artifactUri": f"gs://{self.bucket}/{folder}",
            **more.pop("about", {}),
        }
        made = self.done("POST", f"{self.parent}/models:upload", {"model": described, **more})
        return f"{made['model']}@{made['modelVersionId']}"

    def endpoint(self, *models: tuple[str, int], **about: Any) -> str:
        """An endpoint to which these models are deployed, each with its share of the traffic. Returns its name."""
        name: str = self.done("POST", f"{self.parent}/endpoints", {"displayName": "churn", **about})["name"]
        ids: list[str] = []
        for model, _ in models:
            split = {"0": 100} if not ids else {}
            ids.append(self.deploy(name, model, split))
        if models:
            split = dict(zip(ids, (share for _, share in models), strict=True))
            self.ok("PATCH", f"{name}?updateMask=trafficSplit", {"trafficSplit": split})
        return name

    def deploy(self, endpoint: str, model: str, split: Mapping[str, int] | None = None, **about: Any) -> str:
        """Deploys a model; returns the deployed model's id."""
        made = self.done("POST", f"{endpoint}:deployModel", self.deployment(model, split, **about))
        return str(made["deployedModel"]["id"])

    def deployment(self, model: str, split: Mapping[str, int] | None = None, **about: Any) -> dict[str, Any]:
        """The body of a request to deploy a model."""
        machine = {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1}
        described = {"model": model, "dedicatedResources": machine, **about}
        return {"deployedModel": described, "trafficSplit": dict(split or {})}

    def predict(self, endpoint: str, instances: Sequence[Any]) -> Any:
        return self.ok("POST", f"{endpoint}:predict", {"instances": list(instances)})

    def deployed(self, endpoint: Mapping[str, Any] | str) -> list[dict[str, Any]]:
        shown = self.ok("GET", endpoint) if isinstance(endpoint, str) else endpoint
        return list(shown.get("deployedModels", []))

    def _end(self, operation: dict[str, Any]) -> dict[str, Any]:
        if operation.get("done"):
            return operation
        return eventually(lambda: found if (found := self.ok("GET", operation["name"])).get("done") else None)
