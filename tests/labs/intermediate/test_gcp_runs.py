"""The checks that look at runs, versions and the endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from labkit.labs.intermediate import gcp_checks
from labkit.labs.intermediate.gcp_project import Project
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.beginner.conftest import DATA, save_forest
from tests.labs.intermediate import gcp_world
from tests.labs.intermediate.gcp_world import beside, gated, job, pipeline, run

WORK: Any = None
SPEC = pipeline(gated)
UNGATED = pipeline(lambda *_: None)


@pytest.fixture
def gcp_work(tmp_path: Path) -> Work:
    (tmp_path / "gcp" / "build").mkdir(parents=True)
    return Work(tmp_path / "gcp", DATA)


def test_refused(gcp_project: Project) -> None:
    with pytest.raises(NotAttempted, match="no run of churn-monthly"):
        gcp_checks.refused(WORK)
    run(job(SPEC))
    with pytest.raises(NotAttempted, match="1 run of churn-monthly, none of them with kind=linear"):
        gcp_checks.refused(WORK)
    run(job(SPEC, kind="linear", auc_threshold=0.5, version="anything"))
    with pytest.raises(Wrong, match=r"a run with the threshold 0\.5"):
        gcp_checks.refused(WORK)
    run(job(SPEC, kind="linear", auc_threshold=0.95))
    with pytest.raises(Wrong, match=r"a run with the threshold 0\.95"):
        gcp_checks.refused(WORK)
    run(job(UNGATED, kind="linear"))
    with pytest.raises(
        Wrong, match=r"a run of a pipeline without its gate \(a pipeline of the tasks evaluate, prepare"
    ):
        gcp_checks.refused(WORK)
    run({**job(SPEC, kind="linear"), "serviceAccount": ""})
    with pytest.raises(Wrong, match="a run as ") as wrong:
        gcp_checks.refused(WORK)
    assert "service_account=account" in wrong.value.hint
    run(job(SPEC, kind="linear"))
    right = "a run whose gate was not triggered by the AUC 0.800, and nothing registered"
    assert gcp_checks.refused(WORK) == right
    run(job(SPEC, kind="linear", auc_threshold=0.9))
    assert gcp_checks.refused(WORK) == right


def test_refused_by_a_failure_is_wrong(gcp_project: Project) -> None:
    run(job(SPEC, kind="linear", data="gs://broken"))
    with pytest.raises(
        Wrong, match=r"that is FAILED \(the task prepare said: ValueError: The data has no column churn\)"
    ):
        gcp_checks.refused(WORK)


def test_trigger(gcp_project: Project) -> None:
    run(job(SPEC))
    with pytest.raises(NotAttempted, match="whose id begins with from-the-shell"):
        gcp_checks.trigger(WORK)
    for number, (described, found) in enumerate(
        (
            (job(SPEC), r"the run from-the-shell-0 with trees=100"),
            (job(SPEC, trees=50, data="gs://broken"), "the run from-the-shell-1 that is FAILED"),
            ({**job(SPEC, trees=50), "serviceAccount": ""}, "a run as "),
            (job(UNGATED, trees=50), "a run of a pipeline without its gate"),
        )
    ):
        run(described, f"from-the-shell-{number}")
        with pytest.raises(Wrong, match=found):
            gcp_checks.trigger(WORK)
    run(job(SPEC, trees=50), "from-the-shell-5")
    assert gcp_checks.trigger(WORK) == (
        f"a run whose id begins with from-the-shell, with trees=50, as {gcp_project.pipeline_account}"
    )


def test_failure(gcp_project: Project, gcp_work: Work) -> None:
    file = gcp_work.folder / "build" / "answers.json"
    with pytest.raises(NotAttempted, match=r"no file gcp/build/answers\.json"):
        gcp_checks.failure(gcp_work)
    file.write_text("{}")
    with pytest.raises(Wrong, match="without step or reason"):
        gcp_checks.failure(gcp_work)
    right = {"step": "prepare", "reason": "ValueError: The data has no column churn."}
    file.write_text(json.dumps(right))
    with pytest.raises(Wrong, match="no run that failed in a job"):
        gcp_checks.failure(gcp_work)
    run(job(SPEC, data="gs://broken"))
    assert gcp_checks.failure(gcp_work) == (
        "the task prepare, and what it said: ValueError: The data has no column churn"
    )
    for wrong, found in (({"step": "train"}, "the step 'train'"), ({"reason": "it failed"}, "the reason 'it failed'")):
        file.write_text(json.dumps(right | wrong))
        with pytest.raises(Wrong, match=found):
            gcp_checks.failure(gcp_work)


def test_registered_and_approved(
    gcp_project: Project, gcp_work: Work, tmp_path: Path, customers: tuple[pandas.DataFrame, pandas.Series]
) -> None:
    with pytest.raises(NotAttempted, match="no run of churn-monthly with a forest"):
        gcp_checks.registered(WORK)
    with pytest.raises(NotAttempted, match="no endpoint named churn-champion"):
        gcp_checks.approve(gcp_work)
    run(job(SPEC, auc_threshold=0.95))
    with pytest.raises(Wrong, match="a run with a forest that is SUCCEEDED and registered nothing"):
        gcp_checks.registered(WORK)
    model = save_forest(customers, 5, tmp_path / "model.joblib")
    first = gcp_world.version(model)
    run(job(SPEC, kind="linear", auc_threshold=0.5, version=first))
    with pytest.raises(Wrong, match=r"of a run with an AUC of 0\.800"):
        gcp_checks.registered(WORK)
    run(job(pipeline(beside), version=first))
    with pytest.raises(Wrong, match=r"a run of a pipeline without its gate \(the task register beside the gate"):
        gcp_checks.registered(WORK)
    gcp_world.alias(first, "champion")
    endpoint = gcp_world.deploy(first)
    with pytest.raises(Wrong, match=r"a run of a pipeline without its gate"):
        gcp_checks.approve(gcp_work)
    gcp_world.delete_endpoint(endpoint)
    second = gcp_world.version(model, "models/two")
    run(job(SPEC, version=second))
    assert gcp_checks.registered(WORK) == "version 2 of churn, registered by a run with an AUC of 0.920"

    endpoint = gcp_world.deploy(second)
    with pytest.raises(Wrong, match="version 2 on it, which has the aliases candidate"):
        gcp_checks.approve(gcp_work)
    gcp_world.alias(second, "champion")
    assert gcp_checks.approve(gcp_work) == (
        "version 2, the champion, at churn-champion; it answers 20 customers as it should"
    )
    other = save_forest(customers, 3, tmp_path / "other.joblib")
    gcp_world.bucket().blob("models/two/model.joblib").upload_from_filename(str(other))
    with pytest.raises(Wrong, match="customer"):
        gcp_checks.approve(gcp_work)
    gcp_world.delete_endpoint(endpoint)
    with pytest.raises(NotAttempted, match="no endpoint named churn-champion"):
        gcp_checks.approve(gcp_work)
