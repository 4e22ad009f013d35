"""The compiled pipeline's gate: right in every way of writing it, wrong in those in which learners do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from labkit.labs.intermediate import gcp_checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.beginner.conftest import DATA
from tests.labs.intermediate.gcp_world import beside, evaluate, gated, pipeline, register


def folder(path: Path, spec: dict[str, Any] | None) -> Work:
    work = Work(path / "gcp", DATA)
    (work.folder / "build").mkdir(parents=True)
    if spec is not None:
        (work.folder / "build" / "churn.yaml").write_text(json.dumps(spec))
    return work


def mirrored(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(threshold < auc):
        register(version=version)


def other_branch(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(auc <= threshold):
        evaluate(rows=1, kind="none")
    with dsl.Else():
        register(version=version)


def nested(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(auc > threshold), dsl.If(auc >= threshold):
        register(version=version)


@pytest.mark.parametrize("inside", [gated, mirrored, other_branch, nested])
def test_right(tmp_path: Path, inside: Callable[..., None]) -> None:
    found = gcp_checks.gate(folder(tmp_path, pipeline(inside)))
    assert found == "a pipeline that registers a model only if its AUC is greater than auc_threshold"


def test_no_file_and_no_register_are_not_attempted(tmp_path: Path) -> None:
    with pytest.raises(NotAttempted, match=r"no file gcp/build/churn\.yaml"):
        gcp_checks.gate(folder(tmp_path / "none", None))
    with pytest.raises(NotAttempted, match="the tasks evaluate, prepare, none of which registers"):
        gcp_checks.gate(folder(tmp_path / "stub", pipeline(lambda *_: None)))


def at_least(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(auc >= threshold):
        register(version=version)


def below(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(auc < threshold):
        register(version=version)


def constant(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(auc > 0.85):
        register(version=version)


def something_else(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(version != "none"):
        register(version=version)


@pytest.mark.parametrize(
    ("inside", "found"),
    [
        (beside, "the task register beside the gate"),
        (at_least, r"that register runs with an AUC of 0\.85 and a threshold of 0\.85"),
        (below, r"that register does not run with an AUC of 0\.86 and a threshold of 0\.85"),
        (constant, r"that register does not run with an AUC of 0\.6 and a threshold of 0\.5"),
        (something_else, "a condition on the parameter version"),
    ],
)
def test_wrong(tmp_path: Path, inside: Callable[..., None], found: str) -> None:
    with pytest.raises(Wrong, match=found) as wrong:
        gcp_checks.gate(folder(tmp_path, pipeline(inside)))
    assert "dsl.If" in wrong.value.hint or "gate's condition" in wrong.value.expected


def test_another_threshold_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match=r"the default 0\.5 for auc_threshold"):
        gcp_checks.gate(folder(tmp_path, pipeline(gated, threshold=0.5)))


def test_something_else_in_the_file_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="is no compiled pipeline"):
        gcp_checks.gate(folder(tmp_path, {"steps": []}))
