"""Functions as a service: a learner's handler in processes of its own, started when an event comes, kept warm after.

An instance answers one event at a time. An event takes a warm instance, or starts one (a cold start); when as many run
as may, it is turned away. An instance that takes too long, needs too much memory or ends is gone, and the next event
starts another: what the vendors document of AWS Lambda, Azure Functions and Cloud Run functions alike.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from labkit.cloud.engine import mounts
from labkit.cloud.engine.errors import Throttled, Unavailable
from labkit.cloud.engine.launcher import Launched, Launcher, ProcessSpec
from labkit.cloud.engine.replica import LARGEST_FRAME, pack, unpack

#: Seconds between two looks at how much memory a running instance uses.
LOOK_EVERY = 0.1
#: Seconds in which the exit code of an instance that has left the conversation must have come.
EXIT = 10.0
#: Seconds after which an instance that nothing asked is ended, at the next event of its function.
KEPT_WARM = 600.0

Ending = Literal["succeeded", "failed", "init_failed", "init_timed_out", "timed_out", "out_of_memory", "exited"]


@dataclass(frozen=True)
class FunctionSpec:
    """How each instance of a function is made.

    ``adapter`` is ``"package.module:Class"``, made in the instance's process as ``Class(folder, **options)``. Its
    ``load()`` prepares the handler and returns None, or the body of the error with which the event is answered; its
    ``handle(head, body)`` returns whether the handler succeeded, and the answer's body. ``env`` is the whole
    environment for an instance with the given id, ``memory_mb`` what an instance may use of its own, ``timeout`` the
    seconds that an event may take, ``most`` how many instances may run at once. ``output`` receives an instance's id
    and a line that it wrote. ``mounts`` are absolute paths under which an instance sees real folders, where the system
    allows private mounts (:mod:`labkit.cloud.engine.mounts`); it then works in ``folder`` by that path.
    """

    name: str
    adapter: str
    options: Mapping[str, Any]
    folder: Path
    env: Callable[[str], Mapping[str, str]]
    output: Callable[[str, str], None]
    timeout: float
    memory_mb: int
    most: int
    start_timeout: float = 10.0
    mounts: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one event ended: times in seconds, memory in MiB. ``init_seconds`` is None on a warm instance.

    ``body`` is the handler's answer or error; it is empty when the process did not live to give one, whose
    ``exit_code`` is then set where it ended by itself.
    """

    ending: Ending
    instance: str
    body: bytes = b""
    seconds: float = 0.0
    init_seconds: float | None = None
    memory_mb: int = 0
    exit_code: int | None = None


@dataclass(eq=False)
class Instance:
    """One process of a function."""

    id: str
    process: Launched
    idle_since: float = 0.0
    memory_mb: int = 0
    init_seconds: float | None = None
    forked_with: int | None = None


