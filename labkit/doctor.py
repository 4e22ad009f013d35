"""``labkit doctor``: what on this machine is missing or limits the kit, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import multiprocessing
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from labkit.cloud import client, environment, state
from labkit.cloud.code_version import code_version
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.jobs import Jobs
from labkit.cloud.engine.launcher import Launcher
from labkit.cloud.state import Lab
from labkit.errors import LabError

#: Python versions that the kit's packages have wheels for: from, and below.
PYTHON = ((3, 11), (3, 15))
#: Bytes of memory and of disk below which something will fail before long.
MEMORY, DISK = 2 << 30, 1 << 30
#: Names of the browser that the browser test drives.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

_SET_UP = "run `make setup`"


class Verdict(Enum):
    """How bad it is: nothing; the kit works, but less well; the kit does not work."""

    FINE = "ok"
    LIMITS = "limit"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what to do where it is not fine."""

    verdict: Verdict
    what: str
    remedy: str = ""

    @property
    def stops(self) -> bool:
        return self.verdict is Verdict.MISSING

    def __str__(self) -> str:
        return f"{self.verdict.value:8} {self.what}{f': {self.remedy}' if self.remedy else ''}."


def examine() -> Iterator[Finding]:
    """Everything that was found, one after the other."""
    for look in LOOKS:
        yield from look()


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if PYTHON[0] <= sys.version_info[:2] < PYTHON[1]:
        yield Finding(Verdict.FINE, f"Python {version}")
    else:
        wanted = f"{PYTHON[0][0]}.{PYTHON[0][1]} to {PYTHON[1][0]}.{PYTHON[1][1] - 1}"
        yield Finding(
            Verdict.MISSING, f"Python {version} is not one of {wanted}", "`make lab PYTHON=...` picks another"
        )
    if sys.prefix == sys.base_prefix and "CONDA_PREFIX" not in os.environ:
        yield Finding(Verdict.LIMITS, "the kit does not run in an environment of its own", f"{_SET_UP}, then .venv/bin")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import InvalidRequirement, Requirement

    pins = state.checkout() / "requirements.txt"
    if not pins.is_file():
        yield Finding(Verdict.LIMITS, f"{pins} is not there, so that versions cannot be compared")
        return
    installed = {_canonical(each.metadata["Name"]): each.version for each in importlib.metadata.distributions()}
    missing, other = [], []
    for line in pins.read_text(encoding="utf-8").splitlines():
        text = line.partition(" #")[0].strip().removesuffix("\\")
        try:
            pin = Requirement(text) if text and not text.startswith(("#", "-")) else None
        except InvalidRequirement:
            continue
        if pin is None or (pin.marker and not pin.marker.evaluate()):
            continue
        version = installed.get(_canonical(pin.name))
        if version is None:
            missing.append(pin.name)
        elif version not in pin.specifier:
            other.append(f"{pin.name} {version}")
    if missing:
        yield Finding(Verdict.MISSING, f"not installed are {_some(missing)}", _SET_UP)
    if other:
        yield Finding(Verdict.LIMITS, f"of another version than requirements.txt pins are {_some(other)}", _SET_UP)
    if not missing and not other:
        yield Finding(Verdict.FINE, "every package is installed as pinned")


def _bytecode() -> Iterator[Finding]:
    slow = []
    for package in ("numpy", "pandas", "sklearn", "botocore"):
        spec = importlib.util.find_spec(package)
        if spec and spec.origin and not Path(importlib.util.cache_from_source(spec.origin)).exists():
            slow.append(package)
    if slow:
        remedy = f"{_SET_UP}, which compiles them"
        yield Finding(Verdict.LIMITS, f"without bytecode, and so slow to import, are {_some(slow)}", remedy)
    else:
        yield Finding(Verdict.FINE, "packages are compiled to bytecode")


def _kernel() -> Iterator[Finding]:
    folder = Path(sys.prefix) / "share" / "jupyter" / "kernels" / "local-clouds"
    if (folder / "kernel.json").is_file():
        yield Finding(Verdict.FINE, "the kernel Local clouds is registered")
    else:
        yield Finding(Verdict.MISSING, "Jupyter does not know the kernel Local clouds here", _SET_UP)


def _clouds() -> Iterator[Finding]:
    try:
        lab = Lab(state.folder())
    except LabError as error:
        yield Finding(Verdict.MISSING, str(error).rstrip("."))
        return
    yield Finding(Verdict.FINE, f"the state folder is {lab.folder}")
    if shutil.disk_usage(lab.folder).free < DISK:
        yield Finding(Verdict.LIMITS, f"less than {DISK >> 30} GB is free where {lab.folder} is", "make room there")
    try:
        found = client.status(lab)
    except LabError as error:
        yield Finding(Verdict.MISSING, str(error).rstrip("."))
        return
    if found and found["code"] != code_version():
        remedy = "`labkit down` and `labkit up` start them anew"
        yield Finding(Verdict.LIMITS, "the local clouds run older code", remedy)
    elif found:
        yield Finding(Verdict.FINE, f"the local clouds run on {lab.url}")
    elif lab.port_is_free():
        yield Finding(Verdict.FINE, f"the local clouds do not run; their port {lab.port} is free")
    else:
        remedy = "stop that program, or run `labkit up --new-port`"
        yield Finding(Verdict.MISSING, f"another program has taken port {lab.port}", remedy)


def _processes() -> Iterator[Finding]:
    if "forkserver" in multiprocessing.get_all_start_methods():
        yield Finding(Verdict.FINE, "models start from a warmed process")
    else:
        yield Finding(Verdict.LIMITS, "this system cannot fork, so each model imports its packages anew")


def _mounts() -> Iterator[Finding]:
    launcher, clock = Launcher(preload=()), Clock()
    jobs = Jobs(clock, launcher)
    try:
        refusal = jobs.refuses_mounts()
    finally:
        jobs.close()
        launcher.close()
        clock.close()
    if refusal:
        yield Finding(Verdict.LIMITS, refusal.rstrip("."))
    else:
        yield Finding(Verdict.FINE, "jobs find their files under a container's paths, such as /opt/ml")


def _memory() -> Iterator[Finding]:
    import psutil

    available = psutil.virtual_memory().available
    amount = f"{available / 2**30:.1f} GB of memory {'is' if available < 2 << 30 else 'are'} available"
    if available < MEMORY:
        yield Finding(Verdict.LIMITS, amount, f"close programs until it is {MEMORY >> 30} GB or more")
    else:
        yield Finding(Verdict.FINE, amount)


def _browser() -> Iterator[Finding]:
    if any(map(shutil.which, BROWSERS)):
        yield Finding(Verdict.FINE, "Chromium is installed, for the browser test")
    else:
        remedy = "install your system's package chromium if you want to run it"
        yield Finding(Verdict.LIMITS, "there is no Chromium, so the browser test is skipped", remedy)


def _inherited() -> Iterator[Finding]:
    if state.VARIABLE in os.environ:
        yield Finding(Verdict.FINE, f"{state.VARIABLE} chooses the state folder")
        return
    found = environment.unset()
    if found:
        what = f"set here, and kept from the kernel and `labkit exec`, are {', '.join(found)}"
        yield Finding(Verdict.FINE, what)


#: What is looked at, in order.
LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _bytecode,
    _kernel,
    _clouds,
    _processes,
    _mounts,
    _memory,
    _browser,
    _inherited,
)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _some(names: list[str]) -> str:
    """The first few of a list."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
