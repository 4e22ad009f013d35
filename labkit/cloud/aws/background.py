"""Work that goes on after the call that began it has been answered."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar

from labkit.cloud.engine.clock import Work

_log = logging.getLogger(__name__)
_noted: ContextVar[list[Work] | None] = ContextVar("noted", default=None)


class Background:
    """A function that runs in a thread of its own; a :class:`labkit.cloud.engine.clock.Work`."""

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        self._run = run
        self._ended = threading.Event()
        self._error: Exception | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def wait(self, timeout: float) -> bool:
        """Whether it has ended within ``timeout`` seconds; raises what went wrong in it."""
        ended = self._ended.wait(timeout)
        if self._error is not None:
            raise self._error
        return ended

    def _work(self) -> None:
        try:
            self._run()
        except Exception as error:
            self._error = error
            _log.exception("%s failed", threading.current_thread().name)
        finally:
            self._ended.set()


class Together:
    """Several pieces of work as one."""

    def __init__(self, works: Sequence[Work]) -> None:
        self._works = list(works)

    def wait(self, timeout: float) -> bool:
        """Whether all of it has ended within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        return all(each.wait(max(deadline - time.monotonic(), 0.0)) for each in self._works)


def note(work: Work) -> None:
    """Tells whoever listens in this thread that an operation has begun work: a schedule waits for it."""
    if (noted := _noted.get()) is not None:
        noted.append(work)


@contextlib.contextmanager
def noting() -> Iterator[list[Work]]:
    """Collects the work that operations begin meanwhile in this thread."""
    noted: list[Work] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)
