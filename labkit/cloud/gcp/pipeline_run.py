"""A pipeline's run: its DAGs, one inside the other, on the engine's graph of nodes.

What becomes of a task - cached, not triggered, retried, failed - is as
https://cloud.google.com/vertex-ai/docs/pipelines/run-pipeline and .../configure-failure-policy have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.dags import Attempt, Dag, Done, Node, NodeState, Retry
from labkit.cloud.gcp import pipeline_values
from labkit.cloud.gcp.pipeline_conditions import ConditionError
from labkit.cloud.gcp.pipeline_executors import Executors
from labkit.cloud.gcp.pipeline_part import Part, TaskFailed
from labkit.cloud.gcp.pipeline_progress import Progress
from labkit.cloud.gcp.pipeline_records import Records
from labkit.cloud.gcp.pipeline_spec import Pipeline
from labkit.cloud.gcp.pipeline_values import ValueProblem, Values
from labkit.cloud.gcp.vertex_names import v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud
    from labkit.cloud.gcp.projects import Project

#: Loops have at most this many iterations.
MOST_ITERATIONS = 1000
#: How a node of the graph has ended -> the state of its task, and of its execution.
_ENDED = {
    "Succeeded": ("SUCCEEDED", "COMPLETE"),
    "Failed": ("FAILED", "FAILED"),
    "Stopped": ("CANCELLED", "CANCELLED"),
    "Skipped": ("NOT_TRIGGERED", "CANCELLED"),
    "NotRun": ("NOT_TRIGGERED", "CANCELLED"),
}


class PipelineRun:
    """One run of a pipeline, started by :meth:`start`. ``message`` is its ``PipelineJob`` as it was asked for."""

    def __init__(
        self,
        cloud: GcpCloud,
        project: Project,
        location: str,
        message: Any,
        pipeline: Pipeline,
        given: Values,
        root: str,
    ) -> None:
        self.name: str = message.name
        self.id = self.name.rpartition("/")[2]
        self.pipeline = pipeline
        self._records = Records(cloud, project, location)
        self.progress = Progress(message, cloud.engine.clock)
        self._executors = Executors(cloud, project, location, message, root, self._records, self.progress)
        self._whole = Part(self.id, self.id, pipeline.root, values=given)
        self._parts: dict[str, Part] = {}
        policy = v1.PipelineFailurePolicy.Name(message.runtime_config.failure_policy)
        self._dag = Dag(
            [self._node(self._whole)],
            cloud.engine.clock,
            name=f"pipeline {self.id}",
            fail_fast=policy == "PIPELINE_FAILURE_POLICY_FAIL_FAST",
            on_change=self._changed,
        )

    # -- what the service asks ---------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        return self.progress.state

    @property
    def ended(self) -> bool:
        return self.progress.ended.is_set()

    def view(self) -> Any:
        """The job as it is now: a message of the caller's own."""
        return self.progress.view_with(self._records)

    def wait(self, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds; whether the run has ended."""
        return self.progress.ended.wait(timeout)

    def when_ended(self, action: Callable[[], None]) -> None:
        """Calls ``action`` once the run has ended."""
        self._dag.when_ended(lambda _: action())

    def start(self) -> None:
        self._dag.when_ended(self._end)
        self._dag.start()

    def cancel(self) -> None:
        """Asks for the end: what runs is stopped, and nothing more is begun."""
        self.progress.enter("CANCELLING")
        self._dag.stop()

    # -- the run -----------------------------------------------------------------------------------------------------

    def _node(self, part: Part) -> Node:
        """A part as a node of the graph."""
        self._parts[part.path] = part
        if part.outer is None:
            return Node(part.path, lambda _: self._begin(part))
        part.outer.inside[part.key] = part
        task = part.task
        assert task is not None
        if part.outer.loops:
            return Node(part.path, lambda attempt: self._do(part, attempt), within=part.outer.path)
        return Node(
            part.path,
            lambda attempt: self._do(part, attempt),
            [f"{part.outer.path}/{name}" for name in task.upstream],
            within=part.outer.path,
            trigger="all_done" if task.runs_after_failure else "all_succeeded",
            retry=Retry(lambda error, attempt: task.pause(attempt) if isinstance(error, TaskFailed) else None),
            at_once=task.parallelism or None,
        )

    def _begin(self, whole: Part) -> None:
        """Begins the run: its records, and the tasks that wait for no other."""
        assert whole.values is not None
        self._records.begin(self.pipeline.name, self.id, whole.values.parameters)
        self.progress.enter("RUNNING")
        self._show(whole)
        self._open(whole)

    def _do(self, part: Part, attempt: Attempt) -> Done | None:
        """Does a part, unless its condition says that it must not; returns when a container has ended."""
        if attempt.number == 1:
            self._show(part)
            if part.values is None and not self._is_triggered(part):
                return Done(skipped=True)
        if part.loops or part.component.is_dag:
            self._open(part)
            return None
        return self._executors.run(part, attempt)

    def _show(self, part: Part) -> None:
        """Adds the part's detail to the job, once its turn has come."""
        part.detail = part.detail or self.progress.add(part.label, part.outer.detail if part.outer else 0)

    def _is_triggered(self, part: Part) -> bool:
        """Finds what goes into a task, and whether its condition holds."""
        task, outer = part.task, part.outer
        assert task is not None
        assert outer is not None
        assert outer.values is not None
        part.values = pipeline_values.inputs(
            task,
            part.component,
            outer.values,
            outer.produced,
            lambda name: self._final_status(outer.inside[name]),
            self._executors.constants(part.label),
        )
        return task.condition is None or task.condition(part.values.parameters) is True

    def _open(self, part: Part) -> None:
        """Begins a DAG or a loop: what is inside of it runs from now on."""
        assert part.values is not None
        inside: list[Part] = []
        if part.loops:
            assert part.task is not None
            items = pipeline_values.items(part.task, part.values)
            if len(items) > MOST_ITERATIONS:
                raise ValueProblem(
                    f"The loop {part.label} has {len(items)} items; there may be at most {MOST_ITERATIONS}."
                )
            inside = [
                Part(str(number), f"{part.label}-{number}", part.component, part, part.task, item)
                for number, item in enumerate(items)
            ]
        else:
            self._executors.record(part, "system.DagExecution")
            inside = [
                Part(task.name, task.label, self.pipeline.of(task), part, task, loops=task.iterator is not None)
                for task in part.component.tasks.values()
            ]
        self.progress.task(part.detail, "RUNNING")
        self._dag.add([self._node(each) for each in inside])

    # -- how it ends -------------------------------------------------------------------------------------------------

    def _changed(self, state: NodeState) -> None:
        """Shows and records how a part has ended."""
        if state.status not in _ENDED:
            return
        part = self._parts[state.name]
        self._show(part)
        shown, error = self._outcome(part)
        if part.execution is not None:
            recorded = "CACHED" if shown == "SKIPPED" else _ENDED[state.status][1]
            self._records.end_task(part.execution, recorded, part.outputs())
        self.progress.task(part.detail, shown, error, state.ended_at)

    def _end(self, _: Dag) -> None:
        """Ends the job as the whole of its tasks has."""
        state, error = self._outcome(self._whole)
        if state not in ("SUCCEEDED", "FAILED"):
            state, error = "CANCELLED", "The pipeline job was cancelled."
        if self._records.run is not None:
            self._records.end({"SUCCEEDED": "COMPLETE"}.get(state, state))
        self.progress.enter(state, error)

    def _outcome(self, part: Part) -> tuple[str, str]:
        """The state in which a part's task has ended, and its error."""
        state = self._dag.state(part.path)
        if state.status != "Failed":
            return "SKIPPED" if state.done and state.done.cached else _ENDED[state.status][0], ""
        inside = (each for each in part.inside.values() if self._dag.state(each.path).status == "Failed")
        if failed := ", ".join(each.label for each in inside):
            return "FAILED", f"The DAG failed because some tasks failed. The failed tasks are: [{failed}]."
        if isinstance(state.exception, TaskFailed | ValueProblem | ConditionError):
            return "FAILED", str(state.exception)
        return "FAILED", f"The local clouds could not run it ({state.error})."

    def _final_status(self, part: Part) -> dict[str, Any]:
        """What an exit task is told of the task before it: ``PipelineTaskFinalStatus``."""
        state, error = self._outcome(part)
        told: dict[str, Any] = {"state": state, "pipelineJobResourceName": self.name, "pipelineTaskName": part.key}
        if error:
            told["error"] = {"code": 9, "message": error}
        return told
