"""What the pipeline service refuses, and how runs are listed."""

# KFP reads the annotations of components, which may not be texts: this file does without postponed ones.
from datetime import datetime
from typing import Any

import kfp
import pytest
from kfp import dsl

from tests.cloud.gcp.pipeline_world import compiled, number, run, say
from tests.cloud.gcp.vertex_world import World


def gate(auc: float) -> None:
    with dsl.If(number(value=auc).output > 0.5):
        say(text="good")


def body(world: World, **changed: Any) -> dict[str, Any]:
    made = {
        "displayName": "a run",
        "pipelineSpec": compiled(gate),
        "runtimeConfig": {"gcsOutputDirectory": f"gs://{world.bucket}/root", "parameterValues": {"auc": 0.9}},
    }
    return {**made, **changed}


def refused(world: World, **changed: Any) -> tuple[str, str]:
    return world.error("POST", f"{world.parent}/pipelineJobs", body(world, **changed))


def test_parameters_are_checked(world: World) -> None:
    root = f"gs://{world.bucket}/root"
    assert refused(world, runtimeConfig={"gcsOutputDirectory": root}) == (
        "INVALID_ARGUMENT",
        "The input parameter auc of the pipeline has no value: set it in runtime_config.parameter_values.",
    )
    code, why = refused(world, runtimeConfig={"gcsOutputDirectory": root, "parameterValues": {"auc": 1, "seed": 1}})
    assert (code, why) == (
        "INVALID_ARGUMENT",
        "The pipeline parameter seed is not found in the pipeline job input definitions.",
    )
    code, why = refused(world, runtimeConfig={"gcsOutputDirectory": root, "parameterValues": {"auc": "high"}})
    assert (code, why) == (
        "INVALID_ARGUMENT",
        "The parameter auc of the pipeline is 'high', which is no NUMBER_DOUBLE.",
    )
    assert refused(world, runtimeConfig={"parameterValues": {"auc": 1}})[0] == "INVALID_ARGUMENT"


