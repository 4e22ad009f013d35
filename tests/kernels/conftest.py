"""An environment with a warm process of its own, and kernels that are started in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.kernels import warm
from tests.kernels.warm_kernels import Kernel, lean, nursery


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment whose warm process is the test's own, and no clouds: a file stands where they would be."""
    (tmp_path / "blocked").write_text("")
    (tmp_path / "packages").mkdir()
    paths = [str(tmp_path / "packages"), *filter(None, [os.environ.get("PYTHONPATH")])]
    for name, value in (
        ("XDG_STATE_HOME", str(tmp_path)),
        ("LABKIT_STATE", str(tmp_path / "blocked")),
        ("PYTHONPATH", os.pathsep.join(paths)),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(warm, "PROGRAM", lean())
    monkeypatch.setattr(warm, "WAIT", 60.0)
    return dict(os.environ)


@pytest.fixture
def kernels(tmp_path: Path, environ: dict[str, str]) -> Iterator[Callable[..., Kernel]]:
    with nursery(tmp_path, environ) as start:
        yield start
