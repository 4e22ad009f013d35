"""Step 2, train: one pipeline with encoders and model, saved as churn.joblib."""

import argparse
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--table", type=Path)
parser.add_argument("--model", type=Path)
parser.add_argument("--kind", choices=["linear", "forest"], default="forest")
parser.add_argument("--trees", type=int, default=100)
options = parser.parse_args()

customers = pd.read_csv(options.table / "train.csv")
features, left = customers.drop(columns="churn"), customers["churn"] == "yes"
text = make_column_selector(dtype_exclude="number")
numbers = make_column_selector(dtype_include="number")

if options.kind == "linear":
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), text), (StandardScaler(), numbers)
    )
    model = LogisticRegression(max_iter=2000)
else:
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), text),
        remainder="passthrough",
    )
    model = RandomForestClassifier(options.trees, min_samples_leaf=5, random_state=0)

options.model.mkdir(parents=True, exist_ok=True)
joblib.dump(make_pipeline(encode, model).fit(features, left), options.model / "churn.joblib")
print(f"{options.kind}: learned from {len(customers):,} customers")
