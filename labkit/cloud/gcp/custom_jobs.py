"""Vertex AI's JobService: custom jobs, which run a container or a Python package to its end, and batch predictions.

https://cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1#jobservice
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import batch_predictions, machine_types, training_images, vertex_jobs
from labkit.cloud.gcp.custom_job_run import CustomJobRun
from labkit.cloud.gcp.errors import refusal
from labkit.cloud.gcp.resource_filters import Fields
from labkit.cloud.gcp.training_accounts import run_as
from labkit.cloud.gcp.vertex_jobs import Jobs
from labkit.cloud.gcp.vertex_names import check_fields, new_id, problems, v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: Parts of a job's specification that ask for what the kit does not serve, and what that is.
_NOT_SERVED = {
    "persistent_resource_id": "persistent resources",
    "network": "networks of jobs",
    "reserved_ip_ranges": "networks of jobs",
    "psc_interface_config": "networks of jobs",
    "protected_artifact_location_id": "protected artifacts",
    "tensorboard": "the upload of a job's tensorboard logs",
    "enable_web_access": "interactive shells",
    "enable_dashboard_access": "dashboards of jobs",
    "models": "jobs that train from models",
}


class CustomJobs(Jobs[CustomJobRun]):
    """The custom jobs of one project and location."""

    collection = "customJobs"
    leftovers = "custom jobs"
    fields = Fields(times=("create_time", "start_time", "end_time", "update_time"))


def create_custom_job(call: Call, request: Any) -> Any:
    """Starts a job; the answer is the job as it begins."""
    asked = request.custom_job
    check_fields(problems(asked, "custom_job"))
    if asked.HasField("encryption_spec"):
        raise refusal("customer-managed encryption keys (encryption_spec)")
    return begin(call, asked.display_name, asked.job_spec, labels=asked.labels).view()


def begin(call: Call, display_name: str, spec: Any, *, labels: Any = None, managed: bool = False) -> CustomJobRun:
    """Starts a job of this specification; raises :class:`GcpError`.

    ``managed`` jobs are part of a training pipeline, and not listed.
    """
    check_spec(spec)
    message = v1.CustomJob(name=f"{call.parent}/customJobs/{new_id()}", display_name=display_name, labels=labels or {})
    message.job_spec.CopyFrom(spec)
    message.job_spec.service_account = run_as(call, spec.service_account)
    run = CustomJobRun(call.cloud, call.project, call.location, message)
    run.is_listed = not managed
    call.store(CustomJobs).add(run)
    run.start()
    return run


def check_spec(spec: Any) -> None:
    """Raises :class:`GcpError` for a specification that cannot be run, and fills in what was left out."""
    set_fields = {field.name for field, _ in spec.ListFields()}
    for field, what in _NOT_SERVED.items():
        if field in set_fields:
            raise refusal(f"{what} ({field})")
    pools = spec.worker_pool_specs
    if not pools:
        check_fields([("job_spec.worker_pool_specs", "Required field is not set.")])
    if len(pools) > 1 or pools[0].replica_count > 1:
        raise refusal(
            "distributed jobs", "The local clouds run a job on one machine: use one worker pool with one replica."
        )
    pool, path = pools[0], "job_spec.worker_pool_specs[0]"
    pool.replica_count = pool.replica_count or 1
    for field, what in (("nfs_mounts", "NFS mounts"), ("lustre_mounts", "Lustre mounts")):
        if getattr(pool, field):
            raise refusal(f"{what} ({field})")
    machine = pool.machine_spec
    if not machine.machine_type:
        check_fields([(f"{path}.machine_spec.machine_type", "Required field is not set.")])
    instead = "The local clouds have no accelerators: run the job on n1-standard-4, without any."
    machine_types.check(machine, f"{path}.machine_spec", instead)
    kind = pool.WhichOneof("task")
    if kind is None:
        check_fields([(path, "One of container_spec and python_package_spec must be set.")])
    image = pool.container_spec.image_uri if kind == "container_spec" else pool.python_package_spec.executor_image_uri
    if not image:
        check_fields([(f"{path}.{kind}", "The URI of an image must be set.")])
    if why := training_images.refusal(image):
        raise refusal(image, why)
    if kind == "python_package_spec" and not (
        pool.python_package_spec.package_uris and pool.python_package_spec.python_module
    ):
        check_fields([(f"{path}.python_package_spec", "package_uris and python_module must be set.")])
    if kind == "container_spec" and not (pool.container_spec.command or pool.container_spec.args):
        raise refusal("an image's own entry point", f"{image} is not pulled here: set container_spec.command.")
    strategy = v1.Scheduling.Strategy.Name(spec.scheduling.strategy)
    if strategy == "FLEX_START":
        raise refusal("the scheduling strategy FLEX_START")
    output = spec.base_output_directory.output_uri_prefix
    if output and not output.startswith("gs://"):
        check_fields([("job_spec.base_output_directory.output_uri_prefix", "The URI must begin with gs://.")])


METHODS: dict[str, Callable[[Call, Any], Any]] = {
    "CreateCustomJob": create_custom_job,
    **vertex_jobs.methods(CustomJobs),
    **batch_predictions.METHODS,
}
NOTES = {
    "CreateCustomJob": "one replica, in this environment's Python with its packages; accelerators, networks and "
    "distributed jobs refuse; spot machines are taken away by a model of their price, and the job starts again",
    **batch_predictions.NOTES,
}
