"""Pipeline jobs: what reads of what, what runs again, what must not run, and how it all ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cloud.azure import in_process
from tests.cloud.azure.jobs_world import Jobs, step
from tests.waiting import eventually

PREP = "echo ${{inputs.rows}} > ${{outputs.data}}/rows"
PREP_PORTS: dict[str, Any] = {
    "inputs": {"rows": {"type": "integer", "default": "3", "min": "1", "max": "100"}},
    "outputs": {"data": {"type": "uri_folder"}},
}
TRAIN = "cp ${{inputs.data}}/rows ${{outputs.model}}/model"
TRAIN_PORTS: dict[str, Any] = {
    "inputs": {"data": {"type": "uri_folder"}},
    "outputs": {"model": {"type": "custom_model"}},
}


@pytest.fixture
def jobs(rest: in_process.Rest, name: str) -> Jobs:
    return Jobs(rest, name)


def test_steps_read_what_others_make(jobs: Jobs) -> None:
    prep, train = jobs.component(PREP, **PREP_PORTS), jobs.component(TRAIN, **TRAIN_PORTS)
    run = jobs.pipeline(
        {
            # Not in the order in which they run.
            "train": step(
                train, {"model": {"value": "${{parent.outputs.best}}"}}, data="${{parent.jobs.prep.outputs.data}}"
            ),
            "prep": step(prep, rows="${{parent.inputs.rows}}"),
        },
        inputs={"rows": {"jobInputType": "literal", "value": "12"}},
        outputs={"best": {"jobOutputType": "custom_model", "assetName": f"{jobs.name}-best"}},
    )
    jobs.ended(run)
    steps = jobs.steps(run)
    assert {name: each.status for name, each in steps.items()} == {"prep": "Completed", "train": "Completed"}
    assert steps["prep"].ended <= steps["train"].created  # type: ignore[operator]
    assert jobs.read(run.outputs["best"].uri) == {"model": b"12\n"}
    _, model, _ = jobs.rest("GET", f"{jobs.rest.workspace}/models/{jobs.name}-best/versions/1")
    assert model["properties"]["jobName"] == run.name
    # Run history has the steps; Resource Manager shows them without properties, and not in its list.
    _, children = jobs.services("GET", f"/history/v1.0{{ws}}/runs/{run.name}/children")
    assert {each["displayName"]: each["status"] for each in children["value"]} == {
        "prep": "Completed",
        "train": "Completed",
    }
    _, child, _ = jobs.rest("GET", f"{jobs.rest.workspace}/jobs/{steps['prep'].name}")
    assert child["properties"] is None
    assert steps["prep"].name in jobs.log(run, "logs/azureml/executionlogs.txt")


def test_a_failed_step_keeps_others_from_starting(jobs: Jobs, tmp_path: Path) -> None:
    fails, after = jobs.component("exit 5", outputs={"o": {"type": "uri_folder"}}), tmp_path / "after"
    reads = jobs.component(f"touch {after}; ls ${{{{inputs.d}}}}", inputs={"d": {"type": "uri_folder"}})
    run = jobs.pipeline({"gate": step(fails), "deploy": step(reads, d="${{parent.jobs.gate.outputs.o}}")})
    jobs.ended(run, "Failed")
    assert run.error is not None
    assert run.error["message"] == (
        "Pipeline has failed child jobs. Failed nodes: /gate. For more details and logs, please go to the job detail "
        "page and check the child jobs."
    )
    assert list(jobs.steps(run)) == ["gate"]
    assert not after.exists()


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_does_not_depend_on_a_failed_step(jobs: Jobs, tmp_path: Path, goes_on: bool) -> None:
    gate = tmp_path / "gate"
    fails = jobs.component("exit 1")
    first = jobs.component(
        f"while [ ! -e {gate} ]; do sleep 0.02; done; echo x > ${{{{outputs.o}}}}/x",
        outputs={"o": {"type": "uri_folder"}},
    )
    second = jobs.component("ls ${{inputs.d}}", inputs={"d": {"type": "uri_folder"}})
    run = jobs.pipeline(
        {"fails": step(fails), "one": step(first), "two": step(second, d="${{parent.jobs.one.outputs.o}}")},
        settings={"continue_on_step_failure": goes_on},
    )
    # The other branch goes on once the pipeline, not only the step's own run, knows of the failure.
    eventually(lambda: "fails is Failed" in jobs.log(run, "logs/azureml/executionlogs.txt"), despite=KeyError)
    gate.touch()
    jobs.ended(run, "Failed")
    wanted = {"fails": "Failed", "one": "Completed"} | ({"two": "Completed"} if goes_on else {})
    assert {name: each.status for name, each in jobs.steps(run).items()} == wanted


def test_unchanged_steps_are_used_again(jobs: Jobs) -> None:
    prep, train = jobs.component(PREP, **PREP_PORTS), jobs.component(TRAIN, **TRAIN_PORTS)
    fresh = jobs.component("date +%N", is_deterministic=False)

    def go(rows: int, **settings: Any) -> dict[str, str]:
        run = jobs.pipeline(
            {
                "prep": step(prep, rows=rows),
                "train": step(train, data="${{parent.jobs.prep.outputs.data}}"),
                "fresh": step(fresh),
            },
            settings=settings,
        )
        steps = jobs.steps(jobs.ended(run))
        return {name: each.properties.get("azureml.reusedrunid", "") for name, each in steps.items()}

    assert set(go(5).values()) == {""}
    again = go(5)
    assert (bool(again["prep"]), bool(again["train"]), again["fresh"]) == (True, True, "")
    assert set(go(6).values()) == {""}
    assert set(go(5, force_rerun=True).values()) == {""}


def test_a_pipeline_that_is_canceled(jobs: Jobs, tmp_path: Path) -> None:
    after = tmp_path / "after"
    slow = jobs.component("sleep 600", outputs={"o": {"type": "uri_folder"}})
    reads = jobs.component(f"touch {after}; ls ${{{{inputs.d}}}}", inputs={"d": {"type": "uri_folder"}})
    run = jobs.pipeline({"slow": step(slow), "reads": step(reads, d="${{parent.jobs.slow.outputs.o}}")})
    eventually(lambda: (found := jobs.steps(run).get("slow")) and found.status == "Running")
    assert jobs.rest("POST", f"{jobs.rest.workspace}/jobs/{run.name}/cancel")[0] == 202
    jobs.ended(run, "Canceled")
    assert {name: each.status for name, each in jobs.steps(run).items()} == {"slow": "Canceled"}
    assert not after.exists()


def test_a_pipeline_in_a_pipeline(jobs: Jobs) -> None:
    prep, train = jobs.component(PREP, **PREP_PORTS), jobs.component(TRAIN, **TRAIN_PORTS)
    inner = jobs.pipeline_component(
        inputs={"n": {"type": "integer", "default": "2"}, "label": {"type": "string", "optional": True}},
        outputs={"made": {"type": "uri_folder"}},
        jobs={"prep": step(prep, {"data": {"value": "${{parent.outputs.made}}"}}, rows="${{parent.inputs.n}}")},
    )
    run = jobs.pipeline(
        {
            "inner": {**step(inner, n="${{parent.inputs.n}}"), "type": "pipeline"},
            "train": step(train, data="${{parent.jobs.inner.outputs.made}}"),
        },
        inputs={"n": {"jobInputType": "literal", "value": "9"}},
    )
    steps = jobs.steps(jobs.ended(run))
    assert jobs.read(steps["train"].outputs["model"].uri) == {"model": b"9\n"}
    assert list(jobs.steps(steps["inner"])) == ["prep"]
    assert jobs.steps(steps["inner"])["prep"].root == run.name


def test_an_input_of_the_pipeline_may_name_the_compute(jobs: Jobs) -> None:
    body = {"properties": {"computeType": "AmlCompute", "properties": {"vmSize": "Standard_DS3_v2"}}}
    assert jobs.rest("PUT", f"{jobs.rest.workspace}/computes/{jobs.name}", body)[0] == 201
    says = jobs.component("echo")
    inner = jobs.pipeline_component(
        inputs={"where": {"type": "string"}}, jobs={"says": step(says) | {"compute": "${{parent.inputs.where}}"}}
    )
    run = jobs.pipeline(
        {"inner": {**step(inner, where="${{parent.inputs.at}}"), "type": "pipeline"}},
        inputs={"at": {"jobInputType": "literal", "value": jobs.name}},
    )
    assert jobs.steps(jobs.steps(jobs.ended(run))["inner"])["says"].target == jobs.name


def test_a_step_reads_another_ones_own_files(jobs: Jobs) -> None:
    writes = jobs.component("echo hello > outputs/x.txt", outputs={"artifacts": {"type": "uri_folder"}})
    reads = jobs.component("cat ${{inputs.d}}/outputs/x.txt", inputs={"d": {"type": "uri_folder"}})
    run = jobs.pipeline({"writes": step(writes), "reads": step(reads, d="${{parent.jobs.writes.outputs.artifacts}}")})
    assert jobs.log(jobs.steps(jobs.ended(run))["reads"]) == "hello\n"


def test_optional_inputs_and_texts_with_expressions(jobs: Jobs) -> None:
    says = jobs.component(
        "echo ${{inputs.text}} $[[and ${{inputs.more}}]]",
        inputs={"text": {"type": "string"}, "more": {"type": "string", "optional": True}},
    )
    run = jobs.pipeline(
        {
            "with": step(says, text="run-${{parent.inputs.id}}-x", more="more"),
            "without": step(says, text="plain", more="${{parent.inputs.nothing}}"),
        },
        inputs={"id": {"jobInputType": "literal", "value": "7"}},
    )
    steps = jobs.steps(jobs.ended(run))
    assert jobs.log(steps["with"]) == "run-7-x and more\n"
    assert jobs.log(steps["without"]) == "plain\n"


def test_a_steps_own_settings(jobs: Jobs) -> None:
    component = jobs.component("echo $A $B", environment_variables={"A": "component", "B": "component"})
    node = step(component) | {"environment_variables": {"A": "step"}, "display_name": "Says", "tags": {"t": "v"}}
    slow = step(jobs.component("sleep 600")) | {"limits": {"timeout": "PT0.2S"}}
    run = jobs.pipeline({"says": node})
    says = jobs.steps(jobs.ended(run))["says"]
    assert (jobs.log(says), says.display_name, says.tags) == ("step component\n", "Says", {"t": "v"})
    late = jobs.ended(jobs.pipeline({"slow": slow}), "Failed")
    assert jobs.steps(late)["slow"].status == "Canceled"


@pytest.mark.parametrize(
    ("jobs_of", "status", "message"),
    [
        ({}, 400, "A pipeline job needs at least one job in it."),
        ({"a": {"type": "sweep"}}, 501, "steps of type sweep (job a of the pipeline)"),
        ({"a": {"type": "if_else"}}, 501, "steps of type if_else"),
        ({"a": {"type": "command"}}, 400, "The job a of the pipeline needs a componentId."),
        ({"a": step("azureml:nothing:1")}, 404, "The component azureml:nothing:1 was not found"),
        ({"a": step("PREP", rows="many")}, 400, "Input rows has to be of type integer, not 'many'."),
        ({"a": step("PREP", rows="${{parent.inputs.text}}")}, 400, "Input rows has to be of type integer, not 'ten'."),
        ({"a": step("PREP", rows=101)}, 400, "Input rows is 101, above its max of 100."),
        ({"a": step("PREP", columns=1)}, 400, "The component of a has no input columns; it has rows."),
        ({"a": step("TRAIN")}, 400, "Required input 'data' of job a was not provided."),
        (
            {"a": step("TRAIN", data="${{parent.jobs.b.outputs.data}}")},
            400,
            "Input data of job a is bound to ${{parent.jobs.b.outputs.data}}, which the pipeline does not have.",
        ),
        (
            {
                "a": step("ECHO", d="${{parent.jobs.b.outputs.o}}"),
                "b": step("ECHO", d="${{parent.jobs.a.outputs.o}}"),
            },
            400,
            "The jobs a, b wait for each other.",
        ),
    ],
)
def test_pipelines_that_are_not_taken(jobs: Jobs, jobs_of: dict[str, Any], status: int, message: str) -> None:
    echo = {"inputs": {"d": {"type": "uri_folder"}}, "outputs": {"o": {"type": "uri_folder"}}}
    made = {
        "PREP": lambda: jobs.component(PREP, **PREP_PORTS),
        "TRAIN": lambda: jobs.component(TRAIN, **TRAIN_PORTS),
        "ECHO": lambda: jobs.component("echo ${{inputs.d}} ${{outputs.o}}", **echo),
    }
    nodes = {
        name: {**node, "componentId": made[node["componentId"]]()} if node.get("componentId") in made else node
        for name, node in jobs_of.items()
    }
    inputs = {"text": {"jobInputType": "literal", "value": "ten"}}
    code, _, said = jobs.refused(jobType="Pipeline", jobs=nodes, inputs=inputs)
    assert (code, message in said) == (status, True), said


def test_settings_that_are_not_served(jobs: Jobs) -> None:
    node = {"a": step(jobs.component("echo"))}
    code, _, said = jobs.refused(jobType="Pipeline", jobs=node, settings={"on_finalize": "a"})
    assert (code, "the setting on_finalize of a pipeline job" in said) == (501, True)
