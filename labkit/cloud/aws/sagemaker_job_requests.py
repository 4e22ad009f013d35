"""Requests about jobs of any kind: creating, finding, describing, stopping and listing them, and their checks.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html and its likes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import background, service_calls
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.job_channels import items
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.role_storage import RoleStorage
from labkit.cloud.aws.sagemaker_jobs import HELD, SAGEMAKER, JobRecord, Kind
from labkit.cloud.aws.sagemaker_listing import page
from labkit.cloud.aws.sagemaker_models import check_role
from labkit.cloud.aws.sagemaker_state import State, arn
from labkit.cloud.aws.sagemaker_tags import as_dict

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call


def create(
    call: Call,
    kind: Kind,
    name: str,
    parameters: Mapping[str, Any],
    work: Callable[[JobRecord], None],
    role: str = "",
) -> str:
    """Keeps a new job and starts it; returns its ARN. Raises ``ResourceInUse`` when the name is taken.

    ``role`` is the ARN of the role that the job acts as, where the request does not have it.
    """
    tags = as_dict(parameters.get("Tags"))
    state, now = call.store(State), call.engine.clock.now()
    job = JobRecord(
        kind=kind,
        name=name,
        arn=arn(call, kind.resource, name),
        place=Place.of(call),
        request=parameters,
        created=now,
        modified=now,
        tags=tags,
        role=role or parameters["RoleArn"],
    )
    with state.lock:
        refuse_taken(call, kind, name)
        state.jobs[kind.resource][name.lower()] = job
    job.change("InProgress", "Starting", "Launching requested ML instances")
    job.start(work)
    background.note(job)
    return job.arn


def refuse_taken(call: Call, kind: Kind, name: str) -> None:
    existing = call.store(State).jobs[kind.resource].get(name.lower())
    if existing is None:
        return
    if kind.resource == "training-job":
        message = (
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            f"already exists ({existing.arn})"
        )
    else:
        message = (
            "Job name must be unique within an AWS account and region, and a job with this name already exists "
            f"({existing.arn})"
        )
    raise AwsError("ResourceInUse", message)


def find(call: Call, kind: Kind, name: str) -> JobRecord:
    """The job with a name, or the error that SageMaker answers when there is none."""
    job: JobRecord | None = call.store(State).jobs[kind.resource].get(name.lower())
    if job is None:
        if kind.resource == "training-job":
            raise AwsError("ValidationException", "Requested resource not found.")
        raise AwsError("ValidationException", f"Could not find requested job with name: {name}")
    return job


def described(call: Call, job: JobRecord) -> dict[str, Any]:
    """The members that every job's description has. A waiter's call is held while the job runs."""
    if call.waiter:
        job.settled.wait(HELD)
    with job.lock:
        named = job.kind.field
        shown = {name: value for name, value in job.request.items() if name != "Tags"}
        return {
            **shown,
            **job.results,
            f"{named}Arn": job.arn,
            f"{named}Status": job.status,
            "FailureReason": job.failure or None,
            "CreationTime": job.created,
            "LastModifiedTime": job.modified,
        }


def stop(call: Call, kind: Kind, name: str) -> None:
    """Stops a job that runs; raises ``ValidationException`` for one that has ended."""
    job = find(call, kind, name)
    if job.status not in ("InProgress", "Stopping"):
        message = f"The request was rejected because the {kind.word} is in status {job.status}."
        raise AwsError("ValidationException", message)
    job.stop()


def delete(call: Call, kind: Kind, name: str) -> None:
    """Forgets a job that has ended; its name can be used again.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteTrainingJob.html
    """
    state = call.store(State)
    with state.lock:
        job: JobRecord | None = state.jobs[kind.resource].get(name.lower())
        if job is None:
            raise AwsError("ResourceNotFound", "Requested resource not found.")
        if job.status in ("InProgress", "Stopping"):
            message = f"The {kind.word} {job.arn} is in status {job.status} and cannot be deleted: stop it first."
            raise AwsError("ResourceInUse", message)
        del state.jobs[kind.resource][name.lower()]


def listed(call: Call, kind: Kind, parameters: Mapping[str, Any]) -> tuple[list[JobRecord], str | None]:
    """A page of the jobs of a kind."""
    state = call.store(State)
    with state.lock:
        jobs = list(state.jobs[kind.resource].values())
    return page(parameters, jobs)


def check_common(call: Call, role: str) -> RoleStorage:
    """Checks the role; returns S3 as the role sees it."""
    check_role(call, role)
    place = Place.of(call)
    return RoleStorage(place, service_calls.assume(place, role, SAGEMAKER, "SageMaker"), SAGEMAKER)


def check_data(call: Call, storage: RoleStorage, role: str, url: str, data_type: str) -> None:
    """Raises what SageMaker answers for a data source that holds nothing or may not be listed."""
    try:
        if items(storage, url, data_type):
            return
    except AwsError as error:
        if error.code not in ("AccessDenied", "NoSuchBucket", "NoSuchKey"):
            raise AwsError("ValidationException", error.message) from None
    bucket = url.removeprefix("s3://").partition("/")[0]
    raise AwsError(
        "ValidationException",
        f'No S3 objects found under S3 URL "{url}" given in input data source. Please ensure that the bucket exists in '
        f"the selected region ({call.region}), that objects exist under that S3 prefix, and that the role "
        f'"{role}" has "s3:ListBucket" permissions on bucket "{bucket}".',
    )
