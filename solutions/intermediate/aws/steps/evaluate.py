"""Step 3, evaluate: how good is the model on customers that it has never seen?"""

import argparse
import json
import tarfile
from pathlib import Path

import joblib
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="/opt/ml/processing/model")
parser.add_argument("--test", default="/opt/ml/processing/test")
parser.add_argument("--output", default="/opt/ml/processing/evaluation")
options = parser.parse_args()

with tarfile.open(Path(options.model) / "model.tar.gz") as archive:
    archive.extract("churn.joblib", options.model)
model = joblib.load(Path(options.model) / "churn.joblib")
customers = pd.read_csv(Path(options.test) / "test.csv")
left = customers["churn"] == "yes"

### BEGIN SOLUTION
scores = model.predict_proba(customers.drop(columns="churn"))[:, 1]
auc = roc_auc_score(left, scores)
false_positives, true_positives, _ = roc_curve(left, scores)
metrics = {
    "binary_classification_metrics": {
        "auc": {"value": auc, "standard_deviation": "NaN"},
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": false_positives.tolist(),
            "true_positive_rates": true_positives.tolist(),
        },
    }
}
### END SOLUTION
Path(options.output).mkdir(parents=True, exist_ok=True)
(Path(options.output) / "metrics.json").write_text(json.dumps(metrics))
auc = metrics["binary_classification_metrics"]["auc"]["value"]
print(f"AUC {auc:.4f} on {len(customers):,} customers")
