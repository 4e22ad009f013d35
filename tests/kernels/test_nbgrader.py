"""An nbgrader course whose notebooks run in forked kernels: what is right, what fails, and what follows it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from labkit.cloud.state import Lab
from labkit.kernels import warm
from labkit.kernels.install import NAME
from tests.kernels.warm_kernels import Kernel, start_warm

pytestmark = pytest.mark.skipif(not warm.wanted({}), reason="kernels are forked on Linux only")

CONFIG = 'c = get_config()\nc.CourseDirectory.course_id = "course"\nc.ExecutePreprocessor.timeout = 120\n'
SOLUTION = "### BEGIN SOLUTION\nx = 41\n### END SOLUTION"
SCORES = """
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    for work in book.assignment_submissions("one"):
        grades = sorted(work.notebooks[0].grades, key=lambda grade: grade.name)
        print(work.student.id, *(int(grade.auto_score) for grade in grades))
"""


def cell(name: str, source: str, points: int = 0) -> nbformat.NotebookNode:
    """A graded cell, or the learner's."""
    graded = {"grade": True, "locked": True, "points": points, "solution": False}
    mine = {"grade": False, "locked": False, "solution": True}
    kind = {"schema_version": 3, "grade_id": name, "task": False, **(graded if points else mine)}
    return new_code_cell(source, metadata={"nbgrader": kind})


def test_a_course_is_graded_in_forked_kernels(
    kernels: Callable[..., Kernel], environ: dict[str, str], clouds: Lab, tmp_path: Path
) -> None:
    parent = start_warm(environ)
    kernels()  # installs the kernel's specification
    course = tmp_path / "a course"
    source = course / "source" / "one"
    source.mkdir(parents=True)
    (course / "nbgrader_config.py").write_text(CONFIG)
    notebook = new_notebook(
        cells=[
            cell("mine", SOLUTION),
            cell("a-forked", f"import os\nassert os.getppid() == {parent}", 1),
            cell("b-right", "assert x == 41", 1),
            cell("c-wrong", "assert x == 42", 1),
            cell("d-goes-on", "assert x == 41", 1),
        ],
        metadata={"kernelspec": {"name": NAME, "display_name": "Local clouds", "language": "python"}},
    )
    nbformat.write(notebook, source / "one.ipynb")
    # nbgrader calls alembic by its name.
    path = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])
    jupyter = str(tmp_path / "prefix" / "share" / "jupyter")
    run = {**environ, "PATH": path, "JUPYTER_PATH": jupyter, "LABKIT_STATE": str(clouds.folder)}

    def nbgrader(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *words], cwd=course, env=run, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    nbgrader("generate_assignment", "one")
    for student, given in (("right", source), ("empty", course / "release" / "one")):
        work = course / "submitted" / student / "one"
        work.mkdir(parents=True)
        (work / "one.ipynb").write_bytes((given / "one.ipynb").read_bytes())
    nbgrader("autograde", "one")
    scores = subprocess.check_output([sys.executable, "-c", SCORES], cwd=course, env=run, text=True)
    assert sorted(scores.splitlines()) == ["empty 1 0 0 0", "right 1 1 0 1"]
