"""Vertex AI's PipelineService: runs of compiled KFP pipelines.

https://cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1#pipelineservice
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import schema, training_images, training_pipelines
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.metadata_store import MetadataStores
from labkit.cloud.gcp.pipeline_run import PipelineRun
from labkit.cloud.gcp.pipeline_spec import Pipeline, SpecError
from labkit.cloud.gcp.pipeline_values import Artifact, ValueProblem, Values, typed
from labkit.cloud.gcp.polling import Polling
from labkit.cloud.gcp.resource_filters import Fields, judge
from labkit.cloud.gcp.training_accounts import run_as
from labkit.cloud.gcp.vertex_listing import listed
from labkit.cloud.gcp.vertex_names import check_fields, copy_of, does_not_exist, new_id, split, v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

_ID = re.compile(r"[a-z][-a-z0-9]{0,127}")
#: Parts of a job that ask for what the kit does not serve, and what that is.
_NOT_SERVED = {
    "encryption_spec": "customer-managed encryption keys",
    "network": "networks of jobs",
    "reserved_ip_ranges": "networks of jobs",
    "psc_interface_config": "networks of jobs",
}
_FIELDS = Fields(
    texts=("display_name", "pipeline_name", "pipeline_job_user_id", "schedule_name", "template_uri", "service_account"),
    times=("create_time", "start_time", "end_time", "update_time"),
    enums=("state",),
)
ORDERS = ("display_name", "create_time", "start_time", "end_time", "update_time")


class PipelineJobs:
    """The runs of one project and location, by id."""

    def __init__(self) -> None:
        self.runs: dict[str, PipelineRun] = {}
        self.lock = threading.RLock()

    def run(self, call: Call, name: str) -> PipelineRun:
        found = self.runs.get(split(call, name, "pipelineJobs")[0])
        if found is None:
            raise does_not_exist("pipelineJobs")
        return found

    def inventory(self) -> dict[str, list[str]]:
        return {"pipeline runs": sorted(self.runs)}

    def close(self) -> None:
        """Ends every run that goes on."""
        for run in list(self.runs.values()):
            run.cancel()


def create_pipeline_job(call: Call, request: Any) -> Any:
    """Checks a pipeline and starts a run of it; the answer is the job as it begins."""
    run = begin(call, request)
    _end_second(run.id)
    return run.view()


def _end_second(identifier: str) -> None:
    """Waits for the end of the second that an id names.

    The SDK ends the ids that it makes with the second in which it makes them, and two of the same pipeline would be the
    same where the answer to the first came within it. Google's takes longer than a second.
    """
    now = datetime.now()
    if identifier.endswith(now.strftime("-%Y%m%d%H%M%S")):
        time.sleep(1.0 - now.microsecond / 1e6)


def begin(call: Call, request: Any) -> PipelineRun:
    """Starts a run, for a request of the caller's or of a schedule's; raises :class:`GcpError`."""
    jobs, asked = call.store(PipelineJobs), request.pipeline_job
    identifier = request.pipeline_job_id or f"pipeline-{new_id()}"
    if not _ID.fullmatch(identifier):
        raise invalid(
            f"pipeline_job_id {identifier!r} is not valid: it matches [a-z][-a-z0-9]{{0,127}}.", "pipeline_job_id"
        )
    pipeline = read(asked)
    given = _inputs(call, pipeline, asked.runtime_config)
    root = str(asked.runtime_config.gcs_output_directory).rstrip("/")
    account = run_as(call, asked.service_account)
    message = copy_of(asked)
    message.name = f"{call.parent}/pipelineJobs/{identifier}"
    message.display_name = asked.display_name or pipeline.name
    message.service_account = account
    message.labels["vertex-ai-pipelines-run-billing-id"] = new_id()
    run = PipelineRun(call.cloud, call.project, call.location, message, pipeline, given, root)
    with jobs.lock:
        if identifier in jobs.runs:
            raise GcpError("ALREADY_EXISTS", f"The PipelineJob {message.name} already exists.")
        jobs.runs[identifier] = run
    run.start()
    return run


def check(call: Call, asked: Any) -> None:
    """Raises :class:`GcpError` for a job that could not be begun."""
    _inputs(call, read(asked), asked.runtime_config)


def read(asked: Any) -> Pipeline:
    """The pipeline of a job; raises :class:`GcpError` for one that cannot be run."""
    from google.protobuf.json_format import MessageToDict

    set_fields = {field.name for field, _ in asked.ListFields()}
    for field, what in _NOT_SERVED.items():
        if field in set_fields:
            raise refusal(f"{what} ({field})")
    if "pipeline_spec" not in set_fields:
        raise (
            refusal("pipelines from a template's URI")
            if asked.template_uri
            else invalid("Required field is not set: pipeline_job.pipeline_spec.", "pipeline_job.pipeline_spec")
        )
    root = asked.runtime_config.gcs_output_directory
    if not root.startswith("gs://"):
        check_fields([("pipeline_job.runtime_config.gcs_output_directory", "The URI must begin with gs://.")])
    try:
        pipeline = Pipeline(MessageToDict(asked.pipeline_spec))
    except SpecError as error:
        raise invalid(str(error), "pipeline_job.pipeline_spec") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"The pipeline_spec is malformed ({type(error).__name__}: {error}); compile the pipeline with KFP 2."
        raise invalid(why, "pipeline_job.pipeline_spec") from None
    for component in pipeline.components.values():
        if component.container and (why := training_images.refusal(str(component.container.get("image", "")))):
            raise refusal(component.name, f"{component.name.removeprefix('comp-')}: {why}")
        if component.container.get("resources", {}).get("accelerator"):
            step = component.name.removeprefix("comp-")
            raise refusal("accelerators", f"{step}: The local clouds have no accelerators: run the step without any.")
    return pipeline


def get_pipeline_job(call: Call, request: Any) -> Any:
    """A run as it is now. One who asks again while nothing has changed is answered when something has, or in 2 s."""
    run = call.store(PipelineJobs).run(call, request.name)
    call.store(Polling).hold(call, run.progress)
    return run.view()


def list_pipeline_jobs(call: Call, request: Any) -> Any:
    """The location's runs, the newest first."""
    jobs = call.store(PipelineJobs)
    meets = judge(request.filter, _FIELDS)
    with jobs.lock:
        runs = list(jobs.runs.values())
    shown = [run.view() for run in runs]
    names = {run.name: {"pipeline_name": run.pipeline.name, "pipeline_job_user_id": run.id} for run in runs}
    found = [each for each in shown if meets(each, names[each.name])]
    page, token = listed(found, request, ORDERS)
    return v1.ListPipelineJobsResponse(pipeline_jobs=page, next_page_token=token)


