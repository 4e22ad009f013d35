"""What the lab ``intermediate/gcp`` checks of the pipeline's files, its runs, its schedule and the model deployed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import yaml

from labkit.cloud.engine import expressions
from labkit.cloud.engine.errors import CloudError
from labkit.labs.beginner import churn
from labkit.labs.beginner.churn import GATE, quoted, shown
from labkit.labs.beginner.gcp_cloud import Refused, Resource
from labkit.labs.intermediate import gcp_gate, retraining
from labkit.labs.intermediate.gcp_project import ENDPOINT, MODEL, PIPELINE, SCHEDULE, Project, Run, job_of
from labkit.labs.intermediate.retraining import HOUR, ZONE
from labkit.labs.task import NotAttempted, Work, Wrong

PROBE = Path(__file__).with_name("gcp_probe.py")
SHELL_RUN = "from-the-shell"
ALIAS = "champion"
#: What an AUC is made of here.
SCORES = "what predict returns, the probabilities of leaving"


# -- files ---------------------------------------------------------------------------------------------------------


def evaluate(work: Work) -> str:
    """The component ``evaluate`` measures a model that it has never seen, logs the AUC and writes it down."""
    file = work.folder / "steps.py"
    expected = "the AUC logged, returned and in metrics.json"
    if not file.is_file():
        raise NotAttempted(f"no file {shown(work, file)}", expected)
    answer = churn.probe(work, str(file), str(work.data / "churn.csv"), program=PROBE)
    if "error" in answer:
        if "name 'scores' is not defined" in answer["error"]:
            raise NotAttempted(f"an evaluate in {shown(work, file)} that has no scores", expected)
        raise Wrong(f"an evaluate in {shown(work, file)} that fails ({answer['error']})", expected)
    retraining.check_auc(answer["returned"], answer, "returned", SCORES)
    if "auc" not in answer["logged"]:
        raise Wrong("no metric auc logged", expected, 'metrics.log_metric("auc", auc)')
    retraining.check_auc(answer["logged"]["auc"], answer, "logged", SCORES)
    if answer["text"] is None:
        raise Wrong("no metrics.json in the folder of the artifact report", expected)
    try:
        written = json.loads(answer["text"])["auc"]
    except (ValueError, KeyError, TypeError):
        raise Wrong(f"the metrics.json {quoted(answer['text'])}", "an object with the key auc") from None
    retraining.check_auc(written, answer, "in metrics.json", SCORES)
    return f"an evaluate that finds the AUC of {written:.3f} of a model that it has never seen"


def gate(work: Work) -> str:
    """The compiled pipeline registers a model only behind the condition on its AUC."""
    file = work.folder / "build" / "churn.yaml"
    if not file.is_file():
        raise NotAttempted(f"no file {shown(work, file)}", "the compiled pipeline with its gate")
    try:
        spec = next(iter(yaml.safe_load_all(file.read_text())))
        gcp_gate.check(spec)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration):
        raise Wrong(f"a {shown(work, file)} that is no compiled pipeline", "what the compiler writes") from None
    return f"a pipeline that registers a model only if its AUC is greater than {gcp_gate.THRESHOLD}"


# -- runs ----------------------------------------------------------------------------------------------------------


def refused(_: Work) -> str:
    """A run with a linear model was refused at the gate, and registered nothing."""
    project = Project()
    expected = "a run with kind=linear whose gate was not triggered"
    every = project.runs()
    simple = [run for run in every if run.parameter("kind") == "linear"]
    if not simple:
        found = f"{len(every)} runs of {PIPELINE}, none of them with kind=linear"
        raise NotAttempted(found if every else f"no run of {PIPELINE}", expected)
    run = next((each for each in simple if _was_refused(each)), simple[0])
    if run.state != "SUCCEEDED":
        hint = "wait for its end: finished(refused)" if run.state in ("PENDING", "RUNNING") else ""
        raise Wrong(f"a run with kind=linear that {run.ended}", expected, hint)
    if not _was_refused(run):
        raise Wrong(f"a run with kind=linear that registered {run.output('register')}", expected, gcp_gate.HINT)
    _check_run(project, run)
    return f"a run whose gate was not triggered by the AUC {run.output('evaluate'):.3f}, and nothing registered"


def _was_refused(run: Run) -> bool:
    return run.state == "SUCCEEDED" and run.output("evaluate") is not None and run.output("register") is None


def _check_run(project: Project, run: Run) -> None:
    threshold = run.parameter(gcp_gate.THRESHOLD)
    if threshold != GATE:
        raise Wrong(f"a run with the threshold {threshold}", f"one with {GATE}", f"leave {gcp_gate.THRESHOLD} as it is")
    _check_account(project, run)


def _check_account(project: Project, run: Run) -> None:
    if run.account != project.pipeline_account:
        raise Wrong(
            f"a run as {run.account or 'the default service account'}",
            f"one as {project.pipeline_account}",
            "begin hands it over: job.submit(service_account=account)",
        )


def registered(_: Work) -> str:
    """A version in the registry was registered by a run behind the gate."""
    project = Project()
    expected = f"a version of the model {MODEL} that a run registered, with an AUC above {GATE}"
    runs = project.runs()
    passed = [run for run in runs if run.output("register")]
    if not passed:
        forests = [run for run in runs if run.parameter("kind") == "forest"]
        if not forests:
            raise NotAttempted(f"no run of {PIPELINE} with a forest", expected)
        raise Wrong(f"a run with a forest that {forests[0].ended} and registered nothing", expected)
    for run in passed:
        auc, version = run.output("evaluate"), project.version(str(run.output("register")))
        if version and auc > GATE and version["displayName"] == MODEL and run.state == "SUCCEEDED":
            _check_run(project, run)
            return f"version {version['versionId']} of {MODEL}, registered by a run with an AUC of {auc:.3f}"
    auc = passed[0].output("evaluate")
    raise Wrong(
        f"the version {passed[0].output('register')} of a run with an AUC of {auc:.3f} that {passed[0].ended}, or its "
        "version deleted",
        expected,
    )


def trigger(_: Work) -> str:
    """A plain HTTPS request started a run of its own."""
    project = Project()
    expected = f"a run whose id begins with {SHELL_RUN}, as the pipeline's account"
    named = [run for run in project.runs() if run.id.startswith(SHELL_RUN)]
    if not named:
        raise NotAttempted(f"no run of {PIPELINE} whose id begins with {SHELL_RUN}", expected)
    run = named[0]
    if run.state not in ("PENDING", "RUNNING", "SUCCEEDED"):
        raise Wrong(f"the run {run.id} that {run.ended}", expected)
    _check_account(project, run)
    return f"a run whose id begins with {SHELL_RUN}, as {run.account}"


def failure(work: Work) -> str:
    """``build/answers.json`` says which task of the broken run failed, and the last line of its log."""
    step, reason = retraining.explanation(work, "the failed task as step and the last line of its log as reason")
    project = Project()
    failed = next((task for run in project.runs() if (task := run.failed_task)), None)
    if failed is None:
        raise Wrong("no run that failed in a job", "the run on the broken data", "run the cell with broken/ above")
    if step != failed["taskName"]:
        raise Wrong(f"the step {quoted(step, 60)!r}", "the name of the task whose state is FAILED")
    last = retraining.check_reason(
        reason,
        project.log_lines(job_of(failed)),
        f"what the job {job_of(failed)} itself said last",
        "the run's error only names the task: the message of the log's last entry is the reason",
    )
    return f"the task {step}, and what it said: {last}"


# -- schedule ------------------------------------------------------------------------------------------------------


def schedule(_: Work) -> str:
    """The schedule starts the pipeline on the first of each month, on fresh data, as the pipeline's account."""
    project = Project()
    expected = f"the schedule {SCHEDULE}: TZ={ZONE} 0 {HOUR} 1 * *"
    found = project.named("schedules", SCHEDULE)
    if not found:
        raise NotAttempted(f"no schedule named {SCHEDULE}", expected)
    plan = found[0]
    _check_time(str(plan.get("cron", "")), expected)
    if str(plan.get("maxConcurrentRunCount")) != "1":
        raise Wrong(f"up to {plan.get('maxConcurrentRunCount')} runs at a time", "one", "max_concurrent_run_count=1")
    job = Run(plan["createPipelineJobRequest"]["pipelineJob"])
    data = str(job.parameter("data"))
    if data.rstrip("/") != project.months:
        raise Wrong(f"runs with data={data}", f"data={project.months}", 'parameter_values={"data": months}')
    _check_run(project, job)
    if gcp_gate.cached(job.described["pipelineSpec"], ["prepare"]):
        raise Wrong(
            "runs whose prepare may come from the cache",
            "runs that read the months that are there",
            "PipelineJob takes enable_caching=False: the folder's name is the same each month, its files are not",
        )
    runs = [run for run in project.runs() if str(run.parameter("data")).rstrip("/") == project.months]
    if plan["state"] != "ACTIVE" and not runs:
        raise Wrong(f"a schedule that is {plan['state']} and has never started anything", "one that is ACTIVE")
    fired = f"; it has started {len(runs)} run{'s' if len(runs) != 1 else ''}" if runs else ""
    return f"{plan['cron']}, which starts {PIPELINE}{fired}"


