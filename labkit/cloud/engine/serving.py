"""Model serving: replicas in processes of their own, variants with weights, endpoints that switch without a gap.

What the clouds call an endpoint (SageMaker, Azure ML, Vertex AI) is here one :class:`Endpoint`: named variants (a
production variant, a deployment, a deployed model), each with a weight and some replicas of one :class:`ModelServer`.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.cloud.engine.errors import ModelFailed, NotFound, OfReplica, StartFailed, TimedOut, Unavailable
from labkit.cloud.engine.launcher import Launched, Launcher, Limits, ProcessSpec
from labkit.cloud.engine.replica import BEGUN, LARGEST_FRAME, pack, unpack

#: Seconds before a dead replica is started again: the first wait, and the longest one.
FIRST_WAIT, LONGEST_WAIT = 0.05, 30.0
#: A replica that has lived this long (seconds) is forgiven its earlier deaths.
FORGIVEN_AFTER = 60.0
#: Output lines that are kept of a replica, to say why it did not start.
TAIL = 40
#: How long a switch waits for requests that are still with the old variants (seconds).
DRAIN = 60.0


@dataclass(frozen=True)
class ModelServer:
    """How each replica of a variant is made.

    ``container`` is ``"package.module:Class"``, made in the replica's own process as ``Class(folder, **options)``. It
    has ``load() -> None``, which raises when the model cannot be loaded, and ``handle(headers, body) -> (status,
    headers, body)``, with header names in lower case. ``folder`` holds the unpacked model and is the working
    directory; ``env`` the replica's whole environment; ``output`` receives (replica id, line). Seconds.
    """

    container: str
    options: Mapping[str, Any]
    folder: Path
    env: Mapping[str, str]
    output: Callable[[str, str], None]
    start_timeout: float = 60.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class VariantSpec:
    """A variant as it is wanted."""

    name: str
    server: ModelServer
    replicas: int = 1
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class VariantState:
    """A variant as it is: ``healthy`` of ``replicas`` wanted ones can answer."""

    name: str
    weight: float
    replicas: int
    healthy: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica answered. ``model_seconds`` were spent in the container, ``total_seconds`` in the endpoint."""

    status: int
    headers: dict[str, str]
    body: bytes
    variant: str
    replica: str
    model_seconds: float
    total_seconds: float


class Endpoint:
    """Routes requests to variants by weight. Safe to use from any thread."""

    def __init__(self, name: str, launcher: Launcher) -> None:
        self.name = name
        self._launcher = launcher
        self._lock = threading.Lock()
        self._variants: dict[str, _Variant] = {}
        self._random = random.Random()

    def deploy(self, specs: Sequence[VariantSpec]) -> None:
        """Makes ``specs`` the endpoint's variants, all at once.

        Blocks until every new replica is ready, switches, then lets the old variants finish what they have begun.
        Raises :class:`StartFailed` when a replica does not start; then nothing has changed.
        """
        fresh: dict[str, _Variant] = {}
        try:
            for spec in specs:
                fresh[spec.name] = _Variant(self.name, spec, self._launcher)
            for variant in fresh.values():
                variant.wait_ready()
        except BaseException:
            for variant in fresh.values():
                variant.close()
            raise
        with self._lock:
            old, self._variants = self._variants, fresh
        for variant in old.values():
            variant.drain()

    def put(self, spec: VariantSpec) -> None:
        """Adds one variant, or replaces the one of its name; the others go on as they are.

        Blocks and raises as :meth:`deploy` does.
        """
        variant = _Variant(self.name, spec, self._launcher)
        try:
            variant.wait_ready()
        except BaseException:
            variant.close()
            raise
        with self._lock:
            old = self._variants.get(spec.name)
            self._variants[spec.name] = variant
        if old is not None:
            old.drain()

    def remove(self, name: str) -> None:
        """Takes a variant out, and stops it once it has finished what it has begun; raises :class:`NotFound`."""
        with self._lock:
            self._require({name: None})
            variant = self._variants.pop(name)
        variant.drain()

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Sets some variants' weights at once; the proportion of two weights is that of their traffic."""
        with self._lock:
            self._require(weights)
            for name, weight in weights.items():
                self._variants[name].weight = weight

    def scale(self, replicas: Mapping[str, int]) -> None:
        """Sets some variants' replica counts; blocks until new replicas are ready, raises :class:`StartFailed`."""
        with self._lock:
            self._require(replicas)
            variants = {self._variants[name]: count for name, count in replicas.items()}
        for variant, count in variants.items():
            variant.scale(count)

    def draw(self) -> str | None:
        """The name of a variant drawn by weight, for :meth:`invoke`; None when none takes traffic."""
        with self._lock:
            drawn = self._draw()
        return drawn.name if drawn else None

    def variants(self) -> list[VariantState]:
        with self._lock:
            return [variant.state() for variant in self._variants.values()]

    def invoke(
        self, headers: Mapping[str, str], body: bytes, *, variant: str | None = None, timeout: float = 60.0
    ) -> Answer:
        """Sends one request to a variant drawn by weight, or to the one named.

        ``timeout`` in seconds covers waiting for a replica and the model's own time. Raises :class:`NotFound` for an
        unknown variant, :class:`Unavailable` when none can be reached, :class:`TimedOut` (the replica is replaced),
        and :class:`ModelFailed` with status 502 when the replica's process died over the request. What the replica
        wrote about an error has reached its ``output`` by then.
        """
        started = time.perf_counter()
        with self._lock:
            chosen = self._choose(variant)
            chosen.enter()
        try:
            status, answered, answer, replica, seconds = chosen.call(dict(headers), body, started + timeout)
        except OfReplica as error:
            error.variant = chosen.name
            self._launcher.catch_up()
            raise
        finally:
            chosen.leave()
        if status >= 400:
            self._launcher.catch_up()
        return Answer(status, answered, answer, chosen.name, replica, seconds, time.perf_counter() - started)

    def close(self) -> None:
        """Stops every replica at once."""
        with self._lock:
            old, self._variants = self._variants, {}
        for variant in old.values():
            variant.close()

    def _require(self, names: Mapping[str, Any]) -> None:
        for name in names:
            if name not in self._variants:
                raise NotFound(f"Endpoint {self.name} has no variant {name}.")

    def _choose(self, name: str | None) -> _Variant:
        if name is not None:
            self._require({name: None})
            return self._variants[name]
        drawn = self._draw()
        if drawn is None:
            raise Unavailable(f"Endpoint {self.name} has no variant that takes traffic.")
        return drawn

    def _draw(self) -> _Variant | None:
        weighted = [variant for variant in self._variants.values() if variant.weight > 0]
        if len(weighted) < 2:
            return weighted[0] if weighted else None
        return self._random.choices(weighted, [variant.weight for variant in weighted])[0]


