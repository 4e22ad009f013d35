"""The lab's time: one clock that runs in real time and can be advanced.

Resource timestamps, metrics, logs and schedules use it. TLS, tokens, signatures and signed URLs use the machine's
time; durations and limits use the monotonic clock, here as everywhere.
"""

from __future__ import annotations

import heapq
import itertools
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from labkit.cloud.engine.errors import CloudError, Conflict, Invalid, LimitExceeded, TimedOut, Unavailable

#: Firings that one advance allows, and that :meth:`Clock.firings` remembers.
FIRINGS = 1_000
#: How long an advance waits for one thing that it started, in seconds, unless the clock was made with another limit.
PATIENCE = 900.0
#: The longest single advance.
LONGEST_ADVANCE = timedelta(days=3660)
#: How far from the machine's now a timestamp may be and still mean "now".
NEARBY = timedelta(minutes=5)
#: Seconds between two progress lines about the same thing.
REPORT_EVERY = 5.0
#: The driver looks at the machine's time at least this often (seconds): it may have been set, or the machine asleep.
LOOK_EVERY = 30.0

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)")


def iso_milliseconds(when: datetime) -> str:
    """A time as APIs write it: ``2026-01-31T12:00:00.000Z``."""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


class Work(Protocol):
    """Something that was started and goes on: a pipeline's execution, a job, a function's run."""

    def wait(self, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds of real time; returns whether the work has finished, well or badly."""


#: What happens at an instant. It starts things and returns at once; what goes on after that, it returns.
Action = Callable[[], Work | None]


@dataclass(frozen=True, slots=True)
class Firing:
    """One thing that became due. ``at`` is the instant it was due at; ``error`` what went wrong, or ``""``."""

    at: datetime
    name: str
    error: str = ""


@dataclass(slots=True, order=True)
class Due:
    """Something that will happen at a lab time. Those due at the same instant fire in the order of scheduling."""

    at: datetime
    _number: int = field(repr=False)
    name: str = field(compare=False)
    _action: Action = field(compare=False, repr=False)
    _clock: Clock = field(compare=False, repr=False)

    def cancel(self) -> bool:
        """Takes it back. False if it has fired already, or had been taken back."""
        return self._clock._cancel(self)


class Clock:
    """Lab time and what is due in it; safe to use from any thread.

    ``patience`` is how many seconds of real time an advance waits for each thing it started.
    """

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._changed = threading.Condition()
        self._offset = 0  # Of the lab's time to the machine's, in microseconds. Integers, so that instants are exact.
        self._latest = 0
        self._due: list[Due] = []
        self._numbers = itertools.count()
        self._fired: deque[Firing] = deque(maxlen=FIRINGS)
        self._going_on: list[tuple[str, Work]] = []
        self._driver: threading.Thread | None = None
        self._firing = False
        self._advancing = False
        self._closed = False

    def now(self) -> datetime:
        """The lab's time, aware, in UTC."""
        return EPOCH + timedelta(microseconds=self._microseconds())

    def time(self) -> float:
        """The lab's time in seconds since 1970, as :func:`time.time` gives the machine's."""
        return self._microseconds() / 1e6

    @property
    def offset(self) -> timedelta:
        """How far the lab's time is ahead of the machine's."""
        return timedelta(microseconds=self._offset)

    def at(self, when: datetime, action: Action, name: str) -> Due:
        """Has ``action`` called at lab time ``when``; at once if that is past.

        Actions are called one at a time. As time passes by itself, nothing waits for the work that they return.
        """
        due = Due(utc(when), next(self._numbers), name, action, self)
        with self._changed:
            if self._closed:
                raise Unavailable(f"{name} cannot be scheduled: the clouds are being stopped.")
            heapq.heappush(self._due, due)
            if self._driver is None:
                self._driver = threading.Thread(target=self._drive, name="clock", daemon=True)
                self._driver.start()
            self._changed.notify_all()
        return due

    def after(self, delay: timedelta, action: Action, name: str) -> Due:
        """Has ``action`` called when ``delay`` of lab time has passed."""
        return self.at(self.now() + delay, action, name)

    def firings(self) -> list[Firing]:
        """The last things that fired, by themselves or in an advance, the oldest first."""
        with self._changed:
            return list(self._fired)

    def advance(self, by: timedelta, progress: Callable[[str], None] | None = None) -> list[Firing]:
        """Lets ``by`` of lab time pass, and returns what fired, in order.

        At each thing due the lab's now becomes that instant (it is later only if what went before took longer), the
        thing is started, and the clock goes on when it has finished. What is scheduled on the way takes its turn. A
        thing that fails, or that does not finish within ``patience``, stops nothing: its :class:`Firing` says so.
        While something works, the clock runs: its timestamps show how long it took.

        ``progress`` gets lines for people. If it raises, the advance ends where it is.

        Raises :class:`Invalid` for a length that is not positive or beyond ``LONGEST_ADVANCE``, :class:`Conflict`
        while another advance is under way or from an action, :class:`TimedOut` when what is being started as time
        passes does not return, and :class:`LimitExceeded` in place of firing number 1,001: the clock then stands at
        the thousandth, and what was due after it still is.
        """
        if not timedelta(0) < by <= LONGEST_ADVANCE:
            raise Invalid(f"The clock can be advanced by more than 0 s and at most {LONGEST_ADVANCE.days} days.")
        report = progress or _silent
        with self._changed:
            if self._advancing or threading.current_thread() is self._driver:
                raise Conflict("The clock is being advanced already; try again when that has finished.")
            self._advancing = True
        try:
            with self._changed:
                # An action that the driver is in the middle of belongs to the time before.
                if not self._changed.wait_for(lambda: not self._firing, self.patience):
                    raise TimedOut(f"Something that became due has not been started after {self.patience:g} s.")
                going_on, self._going_on = self._going_on, []
            for name, work in going_on:
                self._finish(name, work, report)
            target = self.now() + by
            fired: list[Firing] = []
            while (due := self._pop(target, len(fired))) is not None:
                self._reach(due.at)
                report(f"{due.at:%Y-%m-%d %H:%M:%S} UTC  {due.name}")
                fired.append(self._fire(due, report))
            self._reach(target)
            return fired
        finally:
            with self._changed:
                self._advancing = False
                self._changed.notify_all()

    def window(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """The stretch of lab time that a client means by ``start`` and ``end``, aware, in UTC.

        A client that asks about "the last hour" takes the end from its machine's clock. Once the clock has been
        advanced, an end that is near the machine's now (and nearer to it than to the lab's) means the lab's now, and
        the start moves with it. Any other window is lab time already. Datetimes without a zone are in UTC.
        """
        start, end = utc(start), utc(end)
        now = self.now()
        from_machine = abs(end - (now - self.offset))
        shift = self.offset if from_machine <= NEARBY and from_machine < abs(end - now) else timedelta(0)
        return start + shift, end + shift

    def instant(self, when: datetime) -> datetime:
        """The lab time that a client means by a timestamp: near the machine's now it means the lab's."""
        return self.window(when, when)[1]

    def close(self) -> None:
        """Stops the clock's thread and an advance that is under way. What was due stays undone."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify_all()

    def _microseconds(self) -> int:
        with self._changed:
            now = time.time_ns() // 1_000 + self._offset
            if now < self._latest:
                # The machine's clock was set back. The lab's goes on from where it was.
                self._offset += self._latest - now
                now = self._latest
            self._latest = now
            return now

    def _reach(self, when: datetime) -> None:
        with self._changed:
            self._offset += max((when - EPOCH) // _MICROSECOND - self._microseconds(), 0)

    def _cancel(self, due: Due) -> bool:
        with self._changed:
            if due not in self._due:
                return False
            self._due.remove(due)
            heapq.heapify(self._due)
            return True

    def _pop(self, target: datetime, fired: int) -> Due | None:
        with self._changed:
            if self._closed:
                raise Unavailable("The clouds were stopped while the clock was being advanced.")
            if not self._due or self._due[0].at > target:
                return None
            if fired >= FIRINGS:
                raise LimitExceeded(
                    f"The advance stopped at {self.now():%Y-%m-%d %H:%M:%S} UTC after {fired:,} firings, the most that "
                    f"one allows, with {self._due[0].name} due next: advance in shorter steps, or fire it less often."
                )
            return heapq.heappop(self._due)

    def _fire(self, due: Due, report: Callable[[str], None] | None) -> Firing:
        """Calls the action; waits for its work in an advance (``report``), else leaves it to go on."""
        try:
            work = due._action()
            error = ""
        except Exception as failure:
            work, error = None, _sentence(failure)
        if work is not None and report is not None:
            error = self._finish(due.name, work, report)
        elif work is not None:
            with self._changed:
                self._going_on = [(name, other) for name, other in self._going_on if not other.wait(0)]
                self._going_on.append((due.name, work))
        if error and report is not None:
            report(f"{due.name} failed: {error}")
        firing = Firing(due.at, due.name, error)
        with self._changed:
            self._fired.append(firing)
        return firing

    def _finish(self, name: str, work: Work, report: Callable[[str], None]) -> str:
        began = time.monotonic()
        told = 0.0
        while True:
            spent = time.monotonic() - began
            if self._closed:
                raise Unavailable("The clouds were stopped while the clock was being advanced.")
            if spent - told >= REPORT_EVERY:
                told = spent
                report(f"{name} has been running for {spent:.0f} s")
            try:
                if work.wait(max(min(1.0, self.patience - spent), 0.0)):
                    return ""
            except Exception as failure:
                return _sentence(failure)
            if spent >= self.patience:
                return f"It had not finished after {self.patience:g} s and was left to go on."

    def _drive(self) -> None:
        """Fires what becomes due as real time passes."""
        while True:
            with self._changed:
                while self._advancing or not self._due or self._due[0].at > self.now():
                    if self._closed:
                        return
                    wait = None
                    if self._due and not self._advancing:
                        wait = min((self._due[0].at - self.now()).total_seconds(), LOOK_EVERY)
                    self._changed.wait(wait)
                due = heapq.heappop(self._due)
                self._firing = True
            try:
                self._fire(due, None)
            finally:
                with self._changed:
                    self._firing = False
                    self._changed.notify_all()


def utc(when: datetime) -> datetime:
    """The same instant, aware and in UTC. A datetime without a zone is taken to be in UTC."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def duration(text: str) -> timedelta:
    """A length of time as people write it: ``31d``, ``90s``, ``2h30m``, ``1.5h``, ``1w``.

    Raises :class:`Invalid` for anything else, and for a length of nothing.
    """
    written = text.strip().lower()
    parts: dict[str, float] = {}
    position = 0
    while part := _PART.match(written, position):
        unit = _UNITS.get(part[2])
        if unit is None or unit in parts:
            break
        parts[unit] = float(part[1])
        position = part.end()
    if not parts or position != len(written):
        raise Invalid(f"{text!r} is not a duration: write one like 31d, 90s or 2h30m (units: w, d, h, m, s).")
    try:
        length = timedelta(**parts)
    except OverflowError:
        raise Invalid(f"{text!r} is too long a duration.") from None
    if not length:
        raise Invalid(f"{text!r} is no time at all: write a duration of more than 0 s, like 31d or 90s.")
    return length


def _sentence(failure: Exception) -> str:
    return failure.message if isinstance(failure, CloudError) else f"{type(failure).__name__}: {failure}"


def _silent(_: str) -> None:
    pass
