"""``labkit exec``: one command in the lab's environment."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from labkit.cloud import client, environment, state
from labkit.cloud.client import Progress
from labkit.errors import LabError

_FORWARDED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
#: What a terminal sends to every process of the foreground group, so that the command has it already.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


class CannotRun(LabError):
    """The command cannot be run; ``status`` is the exit status that shells give in that case."""

    def __init__(self, command: str, error: OSError) -> None:
        missing = isinstance(error, FileNotFoundError)
        why = "was not found; check its spelling" if missing else f"cannot be run ({error.strerror})"
        super().__init__(f"The command {command} {why}.")
        self.status = 127 if missing else 126


def execute(command: Sequence[str], *, fresh: bool, note: Progress) -> int:
    """Runs ``command`` against the lab's clouds, or against fresh ones that end with it.

    Against the lab's, the command takes this process's place and nothing returns. Against fresh ones it returns the
    exit status; if a signal ended the command, the same signal ends this process.
    """
    if not fresh:
        lab = state.Lab(state.folder())
        client.up(lab, note)
        variables = environment.inside(lab, os.environ)
        try:
            sys.stdout.flush()
            os.execvpe(command[0], list(command), variables)
        except OSError as error:
            raise CannotRun(command[0], error) from error
    with client.fresh() as lab:
        code = _run(command, environment.inside(lab, os.environ))
    if code < 0:
        _end_by(-code)
    return code


def _run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Runs the command to its end, handing on the signals that come meanwhile."""
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _: object) -> None:
        if process is None:
            early.append(number)
        elif not (number in _FROM_TERMINAL and _in_foreground()):
            process.send_signal(number)

    for number in _FORWARDED:
        # What is ignored here (nohup) has to stay so: the command inherits it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        process = subprocess.Popen(command, env=variables)
    except OSError as error:
        raise CannotRun(command[0], error) from error
    for missed in early:
        process.send_signal(missed)
    return process.wait()


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _end_by(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
