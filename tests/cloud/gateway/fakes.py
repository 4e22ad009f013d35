"""A cloud that answers with what it was asked, behind a real gateway on a real port."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from labkit.cloud.gateway.ca import Authority, new_authority
from labkit.cloud.gateway.control import Control
from labkit.cloud.gateway.listener import Listener
from labkit.cloud.gateway.proxy import Proxy
from labkit.cloud.gateway.router import Router
from labkit.cloud.http import Request, Response

TOKEN = "the control token"


class FakeCloud:
    """Serves ``*.cloud.test``; says what it received, unless the test gave it something else to say."""

    name = "fake"

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Response] = self.echo

    def serves(self, host: str) -> bool | str:
        if host == "closed.cloud.test":
            return "The service behind closed.cloud.test is closed."
        return host.endswith(".cloud.test")

    def front(self, request: Request) -> bool:
        return bool(request.headers.get("x-fake"))

    def handle(self, request: Request) -> Response:
        refusal = self.serves(request.host)
        if isinstance(refusal, str):
            return Response(501, [], refusal.encode())
        self.requests.append(request)
        return self.answer(request)

    @staticmethod
    def echo(request: Request) -> Response:
        seen = {"method": request.method, "host": request.host, "target": request.target, "body": len(request.body)}
        return Response(200, [("Content-Type", "application/json")], json.dumps(seen).encode())


@dataclass
class Gateway:
    """A running gateway: where it is, the file with the authority that its clients must trust, and the fake cloud."""

    port: int
    ca_file: str
    cloud: FakeCloud
    router: Router
    authority: Authority
    let_through: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), self.url)
        trust = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"), self.ca_file)
        return {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | proxies | trust

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=100)

    def ask(self, sent: bytes) -> bytes:
        """Sends bytes and ends sending; returns all that comes back."""
        with self.connect() as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


@contextmanager
def running_gateway(folder: Path) -> Iterator[Gateway]:
    certificate, key = new_authority()
    ca_file = folder / "ca.pem"
    ca_file.write_text(certificate)
    cloud = FakeCloud()
    let_through: list[str] = []

    def pass_through() -> Sequence[str]:
        return let_through

    router = Router([cloud], pass_through)  # type: ignore[list-item]
    authority = Authority(certificate, key, folder)
    listener = Listener(0)
    control = Control(listener.port, TOKEN, {"GET ping": lambda _: {"pong": True}})
    listener.start(Proxy(router, authority, control).handle)
    try:
        yield Gateway(listener.port, str(ca_file), cloud, router, authority, let_through)
    finally:
        listener.close()
