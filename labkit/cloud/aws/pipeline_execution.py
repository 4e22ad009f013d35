"""A pipeline's execution: its steps as a graph, its cache, its retries, and the records of what became of them.

https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html
https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from labkit.cloud.aws import pipeline_callbacks, pipeline_steps, sagemaker_events, service_calls
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.identity import Key
from labkit.cloud.aws.pipeline_definition import Step
from labkit.cloud.aws.pipeline_records import Cached, Execution, Result, StepRecord
from labkit.cloud.aws.pipeline_steps import StepFailed, StepRun
from labkit.cloud.aws.pipeline_values import Scope
from labkit.cloud.aws.role_storage import RoleStorage
from labkit.cloud.aws.sagemaker_data import parse
from labkit.cloud.aws.sagemaker_jobs import LONGEST_REASON, SAGEMAKER
from labkit.cloud.engine.clock import iso_milliseconds
from labkit.cloud.engine.dags import Attempt, Dag, Done, Node, NodeState, Retry

#: Step type -> the arguments that make two runs of a step the same:
#: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-default-keys.html
CACHE_KEYS = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
    "Transform": (
        "DataProcessing",
        "Environment",
        "BatchStrategy",
        "MaxConcurrentTransforms",
        "MaxPayloadInMB",
        "ModelName",
        "TransformInput",
        "TransformOutput",
    ),
}
_STATUS = {"Running": "Executing", "Succeeded": "Succeeded", "Failed": "Failed", "Stopped": "Stopped"}
_FAILED = "Step failure: One or multiple steps failed."


def start(execution: Execution, reused: Mapping[str, Result] | None = None, reused_from: str = "") -> None:
    """Runs an execution's steps, or runs them again: those that succeeded before are not run a second time.

    ``reused`` are results of another execution that stand for the steps' own.
    """
    _Runner(execution, reused or {}, reused_from).start()


def stop(execution: Execution) -> None:
    """Has the execution end: no step is started, and the jobs that run are stopped."""
    with execution.lock:
        if execution.status != "Executing":
            return
        for record in execution.steps.values():
            if record.status in ("Starting", "Executing"):
                record.status = "Stopping"
        dag = execution.dag
    _change(execution, "Stopping")
    if dag is not None:
        dag.stop()


class _Runner:
    """One run of an execution's graph."""

    def __init__(self, execution: Execution, reused: Mapping[str, Result], reused_from: str) -> None:
        self._execution = execution
        self._reused = reused
        self._reused_from = reused_from
        self._results: dict[str, Result] = {}
        self._scope: Scope | None = None
        self._key: Key | None = None

    def start(self) -> None:
        execution = self._execution
        selected = {each["StepName"] for each in (execution.selective or {}).get("SelectedSteps", [])}
        steps = list(execution.version.definition.steps.values())
        if selected:
            steps = [each for each in steps if each.name in selected or each.name in self._reused]
        names = {each.name for each in steps}
        nodes = [
            Node(
                step.name,
                lambda attempt, step=step: self._run(step, attempt),  # type: ignore[misc]
                after=step.after & names,
                retry=self._retry(step),
            )
            for step in steps
        ]
        most = (execution.parallelism or {}).get("MaxParallelExecutionSteps")
        dag = Dag(nodes, execution.place.engine.clock, name=execution.id, parallelism=most, on_change=self._changed)
        with execution.lock:
            execution.dag = dag
            execution.settled.clear()
            execution.at_rest.clear()
        _change(execution, "Executing")
        dag.when_ended(self._ended)
        dag.start()

    # -- one step --------------------------------------------------------------------------------------------------

    def _run(self, step: Step, attempt: Attempt) -> Done:
        execution = self._execution
        with execution.lock:
            record = execution.steps.get(step.name)
            kept = record.result if record is not None and record.status == "Succeeded" else None
        kept = kept or self._reused.get(step.name)
        if kept is None:
            with execution.lock:
                record = execution.steps.setdefault(step.name, StepRecord(step, "Starting"))
            kept = self._do(step, record, attempt)
        self._results[step.name] = kept
        return Done(skip=kept.skip, value=kept)

    def _do(self, step: Step, record: StepRecord, attempt: Attempt) -> Result:
        run = StepRun(self._execution, step, self._scope_for(), self._session())
        if step.type == "Condition":
            result = pipeline_steps.decide(run)
            self._note(record, result.metadata)
            return result
        arguments = run.arguments()
        key = _cache_key(step, arguments)
        if step.cache and (found := self._cached(step, key)):
            with self._execution.lock:
                record.cached_from = found.execution
            self._note(record, found.result.metadata)
            return found.result
        do = pipeline_callbacks.run if step.type == "Callback" else pipeline_steps.run
        result = do(run, arguments, attempt, lambda metadata: self._note(record, metadata))
        self._note(record, result.metadata)
        with self._execution.lock:
            now = self._execution.place.engine.clock.now()
            self._execution.pipeline.cache.append(Cached(step.name, key, now, self._execution.arn, result))
        return result

    def _note(self, record: StepRecord, metadata: Mapping[str, Any]) -> None:
        with self._execution.lock:
            record.metadata = metadata

    def _session(self) -> Key:
        """The pipeline's role, assumed anew for each step: it may have changed. Raises :class:`StepFailed`."""
        try:
            return service_calls.assume(
                self._execution.place, self._execution.role, SAGEMAKER, "SageMaker", self._execution.pipeline.arn
            )
        except AwsError as error:
            raise StepFailed(f"ClientError: {error.message}") from None

    def _scope_for(self) -> Scope:
        execution, place = self._execution, self._execution.place
        storage = RoleStorage(place, self._session(), SAGEMAKER)
        finished = dict(self._results)
        return Scope(
            parameters=execution.parameters,
            execution={
                "PipelineName": execution.pipeline.name,
                "PipelineArn": execution.pipeline.arn,
                "PipelineExecutionId": execution.id,
                "PipelineExecutionArn": execution.arn,
                "StartDateTime": iso_milliseconds(execution.created),
                "CurrentDateTime": iso_milliseconds(place.engine.clock.now()),
            },
            read=lambda url: storage.read(*parse(url)),
            steps={name: result.properties for name, result in finished.items()},
            files={(name, file): url for name, result in finished.items() for file, url in result.files.items()},
        )

    def _cached(self, step: Step, key: str) -> Cached | None:
        """The last result of the same step with the same key that is young enough."""
        assert step.cache is not None
        now, expires = self._execution.place.engine.clock.now(), step.cache.expires
        with self._execution.lock:
            for each in reversed(self._execution.pipeline.cache):
                if (each.step, each.key) == (step.name, key) and (expires is None or now - each.at <= expires):
                    return each
        return None

    def _retry(self, step: Step) -> Retry | None:
        begun = self._execution.place.engine.clock.now

        first: list[datetime] = []

        def again(error: Exception, attempt: int) -> float | None:
            if not isinstance(error, StepFailed):
                return None
            first.append(begun())
            for policy in step.retries:
                wait = policy.wait(error.exception, attempt)
                late = policy.expires is not None and begun() + timedelta(seconds=wait or 0) - first[0] > policy.expires
                if wait is not None and not late:
                    return wait
            return None

        return Retry(again) if step.retries else None

    # -- what became of them ---------------------------------------------------------------------------------------

    def _changed(self, state: NodeState) -> None:
        execution = self._execution
        step = execution.version.definition.steps[state.name]
        status = _STATUS.get(state.status)
        if status is None:
            return
        with execution.lock:
            record = execution.steps.get(state.name)
            if record is not None and record.status == "Succeeded":
                return
            record = record or execution.steps.setdefault(state.name, StepRecord(step, "Starting"))
            before, record.status = record.status, status
            if status == "Executing" and execution.status == "Stopping":
                record.status = "Stopping"
            if state.name in self._reused and record.result is None:
                record.reused_from = self._reused_from
            record.started, record.ended = state.started_at, state.ended_at
            record.attempts = 0 if record.cached_from else state.attempts
            record.failure = state.error[:LONGEST_REASON] if status == "Failed" else ""
            if status == "Succeeded" and state.done is not None:
                record.result = state.done.value
                record.metadata = record.result.metadata if record.result else {}
            execution.modified = execution.place.engine.clock.now()
            execution.look()
        sagemaker_events.step_changed(execution, record, before)

    def _ended(self, dag: Dag) -> None:
        status = {"Succeeded": "Succeeded", "Stopped": "Stopped"}.get(dag.status, "Failed")
        if self._execution.status == "Stopping":
            status = "Stopped"
        with self._execution.lock:
            self._execution.failure = _FAILED if status == "Failed" else ""
            self._execution.ended = self._execution.place.engine.clock.now()
        _change(self._execution, status)
        self._execution.settled.set()
        self._execution.at_rest.set()


def _change(execution: Execution, status: str) -> None:
    with execution.lock:
        before, execution.status = execution.status, status
        execution.modified = execution.place.engine.clock.now()
    sagemaker_events.execution_changed(execution, before)


def _cache_key(step: Step, arguments: Mapping[str, Any]) -> str:
    names = CACHE_KEYS.get(step.type)
    kept = {name: arguments.get(name) for name in names} if names else {**arguments}
    kept["FunctionArn"], kept["SqsQueueUrl"] = step.document.get("FunctionArn"), step.document.get("SqsQueueUrl")
    return hashlib.sha256(json.dumps([step.type, kept], sort_keys=True, default=str).encode()).hexdigest()
