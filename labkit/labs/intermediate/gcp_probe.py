"""Runs a learner's component ``evaluate`` on a small model in a process of its own: what it wrote and what is right.

Run as a script by the checks, with the learner's file and ``churn.csv``. Nothing here imports the kit.
"""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def evaluate(file: str, data_file: str) -> dict[str, Any]:
    """What the component ``returned`` and ``logged``, the ``text`` of its ``metrics.json`` (None: no file).

    Instead the ``error`` with which it ended. With it the right ``auc``, and the one of hard labels (``of_labels``).
    """
    import joblib
    import numpy
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.tree import DecisionTreeRegressor

    customers = pandas.read_csv(data_file, nrows=1200)
    learn, test = customers[:800], customers[800:]
    features = list(customers.drop(columns="churn"))
    numbers = [features.index(name) for name in ("total_day_minutes", "number_customer_service_calls")]
    as_numbers = FunctionTransformer(numpy.asarray, kw_args={"dtype": float})
    model = make_pipeline(make_column_transformer((as_numbers, numbers)), DecisionTreeRegressor(max_depth=3))

    def rows(table: Any) -> Any:
        return numpy.array(table.drop(columns="churn").to_numpy().tolist())

    model.fit(rows(learn), (learn["churn"] == "yes").astype(float))
    scores, left = model.predict(rows(test)), test["churn"] == "yes"
    answer: dict[str, Any] = {
        "auc": float(roc_auc_score(left, scores)),
        "of_labels": float(roc_auc_score(left, scores > 0.5)),
    }
    logged: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "model").mkdir()
        joblib.dump(model, folder / "model" / "model.joblib")
        test.to_csv(folder / "test.csv", index=False)
        try:
            component = runpy.run_path(file)["evaluate"]
            returned = component.python_func(
                model=_artifact(folder / "model"),
                test_table=_artifact(folder / "test.csv"),
                metrics=_artifact(folder / "metrics", logged),
                curve=_artifact(folder / "curve"),
                report=_artifact(folder / "report"),
            )
            answer["returned"] = returned if isinstance(returned, int | float) else repr(returned)
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        written = folder / "report" / "metrics.json"
        answer["text"] = written.read_text() if written.is_file() else None
    answer["logged"] = {str(name): float(value) for name, value in logged.items()}
    return answer


def _artifact(path: Path, logged: dict[str, Any] | None = None) -> SimpleNamespace:
    """Stands for an artifact: where its file is, and what logs into it."""
    kept = {} if logged is None else logged
    return SimpleNamespace(
        path=str(path),
        uri=str(path),
        metadata=kept,
        log_metric=kept.__setitem__,
        log_roc_curve=lambda *points: None,
    )


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = evaluate(*sys.argv[1:])
    json.dump(result, sys.stdout)
