"""Vertex AI's JobService: batch predictions, of a model's version for the instances in files.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import batch_instances, machine_types, vertex_deployment, vertex_jobs
from labkit.cloud.gcp.batch_prediction_run import BATCH, BatchPredictionRun
from labkit.cloud.gcp.errors import GcpError, invalid, refusal
from labkit.cloud.gcp.resource_filters import Fields
from labkit.cloud.gcp.vertex_jobs import Jobs
from labkit.cloud.gcp.vertex_names import check_fields, copy_of, new_id, problems
from labkit.cloud.gcp.vertex_state import State

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: Parts of a job that ask for what the kit does not serve, and what that is.
_NOT_SERVED = {
    "unmanaged_container_model": "models outside the registry",
    "instance_config": "conversions of instances",
    "generate_explanation": "explanations",
    "explanation_spec": "explanations",
    "encryption_spec": "customer-managed encryption keys",
}
#: What only answers say.
_OUTPUT_ONLY = (
    *("name", "model_version_id", "output_info", "state", "error", "partial_failures", "resources_consumed"),
    *("completion_stats", "create_time", "start_time", "end_time", "update_time", "satisfies_pzs", "satisfies_pzi"),
)


class BatchPredictionJobs(Jobs[BatchPredictionRun]):
    """The batch prediction jobs of one project and location."""

    collection = "batchPredictionJobs"
    leftovers = "batch predictions"
    fields = Fields(texts=("display_name", "model_display_name"))


def create_batch_prediction_job(call: Call, request: Any) -> Any:
    """Starts a job; the answer is the job as it begins."""
    message = copy_of(request.batch_prediction_job)
    check(call, message)
    for field in _OUTPUT_ONLY:
        message.ClearField(field)
    state = call.store(State)
    with state.lock:
        model, named = state.model(call, message.model)
        version = model.find(named)
    message.name = f"{call.parent}/batchPredictionJobs/{new_id()}"
    message.model, message.model_version_id = model.name, version.id
    run = BatchPredictionRun(call, message, model, version)
    call.store(BatchPredictionJobs).add(run)
    begun = run.view()
    run.start()
    return begun


def check(call: Call, asked: Any) -> None:
    """Raises :class:`GcpError` for a job that cannot be run, and fills in what was left out."""
    check_fields(problems(asked, "batch_prediction_job"))
    set_fields = {field.name for field, _ in asked.ListFields()}
    for field, what in _NOT_SERVED.items():
        if field in set_fields:
            raise refusal(f"{what} ({field}) in batch predictions")
    if not asked.model:
        check_fields([("batch_prediction_job.model", "Required field is not set.")])
    _check_places(asked)
    resources = asked.dedicated_resources
    machine = resources.machine_spec
    if not machine.machine_type:
        path = "batch_prediction_job.dedicated_resources.machine_spec.machine_type"
        check_fields([(path, "Required field is not set.")])
    instead = "The local clouds have no accelerators: run the job on n1-standard-2."
    machine_types.check(machine, "batch_prediction_job.dedicated_resources.machine_spec", instead)
    resources.starting_replica_count = resources.starting_replica_count or 1
    if not 1 <= resources.starting_replica_count <= vertex_deployment.MOST_REPLICAS:
        raise GcpError(
            "RESOURCE_EXHAUSTED",
            f"The local clouds start from 1 to {vertex_deployment.MOST_REPLICAS} replicas, and "
            f"{resources.starting_replica_count} were asked for.",
        )
    resources.max_replica_count = resources.max_replica_count or resources.starting_replica_count
    tuning = asked.manual_batch_tuning_parameters
    if tuning.batch_size < 0:
        raise invalid("batch_size must be positive.", "batch_prediction_job.manual_batch_tuning_parameters.batch_size")
    tuning.batch_size = tuning.batch_size or BATCH
    vertex_deployment.check_account(call, asked.service_account)


def _check_places(asked: Any) -> None:
    """Raises :class:`GcpError` unless instances and predictions are in files that are read and written here."""
    source, target = asked.input_config, asked.output_config
    for config, kind, wanted in ((source, "source", "gcs_source"), (target, "destination", "gcs_destination")):
        chosen = config.WhichOneof(kind)
        if chosen is None:
            check_fields([(f"batch_prediction_job.{wanted}", "Required field is not set.")])
        if chosen != wanted:
            raise refusal(f"batch predictions with {chosen}")
    if source.instances_format not in batch_instances.READERS:
        served = ", ".join(batch_instances.READERS)
        raise refusal(
            "instances_format",
            f"The local clouds read the instances_format {served}, and not {source.instances_format!r}.",
        )
    if target.predictions_format != "jsonl":
        raise refusal(
            "predictions_format",
            f"The local clouds write the predictions_format jsonl, and not {target.predictions_format!r}.",
        )
    if not source.gcs_source.uris:
        check_fields([("batch_prediction_job.input_config.gcs_source.uris", "Required field is not set.")])
    for uri in (*source.gcs_source.uris, target.gcs_destination.output_uri_prefix):
        if not uri.startswith("gs://"):
            raise invalid(f"{uri!r} is no URI of Cloud Storage: it must begin with gs://.", "batch_prediction_job")


METHODS: dict[str, Callable[[Call, Any], Any]] = {
    "CreateBatchPredictionJob": create_batch_prediction_job,
    **vertex_jobs.methods(BatchPredictionJobs),
}
NOTES = {
    "CreateBatchPredictionJob": "instances in Cloud Storage as jsonl or csv, predictions as jsonl; BigQuery, other "
    "formats, conversions of instances, explanations and accelerators refuse",
}
