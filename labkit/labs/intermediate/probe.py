"""Runs a learner's ``evaluate.py`` on a small model in a process of its own, and says what it wrote and what is right.

Run as a script by the checks, with the learner's file and ``churn.csv``. Nothing here imports the kit.
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


def evaluate(script: str, data_file: str) -> dict[str, Any]:
    """The ``text`` that the script wrote into ``metrics.json`` (None: no file), or the ``error`` with which it ended.

    With it the right ``auc``, the one of hard labels (``of_labels``) and how many points the curve has at least.
    """
    import joblib
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from sklearn.tree import DecisionTreeClassifier

    customers = pandas.read_csv(data_file, nrows=1200)
    learn, test = customers[:800], customers[800:].reset_index(drop=True)
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["state"]),
        ("passthrough", ["total_day_minutes", "total_day_calls", "number_customer_service_calls"]),
    )
    model = make_pipeline(encode, DecisionTreeClassifier(max_depth=4, random_state=0))
    model.fit(learn.drop(columns="churn"), learn["churn"] == "yes")
    features, left = test.drop(columns="churn"), test["churn"] == "yes"
    answer: dict[str, Any] = {
        "auc": float(roc_auc_score(left, model.predict_proba(features)[:, 1])),
        "of_labels": float(roc_auc_score(left, model.predict(features))),
    }
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in ("model", "test", "evaluation"):
            (folder / name).mkdir()
        joblib.dump(model, folder / "churn.joblib")
        with tarfile.open(folder / "model" / "model.tar.gz", "w:gz") as archive:
            archive.add(folder / "churn.joblib", arcname="churn.joblib")
        test.to_csv(folder / "test" / "test.csv", index=False)
        sys.argv = [script]
        for option, name in {"model": "model", "test": "test", "output": "evaluation"}.items():
            sys.argv += [f"--{option}", str(folder / name)]
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            if end.code:
                answer["error"] = f"SystemExit: {end.code}"
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        written = folder / "evaluation" / "metrics.json"
        answer["text"] = written.read_text() if written.is_file() else None
    return answer


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = evaluate(*sys.argv[1:])
    json.dump(result, sys.stdout)
