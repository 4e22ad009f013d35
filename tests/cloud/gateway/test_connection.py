"""HTTP/1.1 on the wire, byte by byte, at the plain front."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.cloud.gateway import connection
from labkit.cloud.http import Request, Response
from tests.cloud.gateway.fakes import Gateway, read_all

HEAD = b"Host: 127.0.0.1\r\nX-Fake: 1\r\n"


def read_until(sock: socket.socket, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        piece = sock.recv(1)
        assert piece, f"the connection ended after {seen!r}"
        seen += piece
    return seen


def test_a_connection_serves_one_request_after_another(gateway: Gateway) -> None:
    with gateway.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET /a HTTP/1.1\r\n" + HEAD + b"\r\n")
            assert read_until(sock, b"}").startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(gateway.cloud.requests) == 3


def test_requests_sent_ahead_are_answered_in_order(gateway: Gateway) -> None:
    ahead = b"".join(b"GET /%d HTTP/1.1\r\n%s\r\n" % (number, HEAD) for number in range(3))
    answers = gateway.ask(ahead)
    assert [answers.index(b'"/%d"' % number) for number in range(3)] == sorted(
        answers.index(b'"/%d"' % number) for number in range(3)
    )


def test_a_chunked_body_arrives_whole(gateway: Gateway) -> None:
    sent = b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n"
    assert b" 200 " in gateway.ask(sent)
    assert gateway.cloud.requests[0].body == b"abcde"


def test_a_request_that_comes_in_single_bytes(gateway: Gateway) -> None:
    with gateway.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 3\r\n\r\nabc":
            sock.sendall(bytes([byte]))
        assert b" 200 " in read_until(sock, b"}")
    assert gateway.cloud.requests[0].body == b"abc"


def test_continue_is_said_before_the_body_is_sent(gateway: Gateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\n" + HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert gateway.cloud.requests == []
        sock.sendall(b"abc")
        assert b" 200 " in read_until(sock, b"}")


def test_no_body_is_asked_for_when_its_head_is_refused(gateway: Gateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: elsewhere\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"100 Continue" not in answer


def test_a_body_announced_too_large_is_refused_unread(gateway: Gateway) -> None:
    head = HEAD + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (connection.LARGEST_BODY + 1)
    with gateway.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\n" + head)
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"1024 MiB" in answer


def test_a_chunked_body_that_grows_too_large_is_refused(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_BODY", 1000)
    with gateway.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        sock.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n" + b"1\r\nx\r\n")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert gateway.cloud.requests == []


def test_an_early_answer_survives_a_body_that_is_still_being_sent(gateway: Gateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: elsewhere\r\nContent-Length: 3000000\r\n\r\n")
        sender = threading.Thread(target=lambda: sock.sendall(b"x" * 3_000_000))
        sender.start()
        answer = read_all(sock)
        sender.join()
    assert answer.startswith(b"HTTP/1.1 421 ")


def test_a_client_that_stalls_in_a_body_is_told_so(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALLED", 0.05)
    with gateway.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\n" + HEAD + b"Content-Length: 3\r\n\r\nab")
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")
    assert gateway.cloud.requests == []


def test_an_upload_that_is_cut_off_reaches_no_cloud(gateway: Gateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\n" + HEAD + b"Content-Length: 30\r\n\r\nab")
    assert b" 200 " in gateway.ask(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert [request.method for request in gateway.cloud.requests] == ["GET"]


def test_fields_and_target_reach_the_cloud_as_they_were_sent(gateway: Gateway) -> None:
    gateway.ask(b"GET /a%2Fb?x=%20&y HTTP/1.1\r\n" + HEAD + b"X-Amz-Meta-Name: caf\xe9\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n")
    request = gateway.cloud.requests[0]
    assert request.target == "/a%2Fb?x=%20&y"
    assert ("X-Amz-Meta-Name", "café") in request.headers.items
    assert request.headers.all("x-two") == ["1", "2"]
    assert request.received > 0


@pytest.mark.parametrize(
    ("method", "response", "head", "body"),
    [
        ("GET", Response(200, [], b"abc"), b"Content-Length: 3", b"abc"),
        ("GET", Response(200, [], b"x" * 200_000), b"Content-Length: 200000", b"x" * 200_000),
        ("GET", Response(200, [], b""), b"Content-Length: 0", b""),
        (
            "GET",
            Response(200, [], iter([b"ab", b"", b"c"])),
            b"Transfer-Encoding: chunked",
            b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        ),
        ("GET", Response(200, [("Content-Length", "3")], iter([b"ab", b"c"])), b"Content-Length: 3", b"abc"),
        ("HEAD", Response(200, [("Content-Length", "7")], b""), b"Content-Length: 7", b""),
        ("HEAD", Response(200, [], b"abc"), b"Content-Length: 3", b""),
        ("GET", Response(204, [], b""), b"HTTP/1.1 204 No Content", b""),
        ("GET", Response(304, [("ETag", '"e"')], b""), b"HTTP/1.1 304 Not Modified", b""),
        ("GET", Response(599, [], b"a"), b"HTTP/1.1 599 ", b"a"),
    ],
)
def test_answers_are_framed(gateway: Gateway, method: str, response: Response, head: bytes, body: bytes) -> None:
    gateway.cloud.answer = lambda _: response
    answer = gateway.ask(f"{method} / HTTP/1.1\r\n".encode() + HEAD + b"\r\n")
    sent_head, _, sent_body = answer.partition(b"\r\n\r\n")
    assert head.lower() in sent_head.lower()
    assert b"date: " in sent_head.lower()
    assert sent_body == body
    if response.status in (204, 304):
        assert b"content-length" not in sent_head.lower()


def test_an_old_client_is_answered_and_let_go(gateway: Gateway) -> None:
    answer = gateway.ask(b"GET / HTTP/1.0\r\n" + HEAD + b"\r\n")
    assert b"connection: close" in answer.lower()
    assert answer.endswith(b"}")


def test_a_failing_cloud_is_answered_with_a_sentence_and_the_connection_goes_on(gateway: Gateway) -> None:
    def fail(_: Request) -> Response:
        raise ZeroDivisionError

    gateway.cloud.answer = fail
    with gateway.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert b"HTTP/1.1 500 " in read_until(sock, b"see server.log.\n")
        gateway.cloud.answer = gateway.cloud.echo
        sock.sendall(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert b" 200 " in read_until(sock, b"}")


def test_an_answer_that_breaks_off_ends_the_connection_unfinished(gateway: Gateway) -> None:
    def broken() -> Iterator[bytes]:
        yield b"abc"
        raise ZeroDivisionError

    gateway.cloud.answer = lambda _: Response(200, [], broken())
    answer = gateway.ask(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert answer.endswith(b"3\r\nabc\r\n")


def test_what_a_client_no_longer_wants_is_closed(gateway: Gateway) -> None:
    closed = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            closed.set()

    gateway.cloud.answer = lambda _: Response(200, [], endless())
    with gateway.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
        sock.recv(1000)
    assert closed.wait(60)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + HEAD + b"Content-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\n" + HEAD + b"Bad Header: 1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n" + HEAD + b"\r\n", b"505"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"x" * 200_000 + b"\r\n\r\n", b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
    ],
)
def test_malformed_requests_get_a_sentence(gateway: Gateway, sent: bytes, status: bytes) -> None:
    answer = gateway.ask(sent)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.rstrip().endswith(b".")
    assert gateway.cloud.requests == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_garbage_never_stops_the_gateway(gateway: Gateway, data: st.DataObject) -> None:
    good = b"POST /a HTTP/1.1\r\n" + HEAD + b"Content-Length: 3\r\n\r\nabc"
    cut = data.draw(st.integers(0, len(good)))
    sent = good[:cut] + data.draw(st.binary(max_size=40)) + good[cut + data.draw(st.integers(0, 5)) :]
    answer = gateway.ask(sent)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert not answer.startswith(b"HTTP/1.1 500")
