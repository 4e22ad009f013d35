"""A pipeline on its way: each step begins when those that it reads of have ended, and its run is a child's.

https://learn.microsoft.com/azure/machine-learning/concept-ml-pipelines
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from labkit.cloud.azure import jobs_bindings, jobs_errors, jobs_files, jobs_registration, pipelines_reuse, runs
from labkit.cloud.azure.jobs_execution import Execution, Place
from labkit.cloud.azure.jobs_values import Port, Value, fits
from labkit.cloud.azure.pipelines import Pipeline, Step
from labkit.cloud.azure.runs import Made, Run, Runs
from labkit.cloud.engine.dags import Attempt, Dag, Done, Node, NodeState
from labkit.cloud.engine.errors import CloudError, Invalid

#: Steps of one pipeline that run at the same time.
AT_A_TIME = 8
LOG = "logs/azureml/executionlogs.txt"


class StepFailed(Exception):
    """A step has not ended well; its own run says why."""


class PipelineExecution:
    """A pipeline that runs; :class:`labkit.cloud.engine.clock.Work`."""

    def __init__(self, at: Place, run: Run, pipeline: Pipeline, inputs: Mapping[str, Value]) -> None:
        self.at = at
        self.run = run
        self.pipeline = pipeline
        self.inputs = dict(inputs)
        self.known = at.cloud.resources.store(Runs, at.workspace.id)
        self._values: dict[str, dict[str, Value]] = {}
        self._runs: dict[str, Run] = {}
        artifacts = jobs_files.artifacts(at.cloud, at.workspace.id, run.name)
        self._log = jobs_files.Log(jobs_files.below(artifacts, LOG))
        self._dag = Dag(
            [Node(step.name, self._work(step), step.after) for step in pipeline.steps.values()],
            at.cloud.engine.clock,
            name=f"pipeline {run.name}",
            parallelism=AT_A_TIME,
            fail_fast=not pipeline.settings.goes_on,
            on_change=self._changed,
        )
        run.cancel = self.cancel

    def start(self) -> None:
        """Begins; what follows goes on in threads of its own."""
        self.run.move(runs.PREPARING, self._now())
        self.run.move(runs.RUNNING, self._now())
        self._dag.start()
        self._dag.when_ended(self._end)

    def wait(self, timeout: float) -> bool:
        return self.run.wait(timeout)

    def cancel(self) -> None:
        """Stops the steps that run, and begins no more."""
        self.run.move(runs.CANCEL_REQUESTED, self._now())
        self._dag.stop()

    # -- its life --------------------------------------------------------------------------------------------------

    def _end(self, dag: Dag) -> None:
        """Says how the pipeline has ended, once its steps have."""
        failed = [name for name, state in dag.states().items() if state.status == "Failed"]
        if dag.status == "Stopped":
            self.run.move(runs.CANCELED, self._now())
            return
        if failed:
            self.run.error = jobs_errors.steps_failed(failed)
            self.run.move(runs.FAILED, self._now())
            return
        self.run.move(runs.FINALIZING, self._now())
        try:
            self.run.outputs |= self._outputs()
        except CloudError as error:
            self.run.error = jobs_errors.user_error(error.message)
            self.run.move(runs.FAILED, self._now())
            return
        self.run.move(runs.COMPLETED, self._now())

    def _work(self, step: Step) -> Callable[[Attempt], Done | None]:
        return lambda attempt: self._step(step, attempt)

    def _step(self, step: Step, attempt: Attempt) -> Done | None:
        """Runs one step to its end; raises :class:`StepFailed`."""
        run = self._make_run(step)
        try:
            values = {name: self._resolve(step, name, value) for name, value in step.inputs.items()}
        except CloudError as error:
            run.error = jobs_errors.user_error(error.message)
            run.move(runs.FAILED, self._now())
            raise StepFailed(error.message) from None
        self._values[step.name] = values
        run.parameters = {name: value.text for name, value in values.items() if value.is_literal}
        made_of = pipelines_reuse.key(step, values) if pipelines_reuse.is_deterministic(step) else ""
        if made_of and not self.pipeline.settings.reruns and (other := pipelines_reuse.find(self.known, made_of)):
            pipelines_reuse.reuse(run, other, self._now())
            return Done(cached=True)
        self._begin(step, run, values)
        attempt.on_stop(lambda: run.cancel() if run.cancel else None)
        while not run.wait(60.0):
            continue
        if run.status != runs.COMPLETED:
            raise StepFailed(f"{step.name} is {run.status}.")
        if made_of:
            self.known.reusable[made_of] = run
        return None

    def _begin(self, step: Step, run: Run, values: dict[str, Value]) -> None:
        if step.pipeline is not None:
            PipelineExecution(self.at, run, replace(step.pipeline, inputs=values), values).start()
            return
        assert step.command is not None
        command = replace(step.command, outputs=self._ports(step))
        Execution(self.at, run, command).start(values)

    def _ports(self, step: Step) -> dict[str, Port]:
        """A step's outputs, those that are the pipeline's being where the pipeline wants them."""
        ports = dict(step.outputs)
        for name, outer in step.passed.items():
            wanted = self.pipeline.outputs[outer]
            if wanted.uri and not ports[name].uri:
                ports[name] = replace(ports[name], uri=wanted.uri)
        return ports

    def _make_run(self, step: Step) -> Run:
        component = step.component
        made = Run(
            name=str(uuid.uuid4()),
            experiment=self.run.experiment,
            created=self._now(),
            caller=self.run.caller,
            kind="azureml.PipelineRun" if step.pipeline else "azureml.StepRun",
            parent=self.run.name,
            root=self.run.root or self.run.name,
            node=step.name,
            display_name=step.title,
            target=step.command.target if step.command else "",
            tags=dict(step.tags),
            properties={
                "azureml.runsource": "azureml.PipelineRun" if step.pipeline else "azureml.StepRun",
                "azureml.nodeid": uuid.uuid5(uuid.NAMESPACE_OID, f"{self.run.name}/{step.name}").hex[:8],
                "azureml.moduleName": step.name,
                "azureml.moduleid": component.id,
                "azureml.pipelinerunid": self.run.name,
                "azureml.rootpipelinerunid": self.run.root or self.run.name,
                "azureml.isreused": "false",
            },
        )
        self._runs[step.name] = made
        self.known.add(made)
        return made

    # -- what steps read and make ----------------------------------------------------------------------------------

    def _resolve(self, step: Step, name: str, value: Value) -> Value:
        """What an input is once the steps that it names have ended; raises :class:`CloudError`."""
        if not jobs_bindings.names(value.text):
            return value
        if bound := jobs_bindings.whole(value.text):
            found = self._bound(bound)
            mode = value.mode or ("" if found.is_literal else found.mode)
            found = replace(found, mode=mode)
        else:
            texts = {each: self._bound(each).text for each in jobs_bindings.names(value.text)}
            found = replace(value, text=jobs_bindings.fill(value.text, texts))
        port = step.spec["inputs"][name]
        if found.is_literal and (wrong := fits(name, found.text, port)):
            raise Invalid(wrong)
        if not found.is_literal and str(port.get("type")) in ("integer", "number", "boolean"):
            raise Invalid(f"Input {name} has to be of type {port.get('type')}, not {found.kind}.")
        return found

    def _bound(self, name: str) -> Value:
        _, what, *path = name.split(".")
        if what == "inputs":
            return self.inputs[".".join(path)]
        step, direction, port = path[0], path[1], ".".join(path[2:])
        if direction == "inputs":
            return self._values[step][port]
        made = self._runs[step].outputs[port]
        return Value(made.kind, made.uri)

    def _outputs(self) -> dict[str, Made]:
        """The pipeline's own outputs, registered where they have a name."""
        found = {}
        for step in self.pipeline.steps.values():
            for name, outer in step.passed.items():
                made, port = self._runs[step.name].outputs[name], self.pipeline.outputs[outer]
                found[outer] = jobs_registration.register(
                    self.at.cloud, self.at.workspace, self.run, outer, replace(port, kind=made.kind), made.uri
                )
        return found

    # -- its log ---------------------------------------------------------------------------------------------------

    def _changed(self, state: NodeState) -> None:
        run = self._runs.get(state.name)
        if state.status == "Running":
            self._write(f"Submitting 1 runs, first five are: {state.name}")
        elif run is not None and state.status in ("Succeeded", "Failed", "Stopped"):
            reused = " (reused)" if run.properties.get("azureml.isreused") == "true" else ""
            self._write(f"Completing processing run id {run.name}: {state.name} is {run.status}{reused}.")

    def _write(self, line: str) -> None:
        self._log.write(f"[{self._now():%Y-%m-%d %H:%M:%SZ}] {line}")
        self._log.flush()

    def _now(self) -> datetime:
        return self.at.cloud.engine.clock.now()
