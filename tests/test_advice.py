"""What a learner is told when a cell fails for something that is missing above it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit import labs
from labkit.advice import CodeCell, advice, code_cells
from labkit.release import ROOT

CELLS = [
    CodeCell("names", 'import pandas as pd\nbucket = "b"\nfor each in range(3):\n    pass', ""),
    CodeCell("own", "# YOUR CODE HERE\npass", "deployer"),
    CodeCell("own-2", "# YOUR CODE HERE\npass", "caller"),
    CodeCell("sign-in", "def as_deployer():\n    inner = 1\n    return bucket", ""),
    CodeCell("own-3", "# YOUR CODE HERE\npass", "policy"),
    CodeCell("table", "draw(outcomes)", ""),
]
ERROR = ValueError("no")


def test_one_task_that_is_not_done_is_named() -> None:
    assert advice(CELLS, CELLS[3].source, None, ERROR, ["caller"]) == (
        "The task caller above is not done yet, and this cell may build on it: first see its check pass, "
        "then run this cell again."
    )


def test_several_are_named_in_the_notebooks_order_and_those_below_are_not() -> None:
    said = advice(CELLS, CELLS[3].source, None, ERROR, ["deployer", "caller", "policy"])
    assert said.startswith("The tasks deployer and caller above are not done yet, and this cell may build on them: ")
    assert "policy" not in said


def test_of_many_the_first_are_named() -> None:
    cells = [*(CodeCell(task, "pass", task) for task in "abcdef"), CodeCell("last", "1 / 0", "")]
    assert advice(cells, "1 / 0", None, ERROR, "abcdef").startswith("The tasks a, b, c and 3 more above are not done")
    assert advice(cells, "1 / 0", None, ERROR, "abcd").startswith("The tasks a, b, c and d above are not done")


def test_a_task_is_no_reason_for_its_own_cell() -> None:
    assert advice(CELLS, "mine = 1 / 0", "own", ERROR, ["deployer"]) == ""
    assert "task deployer above" in advice(CELLS, "mine = 1 / 0", "own-2", ERROR, ["deployer", "caller"])


def test_a_cell_that_the_notebook_does_not_have_is_not_explained() -> None:
    assert advice(CELLS, "something = else_", None, ERROR, ["deployer"]) == ""


@pytest.mark.parametrize("name", ["pd", "bucket", "each"])
def test_a_name_of_a_cell_that_has_not_run_is_said(name: str) -> None:
    said = advice(CELLS, CELLS[5].source, None, NameError(name=name), [])
    assert said.startswith(f"{name} comes from a cell above, which has not run to its end since the kernel started: ")


@pytest.mark.parametrize("name", ["inner", "nobody", "draw"])
def test_a_name_that_no_cell_gives_is_not_explained(name: str) -> None:
    assert advice(CELLS, CELLS[5].source, None, NameError(name=name), []) == ""


@pytest.mark.parametrize("name", labs.names())
def test_every_task_of_every_lab_has_its_cell(name: str) -> None:
    tasks = [each.task for each in code_cells(ROOT / "notebooks" / f"{name}.ipynb") if each.task]
    assert tasks == [task.name for task in labs.load(name).tasks]


def test_a_notebook_that_cannot_be_read_has_no_cells(tmp_path: Path) -> None:
    assert code_cells(tmp_path / "none.ipynb") == []
    (tmp_path / "broken.ipynb").write_text(json.dumps({"worksheets": []}))
    assert code_cells(tmp_path / "broken.ipynb") == []
