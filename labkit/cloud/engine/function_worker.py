"""What runs inside a function's own process: prepares the learner's handler once, then answers events one at a time.

The conversation is that of :mod:`labkit.cloud.engine.replica`: framed bytes, never pickles.
"""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from labkit.cloud.engine import mounts
from labkit.cloud.engine.replica import pack, unpack


def serve(channel: Connection, adapter: str, options: dict[str, Any], folder: str, shown: dict[str, str]) -> None:
    """The process's main function; ``adapter`` as :class:`~labkit.cloud.engine.functions.FunctionSpec` says.

    ``shown`` are its mounts, ``folder`` its working directory as it sees it.
    """
    if shown:
        mounts.show({path: Path(real) for path, real in shown.items()})
        os.chdir(folder)
    sys.stdout = _Lines(os.fdopen(1, "wb", closefd=False), "utf-8", "replace", line_buffering=True)
    sys.stderr = _Lines(os.fdopen(2, "wb", closefd=False), "utf-8", "replace", line_buffering=True)
    module, _, name = adapter.partition(":")
    started = time.perf_counter()
    handler = getattr(import_module(module), name)(Path(folder), **options)
    failure: bytes | None = handler.load()
    head = {"ready": failure is None, "seconds": time.perf_counter() - started}
    _flush()
    channel.send_bytes(pack(head, failure or b""))
    if failure is not None:
        raise SystemExit(1)
    while True:
        try:
            head, body = unpack(channel.recv_bytes())
        except EOFError:
            return
        started = time.perf_counter()
        try:
            succeeded, answer = handler.handle(head, body)
        except Exception:
            # The adapter answers for the handler's errors; what is left is its own.
            traceback.print_exc()
            raise SystemExit(1) from None
        seconds = time.perf_counter() - started
        _flush()
        channel.send_bytes(pack({"succeeded": succeeded, "seconds": seconds}, answer))


class _Lines(io.TextIOWrapper):
    """A text stream that ends its last line when it is flushed by :func:`_flush`."""

    ended = True

    def write(self, text: str) -> int:
        if text:
            self.ended = text.endswith("\n")
        return super().write(text)


def _flush() -> None:
    """Sends on what was printed; a last line without an end is ended, or it would wait for the next event's."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Lines) and not stream.ended:
            stream.write("\n")
        stream.flush()
