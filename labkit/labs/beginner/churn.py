"""What the first project's labs check alike on every cloud: the model and the customers it is asked about."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labkit.labs.task import NotAttempted, Work, Wrong

#: A model goes into production when its AUC on held-out customers is above this.
GATE = 0.85
#: No honest model of these customers is above this: one that is has learned the held-out customers' answers.
TOO_GOOD = 0.99
#: What helps with the task "train".
TRAIN_HINTS = (
    "boosted trees find what a straight line cannot: try HistGradientBoostingClassifier",
    "one make_pipeline holds the encoder of the text columns and the classifier, so that one file has both",
    (
        "HistGradientBoostingClassifier(learning_rate=0.03, max_iter=150, max_leaf_nodes=8) reaches "
        'about 0.92, and joblib.dump(model, build / "churn.joblib") saves it'
    ),
)
#: What helps with a saved model that cannot score customers, by what its error says.
MODEL_HINTS = (
    (
        "could not convert string",
        "the text columns need an encoder in the pipeline: make_column_transformer((OrdinalEncoder(), text), ...)",
    ),
    ("not fitted", "the pipeline was saved before it was trained: .fit(X_train, y_train) comes before joblib.dump"),
    (
        "module '__main__'",
        "what is written in the notebook is not in the file, and not in the container: use scikit-learn's own parts",
    ),
    ("predict_proba", "save the whole pipeline, with a classifier that has predict_proba as its last step"),
)
PROBE = Path(__file__).with_name("probe.py")
#: What the learner's code may take, in seconds.
PATIENCE = 120.0

_answers: dict[tuple[str, str, str], dict[str, Any]] = {}


def model_file(work: Work) -> Path:
    return work.folder / "build" / "churn.joblib"


def shown(work: Work, file: Path) -> str:
    """A file's name as the learner sees it from beside the notebook: ``aws/build/churn.joblib``."""
    return file.relative_to(work.folder.parent).as_posix()


def quoted(text: object, most: int = 200) -> str:
    """What somebody's program said, in one line of at most ``most`` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def is_stub(file: Path, function: str) -> bool:
    """Whether a function in a learner's file is as the lab gave it: nothing but ``pass``."""
    try:
        module = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return False
    bodies = [node.body for node in ast.walk(module) if isinstance(node, ast.FunctionDef) and node.name == function]
    return any(
        all(
            isinstance(line, ast.Pass) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            for line in body
        )
        for body in bodies
    )


def customers(work: Work, count: int = 20) -> list[tuple[int, dict[str, Any]]]:
    """Some customers spread over ``churn.csv``: each one's row number and its features, numbers as numbers."""
    with (work.data / "churn.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (row, {name: value_of(text) for name, text in rows[row].items() if name != "churn"})
        for row in range(0, len(rows), len(rows) // count)
    ]


def value_of(text: str) -> str | int | float:
    """A CSV field as the JSON value that it stands for."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def as_csv(records: Sequence[dict[str, Any]]) -> str:
    """The records with a header line first."""
    lines = [",".join(records[0])] + [",".join(str(value) for value in record.values()) for record in records]
    return "\n".join(lines) + "\n"


def probe(work: Work, *arguments: str, program: Path = PROBE) -> dict[str, Any]:
    """Runs the learner's code in a process of its own: its JSON answer, or ``{"error": why}``."""
    try:
        done = subprocess.run(
            # Without the folder of the program, whose azure.py would stand before the package azure.
            [sys.executable, "-P", str(program), *arguments],
            cwd=work.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # threads that wait for a busy core cost more than they bring
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        if "error" in answer:
            answer["error"] = quoted(answer["error"])
        return answer
    except subprocess.TimeoutExpired:
        return {"error": f"it did not finish within {PATIENCE:.0f} seconds"}
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return {"error": f"its process ended with status {done.returncode}: {quoted(last)}"}


def score(work: Work) -> dict[str, Any]:
    """The saved model's AUC and probabilities (see :func:`labkit.labs.beginner.probe.score`), computed once a file."""
    file = model_file(work)
    if not file.is_file():
        raise NotAttempted(
            f"no file {shown(work, file)}",
            "the trained pipeline, saved there with joblib.dump",
            "the task train comes first",
        )
    answer = ask_model(work, "score", file)
    if "error" in answer:
        raise Wrong(
            f"the file {shown(work, file)}, which cannot score customers ({answer['error']})",
            "one scikit-learn pipeline with predict_proba that takes the 19 columns of churn.csv as they are",
            next((hint for sign, hint in MODEL_HINTS if sign in answer["error"].lower()), ""),
        )
    return answer


def ask_model(work: Work, mode: str, file: Path) -> dict[str, Any]:
    """What the probe's ``mode`` says of a saved model and all customers; asked once for each content of the file."""
    key = (mode, hashlib.sha256(file.read_bytes()).hexdigest(), str(work.data))
    if key not in _answers:
        answer = probe(work, mode, str(file), str(work.data / "churn.csv"))
        if "error" in answer:
            return answer
        _answers[key] = answer
    return _answers[key]


def train(work: Work) -> str:
    """The model is saved and better than the gate."""
    if not model_file(work).is_file():
        raise NotAttempted(f"no file {shown(work, model_file(work))}", "the trained pipeline, saved with joblib.dump")
    answer = score(work)
    found = f"a model with an AUC of {answer['auc']:.3f} on {answer['held_out']:,} held-out customers"
    if answer["auc"] < 0.5:
        raise Wrong(
            found,
            f"more than {GATE}",
            "it takes those who stay for those who leave: train it with labels that are True for those who left",
        )
    if answer["auc"] <= GATE:
        raise Wrong(found, f"more than {GATE}")
    if answer["auc"] > TOO_GOOD:
        raise Wrong(
            f"{found}, which is too good to be true",
            "a model that has never seen the held-out customers",
            "it was trained on them too: .fit(X_train, y_train) takes the training customers alone",
        )
    return found


def differ(answered: Sequence[float], expected: Sequence[float]) -> str:
    """How two lists of probabilities differ, as a phrase; "" when they are the same."""
    if len(answered) != len(expected):
        return f"{len(answered)} predictions for {len(expected)} customers"
    for number, (left, right) in enumerate(zip(answered, expected, strict=True), start=1):
        if not isinstance(left, (int, float)) or not math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-9):
            return f"{quoted(repr(left), 80)} for customer {number}, for whom the saved model says {right:.6f}"
    return ""


def predictions(body: str) -> list[float]:
    """The list under ``predictions`` in a JSON answer, or a :class:`Wrong` that quotes the answer."""
    try:
        answered = json.loads(body)["predictions"]
        return list(answered)
    except (ValueError, TypeError, KeyError):
        raise Wrong(
            f"the answer {quoted(repr(body.strip()), 120)}",
            'one probability a customer, as {"predictions": [0.03, 0.91]}',
        ) from None
