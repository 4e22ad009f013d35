"""The first project on Azure done right through the SDK, a step at a time, for tests that then spoil one of them."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labkit.labs.beginner import azure_checks
from labkit.labs.task import Work

IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"
PINNED = [f"{name}=={version(name)}" for name in ("joblib", "pandas", "scikit-learn")]
SERVER = "azureml-inference-server-http"


def register(work: Work, name: str = "churn.joblib", **tags: str) -> Any:
    """The saved model, or another file of ``build``, as the next version."""
    from azure.ai.ml.entities import Model

    model = Model(name="churn", path=work.folder / "build" / name, type="custom_model", tags=tags)
    return azure_checks.client().models.create_or_update(model)


def make_environment(*packages: str, conda: bool = True) -> Any:
    """The environment with those packages for pip."""
    from azure.ai.ml.entities import Environment

    file = {"name": "churn", "dependencies": ["python=3.11", "pip", {"pip": list(packages)}]}
    environment = Environment(name="churn-env", image=IMAGE, conda_file=file if conda else None)
    return azure_checks.client().environments.create_or_update(environment)


def make_endpoint(name: str, auth_mode: str = "key", **traffic: int) -> Any:
    """An endpoint, or the one that there is with other traffic."""
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    endpoint = ManagedOnlineEndpoint(name=name, auth_mode=auth_mode)
    endpoint.traffic = traffic
    return azure_checks.client().online_endpoints.begin_create_or_update(endpoint).result()


def deploy(work: Work, endpoint: str, model: Any, environment: Any, name: str = "blue") -> Any:
    """A deployment of the lab's score.py."""
    from azure.ai.ml.entities import CodeConfiguration, ManagedOnlineDeployment

    deployment = ManagedOnlineDeployment(
        name=name,
        endpoint_name=endpoint,
        model=model,
        environment=environment,
        code_configuration=CodeConfiguration(code=str(work.folder / "serving"), scoring_script="score.py"),
        instance_type="Standard_F2s_v2",
        instance_count=1,
    )
    return azure_checks.client().online_deployments.begin_create_or_update(deployment).result()


def write_json(folder: Path, name: str, content: Any) -> None:
    (folder / "build" / f"{name}.json").write_text(json.dumps(content))
