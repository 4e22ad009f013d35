"""Runs a learner's ``evaluate.py`` on a small model in a process of its own, and says what it wrote and what is right.

Run as a script by the checks. Its arguments: the learner's file, ``churn.csv``, what the file's options for the model,
the test customers and the report are called, and what lies in the model's folder (``model.tar.gz`` or
``churn.joblib``). Nothing here imports the kit.
"""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any


def evaluate(
    script: str, data_file: str, model_at: str, test_at: str, report_at: str, model_file: str
) -> dict[str, Any]:
    """The ``text`` that the script wrote into ``metrics.json`` (None: no file), or the ``error`` with which it ended.

    With it the right ``auc``, and the one of hard labels (``of_labels``).
    """
    import joblib
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from sklearn.tree import DecisionTreeClassifier

    customers = pandas.read_csv(data_file, nrows=1200)
    learn, held_out = customers[:800], customers[800:].reset_index(drop=True)
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["state"]),
        ("passthrough", ["total_day_minutes", "total_day_calls", "number_customer_service_calls"]),
    )
    model = make_pipeline(encode, DecisionTreeClassifier(max_depth=4, random_state=0))
    model.fit(learn.drop(columns="churn"), learn["churn"] == "yes")
    features, left = held_out.drop(columns="churn"), held_out["churn"] == "yes"
    answer: dict[str, Any] = {
        "auc": float(roc_auc_score(left, model.predict_proba(features)[:, 1])),
        "of_labels": float(roc_auc_score(left, model.predict(features))),
    }
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in (model_at, test_at, report_at):
            (folder / name).mkdir()
        joblib.dump(model, folder / "churn.joblib")
        if model_file.endswith(".tar.gz"):
            with tarfile.open(folder / model_at / model_file, "w:gz") as archive:
                archive.add(folder / "churn.joblib", arcname="churn.joblib")
        else:
            (folder / "churn.joblib").rename(folder / model_at / model_file)
        held_out.to_csv(folder / test_at / "test.csv", index=False)
        sys.argv = [script]
        for option in (model_at, test_at, report_at):
            sys.argv += [f"--{option}", str(folder / option)]
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            if end.code:
                answer["error"] = f"SystemExit: {end.code}"
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        written = folder / report_at / "metrics.json"
        answer["text"] = written.read_text() if written.is_file() else None
    return answer


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = evaluate(*sys.argv[1:])
    json.dump(result, sys.stdout)