def cancel_pipeline_job(call: Call, request: Any) -> Any:
    """Asks for the end of a run: what runs is stopped, and nothing more is begun."""
    run = call.store(PipelineJobs).run(call, request.name)
    if run.ended:
        raise GcpError(
            "FAILED_PRECONDITION", f"The PipelineJob {run.name} has ended ({run.state}) and cannot be cancelled."
        )
    run.cancel()
    return schema.message("google.protobuf.Empty")()


def delete_pipeline_job(call: Call, request: Any) -> Any:
    """Forgets a run that has ended. Long-running."""
    _delete(call, [request.name])
    return call.operation(lambda: None, below=request.name)


def batch_delete_pipeline_jobs(call: Call, request: Any) -> Any:
    """Forgets up to 32 runs that have ended, all or none. Long-running."""
    runs = _delete(call, _names(request))
    return call.operation(lambda: v1.BatchDeletePipelineJobsResponse(pipeline_jobs=[each.view() for each in runs]))


def batch_cancel_pipeline_jobs(call: Call, request: Any) -> Any:
    """Asks for the end of up to 32 runs. Long-running."""
    jobs = call.store(PipelineJobs)
    runs = [jobs.run(call, name) for name in _names(request)]

    def work() -> Any:
        for run in runs:
            run.cancel()
        for run in runs:
            run.wait(60.0)
        return v1.BatchCancelPipelineJobsResponse(pipeline_jobs=[each.view() for each in runs])

    return call.operation(work)


