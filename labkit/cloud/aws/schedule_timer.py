"""A timer on the lab's clock: fires at the times of an expression, one after the other, until it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from labkit.cloud.aws.schedule_expressions import Expression
from labkit.cloud.engine.clock import Clock, Due, Work

#: What a timer does at a time of its expression.
Action = Callable[[datetime], Work | None]


class Timer:
    """Calls ``action`` with each time of ``expression`` from ``start`` on and not after ``end``.

    A rate counts from ``start``, which is the first of its times if ``at_once``. ``delay`` says how much later than
    its time each firing is; ``ended`` is called when there is no further one.
    """

    def __init__(
        self,
        clock: Clock,
        expression: Expression,
        action: Action,
        name: str,
        *,
        start: datetime,
        at_once: bool = False,
        end: datetime | None = None,
        zone: ZoneInfo | None = None,
        delay: Callable[[datetime], timedelta] = lambda _: timedelta(0),
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._expression = expression
        self._action = action
        self._name = name
        self._start = start
        self._end = end
        self._zone = zone or ZoneInfo("UTC")
        self._delay = delay
        self._ended = ended
        self._lock = threading.Lock()
        self._closed = False
        self._due: Due | None = None
        now = clock.now()
        self._set(max(start, now) - timedelta(microseconds=1 if at_once or start > now else 0))

    def close(self) -> None:
        """Fires no more."""
        with self._lock:
            self._closed = True
            due, self._due = self._due, None
        if due is not None:
            due.cancel()

    def _set(self, after: datetime) -> None:
        when = self._expression.next(after, self._zone, self._start)
        if when is None or (self._end is not None and when > self._end):
            self._ended()
            return
        with self._lock:
            if not self._closed:
                self._due = self._clock.at(when + self._delay(when), lambda: self._fire(when), self._name)

    def _fire(self, when: datetime) -> Work | None:
        with self._lock:
            if self._closed:
                return None
        try:
            return self._action(when)
        finally:
            self._set(when.astimezone(UTC))
