"""Jobs: a command of the learner's in a process of its own, from its start to its end.

What the clouds call a training or processing job, a command job, a pipeline's step or a custom job is here one
:class:`Job`: a command with an environment, a folder, and the absolute paths that a container of the cloud would have.

A Python command runs warm: forked from a process whose usual imports are done, as a new interpreter would run it
(:mod:`labkit.cloud.engine.fresh_python`). Any other command is executed. Either way the process, and whatever it
starts, ends with the job.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal

from labkit.cloud.engine import requirements
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.errors import Invalid, StartFailed, Unavailable, Unsupported
from labkit.cloud.engine.launcher import Launched, Launcher, Limits, ProcessSpec
from labkit.cloud.engine.replica import unpack

#: Lines that a job keeps of its output, and how many characters of each.
TAIL, TAIL_LINE = 50, 4096
#: Seconds that a process may take to say that it has begun.
START_TIMEOUT = 60.0
#: Threads of the numerical libraries, unless the job's environment says otherwise: OpenMP's spin while they wait for
#: each other, and on a machine that is busy with the clouds and a notebook training takes many times as long.
_THREADS = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // 2, 1)), "OMP_WAIT_POLICY": "PASSIVE"}

#: The last line of a program that was given no memory.
_NO_MEMORY = re.compile(r"(?:[\w.]*MemoryError\b|.*std::bad_alloc|.*[Cc]annot allocate memory)")

State = Literal["Running", "Succeeded", "Failed", "Stopped", "TimedOut"]


@dataclass(frozen=True)
class JobSpec:
    """A job to start.

    ``command`` is executed in ``folder``; where its first word is ``python``, ``python3`` or this interpreter's path,
    it is this environment's Python, for commands that it starts too. ``env`` is the whole environment. ``mounts`` are
    absolute paths as the job sees them, and the real folders that it finds there; a ``folder`` within one of them is
    seen under the mount's path.

    ``output`` receives each line of standard output and error, without its end, from one thread; a slow one slows
    the job down. ``timeout`` is in seconds of real time; ``stop_grace`` those between a request to end and the end.
    ``memory_mb`` is the address space that each of the job's processes may use. ``requirements`` is a
    requirements.txt that has to be met by what is installed.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    output: Callable[[str], None]
    mounts: Mapping[str, Path] = field(default_factory=dict)
    timeout: float | None = None
    stop_grace: float = 2.0
    memory_mb: int | None = None
    requirements: Path | None = None


class Job:
    """A job that was started; safe to use from any thread. It is a :class:`~labkit.cloud.engine.clock.Work`.

    ``started_at`` and ``ended_at`` are lab time, ``seconds`` real time. ``exit_code`` is as a shell gives it: 128 and
    the signal's number where one ended it. ``reason`` is one sentence; of a job that runs or succeeded it is empty.
    """

    def __init__(self, spec: JobSpec, clock: Clock) -> None:
        self.spec = spec
        self.name = spec.name
        self.pid: int | None = None
        self.state: State = "Running"
        self.exit_code: int | None = None
        self.reason = ""
        self.started_at = clock.now()
        self.ended_at: datetime | None = None
        self._clock = clock
        self._began = time.monotonic()
        self._seconds: float | None = None
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._when_ended: list[Callable[[Job], None]] = []
        self._process: Launched | None = None
        self._ending: tuple[State, str] | None = None
        self._timers: list[threading.Timer] = []

    @property
    def tail(self) -> list[str]:
        """The last lines of the output."""
        with self._lock:
            return list(self._tail)

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        return time.monotonic() - self._began if self._seconds is None else self._seconds

    def wait(self, timeout: float | None = None) -> bool:
        """Waits up to ``timeout`` seconds; returns whether the job has ended. Actions may still be under way."""
        return self._ended.wait(timeout)

    def stop(self, grace: float | None = None) -> None:
        """Asks the job to end (SIGTERM to its processes), and ends it after ``grace`` seconds; returns at once."""
        self._end_as("Stopped", "It was stopped.", self.spec.stop_grace if grace is None else grace)

    def when_ended(self, action: Callable[[Job], None]) -> None:
        """Calls ``action`` when the job has ended, in a thread where it may take its time; at once if it has."""
        with self._lock:
            if not self._ended.is_set():
                self._when_ended.append(action)
                return
        action(self)

    def _attach(self, process: Launched) -> None:
        with self._lock:
            self._process = process
            self.pid = process.pid
            if self.spec.timeout is not None:
                why = f"It ran longer than the {self.spec.timeout:g} s that it may take, and was stopped."
                self._in(self.spec.timeout, lambda: self._end_as("TimedOut", why, self.spec.stop_grace))
        process.when_ended(lambda: self._over(process.wait(0)))

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.name, timer.daemon = f"timer of {self.name}", True
        self._timers.append(timer)
        timer.start()

    def _end_as(self, state: State, reason: str, grace: float) -> None:
        with self._lock:
            if self._ended.is_set() or self._ending is not None or self._process is None:
                return
            self._ending = state, reason
            process = self._process
            if grace > 0:
                self._in(grace, process.kill)
        if grace > 0:
            process.signal(signal.SIGTERM)
        else:
            process.kill()

    def _line(self, line: str) -> None:
        with self._lock:
            self._tail.append(line[:TAIL_LINE])
        self.spec.output(line)

    def _over(self, code: int | None) -> None:
        """Notes the end. ``code`` is negative for a signal, None for a process that nobody knows of any more."""
        with self._lock:
            code = -signal.SIGKILL if code is None else code
            self.exit_code = code if code >= 0 else 128 - code
            if self._ending is not None:
                self.state, self.reason = self._ending
            elif code == 0:
                self.state = "Succeeded"
            else:
                self.state, self.reason = "Failed", _reason(code, self._tail[-1] if self._tail else "", self.spec)
            self._close()
            actions, self._when_ended = self._when_ended, []
        if actions:
            # Not in the launcher's thread, which reads what other processes say.
            threading.Thread(target=self._call, args=(actions,), name=f"end of {self.name}", daemon=True).start()

    def _fail(self, reason: str, code: int) -> None:
        """Ends a job that no process was started for."""
        with self._lock:
            self.state, self.reason, self.exit_code = "Failed", reason, code
            self._close()

    def _close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.ended_at = self._clock.now()
        self._seconds = time.monotonic() - self._began
        self._ended.set()

    def _call(self, actions: Sequence[Callable[[Job], None]]) -> None:
        for action in actions:
            action(self)


