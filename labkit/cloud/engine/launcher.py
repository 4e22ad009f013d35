"""The one way in which the clouds start a process: model replicas now, job steps and functions later.

A launched process has its own identity (environment), folder and limits; it gets a channel to the server, its output
is read line by line, and it dies with the server whatever happens to the server - with every process that it
started itself. This is how::

    server ── forkserver (usual imports done once) ── guardian ── the process, and its own children

The guardian holds one end of a pair of sockets, the server the other. When the server goes, however it goes, the
guardian reads an end of file and kills everything below it. On Linux it is the reaper of all its descendants, so a
process that moved to a session of its own is found too; elsewhere only the process group is.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import random
import resource
import selectors
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: What nearly every model's process imports; one that is not installed is passed over.
USUAL_IMPORTS = (
    "joblib",
    "numpy",
    "pandas",
    "psutil",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "labkit.cloud.engine.replica",
    "labkit.cloud.engine.job_worker",
)

#: A line longer than this is handed on in pieces (bytes).
LONGEST_LINE = 256 * 1024

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may use: address space in MiB and open files. None leaves the system's own limit."""

    memory_mb: int | None = None
    open_files: int | None = None


@dataclass(frozen=True)
class ProcessSpec:
    """A process to start.

    ``target`` is ``"package.module:function"``, called in the new process as ``function(channel, *args)``; ``args``
    are plain data; ``env`` is the whole environment; ``folder`` the working directory; ``output`` receives each line
    of standard output and standard error, without its end, from one thread.
    """

    name: str
    target: str
    args: tuple[Any, ...]
    env: Mapping[str, str]
    folder: Path
    output: Callable[[str], None]
    limits: Limits = field(default_factory=Limits)


class Launched:
    """A process that was started. ``channel`` is its end of the conversation; ``pid`` its process id."""

    def __init__(self, spec: ProcessSpec, channel: Connection, life: Connection, pid: int) -> None:
        self.name = spec.name
        self.channel = channel
        self.pid = pid
        self._life = life
        self._life_lock = threading.Lock()
        self._ended = threading.Event()
        self._code: int | None = None
        self._when_ended: list[Callable[[], None]] = []

    def alive(self) -> bool:
        return not self._ended.is_set()

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code (negative: the signal that ended it) once the process has ended, else None."""
        self._ended.wait(timeout)
        return self._code

    def kill(self) -> None:
        """Ends the process and everything below it, without asking."""
        with self._life_lock, contextlib.suppress(OSError):
            self._life.send_bytes(b"kill")

    def signal(self, number: int) -> None:
        """Sends a signal to the process and its group; nothing happens if it has ended."""
        with self._life_lock, contextlib.suppress(OSError):
            self._life.send_bytes(b"signal %d" % number)

    def when_ended(self, action: Callable[[], None]) -> None:
        """Calls ``action`` from the launcher's thread when the process has ended, or now if it has."""
        with self._life_lock:
            if self.alive():
                self._when_ended.append(action)
                return
        action()

    def _end(self, code: int | None) -> None:
        with self._life_lock:
            self._code = code if code is not None else -signal.SIGKILL
            self._ended.set()
            self._life.close()
            actions, self._when_ended = self._when_ended, []
        for action in actions:
            action()


