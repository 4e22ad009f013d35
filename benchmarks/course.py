"""The course: every solved notebook under papermill and nbval, beside what its cells' own work takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bare import ROOT
from benchmarks.results import Line

PART = "The course"


def measure(quick: bool) -> Iterator[Line]:
    """Lines on the notebooks in ``solutions/``; in quick mode on the foundations' or beginner's first alone."""
    names = sorted(str(each.relative_to(ROOT / "solutions").with_suffix("")) for each in _notebooks())
    if quick:
        names = names[:1]
    own = total = 0.0
    for name in names:
        seconds, cells = _papermill(name)
        own, total = own + cells, total + seconds
        what = f"{name}, papermill on fresh clouds"
        yield Line(PART, what, seconds, "s", seconds / cells, "its cells' own work", 1.3)
    if quick:
        return
    what = f"all {len(names)} notebooks, papermill, one after the other"
    yield Line(PART, what, total, "s", total / own, "the cells' own work", 1.3)
    # As `make test` has them, two at a time on two processors: much of a lab is waiting for the clouds.
    run = _seconds("labkit", "run")
    yield Line(PART, f"all {len(names)} notebooks, labkit run", run, "s", run / own, "the cells' own work")
    plugins = ("-n", str(os.cpu_count()), "--dist", "loadfile", "-p", "tests.fresh_clouds", "--nbval")
    nbval = _seconds("pytest", "-q", *plugins, "--nbval-sanitize-with", "tests/nbval.cfg", "solutions")
    yield Line(PART, f"all {len(names)} notebooks, nbval", nbval, "s", nbval / own, "the cells' own work")
    yield Line(PART, "the whole course, papermill and nbval", run + nbval, "s", limit=180.0)


def _seconds(*module: str) -> float:
    """How long a module takes, run at the checkout's top; raises RuntimeError with its last words when it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=_outside(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(module[:2])} failed: {done.stdout[-2000:]}")
    return seconds


def _notebooks() -> Iterator[Path]:
    for each in (ROOT / "solutions").rglob("*.ipynb"):
        if not any(part.startswith(".") for part in each.parts):
            yield each


def _outside() -> dict[str, str]:
    """The environment without these clouds, as at a terminal."""
    return {name: value for name, value in os.environ.items() if name != "LABKIT_STATE"}


#: Runs in a process of its own, on fresh clouds: executes the notebook given, prints the cells' seconds.
_EXECUTE = """
import json, shutil, sys, tempfile, time
from pathlib import Path
import nbformat, papermill
solved = Path(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    copy = Path(folder) / solved.parent.name
    shutil.copytree(solved.parent, copy, ignore=shutil.ignore_patterns("build", "__pycache__", ".ipynb*"))
    started = time.perf_counter()
    notebook = papermill.execute_notebook(
        copy / solved.name, copy / solved.name, cwd=copy, progress_bar=False, request_save_on_cell_execute=False
    )
    seconds = time.perf_counter() - started
cells = [cell.metadata.papermill.duration or 0.0 for cell in notebook.cells if cell.cell_type == "code"]
print(json.dumps([seconds, sum(cells)]))
"""


def _papermill(name: str) -> tuple[float, float]:
    """The seconds of a notebook's whole execution on clouds of its own, and those of its cells."""
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "labkit", "exec", "--fresh", "--"),
                *(sys.executable, "-c", _EXECUTE, str(ROOT / "solutions" / f"{name}.ipynb")),
            ],
            env=_outside(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        errors.seek(0)
        if done.returncode:
            raise RuntimeError(f"{name} failed: {errors.read()[-2000:]}")
    seconds, cells = json.loads(done.stdout.splitlines()[-1])
    return seconds, cells
