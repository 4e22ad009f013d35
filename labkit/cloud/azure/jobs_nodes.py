"""The nodes of a cluster: a job waits until one is free, and a node that is idle for long enough is given back.

https://learn.microsoft.com/azure/machine-learning/how-to-create-attach-compute-cluster
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import durations

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud
    from labkit.cloud.azure.jobs_commands import Command

#: Seconds between two looks whether a job that waits for a node was canceled.
LOOK_EVERY = 0.2
#: How long a node may be idle, where a cluster does not say it.
IDLE = timedelta(seconds=120)


class Nodes:
    """The nodes of one cluster; safe to use from any thread. ``now`` tells the lab's time."""

    def __init__(self, scale: dict[str, Any]) -> None:
        self._changed = threading.Condition()
        self._running = 0
        #: When each idle node became idle, in lab time.
        self._idle: list[datetime] = []
        self.scale = scale

    @property
    def most(self) -> int:
        return int(self.scale.get("maxNodeCount") or 1)

    @property
    def least(self) -> int:
        return int(self.scale.get("minNodeCount") or 0)

    def rescale(self, scale: dict[str, Any]) -> None:
        with self._changed:
            self.scale = scale
            self._changed.notify_all()

    def take(self, stop: threading.Event, now: datetime) -> bool:
        """Waits for a free node; False when the job was canceled meanwhile."""
        with self._changed:
            while self._running >= self.most:
                if stop.is_set():
                    return False
                self._changed.wait(LOOK_EVERY)
            self._prune(now)
            self._running += 1
            if self._idle:
                self._idle.pop()
            return True

    def give_back(self, now: datetime) -> None:
        with self._changed:
            self._running -= 1
            self._idle.append(now)
            self._changed.notify_all()

    def counts(self, now: datetime) -> dict[str, int]:
        """How many nodes are in which state."""
        with self._changed:
            self._prune(now)
            idle = max(len(self._idle), self.least - self._running)
            return {"runningNodeCount": self._running, "idleNodeCount": max(idle, 0)}

    def _prune(self, now: datetime) -> None:
        limit = durations.parse(self.scale.get("nodeIdleTimeBeforeScaleDown")) or IDLE
        self._idle = [since for since in self._idle if now - since < limit]


@contextlib.contextmanager
def node(cloud: AzureCloud, command: Command, stop: threading.Event) -> Iterator[bool]:
    """A node for a command while it runs: at once on serverless compute. False when it was canceled before."""
    nodes = command.compute.state if command.compute is not None else None
    if not isinstance(nodes, Nodes):
        yield not stop.is_set()
        return
    if not nodes.take(stop, cloud.engine.clock.now()):
        yield False
        return
    try:
        yield True
    finally:
        nodes.give_back(cloud.engine.clock.now())
