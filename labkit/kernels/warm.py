"""The client of the warm process: a process with the usual imports done, from which kernels are forked (Linux only).

There is one warm process for each user, Python, state of the installed packages and of ``labkit``'s own code,
namespaces, limits, and values of the variables that imports keep (:data:`labkit.kernels.preload.FROZEN`). The mark of
all that names its socket, so that a kernel is never forked from a process that differs from what it would have been
itself: an upgraded package means another mark, thus another process, and the older one ends with its last kernel.
The process is started without any cloud's variables; each kernel brings its whole environment.

A warm process is no boundary between kernels, and is not meant as one: programs in a sandbox have namespaces of their
own, thus another warm process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.cloud import environment, state
from labkit.kernels import threads
from labkit.kernels.preload import FROZEN

#: With the value 0, kernels are not forked.
VARIABLE = "LABKIT_WARM"
#: Seconds that a kernel waits for its fork: before all imports are done (a stock start takes as long), and after.
WAIT_WARMING, WAIT = 0.8, 10.0
#: What is run as the warm process, with the mark and its first user's id.
PROGRAM = ("-m", "labkit.kernels.warm_process")
#: The log is begun anew when it is larger (bytes).
LARGEST_LOG = 1 << 18

_LIMITS = [value for name, value in sorted(vars(resource).items()) if name.startswith("RLIMIT_")]


class NoFork(Exception):
    """A kernel cannot be forked; the message says why."""


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether kernels are to be forked on this machine."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and environ.get(VARIABLE, "1") != "0"


def mark(environ: Mapping[str, str], python: str) -> str:
    """What a warm process for kernels with this environment is made for, as a short name."""
    kept = sorted((name, value) for name, value in environ.items() if FROZEN.fullmatch(name))
    facts: list[Any] = [python, sys.version, os.getuid(), os.getgid(), kept, code(environ)]
    facts += [sorted((each.name, os.readlink(each)) for each in Path("/proc/self/ns").iterdir()), os.stat("/").st_ino]
    facts += [Path("/proc/self/cgroup").read_text(), sorted(os.sched_getaffinity(0)), os.nice(0)]
    facts += [resource.getrlimit(limit)[1] for limit in _LIMITS]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def code(environ: Mapping[str, str]) -> str:
    """What changes with the packages that are installed, and with ``labkit``'s own code."""
    return hashlib.sha256(repr([*_installed(environ), *_own_code()]).encode()).hexdigest()


def files(of: str) -> tuple[Path, Path, Path]:
    """The socket, the lock (held for life; says what the process is doing) and the log of a mark's warm process."""
    folder = state.folder_of_checkout() / "warm"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{of}.sock", folder / f"{of}.lock", folder / "warm.log"


def start(environ: Mapping[str, str], python: str = sys.executable) -> None:
    """Sees that there is a warm process for kernels with this environment; returns before its imports are done.

    It counts this process as its user. Raises :class:`NoFork` when it cannot be started.
    """
    if not wanted(environ):
        return
    environ = {**environ, **threads.settings(environ)}
    try:
        of = mark(environ, python)
        if not _greet(of):
            _spawn(of, environ, python)
    except OSError as error:
        raise NoFork(f"the warm process cannot be started: {error}") from error


def warmed(environ: Mapping[str, str], limit: float, python: str = sys.executable) -> bool:
    """Waits for up to ``limit`` seconds until the warm process for such kernels has done its imports; whether it has.

    Several kernels started before would each do the imports themselves, and all of them at once.
    """
    lock = files(mark({**environ, **threads.settings(environ)}, python))[1]
    end = time.monotonic() + limit
    while not (lock.exists() and lock.read_text() == "warm"):
        if time.monotonic() > end or not wanted(environ):
            return False
        time.sleep(0.05)
    return True


def fork(
    arguments: Sequence[str], environ: Mapping[str, str], folder: str, streams: tuple[int, int, int], python: str
) -> Forked:
    """Starts a kernel with these arguments (``-f FILE``), environment, working directory and standard streams.

    Raises :class:`NoFork` at once when there is no warm process yet; one is then being started for the next kernel.
    """
    try:
        of = mark(environ, python)
        line = _connect(of)
        if line is None:
            _spawn(of, environ, python)
            raise NoFork("the warm process is being started; the next kernel is forked from it")
        umask = os.umask(0o077)
        os.umask(umask)
        request = {
            "arguments": list(arguments),
            "env": dict(environ),
            "folder": folder,
            "umask": umask,
            "limits": [(limit, resource.getrlimit(limit)) for limit in _LIMITS],
        }
        return _ask(of, line, request, streams)
    except OSError as error:
        raise NoFork(f"the warm process cannot be asked: {error}") from error