class Jobs:
    """Starts jobs, and ends those that run when the clouds are emptied or stop."""

    def __init__(self, clock: Clock, launcher: Launcher) -> None:
        self._clock = clock
        self._launcher = launcher
        self._lock = threading.Lock()
        self._running: set[Job] = set()
        self._refusal: str | None = None
        self._closed = False

    def start(self, spec: JobSpec) -> Job:
        """Starts a job; returns once its process has begun.

        A job whose requirements are not met has failed when it is returned, and its output says why. Raises
        :class:`Invalid` for a command or folder that is none, :class:`Unsupported` where the system does not allow
        the mounts, :class:`StartFailed` when it starts no process, :class:`Unavailable` when the clouds stop.
        """
        if not spec.command:
            raise Invalid(f"The job {spec.name} has no command to run.")
        for folder in (spec.folder, *spec.mounts.values()):
            if not folder.is_dir():
                raise Invalid(f"The job {spec.name} cannot start: {folder} is no folder.")
        if spec.requirements is not None and not spec.requirements.is_file():
            raise Invalid(f"The job {spec.name} cannot start: {spec.requirements} is no file.")
        job = Job(spec, self._clock)
        if spec.requirements is not None and (problems := requirements.unmet(spec.requirements)):
            for problem in problems:
                job._line(problem)
            job._fail(problems[0], 1)
            return job
        process = self._launch(spec, job)
        with self._lock:
            if self._closed:
                process.kill()
                raise Unavailable(f"The job {spec.name} cannot start: the clouds are being stopped.")
            self._running.add(job)
        process.when_ended(lambda: self._forget(job))
        job._attach(process)
        return job

    def refuses_mounts(self) -> str:
        """Why a job's mounts are refused on this system, as one sentence; empty where they are not. Tried once."""
        if self._refusal is None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    self.start(
                        JobSpec("mounts", ["true"], {}, Path(folder), lambda _: None, mounts={"/opt/ml": Path(folder)})
                    ).wait()
                    self._refusal = ""
                except Unsupported as refused:
                    self._refusal = refused.message
        return self._refusal

    def running(self) -> list[Job]:
        """The jobs that have not ended."""
        with self._lock:
            return list(self._running)

    def clear(self) -> None:
        """Ends every job at once, and returns when they have ended."""
        running = self.running()
        for job in running:
            job.stop(grace=0)
        for job in running:
            job.wait(20.0)

    def close(self) -> None:
        """As :meth:`clear`; and no job can be started any more."""
        with self._lock:
            self._closed = True
        self.clear()

    def _launch(self, spec: JobSpec, job: Job) -> Launched:
        env = {**_THREADS, **spec.env}
        env["PATH"] = os.pathsep.join((*_commands(), env.get("PATH", os.defpath)))
        shown = {path: str(folder) for path, folder in spec.mounts.items()}
        try:
            process = self._launcher.start(
                ProcessSpec(
                    name=spec.name,
                    target="labkit.cloud.engine.job_worker:run",
                    args=(list(spec.command), shown, str(spec.folder), _path()),
                    env=env,
                    folder=spec.folder,
                    output=job._line,
                    limits=Limits(memory_mb=spec.memory_mb),
                )
            )
        except OSError as error:
            raise StartFailed(f"The job {spec.name} could not be started: {error}.") from error
        with process.channel as channel:
            try:
                said = unpack(channel.recv_bytes())[0] if channel.poll(START_TIMEOUT) else {}
            except (EOFError, OSError, ValueError):
                said = {}
        if "began" not in said:
            process.kill()
            process.wait(5.0)
            if "refused" in said:
                raise Unsupported(said["refused"])
            raise StartFailed(f"The process of the job {spec.name} did not begin.", log_tail="\n".join(job.tail))
        return process

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._running.discard(job)


def _reason(code: int, last: str, spec: JobSpec) -> str:
    limit = f"the {spec.memory_mb} MB that each of its processes may use" if spec.memory_mb else "the system's memory"
    ending = f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.Signals(-code).name}"
    if _NO_MEMORY.match(last):
        return f"It ran out of memory: it asked for more than {limit} ({ending})."
    if code == -signal.SIGKILL:
        return f"It was killed from outside ({ending}), as a system does to a process when memory runs out."
    return f"It ended with {ending}."


@cache
def _commands() -> list[str]:
    """The folders in which a job finds this environment's ``python``.

    Vendors' start scripts use what ``command -v python3`` says without quotation marks; where the environment's own
    path has a space in it, a folder without one comes first.
    """
    here = str(Path(sys.executable).parent)
    if not re.search(r"\s", here):
        return [here]
    folder = tempfile.mkdtemp(prefix="labkit-commands-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("python", "python3"):
        command = Path(folder, name)
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
    return [folder, here]


@cache
def _path() -> list[str]:
    """A new interpreter's ``sys.path`` without its first entry and PYTHONPATH's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    program = "import sys, json; print(json.dumps(sys.path[1:]))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    return list(json.loads(done.stdout))
