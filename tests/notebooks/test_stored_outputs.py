"""What the solved notebooks show to someone who only reads them: outputs of a real run, and nothing of the machine."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from labkit.release import ROOT, solved_notebooks

SOLVED = solved_notebooks()
#: Paths that a machine's own folders begin with; /opt/ml is SageMaker's.
MACHINE = re.compile(r"(?<![\w.:/])/(?:home|Users|root|tmp|var|work|usr|private|mnt|opt/(?!ml\b))[/\w.-]*")
REGISTRIES = re.compile(r"pypi|pythonhosted|anaconda|artifactory|nexus", re.IGNORECASE)


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """Everything in a cell's outputs that can be read."""
    found = []
    for output in cell.get("outputs", []):
        found += [output.get("text", ""), *output.get("traceback", [])]
        found += [str(data) for kind, data in output.get("data", {}).items() if not kind.startswith("image/")]
    return found


@pytest.mark.parametrize("solved", SOLVED, ids=lambda file: f"{file.parent.name}/{file.stem}")
class TestEach:
    def test_every_cell_ran_in_order_and_none_failed(self, solved: Path) -> None:
        code = [cell for cell in nbformat.read(solved, as_version=4).cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert not [cell.id for cell in code for output in cell.outputs if output.output_type == "error"]
        assert not [cell.id for cell in code for output in cell.outputs if output.get("name") == "stderr"]

    def test_every_check_says_that_it_is_right(self, solved: Path) -> None:
        for cell in nbformat.read(solved, as_version=4).cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                assert any(text.startswith("✓") for text in texts(cell)), cell.id
                # Of a value, nbgrader would take the points.
                assert all(output.output_type == "display_data" for output in cell.outputs), cell.id

    def test_nothing_of_the_machine_is_in_them(self, solved: Path) -> None:
        for cell in nbformat.read(solved, as_version=4).cells:
            for text in texts(cell):
                assert str(ROOT) not in text, cell.id
                assert not MACHINE.findall(text), cell.id
                assert not REGISTRIES.findall(text), cell.id

    def test_there_are_pictures(self, solved: Path) -> None:
        notebook = nbformat.read(solved, as_version=4)
        pictures = [
            out for cell in notebook.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})
        ]
        # The foundations are about calls and documents: fewer things there are to be seen.
        assert len(pictures) >= (2 if solved.parent.name == "foundations" else 5)

    def test_no_output_is_huge(self, solved: Path) -> None:
        assert solved.stat().st_size < 600_000


@pytest.mark.parametrize("solved", SOLVED, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_files_beside_it_are_those_that_its_cells_write(solved: Path) -> None:
    for cell in nbformat.read(solved, as_version=4).cells:
        if cell.source.startswith("%%writefile "):
            first, _, content = cell.source.partition("\n")
            assert (solved.parent / first.split()[1]).read_text() == content + "\n"
