"""Clouds of its own for each module of the foundations' tests, since the labs' names are fixed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.cloud import client, environment
from labkit.cloud.state import Lab
from labkit.labs.task import Work

DATA = Path(__file__).parents[3] / "data"


@pytest.fixture(scope="module")
def lab_clouds() -> Iterator[Lab]:
    """Clouds that only one module's tests use; the environment leads to them."""
    with client.fresh() as lab, pytest.MonkeyPatch.context() as patch:
        inside = environment.inside(lab, os.environ)
        for name in set(os.environ) - set(inside):
            patch.delenv(name)
        for name, value in inside.items():
            patch.setenv(name, value)
        patch.setattr("boto3.DEFAULT_SESSION", None)
        # read from the environment once, when the module is imported
        patch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", inside["GCE_METADATA_HOST"])
        yield lab


@pytest.fixture
def empty_clouds(lab_clouds: Lab) -> Lab:
    """Those clouds with nothing in them."""
    client.control(lab_clouds, "POST", "reset")
    return lab_clouds


@pytest.fixture
def work(tmp_path: Path, request: pytest.FixtureRequest) -> Work:
    """A lab's folder before anything was done, of the cloud that the module names as its ``CLOUD``."""
    folder = tmp_path / str(getattr(request.module, "CLOUD", "aws"))
    (folder / "build").mkdir(parents=True)
    return Work(folder, DATA)
