"""Pipelines of KFP, compiled by its own compiler: what runs, what must not, and what the API says of it."""

# KFP reads the annotations of components, which may not be texts: this file does without postponed ones.

from pathlib import Path
from typing import List  # noqa: UP035 KFP wants it

from kfp import dsl

from tests.cloud.gcp.pipeline_world import ENDED, IMAGE, begin, broken, number, run, say, sleeper
from tests.cloud.gcp.vertex_world import World
from tests.waiting import eventually


@dsl.component(base_image=IMAGE)
def rows(amount: int, table: dsl.Output[dsl.Dataset]) -> int:
    with open(table.path, "w") as file:
        file.writelines(f"{each}\n" for each in range(amount))
    table.metadata["rows"] = amount
    return amount


@dsl.component(base_image=IMAGE)
def measure(table: dsl.Input[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]) -> float:
    with open(table.path) as file:
        total = sum(int(line) for line in file)
    metrics.log_metric("total", total)
    return float(total)


def test_parameters_and_artifacts_go_from_task_to_task(world: World) -> None:
    def pipeline(amount: int = 4) -> None:
        measure(table=rows(amount=amount).outputs["table"])

    done = run(world, pipeline, {"amount": 5})
    assert done.job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert done.states == {"rows": "SUCCEEDED", "measure": "SUCCEEDED"}
    table = done.tasks["measure"]["inputs"]["table"]["artifacts"][0]
    assert table == done.tasks["rows"]["outputs"]["table"]["artifacts"][0]
    assert (table["schemaTitle"], table["metadata"]) == ("system.Dataset", {"rows": 5})
    task = done.tasks["rows"]["taskId"]
    assert table["uri"] == f"gs://{world.bucket}/root/{world.number}/{done.id}/rows_{task}/table"
    assert world.cloud.buckets.read(world.bucket, table["uri"].partition(f"{world.bucket}/")[2]) == b"0\n1\n2\n3\n4\n"
    assert done.tasks["measure"]["execution"]["metadata"]["output:Output"] == 10.0
    metrics = done.tasks["measure"]["outputs"]["metrics"]["artifacts"][0]
    assert (metrics["schemaTitle"], metrics["metadata"]) == ("system.Metrics", {"total": 10.0})
    assert done.tasks["rows"]["executorDetail"]["containerDetail"]["mainJob"].startswith(
        f"projects/{world.number}/locations/us-central1/customJobs/"
    )


def test_the_records_of_a_run_are_shown_by_the_jobs_id(world: World) -> None:
    """The tables of the SDK name runs so, and ``PipelineJob.get`` is given that name."""

    def pipeline() -> None:
        number(value=1.0)

    done = run(world, pipeline, displayName="monthly")
    context = world.ok("GET", f"{world.parent}/metadataStores/default/contexts/{done.id}")
    execution = world.ok("GET", f"{world.parent}/metadataStores/default/executions/{done.id}-run")
    assert (context["displayName"], execution["displayName"], done.job["displayName"]) == (done.id, done.id, "monthly")


def test_a_metric_that_is_no_number_fails_its_task(world: World) -> None:
    @dsl.component(base_image=IMAGE)
    def curve(curve: dsl.Output[dsl.ClassificationMetrics]) -> None:
        curve.log_roc_curve([0.0, 1.0], [0.0, 1.0], [float("inf"), 0.5])

    def pipeline() -> None:
        curve()

    done = run(world, pipeline)
    assert done.states == {"curve": "FAILED"}
    assert "Infinity is no number in JSON; log a finite one" in done.tasks["curve"]["error"]["message"]


def test_whole_numbers_in_lists_and_structs_stay_whole(world: World) -> None:
    @dsl.component(base_image=IMAGE)
    def add(values: list, weights: dict) -> int:
        return sum(values) * weights["w"]

    @dsl.component(base_image=IMAGE)
    def make() -> list:
        return [1, 2.5, {"a": 3.0}]

    @dsl.component(base_image=IMAGE)
    def show(made: list) -> str:
        return repr(made)

    def pipeline(values: list = [1, 2, 3], weights: dict = {"w": 2}) -> None:  # noqa: B006
        add(values=values, weights=weights)
        show(made=make().output)

    done = run(world, pipeline, {"weights": {"w": 3}})
    assert done.states == {"add": "SUCCEEDED", "make": "SUCCEEDED", "show": "SUCCEEDED"}
    assert done.tasks["add"]["execution"]["metadata"]["output:Output"] == 18.0
    assert done.tasks["show"]["execution"]["metadata"]["output:Output"] == "[1, 2.5, {'a': 3}]"


