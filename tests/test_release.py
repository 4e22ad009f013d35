"""The learners' notebooks: made from the solved ones, without the answers, byte for byte the same each time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from labkit import labs
from labkit.release import ROOT, STUB, learner_notebook, release, solved_notebooks

SOLVED = solved_notebooks()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the release reads and writes."""
    for name in ("solutions", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("build"))
    return tmp_path


def cells(text: str) -> dict[str, nbformat.NotebookNode]:
    return {cell.id: cell for cell in nbformat.reads(text, as_version=4).cells}


def test_every_lab_has_a_solved_notebook_and_the_other_way_round() -> None:
    assert [f"{file.parent.name}/{file.stem}" for file in SOLVED] == sorted(labs.names())


@pytest.mark.parametrize("solved", SOLVED, ids=lambda file: f"{file.parent.name}/{file.stem}")
class TestEach:
    def test_what_is_committed_is_what_is_made(self, solved: Path) -> None:
        committed = ROOT / "notebooks" / solved.relative_to(ROOT / "solutions")
        assert committed.read_text() == learner_notebook(solved) == learner_notebook(solved)

    def test_no_answer_and_no_output_is_left(self, solved: Path) -> None:
        solutions, released = cells(solved.read_text()), cells(learner_notebook(solved))
        assert list(released) == list(solutions)
        for id, cell in released.items():
            assert "SOLUTION" not in cell.source
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None
            for block in solutions[id].source.split("### BEGIN SOLUTION")[1:]:
                answer = block.partition("### END SOLUTION")[0].strip()
                assert answer not in cell.source
                assert STUB.splitlines()[0] in cell.source

    def test_every_task_has_a_cell_to_complete_and_a_check_below_it(self, solved: Path) -> None:
        lab = labs.load(f"{solved.parent.name}/{solved.stem}")
        graded = [cell.metadata.nbgrader for cell in cells(solved.read_text()).values() if "nbgrader" in cell.metadata]
        assert [meta.grade_id for meta in graded if meta.solution] == [task.name for task in lab.tasks]
        assert [(meta.grade_id, meta.points) for meta in graded if meta.grade] == [
            (f"check-{task.name}", task.points) for task in lab.tasks
        ]
        for task in lab.tasks:
            check = next(
                cell
                for cell in cells(solved.read_text()).values()
                if cell.metadata.get("nbgrader", {}).get("grade_id") == f"check-{task.name}"
            )
            assert check.source == f'lab.check("{task.name}")'
            assert ("cleanup" in check.metadata.get("tags", [])) is task.after_cleanup

    def test_checks_are_locked_and_answers_can_be_written(self, solved: Path) -> None:
        for cell in cells(learner_notebook(solved)).values():
            if "nbgrader" in cell.metadata:
                assert cell.metadata.deletable is False
                assert cell.metadata.get("editable", True) is cell.metadata.nbgrader.solution

    def test_cells_have_names_and_a_sentence_before_them(self, solved: Path) -> None:
        notebook = nbformat.read(solved, as_version=4)
        assert notebook.metadata.kernelspec.name == "local-clouds"
        for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
            assert cell.id.replace("-", "").isalpha()
            is_check = cell.metadata.get("nbgrader", {}).get("grade", False)
            if cell.cell_type == "code" and not is_check:
                assert before.cell_type == "markdown", f"{cell.id} has no sentence before it"


def test_a_second_release_changes_nothing(checkout: Path) -> None:
    assert release(root=checkout) == []
    assert release(check=True, root=checkout) == []


def test_check_names_what_differs_and_release_repairs_it(checkout: Path) -> None:
    notebook = checkout / "notebooks" / "beginner" / "aws.ipynb"
    content = json.loads(notebook.read_text())
    content["cells"][3]["source"] = ["something else"]
    notebook.write_text(json.dumps(content))
    (checkout / "notebooks" / "beginner" / "aws" / "sample.json").unlink()
    (checkout / "notebooks" / "beginner" / "own.ipynb").write_text("{}")
    name = content["cells"][3]["id"]
    differences = [
        f"notebooks/beginner/aws.ipynb differs from what solutions/ makes in {name}",
        "notebooks/beginner/aws/sample.json is missing",
        "notebooks/beginner/own.ipynb has no solved notebook in solutions/",
    ]
    assert release(check=True, root=checkout) == differences
    assert release(root=checkout) == [
        "wrote notebooks/beginner/aws.ipynb",
        "wrote notebooks/beginner/aws/sample.json",
        differences[2],
    ]
    assert release(check=True, root=checkout) == [differences[2]]


@pytest.mark.parametrize("content", ["", "no notebook", "[]"])
def test_check_says_when_a_notebook_cannot_be_read(checkout: Path, content: str) -> None:
    (checkout / "notebooks" / "beginner" / "aws.ipynb").write_text(content)
    assert release(check=True, root=checkout) == ["notebooks/beginner/aws.ipynb is no notebook that can be read"]


def test_files_with_answers_and_files_that_a_run_makes_are_not_released(checkout: Path) -> None:
    folder = checkout / "solutions" / "beginner" / "aws"
    (folder / "build").mkdir()
    (folder / "build" / "model.tar.gz").write_bytes(b"made")
    (folder / "extra.json").write_text("{}")
    assert release(root=checkout) == ["wrote notebooks/beginner/aws/extra.json"]
    released = {path.name for path in (checkout / "notebooks" / "beginner" / "aws").iterdir()}
    assert released == {"sample.json", "extra.json"}


def test_broken_markers_are_an_error(checkout: Path) -> None:
    solved = checkout / "solutions" / "beginner" / "aws.ipynb"
    solved.write_text(solved.read_text().replace("### END SOLUTION", "###", 1))
    with pytest.raises(RuntimeError, match="no end solution statement found"):
        release(root=checkout)


def test_hidden_tests_are_taken_out(tmp_path: Path) -> None:
    meta = {"grade": True, "solution": False, "locked": True, "task": False, "points": 1, "schema_version": 3}
    source = "shown\n### BEGIN HIDDEN TESTS\nhidden\n### END HIDDEN TESTS"
    cell = nbformat.v4.new_code_cell(source, id="check", metadata={"nbgrader": {**meta, "grade_id": "check"}})
    solved = tmp_path / "lab.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), solved)
    assert cells(learner_notebook(solved))["check"].source == "shown"


def test_an_nbgrader_course_takes_the_labs_as_assignments(tmp_path: Path) -> None:
    course = tmp_path / "course"
    lines = release(nbgrader=course)
    assert lines[-1] == f"wrote {course / 'nbgrader_config.py'}"
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "generate_assignment", "beginner-aws", "--no-db"],
        cwd=course,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    released = course / "release" / "beginner-aws"
    assert (released / "aws" / "sample.json").is_file()
    by_nbgrader = cells((released / "aws.ipynb").read_text())
    ours = cells((ROOT / "notebooks" / "beginner" / "aws.ipynb").read_text())
    assert {id: cell.source for id, cell in by_nbgrader.items()} == {id: cell.source for id, cell in ours.items()}
    assert not [path for path in released.rglob("*") if "solution" in path.name or path.suffix == ".py"]
    assert "kept" in release(nbgrader=course)[-1]
