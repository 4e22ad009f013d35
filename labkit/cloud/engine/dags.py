"""Runs a graph of steps, each when what it depends on has ended: a pipeline's steps, a pipeline job's, a run's tasks.

A step is a :class:`Node`: a function that does the work and returns when it is done. Conditions, loops and sub-graphs
are nodes too: a node may have others skipped, add others while the graph runs, and contain others.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.errors import CloudError, Conflict, Invalid, NotFound

#: The longest wait between two attempts, in seconds of real time: a lab does not wait as a cloud would.
LONGEST_WAIT = 2.0

Status = Literal["Waiting", "Running", "Succeeded", "Failed", "Skipped", "Stopped", "NotRun"]
#: When a node's turn comes, once all that it is ``after`` has ended: if all succeeded (what depends on a skipped node
#: is skipped), if none failed and one succeeded (a join of branches), or in any case (an exit handler).
Trigger = Literal["all_succeeded", "none_failed", "all_done"]


@dataclass(frozen=True)
class Done:
    """How a node's work ended well. ``skip`` names nodes that are not to run; what depends on them is skipped too.

    ``skipped`` is for the node itself: it is shown as skipped, with all that it contains. ``cached`` says that an
    earlier result was taken, and ``value`` is whatever the dialect wants to find again.
    """

    skip: Collection[str] = ()
    skipped: bool = False
    cached: bool = False
    value: Any = None


@dataclass(frozen=True)
class Retry:
    """When a failed attempt is made again: ``again(error, attempt)`` gives the seconds to wait before, or None.

    ``attempt`` is 1 after the first. No wait is longer than ``LONGEST_WAIT``.
    """

    again: Callable[[Exception, int], float | None]


class Attempt:
    """One run of a node's work: its ``number``, from 1, and how the work learns that it is to stop."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = threading.Lock()
        self._stopping = False
        self._actions: list[Callable[[], None]] = []

    @property
    def stopping(self) -> bool:
        return self._stopping

    def on_stop(self, action: Callable[[], None]) -> None:
        """Has ``action`` called when the graph is stopped, at once if it has been: a job's ``stop``."""
        with self._lock:
            if not self._stopping:
                self._actions.append(action)
                return
        action()

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            actions, self._actions = self._actions, []
        for action in actions:
            action()


@dataclass(frozen=True)
class Node:
    """A step. ``run`` does the work in a thread of its own and returns; an exception is a failure.

    ``after`` names the nodes that it depends on. A node that others are ``within`` runs before them, and goes on until
    they have ended; it has failed if one of them has. It takes no part in what ``parallelism`` counts by then. Of the
    nodes directly within it ``at_once`` run at the same time: the turns of a loop.
    """

    name: str
    run: Callable[[Attempt], Done | None]
    after: Collection[str] = ()
    within: str | None = None
    trigger: Trigger = "all_succeeded"
    retry: Retry | None = None
    at_once: int | None = None


@dataclass(frozen=True)
class NodeState:
    """A node as it is. Times are lab time; ``error`` is one sentence, ``exception`` what ``run`` raised last."""

    name: str
    status: Status
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    error: str = ""
    exception: Exception | None = None
    done: Done | None = None


@dataclass
class _Run:
    """A node in a graph that runs."""

    node: Node
    status: Status = "Waiting"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    exception: Exception | None = None
    error: str = ""
    done: Done | None = None
    working: Attempt | None = None
    skip: bool = False
    inside: list[_Run] = field(default_factory=list)
    busy: int = 0  # how many of those inside run

    @property
    def ended(self) -> bool:
        return self.status not in ("Waiting", "Running")

    def state(self) -> NodeState:
        return NodeState(
            self.node.name,
            self.status,
            self.started_at,
            self.ended_at,
            self.attempts,
            self.error,
            self.exception,
            self.done,
        )


