"""The gateway's port on 127.0.0.1: one thread for each connection."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable

_SHORT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger(__name__)


class Listener:
    """Accepts connections and has each handled in a thread of its own, until closed.

    Connections that are open when it is closed end with the process.
    """

    def __init__(self, port: int) -> None:
        """Binds the port (0: any free one); raises OSError when it is taken. :meth:`start` begins to accept."""
        self._closed = False
        self._socket = socket.socket()
        try:
            # Without it, connections that the last server left behind would keep the port for a minute.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("127.0.0.1", port))
            self._socket.listen(512)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    def start(self, handle: Callable[[socket.socket], None]) -> None:
        """Has every connection handled by ``handle``, which closes it."""
        threading.Thread(target=self._accept, args=(handle,), name="listener", daemon=True).start()

    def close(self) -> None:
        """Stops accepting."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self, handle: Callable[[socket.socket], None]) -> None:
        while not self._closed:
            try:
                sock, _ = self._socket.accept()
            except OSError as error:
                if error.errno in _SHORT_OF_RESOURCES:
                    _log.warning("no connection can be accepted at the moment: %s", error.strerror)
                    time.sleep(0.1)
                continue
            try:
                threading.Thread(target=_serve, args=(sock, handle), name="connection", daemon=True).start()
            except RuntimeError:
                _log.warning("no thread can be started for another connection")
                sock.close()


def _serve(sock: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    try:
        handle(sock)
    except Exception:
        _log.exception("a connection failed")
