"""What the lab ``intermediate/azure`` checks of runs, steps, registry, endpoint and files, from outside."""

from __future__ import annotations

import json
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import requests

from labkit.labs.azure_rest import PATIENCE, SCORING, WORKSPACE_API, arm, resource, said, token, workspace_id
from labkit.labs.beginner import churn
from labkit.labs.beginner.churn import GATE, quoted
from labkit.labs.intermediate import azure_cloud, azure_gate, retraining
from labkit.labs.intermediate.azure_cloud import DEPLOYMENT, EXPERIMENT, FAILED, LOG, MODEL, THRESHOLD, Run, Version
from labkit.labs.task import NotAttempted, Work, Wrong

SHELL_RUN, SHELL_TREES = "from-the-shell", "50"
#: What evaluate.py's options for model, test customers and report are called, and what lies in the model's folder.
LAYOUT = ("model", "table", "report", "churn.joblib")


def evaluate(work: Work) -> str:
    """``evaluate.py`` measures a model that it has never seen, and writes what the gate reads."""
    return retraining.check_evaluation(work, LAYOUT, auc_at="auc", curve_at="")


def gate(work: Work) -> str:
    """The pipeline registers a model only behind the gate on its AUC."""
    return azure_gate.check(work)


# -- runs ----------------------------------------------------------------------------------------------------------


def refused(_: Work) -> str:
    """A run with a linear model was refused at the gate, and registered nothing."""
    expected = "a run with kind=linear that ended at the gate"
    every = azure_cloud.pipeline_runs()
    simple = [run for run in every if run.input("kind") == "linear"]
    if not simple:
        jobs = f"{len(every)} job{'s' if len(every) != 1 else ''}"
        found = f"{jobs} in the experiment {EXPERIMENT}, none of them with kind=linear"
        raise NotAttempted(found if every else f"no job in the experiment {EXPERIMENT}", expected)
    for run in simple:
        if run.status == "Failed" and run.refused and run.step("register.py") is None and _threshold(run) == GATE:
            step = run.failed_step
            assert step is not None
            reason = (step.log_lines or ["without a word"])[-1].strip().rstrip(".")
            return f"a run that ended at the step {step.name} and registered nothing: {reason}"
    run = next((each for each in simple if _threshold(each) == GATE), simple[0])
    if run.status not in (*FAILED, "Completed"):
        raise Wrong(f"a run with kind=linear that is {run.status}", expected, "wait for its end: finished(refused)")
    if (run.refused or run.status == "Completed") and _threshold(run) != GATE:
        raise Wrong(f"a run with the threshold {_threshold(run)}", f"one with {GATE}", f"leave {THRESHOLD} as it is")
    if run.refused:
        raise Wrong("a run that registered a model before it ended at the gate", expected, azure_gate.HINT)
    raise Wrong(f"a run with kind=linear that {run.ended}", expected)


def _threshold(run: Run) -> float:
    try:
        return float(run.input(THRESHOLD))
    except ValueError:
        return math.nan


def registered(_: Work) -> str:
    """A version in the registry was made by a run with a forest, whose metrics are above the gate."""
    expected = f"a version of {MODEL} that a run with kind=forest registered, with an AUC above {GATE}"
    versions, runs = azure_cloud.model_versions(), azure_cloud.pipeline_runs()
    if not versions:
        forests = [run for run in runs if run.input("kind") == "forest"]
        if not forests:
            raise NotAttempted(f"no version of {MODEL}", expected)
        raise Wrong(f"a run with kind=forest that {forests[0].ended}", expected, "wait for its end, or read its log")
    problems = []
    for version in versions:
        problem, run = _problem(version, runs)
        if not problem and run is not None and run.input("kind") == "forest":
            return f"version {version.name} of {MODEL}, from a run with an AUC of {run.auc:.3f} in its metrics.json"
        problems.append(problem or f"version {version.name} of {MODEL}, from a run with another kind of model")
    raise Wrong(problems[0], expected, "start the pipeline with its defaults: only data is needed")


def _problem(version: Version, runs: list[Run]) -> tuple[str, Run | None]:
    """What is not right with how a version has come about, ``""`` for nothing; and the run that made it."""
    what = f"version {version.name} of {MODEL}"
    run = next((each for each in runs if each.name == version.tags.get("run")), None)
    if run is None:
        return f"{what}, which no run of the pipeline registered", None
    register, train = run.step("register.py"), run.step("train.py")
    if run.status != "Completed" or register is None:
        return f"{what} of a run that {run.ended}", run
    try:
        azure_gate.wired(run.properties)
    except Wrong as wrong:
        return f"{what} of a run of a pipeline without its gate ({wrong.found})", run
    made = train.output("model").rstrip("/") if train else ""
    if not made or not str(version.properties["modelUri"]).rstrip("/").endswith(made.partition("/datastores/")[2]):
        return f"{what}, which is not the model that its run has trained", run
    auc = run.auc
    if auc is None or auc <= GATE:
        return f"{what} of a run with {'no AUC' if auc is None else f'an AUC of {auc:.3f}'} in its metrics.json", run
    tag = version.tags.get("auc")
    if not _says(tag, auc):
        return f"{what} with the tag auc {tag!r} for an AUC of {auc:.4f}", run
    return "", run


def _says(tag: str | None, auc: float) -> bool:
    """Whether a tag says the AUC to three places or more."""
    try:
        return abs(float(tag or "") - auc) <= 0.0005
    except ValueError:
        return False


