"""What SageMaker's scikit-learn container calls to serve the churn model; it travels with it."""

import io
import json
import os

import joblib
import pandas as pd


def model_fn(model_dir):
    """Loads the model from the folder where the container has unpacked model.tar.gz."""
    return joblib.load(os.path.join(model_dir, "churn.joblib"))


def input_fn(body, content_type):
    """Turns the text of a request into a table, one row a customer."""
    if content_type == "application/json":
        return pd.DataFrame(json.loads(body)["instances"])
    if content_type == "text/csv":
        return pd.read_csv(io.StringIO(body))
    raise ValueError(f"{content_type} is not supported: send application/json or text/csv.")


def predict_fn(customers, model):
    """The probability that each customer leaves."""
    return model.predict_proba(customers)[:, 1]


def output_fn(probabilities, accept):
    """The answer's text and its content type."""
    return json.dumps({"predictions": probabilities.tolist()}), "application/json"
