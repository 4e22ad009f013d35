"""Checks of ``intermediate/gcp`` for the account that the pipeline acts as, and for what is left in the end."""

from __future__ import annotations

from labkit.labs.beginner.gcp_cloud import Refused, Resource
from labkit.labs.intermediate.gcp_project import ENDPOINT, MODEL, PIPELINE, SCHEDULE, SPOT_JOB, Project
from labkit.labs.phrases import together
from labkit.labs.task import NotAttempted, Work, Wrong

BUCKET_ROLE, PROJECT_ROLE = "roles/storage.objectAdmin", "roles/aiplatform.user"


def roles(policy: Resource, member: str, *, conditional: bool = False) -> set[str]:
    """The roles that an allow policy binds to a member: all, or only those bound on a condition."""
    bound = [each for each in policy.get("bindings", []) if member in each.get("members", [])]
    return {each["role"] for each in bound if "condition" in each or not conditional}


def _bucket_policy(project: Project) -> Resource | None:
    """The bucket's policy, None where there is no bucket; :class:`Wrong` if the project's owners are not in it."""
    lost = Wrong(
        "a bucket whose policy has lost the project's owners and editors",
        "what was in the policy before, and one binding more",
        "append to the policy that get_iam_policy returned, and set that; or delete the bucket and begin again",
    )
    try:
        policy = project.storage(f"{project.bucket}/iam?optionsRequestedPolicyVersion=3")
    except Refused as refused:
        if refused.status == 403:  # the owner may no longer read it
            raise lost from None
        raise
    if policy is None:
        return None
    if not any(each["role"] == "roles/storage.legacyBucketOwner" for each in policy.get("bindings", [])):
        raise lost
    return policy


def role(_: Work) -> str:
    """The pipeline's account has one role in the bucket and one in the project, and nobody has lost anything."""
    project = Project()
    expected = f"{BUCKET_ROLE} in the bucket and {PROJECT_ROLE} in the project for it"
    if not project.account_there():
        raise NotAttempted(f"no service account {project.pipeline_account}", f"that account, with {expected}")
    member = f"serviceAccount:{project.pipeline_account}"
    bucket = _bucket_policy(project)
    if bucket is None:
        raise Wrong(f"no bucket {project.bucket}", "the bucket with the customers", "run the notebook from the top")
    for where, policy, needed in (
        ("in the bucket", bucket, BUCKET_ROLE),
        ("in the project", project.project_policy(), PROJECT_ROLE),
    ):
        has = roles(policy, member)
        if conditional := roles(policy, member, conditional=True):
            raise Wrong(f"{min(conditional)} {where} on a condition", "bindings without one", "leave condition out")
        if needed not in has:
            listed = ", ".join(sorted(has)) or "no role"
            hint = "" if has else f"read the policy {where}, add the binding, and set the policy that you have changed"
            raise Wrong(f"{listed} {where} for churn-pipeline", f"{needed} {where}", hint)
        if has - {needed}:
            more = min(has - {needed})
            raise Wrong(f"{more} {where} too", f"{needed}, and nothing more", f"take the binding of {more} out again")
    return f"churn-pipeline with {BUCKET_ROLE} in the bucket and {PROJECT_ROLE} in the project"


def leftovers(project: Project) -> list[str]:
    """What of this lab's is in the project, most expensive first."""
    member = f"serviceAccount:{project.pipeline_account}"
    runs = project.named("pipelineJobs", PIPELINE)
    return [
        *(["the endpoint " + ENDPOINT] if project.named("endpoints", ENDPOINT) else []),
        *(["the schedule " + SCHEDULE] if project.named("schedules", SCHEDULE) else []),
        *(["the model " + MODEL] if project.named("models", MODEL) else []),
        *([f"{len(runs)} run{'s' if len(runs) != 1 else ''} of {PIPELINE}"] if runs else []),
        *(["the custom job " + SPOT_JOB] if project.named("customJobs", SPOT_JOB) else []),
        *([f"the bucket {project.bucket}"] if project.storage(project.bucket) else []),
        *(["the service account churn-pipeline"] if project.account_there() else []),
        *(f"{each} for it in the project's policy" for each in sorted(roles(project.project_policy(), member))),
    ]


def cleanup(_: Work) -> str:
    """Nothing of this lab is left, and there was something once."""
    project = Project()
    kept = leftovers(project)
    expected = "a project as empty as before the lab"
    if kept:
        all_there = project.storage(project.bucket) and project.named("pipelineJobs", PIPELINE)
        untouched = f"the endpoint {ENDPOINT}" in kept or all_there or not project.log_lines("")
        raise (NotAttempted if untouched else Wrong)(f"{together(kept)} still there", expected)
    if not project.log_lines(""):
        raise NotAttempted("no trace of a pipeline's jobs in Cloud Logging", "one that ran and was then deleted")
    return "no endpoint, schedule, model, run, job, bucket or account of this lab left"
