"""What the gateway and the server ask of a cloud."""

from __future__ import annotations

import socket
from typing import Protocol, runtime_checkable

from labkit.cloud.http import Request, Response


class Dialect(Protocol):
    """One vendor's vocabulary over the engine."""

    #: ``aws``, ``azure`` or ``gcp``.
    name: str

    def serves(self, host: str) -> bool | str:
        """Whether ``host`` is this cloud's: True, False, or one sentence that says why this host of its is refused.

        A refused host's requests are handed to :meth:`handle` too, to be answered with that sentence as an error.
        """

    def front(self, request: Request) -> bool:
        """Whether a request sent to the plain front's own address (no cloud's host name) is for this cloud."""

    def handle(self, request: Request) -> Response:
        """Answers one request, errors included. Called from the connection's own thread; never raises."""

    def warm(self) -> None:
        """Imports what the first calls need. Called once the clouds answer already."""

    def inventory(self) -> dict[str, list[str]]:
        """The names of what a learner made, by kind: what would be gone with the server."""

    def reset(self) -> None:
        """Empties the cloud."""

    def close(self) -> None:
        """Stops everything that runs in it."""


@runtime_checkable
class SpeaksHttp2(Protocol):
    """A dialect that has clients which speak HTTP/2 only, as those of gRPC do."""

    def http2(self, host: str) -> socket.socket:
        """A connection to the cloud's own server of HTTP/2 over TLS, for the bytes of a client of ``host``."""
