"""How far a pipeline's run is: the job's state, and that of each task, as the API shows them.

https://cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1#pipelinetaskdetail
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp.errors import CODES
from labkit.cloud.gcp.pipeline_values import Values
from labkit.cloud.gcp.polling import Watched
from labkit.cloud.gcp.vertex_names import stamp, v1

if TYPE_CHECKING:
    from datetime import datetime

    from labkit.cloud.engine.clock import Clock
    from labkit.cloud.gcp.pipeline_records import Records

#: SKIPPED is a task whose result was in the cache.
_ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELLED", "NOT_TRIGGERED")
#: The state of a job is the word after this.
_JOB = "PIPELINE_STATE_"
_FAILED_PRECONDITION = CODES["FAILED_PRECONDITION"][0]


class Progress(Watched):
    """The state of one run; safe to use from any thread. ``message`` is its ``PipelineJob``."""

    def __init__(self, message: Any, clock: Clock) -> None:
        super().__init__(message)
        self.ended = threading.Event()
        self._clock = clock
        self._tasks: dict[int, Any] = {}
        self._executions: dict[int, str] = {}
        now = clock.now()
        stamp(message, create_time=now, update_time=now)
        message.state = v1.PipelineState.Value(f"{_JOB}PENDING")

    @property
    def state(self) -> str:
        """The job's state, as the API names it."""
        return str(v1.PipelineState.Name(self.message.state))

    def enter(self, state: str, error: str = "") -> None:
        """Gives the job another state (``RUNNING``, ``SUCCEEDED``, ...), with the error that it ends with."""
        with self._changed:
            if self.ended.is_set():
                return
            now = self._clock.now()
            self.message.state = v1.PipelineState.Value(f"{_JOB}{state}")
            if state == "RUNNING":
                stamp(self.message, start_time=now)
            if state in ("SUCCEEDED", "FAILED", "CANCELLED"):
                stamp(self.message, end_time=now)
                if error:
                    code = CODES["CANCELLED"][0] if state == "CANCELLED" else _FAILED_PRECONDITION
                    self.message.error.code, self.message.error.message = code, error
            self._news(self._clock.now())
            if state in ("SUCCEEDED", "FAILED", "CANCELLED"):
                self.ended.set()

    def add(self, label: str, parent: int) -> int:
        """Adds a task, pending, and returns its id; ``parent`` is the id of the one it is part of, or 0."""
        with self._changed:
            identifier = random.randrange(1, 2**63)
            task = v1.PipelineTaskDetail(task_id=identifier, parent_task_id=parent, task_name=label)
            task.state = v1.PipelineTaskDetail.State.Value("PENDING")
            stamp(task, create_time=self._clock.now())
            self._tasks[identifier] = task
            self._note(task)
            self._news(self._clock.now())
            return identifier

    def task(self, identifier: int, state: str, error: str = "", at: datetime | None = None) -> None:
        """Gives a task another state, as of ``at`` or of now, with the error that it ends with."""
        with self._changed:
            task, now = self._tasks[identifier], at or self._clock.now()
            task.state = v1.PipelineTaskDetail.State.Value(state)
            if state in ("RUNNING", "SKIPPED") and not task.HasField("start_time"):
                stamp(task, start_time=now)
            if state in _ENDED:
                stamp(task, end_time=now)
            if error:
                task.error.code, task.error.message = _FAILED_PRECONDITION, error
            self._note(task)
            self._news(self._clock.now())

    def executed(self, identifier: int, execution: str) -> None:
        """Notes which execution of ML Metadata a task is."""
        with self._changed:
            self._executions[identifier] = execution

    def job(self, identifier: int, name: str) -> None:
        """Notes the custom job that does a task; an earlier one is one that failed."""
        with self._changed:
            detail = self._tasks[identifier].executor_detail.container_detail
            if detail.main_job:
                detail.failed_main_jobs.append(detail.main_job)
            detail.main_job = name
            self._news(self._clock.now())

    def values(self, identifier: int, given: Values, made: Values | None = None) -> None:
        """Notes the artifacts that went into a task and came out of it."""
        with self._changed:
            task = self._tasks[identifier]
            for field, values in ((task.inputs, given), (task.outputs, made)):
                for name, artifacts in values.artifacts.items() if values else ():
                    field[name].ClearField("artifacts")
                    field[name].artifacts.extend(v1.Artifact(name=each["name"]) for each in artifacts)

    def view_with(self, records: Records) -> Any:
        """The job with its tasks, their executions and artifacts, as they are now."""
        with self._changed:
            shown = self.view()
            tasks: Sequence[Any] = list(self._tasks.values())
            executions: Mapping[int, str] = dict(self._executions)
            shown.job_detail.task_details.extend(tasks)
        for task in shown.job_detail.task_details:
            if node := records.node(executions.get(task.task_id, "")):
                task.execution.CopyFrom(node)
            for field in (task.inputs, task.outputs):
                for artifacts in field.values():
                    for artifact in artifacts.artifacts:
                        if held := records.node(artifact.name):
                            artifact.CopyFrom(held)
        if records.run is not None:
            shown.job_detail.pipeline_context.CopyFrom(records.node(records.pipeline.name))
            shown.job_detail.pipeline_run_context.CopyFrom(records.node(records.run.name))
        return shown

    def _note(self, task: Any) -> None:
        """Adds a line to the task's history."""
        status = task.pipeline_task_status.add(state=task.state)
        if task.HasField("error"):
            status.error.CopyFrom(task.error)
        stamp(status, update_time=self._clock.now())