class Launcher:
    """Starts processes and watches them. One thread reads the output and the end of all of them."""

    def __init__(self, preload: Sequence[str] = USUAL_IMPORTS) -> None:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(list(preload))
        self._lock = threading.Lock()
        self._running: set[Launched] = set()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._arrivals: list[tuple[int | Connection, Callable[[], bool]]] = []
        self._catching_up: list[threading.Event] = []
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="launcher", daemon=True)
        self._thread.start()

    def warm(self) -> None:
        """Starts the process from which the others are forked; returns before its imports are done."""
        if self._context.get_start_method() == "forkserver":
            with self._lock:
                forkserver.ensure_running()

    def start(self, spec: ProcessSpec) -> Launched:
        """Starts a process; raises OSError when the system cannot."""
        ours, theirs = self._context.Pipe()
        life, guardian_life = self._context.Pipe()
        output, guardian_output = self._context.Pipe(duplex=False)
        plain = (spec.target, spec.args, dict(spec.env), str(spec.folder), spec.limits)
        with self._lock:
            if self._closed:
                raise OSError("the clouds are stopping")
            guardian = self._context.Process(  # type: ignore[attr-defined]  # missing in the stubs
                target=_guard, args=(spec.name, plain, theirs, guardian_life, guardian_output), name=spec.name
            )
            try:
                guardian.start()
            except EOFError as error:
                raise OSError("the process that starts the others has ended; try again") from error
        for end in (theirs, guardian_life, guardian_output):
            end.close()
        try:
            pid = int(life.recv_bytes())
        except (EOFError, ValueError) as error:
            raise OSError(f"the process {spec.name} could not be started") from error
        launched = Launched(spec, ours, life, pid)
        lines = _Lines(output, spec.output)
        with self._lock:
            self._running.add(launched)
            self._arrivals.append((output, lines.read))
            self._arrivals.append((life, lambda: self._read_end(launched, life, lines)))
        os.write(self._wake_write, b"\0")
        return launched

    def catch_up(self) -> None:
        """Waits until the output that processes have written by now has been handed on (as much as a pipe holds)."""
        done = threading.Event()
        with self._lock:
            self._catching_up.append(done)
        os.write(self._wake_write, b"\0")
        done.wait(10.0)

    def close(self) -> None:
        """Kills whatever still runs and waits until it is gone."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for launched in running:
            launched.kill()
        for launched in running:
            launched.wait(5.0)
        os.write(self._wake_write, b"\0")
        self._thread.join(5.0)

    def _watch(self) -> None:
        while True:
            with self._lock:
                catching_up, self._catching_up = self._catching_up, []
            for key, _ in self._selector.select(0 if catching_up else None):
                if key.data is not None:
                    if not key.data():
                        self._selector.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]  # a Connection: the one int is read below
                    continue
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            with self._lock:
                arrivals, self._arrivals = self._arrivals, []
                if self._closed and not self._running and not arrivals:
                    return
            for source, reader in arrivals:
                self._selector.register(source, selectors.EVENT_READ, reader)
            for done in catching_up:
                done.set()

    def _read_end(self, launched: Launched, life: Connection, lines: _Lines) -> bool:
        try:
            code: int | None = int(life.recv_bytes())
        except (EOFError, OSError, ValueError):
            code = None
        self._selector.unregister(life)
        lines.drain()
        with self._lock:
            self._running.discard(launched)
        launched._end(code)
        return True


class _Lines:
    """Cuts what comes through a pipe into lines of text."""

    def __init__(self, source: Connection, sink: Callable[[str], None]) -> None:
        self._source = source
        self._sink = sink
        self._rest = b""
        os.set_blocking(source.fileno(), False)

    def read(self) -> bool:
        """Takes what has come; False at the end of the output."""
        try:
            chunk = os.read(self._source.fileno(), 65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not chunk:
            self._hand_on(self._rest)
            self._rest = b""
            return False
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._hand_on(line)
        if len(self._rest) > LONGEST_LINE:
            self._hand_on(self._rest)
            self._rest = b""
        return True

    def drain(self) -> None:
        """Takes everything that the ended process left in the pipe."""
        while True:
            try:
                chunk = os.read(self._source.fileno(), 65536)
            except OSError:
                break
            if not chunk:
                break
            self._rest += chunk
        for line in self._rest.split(b"\n"):
            self._hand_on(line)
        self._rest = b""

    def _hand_on(self, line: bytes) -> None:
        if line:
            self._sink(line.decode("utf-8", "replace").rstrip("\r"))


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _guard(name: str, plain: tuple[Any, ...], channel: Connection, life: Connection, output: Connection) -> None:
    """Runs in the guardian: forks the process, waits for its end or the server's, leaves nothing behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_NAME, b"labkit-guard")
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    guardian = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(wake_read)
        os.close(wake_write)
        life.close()
        _run(name, plain, channel, output, guardian)
    channel.close()
    output.close()
    code: int | None = None
    with contextlib.suppress(OSError, EOFError):
        life.send_bytes(str(child).encode())
        with selectors.DefaultSelector() as selector:
            selector.register(life, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            while code is None:
                ready = {key.fileobj for key, _ in selector.select()}
                if life in ready and not _passed_on(life.recv_bytes(), child):
                    break
                if wake_read in ready:
                    os.read(wake_read, 4096)
                    code = _reap(child)
    killed = _kill_all_below(child)
    with contextlib.suppress(OSError):
        life.send_bytes(str(killed if code is None else code).encode())
    os._exit(0)


def _passed_on(message: bytes, child: int) -> bool:
    """Sends the child's group the signal that the server asks for; False if it asks for the end."""
    if not message.startswith(b"signal "):
        return False
    # The child is not collected yet, so that the number of its group is no other's.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, int(message[7:]))
    return True


def _reap(child: int) -> int | None:
    """Collects every descendant that has ended; the child's own exit code if it is among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
    return code


def _kill_all_below(child: int) -> int:
    """Kills the child, its group and every descendant, and collects them; returns the child's exit code."""
    import psutil

    code = -signal.SIGKILL
    me = psutil.Process()
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        for process in me.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
    return code


def _run(name: str, plain: tuple[Any, ...], channel: Connection, output: Connection, guardian: int) -> None:
    """Runs in the process itself: takes on its identity, calls its target, and ends. Never returns."""
    code = 1
    try:
        target, args, env, folder, limits = plain
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:
            os._exit(1)
        _prctl(_PR_SET_NAME, name.encode()[:15])
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _redirect(output)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(folder)
        _limit(limits)
        _reseed()
        module, _, function = target.partition(":")
        getattr(import_module(module), function)(channel, *args)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _redirect(output: Connection) -> None:
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    wanted = []
    if limits.memory_mb is not None:
        wanted.append((resource.RLIMIT_AS, limits.memory_mb * 1024 * 1024))
    if limits.open_files is not None:
        wanted.append((resource.RLIMIT_NOFILE, limits.open_files))
    for kind, value in wanted:
        # A limit cannot be raised above the one that is in force already.
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _reseed() -> None:
    """Gives the process random numbers of its own: what was forked would repeat its siblings'."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
