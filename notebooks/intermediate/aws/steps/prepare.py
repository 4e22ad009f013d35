"""Step 1, prepare: every month's file becomes one table for training and one for the test."""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--input", default="/opt/ml/processing/input")
parser.add_argument("--output", default="/opt/ml/processing")
parser.add_argument("--test-size", type=float, default=0.25)
options = parser.parse_args()

months = sorted(Path(options.input).glob("*.csv"))
customers = pd.concat([pd.read_csv(month) for month in months], ignore_index=True)
missing = {"state", "total_day_minutes", "churn"} - set(customers.columns)
if missing:
    raise SystemExit(f"The data has no column {', '.join(sorted(missing))}.")

train, test = train_test_split(
    customers, test_size=options.test_size, stratify=customers["churn"], random_state=0
)
for name, table in {"train": train, "test": test}.items():
    folder = Path(options.output) / name
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
print(f"{len(months)} months, {len(train):,} customers to learn from, {len(test):,} to test with")
