"""The inference code of both sides: JSON records in, probabilities out."""

import json
import os

import joblib
import pandas as pd


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def input_fn(body, content_type):
    return pd.DataFrame(json.loads(body))


def predict_fn(rows, model):
    return model.predict_proba(rows)[:, 1]


def output_fn(prediction, accept):
    return json.dumps(prediction.tolist())