def test_a_gate_that_refuses_starts_nothing_behind_it(world: World) -> None:
    def pipeline(auc: float, threshold: float = 0.85) -> None:
        measured = number(value=auc)
        with dsl.If(measured.output > threshold, name="gate"):
            say(text="registered")
        with dsl.Else():
            say(text="refused")

    weak, good = run(world, pipeline, {"auc": 0.82}), run(world, pipeline, {"auc": 0.92})
    assert weak.job["state"] == good.job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert weak.states["gate"] == "NOT_TRIGGERED"
    assert "say" not in weak.states
    assert weak.printed("say") == []
    assert any("said: refused" in line for line in weak.printed("say-2"))
    assert good.states["gate"] == good.states["say"] == "SUCCEEDED"
    assert "say-2" not in good.states


def test_conditions_within_conditions(world: World) -> None:
    def pipeline(auc: float, kind: str, flag: bool) -> None:
        measured = number(value=auc)
        with dsl.If(measured.output > 0.5, name="outer"):
            with dsl.If(kind == "a", name="first"):
                say(text=f"a at {measured.output}")
            with dsl.Elif(kind == "b", name="second"), dsl.If(flag == True, name="inner"):  # noqa: E712 a condition of KFP
                say(text="b and the flag")
            with dsl.Else(name="third"):
                say(text="neither")

    done = run(world, pipeline, {"auc": 0.9, "kind": "b", "flag": True})
    assert {name: done.states[name] for name in ("outer", "first", "second", "inner", "third")} == {
        "outer": "SUCCEEDED",
        "first": "NOT_TRIGGERED",
        "second": "SUCCEEDED",
        "inner": "SUCCEEDED",
        "third": "NOT_TRIGGERED",
    }
    assert any("said: b and the flag" in line for line in done.printed("say-2"))


def test_loops_collect_what_their_iterations_make(world: World) -> None:
    @dsl.component(base_image=IMAGE)
    def items(amount: int) -> list:
        return list(range(amount))

    @dsl.component(base_image=IMAGE)
    def square(value: int) -> int:
        return value * value

    @dsl.component(base_image=IMAGE)
    def total(values: list) -> int:
        return sum(values)

    def pipeline(amount: int) -> None:
        with dsl.ParallelFor(items(amount=amount).output, parallelism=2, name="loop") as item:
            squared = square(value=item)
        total(values=dsl.Collected(squared.output))
        with dsl.ParallelFor([{"label": "x", "size": 1}, {"label": "y", "size": 2}]) as pair:
            say(text=pair.label)

    done = run(world, pipeline, {"amount": 4})
    assert done.job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert done.tasks["total"]["execution"]["metadata"]["output:Output"] == 14
    assert [name for name in done.states if name.startswith("loop-")] == [f"loop-{each}" for each in range(4)]
    assert {line for line in done.printed("say") if "said" in line} == {"said: x", "said: y"}


def test_a_failure_stops_what_depends_on_it_and_no_more(world: World) -> None:
    def pipeline() -> None:
        failed = broken(why="no column named churn")
        say(text=failed.output)
        say(text="independent").set_display_name("independent")

    done = run(world, pipeline)
    assert done.job["state"] == "PIPELINE_STATE_FAILED"
    assert done.job["error"]["code"] == 9
    assert "The failed tasks are: [broken]." in done.job["error"]["message"]
    assert done.states == {"broken": "FAILED", "say": "NOT_TRIGGERED", "independent": "SUCCEEDED"}
    why = done.tasks["broken"]["error"]["message"]
    assert why.startswith("The replica workerpool0-0 exited with a non-zero status of 1.")
    assert why.endswith("The last line of the log: ValueError: no column named churn")
    assert done.printed("say") == []


