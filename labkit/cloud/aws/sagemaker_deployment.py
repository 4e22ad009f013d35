"""From a model's record to what its replicas need: image, role, model data, code, requirements, environment.

The order is AWS's: the image is looked up, the role assumed, the model data downloaded and unpacked, the container
started and pinged. Where it goes wrong there, it goes wrong here, with the same FailureReason.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import sagemaker_data, sklearn_images
from labkit.cloud.aws.container_environment import environment
from labkit.cloud.aws.sagemaker_data import DeploymentFailed, Source
from labkit.cloud.aws.sagemaker_models import role_problem
from labkit.cloud.aws.sagemaker_state import Model
from labkit.cloud.aws.sklearn_container import code_folder
from labkit.cloud.engine.requirements import unmet
from labkit.cloud.engine.serving import ModelServer

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.place import Place

CONTAINER = "labkit.cloud.aws.sklearn_container:Container"
#: Seconds until a container must have loaded its model, where its variant does not say.
START_TIMEOUT = 60.0
#: Room for model data on an instance in GB, where its variant does not say
#: (https://docs.aws.amazon.com/sagemaker/latest/dg/host-instance-storage.html).
VOLUME_GB = 30


@dataclass(frozen=True)
class Wanted:
    """A production variant as it is to be: its entry in the endpoint configuration, its model, weight and instances."""

    config: Mapping[str, Any]
    model: Model
    weight: float
    count: int

    @property
    def name(self) -> str:
        return str(self.config["VariantName"])

    @property
    def instance_type(self) -> str:
        return str(self.config["InstanceType"])

    @property
    def image(self) -> str:
        return str(self.model.container["Image"])


@dataclass
class Variant:
    """A production variant with all that its replicas use; ``release`` ends its right to the role's credentials."""

    wanted: Wanted
    folder: Path
    started: datetime
    release: Callable[[], None]

    @property
    def name(self) -> str:
        return self.wanted.name


def prepare(
    call: Call | Place, endpoint: str, wanted: Wanted, log: Callable[[str], None] | None = None
) -> tuple[Variant, ModelServer]:
    """Gets everything ready that the replicas of a variant need; raises :class:`DeploymentFailed`.

    What the replicas write goes to ``log``, or else to the endpoint's log group.
    """
    model, config = wanted.model, wanted.config
    problem = sklearn_images.refusal(wanted.image, call.region) or role_problem(call, model.role)
    if problem:
        raise DeploymentFailed(problem)
    deployment = uuid.uuid4().hex
    folder = call.engine.folder / "sagemaker" / deployment
    token = call.cloud.identities.container(model.role, "SageMaker")
    variant = Variant(wanted, folder, call.engine.clock.now(), lambda: call.cloud.identities.release(token))

    def output(replica: str, line: str) -> None:
        if log is not None:
            log(line)
            return
        call.engine.logs.write(call.scope, log_group(endpoint), log_stream(wanted.name, deployment, replica), line)

    try:
        limit = int(config.get("VolumeSizeInGB", VOLUME_GB) * 1024**3)
        code = _lay_out(call, model, folder, limit)
        _check_requirements(code / "requirements.txt", wanted.name, output)
        server = ModelServer(
            container=CONTAINER,
            options={"code": str(code), "scikit_learn": sklearn_images.scikit_learn_of(wanted.image)},
            folder=folder / "model",
            env=_environment(call, model, folder, token),
            output=output,
            start_timeout=float(config.get("ContainerStartupHealthCheckTimeoutInSeconds", START_TIMEOUT)),
        )
    except BaseException:
        discard([variant])
        raise
    return variant, server


def discard(variants: Sequence[Variant]) -> None:
    """Removes what variants that serve no longer left behind."""
    for variant in variants:
        variant.release()
        shutil.rmtree(variant.folder, ignore_errors=True)


def no_ping(variant: str) -> str:
    """The FailureReason of a container that did not become ready."""
    return (
        f"The primary container for production variant {variant} did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )


def log_group(endpoint: str) -> str:
    """The log group of an endpoint's containers."""
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def log_stream(variant: str, deployment: str, replica: str) -> str:
    """The log stream of a replica: an instance of its own, named as EC2 names instances."""
    return f"{variant}/i-0{hashlib.sha256(f'{deployment}/{replica}'.encode()).hexdigest()[:16]}"


def _lay_out(call: Call | Place, model: Model, folder: Path, limit: int) -> Path:
    """Fills ``folder/model``, and ``folder/code`` where the code came apart from it; returns the code's folder."""
    submitted = model.container.get("Environment", {}).get("SAGEMAKER_SUBMIT_DIRECTORY", "")
    try:
        for part in ("model", "code", "tmp"):
            (folder / part).mkdir(parents=True)
        source = sagemaker_data.source_of(model.container)
        if source is not None:
            sagemaker_data.fetch(call, source, model.role, folder / "model", limit)
        if submitted.startswith("s3://"):
            apart = Source(submitted, *sagemaker_data.parse(submitted))
            sagemaker_data.fetch(call, apart, model.role, folder / "code", limit)
            return folder / "code"
    except OSError as error:
        raise DeploymentFailed(f"The model data could not be written to the instance: {error.strerror}.") from error
    return code_folder(folder / "model", submitted)


def _check_requirements(file: Path, variant: str, output: Callable[[str, str], None]) -> None:
    problems = unmet(file) if file.is_file() else []
    if not problems:
        return
    problems.append("The local clouds install nothing: install it in the lab's environment, or change the file.")
    for problem in problems:
        output("container", problem)
    raise DeploymentFailed(" ".join([no_ping(variant), *problems]))


def _environment(call: Call | Place, model: Model, folder: Path, token: str) -> dict[str, str]:
    """The replica's environment: what SageMaker sets, the model's Environment, and the way to the local clouds."""
    given = model.container.get("Environment", {})
    isolated = bool(model.request.get("EnableNetworkIsolation"))
    made = environment(call.cloud, call.region, folder / "tmp", token, given, isolated=isolated)
    return {**made, "SM_MODEL_DIR": str(folder / "model")}
