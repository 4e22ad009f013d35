"""Step 2, train: one pipeline with encoders and model, saved where SageMaker picks it up."""

import argparse
import os
import shutil
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--model", choices=["logistic", "boosting"], default="boosting")
parser.add_argument("--learning-rate", type=float, default=0.03)
parser.add_argument("--iterations", type=int, default=150)
parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
options = parser.parse_args()

customers = pd.read_csv(Path(options.train) / "train.csv")
features, left = customers.drop(columns="churn"), customers["churn"] == "yes"
text = make_column_selector(dtype_exclude="number")
numbers = make_column_selector(dtype_include="number")

if options.model == "logistic":
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), text), (StandardScaler(), numbers)
    )
    model = LogisticRegression(max_iter=2000)
else:
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), text),
        remainder="passthrough",
    )
    model = HistGradientBoostingClassifier(
        learning_rate=options.learning_rate,
        max_iter=options.iterations,
        max_leaf_nodes=8,
        random_state=0,
    )
pipeline = make_pipeline(encode, model).fit(features, left)

# What the endpoint needs goes with the model: the pipeline itself, and the code that serves it.
model_dir = Path(options.model_dir)
(model_dir / "code").mkdir(parents=True, exist_ok=True)
joblib.dump(pipeline, model_dir / "churn.joblib")
shutil.copy(Path(__file__).with_name("inference.py"), model_dir / "code")
print(f"{options.model}: learned from {len(customers):,} customers")
