"""What makes MLflow's clients understand tracking URIs of a workspace: ``azureml://{region}.api.azureml.ms/mlflow/...``.

It stands for the package azureml-mlflow, whose pins (mlflow-skinny, azure-storage-blob, pytz) exclude the versions that
the kit has. MLflow loads it by the entry points in ``pyproject.toml``; nothing of the clouds imports it.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

from mlflow.entities import FileInfo
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.model_registry.rest_store import RestStore as RegistryStore
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.request_utils import augmented_raise_for_status
from mlflow.utils.rest_utils import MlflowHostCreds, http_request

#: For whom tokens are asked for.
SCOPE = "https://ml.azure.com/.default"
#: Seconds before its end when a token is replaced.
EARLY = 300.0

_tokens: dict[str, tuple[str, float]] = {}


def credentials(uri: str) -> MlflowHostCreds:
    """Where a workspace's tracking interface is, and a token for it: a job's own, else of the default credential."""
    return MlflowHostCreds(uri.replace("azureml://", "https://", 1).rstrip("/"), token=_token())


class TrackingStore(RestStore):
    """The runs and experiments of a workspace."""

    def __init__(self, store_uri: str, artifact_uri: str | None = None) -> None:
        super().__init__(partial(credentials, store_uri))


class ModelRegistry(RegistryStore):
    """The workspace's models, with their versions."""

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        super().__init__(partial(credentials, store_uri))


class ArtifactRepository(HttpArtifactRepository):
    """The artifacts of a run: ``azureml://{host}/mlflow/v1.0{workspace}/runs/{run}/artifacts[/path]``."""

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None, **others: Any
    ) -> None:
        workspace, _, rest = artifact_uri.partition("/runs/")
        self._tracking = workspace
        self._run, _, path = rest.partition("/artifacts")
        self._root = path.strip("/")
        where = f"{workspace.replace('azureml://', 'https://', 1)}/api/2.0/mlflow-artifacts/artifacts/{self._run}{path}"
        super().__init__(where, tracking_uri, registry_uri, **others)

    @property
    def _host_creds(self) -> MlflowHostCreds:
        return MlflowHostCreds(self.artifact_uri, token=_token())

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """What is directly below a folder; nothing below a file."""
        wanted = "/".join(filter(None, (self._root, path)))
        endpoint, query = "/api/2.0/mlflow/artifacts/list", {"run_id": self._run, "path": wanted}
        answer = http_request(credentials(self._tracking), endpoint, "GET", params=query)
        augmented_raise_for_status(answer)
        start = f"{self._root}/" if self._root else ""
        return [
            FileInfo(each["path"].removeprefix(start), each["is_dir"], each.get("file_size"))
            for each in answer.json()["files"]
        ]


def _token() -> str:
    if given := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return given
    held = _tokens.get(SCOPE)
    if held is None or held[1] - EARLY < time.time():
        from azure.identity import DefaultAzureCredential

        token = DefaultAzureCredential().get_token(SCOPE)
        held = _tokens[SCOPE] = token.token, float(token.expires_on)
    return held[0]
