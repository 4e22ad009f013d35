"""Step 1, prepare: every month's file becomes one table to learn from and one for the test."""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path)
parser.add_argument("--train-table", type=Path)
parser.add_argument("--test-table", type=Path)
options = parser.parse_args()

months = sorted(options.data.glob("*.csv"))
customers = pd.concat([pd.read_csv(month) for month in months], ignore_index=True)
missing = {"state", "total_day_minutes", "churn"} - set(customers.columns)
if missing:
    raise SystemExit(f"The data has no column {', '.join(sorted(missing))}.")

train, test = train_test_split(
    customers, test_size=0.25, stratify=customers["churn"], random_state=0
)
for folder, name, table in (
    (options.train_table, "train.csv", train),
    (options.test_table, "test.csv", test),
):
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / name, index=False)
print("read:", ", ".join(month.name for month in months))
print(f"{len(train):,} customers to learn from, {len(test):,} to test with")
