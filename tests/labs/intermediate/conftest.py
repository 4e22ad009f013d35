"""The second project's lab folder, on clouds of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.cloud import client
from labkit.cloud.state import Lab
from labkit.labs.intermediate.gcp_project import Project
from labkit.labs.task import Work
from tests.labs.beginner.conftest import DATA, ROOT, customers, model_file
from tests.labs.intermediate.azure_world import World, opened

__all__ = ["customers", "model_file"]
SOLVED = ROOT / "solutions" / "intermediate" / "aws"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """The lab's folder with the steps in it."""
    folder = tmp_path / "aws"
    shutil.copytree(SOLVED, folder, ignore=shutil.ignore_patterns("build", "__pycache__"))
    return Work(folder, DATA)


@pytest.fixture
def azure_world(tmp_path: Path) -> Iterator[World]:
    """A workspace in clouds of its own."""
    with opened(tmp_path) as world:
        yield world


@pytest.fixture
def azure_work(tmp_path: Path) -> Work:
    """The lab's folder with nothing in it."""
    (tmp_path / "azure" / "build").mkdir(parents=True)
    return Work(tmp_path / "azure", DATA)


@pytest.fixture
def gcp_project(lab_clouds: Lab) -> Project:
    """A project with the pipeline's account and nothing else."""
    from tests.labs.intermediate import gcp_world  # KFP takes seconds to import; the other clouds' tests go without

    client.control(lab_clouds, "POST", "reset")
    gcp_world.account()
    return Project()
