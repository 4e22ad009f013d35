"""How SageMaker's training containers start a job: script mode, or the command that the job itself gives.

Script mode follows the open-source toolkit that is in SageMaker's scikit-learn image:
https://github.com/aws/sagemaker-training-toolkit (``environment.py``, ``mapping.py``, ``entry_point.py``,
``errors.py``); the command is ContainerEntrypoint and ContainerArguments of
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AlgorithmSpecification.html
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.cloud.aws import model_package
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.job_channels import TransferFailed
from labkit.cloud.aws.sagemaker_data import parse
from labkit.cloud.aws.sagemaker_jobs import LONGEST_REASON, ML, JobFailed, JobRecord, Workplace
from labkit.cloud.engine.jobs import Job as Process

#: Bytes that a source archive may unpack to.
_LARGEST_SOURCE = 5 * 1024**3
#: Hyperparameters that are for the container and not for the script.
_RESERVED = "sagemaker_"


@dataclass(frozen=True)
class Container:
    """A container about to start: its command, working folder, variables, and how its failure is told."""

    command: Sequence[str]
    folder: Path
    env: Mapping[str, str]
    requirements: Path | None = None
    script_mode: bool = False

    def failure(self, process: Process, file: Path) -> str:
        """The FailureReason of a container that failed: what it wrote to ``/opt/ml/output/failure``, or its end."""
        code = f", exit code: {process.exit_code}"
        written = file.read_text(errors="replace").strip() if file.is_file() else ""
        if written or not self.script_mode:
            return f"AlgorithmError: {written[: LONGEST_REASON - len(code) - 16]}{code}"
        command = f'Command "{" ".join(self.command)}"'[:300]
        head = f'AlgorithmError: ExecuteUserScriptError:\nExitCode {process.exit_code}\nErrorMessage "'
        room = LONGEST_REASON - len(head) - len(command) - len(code) - 2
        return f'{head}{_error_of(process.tail)[-room:]}"\n{command}{code}'


def prepare(job: JobRecord, place: Workplace) -> Container:
    """Gets a job's container ready; raises :class:`JobFailed` or :class:`TransferFailed`."""
    algorithm = job.request["AlgorithmSpecification"]
    if "ContainerEntrypoint" in algorithm:
        command = [*algorithm["ContainerEntrypoint"], *algorithm.get("ContainerArguments", [])]
        return Container(command, place.scratch, {})
    parameters = {name: decoded(value) for name, value in job.request.get("HyperParameters", {}).items()}
    program, source = parameters.get("sagemaker_program"), parameters.get("sagemaker_submit_directory")
    if not program:
        raise JobFailed(
            "AlgorithmError: framework error: \nsagemaker_program is missing among the hyperparameters: it names the "
            "script to run, and sagemaker_submit_directory the archive in S3 that holds it, exit code: 1"
        )
    code = place.ml / "code"
    if source and str(source).startswith("s3://"):
        _fetch(place, str(source), code)
    if not (code / str(program)).is_file():
        raise JobFailed(f"AlgorithmError: framework error: \n{program} is not in {source}, exit code: 1")
    arguments = command_line(parameters)
    command = _command(str(program), arguments)
    requirements = code / "requirements.txt"
    return Container(
        command,
        code,
        _variables(job, str(program), str(source or ""), parameters, arguments),
        requirements if requirements.is_file() else None,
        script_mode=True,
    )


def decoded(value: str) -> Any:
    """A hyperparameter as the toolkit reads it: JSON where it is JSON, else text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def command_line(parameters: Mapping[str, Any]) -> list[str]:
    """The script's arguments: ``--name value`` for each hyperparameter that is not the container's, by name."""
    arguments = []
    for name in sorted(name for name in parameters if not name.startswith(_RESERVED)):
        arguments += [f"--{name}" if len(name) > 1 else f"-{name}", str(parameters[name])]
    return arguments


def _command(program: str, arguments: Sequence[str]) -> list[str]:
    if program.endswith(".py"):
        return ["python", program, *arguments]
    return ["/bin/sh", "-c", f"./{program} " + " ".join(arguments)]


def _fetch(place: Workplace, url: str, code: Path) -> None:
    try:
        packed = place.storage.read(*parse(url))
    except AwsError as error:
        raise JobFailed(
            "AlgorithmError: framework error: \nAn error occurred "
            f"({error.code}) when calling the GetObject operation: {error.message} ({url}), exit code: 1"
        ) from None
    try:
        model_package.unpack(io.BytesIO(packed), code, _LARGEST_SOURCE)
    except model_package.PackageError as error:
        raise TransferFailed(f"{url} cannot be unpacked. {error}") from None
    for script in code.glob("*.sh"):
        script.chmod(0o755)


def _variables(
    job: JobRecord, program: str, source: str, parameters: Mapping[str, Any], arguments: Sequence[str]
) -> dict[str, str]:
    """The toolkit's SM_* variables: https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md"""
    channels = {
        each["ChannelName"]: f"{ML}/input/data/{each['ChannelName']}" for each in job.request.get("InputDataConfig", [])
    }
    own = {name: value for name, value in parameters.items() if not name.startswith(_RESERVED)}
    host = "algo-1"
    values: dict[str, Any] = {
        "model_dir": f"{ML}/model",
        "input_dir": f"{ML}/input",
        "input_config_dir": f"{ML}/input/config",
        "output_dir": f"{ML}/output",
        "output_data_dir": f"{ML}/output/data",
        "output_intermediate_dir": f"{ML}/output/intermediate",
        "channels": sorted(channels),
        "hps": own,
        "current_host": host,
        "current_instance_type": job.request["ResourceConfig"].get("InstanceType", ""),
        "hosts": [host],
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": 0,
        "network_interface_name": "eth0",
        "module_name": program.removesuffix(".py"),
        "module_dir": source,
        "user_entry_point": program,
        "user_args": list(arguments),
        "log_level": parameters.get("sagemaker_container_log_level", 20),
        "job_name": job.name,
        "framework_module": "sagemaker_sklearn_container.training:main",
    }
    values["training_env"] = {**values, "channel_input_dirs": channels, "hyperparameters": own}
    made = {f"SM_{name.upper()}": _text(value) for name, value in values.items()}
    made |= {f"SM_CHANNEL_{name.upper()}": path for name, path in channels.items()}
    made |= {f"SM_HP_{name.upper()}": _text(value) for name, value in own.items()}
    return {**made, "PYTHONPATH": f"{ML}/code"}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _error_of(lines: Sequence[str]) -> str:
    """What of a script's last lines tells its error: from the last traceback on, else all of them."""
    start = max((number for number, line in enumerate(lines) if line.startswith("Traceback ")), default=0)
    return "\n".join(lines[start:])
