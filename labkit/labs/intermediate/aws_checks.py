"""What the lab ``intermediate/aws`` checks: runs, steps, registry, schedule, endpoint and files, from outside."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

from botocore.exceptions import ClientError

from labkit.labs.beginner import churn
from labkit.labs.beginner.aws_checks import client, names_of
from labkit.labs.beginner.churn import GATE, quoted
from labkit.labs.intermediate import aws_cloud, aws_gate, retraining
from labkit.labs.intermediate.aws_cloud import (
    AUC_PATH,
    ENDPOINT,
    GROUP,
    PIPELINE,
    ROLE,
    Run,
    Version,
    role_arn,
)
from labkit.labs.task import NotAttempted, Work, Wrong

#: What evaluate.py's options for model, test customers and report are called, and what lies in the model's folder.
LAYOUT = ("model", "test", "output", "model.tar.gz")
SHELL_RUN, SHELL_ITERATIONS = "from-the-shell", "100"


def evaluate(work: Work) -> str:
    """``evaluate.py`` measures a model that it has never seen, and writes what the gate reads."""
    curve = AUC_PATH.removesuffix("auc.value") + "receiver_operating_characteristic_curve"
    return retraining.check_evaluation(work, LAYOUT, auc_at=AUC_PATH, curve_at=curve)


# -- pipeline and runs ---------------------------------------------------------------------------------------------


def gate(_: Work) -> str:
    """The pipeline registers a model only behind the condition on its AUC."""
    described = aws_cloud.pipeline()
    if described is None:
        raise NotAttempted(f"no pipeline named {PIPELINE}", "the pipeline with its gate")
    name = aws_gate.check(json.loads(described["PipelineDefinition"]))
    if described["RoleArn"] != role_arn(ROLE):
        raise Wrong(f"a pipeline that acts as {described['RoleArn']}", role_arn(ROLE))
    return f"the pipeline {PIPELINE}, in which only the step {name} leads to the registry"


def refused(_: Work) -> str:
    """A run with logistic regression was refused at the gate, and registered nothing."""
    expected = "a run with the parameter Model set to logistic that ended at the gate"
    every = aws_cloud.runs()
    simple = [run for run in every if run.parameters.get("Model") == "logistic"]
    if not simple:
        runs = f"{len(every)} execution{'s' if len(every) != 1 else ''}"
        found = f"{runs} of {PIPELINE}, none of them with Model=logistic"
        raise NotAttempted(found if every else f"no execution of {PIPELINE}", expected)
    for run in simple:
        if run.status == "Failed" and run.refused and not run.registered and _threshold(run) == GATE:
            reason = (run.failed_step or {}).get("FailureReason", "").rstrip(".")
            return f"a run that ended at {(run.failed_step or {})['StepName']} and registered nothing: {reason}"
    run = simple[0]
    if run.refused:
        raise Wrong(f"a run with the threshold {_threshold(run)}", f"one with {GATE}", "leave AucThreshold as it is")
    hint = "wait for its end: finished(refused)" if run.status == "Executing" else ""
    raise Wrong(f"a run with logistic regression that {run.ended}", expected, hint)


def _threshold(run: Run) -> float:
    try:
        return float(run.parameters[aws_cloud.THRESHOLD])
    except (KeyError, ValueError):
        return math.nan


def registered(_: Work) -> str:
    """A version in the registry, made by the pipeline, has metrics above the gate."""
    expected = f"a version in the group {GROUP} that a run registered, with an AUC above {GATE} in its metrics"
    versions = aws_cloud.versions()
    runs = aws_cloud.runs()
    if not versions:
        boosting = [run for run in runs if run.parameters.get("Model") == "boosting"]
        if not boosting:
            raise NotAttempted(f"no version in the group {GROUP}", expected)
        raise Wrong(f"a run with boosting that {boosting[0].ended}", expected, "wait for its end, or read its log")
    by_runs = {arn for run in runs for arn in run.registered}
    made = [each for each in versions if each.arn in by_runs]
    if not made:
        raise Wrong(
            f"version {versions[0].number}, which no run of {PIPELINE} registered", expected, "start the pipeline"
        )
    for version in reversed(made):
        auc = version.auc
        if auc is not None and auc > GATE:
            return f"version {version.number} of {GROUP}, with an AUC of {auc:.3f} in its metrics"
    auc = made[0].auc
    found = "without an AUC in its metrics" if auc is None else f"with an AUC of {auc:.3f}"
    raise Wrong(f"version {made[0].number} of {GROUP} {found}", expected)


def trigger(_: Work) -> str:
    """The ``aws`` command started a run of its own."""
    expected = f"a run named {SHELL_RUN} with Iterations={SHELL_ITERATIONS}, started by the aws command"
    named = [run for run in aws_cloud.runs() if run.name == SHELL_RUN]
    if not named:
        raise NotAttempted(f"no execution of {PIPELINE} named {SHELL_RUN}", expected)
    problems = []
    for run in named:
        given = run.parameters.get("Iterations")
        if given != SHELL_ITERATIONS:
            problems.append(f"a run named {SHELL_RUN} with Iterations={given}")
        elif run.status not in ("Executing", "Succeeded"):
            problems.append(f"a run named {SHELL_RUN} that {run.ended}")
        else:
            return f"the run {SHELL_RUN} with Iterations={given}"
    raise Wrong(problems[0], expected, "--pipeline-parameters Name=Iterations,Value=100")


def failure(work: Work) -> str:
    """``build/answers.json`` says which step of the broken run failed, and the last line of its log."""
    step, reason = retraining.explanation(work, "the failed step as step and the last line of its log as reason")
    broken = [run for run in aws_cloud.runs() if run.failed_step and aws_cloud.job_of(run.failed_step)]
    if not broken:
        raise Wrong("no run that failed in a job", "the run on the broken data", "run the cell with broken/ above")
    failed = broken[0].failed_step or {}
    if step != failed["StepName"]:
        raise Wrong(f"the step {quoted(step, 60)!r}", f"the step that has the status Failed in {broken[0].name}")
    job = aws_cloud.job_of(failed)
    last = retraining.check_reason(
        reason,
        aws_cloud.log_lines(*job) if job else [],
        f"what the job itself said last in {job[0] if job else ''}",
        "the FailureReason only points to the log: the message of its last event is the reason",
    )
    return f"the step {step}, and what it said: {last}"


# -- approve -------------------------------------------------------------------------------------------------------


def approve(work: Work) -> str:
    """The endpoint serves an approved version, and answers as that version's model does."""
    expected = f"an approved version of {GROUP} at the endpoint {ENDPOINT}"
    if ENDPOINT not in names_of("sagemaker", "list_endpoints", "Endpoints", "EndpointName", NameContains=ENDPOINT):
        approved = [each.number for each in aws_cloud.versions() if each.described["ModelApprovalStatus"] == "Approved"]
        if approved:
            raise Wrong(f"version {approved[0]} approved, and no endpoint {ENDPOINT}", expected)
        raise NotAttempted(f"no endpoint named {ENDPOINT}", expected)
    state = client("sagemaker").describe_endpoint(EndpointName=ENDPOINT)
    if state["EndpointStatus"] != "InService":
        reason = f" ({state['FailureReason']})" if "FailureReason" in state else ""
        raise Wrong(
            f"an endpoint that is {state['EndpointStatus']}{reason}", "InService", "wait for it, or deploy again"
        )
    version = _served(state["EndpointConfigName"])
    status = version.described["ModelApprovalStatus"]
    if status != "Approved":
        raise Wrong(f"version {version.number}, which is {status}, at the endpoint", expected, "update_model_package")
    if not version.described.get("ApprovalDescription"):
        raise Wrong(f"version {version.number} approved without a word", "an ApprovalDescription that says why")
    _check_passed(version)
    chosen = churn.customers(work)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "churn.joblib"
        model.write_bytes(version.model())
        scored = churn.ask_model(work, "score", model)
    if "error" in scored:
        raise Wrong(f"a version whose model cannot score customers ({scored['error']})", expected)
    body = churn.as_csv([record for _, record in chosen])
    try:
        answer = client("sagemaker-runtime").invoke_endpoint(EndpointName=ENDPOINT, ContentType="text/csv", Body=body)
    except ClientError as error:
        raise Wrong(
            f"an endpoint that answers {quoted(error)}", "predictions", "its log group has the traceback"
        ) from None
    difference = churn.differ(
        churn.predictions(answer["Body"].read().decode()), [scored["probabilities"][row] for row, _ in chosen]
    )
    if difference:
        raise Wrong(difference, f"what the model of version {version.number} says")
    return f"version {version.number}, approved, at {ENDPOINT}; it answers {len(chosen)} customers as its model does"


