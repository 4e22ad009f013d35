"""What SageMaker's scikit-learn container calls to serve the churn model."""

import io
import json
import os

import joblib
import pandas as pd


def model_fn(model_dir):
    """Loads the model from the folder where the container has unpacked model.tar.gz."""
    ### BEGIN SOLUTION
    return joblib.load(os.path.join(model_dir, "churn.joblib"))
    ### END SOLUTION


def input_fn(body, content_type):
    """Turns the text of a request into a table, one row a customer."""
    ### BEGIN SOLUTION
    if content_type == "application/json":
        return pd.DataFrame(json.loads(body)["instances"])
    if content_type == "text/csv":
        return pd.read_csv(io.StringIO(body))
    raise ValueError(f"{content_type} is not supported: send application/json or text/csv.")
    ### END SOLUTION


def predict_fn(customers, model):
    """The probability that each customer leaves."""
    return model.predict_proba(customers)[:, 1]


def output_fn(probabilities, accept):
    """The answer's text and its content type: CSV for those who ask for it, else JSON."""
    if accept == "text/csv":
        return "".join(f"{probability}\n" for probability in probabilities), "text/csv"
    return json.dumps({"predictions": probabilities.tolist()}), "application/json"
