"""The step that measures a model: right, not attempted, and wrong in the ways that learners get it wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labkit.labs.intermediate import azure_checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.beginner.conftest import ROOT

SOLVED = ROOT / "solutions" / "intermediate" / "azure" / "steps"


@pytest.fixture
def script(azure_work: Work) -> Path:
    """The solved step, in the lab's folder."""
    shutil.copytree(SOLVED, azure_work.folder / "steps")
    return azure_work.folder / "steps" / "evaluate.py"


def test_the_solved_step_is_right(azure_work: Work, script: Path) -> None:
    assert "finds the AUC of 0." in azure_checks.evaluate(azure_work)


def test_a_step_may_import_azures_packages(azure_work: Work, script: Path) -> None:
    script.write_text(script.read_text().replace("import json\n", "import json\nimport azure.core\n"))
    assert "finds the AUC of 0." in azure_checks.evaluate(azure_work)


def test_no_file_and_no_metrics_are_not_attempted(azure_work: Work, script: Path) -> None:
    head, _, rest = script.read_text().partition("scores = ")
    script.write_text(head + "pass\n" + rest.partition("}\n")[2])
    with pytest.raises(NotAttempted, match="makes no metrics"):
        azure_checks.evaluate(azure_work)
    script.unlink()
    with pytest.raises(NotAttempted, match=r"no file azure/steps/evaluate\.py"):
        azure_checks.evaluate(azure_work)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"auc": ', '"AUC": ', "fails .*'auc'"),
        ("roc_auc_score(left, scores)", '"0.9"', "fails .*format code"),
        ("true_positives.tolist()", "true_positives.tolist()[1:]", "no curve"),
        ('"metrics.json").write', '"metric.json").write', r"no metrics\.json in the folder that --report"),
        ('"churn.joblib"', '"model.joblib"', "fails .*FileNotFoundError"),
        ("import json\n", "import json\nraise SystemExit('no')\n", "fails .*SystemExit: no"),
    ],
    ids=["key", "text", "lengths", "file", "model", "exit"],
)
def test_wrong(azure_work: Work, script: Path, old: str, new: str, found: str) -> None:
    assert old in script.read_text()
    script.write_text(script.read_text().replace(old, new))
    with pytest.raises(Wrong, match=found):
        azure_checks.evaluate(azure_work)


def test_arrays_in_place_of_lists_are_wrong(azure_work: Work, script: Path) -> None:
    script.write_text(script.read_text().replace("true_positives.tolist()", "true_positives"))
    with pytest.raises(Wrong, match=r"fails .*not JSON serializable") as wrong:
        azure_checks.evaluate(azure_work)
    assert ".tolist() makes a list" in wrong.value.hint
