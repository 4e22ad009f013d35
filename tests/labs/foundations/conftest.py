"""Clouds of its own for each module of the foundations' tests, since the labs' names are fixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.labs.task import Work

DATA = Path(__file__).parents[3] / "data"


@pytest.fixture
def work(tmp_path: Path, request: pytest.FixtureRequest) -> Work:
    """A lab's folder before anything was done, of the cloud that the module names as its ``CLOUD``."""
    folder = tmp_path / str(getattr(request.module, "CLOUD", "aws"))
    (folder / "build").mkdir(parents=True)
    return Work(folder, DATA)