def test_failing_fast_begins_nothing_after_a_failure(world: World, tmp_path: Path) -> None:
    @dsl.component(base_image=IMAGE)
    def patient(gate: str) -> None:
        import os
        import time

        while not os.path.exists(gate):
            time.sleep(0.02)

    def pipeline(gate: str) -> None:
        broken(why="at once")
        say(text="late").after(patient(gate=gate))

    policy = {"failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST"}
    started = begin(world, pipeline, {"gate": str(tmp_path / "gate")}, config=policy)
    eventually(lambda: started.states.get("broken") == "FAILED")
    (tmp_path / "gate").touch()
    started.until(lambda job: job["state"] in ENDED)
    assert started.states == {"broken": "FAILED", "patient": "SUCCEEDED", "say": "NOT_TRIGGERED"}


def test_an_exit_handler_runs_after_a_failure_and_knows_of_it(world: World) -> None:
    @dsl.component(base_image=IMAGE)
    def notify(status: dsl.PipelineTaskFinalStatus) -> None:
        print(f"{status.state} {status.pipeline_task_name} {status.error_code}")

    def pipeline() -> None:
        with dsl.ExitHandler(notify(), name="guarded"):
            broken(why="on purpose")

    done = run(world, pipeline)
    assert done.job["state"] == "PIPELINE_STATE_FAILED"
    assert done.states == {"guarded": "FAILED", "broken": "FAILED", "notify": "SUCCEEDED"}
    assert "FAILED exit-handler-1 9" in done.printed("notify")


def test_what_ran_before_is_taken_from_the_cache(world: World) -> None:
    def pipeline(amount: int) -> None:
        measure(table=rows(amount=amount).outputs["table"])

    first, second, other = (run(world, pipeline, {"amount": amount}) for amount in (3, 3, 4))
    assert second.states == {"rows": "SKIPPED", "measure": "SKIPPED"}
    assert second.tasks["rows"]["execution"]["state"] == "CACHED"
    assert second.tasks["rows"]["outputs"] == first.tasks["rows"]["outputs"]
    assert second.printed("rows") == []
    shown = [
        world.ok(
            "GET", f"{world.parent}/metadataStores/default/executions/{each.id}-run:queryExecutionInputsAndOutputs"
        )
        for each in (first, second)
    ]
    assert [artifact["metadata"] for artifact in shown[1]["artifacts"]] == [{"total": 3.0}]
    assert shown[1]["artifacts"] == shown[0]["artifacts"]
    assert other.states == {"rows": "SUCCEEDED", "measure": "SUCCEEDED"}

    def uncached(amount: int) -> None:
        made = rows(amount=amount).set_caching_options(False)
        measure(table=made.outputs["table"])

    assert run(world, uncached, {"amount": 3}).states == {"rows": "SUCCEEDED", "measure": "SUCCEEDED"}


def test_a_task_is_tried_again(world: World) -> None:
    @dsl.component(base_image=IMAGE)
    def flaky(marker: str) -> str:
        import os

        if not os.path.exists(marker):
            open(marker, "w").close()
            raise RuntimeError("the first time")
        return "done"

    def pipeline(marker: str) -> None:
        flaky(marker=marker).set_retry(2, backoff_duration="0s")

    done = run(world, pipeline, {"marker": f"/gcs/{world.bucket}/marker"})
    assert done.states == {"flaky": "SUCCEEDED"}
    detail = done.tasks["flaky"]["executorDetail"]["containerDetail"]
    assert len(detail["failedMainJobs"]) == 1
    assert detail["mainJob"] not in detail["failedMainJobs"]


def test_a_run_is_cancelled(world: World) -> None:
    def pipeline() -> None:
        say(text=sleeper(seconds=600.0).output)

    started = begin(world, pipeline)
    started.until(lambda job: any("asleep" in line for line in started.printed("sleeper")))
    world.ok("POST", f"{started.name}:cancel", {})
    job = started.until(lambda found: found["state"] == "PIPELINE_STATE_CANCELLED")
    assert job["error"]["code"] == 1
    assert started.states == {"sleeper": "CANCELLED", "say": "NOT_TRIGGERED"}
    assert world.error("POST", f"{started.name}:cancel", {})[0] == "FAILED_PRECONDITION"
    world.done("DELETE", started.name)
    assert world.error("GET", started.name)[0] == "NOT_FOUND"


