"""Jobs as resources of a workspace: command jobs and pipeline jobs, made, read, listed, canceled, archived, deleted.

https://learn.microsoft.com/rest/api/azureml/jobs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import jobs_commands, jobs_views, operations, pipelines
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.jobs_execution import Execution, Place
from labkit.cloud.azure.pipelines_execution import PipelineExecution
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.routes import MACHINE_LEARNING, WORKSPACE, Route
from labkit.cloud.azure.runs import DEFAULT_EXPERIMENT, Run, Runs
from labkit.cloud.azure.shapes import section, text
from labkit.cloud.azure.wire import json_response, page
from labkit.cloud.engine.clock import Work
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

TYPE = f"{MACHINE_LEARNING}/workspaces/jobs"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}")
_OTHER_TYPES = ("AutoML", "Distillation", "FineTuning", "Labeling", "Spark", "Sweep", "Base")
#: What may be changed of a job that was submitted.
_CHANGEABLE = ("description", "displayName", "isArchived", "properties", "services", "tags")
_FIXED = ("jobType", "experimentName", "command", "codeId", "environmentId", "computeId", "componentId")
#: Seconds for which an operation waits for a job that was canceled.
CANCEL_TIME = 60.0


def put_job(call: Call, names: dict[str, str]) -> Response:
    """Submits a job, or changes what may be changed of one."""
    name, properties = names["name"], section(call.body(), "properties")
    existing = call.cloud.resources.get(call.resource)
    if existing is not None:
        return json_response(200, jobs_views.job(call.cloud, _change(call, existing, properties)))
    if not _NAME.fullmatch(name):
        message = (
            f"The job name '{name}' is invalid: it has to begin with a letter or a digit and can hold letters, "
            "digits, '-' and '_', 255 at most."
        )
        raise call.user_error(message, 400, "InvalidName")
    resource, _ = submit(call, name, properties)
    return json_response(201, jobs_views.job(call.cloud, resource))


def submit(
    call: Call, name: str, properties: Mapping[str, Any], schedule: Mapping[str, str] | None = None
) -> tuple[Resource, Work]:
    """Makes a job of its ``properties`` and begins it; raises :class:`AzureError` for one that cannot be run.

    ``schedule`` are properties of a run that a schedule has started.
    """
    kind = text(properties, "jobType")
    if kind in _OTHER_TYPES:
        raise refusal(f"jobs of type {kind}")
    if kind not in ("Command", "Pipeline"):
        raise call.user_error(f"The job type '{kind}' is unknown.", 400, "BadArgument")
    jobs_commands.check_services(properties.get("services"))
    command = jobs_commands.read(call, properties) if kind == "Command" else None
    pipeline = pipelines.read(call, properties) if kind == "Pipeline" else None
    known = call.store(Runs)
    run = Run(
        name=name,
        experiment=text(properties, "experimentName", DEFAULT_EXPERIMENT),
        created=call.engine.clock.now(),
        caller=call.caller,
        kind="azureml.scriptrun" if command else "azureml.PipelineRun",
        root=name,
        display_name=text(properties, "displayName", name),
        description=text(properties, "description"),
        target=command.target if command else "",
        tags=jobs_commands.texts(call, properties, "tags"),
        properties={
            "azureml.runsource": "azureml.scriptrun" if command else "azureml.PipelineRun",
            "_azureml.ComputeTargetType": "amlcdsi" if command and command.compute is None else "amlctrain",
            **jobs_commands.texts(call, properties, "properties"),
            **(schedule or {}),
        },
        hidden=properties.get("isArchived") is True,
    )
    known.experiment(run.experiment)
    at = Place(call.cloud, call.workspace, call.caller)
    resource = Resource(f"{call.workspace_id}/jobs/{name}", dict(properties), state=run)
    resource.touch(run.created, call.caller)
    with call.cloud.resources.lock:
        if call.cloud.resources.get(resource.id) is not None or known.get(name) is not None:
            raise _taken(call)
        known.add(run)
        call.cloud.resources.put(resource)
    if command is not None:
        run.parameters = {key: value.text for key, value in command.inputs.items() if value.is_literal}
        execution = Execution(at, run, command)
        execution.start(command.inputs)
        return resource, execution
    assert pipeline is not None
    run.parameters = {key: value.text for key, value in pipeline.inputs.items() if value.is_literal}
    running = PipelineExecution(at, run, pipeline, pipeline.inputs)
    running.start()
    return resource, running


def get_job(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A job. A step of a pipeline is shown without properties: those are run history's."""
    found = call.cloud.resources.get(call.resource)
    if found is not None:
        return jobs_views.job(call.cloud, found)
    if call.store(Runs).get(names["name"]) is not None:
        return {"id": call.resource, "name": names["name"], "type": TYPE, "properties": None}
    raise _missing(call, names["name"])