def _check_passed(version: Version) -> None:
    """Raises :class:`Wrong` unless a run of the pipeline has registered a version, with an AUC above the gate."""
    what = f"version {version.number} at the endpoint"
    if not any(version.arn in run.registered for run in aws_cloud.runs()):
        raise Wrong(f"{what}, which no run of {PIPELINE} registered", "one that has passed the gate")
    if version.auc is None or version.auc <= GATE:
        found = "no AUC" if version.auc is None else f"an AUC of {version.auc:.3f}"
        raise Wrong(
            f"{what}, with {found} in its metrics", f"one with an AUC above {GATE}", "the run registered made one"
        )


def _served(config: str) -> Version:
    """The version that an endpoint configuration deploys."""
    sagemaker = client("sagemaker")
    for variant in sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]:
        model = sagemaker.describe_model(ModelName=variant["ModelName"])
        containers = [
            *model.get("Containers", []),
            *([model["PrimaryContainer"]] if "PrimaryContainer" in model else []),
        ]
        packages = [each["ModelPackageName"] for each in containers if "ModelPackageName" in each]
        for version in aws_cloud.versions():
            if version.arn in packages:
                return version
        raise Wrong(
            f"a model made from {packages[0] if packages else containers[0].get('ModelDataUrl')}",
            f"one made from a version of {GROUP}",
            'Containers=[{"ModelPackageName": package}] in create_model, and no Image or ModelDataUrl',
        )
    raise Wrong("a configuration without variants", "one with the variant AllTraffic")
