"""The local clouds' one process: the gateway, the dialects and the engine beneath them.

``labkit.cloud.client`` starts it as ``python -c "from labkit.cloud.server import main; main()" FOLDER [--keep]``. It is
not run as a module because the processes that the clouds start would import it again. It says on standard output, in
one line of JSON, that it is ready or why it is not; everything else goes to standard error, the log. With ``--keep``
it stops, and removes its folder, when its standard input ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import queue
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from labkit.cloud import environment
from labkit.cloud.code_version import code_version
from labkit.cloud.dialect import Dialect
from labkit.cloud.engine import Engine
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.gateway.ca import Authority
from labkit.cloud.gateway.control import Bad, Control, Route
from labkit.cloud.gateway.listener import Listener
from labkit.cloud.gateway.proxy import Proxy
from labkit.cloud.gateway.router import Router
from labkit.cloud.inventory import Keeper
from labkit.cloud.state import Lab
from labkit.errors import LabError

#: A socket's path may have some 100 characters; multiprocessing puts its own 32 below the folder for temporary files.
LONGEST_RUN = 70

_log = logging.getLogger(__name__)


def main() -> None:
    """The process's entry; see the module's text for its arguments. Does not return."""
    folder, *options = sys.argv[1:]
    keep = "--keep" in options
    if not keep and os.fork():
        # The child belongs to no one: whoever asked for the clouds neither waits for it nor is told of its end.
        os._exit(0)
    _settle()
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    status = 0
    try:
        lab = Lab(Path(folder))
        _serve(lab, ready, keep)
    except LabError as error:
        _say(ready, {"error": str(error)})
        status = 1
    except BaseException:
        _log.exception("the clouds could not be started")
        status = 1
    finally:
        if keep:
            shutil.rmtree(folder, ignore_errors=True)
        logging.shutdown()
        os._exit(status)


def _settle() -> None:
    """Makes the process fit for serving: private files, many open files, quick turns between threads."""
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if most == resource.RLIM_INFINITY else min(most, 65536)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    # A request that has its answer in hand should not wait 5 ms (the default) for one that computes.
    sys.setswitchinterval(0.0005)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def _serve(lab: Lab, ready: Any, keep: bool) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    lab.clean_run()
    if len(str(lab.run)) <= LONGEST_RUN:
        # What is left there by clouds that were killed is removed when they next start.
        tempfile.tempdir = str(lab.run)
    os.chdir(lab.folder)
    server = Server(lab, stop)
    try:
        lab.write(lab.server_file, json.dumps({"pid": os.getpid(), "port": lab.port}))
        server.start()
        if keep:
            threading.Thread(target=_wait_for_end_of_input, args=(stop,), name="keeper", daemon=True).start()
        _say(ready, {"ready": True, "pid": os.getpid()})
        _log.info("ready on %s, pid %d", lab.url, os.getpid())
        stop.wait()
        _log.info("stopping")
    finally:
        server.close()
        _end_children()
        lab.server_file.unlink(missing_ok=True)


def _end_children() -> None:
    """Ends the process from which the others are forked: it would finish its imports before it saw that it is alone."""
    import psutil

    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _say(ready: Any, news: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        ready.write(json.dumps(news) + "\n")
        ready.close()


def _wait_for_end_of_input(stop: threading.Event) -> None:
    """Stops the clouds when the process that they were made for is gone, which closes its end of the pipe."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()


def _dialects(engine: Engine, lab: Lab, authority: Authority) -> Sequence[Dialect]:
    from labkit.cloud.aws import AwsCloud
    from labkit.cloud.azure import AzureCloud
    from labkit.cloud.gcp import GcpCloud

    def clients() -> dict[str, str]:
        return environment.of_code(lab)

    return [
        AwsCloud(engine, lab, clients),
        AzureCloud(engine, lab, clients),
        GcpCloud(engine, lab, clients, authority.certificate),
    ]