def list_jobs(call: Call, names: dict[str, str]) -> dict[str, Any]:
    """A page of jobs, the newest first; ``jobType``, ``tag``, ``properties``, ``listViewType`` ... choose."""
    found = [each for each in call.cloud.resources.below(call.workspace_id, TYPE) if _is_wanted(call, each)]
    return page(call, [jobs_views.job(call.cloud, each) for each in reversed(found)], size=50)


def cancel_job(call: Call, names: dict[str, str]) -> Response:
    """Stops a job. The operation ends when it has stopped."""
    run = call.store(Runs).get(names["name"])
    if run is None:
        raise _missing(call, names["name"])
    if run.done:
        return Response(200)
    stop = run.cancel
    if stop is not None:
        stop()

    def work() -> None:
        run.wait(CANCEL_TIME)

    return operations.begin(call, work)


def delete_job(call: Call, names: dict[str, str]) -> Response:
    """Deletes a job that has ended, with its steps. What it has made stays."""
    found = call.cloud.resources.get(call.resource)
    if found is None:
        return Response(204)
    run: Run = found.state
    if not run.done:
        message = f"Job {run.name} is {run.status}; only a job that has ended can be deleted. Cancel it first."
        raise call.user_error(message, 400, "BadArgument")

    def work() -> None:
        call.cloud.resources.delete(found.id)
        call.cloud.resources.store(Runs, call.workspace_id).forget(run.name)

    return operations.begin(call, work)


def modify(run: Run, asked: Mapping[str, Any]) -> None:
    """Changes what is said of a run: its names, and tags and properties that are added to those it has."""
    run.display_name = str(asked.get("displayName") or run.display_name)
    run.description = str(asked.get("description") or run.description)
    run.tags = run.tags | {key: str(value) for key, value in section(asked, "tags").items()}
    run.properties = run.properties | {key: str(value) for key, value in section(asked, "properties").items()}
    if isinstance(asked.get("hidden"), bool):
        run.hidden = asked["hidden"]


def _change(call: Call, job: Resource, asked: Mapping[str, Any]) -> Resource:
    """Changes a job; raises :class:`AzureError` where its definition would change."""
    for name in _FIXED:
        if asked.get(name) not in (None, "", job.properties.get(name)):
            message = (
                f"A job with this name already exists. If you are trying to create a new job, use a different name. If "
                f"you are trying to update an existing job, the existing job's {name} cannot be changed. Only "
                f"{', '.join(_CHANGEABLE)} can be updated."
            )
            raise call.user_error(message, 400, "ImmutableProperty")
    run: Run = job.state
    with job.lock:
        modify(run, {**asked, "hidden": asked.get("isArchived")})
        if "tags" in asked:
            run.tags = jobs_commands.texts(call, asked, "tags")
        job.touch(call.engine.clock.now(), call.caller)
    return job


def _is_wanted(call: Call, job: Resource) -> bool:
    run: Run = job.state
    view = call.query.get("listviewtype", "ActiveOnly").lower()
    if view != "all" and run.hidden is not (view == "archivedonly"):
        return False
    if (kind := call.query.get("jobtype")) and str(job.properties.get("jobType")).lower() != kind.lower():
        return False
    scheduled = run.properties.get("azureml.ScheduleName", "")
    if (only := call.query.get("scheduled")) is not None and bool(scheduled) is not (only.lower() == "true"):
        return False
    if (wanted := call.query.get("scheduleid")) and scheduled.lower() != wanted.rpartition("/")[2].lower():
        return False
    for asked, had in (("tag", run.tags), ("properties", run.properties)):
        for part in filter(None, call.query.get(asked, "").split(",")):
            key, equals, value = part.partition("=")
            if key not in had or (equals and had[key] != value):
                return False
    return True


def _taken(call: Call) -> AzureError:
    return call.user_error("A job with this name already exists; use a different name.", 409, "Conflict")


def _missing(call: Call, name: str) -> AzureError:
    message = f"Run {name} was not found in workspace {call.workspace.name}."
    return call.user_error(message, 404, "NotFound")


_JOB = f"{WORKSPACE}/jobs/{{name}}"
_NOTE = (
    "command jobs and pipelines of commands, on one instance; data is copied, no image is built: the lab's environment "
    "has to have what the job's asks for"
)

ROUTES = [
    Route("GET", f"{WORKSPACE}/jobs", list_jobs),
    Route("PUT", _JOB, put_job, note=_NOTE),
    Route("GET", _JOB, get_job),
    Route("DELETE", _JOB, delete_job),
    Route("POST", f"{_JOB}/cancel", cancel_job),
]
