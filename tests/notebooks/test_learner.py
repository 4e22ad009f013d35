"""A learner who runs a notebook from top to bottom without having answered anything reads sentences, not tracebacks."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from labkit import labs
from labkit.cloud import client, environment
from labkit.release import ROOT


@pytest.mark.parametrize("name", labs.names())
def test_unanswered_tasks_are_met_with_a_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = ROOT / "notebooks" / f"{name}.ipynb"
    shutil.copytree(released.parent, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build", "*.py"))
    notebook = nbformat.read(released, as_version=4)
    with client.fresh() as lab:
        for variable, value in environment.inside(lab, os.environ).items():
            monkeypatch.setenv(variable, value)
        resources = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=120, allow_errors=True, resources=resources).execute()

    checks = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert len(checks) == len(labs.load(name).tasks)
    for cell in checks:
        task = cell.metadata.nbgrader.grade_id.removeprefix("check-")
        (output,) = cell.outputs
        assert output.ename == "CheckFailed", output
        # What the lab's own cells have made is there to be cleaned up, whoever answers.
        states = "not attempted|not right" if task == "cleanup" else "not attempted"
        assert re.match(f"✗ {task} is (?:{states}) yet: found ", output.evalue), output.evalue
        assert " ".join(output.traceback) == output.evalue
        assert "\n" not in output.evalue
    others = [(cell.id, out) for cell in notebook.cells if cell not in checks for out in cell.get("outputs", [])]
    for cell, output in others:
        assert output.get("name") != "stderr", (cell, output)
        if output.output_type == "error":
            said = " ".join(output.traceback)
            assert re.match(r"The tasks? .* above (?:is|are) not done yet, and this cell may build on", said), cell
            assert "site-packages" not in said, cell
    answers = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert not [cell.id for cell in answers for output in cell.outputs if output.output_type == "error"]
