"""The yardstick in a process of its own, and how calls are measured beside it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LABEL = "bare uvicorn app, requests session"
#: Calls of one kind before it is the next kind's turn.
TURN = 50

Call = Callable[[bytes], bytes]
Row = tuple[str, str, str]


@contextmanager
def app(folder: Path) -> Iterator[Call]:
    """Starts the app over the model in ``folder`` and gives what posts a body to it."""
    import requests

    session = requests.Session()
    session.trust_env = False
    # One thread for the numerical libraries, as a replica has: on a busy machine more of them only wait for each other.
    environment = {**os.environ, "BENCH_MODEL": str(folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "--no-access-log", "benchmarks.uvicorn_app:app"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT) as server:
        rest = threading.Thread(target=lambda: [None for _ in server.stderr or ()], daemon=True)
        try:
            address = next(
                line.split("running on ")[1].split()[0] for line in server.stderr or () if "running on" in line
            )
            rest.start()
            yield lambda body: session.post(address, data=body, headers={"Content-Type": "application/json"}).content
        finally:
            server.terminate()
            if rest.is_alive():
                rest.join()


def in_turns(calls: Mapping[str, Call], bodies: Sequence[bytes], count: int) -> dict[str, list[float]]:
    """The seconds that each call takes, ``count`` times; taken in turns, so that noise falls on all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(max(count // TURN, 1)):
        for name, call in calls.items():
            for number in range(TURN):
                started = time.perf_counter()
                call(bodies[number % len(bodies)])
                times[name].append(time.perf_counter() - started)
    return times


def compared(times: Mapping[str, Sequence[float]], limit: str = "") -> Iterator[Row]:
    """Rows on each call: its median beside the yardstick's, its p99, and how many there are in a second."""
    yardstick = statistics.median(times[LABEL])
    for name, taken in times.items():
        middle = statistics.median(taken)
        ratio = "1" if name == LABEL else f"{middle / yardstick:.2f} x uvicorn" + (f", {limit}" if limit else "")
        yield f"one prediction, median: {name}", f"{1000 * middle:.2f} ms", ratio
        yield f"one prediction, p99: {name}", f"{1000 * statistics.quantiles(taken, n=100)[98]:.2f} ms", ""
        yield f"predictions per second, one client: {name}", f"{len(taken) / sum(taken):.0f}", ""
