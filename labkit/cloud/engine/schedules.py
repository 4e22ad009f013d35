"""Schedules on the lab's clock: what an expression says is due is started, in order, and the next one is awaited.

What was due while a schedule was disabled is not made up for, as the clouds document.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from labkit.cloud.engine.clock import Clock, Due, Work, utc
from labkit.cloud.engine.expressions import Expression

#: Firings that a schedule remembers.
REMEMBERED = 1_000
_UTC = ZoneInfo("UTC")
_MICROSECOND = timedelta(microseconds=1)


class Schedule:
    """Fires ``action(due)`` at each instant that ``expression`` gives in ``zone``; safe to use from any thread.

    It fires from ``start`` on and until ``end``, both included (aware; None leaves that side open), after ``since``,
    which is the lab's now unless given: a rate that begins at once has it a moment before its anchor. ``action``
    starts something and returns it, or None; ``most`` is how often it fires at most. ``ended`` is called when nothing
    is due any more.
    """

    def __init__(
        self,
        clock: Clock,
        expression: Expression,
        action: Callable[[datetime], Work | None],
        *,
        name: str,
        zone: ZoneInfo = _UTC,
        start: datetime | None = None,
        end: datetime | None = None,
        since: datetime | None = None,
        most: int | None = None,
        enabled: bool = True,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._expression = expression
        self._action = action
        self._zone = zone
        self._start, self._end = start and utc(start), end and utc(end)
        self._most = most
        self._tell_ended = ended
        self._lock = threading.Lock()
        self._due: Due | None = None
        self._fired: deque[datetime] = deque(maxlen=REMEMBERED)
        self._count = 0
        self._enabled = False
        self._closed = False
        if enabled:
            self.enable(since)

    @property
    def enabled(self) -> bool:
        return self._enabled

    @property
    def fired(self) -> list[datetime]:
        """The instants that it fired at, the last of them, the oldest first."""
        with self._lock:
            return list(self._fired)

    @property
    def count(self) -> int:
        """How often it has fired."""
        return self._count

    @property
    def next_at(self) -> datetime | None:
        """When it fires next, in lab time; None while it is disabled, and when nothing is due any more."""
        with self._lock:
            return self._due.at if self._due else None

    def enable(self, since: datetime | None = None) -> None:
        """Goes on with what is due from now on, or after ``since``."""
        with self._lock:
            if self._closed or self._enabled:
                return
            self._enabled = True
            over = not self._await(utc(since) if since else self._clock.now())
        if over:
            self._tell_ended()

    def disable(self) -> None:
        """Fires no more until it is enabled. What it started goes on."""
        with self._lock:
            self._enabled = False
            due, self._due = self._due, None
        if due is not None:
            due.cancel()

    def close(self) -> None:
        """Fires no more."""
        with self._lock:
            self._closed = True
        self.disable()

    def _await(self, after: datetime) -> bool:
        """Has the clock call for the next instant; False when there is none."""
        if self._start is not None:
            after = max(after, self._start - _MICROSECOND)
        when = self._expression.next(after, self._zone)
        done = self._most is not None and self._count >= self._most
        if when is None or done or (self._end is not None and when > self._end):
            self._due = None
            return False
        self._due = self._clock.at(when, lambda: self._fire(when), self.name)
        return True

    def _fire(self, when: datetime) -> Work | None:
        with self._lock:
            # Disabled, or enabled anew, in the moment in which the clock called.
            if not self._enabled or self._due is None or self._due.at != when:
                return None
            self._fired.append(when)
            self._count += 1
            over = not self._await(when)
        try:
            return self._action(when)
        finally:
            if over:
                self._tell_ended()
