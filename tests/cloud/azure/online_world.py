"""What a test of online endpoints needs around it: assets, an endpoint, deployments in a line, and a way to score."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.cloud.azure.in_process import Rest, call, token
from tests.waiting import eventually

#: A script that answers what it was sent, and obeys orders that come instead of data.
ORDERS = """
import json, os, time, glob
def init():
    print("init of", os.environ.get("NAME", "nobody"))
def run(raw):
    order = json.loads(raw or "{}")
    if not isinstance(order, dict):
        return order
    if "print" in order:
        print(order["print"])
    if "touch" in order:
        open(order["touch"], "a").write(os.environ.get("NAME", "") + "\\n")
    if "wait" in order:
        while not os.path.exists(order["wait"]):
            time.sleep(0.005)
    if "sleep" in order:
        time.sleep(order["sleep"])
    if "exit" in order:
        os._exit(order["exit"])
    if "raise" in order:
        raise RuntimeError(order["raise"])
    if "unserializable" in order:
        return object()
    if "env" in order:
        return {name: os.environ.get(name) for name in order["env"]}
    return {"name": os.environ.get("NAME", ""), "pid": os.getpid(), **order}
"""


@dataclass
class Scored:
    """What came back from an endpoint; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """One endpoint called ``name``, of plain REST, and its assets."""

    def __init__(self, rest: Rest, name: str) -> None:
        self.rest = rest
        self.cloud = rest.cloud
        self.name = name
        self.path = f"{rest.workspace}/onlineEndpoints/{name}"
        self.host = f"https://{name}.eastus.inference.ml.azure.com"
        self._assets = 0
        self._keys: dict[str, str] = {}

    # -- assets ------------------------------------------------------------------------------------------------------

    def code(self, script: str, **others: str) -> str:
        """A code version with ``score.py``, and modules by name."""
        path = self._version("codes")
        _, upload, _ = self.rest("POST", f"{path}/startPendingUpload", {"pendingUploadType": "TemporaryBlobReference"})
        files = {"score": script, **others}
        container = self._upload(
            upload["blobReferenceForConsumption"]["credential"]["sasUri"],
            {f"src/{name}.py": textwrap.dedent(text).encode() for name, text in files.items()},
        )
        return self._put(path, {"codeUri": f"{container}/src"})

    def model(self, files: Mapping[str, bytes], at: str = "model") -> str:
        """A model version with these files; ``at`` is the path that it is registered by."""
        path = self._version("codes")
        _, upload, _ = self.rest("POST", f"{path}/startPendingUpload", {"pendingUploadType": "TemporaryBlobReference"})
        container = self._upload(upload["blobReferenceForConsumption"]["credential"]["sasUri"], files)
        return self._put(self._version("models"), {"modelUri": f"{container}/{at}", "modelType": "custom_model"})

    def environment(self, conda: str = "dependencies: [python, pip]") -> str:
        """An environment version with a conda file."""
        image = "mcr.microsoft.com/azureml/minimal-ubuntu22.04-py39-cpu-inference:latest"
        return self._put(self._version("environments"), {"image": image, "condaFile": conda})

    # -- the endpoint ------------------------------------------------------------------------------------------------

    def make(self, **properties: Any) -> dict[str, Any]:
        """Makes the endpoint, or changes it; what is not given has its default."""
        body = {"location": "eastus", "properties": {"authMode": "Key", **properties}}
        return self.done("PUT", self.path, body)

    def deploy(self, name: str = "blue", **properties: Any) -> dict[str, Any]:
        """Makes a deployment, or changes it, and waits for it."""
        return self.done("PUT", f"{self.path}/deployments/{name}", self.deployment(**properties))

    def serve(self, *names: str, traffic: Mapping[str, int] | None = None, **properties: Any) -> None:
        """An endpoint with deployments of the script that obeys orders; the first has all traffic, unless told."""
        self.make()
        names = names or ("blue",)
        code, environment = self.code(ORDERS), self.environment()
        for name in names:
            variables = {"NAME": name, **properties.get("environmentVariables", {})}
            chosen = {**properties, "environmentVariables": variables}
            self.deploy(name, codeConfiguration=_script(code), environmentId=environment, **chosen)
        self.make(traffic=traffic or {names[0]: 100})

    def deployment(
        self, script: str = ORDERS, instances: int = 1, tags: dict[str, str] | None = None, **properties: Any
    ) -> dict[str, Any]:
        """The body of a request for a deployment. A property None is left out."""
        if "codeConfiguration" not in properties:
            properties["codeConfiguration"] = _script(self.code(script))
        if "environmentId" not in properties:
            properties["environmentId"] = self.environment()
        chosen = {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", **properties}
        return {
            "location": "eastus",
            "sku": {"name": "Default", "capacity": instances},
            "tags": tags or {},
            "properties": {key: value for key, value in chosen.items() if value is not None},
        }

    def done(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Has something done that takes a while, and answers the resource as it is then."""
        self.ends(method, path, body, "Succeeded")
        status, shown, _ = self.rest("GET", path)
        return shown if status == 200 else {}

    def fails(self, method: str, path: str, body: Any = None) -> tuple[str, str]:
        """Has something done that fails in the end: the code and the message of its error."""
        error = self.ends(method, path, body, "Failed")["error"]
        return error["code"], error["message"]

    def ends(self, method: str, path: str, body: Any, status: str) -> dict[str, Any]:
        """Has something done that ends with this status; the operation as it is then."""
        begun, answer, headers = self.rest(method, path, body)
        assert begun in (200, 201, 202), answer
        found = self.wait(headers["azure-asyncoperation"])
        assert found["status"] == status, found
        return found

    def wait(self, operation: str) -> dict[str, Any]:
        """An operation, once it has ended."""

        def ended() -> dict[str, Any] | None:
            _, found, _ = self.rest("GET", urlsplit(operation).path)
            return None if found["status"] in ("InProgress", "Running", "NotStarted") else dict(found)

        return eventually(ended)

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """(status, reason) of a request that the inferencing service does not take."""
        status, answer, _ = self.rest(method, path, body)
        error = answer["error"]
        if not error.get("details"):
            return status, f"{error['code']}: {error['message']}"
        (detail,) = error["details"]
        assert (error["code"], detail["code"]) == ("BadRequest", "InferencingClientCallFailed")
        ((reason,),) = json.loads(detail["message"])["errors"].values()
        return status, reason

    def logs(self, deployment: str = "blue", **asked: Any) -> str:
        """What ``getLogs`` answers."""
        status, answer, _ = self.rest("POST", f"{self.path}/deployments/{deployment}/getLogs", asked)
        assert status == 200, answer
        return str(answer["content"])

    def logged(self, text: str, deployment: str = "blue", **asked: Any) -> str:
        """The same once ``text`` is in it: output comes through a pipe, a little later."""
        return eventually(lambda: log if text in (log := self.logs(deployment, **asked)) else "")

    # -- scoring -----------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> dict[str, str]:
        status, keys, _ = self.rest("POST", f"{self.path}/listKeys")
        assert status == 200, keys
        return dict(keys)

    def score(
        self,
        body: Any = None,
        deployment: str = "",
        credential: str | None = None,
        path: str = "/score",
        method: str = "POST",
        **headers: str,
    ) -> Scored:
        """One request to the scoring URI, with the endpoint's key unless a credential is given. Bytes go as is."""
        if credential is None:
            self._keys = self._keys or self.keys
            credential = self._keys["primaryKey"]
        sent = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if credential:
            sent["Authorization"] = f"Bearer {credential}"
        if deployment:
            sent["azureml-model-deployment"] = deployment
        answer = call(self.cloud, method, f"{self.host}{path}", body, sent)
        names = [name.lower() for name, _ in answer.headers]
        assert len(set(names)) == len(names), names
        return Scored(answer.status, {name.lower(): value for name, value in answer.headers}, bytes(answer.body))

    def token(self, audience: str) -> str:
        return token(self.cloud, audience)

    def close(self) -> None:
        self.rest("DELETE", self.path)

    # -- steps -------------------------------------------------------------------------------------------------------

    def _version(self, kind: str) -> str:
        self._assets += 1
        return f"{self.rest.workspace}/{kind}/{self.name}-{self._assets}/versions/1"

    def _put(self, path: str, properties: dict[str, Any]) -> str:
        status, answer, _ = self.rest("PUT", path, {"properties": properties})
        assert status in (200, 201), answer
        return str(answer["id"])

    def _upload(self, address: str, files: Mapping[str, bytes]) -> str:
        """Uploads files to a signed address; the container's own address."""
        container, _, signature = address.partition("?")
        for name, content in files.items():
            answer = call(
                self.cloud, "PUT", f"{container}/{name}?{signature}", content, {"x-ms-blob-type": "BlockBlob"}
            )
            assert answer.status == 201, answer.body
        return container


def _script(code: str) -> dict[str, str]:
    return {"codeId": code, "scoringScript": "score.py"}
