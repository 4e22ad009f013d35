"""Starts, stops and asks the local clouds: what the command line, the kernel and ``Lab`` stand on."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from labkit.cloud.code_version import code_version
from labkit.cloud.inventory import Inventory, spelled, take_left_behind
from labkit.cloud.state import Lab, checkout
from labkit.errors import LabError

Progress = Callable[[str], None]

#: Seconds that the clouds may take to start, far beyond what they need.
START = 60.0
#: Seconds that they may take to stop before they are killed.
STOP = 15.0
#: Seconds that others may look whether a server runs: a moment, but for a machine that is very busy.
LOOKS = 10.0
#: The log is set aside at the next start when it is larger (bytes).
LARGEST_LOG = 1 << 20

#: What the server inherits. A list of what may stay, because a server that acts as another identity than its
#: callers must not meet theirs.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "CONDA_PREFIX")
_INHERITED_PREFIXES = ("LC_", "XDG_", "LD_", "DYLD_", "OMP_", "OPENBLAS_", "MKL_")


def _quiet(_: str) -> None:
    pass


@dataclass
class Started:
    """What :func:`up` found or did: the server's process id, whether it is a new one, and what a killed one lost."""

    pid: int
    new: bool
    lost: Inventory = field(default_factory=dict)


def up(lab: Lab, progress: Progress = _quiet) -> Started:
    """Sees that the lab's clouds run, and returns when they answer. Harmless when they do already.

    Raises :class:`LabError` when they cannot be started; says through ``progress`` what a person should know.
    """
    with _starting(lab):
        found = status(lab)
        if found is not None:
            if found["code"] != code_version():
                progress(
                    "The local clouds that run were started from older code; "
                    "`labkit down` and `labkit up` start them anew, and what is in them will be gone."
                )
            return Started(found["pid"], new=False)
        lost = take_left_behind(lab)
        if gone := spelled(lost):
            progress(f"The local clouds were killed when last they ran. Gone with them: {gone}.")
        progress("Starting the local clouds ...")
        process, pid = _start(lab, keep=False)
        process.wait()
        return Started(pid, new=True, lost=lost)


def down(lab: Lab, progress: Progress = _quiet) -> Inventory | None:
    """Stops the lab's clouds and returns what was in them; None when they did not run. Kills them if they hang."""
    with _starting(lab):
        if not runs(lab):
            return None
        progress("Stopping the local clouds ...")
        pid = _pid(lab)
        gone: Inventory = {}
        try:
            gone = control(lab, "POST", "down", timeout=STOP)["gone"]
            stopped = _wait_for_end(lab)
        except LabError:
            stopped = False
        if not stopped and pid is not None:
            progress("They do not answer: killing them.")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            stopped = _wait_for_end(lab)
            left = take_left_behind(lab)
            gone = gone or left
        if not stopped:
            raise LabError(f"The local clouds do not stop; end the process that holds {lab.lock_file} by hand.")
        return gone


def status(lab: Lab) -> dict[str, Any] | None:
    """What the running server says of itself; None when there is none; :class:`LabError` when it does not answer."""
    try:
        return control(lab, "GET", "status", timeout=10.0) if runs(lab) else None
    except LabError:
        if runs(lab):
            raise
        return None


def control(
    lab: Lab, method: str, path: str, payload: dict[str, Any] | None = None, timeout: float | None = None
) -> dict[str, Any]:
    """One request to the control interface; returns its answer, the last line of one that came in lines."""
    answer: dict[str, Any] = {}
    for line in control_lines(lab, method, path, payload, timeout):
        answer = line
    return answer


def control_lines(
    lab: Lab, method: str, path: str, payload: dict[str, Any] | None = None, timeout: float | None = None
) -> Iterator[dict[str, Any]]:
    """One request to the control interface, answered in pieces as they come."""
    # Asked first because the token must not reach a stranger who has taken the port.
    if not runs(lab):
        raise LabError("The local clouds do not run; start them with `labkit up`.")
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=timeout)
    try:
        connection.request(
            method, f"/_labkit/{path}", json.dumps(payload or {}), {"Authorization": f"Bearer {lab.token}"}
        )
        response = connection.getresponse()
        if not response.getheader("Content-Type", "").startswith("application/json"):
            raise LabError(f"The local clouds refused: {response.read(500).decode('utf-8', 'replace').strip()}")
        for line in response:
            answer = json.loads(line)
            if "error" in answer:
                raise LabError(answer["error"])
            yield answer
    except ConnectionRefusedError as error:
        raise LabError("The local clouds are being started or stopped; try again in a moment.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LabError(
            f"The local clouds do not answer ({error}); see {lab.log_file}, or restart them with "
            "`labkit down` and `labkit up`."
        ) from error
    finally:
        connection.close()


