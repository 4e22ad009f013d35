"""Checks what ``intermediate/aws`` makes beside the pipeline: its two roles, and that nothing is left at the end."""

from __future__ import annotations

from botocore.exceptions import ClientError

from labkit.labs.beginner.aws_checks import client, code, everything, names_of, role_policies
from labkit.labs.intermediate import aws_cloud
from labkit.labs.intermediate.aws_cloud import (
    ENDPOINT,
    GROUP,
    PIPELINE,
    ROLE,
    SCHEDULE,
    SCHEDULE_ROLE,
    bucket,
    role_arn,
    sagemaker_arn,
)
from labkit.labs.phrases import counted
from labkit.labs.policy import allows, as_list, covers, grants, statements
from labkit.labs.task import NotAttempted, Work, Wrong

PASS_ITSELF = (
    'statement("iam:PassRole", role_arn) | {"Condition": {"StringEquals": {"iam:PassedToService": '
    '"sagemaker.amazonaws.com"}}}'
)
#: For whom a check has found that the statement is not right: what it is made of, not the statement.
PASSING = (
    "a PassRole statement says which role (Resource: role_arn, not a star) and, in its Condition, to which service: "
    "StringEquals, iam:PassedToService, sagemaker.amazonaws.com"
)
START = "sagemaker:StartPipelineExecution"
LOG_GROUPS = (
    "/aws/sagemaker/ProcessingJobs",
    "/aws/sagemaker/TrainingJobs",
    f"/aws/sagemaker/Endpoints/{ENDPOINT}",
)


def role(_: Work) -> str:
    """The pipeline's role can pass itself on and nothing wider; the schedule's can start the pipeline alone."""
    trusts = {name: _trust(name) for name in (ROLE, SCHEDULE_ROLE)}
    missing = [name for name, trust in trusts.items() if trust is None]
    if missing:
        raise (NotAttempted if len(missing) == 2 else Wrong)(
            f"no role named {' and none named '.join(missing)}", "one role for the pipeline and one for the schedule"
        )
    for name, service in {ROLE: "sagemaker.amazonaws.com", SCHEDULE_ROLE: "scheduler.amazonaws.com"}.items():
        trusted = trusts[name]
        if trusted != [service]:
            raise Wrong(
                f"a trust policy of {name} for {', '.join(trusted or []) or 'nobody'}",
                f"one for {service} alone",
                f'make_role({name!r}, "{service}", [...]) writes it',
            )
    policies = list(role_policies(ROLE).values())
    _check_pass_role()
    needs = {
        "sagemaker:CreateTrainingJob": sagemaker_arn("training-job/pipelines-1-train"),
        "sagemaker:CreateProcessingJob": sagemaker_arn("processing-job/pipelines-1-prepare"),
        "sagemaker:CreateModelPackage": sagemaker_arn(f"model-package/{GROUP}/1"),
        "s3:PutObject": f"arn:aws:s3:::{bucket()}/models/model.tar.gz",
    }
    for action, resource in needs.items():
        if not allows(policies, action, resource):
            raise Wrong(f"a {ROLE} without {action} on {resource}", "all of permissions, and iam:PassRole")
    for action, resource in {"s3:GetObject": "arn:aws:s3:::somebody-elses-bucket/file", "iam:CreateUser": "*"}.items():
        if allows(policies, action, resource):
            raise Wrong(f"a {ROLE} that may also do {action} on {resource}", "permissions and iam:PassRole, no more")
    starting = grants(role_policies(SCHEDULE_ROLE).values())
    pipeline_arn = sagemaker_arn(f"pipeline/{PIPELINE}")
    if not any(_starts(action) and covers(resource, pipeline_arn) for action, resource in starting):
        raise Wrong(f"a {SCHEDULE_ROLE} that cannot start the pipeline", f"{START} on {pipeline_arn}")
    if wider := [
        f"{action} on {on}" for action, on in starting if (action.lower(), on) != (START.lower(), pipeline_arn)
    ]:
        raise Wrong(f"a {SCHEDULE_ROLE} that may also do {wider[0]}", "one action on one pipeline")
    return f"{ROLE}, which can pass itself to SageMaker alone, and {SCHEDULE_ROLE}, which can start one pipeline"


