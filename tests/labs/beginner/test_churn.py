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
from sklearn.tree import DecisionTreeClassifier

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
    with pytest.raises(Wrong, match=r"the file aws/build/churn\.joblib, which cannot score customers \(\w+Error"):
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


@pytest.mark.parametrize(
    ("steps", "fitted", "hint"),
    [
        ([], True, "the text columns need an encoder in the pipeline"),
        ([make_column_transformer((OneHotEncoder(), ["international_plan"]))], False, "saved before it was trained"),
    ],
    ids=["text", "not-fitted"],
)
def test_the_hint_fits_what_is_wrong_with_the_model(
    nothing: Work, customers: Customers, steps: list[object], fitted: bool, hint: str
) -> None:
    features, left = customers
    model = make_pipeline(*steps, LogisticRegression())
    if fitted:
        model.fit(features[["account_length"]].to_numpy().repeat(19, axis=1), left)
    joblib.dump(model, churn.model_file(nothing))
    with pytest.raises(Wrong, match="cannot score customers") as wrong:
        churn.train(nothing)
    assert hint in wrong.value.hint


def test_a_model_with_a_function_of_the_notebook_is_told_from_others(nothing: Work) -> None:
    # a global that a notebook's __main__ has and no other process, as pickle writes it
    churn.model_file(nothing).write_bytes(b"c__main__\nexclaim\n.")
    with pytest.raises(Wrong, match="cannot score customers") as wrong:
        churn.train(nothing)
    assert "what is written in the notebook is not in the file" in wrong.value.hint


def test_a_model_trained_with_the_classes_reversed_is_told_from_a_weak_one(nothing: Work, customers: Customers) -> None:
    features, left = customers
    plan = make_column_transformer((OneHotEncoder(), ["international_plan", "voice_mail_plan"]))
    joblib.dump(make_pipeline(plan, LogisticRegression()).fit(features, ~left), churn.model_file(nothing))
    with pytest.raises(Wrong, match=r"an AUC of 0\.3") as wrong:
        churn.train(nothing)
    assert "those who stay for those who leave" in wrong.value.hint


def test_a_model_that_has_seen_the_held_out_customers_is_wrong(nothing: Work, customers: Customers) -> None:
    features, left = customers
    plan = make_column_transformer(("passthrough", list(features.select_dtypes("number"))))
    joblib.dump(make_pipeline(plan, DecisionTreeClassifier()).fit(features, left), churn.model_file(nothing))
    with pytest.raises(Wrong, match=r"an AUC of 1\.000 .* too good to be true") as wrong:
        churn.train(nothing)
    assert "trained on them too" in wrong.value.hint


def test_the_model_comes_first(nothing: Work) -> None:
    with pytest.raises(NotAttempted) as missing:
        churn.score(nothing)
    assert missing.value.hint == "the task train comes first"


def test_what_a_program_says_is_quoted_in_one_short_line() -> None:
    assert churn.quoted("a\n  b") == "a b"
    assert len(churn.quoted("x" * 10_000)) == 200
    assert len(churn.differ(["x" * 10_000], [0.5])) < 200  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("body", "stub"),
    [('"""Doc."""\n    # YOUR CODE HERE\n    pass', True), ("pass\n    print(1)", False), ("1 +", False)],
)
def test_a_function_that_nobody_has_written_is_told_from_a_wrong_one(tmp_path: Path, body: str, stub: bool) -> None:
    file = tmp_path / "code.py"
    file.write_text(f"def model_fn(folder):\n    {body}\n")
    assert churn.is_stub(file, "model_fn") is stub


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
