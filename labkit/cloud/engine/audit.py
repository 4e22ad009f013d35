"""The audit trail: every call that reached a cloud, who made it and how it ended."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.cloud.engine.access import Caller

#: Calls that are kept; the oldest go first. One takes about 1 KB.
KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Event:
    """One call. ``error`` is the cloud's error code, or ``""`` when it succeeded; ``at`` is lab time."""

    at: datetime
    cloud: str
    service: str
    operation: str
    caller: Caller | None
    region: str
    resource: str
    status: int
    error: str = ""
    message: str = ""
    read_only: bool = True
    request_id: str = ""
    client: str = ""
    parameters: dict[str, Any] | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Audit:
    """An append-only, bounded record of calls; safe to use from any thread."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Event], None]] = []
        #: Calls recorded since the clouds started, the forgotten ones included.
        self.total = 0

    def record(self, event: Event) -> None:
        with self._lock:
            self._events.append(event)
            self.total += 1
        for listener in self._listeners:
            listener(event)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Calls ``listener`` with every later event, in the thread that made the call."""
        self._listeners.append(listener)

    def events(self) -> Iterator[Event]:
        """The calls that are kept, newest first."""
        with self._lock:
            kept = list(self._events)
        return reversed(kept)

    def clear(self) -> None:
        with self._lock:
            self._events.clear()