def trigger(_: Work) -> str:
    """A plain HTTPS request started a run of its own."""
    expected = f"a job named {SHELL_RUN}-... with trees={SHELL_TREES}, sent by curl"
    named = [job for job in azure_cloud.jobs() if job.name.startswith(SHELL_RUN)]
    if not named:
        raise NotAttempted(f"no job whose name begins with {SHELL_RUN}", expected)
    problems = []
    for job in named:
        trees, experiment = job.input("trees"), job.properties.get("experimentName")
        if experiment != EXPERIMENT:
            problems.append(f"the job {job.name} in the experiment {experiment}")
        elif trees != SHELL_TREES:
            problems.append(f"the job {job.name} with trees={trees}")
        elif job.status in FAILED:
            problems.append(f"the job {job.name} that {job.ended}")
        else:
            return f"the job {job.name} with trees={trees}"
    raise Wrong(problems[0], expected, "--data @azure/build/job.json sends the file as it is")


def failure(work: Work) -> str:
    """``build/answers.json`` says which step of the broken run failed, and the last line of its log."""
    step, reason = retraining.explanation(work, "the failed step as step and the last line of its log as reason")
    failing = (run for run in azure_cloud.pipeline_runs() if run.status == "Failed")
    broken = next((run for run in failing if run.failed_step and not run.refused), None)
    failed = broken.failed_step if broken else None
    if broken is None or failed is None:
        raise Wrong("no run that failed before the gate", "the run on the broken data", "run the cell with broken/")
    if step != failed.name:
        raise Wrong(f"the step {quoted(step, 60)!r}", f"the step whose status is Failed in the job {broken.name}")
    last = retraining.check_reason(
        reason,
        failed.log_lines,
        f"what the step itself said last, in {LOG}",
        "the job only names the step: the last line of the log of that step's own run is the reason",
    )
    return f"the step {step}, and what it said: {last}"


# -- approve -------------------------------------------------------------------------------------------------------


def approve(work: Work) -> str:
    """The endpoint serves the version in production, and answers as that version's model does."""
    name, versions = azure_cloud.endpoint_name(), azure_cloud.model_versions()
    expected = f"a version of {MODEL} in the stage Production, with the tag approved, at the endpoint {name}"
    path = f"{workspace_id()}/onlineEndpoints/{name}"
    endpoint = resource(path)
    if endpoint is None:
        promoted = [each.name for each in versions if each.stage == "Production"]
        if promoted:
            raise Wrong(f"version {promoted[0]} in the stage Production, and no endpoint {name}", expected)
        raise NotAttempted(f"no endpoint named {name}", expected)
    deployment = resource(f"{path}/deployments/{DEPLOYMENT}")
    if deployment is None:
        raise Wrong(f"an endpoint without a deployment named {DEPLOYMENT}", expected)
    for what, found in (("an endpoint", endpoint), ("a deployment", deployment)):
        state = found["properties"]["provisioningState"]
        if state != "Succeeded":
            raise Wrong(f"{what} that is {state}", "Succeeded", "wait for it with the poller's result()")
    share = (endpoint["properties"].get("traffic") or {}).get(DEPLOYMENT, 0)
    if share != 100:
        raise Wrong(f"{share} % of the traffic for {DEPLOYMENT}", "100 %", "set endpoint.traffic and update it")
    version = _served(str(deployment["properties"].get("model")), versions, expected)
    if version.stage != "Production":
        raise Wrong(
            f"version {version.name}, which is in {version.stage}, at the endpoint",
            expected,
            'set version.stage = "Production" and hand it to ml.models.create_or_update',
        )
    if not version.tags.get("approved"):
        raise Wrong(f"version {version.name} without a tag approved", "a tag that says why it was approved")
    problem, _ = _problem(version, azure_cloud.pipeline_runs())
    if problem:
        raise Wrong(f"{problem}, at the endpoint", "one that has come through the gate")
    asked = _compare(work, version, path, str(endpoint["properties"]["scoringUri"]))
    return f"version {version.name}, in Production, at {name}; it answers {asked} customers as its model does"


def _served(model: str, versions: list[Version], expected: str) -> Version:
    """The version that a deployment names."""
    matched = re.search(rf"(?:/models/|azureml:|^){MODEL}(?:/versions/|:)(?P<version>[^/:]+)$", model)
    for version in versions:
        if matched and version.name == matched["version"]:
            return version
    raise Wrong(f"a deployment of {model.partition('/models/')[2] or model}", expected, f'model="{MODEL}:VERSION"')


def _compare(work: Work, version: Version, path: str, address: str) -> int:
    """Asks the endpoint and the version's model about the same customers; answers how many."""
    content = version.model()
    if content is None:
        raise Wrong(f"a version {version.name} without churn.joblib in its files", "the model that was trained")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "churn.joblib"
        model.write_bytes(content)
        scored = churn.ask_model(work, "score", model)
    if "error" in scored:
        raise Wrong(f"a version whose model cannot score customers ({scored['error']})", "one that can")
    chosen = churn.customers(work)
    body = json.dumps({"instances": [record for _, record in chosen]})
    headers = {"Authorization": f"Bearer {_secret(path)}", "Content-Type": "application/json"}
    answer = requests.post(address, data=body, headers=headers, timeout=PATIENCE)
    if not answer.ok:
        hint = f'ml.online_deployments.get_logs(name="{DEPLOYMENT}", endpoint_name=endpoint_name, lines=100) says why'
        raise Wrong(f"that the endpoint answers {said(answer)}", "predictions", hint)
    right = [scored["probabilities"][row] for row, _ in chosen]
    difference = churn.differ(churn.predictions(answer.text), right)
    if difference:
        raise Wrong(difference, f"what the model of version {version.name} says")
    return len(chosen)


def _secret(path: str) -> str:
    """What the endpoint's callers show: a key, or a token where it takes no keys."""
    answer = arm("POST", f"{path}/listKeys", WORKSPACE_API)
    keys: dict[str, Any] = answer.json() if answer.ok else {}
    return str(keys.get("primaryKey") or token(SCORING))
