"""Google Cloud in this process: an engine and a cloud on it, for all tests of a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from labkit.cloud.engine import Engine
from labkit.cloud.gcp import GcpCloud
from tests.cloud.gcp.in_process import Lab
from tests.cloud.gcp.vertex_world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("gcp-engine"))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def cloud(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcpCloud]:
    """A Google Cloud for all tests; they work in projects of their own so that they do not meet."""
    cloud = GcpCloud(engine, Lab(tmp_path_factory.mktemp("gcp-lab")))
    yield cloud
    cloud.close()


@pytest.fixture
def world(cloud: GcpCloud) -> Iterator[World]:
    """Vertex AI, Monitoring and Logging over plain REST, in a project that no other test has."""
    world = World(cloud, f"project-{next(_numbers)}")
    yield world
    world.close()
