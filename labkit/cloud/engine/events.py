"""What happened in the clouds, for whoever listens: a job's or a pipeline's change of state, a file that arrived.

A service publishes in its own words; the dialect's event service listens and delivers to rules, queues and topics.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.cloud.engine.clock import Clock


@dataclass(frozen=True)
class Event:
    """Something that happened. ``scope`` is where (``aws:123456789012:us-east-1``), ``source`` the service that says
    so, ``kind`` what kind of thing, ``detail`` the vendor's own document, ``resources`` whom it is about, ``at`` when,
    in lab time.
    """

    scope: str
    source: str
    kind: str
    detail: Mapping[str, Any]
    at: datetime
    resources: Sequence[str] = field(default=())


Listener = Callable[[Event], None]


class Events:
    """Hands each event to every listener, one event at a time and in order; safe to use from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._handing_on = threading.RLock()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Has ``listener`` called with each event, in the publisher's thread; returns what takes that back.

        It returns soon: what takes time it starts. An error in it goes to the server's log.
        """
        with self._lock:
            self._listeners.append(listener)

        def forget() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return forget

    def publish(
        self,
        scope: str,
        source: str,
        kind: str,
        detail: Mapping[str, Any],
        *,
        resources: Sequence[str] = (),
        at: datetime | None = None,
    ) -> Event:
        """Tells every listener, and returns the event; ``at`` is the lab's now unless given."""
        event = Event(scope, source, kind, detail, at or self._clock.now(), tuple(resources))
        with self._handing_on:
            with self._lock:
                listeners = list(self._listeners)
            for listener in listeners:
                try:
                    listener(event)
                except Exception:
                    # Who publishes has done its work; another's defect must not undo it.
                    traceback.print_exc()
        return event