@contextlib.contextmanager
def fresh() -> Iterator[Lab]:
    """Clouds of one's own, in a temporary state folder; they end with the block, even if this process is killed."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="labkit-"))
    except OSError as error:
        raise LabError(f"No temporary folder can be made ({error.strerror}); set TMPDIR to one with room.") from error
    process: subprocess.Popen[bytes] | None = None
    try:
        lab = Lab(folder)
        process, _ = _start(lab, keep=True)
        yield lab
    finally:
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start(lab: Lab, keep: bool) -> tuple[subprocess.Popen[bytes], int]:
    """Starts the server; returns when it answers, with the process that was started and the server's id."""
    with lab.usable(), lab.lock_file.open("ab") as lock:
        _take(lab, lock)
        process, before = _spawn(lab, lock, keep)
    try:
        return process, _wait_until_ready(lab, process, before)
    except BaseException:
        # A detached server is no child of this process, but still of the process group that was made for it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # The server that failed holds its lock to its last moment.
        _wait_for_end(lab)
        raise


def _spawn(lab: Lab, lock: IO[bytes], keep: bool) -> tuple[subprocess.Popen[bytes], int]:
    """Starts the server's process, which inherits the lock; returns it and where its part of the log begins."""
    if lab.log_file.exists() and lab.log_file.stat().st_size > LARGEST_LOG:
        os.replace(lab.log_file, lab.log_file.with_suffix(".log.1"))
    with lab.log_file.open("ab") as log:
        before = log.tell()
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                "from labkit.cloud.server import main; main()",
                str(lab.folder),
                *(["--keep"] if keep else []),
            ],
            stdin=subprocess.PIPE if keep else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_server_environment(),
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )
    return process, before


def _wait_until_ready(lab: Lab, process: subprocess.Popen[bytes], before: int) -> int:
    assert process.stdout is not None
    with process.stdout as news:
        line = news.readline() if select.select([news], [], [], START)[0] else b""
    said = json.loads(line) if line else {}
    if "error" in said:
        raise LabError(said["error"])
    if not said.get("ready"):
        raise LabError(f"The local clouds could not be started; {_last_words(lab, before)}")
    return int(said["pid"])


def _last_words(lab: Lab, before: int) -> str:
    with lab.log_file.open("rb") as log:
        log.seek(before)
        lines = [line.strip() for line in log.read()[-4096:].decode("utf-8", "replace").splitlines() if line.strip()]
    said = f"their last words were: {' | '.join(lines[-3:])}" if lines else "they left no word"
    return f"{said} (whole log: {lab.log_file})."


def _server_environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    # The package may be a checkout that was never installed.
    return kept | {"PYTHONPATH": str(checkout()), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def _starting(lab: Lab) -> Iterator[None]:
    """One at a time starts or stops a lab's clouds."""
    with lab.usable():
        lock = lab.start_lock_file.open("ab")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock(lock: IO[bytes], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(lab: Lab, lock: IO[bytes]) -> None:
    """Takes the server's lock, which others hold for the moment that it takes them to look whether a server runs."""
    deadline = time.monotonic() + LOOKS
    while not _lock(lock):
        if time.monotonic() > deadline:
            raise LabError(f"The local clouds of {lab.folder} run but do not answer; stop them with `labkit down`.")
        time.sleep(0.005)


def runs(lab: Lab) -> bool:
    """Whether the lab has a server, even one that does not answer (yet, or any more)."""
    with lab.usable(), lab.lock_file.open("ab") as lock:
        return not _lock(lock, fcntl.LOCK_SH)


def _wait_for_end(lab: Lab) -> bool:
    deadline = time.monotonic() + STOP
    while runs(lab):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _pid(lab: Lab) -> int | None:
    try:
        return int(json.loads(lab.server_file.read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
