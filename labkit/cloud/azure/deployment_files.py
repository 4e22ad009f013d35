"""From a deployment's settings to what its replicas need: environment, model, code, variables, identity.

The order is Azure's: the image is built, the model and the code are downloaded with the endpoint's identity, the
container is started. Where it goes wrong there, it goes wrong here, with the codes of
https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints#common-deployment-errors.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from labkit.cloud.azure import asset_files, deployment_environment, identity, managed_identities
from labkit.cloud.azure.codes import CODES
from labkit.cloud.azure.deployment_logs import DeploymentLog
from labkit.cloud.azure.deployment_settings import Settings
from labkit.cloud.azure.environments import ENVIRONMENTS
from labkit.cloud.azure.models import MODELS
from labkit.cloud.azure.online_errors import failed, not_served
from labkit.cloud.azure.resources import Resource
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import CloudError, Denied
from labkit.cloud.engine.serving import ModelServer

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

SERVER = "labkit.cloud.azure.inference_server:InferenceServer"


@dataclass(frozen=True, slots=True)
class Assets:
    """The versions that a deployment is made of."""

    environment: Resource
    code: Resource
    model: Resource | None


def find(call: Call, settings: Settings) -> Assets:
    """The assets that a deployment names; raises :class:`AzureError` for one that is not there or not served."""
    environment = ENVIRONMENTS.find(call.cloud, call.workspace_id, settings.environment)
    if environment.properties.get("inferenceConfig"):
        raise not_served("custom containers (inferenceConfig of an environment)")
    if environment.properties.get("build"):
        raise not_served("environments with a build context (Dockerfile) in a deployment")
    code = CODES.find(call.cloud, call.workspace_id, settings.code)
    model = MODELS.find(call.cloud, call.workspace_id, settings.model) if settings.model else None
    return Assets(environment, code, model)


def prepare(
    call: Call, endpoint: Resource, settings: Settings, assets: Assets, log: DeploymentLog
) -> tuple[ModelServer, Callable[[], None]]:
    """Gets ready what replicas need, and answers how to give it back; raises :class:`AzureError`."""
    cloud = call.cloud
    folder = call.engine.folder / "azureml" / uuid.uuid4().hex
    own = next(iter(managed_identities.of(cloud, endpoint)), None)
    header = cloud.identities.admit(own) if own else ""

    def release() -> None:
        cloud.identities.dismiss(header)
        shutil.rmtree(folder, ignore_errors=True)

    try:
        _check_environment(assets.environment, log)
        caller = managed_identities.acting_as(cloud, own, endpoint.location)
        code, model = _download(cloud, call.workspace_id, assets, caller, folder, log)
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        server = ModelServer(
            container=SERVER,
            options={"entry_script": settings.script},
            folder=code,
            env=_environment(cloud, settings, folder, code, model, header),
            output=log.server_line,
            start_timeout=settings.start_timeout,
        )
    except BaseException:
        release()
        raise
    return server, release


def _check_environment(environment: Resource, log: DeploymentLog) -> None:
    """Sees that what the environment asks for is installed."""
    log.stage("UserContainerImagePull", "InProgress")
    checked = deployment_environment.check(environment.properties)
    for line in (*checked.notes, *checked.problems):
        log.storage_line(line)
    if checked.problems:
        log.stage("UserContainerImagePull", "Failed")
        name = f"{environment.id.split('/')[-3]}:{environment.name}"
        problems = " ".join(checked.problems)
        raise failed(
            "ImageBuildFailure",
            f"Image build failed for environment {name}. {problems} The local clouds install nothing: install it in "
            "the lab's environment, or change the conda file",
        )
    log.stage("UserContainerImagePull", "Succeeded")
    log.event("Pulled", "Container image is pulled successfully")


def _download(
    cloud: AzureCloud, workspace_id: str, assets: Assets, caller: Caller, folder: Path, log: DeploymentLog
) -> tuple[Path, Path | None]:
    """Lays out the model and the code as Azure does; answers the code's folder and ``AZUREML_MODEL_DIR``."""
    log.stage("ModelDownload", "InProgress")
    log.event("Downloading", "Start downloading models")
    root, model = folder / "azureml-app", None
    if assets.model is not None:
        name = assets.model.id.split("/")[-3]
        model = root / "azureml-models" / name / assets.model.name
        _lay_out(cloud, workspace_id, assets.model.properties["modelUri"], caller, model, log, "model")
    uri = assets.code.properties["codeUri"]
    code = root / (PurePosixPath(uri.rstrip("/")).name or "code")
    _lay_out(cloud, workspace_id, uri, caller, code, log, "code")
    log.stage("ModelDownload", "Succeeded")
    log.event("Downloaded", "Models are downloaded successfully")
    return code, model


def _lay_out(
    cloud: AzureCloud, workspace_id: str, uri: str, caller: Caller, folder: Path, log: DeploymentLog, what: str
) -> None:
    guide = "unable-to-download-user-model"
    try:
        folder.mkdir(parents=True)
        place = asset_files.place_of(cloud, workspace_id, uri)
        inside = what == "code" and bool(place.path)
        count = asset_files.lay_out(cloud, place, caller, folder, inside=inside)
    except Denied:
        account = place.account.name
        reason = (
            f"Authorization error: the endpoint's identity {caller.principal} may not read the container "
            f"{place.container} of the storage account {account}: "
            "This request is not authorized to perform this operation using this permission. The identity needs the "
            f"role Storage Blob Data Reader on {account}"
        )
        guide = "authorization-error"
    except CloudError as error:
        reason = error.message.partition("\n")[0].rstrip(".")
    except OSError as error:
        reason = f"The file system answered: {error.strerror}"
    else:
        log.storage_line(f"Downloaded the {what}, {count} files, from {uri}")
        return
    log.storage_line(f"Failed to download the {what} from {uri}: {reason}.")
    log.stage("ModelDownload", "Failed")
    log.event("DownloadFailed", f"Failed to download the {what} from {uri}", "Warning")
    message = f"Unable to download user {what} from {uri}: {reason}"
    raise failed("BadArgument", message, guide)


def _environment(
    cloud: AzureCloud, settings: Settings, folder: Path, code: Path, model: Path | None, header: str
) -> dict[str, str]:
    """The replica's environment: what Azure sets, the deployment's variables, and the way to the local clouds."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **settings.variables,
        # After the deployment's own variables, so that none of them leads round the gateway.
        **cloud.clients(),
        **({"AZUREML_MODEL_DIR": str(model)} if model else {}),
        "AML_APP_ROOT": str(code),
        "AZUREML_ENTRY_SCRIPT": settings.script,
        "IDENTITY_ENDPOINT": f"{cloud.lab.url}{identity.PATH}",
        "IDENTITY_HEADER": header,
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
    }
