"""The *Local clouds* kernel: IPython's own, in an environment that leads to the local clouds."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from labkit.cloud import client, environment, state
from labkit.cloud.inventory import spelled
from labkit.cloud.state import Lab
from labkit.errors import LabError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

#: Where clients are sent when there is no lab to send them to: the discard port, where nothing answers.
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Entered:
    """The lab that the kernel is in, if it could be opened, and what its learner must be told."""

    lab: Lab | None
    failure: str = ""  #: why the clouds do not run
    notice: str = ""  #: what was lost since they last did


def enter(environ: MutableMapping[str, str], log: TextIO) -> Entered:
    """Starts the clouds unless they run, and makes ``environ`` lead to them and nowhere else.

    It leads nowhere else when they cannot be started, too: what the machine's owner had set is taken out all the same.
    """
    lab = None
    failure = notice = ""
    try:
        lab = Lab(state.folder())
        leading = environment.inside(lab, environ)
    except LabError as error:
        failure = str(error)
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), NOWHERE)
        leading = environment.clean(environ) | proxies | {"AWS_EC2_METADATA_DISABLED": "true"}
    environ.clear()
    environ.update(leading)
    if lab is not None and not failure:
        try:
            started = client.up(lab, lambda line: print(line, file=log, flush=True))
        except LabError as error:
            failure = str(error)
        else:
            lost = spelled(started.lost)
            notice = f"The local clouds were killed when last they ran. Gone with them: {lost}." if lost else ""
    return Entered(lab, failure, notice)


def announce(shell: InteractiveShell, sentence: str, *, always: bool) -> None:
    """Prints a sentence before the next cell runs, or before every one."""

    def say(_: Any) -> None:
        print(sentence, file=sys.stderr)
        if not always:
            shell.events.unregister("pre_run_cell", say)

    shell.events.register("pre_run_cell", say)


class RefusalLog(threading.Thread):
    """Writes to the kernel's log what the gateway refused, each time that a cell has run."""

    def __init__(self, lab: Lab, log: TextIO) -> None:
        super().__init__(name="refusal-log", daemon=True)
        self._lab = lab
        self._log = log
        self._seen = time.time()
        self._cell_ran = threading.Event()

    def cell_ran(self, _: Any = None) -> None:
        self._cell_ran.set()

    def run(self) -> None:
        while self._cell_ran.wait():
            self._cell_ran.clear()
            self.write_new()

    def write_new(self) -> None:
        try:
            refusals = (client.status(self._lab) or {}).get("refusals", [])
        except LabError:
            return  # the clouds are being stopped: nothing was refused by them
        for refusal in refusals:
            if refusal["at"] > self._seen:
                self._seen = refusal["at"]
                print(f"Refused: {refusal['why']}", file=self._log, flush=True)


def run(
    arguments: Sequence[str],
    *,
    watched: bool = False,
    entered: Callable[[], None] = lambda: None,
    initialized: Callable[[], None] = lambda: None,
) -> None:
    """Runs the kernel to its end.

    ``watched`` says that the process ends with the one that started it already. ``entered`` is called once the
    environment is the lab's, ``initialized`` once what is printed is a cell's output.
    """
    # IPython's kernel takes standard error for itself, as a cell's output; the copy goes on to Jupyter's log.
    log = os.fdopen(os.dup(2), "w")
    found = enter(os.environ, log)
    # Imported here: what a library reads from the environment at its import is then the lab's.
    from ipykernel.kernelapp import IPKernelApp

    entered()
    # 1 is no parent that could end, and is not watched.
    app = IPKernelApp.instance(**({"parent_handle": 1} if watched else {}))
    # Its sockets are on loopback and its messages are signed, so this warning would only worry.
    app.log.addFilter(lambda record: "without encryption" not in record.getMessage())
    app.initialize(list(arguments))
    initialized()
    shell = app.shell
    assert shell is not None
    if found.failure:
        print(found.failure, file=log, flush=True)
        announce(shell, f"{found.failure} Then restart the kernel.", always=True)
    elif found.lab:
        refusals = RefusalLog(found.lab, log)
        refusals.start()
        shell.events.register("post_run_cell", refusals.cell_ran)
    if found.notice:
        announce(shell, found.notice, always=False)
    app.start()
