"""Clients that wait for a job ask for it every 5 s or more; they are answered when there is news, or after 2 s.

A client that asks once is answered at once. One that asks again about something that has not changed since it was told
is waiting: its answer is held while the work goes on. Nobody is held for a job that is over.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp.vertex_names import copy_of, stamp

if TYPE_CHECKING:
    from datetime import datetime

    from labkit.cloud.gcp.front import Call

#: Seconds for which an answer is held at most.
HELD = 2.0


class Watched:
    """A job whose ``message`` changes while clients ask for it; ``version`` grows with every change they can see."""

    def __init__(self, message: Any) -> None:
        self.message = message
        self.version = 0
        self._changed = threading.Condition(threading.RLock())

    @property
    def name(self) -> str:
        return str(self.message.name)

    def view(self) -> Any:
        """The job as it is now: a message of the caller's own."""
        with self._changed:
            return copy_of(self.message)

    @property
    def over(self) -> bool:
        """Whether the job has ended: there will be no more news of it."""
        with self._changed:
            return bool(self.message.HasField("end_time"))

    def changed_since(self, version: int, timeout: float) -> int:
        """Waits up to ``timeout`` seconds for another version, and returns the latest."""
        with self._changed:
            self._changed.wait_for(lambda: self.version != version, timeout)
            return self.version

    def _news(self, at: datetime) -> None:
        """Tells those who wait that there is another version, as of this lab time. Called with ``_changed`` held."""
        stamp(self.message, update_time=at)
        self.version += 1
        self._changed.notify_all()


class Polling:
    """What each caller was last told about each job, by the version that it then had."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, str], int] = {}
        self._lock = threading.Lock()

    def hold(self, call: Call, job: Watched) -> None:
        """Returns at once if the version is news to the caller or the job is over, else with news or after 2 s."""
        who = (call.caller.principal, call.caller.credential, job.name)
        version = job.version
        with self._lock:
            known = self._told.get(who)
        if known == version and not job.over:
            version = job.changed_since(version, HELD)
        with self._lock:
            self._told[who] = version
