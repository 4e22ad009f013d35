"""What Vertex AI holds in one project and location: models and endpoints."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp.vertex_names import does_not_exist, split, v1
from labkit.cloud.gcp.vertex_registry import Model, Version

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call
    from labkit.cloud.gcp.vertex_hosting import Endpoint


class State:
    """Models and endpoints by id. Whatever reads or changes a model holds ``lock``."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.lock = threading.RLock()

    def model(self, call: Call, name: str) -> tuple[Model, str]:
        """The model that a name means, and the version in it (``""`` for none); raises :class:`GcpError`."""
        identifier, version = split(call, name, "models")
        found = self.models.get(identifier)
        if found is None:
            raise does_not_exist("models")
        return found, version

    def endpoint(self, call: Call, name: str) -> Endpoint:
        """The endpoint of a name; raises :class:`GcpError`."""
        found = self.endpoints.get(split(call, name, "endpoints")[0])
        if found is None:
            raise does_not_exist("endpoints")
        return found

    def deployed(self, model: Model, version: Version | None = None) -> Iterator[Any]:
        """References to where a model, or one version of it, is deployed or is about to be."""
        for endpoint in list(self.endpoints.values()):
            for each in endpoint.uses():
                if each.model is model and version in (None, each.version):
                    yield v1.DeployedModelRef(endpoint=endpoint.name, deployed_model_id=each.id)

    def inventory(self) -> dict[str, list[str]]:
        """The display names of models and endpoints."""
        with self.lock:
            models = sorted(model.default.display_name for model in self.models.values())
            endpoints = sorted(endpoint.asked.display_name for endpoint in self.endpoints.values())
        return {"models": models, "endpoints": endpoints}

    def close(self) -> None:
        """Stops every endpoint."""
        for endpoint in list(self.endpoints.values()):
            endpoint.close()
