"""AWS in this process: an engine, a cloud on it, and a world for each test of SageMaker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine import Engine
from tests.cloud.aws import in_process
from tests.cloud.aws.event_world import EventWorld
from tests.cloud.aws.pipeline_world import Pipelines
from tests.cloud.aws.sagemaker_world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    engine.launcher.warm()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def cloud(engine: Engine) -> Iterator[AwsCloud]:
    cloud = AwsCloud(engine, in_process.Keys(), lambda: {"HTTPS_PROXY": "http://127.0.0.1:9", "LABKIT_STATE": "secret"})
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def client(cloud: AwsCloud) -> Callable[[str], Any]:
    """boto3 clients of the module's cloud, by service; making one takes a while."""
    return lru_cache(lambda service: in_process.client(cloud, service))


@pytest.fixture
def world(client: Callable[[str], Any]) -> Iterator[World]:
    """A bucket and a role of the test's own in the module's cloud, and clients; its endpoints end with the test."""
    world = World(client, f"t{next(_numbers)}")
    yield world
    world.close()


@pytest.fixture
def events(cloud: AwsCloud, client: Callable[[str], Any]) -> EventWorld:
    """Names of the test's own in the module's cloud, for what happens by itself there."""
    return EventWorld(cloud, client)


@pytest.fixture
def pipelines(client: Callable[[str], Any]) -> Iterator[Pipelines]:
    """As :func:`world`, with jobs and pipelines; its role is an administrator."""
    world = Pipelines(client, f"p{next(_numbers)}")
    world.iam.attach_role_policy(RoleName=world.name("role"), PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    yield world
    world.close()
