"""What a lab is made of: its tasks, and what a check may look at and say.

A check looks from outside at what the learner's code left in the cloud and in its files, never at variables in
the learner's process: the same check runs again when the work is graded, in another process. It returns one
sentence that says what it found, or raises :class:`Wrong` or :class:`NotAttempted`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path


class Outcome(Enum):
    """How a check can end."""

    RIGHT = "right"
    WRONG = "wrong"
    NOT_ATTEMPTED = "not attempted"
    CLEANED_UP = "cleaned up"


class Unfinished(Exception):
    """A task that is not done: what was found, what was expected, and a hint that is better than the task's first.

    Each is a phrase that continues a sentence, after "found" and after "expected".
    """

    outcome: Outcome

    def __init__(self, found: str, expected: str, hint: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.hint = hint


class Wrong(Unfinished):
    """Something was done, and it is not right."""

    outcome = Outcome.WRONG


class NotAttempted(Unfinished):
    """There is nothing to look at yet."""

    outcome = Outcome.NOT_ATTEMPTED


@dataclass(frozen=True, slots=True)
class Work:
    """What a check may look at beside the cloud: ``folder`` holds the lab's files, ``data`` the kit's data sets."""

    folder: Path
    data: Path


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do. ``hints`` go from a nudge to nearly the answer; an ``after_cleanup`` task is checked last.

    A task ``in_files`` leaves its outcome in the lab's folder alone, where a clean-up of the cloud does not reach it.
    """

    name: str
    title: str
    points: int
    check: Callable[[Work], str]
    hints: Sequence[str]
    after_cleanup: bool = False
    in_files: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """One lab. ``name`` is its notebook's path (``beginner/aws``).

    ``whoami`` asks the cloud who the learner is there; ``explain`` says what a cloud's error said, as a phrase, and
    None for an error that is not the cloud's.
    """

    name: str
    title: str
    cloud: str
    tasks: Sequence[Task]
    whoami: Callable[[], dict[str, str]]
    explain: Callable[[Exception], str | None]

    @property
    def points(self) -> int:
        return sum(task.points for task in self.tasks)

    def task(self, name: str) -> Task:
        """The task of that name, or a ``LookupError`` that lists the names there are."""
        for task in self.tasks:
            if task.name == name:
                return task
        names = ", ".join(task.name for task in self.tasks)
        raise LookupError(f"{self.name} has no task named {name!r}; its tasks are {names}.")


#: What there is to say of a task whose outcome the clean-up has taken away.
CLEANED_UP = "cleaned up; what it made in the cloud can no longer be seen"


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """What a check said. Its text, also in a notebook, is one sentence."""

    task: Task
    outcome: Outcome
    found: str
    expected: str = ""
    hint: str = ""

    @property
    def right(self) -> bool:
        return self.outcome is Outcome.RIGHT

    @property
    def points(self) -> int:
        return self.task.points if self.right else 0

    def __repr__(self) -> str:
        if self.right:
            return f"✓ {self.task.name} ({self.task.points} points): {self.found}."
        if self.outcome is Outcome.CLEANED_UP:
            return f"- {self.task.name}: {CLEANED_UP}."
        state = "is not right yet" if self.outcome is Outcome.WRONG else "is not attempted yet"
        return f"✗ {self.task.name} {state}: found {self.found}; expected {self.expected}. Hint: {self.hint}."

    def _ipython_display_(self) -> None:
        """Shows itself, instead of being the cell's value, of which nbgrader takes the points when it is a number."""
        from IPython.display import display

        html_text = html.escape(str(self))
        if self.right:
            html_text = html_text.replace("✓", '<span style="color:#2e9e44">✓</span>', 1)
        display({"text/plain": str(self), "text/html": html_text}, raw=True)


def run(definition: Definition, task: Task, work: Work) -> Result:
    """Runs one check. Whatever goes wrong in it, the answer is a :class:`Result` that quotes the cloud."""
    try:
        return Result(task, Outcome.RIGHT, task.check(work))
    except Unfinished as unfinished:
        return Result(task, unfinished.outcome, unfinished.found, unfinished.expected, unfinished.hint or task.hints[0])
    except Exception as error:
        said = definition.explain(error)
        if said:
            return Result(task, Outcome.WRONG, said, "an answer to the check's own call", task.hints[0])
        found = f"something that the check cannot read ({type(error).__name__}: {error})"
        return Result(task, Outcome.WRONG, found, f"the outcome of {task.title!r}", task.hints[0])


def is_clean(definition: Definition, work: Work) -> bool:
    """Whether the lab was done and cleaned up."""
    last = [task for task in definition.tasks if task.after_cleanup]
    return bool(last) and all(run(definition, task, work).right for task in last)


def after_cleanup(result: Result, clean: Callable[[], bool]) -> Result:
    """The result, or one that says so if it is not right because the lab has been cleaned up; ``clean`` tells."""
    task = result.task
    if result.right or task.in_files or task.after_cleanup or not clean():
        return result
    return replace(result, outcome=Outcome.CLEANED_UP)
