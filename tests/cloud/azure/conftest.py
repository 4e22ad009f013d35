"""Azure in this process: an engine, a cloud on it, and its SDKs, imported once for all tests."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from labkit.cloud.engine import Engine
from tests.cloud.azure import in_process
from tests.cloud.azure.online_world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("azure-engine"))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def cloud(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureCloud]:
    """An Azure for all tests; they name what they make so that they do not meet."""
    cloud = AzureCloud(engine, in_process.Lab(tmp_path_factory.mktemp("azure-lab")))
    yield cloud
    cloud.close()


@pytest.fixture
def reached(cloud: AzureCloud) -> Iterator[AzureCloud]:
    """The cloud, reached by every client that stands on ``requests``."""
    with in_process.reached(cloud):
        yield cloud


@pytest.fixture(scope="session")
def rest(cloud: AzureCloud) -> in_process.Rest:
    """Resource Manager over plain REST."""
    return in_process.Rest(cloud)


@pytest.fixture
def name() -> str:
    """A name that no other test has; fit for every kind of resource."""
    return f"test{next(_numbers)}x"


@pytest.fixture(scope="session")
def sdk() -> Any:
    """The module ``azure.ai.ml``; importing it takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import azure.ai.ml.entities

    return azure.ai.ml


@pytest.fixture
def ml(sdk: Any, reached: AzureCloud) -> Any:
    """An ``MLClient`` of the lab's own workspace."""
    from azure.identity import DefaultAzureCredential

    return sdk.MLClient(DefaultAzureCredential(), reached.identities.subscription, "learning", "mlops")


@pytest.fixture
def mlflow(reached: AzureCloud, rest: in_process.Rest) -> Iterator[Any]:
    """The module ``mlflow``, which tracks in the lab's workspace."""
    module = pytest.importorskip("mlflow")
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
    from mlflow.tracking._model_registry.utils import _get_store_registry
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry

    from labkit.cloud.azure import mlflow_plugin

    # What the entry points of an installed kit do.
    _tracking_store_registry.register("azureml", mlflow_plugin.TrackingStore)
    _artifact_repository_registry.register("azureml", mlflow_plugin.ArtifactRepository)
    _get_store_registry().register("azureml", mlflow_plugin.ModelRegistry)
    _, workspace, _ = rest("GET", rest.workspace)
    module.set_tracking_uri(workspace["properties"]["mlFlowTrackingUri"])
    yield module
    module.end_run()


@pytest.fixture
def world(rest: in_process.Rest, name: str) -> Iterator[World]:
    """An online endpoint of the test's own, to be made, and what is needed to deploy to it."""
    world = World(rest, name)
    yield world
    world.close()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """A world in clouds of its own, whose clock may be advanced."""
    engine = Engine(tmp_path / "engine")
    (tmp_path / "lab").mkdir()
    cloud = AzureCloud(engine, in_process.Lab(tmp_path / "lab"))
    try:
        yield World(in_process.Rest(cloud), "own")
    finally:
        cloud.close()
        engine.close()
