"""Runs solved notebooks on clouds of their own (``labkit run``), and a lab's checks on the clouds as they stand
(``labkit check``)."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import labs
from labkit.cloud import client, environment, state
from labkit.errors import LabError
from labkit.kernels import warm
from labkit.labs.task import CLEANED_UP, Outcome, Result, Work, after_cleanup
from labkit.labs.task import run as run_check

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
#: Seconds that several notebooks wait, at most, for the imports that their kernels then need not do.
_WARMING = 30.0


@dataclass(frozen=True)
class Run:
    """One notebook's execution: its code cells, its time, and what went wrong ("" when nothing did)."""

    lab: str
    cells: int
    seconds: float
    failure: str = ""


def run(prefixes: Sequence[str] = (), store: bool = False, root: Path = ROOT, at_once: int | None = None) -> list[Run]:
    """Executes the solved notebooks at or below the prefixes, each on fresh clouds, with progress on standard error.

    Each runs in a copy of its folder, so that nothing under ``solutions/`` changes; with ``store`` the outputs of those
    that succeed are written back there. ``at_once`` run at the same time, as many as there are processors unless given:
    much of a lab is waiting for the clouds. Raises :class:`LabError` for a prefix without a lab.
    """
    try:
        chosen = labs.matching(prefixes)
    except LookupError as error:
        raise LabError(str(error)) from None
    at_once = min(at_once or os.cpu_count() or 1, len(chosen))
    # Its imports go on while a single notebook's clouds are started.
    with contextlib.suppress(warm.NoFork):
        warm.start(os.environ)
        if at_once > 1:
            warm.warmed(os.environ, _WARMING)
    if at_once == 1:
        return [_run_one(name, store, root) for name in chosen]
    done = {}
    with multiprocessing.get_context("spawn").Pool(at_once, _end_in_order) as workers:
        # In the order in which they end; each worker takes the next lab when it is done with one. The course's last
        # labs are its longest: begun first, they do not keep one worker busy while the others have nothing left to do.
        for each in workers.imap_unordered(_run_quietly, [(name, store, root) for name in reversed(chosen)]):
            done[each.lab] = each
            outcome = "failed" if each.failure else "passed"
            print(f"{each.lab}: {outcome} in {each.seconds:.1f} s", file=sys.stderr, flush=True)
        workers.close()
        workers.join()
    return [done[name] for name in chosen]


def _end_in_order() -> None:
    """Lets a worker that is told to end take its clouds and folder with it; an interrupt is for its starter alone."""
    # Not ignored, which the programs that a lab starts would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def _run_quietly(what: tuple[str, bool, Path]) -> Run:
    return _run_one(*what, progress=False)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in columns as wide as they need to be; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def summary(runs: Sequence[Run]) -> str:
    """The runs as a table, and below it what went wrong in each that failed."""
    rows = [("lab", "cells", "seconds", "outcome")]
    rows += [(run.lab, str(run.cells), f"{run.seconds:.1f}", "failed" if run.failure else "passed") for run in runs]
    return "\n\n".join([table(rows), *(f"{run.lab}: {run.failure}" for run in runs if run.failure)])


class NoFolder(LabError):
    """A folder on the command line that is not there."""

    status = 2


def check(name: str, folder: Path | None = None, progress: Callable[[str], None] = lambda _: None) -> list[Result]:
    """Runs a lab's checks against the clouds of the state folder in force and the files in ``folder``.

    ``folder`` is the one beside the notebook, ``notebooks/<lab>`` unless given. ``progress`` is told of each check
    before it runs. Raises :class:`LabError` for an unknown lab, a folder that is not there, and clouds that do not run.
    """
    if folder is not None:
        folder = folder.expanduser().resolve()
        if not folder.is_dir():
            raise NoFolder(
                f"There is no folder {folder}; --folder takes the one with the lab's files, such as notebooks/{name}."
            )
    try:
        definition = labs.load(name)
    except LookupError as error:
        raise LabError(str(error)) from None
    lab = state.Lab(state.folder())
    if client.status(lab) is None:
        raise LabError("The local clouds do not run; start them with `labkit up`.")
    work = Work(folder or ROOT / "notebooks" / name, ROOT / "data")
    with _environment(environment.inside(lab, os.environ)):
        results = []
        for number, task in enumerate(definition.tasks, start=1):
            progress(f"{number} of {len(definition.tasks)}: {task.name}")
            results.append(run_check(definition, task, work))
    clean = [each.right for each in results if each.task.after_cleanup]
    return [after_cleanup(result, lambda: bool(clean) and all(clean)) for result in results]


def report(results: Sequence[Result]) -> str:
    """The checks' outcomes as a table, what each said below it, and the sum of the points."""
    rows = [("task", "outcome", "points")]
    rows += [(each.task.name, each.outcome.value, f"{each.points} of {each.task.points}") for each in results]
    gone = [each.task.name for each in results if each.outcome is Outcome.CLEANED_UP]
    seen = [each for each in results if each.outcome is not Outcome.CLEANED_UP]
    total = f"{sum(each.points for each in seen)} of {sum(each.task.points for each in seen)} points"
    if gone:
        total += f", not counting {', '.join(gone)}: {CLEANED_UP}. Run this before the clean-up to count them."
    return "\n\n".join([table(rows), "\n".join(str(each) for each in seen), total])


def done(results: Sequence[Result]) -> bool:
    """Whether everything is right that can be before the clean-up."""
    return all(each.right for each in results if not each.task.after_cleanup)


def _run_one(name: str, store: bool, root: Path, progress: bool = True) -> Run:
    import nbformat

    solved = root / "solutions" / f"{name}.ipynb"
    executed, start = nbformat.read(solved, as_version=4), time.monotonic()
    cells = sum(cell.cell_type == "code" for cell in executed.cells)
    failure = ""
    with tempfile.TemporaryDirectory(prefix="labkit-run-") as scratch, client.fresh() as lab:
        copy = Path(scratch) / solved.relative_to(root / "solutions")
        shutil.copytree(solved.parent, copy.parent, ignore=shutil.ignore_patterns("build", "__pycache__", ".ipynb*"))
        with _environment(environment.inside(lab, os.environ)):
            failure = _execute(name, copy, progress)
        if not failure and store:
            keep_outputs(nbformat.read(copy, as_version=4), solved)
    return Run(name, cells, time.monotonic() - start, failure)


def _execute(name: str, notebook: Path, progress: bool) -> str:
    """Executes a notebook in place; returns "" or what went wrong in which cell."""
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            notebook,
            notebook,
            cwd=notebook.parent,
            progress_bar=progress
            and {"desc": name, "file": sys.stderr, "mininterval": 0.5 if sys.stderr.isatty() else 5.0},
            request_save_on_cell_execute=False,
        )
    except PapermillExecutionError as error:
        first = next((line for line in error.source.splitlines() if line and not line.startswith("#")), "")
        return f"cell {error.cell_index}, `{first}`: {error.ename}: {error.evalue}"
    except NoSuchKernel as error:
        return f"the kernel {error.name!r} is not registered in this environment; `make setup` does it."
    except Exception as error:
        return f"the notebook could not be run: {type(error).__name__}: {error}"
    return ""


def keep_outputs(executed: NotebookNode, solved: Path) -> None:
    """Writes a run's outputs into the solved notebook, without what differs from machine to machine."""
    import nbformat

    notebook = nbformat.read(solved, as_version=4)
    outputs = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = outputs[cell.id].outputs, outputs[cell.id].execution_count
    solved.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """This process's environment, replaced for a while: kernels and clients take theirs from it."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
