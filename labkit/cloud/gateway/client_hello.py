"""What a TLS client says first, read without taking it from the connection: does it speak HTTP/2 only?

Clients of gRPC offer ``h2`` alone in ALPN; others that can do HTTP/2 (curl) offer ``http/1.1`` beside it.
RFC 8446 section 4.1.2 (ClientHello) and RFC 7301 (ALPN).
"""

from __future__ import annotations

import select
import socket
import time

#: Seconds that a client may take over its first message.
PATIENCE = 30.0
#: Bytes of the largest first message that is looked at; it is one record.
LARGEST = 5 + (1 << 14)

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_ALPN = 16


def offers_http2_only(sock: socket.socket) -> bool:
    """Whether the client that has begun TLS on ``sock`` offers ``h2`` and not ``http/1.1``. Reads nothing away."""
    offered = protocols(_peek(sock))
    return "h2" in offered and "http/1.1" not in offered


def _peek(sock: socket.socket) -> bytes:
    """The client's first record, as far as it has come when the time is up."""
    deadline = time.monotonic() + PATIENCE
    seen = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
        before, seen = len(seen), sock.recv(LARGEST, socket.MSG_PEEK)
        if not seen or seen[0] != _HANDSHAKE or len(seen) >= 5 + int.from_bytes(seen[3:5], "big") > 5:
            break
        if len(seen) == before:
            # The rest is on its way, and select would say at once that there is something to read.
            time.sleep(0.002)
    return seen


def protocols(record: bytes) -> list[str]:
    """The protocols that a ClientHello offers in ALPN, the preferred one first; none where it is not whole."""
    try:
        reader = _Reader(record)
        if reader.number(1) != _HANDSHAKE:
            return []
        reader.take(4)
        if reader.number(1) != _CLIENT_HELLO:
            return []
        reader.take(3 + 2 + 32)
        for length in (1, 2, 1):
            # The session's id, the cipher suites, the compression methods.
            reader.take(reader.number(length))
        extensions = _Reader(reader.take(reader.number(2)))
        while extensions.left:
            kind, content = extensions.number(2), extensions.take(extensions.number(2))
            if kind == _ALPN:
                return _names(content)
    except EOFError:
        pass
    return []


def _names(content: bytes) -> list[str]:
    reader = _Reader(content)
    reader.number(2)
    names = []
    while reader.left:
        names.append(reader.take(reader.number(1)).decode("ascii", "replace"))
    return names


class _Reader:
    """Takes numbers and bytes from the front of ``data``; raises EOFError when there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise EOFError
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")
