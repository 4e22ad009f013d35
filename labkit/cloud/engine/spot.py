"""Spot capacity: machines that cost a fraction of their price and may be taken away with a notice.

What a spot machine costs, and when it is taken, is a model, not a market. It assumes that

* the price moves between 22 % and 38 % of the list price from hour to hour (the vendors say "up to 90 % off", and
  publish what it really is: https://aws.amazon.com/ec2/spot/instance-advisor/),
* a machine is taken away in one of twenty hours, and
* there is another one at once.

Both follow from the cloud, the machine type, the zone and the lab's time alone, so that a run can be repeated. A lab
that is to show an interruption does not wait for one: it calls :meth:`SpotRun.interrupt`.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from labkit.cloud.engine.clock import Clock, Due
from labkit.cloud.engine.jobs import Job

#: The share of the list price that a spot machine costs, and how far it goes up and down.
SHARE, SWING = 0.30, 0.08
#: In how many hours out of one a machine is taken away.
INTERRUPTED = 0.05
#: Seconds that a cloud gives between its notice and the end.
NOTICE = {"aws": 120, "azure": 30, "gcp": 30}
#: How long a job may take to save its work and end, in seconds of real time.
GRACE = 10.0

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Pool:
    """Machines of one type in one zone of a cloud."""

    cloud: str
    machine: str
    zone: str

    def share(self, at: datetime) -> float:
        """What a machine costs at a lab time, as a share of its list price."""
        return round(SHARE + SWING * (2 * self._draw("price", at) - 1), 4)

    def next_interruption(self, after: datetime) -> datetime:
        """When the next machine is taken away, in lab time."""
        hour = _hour(after)
        while True:
            if self._draw("taken", hour) < INTERRUPTED:
                when = hour + self._draw("when", hour) * _HOUR
                if when > after:
                    return when
            hour += _HOUR

    def _draw(self, what: str, at: datetime) -> float:
        """A number from 0 to below 1 that is the same for all of an hour."""
        text = f"{what} {self.cloud} {self.machine} {self.zone} {_hour(at).isoformat()}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


@dataclass(frozen=True)
class SpotOutcome:
    """How a run on spot capacity ended. ``state`` is the last job's, or that it would have waited too long.

    ``seconds`` are those in which a job ran, ``billable_seconds`` those of a machine at its list price that cost as
    much: SageMaker's ``TrainingTimeInSeconds`` and ``BillableTimeInSeconds``.
    """

    state: Literal["Succeeded", "Failed", "Stopped", "TimedOut", "WaitedTooLong"]
    job: Job
    interruptions: int
    seconds: float
    billable_seconds: float


class SpotRun:
    """Runs a job on spot capacity, and again after each interruption; safe to use from any thread.

    ``start(attempt)`` starts the job, from 1 on: from where it had got to is the job's own doing, with what it saved.
    ``warn(seconds)`` is called with the cloud's notice before a job is asked to end. After ``max_wait`` seconds of
    real time in all it is not started again.
    """

    def __init__(
        self,
        name: str,
        pool: Pool,
        clock: Clock,
        start: Callable[[int], Job],
        *,
        max_wait: float | None = None,
        warn: Callable[[int], None] = lambda _: None,
        grace: float = GRACE,
    ) -> None:
        self.name = name
        self.pool = pool
        self._clock = clock
        self._start = start
        self._max_wait = max_wait
        self._warn = warn
        self._grace = grace
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._interrupted = False
        self._stopped = False

    def run(self) -> SpotOutcome:
        """Runs until the job ends by itself, is stopped, or would have to wait too long; blocks."""
        began = time.monotonic()
        attempt, seconds, billable = 1, 0.0, 0.0
        while True:
            share = self.pool.share(self._clock.now())
            job = self._begin(attempt)
            due = self._interrupt_later(job)
            job.wait()
            due.cancel()
            seconds += job.seconds
            billable += job.seconds * share
            with self._lock:
                again = self._interrupted and not self._stopped and job.state == "Stopped"
            state = job.state
            if again and self._max_wait is not None and time.monotonic() - began >= self._max_wait:
                return SpotOutcome("WaitedTooLong", job, attempt, seconds, billable)
            if not again and state != "Running":
                return SpotOutcome(state, job, attempt - 1, seconds, billable)
            attempt += 1

    def interrupt(self) -> bool:
        """Takes the machine away now; False if no job runs on it."""
        job = self._job
        return job is not None and self._take(job)

    def stop(self) -> None:
        """Stops the job for good."""
        with self._lock:
            self._stopped = True
            job = self._job
        if job is not None:
            job.stop()

    def _begin(self, attempt: int) -> Job:
        job = self._start(attempt)
        with self._lock:
            self._job, self._interrupted = job, False
            stopped = self._stopped
        if stopped:
            job.stop()
        return job

    def _interrupt_later(self, job: Job) -> Due:
        def action() -> None:
            self._take(job)

        when = self.pool.next_interruption(self._clock.now())
        return self._clock.at(when, action, f"the spot machine of {self.name} is taken away")

    def _take(self, job: Job) -> bool:
        with self._lock:
            if job is not self._job or self._stopped or self._interrupted or job.wait(0):
                return False
            self._interrupted = True
        self._warn(NOTICE[self.pool.cloud])
        job.stop(self._grace)
        return True


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
