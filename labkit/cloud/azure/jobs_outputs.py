"""Addresses that mean what a job made: ``azureml://jobs/{job}/outputs/{output}`` and MLflow's ``runs:/{run}/{path}``.

Azure keeps them as addresses in datastores, in the long form; so do these functions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from labkit.cloud.azure import datastores
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.runs import COMPLETED, Run, Runs

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud

#: The output that stands for a job's own files: logs, and what it wrote to ``./outputs``.
ARTIFACTS = "artifacts"
_OUTPUT = re.compile(r"azureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/paths)?(?:/(?P<path>.*))?")
_RUN = re.compile(r"runs:/+(?P<job>[^/]+)(?:/(?P<path>.*))?")


def in_datastore(workspace: Resource, store: str, path: str) -> str:
    """The long address of a path in a datastore of the workspace."""
    _, _, subscription, _, group, *_ = workspace.id.split("/")
    return (
        f"azureml://subscriptions/{subscription}/resourcegroups/{group}/workspaces/{workspace.name}/datastores/"
        f"{store}/paths/{path}"
    )


def is_jobs(uri: object) -> bool:
    """Whether an address is one of a job's."""
    return isinstance(uri, str) and uri.startswith(("azureml://jobs/", "runs:/"))


def job_of(uri: str) -> str:
    """The name of the job that an address names, or ``""``."""
    matched = _OUTPUT.fullmatch(uri) or _RUN.fullmatch(uri)
    return matched["job"] if matched else ""


def resolve(cloud: AzureCloud, workspace: Resource, uri: str) -> str:
    """The address in a datastore of what a job's address means; raises :class:`AzureError` where there is nothing."""
    runs = cloud.resources.store(Runs, workspace.id)
    if matched := _RUN.fullmatch(uri):
        run = _require(runs, matched["job"], uri)
        return _artifacts(workspace, run, (matched["path"] or "").strip("/"))
    matched = _OUTPUT.fullmatch(uri)
    if matched is None:
        raise AzureError("UserError", f"{uri} names no output: write azureml://jobs/JOB/outputs/OUTPUT.", 400)
    run, path = _require(runs, matched["job"], uri), (matched["path"] or "").strip("/")
    made = run.outputs.get(matched["output"])
    if made is not None:
        return f"{made.uri.rstrip('/')}/{path}" if path else made.uri
    if matched["output"] in (ARTIFACTS, "default"):
        return _artifacts(workspace, run, path)
    if run.status != COMPLETED:
        message = f"Job {run.name} is {run.status} and has made no output {matched['output']}."
    else:
        message = f"Job {run.name} has no output {matched['output']}; it has {', '.join(run.outputs) or 'none'}."
    raise AzureError("UserError", message, 400)


def _artifacts(workspace: Resource, run: Run, path: str) -> str:
    where = f"ExperimentRun/dcid.{run.name}"
    return in_datastore(workspace, datastores.ARTIFACTS, f"{where}/{path}" if path else where)


def _require(runs: Runs, name: str, uri: str) -> Run:
    run = runs.get(name)
    if run is None:
        raise AzureError("UserError", f"Job {name} of {uri} was not found in the workspace.", 404)
    return run
