"""One HTTP/1.1 connection, the server's side: reads a request whole, has it answered, writes the answer, and again.

h11 does the parsing, so keep-alive, pipelining, chunked bodies and malformed input follow RFC 9112. What is added here
is what a local cloud needs: a body limit, ``100 Continue`` only once the head was accepted, and no waiting on delayed
acknowledgements. Clients that go through a proxy leave Nagle's algorithm on (urllib3 does) and send head and body
separately: the body would wait until this side acknowledges the head, 40 ms later on Linux. So pending
acknowledgements are flushed before each wait for more, and an answer's head and small body leave in one piece.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus

import h11

from labkit.cloud.http import Headers, Request, Response

Handler = Callable[[Request], Response]

#: Decides over a request's head: who answers it, or the answer that refuses it before its body is read.
Route = Callable[[Request], "Handler | Response"]

#: Bytes of the largest body that is read.
LARGEST_BODY = 1 << 30
#: Bytes of the largest request head.
LARGEST_HEAD = 64 * 1024
#: Seconds that a connection may stay idle between requests: SDKs keep theirs for a whole notebook.
IDLE = 1800.0
#: Seconds that a client may take between two pieces of a request, or to take a piece of the answer.
STALLED = 300.0
#: Seconds that a client whose request was refused may go on sending.
FAREWELL = 2.0
#: An answer's body up to this size (bytes) leaves together with its head.
ONE_PIECE = 64 * 1024

_PIECE = 64 * 1024
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)

_log = logging.getLogger(__name__)


def plain(status: int, sentence: str) -> Response:
    """The gateway's own answer: one sentence of text."""
    return Response(status, [("Content-Type", "text/plain; charset=utf-8")], f"{sentence}\n".encode())


def receive(sock: socket.socket, size: int = _PIECE) -> bytes:
    """Reads what is there, or waits for it after letting a client go on that waits for an acknowledgement."""
    if _QUICKACK is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
    return sock.recv(size)


def finish(sock: socket.socket) -> None:
    """Ends a connection on which the client may still be sending, so that it sees the answer all the same.

    Closing it with bytes unread would reset it, and what was answered could be lost.
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(FAREWELL)
        while sock.recv(_PIECE):
            pass


def serve(sock: socket.socket, route: Route, received: bytes = b"") -> None:
    """Serves a connection until either side ends it. ``received`` was read from it already. Closes the socket."""
    try:
        _Connection(sock, route, received).run()
        finish(sock)
    except OSError as error:
        _log.debug("connection ended: %s", error)
    finally:
        sock.close()


class _Refused(Exception):
    """The request in hand gets this answer, and the connection ends."""

    def __init__(self, response: Response) -> None:
        self.response = response


class _Connection:
    def __init__(self, sock: socket.socket, route: Route, received: bytes) -> None:
        self._socket = sock
        self._route = route
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        if received:
            self._http.receive_data(received)

    def run(self) -> None:
        while True:
            try:
                answered = self._one()
            except _Refused as refused:
                self._refuse(refused.response)
                return
            except h11.RemoteProtocolError as error:
                status = HTTPStatus(error.error_status_hint)
                self._refuse(plain(status, f"{status.phrase}: {error}."))
                return
            if not answered or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    def _one(self) -> bool:
        """Serves one request; False when the client has ended the connection instead."""
        self._socket.settimeout(IDLE)
        head = self._next()
        if not isinstance(head, h11.Request):
            return False
        self._socket.settimeout(STALLED)
        if head.http_version not in (b"1.1", b"1.0"):
            raise _Refused(plain(505, "The local clouds speak HTTP/1.1 here."))
        request = Request(
            method=head.method.decode("ascii"),
            host="",
            target=head.target.decode("latin-1"),
            headers=Headers(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.raw_items()
            ),
            received=time.perf_counter(),
        )
        handler = self._route(request)
        if isinstance(handler, Response):
            raise _Refused(handler)
        request.body = self._body(request)
        self._answer(request, handler)
        return True

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event that is not ``NEED_DATA``."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(receive(self._socket))
        return event

    def _body(self, request: Request) -> bytes:
        length = request.headers.get("content-length")
        if length and int(length) > LARGEST_BODY:
            raise _Refused(_too_large())
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._socket.sendall(self._http.send(go_on) or b"")
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                event = self._next()
            except TimeoutError:
                sentence = f"The rest of the request did not arrive within {STALLED:.0f} seconds."
                raise _Refused(plain(408, sentence)) from None
            if not isinstance(event, h11.Data):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            size += len(event.data)
            if size > LARGEST_BODY:
                raise _Refused(_too_large())
            pieces.append(bytes(event.data))

    def _answer(self, request: Request, handler: Handler) -> None:
        try:
            response = handler(request)
        except Exception:
            _log.exception("%s %s%s was not answered", request.method, request.host, request.target)
            response = plain(
                500, "The local clouds failed over this request, which is a defect of theirs; see server.log."
            )
        try:
            self._send(request.method, response)
        except OSError:
            raise
        except Exception:
            # Part of the answer may be on its way: ending the connection is how HTTP says that it is not whole.
            _log.exception("the answer to %s %s%s broke off", request.method, request.host, request.target)
            raise ConnectionAbortedError("an answer broke off") from None

    def _refuse(self, response: Response) -> None:
        """Answers without having read the whole request. The connection ends with it."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        response.headers.append(("Connection", "close"))
        self._send("", response)

    def _send(self, method: str, response: Response) -> None:
        body = response.body
        bodiless = response.status in (204, 304)
        headers = [(name.encode("latin-1"), _field(value)) for name, value in response.headers]
        headers.append((b"Date", formatdate(usegmt=True).encode()))
        if isinstance(body, bytes) and not bodiless and not _framed(response):
            headers.append((b"Content-Length", b"%d" % len(body)))
        reason = response.reason.encode()
        head = self._http.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
        if method == "HEAD" or bodiless:
            self._socket.sendall(head + (self._http.send(h11.EndOfMessage()) or b""))
        elif isinstance(body, bytes):
            data = (self._http.send(h11.Data(data=body)) or b"") if body else b""
            data += self._http.send(h11.EndOfMessage()) or b""
            for piece in [head + data] if len(data) <= ONE_PIECE else [head, data]:
                self._socket.sendall(piece)
        else:
            self._socket.sendall(head)
            self._stream(body)

    def _stream(self, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                if piece:
                    self._socket.sendall(self._http.send(h11.Data(data=piece)) or b"")
            self._socket.sendall(self._http.send(h11.EndOfMessage()) or b"")
        finally:
            if close := getattr(pieces, "close", None):
                close()


def _framed(response: Response) -> bool:
    return any(name.lower() in ("content-length", "transfer-encoding") for name, _ in response.headers)


def _too_large() -> Response:
    return plain(
        413, f"The request's body is larger than {LARGEST_BODY >> 20} MiB, the most that the local clouds take."
    )


def _field(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8")
