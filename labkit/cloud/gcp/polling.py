"""Clients that wait for a job ask for it every 5 s or more; they are answered when there is news, or after 2 s.

A client that asks once is answered at once. One that asks again about something that has not changed since it was told
is waiting: its answer is held while the work goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: Seconds for which an answer is held at most.
HELD = 2.0


class Polling:
    """What each caller was last told about each job, by the version that it then had."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, str], int] = {}
        self._lock = threading.Lock()

    def hold(self, call: Call, name: str, version: int, changed_since: Callable[[int, float], int]) -> None:
        """Returns at once if ``version`` is news to the caller, else when there is one, or after 2 s.

        ``changed_since(version, timeout)`` waits for another version and returns the latest.
        """
        who = (call.caller.principal, call.caller.credential, name)
        with self._lock:
            known = self._told.get(who)
        if known == version:
            version = changed_since(version, HELD)
        with self._lock:
            self._told[who] = version