class _Variant:
    """Some replicas of one model server. A replica that dies is replaced."""

    def __init__(self, endpoint: str, spec: VariantSpec, launcher: Launcher) -> None:
        self.name = spec.name
        self.weight = spec.weight
        self._in_flight = 0
        self._endpoint = endpoint
        self._server = spec.server
        self._launcher = launcher
        self._changed = threading.Condition()
        self._idle: deque[_Replica] = deque()
        self._replicas: list[_Replica] = []
        self._wanted = spec.replicas
        self._deaths = 0
        self._closed = False
        self._numbers = itertools.count(1)
        try:
            for _ in range(spec.replicas):
                self._replicas.append(self._new())
        except StartFailed:
            self.close()
            raise

    def wait_ready(self) -> None:
        """Waits until every replica is ready, or raises :class:`StartFailed`."""
        with self._changed:
            waiting = [replica for replica in self._replicas if not replica.ready]
        for replica in waiting:
            self._await(replica)
            self._admit(replica)

    def scale(self, count: int) -> None:
        with self._changed:
            self._wanted = count
            surplus = self._replicas[count:]
            self._replicas = self._replicas[:count]
            for replica in surplus:
                if replica in self._idle:
                    self._idle.remove(replica)
                    replica.close()
                else:
                    replica.retired = True
            missing = count - len(self._replicas)
        added: list[_Replica] = []
        try:
            for _ in range(missing):
                added.append(self._new())
            for replica in added:
                self._await(replica)
        except StartFailed:
            for replica in added:
                replica.close()
            with self._changed:
                self._wanted = len(self._replicas)
            raise
        for replica in added:
            with self._changed:
                self._replicas.append(replica)
            self._admit(replica)

    def state(self) -> VariantState:
        with self._changed:
            healthy = sum(replica.ready for replica in self._replicas)
            return VariantState(self.name, self.weight, self._wanted, healthy)

    def call(
        self, headers: dict[str, str], body: bytes, deadline: float
    ) -> tuple[int, dict[str, str], bytes, str, float]:
        while True:
            replica = self._take(deadline)
            try:
                status, answered, answer, seconds = replica.call(headers, body, deadline)
            except _NotDelivered:
                self._lost(replica)
                continue
            except (TimedOut, ModelFailed) as error:
                error.replica = replica.id
                self._lost(replica)
                raise
            self._give_back(replica)
            return status, answered, answer, replica.id, seconds

    def enter(self) -> None:
        """Counts a request in, under the endpoint's lock: a switch that follows waits for it."""
        with self._changed:
            self._in_flight += 1

    def leave(self) -> None:
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def drain(self) -> None:
        """Stops once the requests that are under way have been answered."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight, DRAIN)
        self.close()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            replicas, self._replicas = self._replicas, []
            self._idle.clear()
            self._changed.notify_all()
        for replica in replicas:
            replica.close()

    def _new(self) -> _Replica:
        return _Replica(f"{self._endpoint}-{self.name}-{next(self._numbers)}", self._server, self._launcher)

    def _await(self, replica: _Replica) -> None:
        try:
            replica.wait_ready()
        except StartFailed as error:
            error.variant, error.replica = self.name, replica.id
            raise

    def _admit(self, replica: _Replica) -> None:
        with self._changed:
            if self._closed:
                replica.close()
                return
            self._idle.append(replica)
            self._changed.notify_all()
        replica.when_ended(lambda: self._lost(replica))

    def _take(self, deadline: float) -> _Replica:
        with self._changed:
            while not self._idle:
                if self._closed or not self._wanted:
                    raise Unavailable(f"Variant {self.name} of endpoint {self._endpoint} has no running replica.")
                left = deadline - time.perf_counter()
                if left <= 0:
                    if any(replica.ready for replica in self._replicas):
                        raise TimedOut(f"Every replica of variant {self.name} was busy until the request's limit.")
                    raise Unavailable(f"Variant {self.name} of endpoint {self._endpoint} has no healthy replica.")
                self._changed.wait(left)
            return self._idle.popleft()

    def _give_back(self, replica: _Replica) -> None:
        with self._changed:
            if replica.retired or self._closed:
                replica.close()
            elif replica.ready:
                self._idle.append(replica)
                self._changed.notify_all()

    def _lost(self, replica: _Replica) -> None:
        """Takes a replica out that died or was given up, and sees that another takes its place."""
        replica.close()
        with self._changed:
            if self._closed or replica not in self._replicas:
                return
            self._replicas.remove(replica)
            if replica in self._idle:
                self._idle.remove(replica)
            self._deaths = 0 if replica.age() > FORGIVEN_AFTER else self._deaths + 1
        threading.Thread(target=self._replace, name=f"replace-{replica.id}", daemon=True).start()

    def _replace(self) -> None:
        while True:
            wait = min(FIRST_WAIT * 2 ** max(self._deaths - 1, 0), LONGEST_WAIT)
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, wait) or len(self._replicas) >= self._wanted:
                    return
            try:
                replica = self._new()
                replica.wait_ready()
            except StartFailed:
                self._deaths += 1
                continue
            with self._changed:
                if self._closed or len(self._replicas) >= self._wanted:
                    replica.close()
                    return
                self._replicas.append(replica)
            self._admit(replica)
            return


class _NotDelivered(Exception):
    """The replica was dead before it could be given the request: another may have it."""


class _Replica:
    """One process with the model in it. Used by one request at a time."""

    def __init__(self, name: str, server: ModelServer, launcher: Launcher) -> None:
        self.id = name
        self.ready = False
        self.retired = False
        self._server = server
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._born = time.monotonic()
        spec = ProcessSpec(
            name=name,
            target="labkit.cloud.engine.replica:serve",
            args=(server.container, dict(server.options), str(server.folder)),
            env=server.env,
            folder=server.folder,
            output=self._output,
            limits=server.limits,
        )
        try:
            self._process: Launched = launcher.start(spec)
        except OSError as error:
            raise StartFailed(f"Replica {name} could not be started: {error}.") from error

    def age(self) -> float:
        return time.monotonic() - self._born

    def when_ended(self, action: Callable[[], None]) -> None:
        self._process.when_ended(action)

    def wait_ready(self) -> None:
        channel = self._process.channel
        left = self._server.start_timeout - self.age()
        try:
            if not channel.poll(max(left, 0.0)):
                raise self._not_started(f"was not ready within {self._server.start_timeout:g} s")
            head, _ = unpack(channel.recv_bytes(LARGEST_FRAME))
        except (EOFError, OSError, ValueError):
            code = self._process.wait(2.0)
            raise self._not_started(f"ended while it was loading the model, with exit code {code}") from None
        if "failed" in head:
            raise self._not_started(f"could not load the model: {head['failed']}")
        self.ready = True

    def call(self, headers: dict[str, str], body: bytes, deadline: float) -> tuple[int, dict[str, str], bytes, float]:
        channel = self._process.channel
        try:
            channel.send_bytes(pack({"headers": headers}, body))
            begun = self._receive(deadline)
        except (EOFError, OSError):
            raise _NotDelivered from None
        if begun != BEGUN:
            raise ModelFailed(f"Replica {self.id} wrote into its own channel.", status=502)
        try:
            head, answer = unpack(self._receive(deadline))
            return int(head["status"]), dict(head["headers"]), answer, float(head["seconds"])
        except (EOFError, OSError, ValueError, KeyError, TypeError):
            raise ModelFailed(
                f"The process of replica {self.id} ended while it handled the request.", status=502
            ) from None

    def _receive(self, deadline: float) -> bytes:
        if not self._process.channel.poll(max(deadline - time.perf_counter(), 0.0)):
            raise TimedOut(f"Replica {self.id} did not answer within the request's limit.")
        return self._process.channel.recv_bytes(LARGEST_FRAME)

    def close(self) -> None:
        self.ready = False
        self._process.kill()

    def _output(self, line: str) -> None:
        self._tail.append(line)
        self._server.output(self.id, line)

    def _not_started(self, what: str) -> StartFailed:
        # The output is read by another thread: the process has to be gone before its last lines are all there.
        self.close()
        self._process.wait(2.0)
        return StartFailed(f"Replica {self.id} {what}.", log_tail="\n".join(self._tail))