class Function:
    """A function's instances; safe to use from any thread."""

    def __init__(self, spec: FunctionSpec, launcher: Launcher) -> None:
        self.spec = spec
        self._launcher = launcher
        self._lock = threading.Lock()
        self._idle: list[Instance] = []
        self._all: set[Instance] = set()
        self._busy = 0
        self._closed = False

    def invoke(
        self, head: Mapping[str, Any], body: bytes, began: Callable[[str, float | None], None] = lambda *_: None
    ) -> Outcome:
        """Has an instance answer one event; ``head`` is plain data for the adapter.

        ``began`` is called with the instance's id, and the seconds its start took if it was started for this event,
        before the event is handed over. Raises :class:`Throttled` when all instances that may run are busy, and
        :class:`Unavailable` when the function has been replaced or the system starts no process.
        """
        with self._lock:
            if self._closed:
                raise Unavailable(f"The function {self.spec.name} is gone.")
            if self._busy >= self.spec.most:
                raise Throttled(f"All {self.spec.most} instances of the function {self.spec.name} are busy.")
            self._busy += 1
            instance = self._warm()
        try:
            if instance is None:
                started = self._start()
                if isinstance(started, Outcome):
                    return started
                instance = started
            began(instance.id, instance.init_seconds)
            outcome = self._ask(instance, head, body)
            self._launcher.catch_up()
            instance.init_seconds = None
            if outcome.ending in ("succeeded", "failed"):
                self._give_back(instance)
            else:
                self._end(instance)
            return outcome
        finally:
            with self._lock:
                self._busy -= 1

    @property
    def busy(self) -> int:
        """How many events are being answered."""
        return self._busy

    def retire(self) -> None:
        """Ends the instances, those that answer an event after they have: the function has been replaced."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for instance in idle:
            self._end(instance)

    def close(self) -> None:
        """Ends every instance at once."""
        self.retire()
        with self._lock:
            instances = list(self._all)
        for instance in instances:
            self._end(instance)

    def _warm(self) -> Instance | None:
        """A warm instance, the last used first; those that have waited too long are ended."""
        oldest = time.monotonic() - KEPT_WARM
        for instance in [each for each in self._idle if each.idle_since < oldest]:
            self._idle.remove(instance)
            self._all.discard(instance)
            instance.process.kill()
        while self._idle:
            instance = self._idle.pop()
            if instance.process.alive():
                return instance
            self._all.discard(instance)
        return None

    def _give_back(self, instance: Instance) -> None:
        with self._lock:
            if not self._closed:
                instance.idle_since = time.monotonic()
                self._idle.append(instance)
                return
        self._end(instance)

    def _end(self, instance: Instance) -> None:
        with self._lock:
            self._all.discard(instance)
        instance.process.kill()

    def _start(self) -> Instance | Outcome:
        spec, id = self.spec, uuid4().hex
        begun = time.monotonic()
        try:
            process = self._launcher.start(
                ProcessSpec(
                    name=spec.name[:15],
                    target="labkit.cloud.engine.function_worker:serve",
                    args=(
                        spec.adapter,
                        dict(spec.options),
                        str(mounts.seen(spec.folder, spec.mounts)),
                        {path: str(folder) for path, folder in spec.mounts.items()},
                    ),
                    env=spec.env(id),
                    folder=spec.folder,
                    output=lambda line: spec.output(id, line),
                )
            )
        except OSError as error:
            raise Unavailable(f"A process of the function {spec.name} could not be started: {error}.") from error
        instance = Instance(id, process)
        with self._lock:
            self._all.add(instance)
        self._look(instance, alone=True)
        ending, head, body = self._await(instance, begun + spec.start_timeout)
        seconds = time.monotonic() - begun
        instance.init_seconds = seconds
        # What it wrote as it was loaded comes before what is told of the event.
        self._launcher.catch_up()
        if ending is None and head.get("ready"):
            return instance
        code = process.wait(EXIT) if ending == "exited" else None
        self._end(instance)
        if ending is None:
            ending = "init_failed"
        elif ending == "timed_out":
            ending = "init_timed_out"
        return Outcome(ending, id, body, 0.0, seconds, instance.memory_mb, code)

    def _ask(self, instance: Instance, head: Mapping[str, Any], body: bytes) -> Outcome:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            # A process that has just ended is found out below.
            instance.process.channel.send_bytes(pack(dict(head), body))
        ending, answer, content = self._await(instance, begun + self.spec.timeout)
        seconds = time.monotonic() - begun
        if ending is None:
            ending = "succeeded" if answer.get("succeeded") else "failed"
            self._look(instance, alone=True)
        code = instance.process.wait(EXIT) if ending == "exited" else None
        return Outcome(ending, instance.id, content, seconds, instance.init_seconds, instance.memory_mb, code)

    def _await(self, instance: Instance, deadline: float) -> tuple[Ending | None, dict[str, Any], bytes]:
        """What the instance says next; with how it ended if it came to say nothing."""
        channel = instance.process.channel
        while True:
            left = deadline - time.monotonic()
            try:
                if channel.poll(max(min(left, LOOK_EVERY), 0.0)):
                    return None, *unpack(channel.recv_bytes(LARGEST_FRAME))
            except (EOFError, OSError, ValueError):
                return "exited", {}, b""
            if left <= 0:
                return "timed_out", {}, b""
            if self._look(instance) > self.spec.memory_mb:
                return "out_of_memory", {}, b""

    def _look(self, instance: Instance, *, alone: bool = False) -> int:
        """The MiB that an instance, with its children unless ``alone``, has taken since it was forked.

        To find its children, all processes of the machine are looked through: not after every short event.
        """
        import psutil

        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(instance.process.pid)
            used = _own_memory(process)
            if instance.forked_with is None:
                instance.forked_with = used
            taken = used - instance.forked_with
            if not alone:
                taken += sum(_own_memory(child) for child in process.children(recursive=True))
            now = max(math.ceil(taken / 1024**2), 1)
            instance.memory_mb = max(instance.memory_mb, now)
            return now
        return 0


def _own_memory(process: Any) -> int:
    """The bytes of a process that no file and no other process shares, what it was forked with included."""
    memory = process.memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))
