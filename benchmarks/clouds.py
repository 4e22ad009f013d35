"""The clouds themselves: the time from nothing to ready, and their memory then."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks import memory
from benchmarks.results import Line
from labkit.cloud import client

PART = "The clouds"
#: Seconds in which the usual imports of replicas, which go on in the background, are done.
SETTLED = 8.0


def measure(quick: bool) -> Iterator[Line]:
    """Lines on clouds in a state folder of their own, started as a learner starts them."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "LABKIT_STATE": folder}

        def labkit(command: str) -> None:
            subprocess.run(
                [sys.executable, "-m", "labkit", command], env=environ, check=True, stdout=subprocess.DEVNULL
            )

        taken = []
        for last in [False] * (0 if quick else 2) + [True]:
            started = time.perf_counter()
            labkit("up")
            taken.append(time.perf_counter() - started)
            if not last:
                labkit("down")
        yield Line(PART, "labkit up, from nothing to ready", statistics.median(taken), "s", limit=2.0)
        server = psutil.Process(json.loads((Path(folder) / "server.json").read_text())["pid"])
        yield Line(PART, "memory when ready", memory.of([server, *server.children(recursive=True)]), "MB", limit=300.0)
        time.sleep(SETTLED)
        settled = memory.of([server, *server.children(recursive=True)])
        yield Line(PART, "memory, replicas' imports done", settled, "MB", limit=300.0)
        labkit("down")
    taken = []
    for _ in range(1 if quick else 3):
        started = time.perf_counter()
        with client.fresh():
            taken.append(time.perf_counter() - started)
    yield Line(PART, "fresh clouds for a notebook's run", statistics.median(taken), "s", limit=0.5)