def change_condition(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    tasks["condition-1"]["triggerPolicy"]["condition"] = "size(inputs.parameter_values['x']) > 1"


def change_upstream(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["condition-1"]["dependentTasks"] = ["nowhere"]


def change_cycle(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["number"]["dependentTasks"] = ["condition-1"]


def change_component(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["number"]["componentRef"]["name"] = "comp-gone"


def change_version(spec: dict[str, Any]) -> None:
    spec["schemaVersion"] = "1.0"


def change_shape(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"] = ["number"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (change_condition, "The task condition-1 cannot be run: the condition"),
        (change_upstream, "The task condition-1 comes after nowhere, which its DAG does not have."),
        (change_cycle, "wait for each other"),
        (change_component, "The task number runs the component 'comp-gone', which the pipeline does not have."),
        (change_version, "schemaVersion '1.0' of the pipeline is not served"),
        (change_shape, "The pipeline_spec is malformed"),
    ],
)
def test_a_pipeline_that_cannot_run_is_refused_with_its_reason(world: World, change: Any, why: str) -> None:
    spec = compiled(gate)
    change(spec)
    code, said = refused(world, pipelineSpec=spec)
    assert code == "INVALID_ARGUMENT"
    assert why in said
    assert "pipelineJobs" not in world.ok("GET", f"{world.parent}/pipelineJobs")


def test_images_that_nobody_can_pull_and_keys_are_refused(world: World) -> None:
    spec = compiled(gate)
    spec["deploymentSpec"]["executors"]["exec-number"]["container"]["image"] = "gcr.io/ml-pipeline/gcpc:2.0"
    status, answer = world("POST", f"{world.parent}/pipelineJobs", body(world, pipelineSpec=spec))
    assert (status, answer["error"]["status"]) == (501, "UNIMPLEMENTED")
    assert "gcr.io/ml-pipeline/gcpc:2.0 is not one that they stand in for" in answer["error"]["message"]
    components = "gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0"
    spec["deploymentSpec"]["executors"]["exec-number"]["container"]["image"] = components
    status, answer = world("POST", f"{world.parent}/pipelineJobs", body(world, pipelineSpec=spec))
    assert (status, answer["error"]["status"]) == (501, "UNIMPLEMENTED")
    assert f"do not run Google Cloud Pipeline Components ({components})" in answer["error"]["message"]
    status, answer = world("POST", f"{world.parent}/pipelineJobs", body(world, network="projects/1/global/networks/n"))
    assert (status, answer["error"]["status"]) == (501, "UNIMPLEMENTED")


def test_accelerators_are_refused(world: World) -> None:
    def pipeline() -> None:
        say(text="fast").set_accelerator_type("NVIDIA_TESLA_T4").set_accelerator_limit(1)

    spec = compiled(pipeline)
    status, answer = world("POST", f"{world.parent}/pipelineJobs", body(world, pipelineSpec=spec))
    assert (status, answer["error"]["status"]) == (501, "UNIMPLEMENTED")
    assert "say: The local clouds have no accelerators" in answer["error"]["message"]


def test_an_optional_artifact_of_the_pipeline_may_be_left_out(world: World) -> None:
    @dsl.component(base_image="python:3.11")
    def look(table: dsl.Input[dsl.Dataset] = None) -> bool:
        return table is None

    @dsl.pipeline(name="optional")
    def pipeline(table: dsl.Input[dsl.Dataset] = None) -> None:
        look(table=table)

    done = run(world, pipeline)
    assert done.tasks["look"]["execution"]["metadata"]["output:Output"] is True


def test_a_pipeline_that_another_version_of_kfp_compiled_runs(world: World) -> None:
    """The compiler has its own version installed in each component's container."""

    def pipeline() -> None:
        say(text="of an older compiler")

    spec = compiled(pipeline)
    command = spec["deploymentSpec"]["executors"]["exec-say"]["container"]["command"]
    assert f"'kfp=={kfp.__version__}'" in command[2]
    command[2] = command[2].replace(f"'kfp=={kfp.__version__}'", "'kfp==2.4.0'")
    done = run(world, pipeline, pipelineSpec=spec)
    assert done.states == {"say": "SUCCEEDED"}, done.tasks["say"].get("error")


@pytest.mark.parametrize("image", ["alpine", "ubuntu:22.04", "public.ecr.aws/docker/library/python:3.12"])
def test_a_command_runs_in_the_image_of_a_plain_system(world: World, image: str) -> None:
    @dsl.container_component
    def hello() -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=image, command=["echo"], args=["Hello"])

    def pipeline() -> None:
        hello()

    done = run(world, pipeline)
    assert done.states == {"hello": "SUCCEEDED"}
    assert "Hello" in done.printed("hello")


def test_a_package_that_is_not_here_fails_its_task_by_name(world: World) -> None:
    @dsl.component(base_image="python:3.11", packages_to_install=["a-package-that-nobody-has==1.0", "pandas"])
    def needs() -> str:
        return "never"

    def pipeline() -> None:
        needs()

    done = run(world, pipeline)
    assert done.states == {"needs": "FAILED"}
    assert "a-package-that-nobody-has==1.0, which is not installed here" in done.tasks["needs"]["error"]["message"]


def test_runs_are_listed_by_state_name_and_time(world: World) -> None:
    weak = run(world, gate, {"auc": 0.1}, displayName="weak", labels={"team": "churn"})
    good = run(world, gate, {"auc": 0.9}, displayName="good")

    def names(condition: str) -> list[str]:
        found = world.ok("GET", f"{world.parent}/pipelineJobs?filter={condition}").get("pipelineJobs", [])
        return [each["displayName"] for each in found]

    assert names("") == ["good", "weak"]
    assert names('display_name="weak"') == ["weak"]
    assert names('pipeline_name="gate" AND labels.team="churn"') == ["weak"]
    assert names('state="PIPELINE_STATE_SUCCEEDED"') == ["good", "weak"]
    assert names('state="PIPELINE_STATE_FAILED"') == []
    assert names(f'create_time>"{weak.job["endTime"]}"') == ["good"]
    code, _ = world.error("GET", f"{world.parent}/pipelineJobs?filter=size>3")
    assert code == "INVALID_ARGUMENT"
    again = body(world)
    assert world.error("POST", f"{world.parent}/pipelineJobs?pipelineJobId={good.id}", again)[0] == "ALREADY_EXISTS"
    assert world.error("POST", f"{world.parent}/pipelineJobs?pipelineJobId=Not_valid", again)[0] == "INVALID_ARGUMENT"


def test_an_id_that_names_the_second_is_not_made_twice(world: World) -> None:
    """The SDK makes such ids, in loops that submit one pipeline several times."""
    before = datetime.now().strftime("%Y%m%d%H%M%S")
    world.ok("POST", f"{world.parent}/pipelineJobs?pipelineJobId=gate-{before}", body(world))
    assert datetime.now().strftime("%Y%m%d%H%M%S") > before
