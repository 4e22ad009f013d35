"""Vertex AI's prebuilt scikit-learn container, as a class that a model replica makes in its own process.

It loads ``model.joblib`` or ``model.pkl`` from the model's directory and answers ``{"instances": [...]}`` with
``{"predictions": model.predict(numpy.array(instances)).tolist()}``: ``predict``, never ``predict_proba``. Everything
else in a request's body becomes a keyword argument of ``predict``, so ``parameters`` fail with most models. Sources:

- https://cloud.google.com/vertex-ai/docs/training/exporting-model-artifacts#scikit-learn
- https://cloud.google.com/vertex-ai/docs/predictions/get-online-predictions#formatting-prediction-input
- https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements#request_requirements
- https://github.com/googleapis/python-aiplatform/pull/2036 shows what it answers when ``predict`` raises
- the prediction framework that Google publishes (``google-cloud-ml``'s ``sk_xg_prediction_lib``)
"""

from __future__ import annotations

import json
import pickle
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

#: The names that a model's file may have.
MODEL_FILES = ("model.pkl", "model.joblib")
_JSON = {"content-type": "application/json"}

Answer = tuple[int, dict[str, str], bytes]


class Container:
    """One model behind the contract above; the engine's replica loads it once and hands it requests one at a time.

    ``folder`` holds the model's artifacts; ``scikit_learn`` is the version in the image: the log says so when another
    one is installed here.
    """

    def __init__(self, folder: Path, scikit_learn: str = "") -> None:
        self._folder = folder
        self._scikit_learn = scikit_learn
        self._model: Any = None

    def load(self) -> None:
        """Loads the model; raises what loading it raises, or ValueError for what is no scikit-learn model."""
        self._compare_versions()
        try:
            self._model = self._read()
        except Exception as error:
            log("ERROR", f"Could not load the model: {error}", traceback.format_exc())
            raise

    def handle(self, headers: dict[str, str], body: bytes) -> Answer:
        """Answers a request to the predict route: status, headers and body."""
        import numpy

        try:
            asked = json.loads(body)
            instances = asked.pop("instances")
        except (ValueError, KeyError, AttributeError, TypeError):
            return _failed("Prediction failed: Invalid request: the body has to be a JSON object with 'instances'.")
        if not isinstance(instances, list):
            return _failed("Prediction failed: Invalid request: 'instances' has to be a list.")
        try:
            predictions = self._model.predict(numpy.array(instances), **asked)
            if isinstance(predictions, numpy.ndarray):
                predictions = predictions.tolist()
            answer = json.dumps({"predictions": predictions})
        except Exception as error:
            log("ERROR", "Exception while predicting with sklearn model.", traceback.format_exc())
            return _failed(f"Prediction failed: Exception during sklearn prediction: {error}")
        return 200, _JSON, answer.encode()

    def _read(self) -> Any:
        import joblib

        pickled, dumped = (self._folder / name for name in MODEL_FILES)
        if dumped.is_file():
            log("INFO", f"Loading the scikit-learn model file from {dumped.name}")
            model = joblib.load(dumped)
        elif pickled.is_file():
            log("INFO", f"Loading the scikit-learn model file from {pickled.name}")
            model = pickle.loads(pickled.read_bytes())
        else:
            raise ValueError(f"Could not find either {dumped.name} or {pickled.name} in {self._folder.name}")
        if "sklearn" not in type(model).__module__:
            raise ValueError(
                f"Invalid model type detected: {type(model).__module__}.{type(model).__name__}. Please make sure the "
                "model file is an exported sklearn model or pipeline."
            )
        return model

    def _compare_versions(self) -> None:
        here = metadata.version("scikit-learn")
        if self._scikit_learn and not f"{here}.".startswith(f"{self._scikit_learn}."):
            log(
                "WARNING",
                f"This container runs scikit-learn {here}; the image on Google Cloud has {self._scikit_learn}, and may "
                "not load a model that was saved with another version.",
            )


def log(severity: str, message: str, details: str = "") -> None:
    """Writes one entry to the container's log: a line of structured logging.

    https://cloud.google.com/logging/docs/structured-logging
    """
    print(json.dumps({"severity": severity, "message": f"{message}\n{details}".rstrip()}), flush=True)


def _failed(message: str) -> Answer:
    return 400, _JSON, json.dumps(message).encode()
