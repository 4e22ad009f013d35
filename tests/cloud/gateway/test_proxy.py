"""Clients through the gateway: requests, boto3, curl, and bytes where no client would do."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ProxyConnectionError

from labkit.cloud.http import Request, Response
from tests.cloud.gateway.fakes import TOKEN, Gateway, read_all
from tests.waiting import eventually


@pytest.fixture
def session(gateway: Gateway) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.proxies = {"http": gateway.url, "https": gateway.url}
    session.verify = gateway.ca_file
    return session


def open_tunnel(gateway: Gateway, target: str) -> tuple[socket.socket, bytes]:
    sock = gateway.connect()
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    return sock, answer


def curl(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    command = ["curl", "--silent", "--show-error", "--max-time", "20", *arguments]
    return subprocess.run(command, env=gateway.environment(), capture_output=True, text=True)


def test_a_clouds_host_is_reached_over_tls(gateway: Gateway, session: requests.Session) -> None:
    answer = session.post("https://bucket.with.dots.cloud.test/a?b=c", data=b"x" * 1000).json()
    assert answer == {"method": "POST", "host": "bucket.with.dots.cloud.test", "target": "/a?b=c", "body": 1000}
    assert gateway.cloud.requests[0].secure


def test_a_body_of_many_pieces_arrives(gateway: Gateway, session: requests.Session) -> None:
    body = bytes(range(256)) * 40_000
    session.put("https://a.cloud.test/", data=body)
    session.put("https://a.cloud.test/", data=iter([body[:100_000], body[100_000:]]))
    assert [request.body == body for request in gateway.cloud.requests] == [True, True]


def test_a_large_answer_arrives(gateway: Gateway, session: requests.Session) -> None:
    body = bytes(range(256)) * 40_000
    gateway.cloud.answer = lambda _: Response(200, [], body)
    assert session.get("https://a.cloud.test/").content == body
    gateway.cloud.answer = lambda _: Response(200, [], iter([body, body]))
    assert session.get("https://a.cloud.test/").content == body * 2


def test_an_unknown_host_is_refused_in_the_status_line(gateway: Gateway, session: requests.Session) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match=r"403 pypi\.org is no cloud that the local clouds serve"):
        session.get("https://pypi.org/")
    (refusal,) = gateway.router.refusals()
    assert refusal.host == "pypi.org"


def test_a_host_of_a_cloud_that_it_does_not_serve_is_answered_by_it_and_noted(
    gateway: Gateway, session: requests.Session
) -> None:
    answer = session.get("https://closed.cloud.test/")
    assert (answer.status_code, answer.text) == (501, "The service behind closed.cloud.test is closed.")
    (refusal,) = gateway.router.refusals()
    assert refusal.why == "The service behind closed.cloud.test is closed."


def test_boto3_is_refused_too(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", gateway.ca_file)
    config = Config(proxies={"https": gateway.url}, retries={"total_max_attempts": 1})
    client = boto3.client("s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b", config=config)
    with pytest.raises(ProxyConnectionError) as refused:
        client.list_buckets()
    assert "403 s3.amazonaws.com is no cloud" in str(refused.value.kwargs["error"])


def test_curl_reaches_a_cloud_and_shows_a_refusal(gateway: Gateway) -> None:
    assert '"body": 5' in curl(gateway, "https://a.cloud.test/", "-d", "hello").stdout
    refused = curl(gateway, "-v", "https://pypi.org/")
    assert refused.returncode == 56
    assert "403 pypi.org is no cloud that the local clouds serve" in refused.stderr


def test_curl_sends_a_body_after_continue(gateway: Gateway, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"x" * 2_000_000)
    sent = curl(gateway, "-v", "-T", str(body), "-H", "Expect: 100-continue", "https://a.cloud.test/")
    assert "100 Continue" in sent.stderr
    assert '"body": 2000000' in sent.stdout


@pytest.mark.parametrize("target", ["a.cloud.test:8443", "a.cloud.test:80", "a.cloud.test:22"])
def test_only_the_port_for_https_leads_to_a_cloud(gateway: Gateway, target: str) -> None:
    sock, answer = open_tunnel(gateway, target)
    sock.close()
    assert answer.startswith(b"HTTP/1.1 403 a.cloud.test is served on port 443 only")


@pytest.mark.parametrize("target", ["a.cloud.test", ":443", "a.cloud.test:0", "a.cloud.test:65536", "a.cloud.test:x"])
def test_a_target_without_host_or_port_is_malformed(gateway: Gateway, target: str) -> None:
    sock, answer = open_tunnel(gateway, target)
    sock.close()
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", ["under_score.cloud.test", "-.cloud.test", "a..cloud.test", f"{'a' * 64}.cloud.test"])
def test_a_name_that_no_certificate_can_bear_is_refused(gateway: Gateway, host: str) -> None:
    sock, answer = open_tunnel(gateway, f"{host}:443")
    sock.close()
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_case_and_a_final_dot_make_no_other_host(gateway: Gateway) -> None:
    sock, answer = open_tunnel(gateway, "A.Cloud.Test.:443")
    sock.close()
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_the_host_field_must_agree_with_the_tunnel(gateway: Gateway, session: requests.Session) -> None:
    answer = session.get("https://a.cloud.test/", headers={"Host": "b.cloud.test"})
    assert answer.status_code == 421
    assert answer.text == "The request is for b.cloud.test, but the connection was made to a.cloud.test.\n"
    assert session.get("https://a.cloud.test/", headers={"Host": "A.cloud.test:443"}).status_code == 200
    assert len(gateway.cloud.requests) == 1


def test_a_target_with_its_host_in_it_means_the_same(gateway: Gateway) -> None:
    def ask(target: str) -> bytes:
        sock, _ = open_tunnel(gateway, "a.cloud.test:443")
        context = ssl.create_default_context(cafile=gateway.ca_file)
        with context.wrap_socket(sock, server_hostname="a.cloud.test") as tls:
            tls.sendall(f"GET {target} HTTP/1.1\r\nHost: a.cloud.test\r\nConnection: close\r\n\r\n".encode())
            return read_all(tls)

    assert b'"target": "/x?y"' in ask("https://a.cloud.test/x?y")
    assert b'"target": "/?y"' in ask("https://A.cloud.test:443?y")
    assert b'"target": "*"' in ask("*")
    for target in ("https://b.cloud.test/", "http://a.cloud.test/", "https://a.cloud.test:8443/"):
        assert ask(target).startswith(b"HTTP/1.1 421 ")
    for target in ("x", "https://", "https://[", "a.cloud.test:443"):
        assert ask(target).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("target", ["http://[", "http://a:b/", "http://]/", "http://a:99999/", "//", "http:///x", "::"])
def test_strange_targets_are_answered(gateway: Gateway, target: str) -> None:
    answer = gateway.ask(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))


def test_plain_http_to_a_cloud_reaches_it(gateway: Gateway, session: requests.Session) -> None:
    answer = session.get("http://a.cloud.test/x?y=z").json()
    assert answer == {"method": "GET", "host": "a.cloud.test", "target": "/x?y=z", "body": 0}
    assert not gateway.cloud.requests[0].secure


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://metadata.google.internal/",
        "http://example.com:8080/",
        "http://a.cloud.test:8080/",
        "http://user:password@example.com/",
    ],
)
def test_plain_http_to_anywhere_else_is_refused(gateway: Gateway, session: requests.Session, url: str) -> None:
    answer = session.get(url)
    assert answer.status_code == 403
    assert len(gateway.router.refusals()) == 1
    assert gateway.cloud.requests == []


def test_another_port_of_this_machine_is_not_reached_through_the_gateway(
    gateway: Gateway, session: requests.Session
) -> None:
    assert session.get("http://127.0.0.1:9/").status_code == 403
    assert session.get(f"{gateway.url}/", headers={"X-Fake": "1"}).status_code == 200


@pytest.mark.parametrize(
    "target", [b"https://a.cloud.test/", b"ftp://a.cloud.test/", b"http://", b"http://a:b/", b"*", b"a"]
)
def test_other_targets_are_malformed(gateway: Gateway, target: bytes) -> None:
    answer = gateway.ask(b"GET " + target + b" HTTP/1.1\r\nHost: a.cloud.test\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_the_front_takes_what_a_cloud_claims_and_says_so_otherwise(gateway: Gateway) -> None:
    assert requests.get(f"{gateway.url}/", headers={"X-Fake": "1"}).json()["host"] == ""
    answer = requests.get(f"{gateway.url}/")
    assert answer.status_code == 404
    assert "`labkit exec -- COMMAND`" in answer.text


def test_a_page_of_another_site_cannot_use_the_front(gateway: Gateway) -> None:
    # DNS rebinding: a browser resolves the attacker's name to 127.0.0.1 and sends that name.
    assert requests.get(f"{gateway.url}/", headers={"Host": "evil.example", "X-Fake": "1"}).status_code == 421


def test_the_control_interface_wants_its_token(gateway: Gateway) -> None:
    url = f"{gateway.url}/_labkit/ping"
    assert requests.get(url).status_code == 401
    assert requests.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.get(url, headers=good).json() == {"pong": True}
    assert requests.post(url, headers=good).status_code == 405
    assert requests.get(url, headers=good, data=b"[1]").status_code == 400
    assert requests.get(f"{gateway.url}/_labkit/nothing", headers=good).status_code == 404


def test_the_control_interface_is_not_reached_under_a_clouds_name(gateway: Gateway, session: requests.Session) -> None:
    session.get("https://a.cloud.test/_labkit/ping", headers={"Authorization": f"Bearer {TOKEN}"})
    assert gateway.cloud.requests[0].target == "/_labkit/ping"


def test_a_client_that_does_not_trust_the_lab_is_noted(gateway: Gateway, session: requests.Session) -> None:
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        session.get("https://a.cloud.test/")
    (refusal,) = eventually(gateway.router.refusals)
    assert refusal.why.startswith("A program did not trust the lab's certificate")


def test_no_tls_in_a_tunnel_ends_it(gateway: Gateway) -> None:
    sock, answer = open_tunnel(gateway, "a.cloud.test:443")
    with sock:
        assert answer.startswith(b"HTTP/1.1 200 ")
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a.cloud.test\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1 200" not in read_all(sock)
    assert gateway.cloud.requests == []


def test_a_client_hello_that_is_sent_along_is_not_lost(gateway: Gateway) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=gateway.ca_file)
    tls = context.wrap_bio(incoming, outgoing, server_hostname="a.cloud.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with gateway.connect() as sock:
        sock.sendall(b"CONNECT a.cloud.test:443 HTTP/1.1\r\nHost: a.cloud.test:443\r\n\r\n" + outgoing.read())
        seen = b""
        while b"\r\n\r\n" not in seen:
            seen += sock.recv(65536)
        incoming.write(seen.partition(b"\r\n\r\n")[2])
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
    assert tls.version() == "TLSv1.3"


def test_a_refusal_survives_what_was_sent_along(gateway: Gateway) -> None:
    sent = b"CONNECT pypi.org:443 HTTP/1.1\r\nHost: pypi.org:443\r\n\r\n" + b"x" * 300_000
    assert gateway.ask(sent).startswith(b"HTTP/1.1 403 pypi.org is no cloud")


def test_a_connect_that_comes_in_pieces(gateway: Gateway) -> None:
    with gateway.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"CONNECT a.cloud.test:443 HTTP/1.1\r\nHost: a.cloud.test:443\r\n\r\n":
            sock.sendall(bytes([byte]))
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_host_on_the_list_is_let_through_untouched(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as far:

        def answer() -> None:
            with far.accept()[0] as peer:
                peer.sendall(b"heard " + read_all(peer))

        thread = threading.Thread(target=answer)
        thread.start()
        gateway.let_through.append("local*")
        sock, connected = open_tunnel(gateway, f"localhost:{far.getsockname()[1]}")
        with sock:
            assert connected.startswith(b"HTTP/1.1 200 ")
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"heard hello"
        thread.join()


def test_a_host_on_the_list_that_is_not_there(gateway: Gateway) -> None:
    gateway.let_through.append("localhost")
    sock, answer = open_tunnel(gateway, "localhost:9")
    sock.close()
    assert answer.startswith(b"HTTP/1.1 502 localhost is let through but cannot be reached")


def test_many_clients_at_once(gateway: Gateway, session: requests.Session) -> None:
    together = threading.Barrier(8, timeout=100)

    def meet(request: Request) -> Response:
        together.wait()
        return Response(200, [], b"met")

    gateway.cloud.answer = meet
    answers: list[str] = []

    def ask(number: int) -> None:
        proxies = {"https": gateway.url}
        url = f"https://host-{number}.cloud.test/"
        answers.append(requests.get(url, proxies=proxies, verify=gateway.ca_file, timeout=120).text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["met"] * 8


@pytest.mark.parametrize(("offered", "handed_on"), [(["h2"], True), (["h2", "http/1.1"], False)])
def test_a_client_that_speaks_http2_only_is_handed_to_the_clouds_own_server(
    gateway: Gateway, offered: list[str], handed_on: bool
) -> None:
    near, far = socket.socketpair()
    asked = []

    def http2(host: str) -> socket.socket:
        asked.append(host)
        return near

    gateway.cloud.http2 = http2  # type: ignore[attr-defined]
    sock, _ = open_tunnel(gateway, "a.cloud.test:443")
    context = ssl.create_default_context(cafile=gateway.ca_file)
    context.set_alpn_protocols(offered)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="a.cloud.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    with sock, near, far:
        sock.sendall(hello)
        if not handed_on:
            assert sock.recv(1)[0] == 22, "the gateway's own TLS answers"
            assert asked == []
            return
        far.settimeout(100)
        assert far.recv(len(hello)) == hello
        far.sendall(b"an answer")
        assert sock.recv(9) == b"an answer"
        assert asked == ["a.cloud.test"]
        sock.shutdown(socket.SHUT_WR)
        assert far.recv(1) == b""