def test_cancelling_reaches_what_is_inside_a_loop(world: World) -> None:
    def pipeline() -> None:
        with dsl.ParallelFor([60.0, 61.0], parallelism=1, name="loop") as seconds:
            sleeper(seconds=seconds)

    started = begin(world, pipeline)
    started.until(lambda job: any("asleep" in line for line in started.printed("sleeper")))
    world.ok("POST", f"{started.name}:cancel", {})
    started.until(lambda found: found["state"] == "PIPELINE_STATE_CANCELLED")
    ended = started.states
    assert sorted(ended.pop(f"loop-{turn}") for turn in range(2)) == ["CANCELLED", "NOT_TRIGGERED"]
    assert ended == {"loop": "CANCELLED", "sleeper": "CANCELLED"}


def test_a_container_component_gets_its_command_line(world: World) -> None:
    @dsl.container_component
    def tool(
        name: str, made: dsl.OutputPath(str), data: dsl.Output[dsl.Artifact], extra: str = "none"
    ) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image="python:3.11-slim",
            command=["sh", "-c", 'echo "$@"; echo -n "$1" > "$2"; mkdir -p "$(dirname "$3")"; echo x > "$3"', "sh"],
            args=[
                dsl.ConcatPlaceholder(["<", name, ">"]),
                made,
                data.path,
                dsl.IfPresentPlaceholder(input_name="extra", then=["--extra", extra], else_=["--plain"]),
            ],
        )

    def pipeline() -> None:
        used = tool(name="rows")
        say(text=used.outputs["made"])

    done = run(world, pipeline)
    assert done.job["state"] == "PIPELINE_STATE_SUCCEEDED", done.job.get("error")
    assert "said: <rows>" in done.printed("say")
    assert done.tasks["tool"]["outputs"]["data"]["artifacts"][0]["uri"].endswith("/data")


def test_a_container_component_gets_a_list_of_artifacts_as_json(world: World) -> None:
    @dsl.container_component
    def add(tables: dsl.Input[List[dsl.Dataset]], made: dsl.OutputPath(int)) -> dsl.ContainerSpec:  # noqa: UP006
        code = (
            "import json, sys; paths = [each['uri'].replace('gs://', '/gcs/') for each in json.loads(sys.argv[1])];"
            "open(sys.argv[2], 'w').write(str(sum(len(open(path).readlines()) for path in paths)))"
        )
        return dsl.ContainerSpec(image=IMAGE, command=["python3", "-c", code], args=[tables, made])

    def pipeline() -> None:
        with dsl.ParallelFor([1, 2, 3]) as amount:
            made = rows(amount=amount)
        add(tables=dsl.Collected(made.outputs["table"]))

    done = run(world, pipeline)
    assert done.tasks["add"]["execution"]["metadata"]["output:made"] == 6.0, done.tasks["add"].get("error")


def test_a_truth_value_in_a_file_is_read_as_kfp_does(world: World) -> None:
    @dsl.container_component
    def flag(made: dsl.OutputPath(bool), spelled: str) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image="alpine", command=["sh", "-c", 'printf %s "$1" > "$0"'], args=[made, spelled])

    def pipeline() -> None:
        for spelled in ("True", "f", "yes"):
            flag(spelled=spelled).set_display_name(spelled)

    done = run(world, pipeline)
    assert done.states == {"True": "SUCCEEDED", "f": "SUCCEEDED", "yes": "FAILED"}
    assert [done.tasks[name]["execution"]["metadata"]["output:made"] for name in ("True", "f")] == [True, False]
    assert "The parameter made of yes is 'yes', which is no BOOLEAN." in done.tasks["yes"]["error"]["message"]


def test_an_importer_names_what_is_there(world: World) -> None:
    world.cloud.buckets.put(world.bucket, "given/rows", world.cloud.buckets.write([b"1\n2\n"]), {})

    def pipeline(uri: str) -> None:
        found = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, metadata={"from": "outside"})
        measure(table=found.output)

    uri = f"gs://{world.bucket}/given/rows"
    first, second = run(world, pipeline, {"uri": uri}), run(world, pipeline, {"uri": uri})
    made = [each.tasks["importer"]["outputs"]["artifact"]["artifacts"][0] for each in (first, second)]
    assert made[0]["name"] == made[1]["name"]
    assert made[0]["metadata"] == {"from": "outside"}
    assert first.tasks["measure"]["execution"]["metadata"]["output:Output"] == 3.0


def test_names_of_the_run_are_told(world: World) -> None:
    def pipeline() -> None:
        say(text=dsl.PIPELINE_JOB_NAME_PLACEHOLDER)

    done = run(world, pipeline, identifier="named-run")
    assert "said: named-run" in done.printed("say")
