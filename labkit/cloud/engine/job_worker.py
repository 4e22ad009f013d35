"""What runs inside a job's own process: shows it its files, then becomes the job's command.

The conversation with the server is one frame: ``{"began": true}``, or ``{"refused": sentence}``. After it the channel
is closed, and the process is the command's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from labkit.cloud.engine import fresh_python, mounts
from labkit.cloud.engine.errors import Unsupported
from labkit.cloud.engine.replica import pack

#: What a shell answers for a command that is not there, and for one that may not be executed.
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def run(channel: Connection, command: list[str], shown: dict[str, str], folder: str, path: list[str]) -> None:
    """The process's main function; never returns.

    ``shown`` are a job's mounts, ``folder`` its working directory, ``path`` a new interpreter's ``sys.path`` without
    its first entry.
    """
    _offer_to_the_kernel()
    if shown:
        folders = {each: Path(real).resolve() for each, real in shown.items()}
        try:
            mounts.show(folders)
        except Unsupported as refused:
            channel.send_bytes(pack({"refused": refused.message}))
            os._exit(1)
        os.chdir(mounts.seen(Path(folder).resolve(), folders))
    channel.send_bytes(pack({"began": True}))
    channel.close()
    program = fresh_python.plan(command, os.environ, path)
    if program is not None:
        fresh_python.run(program, os.environ, path)
    _execute(command)


def _execute(command: list[str]) -> None:
    # The interpreter ignores these, and an executed program would go on to.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    sys.stdout.flush()
    if fresh_python.is_this_python(command[0]):
        # Named in full: an interpreter that is called "python" looks for itself along PATH.
        command = [sys.executable, *command[1:]]
    try:
        os.execvpe(command[0], command, os.environ)
    except FileNotFoundError:
        _say(f"{command[0]}: command not found")
        os._exit(NOT_FOUND)
    except OSError as error:
        _say(f"{command[0]}: {error.strerror}")
        os._exit(NOT_EXECUTABLE)


def _say(line: str) -> None:
    os.write(2, line.encode(errors="surrogateescape") + b"\n")


def _offer_to_the_kernel() -> None:
    """Has the system end the job first when memory runs out, not the clouds."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
