"""What a learner sees of a lab: the card, the checks, the hints and the answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labkit import CheckFailed, Lab
from labkit.cloud import client, state
from labkit.errors import LabError
from labkit.labs.task import Definition, Outcome, Result, Task, Work

pytestmark = pytest.mark.usefixtures("in_folder")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.VARIABLE, str(tmp_path / "state"))


def test_an_unknown_lab_is_answered_with_those_there_are() -> None:
    with pytest.raises(LabError, match=r"There is no lab named 'beginner/ibm'; the labs are .*beginner/aws"):
        Lab("beginner/ibm")


def test_an_unknown_task_is_answered_with_those_there_are() -> None:
    lab = Lab("beginner/aws")
    for ask in (lab.check, lab.hint, lab.answer):
        with pytest.raises(LabError, match="beginner/aws has no task named 'tran'; its tasks are train, inference"):
            ask("tran")


def test_no_task_is_answered_with_those_there_are() -> None:
    lab = Lab("beginner/aws")
    for ask in (lab.check, lab.hint, lab.answer):
        with pytest.raises(LabError, match=r'Name a task, as in lab\.check\("train"\); the tasks are train, inference'):
            ask()


@pytest.mark.usefixtures("clouds")
def test_checks_that_run_again_after_the_clean_up_leave_the_card_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab("beginner/aws")
    outcomes = {"role": Outcome.RIGHT, "cleanup": Outcome.NOT_ATTEMPTED}

    def looked(_: Definition, task: Task, __: Work) -> Result:
        return Result(task, outcomes[task.name], "what is there")

    monkeypatch.setattr("labkit.lab.run", looked)
    monkeypatch.setattr("labkit.labs.task.run", looked)
    lab.check("role")
    outcomes |= {"role": Outcome.NOT_ATTEMPTED, "cleanup": Outcome.RIGHT}
    with pytest.raises(CheckFailed, match=r"^role: cleaned up; .* can no longer be seen; it was right before, and the"):
        lab.check("role")
    assert "✓ role" in repr(lab)
    assert "1 of 9 tasks" in repr(lab)


@pytest.mark.usefixtures("clouds")
def test_the_card_says_where_one_is_and_what_is_done(tmp_path: Path) -> None:
    lab = Lab("beginner/aws")
    text, html = repr(lab), lab._repr_html_()
    for line in (
        "123456789012",
        "us-east-1",
        "user/learner",
        "gone when it stops",
        "since this kernel started",
        "0 of 9 tasks, 0 of 100 points",
    ):
        assert line in text
        assert line in html
    assert "○ train" in text


@pytest.mark.usefixtures("clouds")
def test_the_card_follows_the_checks(tmp_path: Path) -> None:
    folder = tmp_path / "aws"
    (folder / "build").mkdir(parents=True)
    lab = Lab("beginner/aws")
    with pytest.raises(CheckFailed, match="✗ package is not attempted yet"):
        lab.check("package")
    assert "✗ package" in repr(lab)

    import tarfile

    (folder / "build" / "churn.joblib").write_bytes(b"model")
    shutil.copy(ROOT / "solutions" / "beginner" / "aws" / "inference.py", folder)
    with tarfile.open(folder / "build" / "model.tar.gz", "w:gz") as archive:
        archive.add(folder / "build" / "churn.joblib", "churn.joblib")
        archive.add(folder / "inference.py", "code/inference.py")
    assert lab.check("package").right
    assert "1 of 9 tasks, 10 of 100 points" in repr(lab)
    assert "✓ package" in repr(lab)


def test_outside_the_kernel_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(state.VARIABLE, raising=False)
    lab = Lab("beginner/aws")
    assert "This is not the kernel 'Local clouds'" in repr(lab)
    with pytest.raises(CheckFailed, match="This is not the kernel 'Local clouds': choose it under Kernel"):
        lab.check("train")


@pytest.mark.usefixtures("without_clouds")
def test_without_the_clouds_one_sentence_says_how_to_start_them() -> None:
    lab = Lab("beginner/aws")
    assert "The local clouds are not running: run `labkit up`" in lab._repr_html_().replace("&#x27;", "'")
    for ask in (lambda: lab.check("train"), lambda: lab.fast_forward(days=1), lambda: lab.now):
        with pytest.raises(LabError, match="The local clouds are not running: run `labkit up` in a terminal"):
            ask()


def test_hints_say_more_each_time_until_only_the_answer_is_left() -> None:
    lab = Lab("beginner/aws")
    hints = [lab.hint("train") for _ in range(4)]
    assert hints[0].startswith("Hint 1 of 3: boosted trees")
    assert hints[2].startswith("Hint 3 of 3: HistGradientBoostingClassifier(")
    assert hints[3] == 'There is no further hint; lab.answer("train") shows one way to do it.'
    assert repr(hints[0]) == hints[0]
    assert "build / &quot;churn.joblib&quot;" in hints[2]._repr_html_()


@pytest.mark.parametrize("task", [task.name for task in Lab("beginner/aws")._lab.tasks])
def test_every_task_has_an_answer_that_is_code_without_the_markers(task: str) -> None:
    answer = Lab("beginner/aws").answer(task)
    assert "###" not in answer
    compile(
        answer.removeprefix("%%writefile aws/inference.py\n").removeprefix("%%writefile aws/client.py\n"), task, "exec"
    )
    assert answer._repr_markdown_() == f"```python\n{answer}\n```"


def test_a_kit_without_the_solutions_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("labkit.lab.ROOT", tmp_path)
    with pytest.raises(LabError, match=r"solutions/beginner/aws\.ipynb is not in this copy of the kit"):
        Lab("beginner/aws").answer("train")


def test_time_passes_and_the_card_shows_it(fresh_clouds: Callable[[], state.Lab]) -> None:
    clouds = fresh_clouds()
    lab = Lab("beginner/aws")
    before = client.control(clouds, "GET", "clock")["time"]
    answer = lab.fast_forward(days=2, hours=1)
    after = client.control(clouds, "GET", "clock")["time"]
    assert answer.startswith(f"The lab's time is now {after[:10]} ")
    assert after[:10] > before[:10]
    assert timedelta(0) <= lab.now - datetime.fromisoformat(after) < timedelta(minutes=5)
    assert f"Lab time:     {after[:10]}" in repr(lab)


def test_a_failed_check_is_one_sentence_in_a_notebook_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(state.VARIABLE, raising=False)
    shell = InteractiveShell.instance()
    shell.run_cell("from labkit import Lab")
    result = shell.run_cell('Lab("beginner/aws").check("train")')
    assert isinstance(result.error_in_exec, CheckFailed)
    assert capsys.readouterr().out.split() == str(result.error_in_exec).split()
    InteractiveShell.clear_instance()
