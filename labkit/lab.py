"""What a notebook imports: ``Lab``, with a lab's status card, checks, hints and answers."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from labkit import labs
from labkit.advice import advice, code_cells
from labkit.cloud import client, state
from labkit.errors import LabError
from labkit.labs.task import CLEANED_UP, Outcome, Result, Task, Work, after_cleanup, is_clean, run

ROOT = Path(__file__).parent.parent


class CheckFailed(LabError):
    """A task that is not done yet. Its text is one sentence: what was found, what was expected, and a hint."""


class Lab:
    """One lab, by its notebook's path: ``Lab("beginner/aws")``. Shown in a notebook, it is a card with what is done.

    ``folder`` is where the lab's files are, beside the notebook; ``data`` holds the kit's data sets.
    """

    def __init__(self, name: str) -> None:
        try:
            self._lab = labs.load(name)
        except LookupError as error:
            raise LabError(str(error)) from None
        self.name = name
        self.folder = Path.cwd() / Path(name).name
        self.data = ROOT / "data"
        self._results: dict[str, Result] = {}
        self._hints: dict[str, int] = {}
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        if shell is not None:
            # Imported here: the command line has no use for IPython.
            from labkit import tracebacks

            tracebacks.shorten(shell, self._advise)

    def check(self, task: str = "") -> Result:
        """Looks at what was left in the cloud and in the lab's folder: the good news, or :class:`CheckFailed`."""
        chosen = self._task(task)
        trouble = self._trouble()
        if trouble:
            raise CheckFailed(trouble)
        work = Work(self.folder, self.data)
        result = after_cleanup(run(self._lab, chosen, work), lambda: is_clean(self._lab, work))
        if result.outcome is Outcome.CLEANED_UP:
            before = "; it was right before, and the card keeps that" if self._is_right(chosen) else ""
            raise CheckFailed(f"{task}: {CLEANED_UP}{before}.")
        self._results[task] = result
        if not result.right:
            raise CheckFailed(str(result))
        return result

    def hint(self, task: str = "") -> Text:
        """The task's next hint; each call says more, until there is only the answer left."""
        hints = self._task(task).hints
        number = self._hints.get(task, 0)
        self._hints[task] = number + 1
        if number >= len(hints):
            return Text(f'There is no further hint; lab.answer("{task}") shows one way to do it.')
        return Text(f"Hint {number + 1} of {len(hints)}: {hints[number]}.")

    def answer(self, task: str = "") -> Code:
        """One way to do the task: the solved notebook's cell."""
        self._task(task)
        solved = ROOT / "solutions" / f"{self.name}.ipynb"
        if not solved.is_file():
            raise LabError(f"The solved notebook {solved.relative_to(ROOT)} is not in this copy of the kit.")
        for cell in code_cells(solved):
            if cell.task == task:
                lines = cell.source.splitlines()
                return Code("\n".join(line for line in lines if not line.strip().startswith("###")))
        raise LabError(f"{solved.relative_to(ROOT)} has no cell for the task {task!r}.")

    def fast_forward(self, days: float = 0, hours: float = 0, minutes: float = 0) -> Text:
        """Lets the lab's time pass. What is due in it happens, in order, and is finished when this returns."""
        trouble = self._trouble()
        if trouble:
            raise LabError(trouble)
        seconds = 60 * (minutes + 60 * (hours + 24 * days))
        for news in client.control_lines(_clouds(), "POST", "clock/advance", {"seconds": seconds}):
            if "progress" in news:
                print(news["progress"])
        number = len(news["fired"])
        happened = "1 thing was due and happened" if number == 1 else f"{number} things were due and happened"
        return Text(f"The lab's time is now {_clock(news['time'])}; {happened}.")

    @property
    def now(self) -> datetime:
        """The clouds' time (UTC), which after :meth:`fast_forward` is ahead of this machine's."""
        if trouble := self._trouble():
            raise LabError(trouble)
        return datetime.fromisoformat((client.status(_clouds()) or {})["time"])

    def _advise(self, source: str, identifier: str | None, error: BaseException) -> str:
        """What to do first, where the reason of a cell's error lies above the cell; else ""."""
        if any(task.after_cleanup and self._is_right(task) for task in self._lab.tasks):
            return (
                "This lab has been cleaned up, and what this cell asks for may be gone: run the notebook from the top "
                "to make it again."
            )
        undone = [name for task in self._lab.tasks if (name := task.name) in self._results and not self._is_right(task)]
        cells = code_cells(ROOT / "notebooks" / f"{self.name}.ipynb")
        return advice(cells, source, identifier, error, undone)

    def _is_right(self, task: Task) -> bool:
        return task.name in self._results and self._results[task.name].right

    def _task(self, name: str) -> Task:
        if not name:
            names = ", ".join(task.name for task in self._lab.tasks)
            raise LabError(f'Name a task, as in lab.check("{self._lab.tasks[0].name}"); the tasks are {names}.')
        try:
            return self._lab.task(name)
        except LookupError as error:
            raise LabError(str(error)) from None

    def _trouble(self) -> str:
        """Why the clouds cannot be asked, and what to do; "" when they can."""
        if not os.environ.get(state.VARIABLE):
            return (
                "This is not the kernel 'Local clouds': choose it under Kernel > Change Kernel, then run from the top."
            )
        try:
            running = client.status(_clouds())
        except LabError as error:
            return str(error)
        return (
            "" if running else "The local clouds are not running: run `labkit up` in a terminal, and this cell again."
        )

    def _card(self) -> list[tuple[str, str]]:
        """The card's lines: a label and a text each."""
        trouble = self._trouble()
        if trouble:
            return [("Not ready", trouble)]
        status: dict[str, Any] = client.status(_clouds()) or {}
        done = [task for task in self._lab.tasks if self._is_right(task)]
        return [
            ("Cloud", f"local {self._lab.cloud}: what is in it lives in memory and is gone when it stops"),
            *self._identity(),
            ("Lab time", _clock(status["time"])),
            ("Done", f"{len(done)} of {len(self._lab.tasks)} tasks, {_points(done)} of {self._lab.points} points"),
            ("", f"by the checks run since this kernel started; `labkit check {self.name}` runs them all"),
        ]

    def _identity(self) -> list[tuple[str, str]]:
        try:
            return list(self._lab.whoami().items())
        except Exception as error:
            return [("Signed in as", f"nobody: found {self._lab.explain(error) or error}")]

    def __repr__(self) -> str:
        card = "\n".join(f"  {label + ':' if label else '':13} {text}" for label, text in self._card())
        tasks = "\n".join(f"  {self._mark(task)} {task.name:13} {task.title}" for task in self._lab.tasks)
        return f"{self._lab.title}\n{card}\n{tasks}"

    def _repr_html_(self) -> str:
        def row(label: str, text: str) -> str:
            return (
                '<tr style="background:none">'
                f'<td style="text-align:left;opacity:.7;white-space:nowrap">{html.escape(label)}</td>'
                f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            )

        rows = "".join(row(label, text) for label, text in self._card())
        tasks = "".join(row(f"{self._mark(task)} {task.name}", task.title) for task in self._lab.tasks)
        return (
            '<div style="border:1px solid #8888;border-radius:6px;padding:.6em 1em;max-width:46em">'
            f"<b>{html.escape(self._lab.title)}</b><table>{rows}{tasks}</table></div>"
        )

    def _mark(self, task: Task) -> str:
        result = self._results.get(task.name)
        return "○" if result is None else "✓" if result.right else "✗"


class Text(str):
    """A sentence that a notebook shows as it reads, without quotation marks."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html.escape(self)


class Code(str):
    """Python source that a notebook shows as code."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}\n```"


def _clouds() -> state.Lab:
    return state.Lab(state.folder())


def _clock(time: str) -> str:
    """An ISO time as a person reads it, to the minute."""
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M} UTC"


def _points(tasks: Iterable[Task]) -> int:
    return sum(task.points for task in tasks)
