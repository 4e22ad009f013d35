"""Step 3, evaluate: how good is the model on customers that it has never seen?"""

import argparse
import json
from pathlib import Path

import joblib
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

parser = argparse.ArgumentParser()
parser.add_argument("--model", type=Path)
parser.add_argument("--table", type=Path)
parser.add_argument("--report", type=Path)
options = parser.parse_args()

model = joblib.load(options.model / "churn.joblib")
customers = pd.read_csv(options.table / "test.csv")
left = customers["churn"] == "yes"

### BEGIN SOLUTION
scores = model.predict_proba(customers.drop(columns="churn"))[:, 1]
false_positives, true_positives, _ = roc_curve(left, scores)
metrics = {
    "auc": roc_auc_score(left, scores),
    "false_positive_rates": false_positives.tolist(),
    "true_positive_rates": true_positives.tolist(),
}
### END SOLUTION
options.report.mkdir(parents=True, exist_ok=True)
(options.report / "metrics.json").write_text(json.dumps(metrics))
print(f"AUC {metrics['auc']:.4f} on {len(customers):,} customers")
