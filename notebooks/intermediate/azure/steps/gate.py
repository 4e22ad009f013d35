"""Step 4, gate: hands the metrics on if the model is good enough, else fails and says why."""

import argparse
import json
import shutil
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--report", type=Path)
parser.add_argument("--threshold", type=float)
parser.add_argument("--passed", type=Path)
options = parser.parse_args()

auc = json.loads((options.report / "metrics.json").read_text())["auc"]
if not auc > options.threshold:
    raise SystemExit(f"The AUC is {auc:.4f} and has to be above {options.threshold}.")
options.passed.mkdir(parents=True, exist_ok=True)
shutil.copy(options.report / "metrics.json", options.passed)
print(f"The AUC is {auc:.4f}, above {options.threshold}.")
