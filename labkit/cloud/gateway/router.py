"""Which cloud a host name belongs to, and the record of what was refused."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from labkit.cloud.dialect import Dialect

#: Refusals that are kept for ``labkit status``.
KEPT = 50


class Refused(Exception):
    """The host is not served. The message is one sentence for the person whose program asked."""


@dataclass(slots=True)
class Refusal:
    """A host that was asked for in vain: why, when last (seconds since the epoch) and how often in a row."""

    host: str
    why: str
    at: float
    times: int = 1

    def plain(self) -> dict[str, Any]:
        return {"host": self.host, "why": self.why, "at": self.at, "times": self.times}


class Router:
    """Finds the dialect for a host; safe to use from any thread. Fails closed: what nobody claims is refused."""

    def __init__(self, dialects: Sequence[Dialect], pass_through: Callable[[], Sequence[str]]) -> None:
        self.dialects = dialects
        self._pass_through = pass_through
        self._refusals: deque[Refusal] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def find(self, host: str) -> Dialect | None:
        """The dialect that answers for ``host``; None for a host on the pass-through list; raises :class:`Refused`.

        A host that is a cloud's but not served is noted as refused, and its cloud answers all the same: its clients
        show an error in their cloud's own shape, and several (botocore, gRPC) hide what a proxy says.
        """
        for dialect in self.dialects:
            answer = dialect.serves(host)
            if answer is not False:
                if answer is not True:
                    self.refuse(host, answer)
                return dialect
        if any(fnmatchcase(host, pattern) for pattern in self._pass_through()):
            return None
        raise self.refuse(
            host,
            f"{host} is no cloud that the local clouds serve, so nothing was sent to it; "
            "`labkit status` says how to let a host through.",
        )

    def refuse(self, host: str, why: str) -> Refused:
        """Notes a refusal and returns the exception to raise."""
        with self._lock:
            last = self._refusals[-1] if self._refusals else None
            if last is not None and (last.host, last.why) == (host, why):
                last.at = time.time()
                last.times += 1
            else:
                self._refusals.append(Refusal(host, why, time.time()))
        return Refused(why)

    def refusals(self) -> list[Refusal]:
        """The last refusals, oldest first."""
        with self._lock:
            return list(self._refusals)
