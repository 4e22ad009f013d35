"""What Azure's inference server calls to serve the churn model."""

import json
import os

import joblib
import pandas as pd


def init():
    """Loads the model from the folder where the deployment has put it."""
    global model
    ### BEGIN SOLUTION
    model = joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "churn.joblib"))
    ### END SOLUTION


def run(body):
    """The probability that each customer leaves, from the text of a request."""
    ### BEGIN SOLUTION
    customers = pd.DataFrame(json.loads(body)["instances"])
    return {"predictions": model.predict_proba(customers)[:, 1].tolist()}
    ### END SOLUTION
