"""Step 5, register: behind the gate, the model becomes a version, to be approved."""

import argparse
import json
import os
from pathlib import Path

from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model
from azure.identity import DefaultAzureCredential

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--passed", type=Path)
parser.add_argument("--name")
options = parser.parse_args()

workspace = MLClient(
    DefaultAzureCredential(),
    os.environ["AZUREML_ARM_SUBSCRIPTION"],
    os.environ["AZUREML_ARM_RESOURCEGROUP"],
    os.environ["AZUREML_ARM_WORKSPACE_NAME"],
)
auc = json.loads((options.passed / "metrics.json").read_text())["auc"]
version = workspace.models.create_or_update(
    Model(
        name=options.name,
        path=options.model,
        type="custom_model",
        stage="Staging",
        tags={"auc": f"{auc:.4f}", "run": os.environ["AZUREML_ROOT_RUN_ID"]},
    )
)
print(f"{version.name}, version {version.version}, with an AUC of {auc:.4f}")
