"""What SageMaker keeps of pipelines: their versions, their executions, and the steps of those."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.pipeline_definition import Definition, Step

if TYPE_CHECKING:
    from labkit.cloud.aws.place import Place
    from labkit.cloud.engine.dags import Dag


@dataclass
class Version:
    """A version of a pipeline; ``name`` and ``description`` are the version's own."""

    number: int
    definition: Definition
    created: datetime
    name: str = ""
    description: str = ""
    last_execution: str = ""


@dataclass
class Result:
    """What a step that succeeded left: its description for ``Steps.X...``, its files and its metadata.

    ``skip`` are the steps of the branch that a condition did not take.
    """

    properties: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cached:
    """A step's result that a later execution may take."""

    step: str
    key: str
    at: datetime
    execution: str
    result: Result


@dataclass
class StepRecord:
    """A step of an execution that was started, or whose result was taken from another execution."""

    step: Step
    status: str
    started: datetime | None = None
    ended: datetime | None = None
    failure: str = ""
    attempts: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    result: Result | None = None
    cached_from: str = ""
    reused_from: str = ""

    @property
    def name(self) -> str:
        return self.step.name


@dataclass
class Execution:
    """An execution; its parts change under ``lock``. It is a :class:`~labkit.cloud.engine.clock.Work`."""

    id: str
    arn: str
    pipeline: Pipeline
    version: Version
    place: Place
    role: str
    parameters: Mapping[str, Any]
    given: list[Mapping[str, Any]]
    created: datetime
    modified: datetime
    created_by: Mapping[str, Any]
    name: str
    description: str = ""
    parallelism: Mapping[str, Any] | None = None
    selective: Mapping[str, Any] | None = None
    status: str = "Executing"
    failure: str = ""
    ended: datetime | None = None
    modified_by: Mapping[str, Any] = field(default_factory=dict)
    steps: dict[str, StepRecord] = field(default_factory=dict)
    dag: Dag | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    settled: threading.Event = field(default_factory=threading.Event, repr=False)
    at_rest: threading.Event = field(default_factory=threading.Event, repr=False)

    def wait(self, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds; returns whether the execution has ended, or waits for callbacks alone."""
        return self.at_rest.wait(timeout)

    def look(self) -> None:
        """Finds out whether all that is under way waits for somebody's callback; called with ``lock`` held."""
        busy = {each.step.type for each in self.steps.values() if each.status in ("Starting", "Executing", "Stopping")}
        if busy == {"Callback"}:
            self.at_rest.set()
        elif not self.settled.is_set():
            self.at_rest.clear()


@dataclass
class Pipeline:
    """A pipeline; ``request`` is what it was made with, as updates have changed it."""

    name: str
    arn: str
    created: datetime
    modified: datetime
    created_by: Mapping[str, Any]
    modified_by: Mapping[str, Any]
    request: dict[str, Any]
    tags: dict[str, str]
    token: str
    versions: list[Version] = field(default_factory=list)
    executions: dict[str, Execution] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    cache: list[Cached] = field(default_factory=list)
    last_run: datetime | None = None

    @property
    def latest(self) -> Version:
        return self.versions[-1]

    def close(self) -> None:
        """Stops what runs."""
        for execution in self.executions.values():
            if execution.dag is not None:
                execution.dag.stop()
