"""The checks of the first project that are the same on every cloud: each right, wrong and not attempted."""

from __future__ import annotations

from pathlib import Path

import joblib
import pandas
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from labkit.labs.beginner import churn
from labkit.labs.task import NotAttempted, Work, Wrong

Customers = tuple[pandas.DataFrame, pandas.Series]


def test_a_model_above_the_gate_is_right(work: Work) -> None:
    assert churn.train(work) == "a model with an AUC of 0.925 on 1,250 held-out customers"


def test_no_model_is_not_attempted(nothing: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file aws/build/churn\.joblib"):
        churn.train(nothing)


def test_a_model_below_the_gate_is_wrong(nothing: Work, customers: Customers) -> None:
    features, left = customers
    plan = make_column_transformer((OneHotEncoder(), ["international_plan", "voice_mail_plan"]))
    weak = make_pipeline(plan, LogisticRegression()).fit(features, left)
    joblib.dump(weak, churn.model_file(nothing))
    with pytest.raises(Wrong, match=r"a model with an AUC of 0\.6\d\d") as wrong:
        churn.train(nothing)
    assert wrong.value.expected == "more than 0.85"


@pytest.mark.parametrize("content", [b"", b"not a pickle"])
def test_a_file_that_is_no_model_is_wrong(nothing: Work, content: bytes) -> None:
    churn.model_file(nothing).write_bytes(content)
    with pytest.raises(Wrong, match=r"a aws/build/churn\.joblib that cannot score customers \(\w+Error"):
        churn.train(nothing)


def test_a_model_without_the_encoder_is_wrong(nothing: Work, customers: Customers) -> None:
    features, left = customers
    joblib.dump(
        LogisticRegression(max_iter=5000).fit(features[["account_length"]].head(50), left.head(50)),
        churn.model_file(nothing),
    )
    with pytest.raises(Wrong, match="cannot score customers") as wrong:
        churn.train(nothing)
    assert "takes the 19 columns" in wrong.value.expected


def test_code_that_ends_its_process_is_answered_in_a_sentence(nothing: Work, tmp_path: Path) -> None:
    code = tmp_path / "inference.py"
    code.write_text("import os\nprint('so long')\nos._exit(3)\n")
    answer = churn.probe(nothing, "serve", str(code), str(tmp_path), str(tmp_path / "none.json"))
    assert answer == {"error": "its process ended with status 3: so long"}


def test_code_that_hangs_is_answered_in_a_sentence(
    nothing: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(churn, "PATIENCE", 0.5)
    code = tmp_path / "inference.py"
    code.write_text("import threading\nthreading.Event().wait()\n")
    answer = churn.probe(nothing, "serve", str(code), str(tmp_path), str(tmp_path / "none.json"))
    assert answer == {"error": "it did not finish within 0 seconds"}


@pytest.mark.parametrize(
    ("answered", "difference"),
    [
        ([0.25, 0.5], ""),
        ([0.25], "1 predictions for 2 customers"),
        ([0.25, 0.75], "0.75 for customer 2, for whom the saved model says 0.500000"),
        (["no", 0.5], "'no' for customer 1, for whom the saved model says 0.250000"),
    ],
)
def test_predictions_are_compared_one_by_one(answered: list[float], difference: str) -> None:
    assert churn.differ(answered, [0.25, 0.5]) == difference


@pytest.mark.parametrize("body", ["", "[0.25]", '{"answers": [0.25]}', '{"predictions": 0.25}'])
def test_an_answer_of_another_form_is_wrong(body: str) -> None:
    with pytest.raises(Wrong, match="the answer"):
        churn.predictions(body)