class Server:
    """The clouds, put together. The port is bound at once; :meth:`start` begins to answer."""

    def __init__(self, lab: Lab, stop: threading.Event) -> None:
        self._lab = lab
        self._stop = stop
        self._started = time.time()
        self._code = code_version()
        try:
            self._listener = Listener(lab.port)
        except OSError as error:
            raise LabError(
                f"Port {lab.port} of 127.0.0.1, this lab's, is taken by another program ({error.strerror}); stop that "
                "program, or run `labkit up --new-port` and restart the kernels that are open."
            ) from error
        self._engine = Engine(lab.run)
        self._authority = Authority(lab.ca_certificate, lab.ca_key, lab.run)
        self._dialects = _dialects(self._engine, lab, self._authority)
        self._router = Router(self._dialects, lab.pass_through)
        self._keeper = Keeper(lab, self._dialects, self._engine.audit)
        routes: dict[str, Route] = {
            "GET status": self._status,
            "POST reset": self._reset,
            "GET clock": self._clock,
            "POST clock/advance": self._advance,
            "POST down": self._down,
        }
        control = Control(lab.port, lab.token, routes)
        self._proxy = Proxy(self._router, self._authority, control)

    def start(self) -> None:
        self._listener.start(self._proxy.handle)
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def _warm(self) -> None:
        """Does ahead what the first calls would wait for. The clouds answer meanwhile."""
        self._authority.warm()
        for dialect in self._dialects:
            dialect.warm()
        self._engine.launcher.warm()
        # What was made so far stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()

    def close(self) -> None:
        """Stops everything that runs in the clouds."""
        self._listener.close()
        self._keeper.close()
        for dialect in self._dialects:
            dialect.close()
        self._engine.close()

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "port": self._lab.port,
            "folder": str(self._lab.folder),
            "started": self._started,
            "code": self._code,
            "time": self._engine.clock.now().isoformat(),
            "offset": self._engine.clock.offset.total_seconds(),
            "calls": self._engine.audit.total,
            "clouds": {dialect.name: dialect.inventory() for dialect in self._dialects},
            "pass_through": list(self._lab.pass_through()),
            "refusals": [refusal.plain() for refusal in self._router.refusals()],
        }

    def _reset(self, _: dict[str, Any]) -> dict[str, Any]:
        gone = {dialect.name: dialect.inventory() for dialect in self._dialects}
        for dialect in self._dialects:
            dialect.reset()
        self._engine.reset()
        return {"gone": gone}

    def _clock(self, _: dict[str, Any]) -> dict[str, Any]:
        clock = self._engine.clock
        return {"time": clock.now().isoformat(), "offset": clock.offset.total_seconds()}

    def _advance(self, payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seconds = payload.get("seconds")
        try:
            return self._advanced(timedelta(seconds=float(seconds)))  # type: ignore[arg-type]  # what else it is raises
        except (TypeError, ValueError, OverflowError):
            raise Bad("The clock is advanced by a number of seconds.") from None

    def _advanced(self, by: timedelta) -> Iterator[dict[str, Any]]:
        news: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                firings = self._engine.clock.advance(by, lambda line: news.put({"progress": line}))
                fired = [{"at": each.at.isoformat(), "name": each.name, "error": each.error} for each in firings]
                news.put({**self._clock({}), "fired": fired})
            except CloudError as error:
                news.put({"error": error.message})
            except Exception as error:
                _log.exception("the clock could not be advanced")
                news.put({"error": f"The clock could not be advanced ({error}), a defect; see server.log."})
            news.put(None)

        threading.Thread(target=work, name="advance", daemon=True).start()
        while (each := news.get()) is not None:
            yield each

    def _down(self, _: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield {"pid": os.getpid(), "gone": {dialect.name: dialect.inventory() for dialect in self._dialects}}
        # The answer has left by now.
        self._stop.set()
