"""How many threads the numerical libraries of a kernel use.

A kernel shares the machine with Jupyter, the clouds and the replicas that it calls. OpenMP's threads spin while they
wait for each other, and on a busy machine the one they wait for does not run: training that takes 100 ms alone took
seconds. So a kernel uses half the processors, at least one, and its threads sleep when they wait. What the learner or
the machine's owner has set is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to add to a kernel's environment."""
    wanted = {"OMP_NUM_THREADS": str(max(processors() // 2, 1)), "OMP_WAIT_POLICY": "PASSIVE"}
    return {name: value for name, value in wanted.items() if name not in environ}


def processors() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
