"""What a connection to the gateway's port is: a tunnel to a cloud's host, a proxied plain request, or the plain front.

A tunnel (``CONNECT bucket.s3.us-east-1.amazonaws.com:443``) ends here: TLS is spoken with the lab's certificate for
that host, and each request in it goes to the dialect that serves the host. A refusal is a sentence in the reason of
the CONNECT answer's status line, because that is the part that clients show.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from labkit.cloud.dialect import SpeaksHttp2
from labkit.cloud.gateway.ca import Authority
from labkit.cloud.gateway.client_hello import offers_http2_only
from labkit.cloud.gateway.connection import LARGEST_HEAD, Handler, finish, plain, receive, serve
from labkit.cloud.gateway.control import PREFIX, Control
from labkit.cloud.gateway.router import Refused, Router
from labkit.cloud.http import Request, Response

#: Seconds for a client's part of a handshake, and for reaching a host on the pass-through list.
PATIENCE = 30.0

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_END_OF_HEAD = b"\r\n\r\n"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proxy:
    """Serves one accepted connection after another, each in the thread that calls :meth:`handle`."""

    router: Router
    authority: Authority
    control: Control

    def handle(self, sock: socket.socket) -> None:
        """Serves a connection to its end and closes it."""
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(PATIENCE)
            try:
                head = _first_head(sock)
                if head.startswith(b"CONNECT "):
                    self._tunnel(sock, head)
                elif head:
                    serve(sock, self._route_plain, head)
            except OSError as error:
                _log.debug("connection ended: %s", error)

    def _tunnel(self, sock: socket.socket, head: bytes) -> None:
        try:
            host, port = _connect_target(head)
        except ValueError:
            _answer_connect(sock, 400, "CONNECT takes a host name and a port, such as sts.amazonaws.com:443")
            return
        try:
            dialect = self.router.find(host)
            if dialect is None:
                self._pass_through(sock, host, port)
                return
            if port != 443:
                raise self.router.refuse(host, f"{host} is served on port 443 only, not on {port}.")
            context = self.authority.context(host)
        except Refused as refused:
            _log.info("refused %s: %s", host, refused)
            _answer_connect(sock, 403, str(refused))
            return
        except ValueError:
            _answer_connect(sock, 400, f"{host} is not a host name")
            return
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if isinstance(dialect, SpeaksHttp2) and offers_http2_only(sock):
            with dialect.http2(host) as far:
                _relay(sock, far)
            return
        try:
            tls = context.wrap_socket(sock, server_side=True)
        except ssl.SSLError as error:
            _log.info("no TLS with the client of %s: %s", host, error)
            if "UNKNOWN_CA" in (error.reason or "") or "BAD_CERTIFICATE" in (error.reason or ""):
                why = "A program did not trust the lab's certificate: it reads none of the variables of `labkit env`."
                self.router.refuse(host, why)
            return

        def route(request: Request) -> Handler | Response:
            request.host = host
            named = request.headers.get("host") or host
            if not request.target.startswith(("/", "*")):
                try:
                    scheme, named, port, request.target = _split(request.target)
                except ValueError:
                    return plain(400, "The request's target is no path and no address.")
                if (scheme, port) not in (("https", None), ("https", 443)):
                    return plain(421, f"The connection was made to https://{host}, and serves nothing else.")
            if not _agrees(named, host):
                return plain(421, f"The request is for {named}, but the connection was made to {host}.")
            return dialect.handle

        serve(tls, route)

    def _route_plain(self, request: Request) -> Handler | Response:
        request.secure = False
        if request.target.startswith("/"):
            return self._route_front(request)
        try:
            scheme, host, port, request.target = _split(request.target)
        except ValueError:
            scheme = ""
        if scheme != "http":
            return plain(400, "A proxy is asked with CONNECT for https, or with the whole http:// address.")
        if host in _LOOPBACK:
            if port == self.control.port:
                return self._route_front(request)
            return plain(403, f"A port of {host} is reached without the proxy; NO_PROXY names {host}.")
        try:
            dialect = self.router.find(host)
            if dialect is None or port not in (None, 80):
                raise self.router.refuse(host, f"{host} can be reached over https only, through the gateway.")
        except Refused as refused:
            _log.info("refused http://%s: %s", host, refused)
            return plain(403, str(refused))
        request.host = host
        return dialect.handle

    def _route_front(self, request: Request) -> Handler | Response:
        named = _without_port(request.headers.get("host")).lower().strip("[]")
        if named not in _LOOPBACK and not named.endswith(".localhost"):
            return plain(421, f"This is the front of the local clouds on 127.0.0.1; {named or 'no host'} is not here.")
        if self.control.has(request):
            return self.control.handle
        for dialect in self.router.dialects:
            if dialect.front(request):
                return dialect.handle
        if request.path.startswith(PREFIX):
            return plain(404, f"{request.path} is no path of the local clouds.")
        return plain(
            404,
            "No local cloud knows this request: an endpoint URL works for signed requests, "
            "and `labkit exec -- COMMAND` for everything else.",
        )

    def _pass_through(self, sock: socket.socket, host: str, port: int) -> None:
        try:
            far = socket.create_connection((host, port), timeout=PATIENCE)
        except OSError as error:
            _answer_connect(sock, 502, f"{host} is let through but cannot be reached: {error.strerror or error}")
            return
        with far:
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(sock, far)


def _first_head(sock: socket.socket) -> bytes:
    """The first bytes of a connection, and of a CONNECT exactly its head: what follows is for the TLS layer to read."""
    head = b""
    while True:
        seen = sock.recv(LARGEST_HEAD, socket.MSG_PEEK)
        together = head + seen
        if not b"CONNECT ".startswith(together[:8]):
            return head + receive(sock, LARGEST_HEAD)
        end = together.find(_END_OF_HEAD)
        wanted = len(seen) if end < 0 else end + len(_END_OF_HEAD) - len(head)
        head += receive(sock, wanted) if wanted else b""
        if not seen or end >= 0 or len(head) > LARGEST_HEAD:
            return head


def _answer_connect(sock: socket.socket, status: int, sentence: str) -> None:
    reason = sentence.encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
    body = sentence.encode() + b"\n"
    fields = b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n" % len(body)
    sock.sendall(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, reason, fields, body))
    finish(sock)


def _connect_target(head: bytes) -> tuple[str, int]:
    """The host and port that a CONNECT request's head asks for; ValueError when it is malformed."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
    http.receive_data(head)
    try:
        request = http.next_event()
    except h11.RemoteProtocolError as error:
        raise ValueError(str(error)) from error
    host, _, port = request.target.decode("ascii").rpartition(":") if isinstance(request, h11.Request) else ("", "", "")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("no host and port")
    return host.lower().rstrip("."), int(port)


def _split(target: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and the remaining path and query of a target in absolute form; ValueError for any other."""
    parts = urlsplit(target)
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise ValueError(target)
    path = target[target.index(parts.netloc) + len(parts.netloc) :]
    return parts.scheme, host, parts.port, path if path.startswith("/") else f"/{path}"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _agrees(named: str, host: str) -> bool:
    named = named.lower()
    return named == host or named.removesuffix(":443").rstrip(".") == host


def _relay(near: socket.socket, far: socket.socket) -> None:
    """Copies bytes both ways until both sides have ended."""
    near.settimeout(None)
    far.settimeout(None)
    other = {near: far, far: near}
    open_ends = {near, far}
    while open_ends:
        for end in select.select(list(open_ends), [], [])[0]:
            data = end.recv(65536)
            if data:
                other[end].sendall(data)
            else:
                open_ends.discard(end)
                other[end].shutdown(socket.SHUT_WR)
