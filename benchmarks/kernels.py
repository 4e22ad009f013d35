"""Kernels: start and a notebook's execution, forked beside stock; memory for each learner with many open."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import memory
from benchmarks.results import Line
from labkit.kernels import warm

PART = "Kernels"
SDKS = (
    "import boto3, sagemaker.core.resources\n"
    "import azure.ai.ml, azure.identity\n"
    "from google.cloud import aiplatform\n"
    "import numpy, pandas, sklearn.ensemble, matplotlib.pyplot"
)


def measure(quick: bool) -> Iterator[Line]:
    """Lines on the *Local clouds* kernel of this environment, in the clouds in force."""
    install()
    yield from starts(1 if quick else 3)
    yield from learners((1, 3) if quick else (1, 5, 20))


def install() -> None:
    """Registers the kernel for this process only: the environment's own may be another checkout's."""
    from labkit.kernels.install import install

    prefix = tempfile.mkdtemp(prefix="labkit-bench-")
    install(prefix)
    os.environ["JUPYTER_PATH"] = str(Path(prefix) / "share" / "jupyter")


def ready() -> float:
    """Waits until the warm process has done its imports; returns the seconds since it was begun."""
    started = time.perf_counter()
    warm.start(os.environ)
    if not warm.warmed(os.environ, 120.0):
        raise RuntimeError("the warm process does not become ready")
    return time.perf_counter() - started


def started() -> tuple[Any, Any]:
    """A kernel that answers, and its client."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="local-clouds", startup_timeout=120)
    return manager, client


def starts(times: int) -> Iterator[Line]:
    """Kernel start, the first cell with all SDKs imported, and whole notebooks under nbclient."""
    import nbformat
    from nbclient import NotebookClient

    yield Line(PART, "imports of the warm process, once", ready(), "s")
    notebooks = {
        "an empty notebook": nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]),
        "a notebook that imports all SDKs": nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SDKS)]),
    }
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(times):
        for kind in ("stock", "forked"):
            os.environ[warm.VARIABLE] = "1" if kind == "forked" else "0"
            begun = time.perf_counter()
            manager, client = started()
            taken.setdefault(("kernel start until it answers", kind), []).append(time.perf_counter() - begun)
            begun = time.perf_counter()
            client.execute_interactive(SDKS, timeout=120)
            taken.setdefault(("first cell, all SDKs imported", kind), []).append(time.perf_counter() - begun)
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            for name, notebook in notebooks.items():
                begun = time.perf_counter()
                NotebookClient(notebook.copy(), kernel_name="local-clouds", timeout=120).execute()
                taken.setdefault((f"nbclient, {name}", kind), []).append(time.perf_counter() - begun)
    os.environ.pop(warm.VARIABLE, None)
    for what in dict.fromkeys(name for name, _ in taken):
        stock, forked = (statistics.median(taken[what, kind]) for kind in ("stock", "forked"))
        yield Line(PART, f"{what}: stock", stock, "s", None, "", None, f"stock: {what}")
        yield Line(PART, f"{what}: forked", forked, "s", forked / stock, "stock", None, f"forked: {what}")
    total = sum(statistics.median(taken[what, "forked"]) for what in list(dict.fromkeys(n for n, _ in taken))[:2])
    yield Line(PART, "open a notebook, run a first cell with all SDKs", total, "s", limit=1.0)


def learners(counts: tuple[int, ...]) -> Iterator[Line]:
    """Memory for each open kernel, all SDKs imported: forked ones with their warm process, and one stock."""
    import psutil

    part = "Memory for each open kernel"
    os.environ[warm.VARIABLE] = "0"
    manager, client = started()
    client.execute_interactive(SDKS, timeout=120)
    alone = memory.of([psutil.Process(manager.provisioner.process.pid)])
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    os.environ.pop(warm.VARIABLE)
    yield Line(part, "one stock kernel", alone, "MB", None, "", None, "stock", 1)
    opened: list[tuple[Any, Any]] = []
    try:
        for count in counts:
            while len(opened) < count:
                opened.append(started())
                opened[-1][1].execute_interactive(SDKS, timeout=120)
            kernels = [psutil.Process(manager.provisioner.process.pid) for manager, _ in opened]
            each = memory.of({kernels[0].parent() or kernels[0], *kernels}) / count
            what = f"{count} forked, with the warm process"
            yield Line(part, what, each, "MB", each / alone, "a stock kernel", None, "forked", count)
    finally:
        for manager, client in opened:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
