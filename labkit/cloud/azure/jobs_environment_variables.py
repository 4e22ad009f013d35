"""The variables that a job's command finds.

https://learn.microsoft.com/azure/machine-learning/how-to-train-with-custom-image and, for MLflow's,
https://learn.microsoft.com/azure/machine-learning/how-to-use-mlflow-configure-tracking
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from labkit.cloud.azure import identity
from labkit.cloud.azure.jobs_commands import Command
from labkit.cloud.azure.runs import Run, Runs

if TYPE_CHECKING:
    from labkit.cloud.azure.jobs_execution import Place

#: The audience of the token with which a run writes its metrics.
AUDIENCE = "https://ml.azure.com"


def of(at: Place, run: Run, command: Command, paths: Mapping[str, str], home: str, header: str) -> dict[str, str]:
    """The whole environment of a command.

    ``paths`` are its inputs and outputs as it sees them, ``home`` is where it may write, ``header`` what gets it tokens
    of its identity (``""`` without one).
    """
    cloud, workspace = at.cloud, at.workspace
    _, _, subscription, _, group, *_ = workspace.id.split("/")
    service = f"https://{workspace.location}.api.azureml.ms"
    experiment = cloud.resources.store(Runs, workspace.id).experiment(run.experiment)
    token = cloud.identities.tokens.issue(_principal(at), AUDIENCE)[0]
    values = {
        ("AZURE_ML_INPUT_" if kind == "inputs" else "AZURE_ML_OUTPUT_") + name: path
        for key, path in paths.items()
        for kind, _, name in [key.partition(".")]
        if kind == "outputs" or name in run.inputs
    }
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **command.variables,
        **values,
        # After the job's own variables, so that none of them leads round the gateway.
        **cloud.clients(),
        "AZUREML_RUN_ID": run.name,
        "AZUREML_ROOT_RUN_ID": run.root or run.name,
        "AZUREML_RUN_TOKEN": token,
        "AZUREML_ARM_SUBSCRIPTION": subscription,
        "AZUREML_ARM_RESOURCEGROUP": group,
        "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
        "AZUREML_ARM_PROJECT_NAME": run.experiment,
        "AZUREML_EXPERIMENT_ID": experiment,
        "AZUREML_WORKSPACE_ID": workspace.properties["workspaceId"],
        "AZUREML_WORKSPACE_SCOPE": workspace.id,
        "AZUREML_SERVICE_ENDPOINT": service,
        "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"{service}/discovery",
        "MLFLOW_TRACKING_URI": workspace.properties["mlFlowTrackingUri"],
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": run.name,
        "MLFLOW_EXPERIMENT_ID": experiment,
        "MLFLOW_EXPERIMENT_NAME": run.experiment,
        **_identity(at, command, header),
    }


def _principal(at: Place) -> identity.Identity:
    """Whose token a run has for the workspace's own services: that of who submitted it."""
    return at.cloud.identities.find(at.submitter.principal) or at.cloud.identities.learner


def _identity(at: Place, command: Command, header: str) -> dict[str, str]:
    """The way to tokens: on behalf of the user where the job acts as its user, else as a managed identity's."""
    endpoint = f"{at.cloud.lab.url}{identity.PATH}"
    kind = command.identity.get("identityType", "")
    is_user = kind == "UserIdentity" or (not kind and command.compute is None)
    variables = {
        "IDENTITY_ENDPOINT": endpoint,
        "IDENTITY_HEADER": "" if is_user else header,
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
    }
    if header and is_user:
        variables["OBO_ENDPOINT"] = f"{endpoint}?api-version={identity.VERSIONS[0]}&obo={quote(header)}"
    return variables
