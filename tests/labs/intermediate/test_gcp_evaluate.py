"""The component that measures a model: right, not attempted, and wrong in the ways that learners get it wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labkit.labs.intermediate import gcp_checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.beginner.conftest import DATA, ROOT


@pytest.fixture
def gcp_work(tmp_path: Path) -> Work:
    """The lab's folder with the components in it."""
    (tmp_path / "gcp").mkdir()
    shutil.copy(ROOT / "solutions" / "intermediate" / "gcp" / "steps.py", tmp_path / "gcp")
    return Work(tmp_path / "gcp", DATA)


def test_the_solved_component_is_right(gcp_work: Work) -> None:
    assert "finds the AUC of 0." in gcp_checks.evaluate(gcp_work)


def test_no_file_and_no_scores_are_not_attempted(gcp_work: Work) -> None:
    file = gcp_work.folder / "steps.py"
    head, _, rest = file.read_text().partition("### BEGIN SOLUTION")
    file.write_text(f"{head}pass\n{rest.partition('### END SOLUTION')[2]}")
    with pytest.raises(NotAttempted, match="that has no scores"):
        gcp_checks.evaluate(gcp_work)
    file.unlink()
    with pytest.raises(NotAttempted, match=r"no file gcp/steps\.py"):
        gcp_checks.evaluate(gcp_work)


@pytest.mark.parametrize(
    ("old", "new", "found", "hint"),
    [
        ("auc = float(roc_auc_score(left, scores))", "auc = float(roc_auc_score(left, scores > 0.5))", "AUC", "yes"),
        ("auc = float(roc_auc_score(left, scores))", "auc = float(roc(left, scores))", "fails .*'roc'", ""),
        ('metrics.log_metric("auc", auc)', "pass", "no metric auc logged", "log_metric"),
        ('metrics.log_metric("auc", auc)', 'metrics.log_metric("auc", 1.0)', r"the AUC 1\.0 logged", ""),
        ('json.dumps({"auc": auc})', 'json.dumps({"score": auc})', r"the metrics\.json", ""),
        ('"metrics.json").write', '"metric.json").write', r"no metrics\.json", ""),
    ],
    ids=["labels", "name", "unlogged", "logged", "key", "file"],
)
def test_wrong(gcp_work: Work, old: str, new: str, found: str, hint: str) -> None:
    file = gcp_work.folder / "steps.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(Wrong, match=found) as wrong:
        gcp_checks.evaluate(gcp_work)
    assert hint in wrong.value.hint
