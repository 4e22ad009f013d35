from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from labkit.cloud.gateway import ca
from labkit.cloud.gateway.ca import Authority, new_authority
from tests.cloud.gateway.fakes import Gateway

#: As long as S3 allows: a bucket's name of 63 characters.
LONG = f"{'b' * 63}.s3.ap-southeast-2.amazonaws.com"


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    return new_authority()


@pytest.fixture
def authority(pair: tuple[str, str], tmp_path: Path) -> Authority:
    return Authority(*pair, tmp_path)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> dict[str, object]:
    near, far = socket.socketpair()

    def accept() -> None:
        with far, contextlib.suppress(ssl.SSLError), server.wrap_socket(far, server_side=True):
            pass

    thread = threading.Thread(target=accept)
    thread.start()
    with near, client.wrap_socket(near, server_hostname=host) as tls:
        found = tls.getpeercert()
    thread.join()
    assert found
    return dict(found)


@pytest.mark.parametrize("host", ["sts.amazonaws.com", "a.b.c.s3.eu-west-1.amazonaws.com", LONG])
def test_strict_clients_accept_its_certificates(authority: Authority, pair: tuple[str, str], host: str) -> None:
    client = ssl.create_default_context(cadata=pair[0])
    # The default from Python 3.13 on.
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    certificate = handshake(authority.context(host), client, host)
    assert certificate["subjectAltName"] == (("DNS", host),)


def test_certificates_are_short_lived_enough_for_apple(authority: Authority, pair: tuple[str, str]) -> None:
    client = ssl.create_default_context(cadata=pair[0])
    certificate = handshake(authority.context("a.test"), client, "a.test")
    lives = [ssl.cert_time_to_seconds(str(certificate[end])) for end in ("notBefore", "notAfter")]
    assert lives[1] - lives[0] <= 825 * 24 * 3600


def test_a_certificate_is_good_for_its_host_only(authority: Authority, pair: tuple[str, str]) -> None:
    client = ssl.create_default_context(cadata=pair[0])
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(authority.context("a.test"), client, "b.test")


def test_another_labs_authority_is_not_trusted(authority: Authority) -> None:
    client = ssl.create_default_context(cadata=new_authority()[0])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority.context("a.test"), client, "a.test")


def test_contexts_are_kept_but_not_without_bound(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca, "KEPT", 2)
    first = authority.context("a.test")
    authority.context("b.test")
    assert authority.context("a.test") is first
    authority.context("c.test")
    assert authority.context("a.test") is first
    authority.context("d.test")
    authority.context("e.test")
    assert authority.context("a.test") is not first


def test_no_key_is_left_behind(authority: Authority, tmp_path: Path) -> None:
    authority.context("a.test")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["openssl", "node"])
def test_other_programs_accept_its_certificates(gateway: Gateway, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    proxy, trust = f"127.0.0.1:{gateway.port}", gateway.ca_file
    commands = {
        "openssl": f"openssl s_client -proxy {proxy} -connect a.cloud.test:443 -servername a.cloud.test"
        f" -CAfile '{trust}' -verify_return_error -verify_hostname a.cloud.test -x509_strict -brief </dev/null",
        "node": f"NODE_EXTRA_CA_CERTS='{trust}' node -e \"{NODE}\" {gateway.port}",
    }
    done = subprocess.run(["sh", "-c", commands[program]], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr


NODE = """
const request = require('http').request({port: +process.argv[1], method: 'CONNECT', path: 'a.cloud.test:443'});
request.on('connect', (_, socket) => {
  const tls = require('tls').connect({socket, servername: 'a.cloud.test'}, () => process.exit(tls.authorized ? 0 : 1));
  tls.on('error', error => { console.error(error); process.exit(1); });
}).end();
"""


def test_a_server_of_its_own_gets_one_certificate_for_many_hosts(
    authority: Authority, pair: tuple[str, str], tmp_path: Path
) -> None:
    key, chain = authority.certificate("*.cloud.test", "*.eu.cloud.test")
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "chain.pem").write_bytes(chain)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    client = ssl.create_default_context(cadata=pair[0])
    certificate = handshake(server, client, "a.eu.cloud.test")
    assert certificate["subjectAltName"] == (("DNS", "*.cloud.test"), ("DNS", "*.eu.cloud.test"))
