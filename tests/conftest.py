"""Clouds for tests, and a guard: no test connects to anything but this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.cloud import client, environment
from labkit.cloud.state import Lab

_strayed: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Stops and notes every attempt of this process to reach another machine."""
    if event == "socket.connect":
        address = arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments[:2]
    else:
        return
    if isinstance(address, tuple) and not _is_loopback(address[0]):
        _strayed.append(f"{event} {address}")
        raise OSError(f"a test must not reach {address}")


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost") or name.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def stays_on_this_machine() -> Iterator[list[str]]:
    """Fails a test that tried to reach another machine, whatever became of the attempt."""
    _strayed.clear()
    yield _strayed
    assert not _strayed, "this test tried to leave the machine"


@contextlib.contextmanager
def _inside(lab: Lab) -> Iterator[None]:
    """Sets this process's environment as ``labkit exec`` would."""
    before = dict(os.environ)
    _replace_environment(environment.inside(lab, before))
    try:
        yield
    finally:
        # Google's storage client looks at buckets in threads of its own, which may outlive their test. In another
        # environment they would look for them on Google's machines.
        for thread in threading.enumerate():
            if thread.name.endswith("_background)"):
                thread.join(60)
        _replace_environment(before)


def _replace_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    if "boto3" in sys.modules:
        # It keeps the credentials that it found first.
        sys.modules["boto3"].DEFAULT_SESSION = None
    if metadata := sys.modules.get("google.auth.compute_engine._metadata"):
        # It keeps the address that it found when it was imported.
        metadata._GCE_METADATA_HOST = variables.get("GCE_METADATA_HOST", "metadata.google.internal")  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def session_clouds() -> Iterator[Lab]:
    with client.fresh() as lab:
        yield lab


@pytest.fixture
def clouds(session_clouds: Lab) -> Iterator[Lab]:
    """Running clouds, shared by the tests of a run, with this process's environment leading to them.

    Tests name what they make so that they do not meet.
    """
    with _inside(session_clouds):
        yield session_clouds


@pytest.fixture(scope="module")
def lab_clouds() -> Iterator[Lab]:
    """Clouds that only one module's tests use, since a lab's names are fixed; the environment leads to them."""
    with client.fresh() as lab, _inside(lab):
        yield lab


@pytest.fixture
def empty_clouds(lab_clouds: Lab) -> Lab:
    """Those clouds with nothing in them."""
    client.control(lab_clouds, "POST", "reset")
    return lab_clouds


@pytest.fixture
def fresh_clouds() -> Iterator[Callable[[], Lab]]:
    """Makes running clouds of the test's own; the environment leads to those made last."""
    with contextlib.ExitStack() as stack:

        def make() -> Lab:
            lab = stack.enter_context(client.fresh())
            stack.enter_context(_inside(lab))
            return lab

        yield make
