"""Work that goes on after the call that began it has been answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


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
