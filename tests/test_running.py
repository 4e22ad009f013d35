"""``labkit run`` and ``labkit check``: what they execute, what they say, and what they leave as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from labkit import labs, running
from labkit.cloud import state
from labkit.errors import LabError
from labkit.labs.task import Outcome, Result
from labkit.release import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Path]:
    """Makes a checkout whose one lab has the given code cells."""

    def make(*sources: str) -> Path:
        cells = [nbformat.v4.new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
        metadata = {"kernelspec": {"name": "local-clouds", "display_name": "Local clouds", "language": "python"}}
        solved = tmp_path / "solutions" / "beginner" / "aws.ipynb"
        solved.parent.mkdir(parents=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), solved)
        return tmp_path

    return make


ASK = """import boto3
print(boto3.client('sts').get_caller_identity()['Account'], len(boto3.client('s3').list_buckets()['Buckets']))"""


def test_a_notebook_runs_on_clouds_of_its_own_and_is_left_as_it_was(checkout: Callable[..., Path]) -> None:
    root = checkout(ASK, "open('made', 'w').close()")
    before = (root / "solutions" / "beginner" / "aws.ipynb").read_bytes()
    environ = dict(os.environ)
    (done,) = running.run(["beginner/aws"], root=root)
    assert (done.lab, done.cells, done.failure) == ("beginner/aws", 2, "")
    assert done.seconds > 0
    assert (root / "solutions" / "beginner" / "aws.ipynb").read_bytes() == before
    assert [path.name for path in (root / "solutions" / "beginner").iterdir()] == ["aws.ipynb"]
    assert dict(os.environ) == environ


def test_outputs_are_kept_when_asked_for(checkout: Callable[..., Path]) -> None:
    root = checkout(ASK)
    running.run(["beginner/aws"], store=True, root=root)
    notebook = nbformat.read(root / "solutions" / "beginner" / "aws.ipynb", as_version=4)
    assert notebook.cells[0].outputs[0].text == "123456789012 0\n"
    assert notebook.cells[0].execution_count == 1
    assert "papermill" not in notebook.metadata
    assert not notebook.cells[0].metadata


def test_several_run_at_once_each_on_clouds_of_its_own(
    checkout: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = ("aws", "azure", "gcp")
    met = tmp_path / "met"
    met.mkdir()
    meet = f"""import os, tempfile, time
tempfile.mkstemp(dir={str(met)!r})
end = time.monotonic() + 240
while len(os.listdir({str(met)!r})) < 2:
    assert time.monotonic() < end, "no other notebook runs"
    time.sleep(0.05)"""
    root = checkout(meet, "import boto3\nboto3.client('s3').create_bucket(Bucket='the-only-one')", ASK)
    solved = root / "solutions" / "beginner" / "aws.ipynb"
    for name in names[1:]:
        shutil.copy(solved, solved.with_stem(name))
    runs = running.run(["beginner"], store=True, root=root, at_once=2)
    assert [(each.lab, each.failure) for each in runs] == [(f"beginner/{name}", "") for name in names]
    for name in names:
        notebook = nbformat.read(solved.with_stem(name), as_version=4)
        assert notebook.cells[2].outputs[0].text == "123456789012 1\n"
    told = capsys.readouterr().err
    assert all(f"beginner/{name}: passed in " in told for name in names)


def test_a_failure_names_the_cell_and_quotes_the_cloud(checkout: Callable[..., Path]) -> None:
    root = checkout("1", "# why\nimport boto3\nboto3.client('s3').head_bucket(Bucket='not-there')", "2")
    (done,) = running.run(["beginner/aws"], store=True, root=root)
    assert done.failure.startswith("cell 1, `import boto3`: ClientError: An error occurred (404)")
    notebook = nbformat.read(root / "solutions" / "beginner" / "aws.ipynb", as_version=4)
    assert notebook.cells[0].execution_count is None
    summary = running.summary([done])
    assert "beginner/aws  3" in summary
    assert "failed" in summary
    assert done.failure in summary


def test_a_kernel_that_is_not_registered_is_a_sentence(checkout: Callable[..., Path]) -> None:
    root = checkout("1")
    solved = root / "solutions" / "beginner" / "aws.ipynb"
    solved.write_text(solved.read_text().replace("local-clouds", "lokal-clouds"))
    (done,) = running.run(["beginner/aws"], root=root)
    assert done.failure == "the kernel 'lokal-clouds' is not registered in this environment; `make setup` does it."


def test_an_unknown_lab_is_a_sentence() -> None:
    with pytest.raises(LabError, match=r"There is no lab at 'begin'"):
        running.run(["begin"])
    with pytest.raises(LabError, match=r"There is no lab named 'beginner'"):
        running.check("beginner")


def test_checks_run_on_the_clouds_as_they_stand(fresh_clouds: Callable[[], state.Lab], tmp_path: Path) -> None:
    fresh_clouds()
    folder = tmp_path / "aws"
    (folder / "build").mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / "beginner" / "aws" / "sample.json", folder)
    results = running.check("beginner/aws", folder)
    assert {str(result.outcome.value) for result in results} == {"not attempted"}
    report = running.report(results)
    assert "train      not attempted  0 of 10" in report
    assert "found no file aws/build/churn.joblib" in report
    assert report.endswith("0 of 100 points")
    assert not running.done(results)


def test_the_folder_of_a_check_may_be_relative(
    fresh_clouds: Callable[[], state.Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh_clouds()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aws" / "build").mkdir(parents=True)
    (tmp_path / "aws" / "build" / "churn.joblib").write_bytes(b"no model")
    told: list[str] = []
    report = running.report(running.check("beginner/aws", Path("aws"), told.append))
    assert "found the file aws/build/churn.joblib, which cannot score customers (KeyError" in report
    assert told[0] == "1 of 9: train"
    assert told[-1] == "9 of 9: cleanup"


def test_a_folder_that_is_not_there_is_a_sentence_of_usage(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"There is no folder .*/nowhere; --folder takes the one with the lab's") as said:
        running.check("beginner/aws", tmp_path / "nowhere")
    assert said.value.status == 2  # type: ignore[attr-defined]


def test_after_the_clean_up_what_is_gone_does_not_count() -> None:
    lab = labs.load("beginner/aws")
    results = [
        Result(task, Outcome.RIGHT if task.in_files or task.after_cleanup else Outcome.CLEANED_UP, "that")
        for task in lab.tasks
    ]
    report = running.report(results)
    assert "endpoint   cleaned up" in report
    assert "40 of 40 points, not counting upload, role, endpoint, rest, policies: cleaned up; what it made" in report
    assert "✗" not in report


def test_checks_without_clouds_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.VARIABLE, str(tmp_path / "state"))
    with pytest.raises(LabError, match="The local clouds do not run; start them with `labkit up`"):
        running.check("beginner/aws")
