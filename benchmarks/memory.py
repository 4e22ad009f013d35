"""Memory that processes take together, what they share counted once (PSS)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable

import psutil

from labkit.cloud import state


def of(processes: Iterable[psutil.Process]) -> float:
    """MB of the processes."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found = process.memory_full_info()
            total += getattr(found, "pss", found.uss)
    return total / 2**20


def of_clouds() -> float:
    """MB of every process of the clouds in force."""
    server = psutil.Process(json.loads((state.folder() / "server.json").read_text())["pid"])
    return of([server, *server.children(recursive=True)])
