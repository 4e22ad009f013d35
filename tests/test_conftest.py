"""The guard that keeps tests on this machine must itself be able to fail."""

from __future__ import annotations

import socket

import pytest


def test_leaving_the_machine_is_stopped_and_noted(stays_on_this_machine: list[str]) -> None:
    with socket.socket() as sock, pytest.raises(OSError, match="must not reach"):
        sock.connect(("192.0.2.1", 443))
    with pytest.raises(OSError, match="must not reach"):
        socket.getaddrinfo("pypi.org", 443)
    assert len(stays_on_this_machine) == 2
    stays_on_this_machine.clear()


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