class Dag:
    """A graph that runs once; safe to use from any thread. It is a :class:`~labkit.cloud.engine.clock.Work`.

    At most ``parallelism`` nodes work at once. After a failure, ``fail_fast`` starts no other node (those that run go
    on, exit handlers run); else all that does not depend on the failed one runs. ``on_change`` is told every change of
    a node, in order and one at a time.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        clock: Clock,
        *,
        name: str = "dag",
        parallelism: int | None = None,
        fail_fast: bool = False,
        on_change: Callable[[NodeState], None] = lambda _: None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._parallelism = parallelism
        self._fail_fast = fail_fast
        self._on_change = on_change
        self._lock = threading.RLock()
        self._telling = threading.RLock()
        self._news: deque[NodeState] = deque()
        self._runs: dict[str, _Run] = {}
        self._open: dict[str, _Run] = {}  # those that have not ended
        self._failed = False
        self._started = False
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._when_ended: list[Callable[[Dag], None]] = []
        self.add(nodes)

    def start(self) -> Dag:
        """Starts the nodes whose turn it is; returns at once."""
        with self._lock:
            self._started = True
        self._go_on()
        return self

    def add(self, nodes: Iterable[Node]) -> None:
        """Adds nodes, also while the graph runs: the turns of a loop, from the node that they are within.

        Raises :class:`Invalid` for a name that is taken or unknown and for a circle, and :class:`Conflict` once the
        graph has ended.
        """
        with self._lock:
            if self._ended.is_set():
                raise Conflict(f"{self.name} has ended: nothing can be added to it.")
            given = list(nodes)
            fresh = {node.name: _Run(node) for node in given}
            if len(fresh) < len(given) or not fresh.keys().isdisjoint(self._runs):
                raise Invalid(f"Two steps of {self.name} have the same name.")
            _check(self.name, self._runs.keys() | fresh.keys(), {**self._open, **fresh})
            self._runs |= fresh
            self._open |= fresh
            for run in fresh.values():
                if run.node.within is not None:
                    self._runs[run.node.within].inside.append(run)
                self._note(run)
        self._go_on()

    def stop(self) -> None:
        """Starts no other node and asks those that work to stop; returns at once."""
        with self._lock:
            self._stop.set()
            working = [run.working for run in self._runs.values() if run.working is not None]
        for attempt in working:
            attempt.stop()
        self._go_on()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits up to ``timeout`` seconds; returns whether every node has ended and every change has been told."""
        return self._ended.wait(timeout)

    def when_ended(self, action: Callable[[Dag], None]) -> None:
        """Calls ``action`` from the thread of the last node when all have ended; at once if they have."""
        with self._lock:
            if not self._ended.is_set():
                self._when_ended.append(action)
                return
        action(self)

    @property
    def status(self) -> Literal["Running", "Succeeded", "Failed", "Stopped"]:
        """How it goes as a whole. It is stopped if it was asked to and something did not run to its end for it."""
        with self._lock:
            found = {run.status for run in self._runs.values()}
            if not self._ended.is_set():
                return "Running"
            if self._stop.is_set() and found & {"Stopped", "NotRun"}:
                return "Stopped"
            return "Failed" if "Failed" in found else "Succeeded"

    def states(self) -> dict[str, NodeState]:
        """Every node as it is, in the order of adding."""
        with self._lock:
            return {name: run.state() for name, run in self._runs.items()}

    def state(self, name: str) -> NodeState:
        """One node as it is; raises :class:`NotFound`."""
        with self._lock:
            if name not in self._runs:
                raise NotFound(f"{self.name} has no step {name}.")
            return self._runs[name].state()

    def _go_on(self) -> None:
        """Ends and starts what can be, until nothing changes, and tells it."""
        with self._lock:
            changed = self._started
            while changed:
                changed = False
                for run in list(self._open.values()):
                    changed |= self._settle(run)
            over = self._started and not self._open
        self._tell()
        if over:
            self._end()

    def _settle(self, run: _Run) -> bool:
        """Moves one node on if its turn has come; returns whether that changed anything."""
        if run.status == "Running":
            if run.working is not None or not all(each.ended for each in run.inside):
                return False
            self._finish(run, self._of_inside(run))
            return True
        verdict = self._verdict(run)
        if verdict is None:
            return False
        if verdict == "Running":
            return self._begin(run)
        self._finish(run, verdict)
        return True

    def _verdict(self, run: _Run) -> Status | None:
        """What becomes of a waiting node now; None if it has to wait on."""
        node = run.node
        if run.skip:
            return "Skipped"
        if node.within is not None:
            group = self._runs[node.within]
            if group.ended:
                return "Skipped" if group.status == "Skipped" else "NotRun"
            if group.status == "Waiting" or group.working is not None:
                return None
            if group.node.at_once is not None and group.busy >= group.node.at_once:
                return None
        if self._stop.is_set():
            return "NotRun"
        before = [self._runs[name].status for name in node.after]
        if any(status in ("Waiting", "Running") for status in before):
            return None
        if node.trigger == "all_done":
            return "Running"
        if any(status not in ("Succeeded", "Skipped") for status in before):
            return "NotRun"
        if "Skipped" in before and (node.trigger == "all_succeeded" or "Succeeded" not in before):
            return "Skipped"
        return "NotRun" if self._failed and self._fail_fast else "Running"

    def _of_inside(self, run: _Run) -> Status:
        inside = {each.status for each in run.inside}
        if "Failed" in inside:
            failed = next(each for each in run.inside if each.status == "Failed")
            run.error, run.exception = f"{failed.node.name} failed: {failed.error}", failed.exception
            return "Failed"
        return "Stopped" if inside & {"Stopped", "NotRun"} else "Succeeded"

    def _begin(self, run: _Run) -> bool:
        if self._parallelism is not None:
            working = sum(each.working is not None for each in self._open.values())
            if working >= self._parallelism:
                return False
        if run.node.within is not None:
            self._runs[run.node.within].busy += 1
        run.status, run.started_at = "Running", self._clock.now()
        run.attempts, run.working = 1, Attempt(1)
        self._note(run)
        threading.Thread(target=self._work, args=(run,), name=f"{self.name}: {run.node.name}", daemon=True).start()
        return True

    def _work(self, run: _Run) -> None:
        """The thread of a node: its attempts, and what follows from how the last one ended."""
        while True:
            attempt = run.working
            assert attempt is not None
            done, error = None, None
            try:
                done = run.node.run(attempt) or Done()
                for name in done.skip:
                    self.state(name)
            except Exception as failure:
                error = failure
            if error is None or not self._once_more(run, attempt, error):
                break
        with self._lock:
            run.working = None
            run.done, run.exception = done, error
            if error is not None:
                run.error = error.message if isinstance(error, CloudError) else f"{type(error).__name__}: {error}"
                self._finish(run, "Stopped" if self._stop.is_set() else "Failed")
            elif done is not None:
                for name in done.skip:
                    self._runs[name].skip = True
                if done.skipped:
                    self._finish(run, "Skipped")
        self._go_on()

    def _once_more(self, run: _Run, attempt: Attempt, error: Exception) -> bool:
        wait = run.node.retry.again(error, attempt.number) if run.node.retry and not attempt.stopping else None
        if wait is None or self._stop.wait(min(wait, LONGEST_WAIT)):
            return False
        with self._lock:
            if self._stop.is_set():
                return False
            run.attempts += 1
            run.working = Attempt(run.attempts)
            run.error = f"{type(error).__name__}: {error}"
            self._note(run)
        self._tell()
        return True

    def _finish(self, run: _Run, status: Status) -> None:
        run.status = status
        self._failed |= status == "Failed"
        del self._open[run.node.name]
        if run.started_at is not None:
            run.ended_at = self._clock.now()
            if run.node.within is not None:
                self._runs[run.node.within].busy -= 1
        if status == "Succeeded":
            run.error, run.exception = "", None
        self._note(run)

    def _note(self, run: _Run) -> None:
        self._news.append(run.state())

    def _tell(self) -> None:
        with self._telling:
            while self._news:
                try:
                    self._on_change(self._news.popleft())
                except Exception:
                    # A listener's defect must not keep the other nodes from running; it goes to the server's log.
                    traceback.print_exc()

    def _end(self) -> None:
        with self._telling, self._lock:
            if self._ended.is_set() or self._open:
                return
            self._ended.set()
            actions, self._when_ended = self._when_ended, []
        for action in actions:
            action(self)


def _check(name: str, known: Collection[str], runs: dict[str, _Run]) -> None:
    """Raises :class:`Invalid` where a node depends on one that is not ``known``, or on itself.

    ``runs`` are those that have not ended: one that has is part of no circle.
    """
    graph: TopologicalSorter[tuple[str, str]] = TopologicalSorter()
    for run in runs.values():
        node = run.node
        for other in (*node.after, *([node.within] if node.within is not None else [])):
            if other not in known:
                raise Invalid(f"The step {node.name} of {name} depends on {other}, which there is not.")
        # A node that others are within begins before them and ends after them.
        graph.add((node.name, "ends"), (node.name, "begins"))
        graph.add((node.name, "begins"), *((other, "ends") for other in node.after))
        if node.within is not None:
            graph.add((node.name, "begins"), (node.within, "begins"))
            graph.add((node.within, "ends"), (node.name, "ends"))
    try:
        graph.prepare()
    except CycleError as circle:
        names = dict.fromkeys(node for node, _ in circle.args[1])
        raise Invalid(f"Steps of {name} depend on each other in a circle: {', '.join(names)}.") from None
