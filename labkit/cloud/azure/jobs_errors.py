"""What run history shows of jobs that failed, in the shapes of Azure's "common runtime" and of its pipelines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from labkit.cloud.azure import durations
from labkit.cloud.engine.jobs import Job

#: Where Azure's troubleshooting guide of jobs is.
_GUIDE = "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-environments"


class JobFailed(Exception):
    """A job has failed. ``error`` is what its run shows."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


def user_error(message: str, reference: str = "") -> dict[str, Any]:
    """A failure that its user can repair."""
    error: dict[str, Any] = {"code": "UserError", "message": message, "details": []}
    if reference:
        error["referenceCode"] = reference
    return error


def system_error(message: str) -> dict[str, Any]:
    """A failure of the clouds themselves."""
    return {"code": "ServiceError", "message": message, "details": []}


def command_failed(command: str, job: Job) -> dict[str, Any]:
    """A command that ended badly: its program, its exit status and the end of what it wrote."""
    name = _program(command)
    code = job.exit_code if job.exit_code is not None else 1
    said = "\n".join(_traceback(job.tail))
    message = (
        f"Execution failed. User process '{name}' exited with status code {code}. Please check log file "
        "'user_logs/std_log.txt' for error details."
    )
    message += f" Error: {said}" if said else ""
    detail = {
        "code": "ExecutionFailed",
        "target": "",
        "category": "UserError",
        "error_details": [{"key": "exit_codes", "value": str(code)}],
    }
    return user_error(json.dumps({"NonCompliant": message}) + "\n" + json.dumps(detail, indent=2))


def data_failed(message: str, reference: str) -> dict[str, Any]:
    """Data that could not be brought or taken away."""
    detail = {
        "code": f"data-capability.{reference}",
        "target": "",
        "category": "UserError",
        "error_details": [{"key": "NonCompliantReason", "value": message}],
    }
    return user_error(json.dumps({"NonCompliant": message}) + "\n" + json.dumps(detail, indent=2))


def build_failed(environment: str, problems: Sequence[str]) -> dict[str, Any]:
    """An environment that cannot be met."""
    message = (
        f"Failed to build the image of environment {environment}: {' '.join(problems)} Please check the log "
        f"'azureml-logs/20_image_build_log.txt' for error details, and the guide {_GUIDE}."
    )
    return user_error(message, "ImageBuildFailure")


def timed_out(limit: timedelta | None) -> dict[str, Any]:
    """A command that ran for longer than it might."""
    length = durations.text(limit) if limit else ""
    return user_error(f"The job was canceled because it ran for longer than its limits.timeout of {length}.")


def steps_failed(names: Sequence[str]) -> dict[str, Any]:
    """A pipeline with steps that failed."""
    failed = ", ".join(f"/{name}" for name in names)
    message = (
        f"Pipeline has failed child jobs. Failed nodes: {failed}. For more details and logs, please go to the job "
        "detail page and check the child jobs."
    )
    return user_error(message, "PipelineHasStepJobFailed") | {
        "messageFormat": "Pipeline has failed child jobs. {0}",
        "messageParameters": {},
    }


def _program(command: str) -> str:
    """The name of the program that a command starts with."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return words[0].rpartition("/")[2] if words else "sh"


def _traceback(tail: Sequence[str]) -> list[str]:
    """The last traceback of what a command wrote, or its last lines."""
    starts = [at for at, line in enumerate(tail) if line.startswith("Traceback (most recent call last)")]
    return list(tail[starts[-1] :] if starts else tail[-5:])
