"""What a test of pipelines needs around it: components, compiling them, and runs over plain REST."""

# KFP reads the annotations of components, which may not be texts: this file does without postponed ones.
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from labkit.cloud.gcp import log_store
from tests.cloud.gcp.vertex_world import World
from tests.waiting import eventually

IMAGE = "python:3.11"
ENDED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @dsl.component(base_image=IMAGE)
    def number(value: float) -> float:
        print(f"the number is {value}")
        return value

    @dsl.component(base_image=IMAGE)
    def say(text: str) -> str:
        print(f"said: {text}")
        return text

    @dsl.component(base_image=IMAGE)
    def broken(why: str) -> str:
        raise ValueError(why)

    @dsl.component(base_image=IMAGE)
    def sleeper(seconds: float) -> str:
        import time

        print("asleep", flush=True)
        time.sleep(seconds)
        return "awake"


def compiled(pipeline: Callable[..., Any]) -> dict[str, Any]:
    """A pipeline function's specification."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "pipeline.json"
        compiler.Compiler().compile(
            dsl.pipeline(pipeline) if not hasattr(pipeline, "pipeline_spec") else pipeline, str(file)
        )
        spec: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return spec


class Run:
    """A run that has ended, or goes on: its job as JSON."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.id = name.rpartition("/")[2]

    @property
    def job(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.ok("GET", self.name)
        return found

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Task details by name; of several with one name the last."""
        return {each["taskName"]: each for each in self.job["jobDetail"]["taskDetails"]}

    @property
    def states(self) -> dict[str, str]:
        return {name: task["state"] for name, task in self.tasks.items() if name != self.id}

    def printed(self, task: str) -> list[str]:
        """What a task's containers printed."""
        return [
            str(entry["jsonPayload"]["message"])
            for log in log_store.logs(self.world.engine, self.world.scope)
            for _, entry in log_store.entries(self.world.engine, self.world.scope, log)
            if entry.get("labels", {}).get("ml.googleapis.com/pipeline_job_id") == self.id
            and entry["labels"]["ml.googleapis.com/task_name"] == task
        ]

    def until(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The job, once this is true of it."""
        return eventually(lambda: job if what(job := self.job) else None)


def begin(world: World, pipeline: Callable[..., Any], parameters: Any = None, **job: Any) -> Run:
    """Starts a run; ``job`` are further fields of the job, ``identifier`` its id."""
    identifier = job.pop("identifier", f"run-{time.perf_counter_ns()}")
    config = {
        "gcsOutputDirectory": f"gs://{world.bucket}/root",
        "parameterValues": parameters or {},
        **job.pop("config", {}),
    }
    body = {"displayName": "a run", "pipelineSpec": compiled(pipeline), "runtimeConfig": config, **job}
    made = world.ok("POST", f"{world.parent}/pipelineJobs?pipelineJobId={identifier}", body)
    return Run(world, made["name"])


def run(world: World, pipeline: Callable[..., Any], parameters: Any = None, **job: Any) -> Run:
    """As :func:`begin`, and waits for its end."""
    started = begin(world, pipeline, parameters, **job)
    started.until(lambda found: found["state"] in ENDED)
    return started
