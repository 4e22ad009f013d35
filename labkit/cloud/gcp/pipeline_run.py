"""A pipeline's run: its DAGs, one inside the other, each task as soon as what it waits for has ended.

What becomes of a task - cached, not triggered, retried, failed - is as
https://cloud.google.com/vertex-ai/docs/pipelines/run-pipeline and .../configure-failure-policy have it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import pipeline_values
from labkit.cloud.gcp.pipeline_conditions import ConditionError
from labkit.cloud.gcp.pipeline_executors import Cancelled, Executors, TaskFailed
from labkit.cloud.gcp.pipeline_progress import DONE_WELL, Progress
from labkit.cloud.gcp.pipeline_records import Records
from labkit.cloud.gcp.pipeline_spec import Component, Pipeline, Task
from labkit.cloud.gcp.pipeline_values import ValueProblem, Values
from labkit.cloud.gcp.vertex_names import v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud
    from labkit.cloud.gcp.projects import Project

#: Loops have at most this many iterations, and runs this many tasks.
MOST_ITERATIONS = 1000


class _Dag:
    """One DAG while it runs: its inputs, what its tasks made and how they ended."""

    def __init__(self, component: Component, outer: Values, parent: int) -> None:
        self.component, self.outer, self.parent = component, outer, parent
        self.made: dict[str, Values] = {}
        self.states: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.changed = threading.Condition()

    def ended(self, name: str, state: str, made: Values | None = None, error: str = "") -> None:
        with self.changed:
            self.states[name] = state
            if made is not None:
                self.made[name] = made
            if error:
                self.errors[name] = error
            self.changed.notify_all()


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
        self._given = given
        self._records = Records(cloud, project, location)
        self.progress = Progress(message, cloud.engine.clock)
        self._executors = Executors(cloud, project, location, message, pipeline, root, self._records, self.progress)
        policy = v1.PipelineFailurePolicy.Name(message.runtime_config.failure_policy)
        self._fails_fast = policy == "PIPELINE_FAILURE_POLICY_FAIL_FAST"
        self._failed = self._cancelled = False

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
        """Calls ``action`` once the run has ended, in a thread of its own."""

        def wait() -> None:
            self.progress.ended.wait()
            action()

        threading.Thread(target=wait, name=f"end-of-{self.id}", daemon=True).start()

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"pipeline-{self.id}", daemon=True).start()

    def cancel(self) -> None:
        """Asks for the end: what runs is stopped, and nothing more is begun."""
        self._cancelled = True
        if not self.ended:
            self.progress.enter("CANCELLING")
        self._executors.cancel()

    # -- the run -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._records.begin(self.pipeline.name, self.id, self._given.parameters)
        self.progress.enter("RUNNING")
        whole = self.progress.add(self.id, 0)
        self.progress.task(whole, "RUNNING")
        execution = self._records.begin_task(self.id, "system.DagExecution", self._given)
        self.progress.executed(whole, execution.name)
        dag = _Dag(self.pipeline.root, self._given, whole)
        try:
            self._drive(dag)
            state, error = self._outcome(dag)
        except Exception as failure:
            # A defect of the kit's own: the run says so, and everybody who waits for it goes on.
            state, error = (
                "FAILED",
                f"The local clouds could not run the pipeline ({type(failure).__name__}: {failure}).",
            )
        ended = {"FAILED": "FAILED", "CANCELLED": "CANCELLED"}.get(state, "COMPLETE")
        self._records.end_task(execution, ended, pipeline_values.outputs(self.pipeline.root, dag.made.get))
        self._records.end(ended)
        self.progress.task(whole, state, error)
        self.progress.enter(state, error)

    def _outcome(self, dag: _Dag) -> tuple[str, str]:
        """How a DAG whose tasks have ended has ended itself, and why."""
        failed = [dag.component.tasks[name].label for name, state in dag.states.items() if state == "FAILED"]
        if failed:
            return "FAILED", f"The DAG failed because some tasks failed. The failed tasks are: [{', '.join(failed)}]."
        if self._cancelled:
            return "CANCELLED", "The pipeline job was cancelled."
        return "SUCCEEDED", ""

    def _drive(self, dag: _Dag) -> None:
        """Starts each task when those before it have ended, until all have."""
        waiting, running = dict(dag.component.tasks), set[str]()
        while True:
            with dag.changed:
                running -= set(dag.states)
                ready = [task for task in waiting.values() if task.upstream <= set(dag.states)]
                if not ready and not waiting and not running:
                    return
                if not ready:
                    dag.changed.wait()
                    continue
            for task in ready:
                del waiting[task.name]
                running.add(task.name)
                threading.Thread(target=self._one, args=(dag, task), name=f"task-{task.name}", daemon=True).start()

    def _one(self, dag: _Dag, task: Task) -> None:
        """Brings one task to its end, whatever becomes of it."""
        detail = self.progress.add(task.label, dag.parent)
        try:
            self._decide(dag, task, detail)
        except (TaskFailed, ValueProblem, ConditionError) as failure:
            self._fail(dag, task, detail, str(failure))
        except Cancelled:
            self.progress.task(detail, "CANCELLED")
            dag.ended(task.name, "CANCELLED")
        except Exception as defect:
            self._fail(dag, task, detail, f"The local clouds could not run it ({type(defect).__name__}: {defect}).")

    def _fail(self, dag: _Dag, task: Task, detail: int, why: str) -> None:
        self._failed = True
        self.progress.task(detail, "FAILED", why)
        dag.ended(task.name, "FAILED", error=why)

    def _decide(self, dag: _Dag, task: Task, detail: int) -> None:
        """Runs a task, unless what came before it or its condition says that it must not."""
        before = {dag.states[name] for name in task.upstream}
        missing = not before <= set(DONE_WELL) or (self._failed and self._fails_fast)
        if self._cancelled or (missing and not task.runs_after_failure):
            self._not_triggered(dag, task, detail)
            return
        component = self.pipeline.of(task)
        values = pipeline_values.inputs(
            task,
            component,
            dag.outer,
            dag.made.get,
            lambda name: self._final_status(dag, name),
            self._executors.constants(task),
        )
        if task.condition is not None and task.condition(values.parameters) is not True:
            self._not_triggered(dag, task, detail)
            return
        if task.iterator is not None:
            made = self._loop(task, component, values, detail)
        elif component.is_dag:
            made = self._nested(component, values, detail, task.label)
        else:
            made, cached = self._executors.run(task, component, values, detail)
            self.progress.task(detail, "SKIPPED" if cached else "SUCCEEDED")
            dag.ended(task.name, "SKIPPED" if cached else "SUCCEEDED", made)
            return
        self.progress.task(detail, "SUCCEEDED")
        dag.ended(task.name, "SUCCEEDED", made)

    def _not_triggered(self, dag: _Dag, task: Task, detail: int) -> None:
        """Ends a task without running it; so a branch that is not taken stops what needs its outputs, and no more."""
        self.progress.task(detail, "NOT_TRIGGERED")
        dag.ended(task.name, "NOT_TRIGGERED")

    def _nested(self, component: Component, values: Values, detail: int, label: str) -> Values:
        """Runs a DAG inside another; raises where it fails."""
        self.progress.task(detail, "RUNNING")
        execution = self._records.begin_task(label, "system.DagExecution", values)
        self.progress.executed(detail, execution.name)
        inner = _Dag(component, values, detail)
        self._drive(inner)
        state, error = self._outcome(inner)
        made = pipeline_values.outputs(component, inner.made.get)
        self._records.end_task(execution, "COMPLETE" if state == "SUCCEEDED" else state, made)
        if state == "FAILED":
            raise TaskFailed(error)
        if state == "CANCELLED":
            raise Cancelled
        return made

    def _loop(self, task: Task, component: Component, values: Values, detail: int) -> Values:
        """Runs a DAG once for each item, as many at a time as the loop allows; raises where one of them fails."""
        given = pipeline_values.items(task, values)
        if len(given) > MOST_ITERATIONS:
            raise TaskFailed(f"The loop {task.label} has {len(given)} items; there may be {MOST_ITERATIONS}.")
        self.progress.task(detail, "RUNNING")
        places = threading.Semaphore(task.parallelism or len(given) or 1)
        made: dict[int, Values] = {}
        failures: dict[int, Exception] = {}

        def iterate(number: int, item: Values) -> None:
            inner = self.progress.add(f"{task.label}-{number}", detail)
            with places:
                try:
                    if self._cancelled:
                        raise Cancelled
                    made[number] = self._nested(component, item, inner, f"{task.label}-{number}")
                    self.progress.task(inner, "SUCCEEDED")
                except Exception as failure:
                    failures[number] = failure
                    if isinstance(failure, Cancelled):
                        self.progress.task(inner, "CANCELLED")
                    else:
                        self.progress.task(inner, "FAILED", str(failure))

        threads = [threading.Thread(target=iterate, args=each, daemon=True) for each in enumerate(given)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if any(isinstance(each, Cancelled) for each in failures.values()):
            raise Cancelled
        if failures:
            names = ", ".join(f"{task.label}-{number}" for number in sorted(failures))
            raise TaskFailed(f"The DAG failed because some tasks failed. The failed tasks are: [{names}].")
        return pipeline_values.collected(component, [made[number] for number in range(len(given))])

    def _final_status(self, dag: _Dag, name: str) -> dict[str, Any]:
        """What an exit task is told of the task before it: ``PipelineTaskFinalStatus``."""
        with dag.changed:
            state, error = dag.states[name], dag.errors.get(name, "")
        told: dict[str, Any] = {"state": state, "pipelineJobResourceName": self.name, "pipelineTaskName": name}
        if error:
            told["error"] = {"code": 9, "message": error}
        return told
