"""What the clouds have in common, written once: time, access, audit, metrics, logs, processes and model serving.

A dialect translates a vendor's requests into calls of this package. It imports no dialect and no vendor's SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labkit.cloud.engine.access import Access
from labkit.cloud.engine.audit import Audit
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.events import Events
from labkit.cloud.engine.jobs import Jobs
from labkit.cloud.engine.launcher import USUAL_IMPORTS, Launcher
from labkit.cloud.engine.logs import Logs
from labkit.cloud.engine.metrics import Metrics


class Engine:
    """One set of clouds' machinery. ``folder`` is scratch space for what its processes run in."""

    def __init__(self, folder: Path, *, preload: Sequence[str] = USUAL_IMPORTS) -> None:
        self.folder = folder
        self.clock = Clock()
        self.access = Access()
        self.audit = Audit()
        self.metrics = Metrics(self.clock)
        self.logs = Logs(self.clock)
        self.events = Events(self.clock)
        self.launcher = Launcher(preload)
        self.jobs = Jobs(self.clock, self.launcher)

    def reset(self) -> None:
        """Ends what runs and forgets what was recorded. The clock goes on: time never runs backwards."""
        self.jobs.clear()
        self.audit.clear()
        self.metrics.clear()
        self.logs.clear()

    def close(self) -> None:
        """Ends every process and stops the clock."""
        self.jobs.close()
        self.launcher.close()
        self.clock.close()
