from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from labkit.cloud.gateway import client_hello
from labkit.cloud.gateway.client_hello import offers_http2_only, protocols


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def hello(*offered: str) -> bytes:
    """The first record of a client that offers these protocols."""
    context = ssl.create_default_context()
    if offered:
        context.set_alpn_protocols(list(offered))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="us-central1-aiplatform.googleapis.com").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (["grpc-exp", "h2"], True),
        (["h2"], True),
        (["h2", "http/1.1"], False),
        (["http/1.1"], False),
        ([], False),
    ],
)
def test_only_clients_that_speak_http2_alone_are_handed_on(
    pair: tuple[socket.socket, socket.socket], offered: list[str], expected: bool
) -> None:
    near, far = pair
    record = hello(*offered)
    far.sendall(record)
    assert protocols(record) == offered
    assert offers_http2_only(near) is expected
    assert near.recv(1 << 16) == record, "what was looked at is still there to be read"


def test_a_hello_that_comes_in_pieces_is_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    record = hello("h2")
    far.sendall(record[:7])
    threading.Timer(0.05, far.sendall, [record[7:]]).start()
    assert offers_http2_only(near)


def test_a_client_that_says_nothing_is_not_waited_for_for_ever(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_hello, "PATIENCE", 0.05)
    assert not offers_http2_only(pair[0])


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x02\x01\x00", b"\x16"])
def test_what_is_no_hello_offers_nothing(sent: bytes) -> None:
    assert protocols(sent) == []


def test_every_cut_of_a_hello_is_taken_for_none_or_for_itself() -> None:
    record = hello("h2", "http/1.1")
    assert {tuple(protocols(record[:end])) for end in range(len(record) + 1)} == {(), ("h2", "http/1.1")}
