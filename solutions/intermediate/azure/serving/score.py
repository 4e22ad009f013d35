"""What Azure's inference server calls to serve a version of the churn model."""

import json
import os
from pathlib import Path

import joblib
import pandas as pd


def init():
    """Loads the model from the folder where the deployment has put it."""
    global model
    (file,) = Path(os.environ["AZUREML_MODEL_DIR"]).rglob("churn.joblib")
    model = joblib.load(file)


def run(body):
    """The probability that each customer leaves, from the text of a request."""
    customers = pd.DataFrame(json.loads(body)["instances"])
    return {"predictions": model.predict_proba(customers)[:, 1].tolist()}
