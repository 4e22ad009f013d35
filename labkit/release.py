"""Makes what learners open (``notebooks/``) from the solved notebooks (``solutions/``), with nbgrader's preprocessors.

A lab is ``solutions/<level>/<cloud>.ipynb``; the folder of the same name beside it holds the lab's files. Solutions
become stubs, outputs and hidden tests go, cell ids stay, and the same input gives the same bytes. nbgrader's
documentation of the markers: https://nbgrader.readthedocs.io/en/stable/user_guide/creating_and_grading_assignments.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
#: What stands in a learner's notebook where the solution was.
STUB = "# YOUR CODE HERE\npass"
SOLUTION = "### BEGIN SOLUTION"
#: Folders of a lab that a run makes.
MADE = {"build", "__pycache__", ".ipynb_checkpoints"}
NBGRADER_CONFIG = f"""c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "mlops-lab-kit"
c.ClearSolutions.code_stub = {{"python": {STUB!r}}}
c.ExecutePreprocessor.timeout = 600
"""


def solved_notebooks(root: Path = ROOT) -> list[Path]:
    """The solved notebooks, sorted by path."""
    return sorted((root / "solutions").glob("*/*.ipynb"))


def learner_notebook(solved: Path) -> str:
    """The learner's version of a solved notebook, as the text of its file."""
    return _written(_for_learners(nbformat.read(solved, as_version=4)))


def lab_files(solved: Path) -> Iterator[Path]:
    """The files that a lab needs beside its notebook. One with a solution in it is left out: the notebook writes it."""
    folder = solved.with_suffix("")
    for file in sorted(folder.rglob("*")):
        made = MADE.intersection(file.relative_to(folder).parts)
        if file.is_file() and not made and SOLUTION.encode() not in file.read_bytes():
            yield file


def release(check: bool = False, nbgrader: Path | None = None, root: Path = ROOT) -> list[str]:
    """Writes the learners' notebooks and says, a line each, what changed.

    With ``check`` nothing is written and each line says what differs from what would be. With ``nbgrader`` the solved
    notebooks are laid out in that folder as nbgrader's ``source/<assignment>/`` instead, one assignment a lab, ready
    for ``nbgrader generate_assignment``. Raises ``RuntimeError`` when a notebook's markers or metadata are broken.
    """
    if nbgrader is not None:
        return _lay_out_course(nbgrader, root)
    wanted: dict[Path, bytes] = {}
    for solved in solved_notebooks(root):
        target = root / "notebooks" / solved.relative_to(root / "solutions")
        wanted[target] = learner_notebook(solved).encode()
        for file in lab_files(solved):
            wanted[root / "notebooks" / file.relative_to(root / "solutions")] = file.read_bytes()
    stale = [file for file in sorted((root / "notebooks").glob("*/*.ipynb")) if file not in wanted]
    changed = [file for file, content in wanted.items() if not file.is_file() or file.read_bytes() != content]
    ownerless = [f"{file.relative_to(root)} has no solved notebook in solutions/" for file in stale]
    if check:
        return [_difference(file, wanted[file], root) for file in changed] + ownerless
    for file in changed:
        _write(file, wanted[file])
    return [f"wrote {file.relative_to(root)}" for file in changed] + ownerless


def _difference(file: Path, wanted: bytes, root: Path) -> str:
    name = file.relative_to(root)
    if not file.is_file():
        return f"{name} is missing"
    if file.suffix != ".ipynb":
        return f"{name} differs from its source in solutions/"
    try:
        is_now = {cell.id: cell for cell in nbformat.read(file, as_version=4).cells}
    except Exception:
        return f"{name} is no notebook that can be read"
    should_be = {cell.id: cell for cell in nbformat.reads(wanted.decode(), as_version=4).cells}
    cells = [id for id in {**should_be, **is_now} if is_now.get(id) != should_be.get(id)]
    where = f" in {', '.join(cells[:5])}{' ...' if len(cells) > 5 else ''}" if cells else " outside its cells"
    return f"{name} differs from what solutions/ makes{where}"


def _lay_out_course(course: Path, root: Path) -> list[str]:
    lines = []
    for solved in solved_notebooks(root):
        assignment = course / "source" / f"{solved.parent.name}-{solved.stem}"
        notebook = nbformat.read(solved, as_version=4)
        _clear_outputs(notebook)
        _write(assignment / solved.name, _written(notebook).encode())
        for file in lab_files(solved):
            _write(assignment / file.relative_to(solved.parent), file.read_bytes())
        lines.append(f"wrote {assignment}")
    config = course / "nbgrader_config.py"
    if config.exists():
        lines.append(f"kept {config}; the labs need its ClearSolutions.code_stub to be {{'python': {STUB!r}}}")
    else:
        _write(config, NBGRADER_CONFIG.encode())
        lines.append(f"wrote {config}")
    return lines


def _for_learners(notebook: NotebookNode) -> NotebookNode:
    from nbgrader.preprocessors import (
        CheckCellMetadata,
        ClearHiddenTests,
        ClearMarkScheme,
        ClearSolutions,
        ComputeChecksums,
        LockCells,
    )

    resources: dict[str, object] = {}
    for preprocessor in (
        LockCells(),
        ClearSolutions(code_stub={"python": STUB}),
        ClearHiddenTests(),
        ClearMarkScheme(),
        ComputeChecksums(),
        CheckCellMetadata(),
    ):
        notebook, resources = preprocessor.preprocess(notebook, resources)
    _clear_outputs(notebook)
    return notebook


def _clear_outputs(notebook: NotebookNode) -> None:
    """Drops what a run left: outputs, counts, times, and the metadata that papermill adds."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for trace in ("papermill", "execution", "ExecuteTime"):
            cell.metadata.pop(trace, None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def _written(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
