"""How the pipeline is wired and what its gate does: right, and wrong in the ways in which learners get it wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labkit.labs.intermediate import azure_checks, azure_gate
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.cloud.azure.jobs_world import step
from tests.labs.intermediate.azure_world import COMMAND, FOLDER, GATE, World

TABLE = "${{parent.jobs.prepare.outputs.train_table}}"
REPORT, PASSED = "${{parent.jobs.evaluate.outputs.report}}", "${{parent.jobs.gate.outputs.passed}}"
MODEL, THRESHOLD = "${{parent.jobs.train.outputs.model}}", "${{parent.inputs.auc_threshold}}"
PORTS = {"report": FOLDER, "threshold": {"type": "number"}}


def gate_of(world: World, script: str = GATE, command: str = COMMAND, **inputs: Any) -> dict[str, Any]:
    """A gate of another script, or bound to other things."""
    made = world.component(command, PORTS, {"passed": FOLDER}, gate=script)
    return step(made, **({"report": REPORT, "threshold": THRESHOLD} | inputs))


def register_of(world: World, **inputs: Any) -> dict[str, Any]:
    """A step that registers, bound to other things."""
    return step(
        world.components["register"], **({"model": MODEL, "passed": PASSED, "name": "churn-retrained"} | inputs)
    )


def test_nothing_is_not_attempted(azure_world: World, azure_work: Work) -> None:
    with pytest.raises(NotAttempted, match="no component named churn_monthly"):
        azure_checks.gate(azure_work)


def test_the_pipeline_as_it_is_given_is_not_attempted(azure_world: World, azure_work: Work) -> None:
    azure_world.register_pipeline(gate=None, register=None)
    with pytest.raises(NotAttempted, match=r"a churn_monthly with neither gate\.py nor register\.py in it"):
        azure_checks.gate(azure_work)


def test_right(azure_world: World, azure_work: Work) -> None:
    azure_world.register_pipeline()
    assert azure_checks.gate(azure_work) == (
        "churn_monthly, version 1, in which only the step gate leads to the registry"
    )


def test_other_names_of_the_steps_are_right(azure_world: World, azure_work: Work) -> None:
    nodes = azure_world.nodes()
    nodes["checked"] = nodes.pop("gate")
    nodes["kept"] = nodes.pop("register")
    nodes["kept"]["inputs"]["passed"]["value"] = "${{ parent.jobs.checked.outputs.passed }}"
    azure_world.register_pipeline(gate=None, register=None, checked=nodes["checked"], kept=nodes["kept"])
    assert "only the step checked leads" in azure_checks.gate(azure_work)


def test_the_newest_version_counts(azure_world: World, azure_work: Work) -> None:
    azure_world.register_pipeline(register=None)
    azure_world.register_pipeline(2)
    assert "version 2" in azure_checks.gate(azure_work)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (lambda world: {"register": None}, "steps prepare, train, evaluate, gate, none of which registers"),
        (
            lambda world: {"register": register_of(world, passed=REPORT)},
            "the step register beside the gate, not behind it",
        ),
        (
            lambda world: {"again": register_of(world, passed=REPORT)},
            "the step again beside the gate",
        ),
        (lambda world: {"gate": gate_of(world, threshold="0.85")}, "that compares with 0.85 and not with the pipeline"),
        (
            lambda world: {"gate": gate_of(world, report=TABLE)},
            r"a gate that reads \$\{\{parent\.jobs\.prepare\.outputs\.train_table",
        ),
        (
            lambda world: {
                "second": step(world.components["train"], table=TABLE, kind="x"),
                "register": register_of(world, model="${{parent.jobs.second.outputs.model}}"),
            },
            "takes another model than the one that evaluate measures",
        ),
        (
            lambda world: {"register": register_of(world, name="churn")},
            "the step register, which registers versions of churn",
        ),
        (lambda world: {"threshold": 0.5}, r"the default 0\.5 for it"),
        (lambda world: {"threshold": None}, "no default for it"),
        (
            lambda world: {"gate": gate_of(world, GATE.replace("not auc > float", "not auc >= float"))},
            r"lets an AUC of 0\.85 pass with a threshold of 0\.85",
        ),
        (
            lambda world: {"gate": gate_of(world, GATE.replace("float(options.threshold)", "0.85"))},
            r"does not let an AUC of 0\.6 pass with a threshold of 0\.5 \(The AUC is 0\.6",
        ),
        (
            lambda world: {"gate": gate_of(world, "import missing_package\n")},
            r"does not let an AUC of 0\.86 pass .*No module named 'missing_package'",
        ),
        (
            lambda world: {"gate": gate_of(world, command=COMMAND.replace("gate.py", "../gate.py"))},
            r"no code with \.\./gate\.py in it",
        ),
    ],
    ids=[
        "unregistered",
        "beside",
        "second-register",
        "literal",
        "report",
        "other-model",
        "other-name",
        "default",
        "no-default",
        "at-least",
        "fixed",
        "crash",
        "no-code",
    ],
)
def test_wrong(azure_world: World, azure_work: Work, changed: Callable[[World], dict[str, Any]], found: str) -> None:
    azure_world.register_pipeline(**changed(azure_world))
    with pytest.raises(Wrong, match=found):
        azure_checks.gate(azure_work)


@pytest.mark.parametrize("nodes", [{}, None, {"a": {}}, {"a": {"inputs": {"x": None}, "componentId": "nothing"}}])
def test_definitions_of_anything(azure_world: World, nodes: Any) -> None:
    with pytest.raises(Wrong, match="none of which registers"):
        azure_gate.wired({"jobs": nodes})
