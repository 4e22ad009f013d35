"""The checks that look at runs, the registry and the learner's answers, in one workspace each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.cloud.azure import jobs_files
from labkit.labs.intermediate import azure_checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.intermediate.azure_world import World

WORK: Any = None
TOO_LOW = "The AUC is 0.7974 and has to be above 0.85."
NO_COLUMN = "The data has no column churn."


def wrong(check: Any, found: str, work: Work = WORK) -> Wrong:
    with pytest.raises(Wrong, match=found) as caught:
        check(work)
    return caught.value


# -- refused -------------------------------------------------------------------------------------------------------


def test_refused(azure_world: World) -> None:
    with pytest.raises(NotAttempted, match="no job in the experiment churn-monthly"):
        azure_checks.refused(WORK)
    azure_world.run()
    with pytest.raises(NotAttempted, match="1 job in the experiment churn-monthly, none of them with kind=linear"):
        azure_checks.refused(WORK)
    azure_world.run("linear", failed="gate", said=TOO_LOW)
    assert azure_checks.refused(WORK) == (
        "a run that ended at the step gate and registered nothing: The AUC is 0.7974 and has to be above 0.85"
    )
    azure_world.run("linear", auc_threshold="0.5")
    assert "ended at the step gate" in azure_checks.refused(WORK)


@pytest.mark.parametrize(
    ("run", "found", "hint"),
    [
        ({}, "with kind=linear that is Completed", ""),
        ({"auc_threshold": "0.5"}, r"a run with the threshold 0\.5", "leave auc_threshold"),
        ({"failed": "gate", "auc_threshold": "0.95"}, r"a run with the threshold 0\.95", "leave auc_threshold"),
        ({"failed": "gate", "auc_threshold": "high"}, "a run with the threshold nan", "leave auc_threshold"),
        (
            {"failed": "prepare", "said": NO_COLUMN},
            r"that failed in the step prepare \(The data has no column churn\)",
            "",
        ),
        ({"status": "Canceled"}, "that is Canceled", ""),
        ({"status": "NotStarted"}, "that is NotStarted", "wait for its end"),
    ],
    ids=["passed", "low", "threshold", "no-number", "elsewhere", "canceled", "not-yet"],
)
def test_refused_wrong(azure_world: World, run: dict[str, Any], found: str, hint: str) -> None:
    azure_world.run("linear", **run)
    assert hint in wrong(azure_checks.refused, found).hint


def test_refused_after_another_threshold_and_not_yet_at_its_end_is_wrong(azure_world: World) -> None:
    azure_world.run("linear", failed="gate", said=TOO_LOW, auc_threshold="0.9")
    run = azure_world.run("linear", failed="gate", said=TOO_LOW)
    run.status = "Running"
    azure_world.run("linear", failed="gate", said=TOO_LOW, auc_threshold="0.95")
    assert "finished(refused)" in wrong(azure_checks.refused, "with kind=linear that is Running").hint


def test_refused_without_a_log_says_what_was_said_of_its_data(azure_world: World) -> None:
    run = azure_world.run("linear", failed="prepare", said="")
    folder = jobs_files.artifacts(azure_world.cloud, azure_world.here, azure_world.jobs.steps(run)["prepare"].name)
    place = jobs_files.below(folder, "user_logs/std_log.txt")
    del place.account.containers[place.container].blobs[place.path]
    wrong(azure_checks.refused, r"failed in the step prepare \(without a word\)")
    log = "system_logs/data_capability/data-capability.log"
    jobs_files.put(jobs_files.below(folder, log), [b"The identity may not read the data.\n"])
    wrong(azure_checks.refused, r"failed in the step prepare \(The identity may not read the data\)")


def test_refused_beside_the_gate_is_wrong(azure_world: World) -> None:
    run = azure_world.run("linear")
    run.status = "Failed"
    azure_world.jobs.steps(run)["gate"].status = "Failed"
    assert "a step waits" in wrong(azure_checks.refused, "registered a model before it ended at the gate").hint


# -- registered ----------------------------------------------------------------------------------------------------


def test_registered(azure_world: World) -> None:
    with pytest.raises(NotAttempted, match="no version of churn-retrained"):
        azure_checks.registered(WORK)
    run = azure_world.run()
    wrong(azure_checks.registered, "a run with kind=forest that is Completed")
    azure_world.version(run)
    assert azure_checks.registered(WORK) == (
        "version 1 of churn-retrained, from a run with an AUC of 0.920 in its metrics.json"
    )
    azure_world.version(azure_world.run("linear"), 2)
    assert "version 1 of" in azure_checks.registered(WORK)
    azure_world.put("models/churn-retrained/versions/1", {"isArchived": True})
    wrong(azure_checks.registered, "version 2 of churn-retrained, from a run with another kind of model")


@pytest.mark.parametrize(
    ("run", "version", "found"),
    [
        ({}, {"tags": {"run": None}}, "version 1 of churn-retrained, which no run of the pipeline registered"),
        ({}, {"tags": {"run": "another"}}, "which no run of the pipeline registered"),
        ({"experiment": "mine"}, {}, "which no run of the pipeline registered"),
        ({"status": "Running"}, {}, "of a run that is Running"),
        (
            {},
            {"uri": "azureml://datastores/workspaceblobstore/paths/mine"},
            "which is not the model that its run has trained",
        ),
        ({"auc": 0.8}, {"tags": {"auc": "0.9000"}}, r"of a run with an AUC of 0\.800 in its metrics\.json"),
        ({"auc": 0.85}, {}, r"of a run with an AUC of 0\.850"),
        ({}, {"tags": {"auc": "0.99"}}, r"with the tag auc '0\.99' for an AUC of 0\.9200"),
        ({}, {"tags": {"auc": None}}, "with the tag auc None for"),
        ({}, {"tags": {"auc": "good"}}, "with the tag auc 'good' for"),
    ],
    ids=["no-run", "other-run", "experiment", "running", "other-model", "low", "equal", "tag", "no-tag", "text"],
)
def test_registered_wrong(azure_world: World, run: dict[str, Any], version: dict[str, Any], found: str) -> None:
    azure_world.version(azure_world.run(**run), **version)
    wrong(azure_checks.registered, found)


def test_a_run_of_the_component_has_its_defaults(azure_world: World) -> None:
    azure_world.register_pipeline()
    component = f"{azure_world.here}/components/churn_monthly/versions/1"
    azure_world.version(azure_world.run(name="from-the-shell-1", component=component, trees="50"))
    assert "version 1 of churn-retrained, from a run" in azure_checks.registered(WORK)
    assert azure_checks.trigger(WORK) == "the job from-the-shell-1 with trees=50"


@pytest.mark.parametrize("content", [b"no JSON", b"[]", b'{"auc": null}', b'{"score": 0.9}'])
def test_registered_without_metrics_is_wrong(azure_world: World, content: bytes) -> None:
    run = azure_world.run()
    azure_world.version(run)
    azure_world.jobs.blob(azure_world.metrics_of(run), content)
    wrong(azure_checks.registered, r"of a run with no AUC in its metrics\.json")


def test_registered_by_a_pipeline_without_its_gate_is_wrong(azure_world: World) -> None:
    beside = azure_world.nodes()
    beside["register"]["inputs"]["passed"] = beside["gate"]["inputs"]["report"]
    azure_world.version(azure_world.run(nodes=beside))
    wrong(azure_checks.registered, r"of a run of a pipeline without its gate \(the step register beside the gate")


def test_registered_by_a_run_that_is_gone_is_wrong(azure_world: World) -> None:
    run = azure_world.run()
    azure_world.version(run)
    assert azure_world.rest("DELETE", f"{azure_world.here}/jobs/{run.name}")[0] == 202
    wrong(azure_checks.registered, "which no run of the pipeline registered")


# -- trigger -------------------------------------------------------------------------------------------------------


def test_trigger(azure_world: World) -> None:
    azure_world.run()
    with pytest.raises(NotAttempted, match="no job whose name begins with from-the-shell"):
        azure_checks.trigger(WORK)
    azure_world.run(name="from-the-shell-1", trees="50", experiment="Default")
    wrong(azure_checks.trigger, "from-the-shell-1 in the experiment Default")
    azure_world.run(name="from-the-shell-2")
    wrong(azure_checks.trigger, "from-the-shell-2 with trees=100")
    azure_world.run(name="from-the-shell-3", trees="50", failed="prepare", said=NO_COLUMN)
    wrong(azure_checks.trigger, r"from-the-shell-3 that failed in the step prepare \(The data has no column churn\)")
    azure_world.run(name="from-the-shell-4", trees="50", status="Running")
    assert azure_checks.trigger(WORK) == "the job from-the-shell-4 with trees=50"


# -- failure -------------------------------------------------------------------------------------------------------


def test_failure(azure_world: World, azure_work: Work) -> None:
    file = azure_work.folder / "build" / "answers.json"
    with pytest.raises(NotAttempted, match=r"no file azure/build/answers\.json"):
        azure_checks.failure(azure_work)
    right = {"step": "prepare", "reason": NO_COLUMN}
    file.write_text(json.dumps(right))
    wrong(azure_checks.failure, "no run that failed before the gate", azure_work)
    azure_world.run("linear", failed="gate", said=TOO_LOW)
    wrong(azure_checks.failure, "no run that failed before the gate", azure_work)
    azure_world.run(failed="prepare", said=NO_COLUMN)
    assert azure_checks.failure(azure_work) == "the step prepare, and what it said: The data has no column churn"
    azure_world.run("linear", failed="gate", said=TOO_LOW)
    file.write_text(json.dumps(right | {"reason": f"  Log: {NO_COLUMN}\n"}))
    assert "The data has no column churn" in azure_checks.failure(azure_work)
    for given, found in (
        ({"step": "train"}, "the step 'train'"),
        ({"reason": "it failed"}, "the reason 'it failed'"),
        ({"reason": ""}, "the reason ''"),
        ({"step": None}, "the step 'None'"),
    ):
        file.write_text(json.dumps(right | given))
        wrong(azure_checks.failure, found, azure_work)


@pytest.mark.parametrize(
    "text", ["", "prepare", "[]", "{}", '{"step": "prepare"}', "null", '["step", "reason"]', "\x00"]
)
def test_failure_in_other_shapes_is_wrong(azure_world: World, azure_work: Work, text: str) -> None:
    (azure_work.folder / "build" / "answers.json").write_text(text)
    wrong(azure_checks.failure, r"azure/build/answers\.json (?:without step or reason|that is no JSON)", azure_work)
