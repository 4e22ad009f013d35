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

from benchmarks.results import Line

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LABEL = "bare uvicorn app, requests session"
#: Calls of one kind before it is the next kind's turn.
TURN = 25
#: Clients at once.
CLIENTS = (1, 8, 32)

Call = Callable[[bytes], bytes]


@contextmanager
def app(folder: Path) -> Iterator[Call]:
    """Starts the app over the model in ``folder`` and gives what posts a body to it."""
    import requests

    local = threading.local()

    def post(body: bytes) -> bytes:
        if not hasattr(local, "session"):
            # As anybody makes one: it looks for a proxy in the environment before each call, as the SDKs' do.
            local.session = requests.Session()
        return bytes(local.session.post(address, data=body, headers={"Content-Type": "application/json"}).content)

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
            yield post
        finally:
            server.terminate()
            if rest.is_alive():
                rest.join()


def in_turns(calls: Mapping[str, Call], bodies: Sequence[bytes], count: int) -> dict[str, list[float]]:
    """The seconds that each call takes, ``count`` times; taken in turns, so that noise falls on all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(max(count // TURN, 1)):
        for name, call in calls.items():
            for number in range(min(TURN, count)):
                started = time.perf_counter()
                call(bodies[number % len(bodies)])
                times[name].append(time.perf_counter() - started)
    return times


def at_once(call: Call, bodies: Sequence[bytes], clients: int, count: int) -> float:
    """Predictions in a second by as many clients at once, each a thread; ``count`` in all."""
    each = max(count // clients, 1)
    begin = threading.Barrier(clients + 1)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            call(bodies[0])  # the thread's connection is made before
            begin.wait()
            for number in range(each):
                call(bodies[number % len(bodies)])
        except BaseException as error:
            failed.append(error)
            begin.abort()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait(60)
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return clients * each / (time.perf_counter() - started)


def compared(
    part: str, calls: Mapping[str, Call], bodies: Sequence[bytes], count: int, limited: Sequence[str] = ()
) -> Iterator[Line]:
    """Lines on each call beside the yardstick's: one client's median and p99, and many clients' predictions a second.

    The calls named in ``limited`` have the budget's limit, twice the yardstick.
    """
    times = in_turns(calls, bodies, count)
    middle = {name: 1000 * statistics.median(taken) for name, taken in times.items()}
    for name, taken in times.items():
        ratio = None if name == LABEL else middle[name] / middle[LABEL]
        limit = 2.0 if name in limited else None
        yield Line(part, f"one prediction, median: {name}", middle[name], "ms", ratio, "uvicorn", limit)
        yield Line(part, f"one prediction, p99: {name}", 1000 * statistics.quantiles(taken, n=100)[98], "ms")
    for clients in CLIENTS:
        rates = {name: at_once(call, bodies, clients, max(count, clients)) for name, call in calls.items()}
        for name, rate in rates.items():
            ratio = None if name == LABEL else rates[LABEL] / rate
            what = f"{clients} clients: {name}"
            yield Line(part, what, rate, "1/s", ratio, "uvicorn's time", None, name, clients)
