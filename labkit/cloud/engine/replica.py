"""What runs inside a model replica's own process: loads the model once, then answers requests one at a time.

The conversation with the server is framed bytes, never pickles: a replica runs a learner's code, and the server must
not have to trust it. A frame is a JSON head, its length in four bytes before it, and the raw body after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import time
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: The largest frame that the server accepts from a replica (bytes).
LARGEST_FRAME = 512 * 1024 * 1024


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    """One frame."""
    encoded = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((struct.pack(">I", len(encoded)), encoded, body))


def unpack(frame: bytes) -> tuple[dict[str, Any], bytes]:
    """The head and the body of a frame; raises ValueError when it is none."""
    if len(frame) < 4:
        raise ValueError("a frame of less than four bytes")
    (length,) = struct.unpack_from(">I", frame)
    head = json.loads(frame[4 : 4 + length])
    if not isinstance(head, dict):
        raise ValueError("a frame whose head is no object")
    return head, frame[4 + length :]


#: What a replica says when it takes a request.
BEGUN = pack({"begun": True})


def serve(channel: Connection, container: str, options: dict[str, Any], folder: str) -> None:
    """The replica's main function; ``container`` as :class:`~labkit.cloud.engine.serving.ModelServer` says."""
    module, _, name = container.partition(":")
    try:
        model = getattr(import_module(module), name)(Path(folder), **options)
        model.load()
    except BaseException as error:
        traceback.print_exc()
        sys.stdout.flush()
        channel.send_bytes(pack({"failed": f"{type(error).__name__}: {error}"}))
        raise SystemExit(1) from None
    _limit_threads(os.environ.get("OMP_NUM_THREADS", "1"))
    channel.send_bytes(pack({"ready": True}))
    while True:
        try:
            head, body = unpack(channel.recv_bytes())
        except EOFError:
            return
        # Said before the model sees the request: one that a dying replica never began can go to another.
        channel.send_bytes(BEGUN)
        started = time.perf_counter()
        status, headers, answer = model.handle(head["headers"], body)
        seconds = time.perf_counter() - started
        channel.send_bytes(pack({"status": status, "headers": headers, "seconds": seconds}, answer))


def _limit_threads(most: str) -> None:
    """Keeps the numerical libraries that the model has loaded to that many threads each.

    One, unless the replica's environment says otherwise: it answers one request at a time, and threads that wait for
    each other on a busy machine made a prediction of 5 ms take 100.
    """
    # Without the package there is no scikit-learn either, whose threads these would be.
    with contextlib.suppress(ImportError, ValueError):
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(most))
