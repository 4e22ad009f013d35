"""The warm process: imports what kernels usually need, and forks kernels; ``python -m labkit.kernels.warm_process``.

Its one thread takes requests between two imports, so that an early kernel need not wait for the last one; nothing that
starts a thread or a connection may be imported (``labkit.kernels.preload``). It ends when no kernel has run and none of
its users (Jupyter servers, runs of notebooks) has lived for a while, when users have asked for nothing for longer, and
when what it was made for has changed; kernels outlive it. ``labkit.kernels.warm`` has the other end.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import json
import os
import random
import resource
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.kernels import preload, warm

#: Seconds without a kernel after which the process ends: when no user lives, and when some do.
LINGER, IDLE = 30.0, 1200.0
#: Seconds between two looks at whether packages have changed.
LOOK = 10.0
#: Seconds in which a request must have come.
REQUEST = 2.0


@dataclass
class Kernel:
    """What a forked process needs to become a kernel."""

    arguments: list[str]
    parent: int  #: a descriptor of the process that it must not outlive, or -1


class WarmProcess:
    """Listens for requests; one for each mark."""

    def __init__(self, of: str, user: int) -> None:
        self._code = warm.code(os.environ)
        self._environ = dict(os.environ)
        self._path, lock, _ = warm.files(of)
        _sweep(lock.parent)
        self._lock = lock.open("a+b")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._say("warming")
        self._selector = selectors.DefaultSelector()
        self._kernels: dict[int, socket.socket] = {}
        self._users: dict[int, int] = {}
        self._last = time.monotonic()
        self._looked = time.monotonic()
        self._wake, self._wake_write = os.pipe()
        for end in (self._wake, self._wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._listener: socket.socket | None = self._listen()
        self._meet(user)

    def run(self) -> Kernel | None:
        """Imports and forks until the end; returns None in the warm process, and in each fork what it is to be."""
        for _ in preload.steps():
            if kernel := self._turn(0.0):
                return kernel
        if threading.active_count() > 1:
            names = [thread.name for thread in threading.enumerate()]
            print(f"a library has started threads when it was imported, so nothing is forked: {names}", flush=True)
            self._retire()
        # What is there is shared by all kernels; the collector would only copy it.
        gc.collect()
        gc.freeze()
        self._say("warm")
        self._last = time.monotonic()
        while not self._over():
            if kernel := self._turn(LOOK):
                return kernel
        self._retire()
        return None

    def _turn(self, timeout: float) -> Kernel | None:
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._listener:
                assert self._listener is not None
                line, _ = self._listener.accept()
                if kernel := self._answer(line):
                    return kernel
            elif key.fileobj == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._collect()
            else:
                self._selector.unregister(key.fileobj)
                os.close(self._users.pop(key.data))
                self._last = time.monotonic()
        return None

    def _over(self) -> bool:
        now = time.monotonic()
        if self._listener is not None and now - self._looked >= LOOK:
            self._looked = now
            if not self._current():
                self._retire()
        if self._kernels:
            return False
        return self._listener is None or now - self._last > (IDLE if self._users else LINGER)

    def _current(self) -> bool:
        """Whether this is still the process that its mark's kernels would find, and what they would be."""
        try:
            return warm.code(os.environ) == self._code and self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _retire(self) -> None:
        """Forks no more; stays to collect the kernels that run."""
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
                self._path.with_suffix(".lock").unlink()
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = None
        self._lock.close()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        before = os.umask(0o177)
        self._path.unlink(missing_ok=True)
        listener.bind(f"/proc/self/fd/{folder}/{self._path.name}")
        os.umask(before)
        os.close(folder)
        listener.listen(128)
        self._inode = self._path.stat().st_ino
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def _say(self, word: str) -> None:
        self._lock.truncate(0)
        self._lock.write(word.encode())
        self._lock.flush()

    def _meet(self, user: int) -> None:
        """Remembers a process as a user for as long as it lives."""
        if user not in self._users:
            with contextlib.suppress(ProcessLookupError):
                self._users[user] = os.pidfd_open(user)
                self._selector.register(self._users[user], selectors.EVENT_READ, user)

    def _answer(self, line: socket.socket) -> Kernel | None:
        self._last = time.monotonic()
        user, uid, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        line.settimeout(REQUEST)
        handles: list[int] = []
        try:
            if uid != os.getuid():
                raise PermissionError("it is another user's")
            self._meet(user)
            head, handles, _, _ = socket.recv_fds(line, 4, 3)
            if not head:
                # It only wants to be known, and to be sure of a process that is up to date.
                line.close()
                self._looked = -LOOK
                return None
            request = json.loads(_read(line, *struct.unpack(">I", head)))
            line.settimeout(None)
            pid = os.fork()
        except (OSError, EOFError, ValueError, struct.error) as error:
            print(f"a request failed: {type(error).__name__}: {error}", flush=True)
            line.close()
            pid = -1
        if pid == 0:
            return self._become(line, handles, request, user)
        for handle in handles:
            os.close(handle)
        if pid > 0:
            self._kernels[pid] = line
        return None

    def _become(self, line: socket.socket, handles: list[int], request: dict[str, Any], user: int) -> Kernel:
        """Makes the fork what a process that Jupyter had started would be, and tells its starter that it is there."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for target, handle in enumerate(handles):
            os.dup2(handle, target)
        os.umask(request["umask"])
        for limit, values in request["limits"]:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(limit, tuple(values))
        environ = preload.left_by_imports(self._environ) | request["env"]
        os.environ.clear()
        os.environ.update(environ)
        parent = self._users.pop(user, -1) if os.environ.get("JPY_PARENT_PID") == str(user) else -1
        # What is left is the warm process's alone.
        self._selector.close()
        self._lock.close()
        for each in [self._listener, *self._kernels.values()]:
            if each is not None:
                each.close()
        for handle in [self._wake, self._wake_write, *self._users.values(), *handles]:
            os.close(handle)
        try:
            os.chdir(request["folder"])
            mine = os.pidfd_open(os.getpid())
            socket.send_fds(line, [str(os.getpid()).encode()], [mine])
            os.close(mine)
        except (BrokenPipeError, ConnectionResetError):
            # The starter has given up waiting, and starts a kernel without a fork.
            os._exit(1)
        except OSError as error:
            print(f"a kernel was not started: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        line.close()
        return Kernel(request["arguments"], parent)

    def _collect(self) -> None:
        """Collects the kernels that have ended and tells how they did."""
        for pid in list(self._kernels):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                with contextlib.suppress(OSError), self._kernels.pop(pid) as line:
                    line.sendall(str(os.waitstatus_to_exitcode(status)).encode())
                self._last = time.monotonic()


def _read(line: socket.socket, length: int) -> bytes:
    text = bytearray()
    while len(text) < length:
        if not (piece := line.recv(min(length - len(text), 1 << 20))):
            raise EOFError
        text += piece
    return bytes(text)


def _sweep(folder: Path) -> None:
    """Removes what was left behind by warm processes that were killed."""
    for lock in folder.glob("*.lock"):
        with contextlib.suppress(OSError), lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.unlink()
            lock.with_suffix(".sock").unlink(missing_ok=True)


def _end_with(parent: int) -> None:
    """Ends this process as soon as the one that started it has ended, as IPython's own kernels do."""

    def watch() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(parent, selectors.EVENT_READ)
            selector.select()
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _hand_over(kept: Mapping[str, preload.Stream]) -> None:
    """Lets what modules kept of the standard streams at their import lead to the kernel's."""
    for name, stream in kept.items():
        stream.target = getattr(sys, name)