def _trust(name: str) -> list[str] | None:
    """Whom a role trusts; None when there is no such role."""
    try:
        document = client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    except ClientError as error:
        if code(error) != "NoSuchEntity":
            raise
        return None
    trusted: list[str] = []
    for statement in statements([document]):
        principal = statement.get("Principal", {})
        trusted += [each for kind in principal.values() for each in as_list(kind)] if principal != "*" else ["*"]
    return trusted


def _starts(action: str) -> bool:
    return covers(action.lower(), "sagemaker:startpipelineexecution")


def _check_pass_role() -> None:
    expected = f"iam:PassRole on {role_arn(ROLE)} with the condition iam:PassedToService"
    if not _may_pass(ROLE, "sagemaker.amazonaws.com"):
        raise Wrong(f"a {ROLE} that may not pass itself on to SageMaker", expected, PASSING)
    if _may_pass("administrator", "sagemaker.amazonaws.com"):
        raise Wrong(f"a {ROLE} that may pass on any role of the account", expected, PASSING)
    for service in ("lambda.amazonaws.com", "ec2.amazonaws.com", "scheduler.amazonaws.com"):
        if _may_pass(ROLE, service):
            raise Wrong(f"a {ROLE} that may pass itself to {service}", expected, PASSING)


def _may_pass(name: str, service: str) -> bool:
    """Whether IAM would let the pipeline's role pass a role on to a service."""
    to = {"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string", "ContextKeyValues": [service]}
    (result,) = client("iam").simulate_principal_policy(
        PolicySourceArn=role_arn(ROLE),
        ActionNames=["iam:PassRole"],
        ResourceArns=[role_arn(name)],
        ContextEntries=[to],
    )["EvaluationResults"]
    return bool(result["EvalDecision"] == "allowed")


def leftovers() -> dict[str, list[str]]:
    """What of this lab's is in the account: the names by kind, most expensive kind first."""
    ours = {"NameContains": ENDPOINT}
    groups = everything("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList", NameContains=GROUP)
    log_groups = {"logGroupNamePrefix": "/aws/sagemaker/"}
    found = {
        "endpoint": names_of("sagemaker", "list_endpoints", "Endpoints", "EndpointName", **ours),
        "endpoint configuration": names_of(
            "sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", **ours
        ),
        "model": names_of("sagemaker", "list_models", "Models", "ModelName", **ours),
        "schedule": _only(SCHEDULE, names_of("scheduler", "list_schedules", "Schedules", "Name")),
        "version": [f"{GROUP}/{each.number}" for each in aws_cloud.versions()],
        "model package group": _only(GROUP, [each["ModelPackageGroupName"] for each in groups]),
        "pipeline": _only(PIPELINE, names_of("sagemaker", "list_pipelines", "PipelineSummaries", "PipelineName")),
        "role": _only((ROLE, SCHEDULE_ROLE), names_of("iam", "list_roles", "Roles", "RoleName")),
        "bucket": _only(bucket(), [each["Name"] for each in client("s3").list_buckets()["Buckets"]]),
        "log group": _only(
            LOG_GROUPS, names_of("logs", "describe_log_groups", "logGroups", "logGroupName", **log_groups)
        ),
    }
    return {kind: there for kind, there in found.items() if there}


def _only(ours: str | tuple[str, ...], names: list[str]) -> list[str]:
    return [name for name in names if name in as_list(ours)]


def cleanup(_: Work) -> str:
    """Nothing of the lab is left, and there was something once."""
    kept = leftovers()
    expected = "an account as empty as before the lab; jobs alone cannot be deleted"
    jobs = names_of(
        "sagemaker", "list_training_jobs", "TrainingJobSummaries", "TrainingJobName", NameContains="pipelines-"
    )
    if kept:
        untouched = not jobs or {"endpoint", "schedule", "pipeline", "role", "bucket"} <= kept.keys()
        found = "; ".join(counted(kind, there) for kind, there in kept.items())
        raise (NotAttempted if untouched else Wrong)(f"still there: {found}", expected)
    if not jobs:
        raise NotAttempted("no trace of a run of the pipeline", "one that ran and was then deleted")
    return "no endpoint, model, schedule, version, pipeline, role, bucket or log group of this lab left"
