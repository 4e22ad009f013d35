"""The second project's lab folder, on clouds of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labkit.labs.task import Work
from tests.labs.beginner.conftest import DATA, ROOT, customers, empty_clouds, lab_clouds, model_file

__all__ = ["customers", "empty_clouds", "lab_clouds", "model_file"]
SOLVED = ROOT / "solutions" / "intermediate" / "aws"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """The lab's folder with the steps in it."""
    folder = tmp_path / "aws"
    shutil.copytree(SOLVED, folder, ignore=shutil.ignore_patterns("build", "__pycache__"))
    return Work(folder, DATA)
