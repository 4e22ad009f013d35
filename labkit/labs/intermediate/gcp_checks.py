"""What the lab ``intermediate/gcp`` checks of the pipeline's files, its runs, its schedule and the model deployed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import yaml

from labkit.labs.beginner import churn
from labkit.labs.beginner.churn import GATE, quoted, shown
from labkit.labs.beginner.gcp_cloud import Refused, Resource
from labkit.labs.intermediate import gcp_gate, retraining
from labkit.labs.intermediate.gcp_project import ENDPOINT, MODEL, PIPELINE, Project, Run, job_of
from labkit.labs.task import NotAttempted, Unfinished, Work, Wrong

PROBE = Path(__file__).with_name("gcp_probe.py")
#: What the id of the run from the terminal begins with, and how many trees it grows.
SHELL_RUN, SHELL_TREES = "from-the-shell", 50
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
        found = f"{len(every)} run{'s' if len(every) != 1 else ''} of {PIPELINE}, none of them with kind=linear"
        raise NotAttempted(found if every else f"no run of {PIPELINE}", expected)
    run = next((each for each in simple if _was_refused(each) and _fits(project, each)), simple[0])
    if run.state != "SUCCEEDED":
        hint = "wait for its end: finished(refused)" if run.state in ("PENDING", "RUNNING") else ""
        raise Wrong(f"a run with kind=linear that {project.ended(run)}", expected, hint)
    check_run(project, run)
    if not _was_refused(run):
        raise Wrong(f"a run with kind=linear that registered {run.output('register')}", expected)
    return f"a run whose gate was not triggered by the AUC {run.output('evaluate'):.3f}, and nothing registered"


def _was_refused(run: Run) -> bool:
    return run.state == "SUCCEEDED" and run.output("evaluate") is not None and run.output("register") is None


def _fits(project: Project, run: Run) -> bool:
    try:
        check_run(project, run)
    except Wrong:
        return False
    return True


def check_run(project: Project, run: Run, hand_over: str = "submit(service_account=account)") -> None:
    """Raises :class:`Wrong` unless a run is of the pipeline with its gate at 0.85, as the pipeline's account.

    ``hand_over`` is a hint for who has not named the account.
    """
    try:
        gcp_gate.check(run.described["pipelineSpec"])
    except Unfinished as problem:
        hint = "compile the pipeline with its gate and begin again: a run keeps what was compiled when it began"
        raise Wrong(f"a run of a pipeline without its gate ({problem.found})", problem.expected, hint) from None
    threshold = run.parameter(gcp_gate.THRESHOLD)
    if threshold != GATE:
        raise Wrong(f"a run with the threshold {threshold}", f"one with {GATE}", f"leave {gcp_gate.THRESHOLD} as it is")
    if run.account != project.pipeline_account:
        account = run.account or "the default service account"
        raise Wrong(f"a run as {account}", f"one as {project.pipeline_account}", hand_over)


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
        raise Wrong(f"a run with a forest that {project.ended(forests[0])} and registered nothing", expected)
    problems = []
    for run in passed:
        made, auc = str(run.output("register")), run.output("evaluate")
        version = project.version(made)
        if version is None:
            problems.append(f"that the run {run.id} registered {made}, which is gone")
        elif version["displayName"] != MODEL:
            problems.append(f"a version of the model {version['displayName']}")
        elif run.state != "SUCCEEDED":
            problems.append(f"a run that registered version {version['versionId']} of {MODEL} and {project.ended(run)}")
        elif not auc > GATE:
            problems.append(f"version {version['versionId']} of {MODEL}, of a run with an AUC of {auc:.3f}")
        else:
            check_run(project, run)
            return f"version {version['versionId']} of {MODEL}, registered by a run with an AUC of {auc:.3f}"
    raise Wrong(problems[0], expected)


def trigger(_: Work) -> str:
    """A plain HTTPS request started a run of its own."""
    project = Project()
    expected = f"a run whose id begins with {SHELL_RUN}, with trees={SHELL_TREES}, as the pipeline's account"
    named = [run for run in project.runs() if run.id.startswith(SHELL_RUN)]
    if not named:
        raise NotAttempted(f"no run of {PIPELINE} whose id begins with {SHELL_RUN}", expected)
    run = named[0]
    if run.parameter("trees") != SHELL_TREES:
        hint = "curl sends the file that is given: --data @$request_file"
        raise Wrong(f"the run {run.id} with trees={run.parameter('trees'):g}", expected, hint)
    if run.state not in ("PENDING", "RUNNING", "SUCCEEDED"):
        raise Wrong(f"the run {run.id} that {project.ended(run)}", expected)
    check_run(project, run)
    return f"a run whose id begins with {SHELL_RUN}, with trees={SHELL_TREES}, as {run.account}"


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
            f'ModelRegistry(model=...).add_version_aliases(["{ALIAS}"], version=...)',
        )
    _check_passed(project, version, [run for run in project.runs() if _same(str(run.output("register") or ""), name)])
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


def _check_passed(project: Project, version: Resource, made_it: list[Run]) -> None:
    """Raises :class:`Wrong` unless one of the runs that registered a version is of the gated pipeline and passed."""
    if not made_it:
        raise Wrong(
            f"version {version['versionId']}, which no run of {PIPELINE} registered", "one that passed the gate"
        )
    passed = [run for run in made_it if run.output("evaluate") > GATE]
    if not passed:
        found = f"version {version['versionId']}, of a run with an AUC of {made_it[0].output('evaluate'):.3f}"
        raise Wrong(found, f"one with an AUC above {GATE}", "the run registered has made one")
    check_run(project, passed[0])


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