class Forked:
    """A kernel's process, as jupyter_client uses one: the part of :class:`subprocess.Popen` that it needs."""

    stdin = stdout = stderr = None

    def __init__(self, line: socket.socket, pid: int, handle: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._line = line  #: on which the warm process says how the kernel ended
        self._handle = handle  #: a file descriptor of the process, which can be read when it has ended

    def poll(self) -> int | None:
        """The exit code (negative: the signal) if the kernel has ended, else None."""
        if self.returncode is None:
            self._look(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once the kernel has ended; raises :class:`subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._look(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("kernel", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> None:
        if not select.select([self._handle], [], [], timeout)[0]:
            return
        # The process has ended; the warm process says so in a moment, unless it is gone itself and nobody knows how.
        self._line.settimeout(WAIT)
        said = b""
        with contextlib.suppress(OSError):
            said = self._line.recv(64)
        self.returncode = int(said) if said else 1
        self._line.close()
        os.close(self._handle)


def _installed(environ: Mapping[str, str]) -> list[tuple[str, int]]:
    """What changes when packages are installed, upgraded or removed: their records and path files, with their times."""
    import site

    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    folders += environ.get("PYTHONPATH", "").split(os.pathsep)
    found = []
    for folder in filter(os.path.isdir, folders):
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".egg-info", ".pth", ".egg-link", ".py")):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((entry.path, entry.stat().st_mtime_ns))
    return sorted(found)


def _own_code() -> list[tuple[str, int, int]]:
    found = []
    for file in (state.checkout() / "labkit").rglob("*.py"):
        with contextlib.suppress(FileNotFoundError):
            stat = file.stat()
            found.append((str(file), stat.st_size, stat.st_mtime_ns))
    return sorted(found)


def _connect(of: str) -> socket.socket | None:
    """A line to the warm process; None when there is none."""
    line = socket.socket(socket.AF_UNIX)
    try:
        # By way of the folder's descriptor, because a socket's path may have some 100 characters only.
        folder = os.open(files(of)[0].parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            line.connect(f"/proc/self/fd/{folder}/{of}.sock")
        finally:
            os.close(folder)
    except (FileNotFoundError, ConnectionRefusedError):
        line.close()
        return None
    return line


def _greet(of: str) -> bool:
    """Tells the warm process that this one uses it; whether there is one."""
    if line := _connect(of):
        line.close()
    return line is not None


def _spawn(of: str, environ: Mapping[str, str], python: str) -> None:
    log = files(of)[2]
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.unlink()
    variables = {name: value for name, value in environ.items() if FROZEN.fullmatch(name)}
    variables |= environment.TELEMETRY_OPT_OUTS | {"PATH": environ.get("PATH", os.defpath)}
    # google.auth looks there for client certificates when it is imported; kernels have an empty folder, too.
    variables["CLOUDSDK_CONFIG"] = str(log.parent / "empty")
    with log.open("ab") as out:
        os.chmod(log, 0o600)
        process = subprocess.Popen(
            [python, *PROGRAM, of, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=variables,
            cwd="/",
            start_new_session=True,
        )
    process.wait()


def _ask(of: str, line: socket.socket, request: dict[str, Any], streams: tuple[int, int, int]) -> Forked:
    text = json.dumps(request).encode()
    line.settimeout(WAIT if files(of)[1].read_text() == "warm" else WAIT_WARMING)
    try:
        socket.send_fds(line, [struct.pack(">I", len(text))], streams)
        line.sendall(text)
        said, handles, _, _ = socket.recv_fds(line, 64, 1)
    except TimeoutError:
        line.close()
        raise NoFork("the warm process is busy with its imports") from None
    except OSError:
        line.close()
        raise
    if not handles:
        line.close()
        raise NoFork("the warm process has ended")
    return Forked(line, int(said), handles[0])