def _run(kernel: Kernel, kept: Mapping[str, preload.Stream]) -> None:
    """Runs in the forked process: the kernel to its end. Never returns."""
    for number, (stream, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        opened = open(number, mode, buffering=1 if number else -1, closefd=False)  # noqa: SIM115  # for good
        setattr(sys, stream, opened)
        setattr(sys, f"__{stream}__", opened)
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    from labkit.kernels import kernel as program
    from labkit.kernels import launch

    sys.argv = [str(launch.__file__), *kernel.arguments]
    if kernel.parent >= 0:
        _end_with(kernel.parent)
    code = 1
    try:
        program.run(
            kernel.arguments, watched=kernel.parent >= 0, entered=preload.thaw, initialized=lambda: _hand_over(kept)
        )
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        # What Python does at its end, but for taking thousands of modules apart, which takes seconds.
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """The process's entry: ``MARK PID_OF_THE_FIRST_USER``."""
    of, user = sys.argv[1:]
    # Python puts the working directory first, where nothing of the kernel's is.
    if sys.path[0] == os.getcwd():
        del sys.path[0]
    if os.fork():
        # The child belongs to no one; whoever asked for it does not wait.
        os._exit(0)
    try:
        process = WarmProcess(of, int(user))
    except BlockingIOError:
        return  # there is one already
    kept = {"stdout": preload.Stream(sys.stdout), "stderr": preload.Stream(sys.stderr)}
    sys.stdout, sys.stderr = kept["stdout"], kept["stderr"]
    if kernel := process.run():
        del process
        _run(kernel, kept)


if __name__ == "__main__":
    main()
