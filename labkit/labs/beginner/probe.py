"""Runs the learner's model and code in a process of its own, and says what came out as JSON.

Run as a script by :mod:`labkit.labs.beginner.churn`. Nothing here imports the kit: what is loaded is the learner's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def score(model_file: str, data_file: str) -> dict[str, Any]:
    """The model's AUC on the held-out quarter of the customers, and its churn probability for each customer."""
    import joblib
    import pandas
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    customers = pandas.read_csv(data_file)
    churned = customers.pop("churn") == "yes"
    probabilities = joblib.load(model_file).predict_proba(customers)[:, 1]
    _, held_out = train_test_split(range(len(churned)), test_size=0.25, stratify=churned, random_state=0)
    auc = roc_auc_score(churned.iloc[held_out], probabilities[held_out])
    return {"auc": float(auc), "held_out": len(held_out), "probabilities": [float(value) for value in probabilities]}


def predict_rows(model_file: str, data_file: str) -> dict[str, Any]:
    """What ``predict`` answers for each customer, asked as Vertex AI's scikit-learn container asks: rows as one array.

    With it the AUC on the held-out quarter, None when the answers are no numbers, one a customer.
    """
    import joblib
    import numpy
    import pandas
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    customers = pandas.read_csv(data_file)
    churned = customers.pop("churn") == "yes"
    answers = numpy.asarray(joblib.load(model_file).predict(numpy.array(customers.to_numpy().tolist())))
    _, held_out = train_test_split(range(len(churned)), test_size=0.25, stratify=churned, random_state=0)
    auc = None
    if answers.shape == churned.shape and answers.dtype.kind in "if":
        auc = float(roc_auc_score(churned.iloc[held_out], answers[held_out]))
    return {"auc": auc, "held_out": len(held_out), "answers": answers.tolist()}


def serve(code_file: str, model_folder: str, requests_file: str) -> dict[str, Any]:
    """What ``inference.py`` answers to each request, ``{content type: body}``, called as the container calls it.

    Instead, the functions that are ``missing``, the ``empty`` one that returned nothing, or an ``error`` with ``where``
    it was: the function and, once there is one, the request's content type.
    """
    inference = imported(code_file)
    missing = [name for name in ("model_fn", "input_fn", "predict_fn", "output_fn") if not hasattr(inference, name)]
    if missing:
        return {"missing": missing}
    where = "model_fn"

    def call(function: str, *arguments: Any) -> Any:
        result = getattr(inference, function)(*arguments)
        if result is None:
            raise Empty(function)
        return result

    answers = {}
    try:
        model = call("model_fn", model_folder)
        for content_type, body in json.loads(Path(requests_file).read_text()).items():
            where = f"input_fn, given {content_type},"
            data = call("input_fn", body, content_type)
            where = f"predict_fn, given what input_fn made of {content_type},"
            prediction = call("predict_fn", data, model)
            where = f"output_fn, after a request of {content_type},"
            answer = call("output_fn", prediction, "application/json")
            text = answer[0] if isinstance(answer, tuple) else answer
            answers[content_type] = text.decode() if isinstance(text, bytes) else str(text)
    except Empty as empty:
        return {"empty": str(empty)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "where": where}
    return {"answers": answers}


class Empty(Exception):
    """A function that returned nothing; its text is the function's name."""


def script(code_file: str, model_folder: str, request_file: str) -> dict[str, Any]:
    """What ``score.py`` answers to a request, as JSON, called as Azure's inference server calls it."""
    os.environ["AZUREML_MODEL_DIR"] = model_folder
    scoring = imported(code_file)
    missing = [name for name in ("init", "run") if not hasattr(scoring, name)]
    if missing:
        return {"missing": missing}
    scoring.init()
    answer = scoring.run(Path(request_file).read_text())
    return {"empty": "run"} if answer is None else {"answer": json.dumps(answer)}


def imported(code_file: str) -> ModuleType:
    """The learner's file as a module."""
    spec = importlib.util.spec_from_file_location(Path(code_file).stem, code_file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{code_file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    mode, *files = sys.argv[1:]
    modes: dict[str, Callable[..., dict[str, Any]]] = {
        "score": score,
        "predict_rows": predict_rows,
        "serve": serve,
        "script": script,
    }
    with contextlib.redirect_stdout(sys.stderr):
        try:
            result = modes[mode](*files)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
