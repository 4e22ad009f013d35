"""The step that measures a model: right, not attempted, and wrong in the ways that learners get it wrong."""

from __future__ import annotations

import pytest

from labkit.labs.intermediate import aws_checks
from labkit.labs.task import NotAttempted, Work, Wrong


def test_the_solved_step_is_right(work: Work) -> None:
    assert "finds the AUC of 0." in aws_checks.evaluate(work)


def test_no_file_and_no_metrics_are_not_attempted(work: Work) -> None:
    file = work.folder / "steps" / "evaluate.py"
    head, _, rest = file.read_text().partition("### BEGIN SOLUTION")
    file.write_text(f"{head}pass\n{rest.partition('### END SOLUTION')[2]}")
    with pytest.raises(NotAttempted, match="makes no metrics"):
        aws_checks.evaluate(work)
    file.unlink()
    with pytest.raises(NotAttempted, match=r"no file aws/steps/evaluate\.py"):
        aws_checks.evaluate(work)


@pytest.mark.parametrize(
    ("old", "new", "found", "hint"),
    [
        (
            'model.predict_proba(customers.drop(columns="churn"))[:, 1]',
            'model.predict(customers.drop(columns="churn"))',
            "for a model whose AUC is",
            "the AUC of yes and no",
        ),
        ("[:, 1]", "[:, 0]", "for a model whose AUC is", "the AUC of staying"),
        ('"auc": {"value": auc', '"auc": {"score": auc', "fails .*KeyError", ""),
        ("= roc_auc_score(left", "= roc(left", "fails .*'roc'", ""),
        ('"true_positive_rates": true_positives.tolist(),', "", "no curve", "roc_curve"),
        ('"metrics.json").write', '"metric.json").write', r"no metrics\.json", ""),
    ],
    ids=["labels", "column", "key", "name", "curve", "file"],
)
def test_wrong(work: Work, old: str, new: str, found: str, hint: str) -> None:
    file = work.folder / "steps" / "evaluate.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(Wrong, match=found) as wrong:
        aws_checks.evaluate(work)
    assert hint in wrong.value.hint