def _check_time(cron: str, expected: str) -> None:
    try:
        expression, place = expressions.cron_in_zone(cron)
    except CloudError as error:
        raise Wrong(f"the schedule {cron!r} ({error})", expected) from None
    if place.key != ZONE:
        raise Wrong(f"a schedule in the time zone {place.key}", ZONE, f"the expression begins with TZ={ZONE}")
    hint = "the fields are minutes, hours, day of the month, month and day of the week"
    retraining.check_monthly(lambda at: expression.next(at, place), cron, expected, hint)


# -- approve -------------------------------------------------------------------------------------------------------


def approve(work: Work) -> str:
    """The endpoint serves the champion, which passed the gate, and answers as that version's model does."""
    project = Project()
    expected = f"the version of {MODEL} with the alias {ALIAS} at the endpoint {ENDPOINT}"
    endpoints = project.named("endpoints", ENDPOINT)
    if not endpoints:
        raise NotAttempted(f"no endpoint named {ENDPOINT}", expected)
    deployed = endpoints[0].get("deployedModels", [])
    if not deployed:
        raise Wrong(f"an endpoint {ENDPOINT} without a model", expected)
    served = max(deployed, key=lambda each: str(each["createTime"]))
    share = endpoints[0].get("trafficSplit", {}).get(served["id"], 0)
    if share != 100:
        raise Wrong(f"{share} % of the traffic for the model", "100 %", "endpoint.deploy takes traffic_percentage=100")
    name = f"{served['model'].partition('@')[0]}@{served.get('modelVersionId', '1')}"
    version = project.version(name)
    if version is None or version["displayName"] != MODEL:
        raise Wrong(f"another model on it ({name})", expected)
    if ALIAS not in version.get("versionAliases", []):
        aliases = ", ".join(version.get("versionAliases", [])) or "none"
        raise Wrong(
            f"version {version['versionId']} on it, which has the aliases {aliases}",
            expected,
            f'registry().add_version_aliases(["{ALIAS}"], version=...)',
        )
    if not any(_same(str(run.output("register") or ""), name) for run in project.runs()):
        raise Wrong(f"version {version['versionId']}, which no run of {PIPELINE} registered", expected)
    chosen = churn.customers(work)
    answers = _answers(work, project, version)
    try:
        told = project.predict(endpoints[0]["name"], [list(record.values()) for _, record in chosen])
    except Refused as error:
        raise Wrong(str(error), "predictions", "Cloud Logging has the container's traceback") from None
    difference = churn.differ(told, [answers[row] for row, _ in chosen])
    if difference:
        raise Wrong(difference, f"what the model of version {version['versionId']} says")
    return (
        f"version {version['versionId']}, the {ALIAS}, at {ENDPOINT}; it answers {len(chosen)} customers as it should"
    )


def _same(one: str, other: str) -> bool:
    """Whether two names, one with the project's number and one with its id, are of the same version."""
    return one.rpartition("/")[2] == other.rpartition("/")[2]


def _answers(work: Work, project: Project, version: Resource) -> list[float]:
    """What the model that a version was made from says of every customer."""
    bucket, _, key = f"{version['artifactUri'].removeprefix('gs://')}/model.joblib".partition("/")
    content = project.content(bucket, key)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.joblib"
        model.write_bytes(content)
        scored = churn.ask_model(work, "predict_rows", model)
    if "error" in scored:
        raise Wrong(f"a version whose model cannot score customers ({scored['error']})", "one that can")
    answers: list[float] = scored["answers"]
    return answers
