"""Kernels that Jupyter starts, and the warm process behind them, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from labkit.kernels import warm
from labkit.kernels.install import NAME, install
from labkit.kernels.threads import settings
from tests.waiting import eventually

#: A warm process that imports only what a kernel is made of.
LEAN = (
    "import sys; from labkit.kernels import preload, warm_process; preload.MODULES = preload.MODULES[:5]; "
    "warm_process.LOOK = 0.1; warm_process.REQUEST = 60.0; "
    "warm_process.LINGER = {linger}; warm_process.IDLE = {idle}; warm_process.main()"
)


def lean(linger: float = 30.0, idle: float = 60.0) -> tuple[str, str]:
    return "-c", LEAN.format(linger=linger, idle=idle)


class Kernel:
    """One kernel with its client."""

    def __init__(self, prefix: Path, folder: Path, log: Path, environ: dict[str, str]) -> None:
        specs = KernelSpecManager(kernel_dirs=[str(prefix / "share" / "jupyter" / "kernels")])
        self.manager = KernelManager(kernel_name=NAME, kernel_spec_manager=specs)
        # Open to the end, because a restart takes it again.
        self.log = log.open("a")
        self.manager.start_kernel(cwd=str(folder), stderr=self.log, env=environ)
        self.connect()

    def connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    @property
    def forked(self) -> bool:
        return isinstance(self.manager.provisioner.process, warm.Forked)  # type: ignore[union-attr]

    @property
    def process(self) -> Any:
        return self.manager.provisioner.process  # type: ignore[union-attr]

    def run(self, code: str, answer: str = "", timeout: float = 60) -> str:
        """What a cell shows, in order: text, errors, and the types of pictures. ``answer`` is for ``input()``."""
        shown: list[str] = []

        def note(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and "Then restart the kernel." in content["text"]:
                return  # there are no clouds in most of these tests, which each cell says
            if message["msg_type"] == "stream":
                shown.append(content["text"])
            elif message["msg_type"] == "error":
                shown.append(f"{content['ename']}: {content['evalue']}\n")
            elif message["msg_type"] in ("display_data", "execute_result"):
                shown.append(f"{sorted(content['data'])}\n")

        self.client.execute_interactive(
            code, output_hook=note, stdin_hook=lambda _: self.client.input(answer), timeout=timeout
        )
        return "".join(shown)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.log.close()


def warm_pid(environ: dict[str, str]) -> int | None:
    """The process id of the warm process for this environment, if there is one."""
    line = warm._connect(warm.mark({**environ, **settings(environ)}, sys.executable))
    if line is None:
        return None
    with line:
        return int(struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def start_warm(environ: dict[str, str]) -> int:
    """Sees that there is a warm process with its imports done; returns its id."""
    warm.start(environ)
    lock = warm.files(warm.mark({**environ, **settings(environ)}, sys.executable))[1]
    eventually(lambda: lock.exists() and lock.read_text() == "warm")
    pid = warm_pid(environ)
    assert pid is not None
    return pid


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@contextlib.contextmanager
def nursery(folder: Path, environ: dict[str, str]) -> Iterator[Callable[..., Kernel]]:
    """Starts kernels in the folder; ends them, and their warm process, at its end."""
    install(str(folder / "prefix"))
    (folder / "work").mkdir(exist_ok=True)
    kernels: list[Kernel] = []

    def start(**variables: str) -> Kernel:
        kernels.append(Kernel(folder / "prefix", folder / "work", folder / "kernel.log", {**environ, **variables}))
        return kernels[-1]

    try:
        yield start
    finally:
        pid = warm_pid(environ)
        for kernel in kernels:
            kernel.close()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
