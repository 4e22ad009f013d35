"""Runs: what became of jobs and of the steps of pipelines.

A job has a run of its own name; a pipeline's steps have runs below it that no list of jobs shows.
https://learn.microsoft.com/azure/machine-learning/how-to-track-monitor-analyze-runs
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.cloud.engine.access import Caller

NOT_STARTED, PREPARING, QUEUED, RUNNING = "NotStarted", "Preparing", "Queued", "Running"
FINALIZING, CANCEL_REQUESTED = "Finalizing", "CancelRequested"
COMPLETED, FAILED, CANCELED = "Completed", "Failed", "Canceled"
TERMINAL = frozenset((COMPLETED, FAILED, CANCELED))
#: The experiment of a job that names none.
DEFAULT_EXPERIMENT = "Default"

_ORDER = (NOT_STARTED, PREPARING, QUEUED, RUNNING, CANCEL_REQUESTED, FINALIZING, COMPLETED, FAILED, CANCELED)


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of a metric: ``at`` is lab time in milliseconds since 1970."""

    value: float
    at: int
    step: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """An output of a run: its type, where it is, and the version of an asset that it was registered as, if any."""

    kind: str
    uri: str
    asset_id: str
    registered: str = ""
    mode: str = ""


@dataclass(eq=False)
class Run:
    """One run; safe to use from any thread.

    ``kind`` is ``azureml.PipelineRun``, ``azureml.StepRun`` or ``azureml.scriptrun``; ``error`` what run history shows
    of a failure, as its ``error``; ``node`` the name of the step in its pipeline.
    """

    name: str
    experiment: str
    created: datetime
    caller: Caller
    kind: str = "azureml.scriptrun"
    parent: str = ""
    root: str = ""
    node: str = ""
    display_name: str = ""
    description: str = ""
    target: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[Measured]] = field(default_factory=dict)
    inputs: dict[str, Made] = field(default_factory=dict)
    outputs: dict[str, Made] = field(default_factory=dict)
    hidden: bool = False
    status: str = NOT_STARTED
    started: datetime | None = None
    ended: datetime | None = None
    error: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    cancel: Callable[[], None] | None = None
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))
    watched: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    @property
    def done(self) -> bool:
        return self.status in TERMINAL

    def move(self, status: str, now: datetime) -> bool:
        """Takes the next status; False when it has ended, or is further already."""
        with self._changed:
            if self.done or _ORDER.index(status) <= _ORDER.index(self.status):
                return False
            self.status = status
            if status == RUNNING:
                self.started = now
            if self.done:
                self.started, self.ended = self.started or now, now
            self._changed.notify_all()
            return True

    def resume(self) -> None:
        """Back to the queue: the node under it was taken away."""
        with self._changed:
            if not self.done and self.status != CANCEL_REQUESTED:
                self.status = QUEUED
                self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Waits until the run has ended, well or badly."""
        with self._changed:
            return self._changed.wait_for(lambda: self.done, timeout)

    def measure(self, name: str, value: Measured) -> None:
        with self._changed:
            self.metrics.setdefault(name, []).append(value)


class Runs:
    """The runs of a workspace, in the order of their making."""

    def __init__(self) -> None:
        self._known: dict[str, Run] = {}
        #: Finished steps by what they were made of, to be used again: see :mod:`labkit.cloud.azure.pipelines_reuse`.
        self.reusable: dict[str, Run] = {}
        self._experiments: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, run: Run) -> None:
        with self._lock:
            self._known[run.name] = run

    def get(self, name: str) -> Run | None:
        return self._known.get(name)

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._known.values())

    def children(self, name: str) -> list[Run]:
        """The runs directly below a run, the oldest first."""
        return [each for each in self.all() if each.parent == name]

    def below(self, name: str) -> Iterable[Run]:
        """The runs below a run, at any depth."""
        for each in self.children(name):
            yield each
            yield from self.below(each.name)

    def forget(self, name: str) -> None:
        """Forgets a run and those below it."""
        doomed = {name, *(each.name for each in self.below(name))}
        with self._lock:
            self._known = {key: run for key, run in self._known.items() if key not in doomed}
            self.reusable = {key: run for key, run in self.reusable.items() if run.name not in doomed}

    def experiment(self, name: str) -> str:
        """The id of the experiment of this name, which is made if need be."""
        with self._lock:
            return self._experiments.setdefault(name, str(uuid.uuid4()))

    def experiments(self) -> dict[str, str]:
        """The experiments' ids by name."""
        with self._lock:
            return dict(self._experiments)

    def close(self) -> None:
        """Stops whatever still runs."""
        for run in self.all():
            if not run.done and run.cancel is not None:
                run.cancel()