def _names(request: Any) -> list[str]:
    names = list(request.names)
    if not 1 <= len(names) <= 32:
        raise invalid("From 1 to 32 names are taken at a time.", "names")
    return names


def _delete(call: Call, names: Iterable[str]) -> list[PipelineRun]:
    jobs = call.store(PipelineJobs)
    with jobs.lock:
        runs = [jobs.run(call, name) for name in names]
        for run in runs:
            if not run.ended:
                raise GcpError("FAILED_PRECONDITION", f"The PipelineJob {run.name} is {run.state}: cancel it first.")
        for run in runs:
            del jobs.runs[run.id]
    return runs


def _inputs(call: Call, pipeline: Pipeline, config: Any) -> Values:
    """The parameters and artifacts that a run is started with; raises :class:`GcpError`."""
    from google.protobuf.json_format import MessageToDict

    if config.parameters:
        raise invalid("runtime_config.parameters is of KFP 1; send parameter_values.", "runtime_config.parameters")
    values = {name: MessageToDict(value) for name, value in config.parameter_values.items()}
    known = pipeline.root.parameters
    if unknown := sorted(set(values) - set(known)):
        raise invalid(
            f"The pipeline parameter {unknown[0]} is not found in the pipeline job input definitions.",
            "runtime_config.parameter_values",
        )
    given = {}
    for name, parameter in known.items():
        if name in values:
            try:
                given[name] = typed(parameter, values[name], "the pipeline")
            except ValueProblem as problem:
                raise invalid(str(problem), "runtime_config.parameter_values") from None
        elif parameter.default is not None:
            given[name] = parameter.default
        elif not parameter.optional:
            raise invalid(
                f"The input parameter {name} of the pipeline has no value: set it in runtime_config.parameter_values.",
                "runtime_config.parameter_values",
            )
    artifacts = {name: [_artifact(call, each.artifact_id)] for name, each in config.input_artifacts.items()}
    needed = (name for name, each in pipeline.root.artifacts.items() if not each.get("isOptional"))
    if missing := sorted(set(needed) - set(artifacts)):
        raise invalid(f"The input artifact {missing[0]} of the pipeline is not set.", "runtime_config.input_artifacts")
    return Values(given, artifacts)


def _artifact(call: Call, identifier: str) -> Artifact:
    from google.protobuf.json_format import MessageToDict

    stores = call.store(MetadataStores)
    with stores.lock:
        store = stores.require(f"{call.parent}/metadataStores/default")
        held = store.require("Artifact", f"{store.name}/artifacts/{identifier}")
        return {
            "name": held.name,
            "type": {"schemaTitle": held.schema_title, "schemaVersion": held.schema_version},
            "uri": held.uri,
            "metadata": MessageToDict(held.metadata),
        }


METHODS: dict[str, Callable[[Call, Any], Any]] = {
    "CreatePipelineJob": create_pipeline_job,
    "GetPipelineJob": get_pipeline_job,
    "ListPipelineJobs": list_pipeline_jobs,
    "CancelPipelineJob": cancel_pipeline_job,
    "DeletePipelineJob": delete_pipeline_job,
    "BatchDeletePipelineJobs": batch_delete_pipeline_jobs,
    "BatchCancelPipelineJobs": batch_cancel_pipeline_jobs,
    **training_pipelines.METHODS,
}

PERMISSIONS = {
    "BatchDeletePipelineJobs": "aiplatform.pipelineJobs.delete",
    "BatchCancelPipelineJobs": "aiplatform.pipelineJobs.cancel",
}

NOTES = {
    "CreatePipelineJob": "KFP 2; containers run in this environment's Python, which needs the packages asked for; "
    "limits of memory and processors are kept, not enforced; accelerators, Google Cloud Pipeline Components, "
    "templates' URIs, keys and networks refuse",
    "ListPipelineJobs": "filters by names, states, times and labels",
    "CreateTrainingPipeline": "custom jobs, with the upload of their model; AutoML and managed datasets refuse",
}
