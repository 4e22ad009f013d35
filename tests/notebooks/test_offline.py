"""A whole lab reaches nothing but this machine: no process of it tries to, the SDK's telemetry included."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from labkit import running

#: Python runs this in each process that is started with its folder on PYTHONPATH: the server, the kernel, replicas,
#: scripts. Names are noted before they are looked up, and addresses before they are connected to.
RECORDER = """
import os, sys

def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        where = address[0] if isinstance(address, tuple) else "a local socket"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[0]
    else:
        return
    with open({file!r}, "a") as record:
        record.write(f"{{os.getpid()}} {{event}} {{where}}\\n")

sys.addaudithook(note)
"""
HERE = ("a local socket", "localhost", "None", "")


def is_here(where: str) -> bool:
    try:
        return where in HERE or ipaddress.ip_address(where).is_loopback
    except ValueError:
        return False


# The lab whose SDK has the most telemetry.
@pytest.mark.timeout(600)
def test_no_process_of_a_lab_tries_to_leave_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "connections"
    (tmp_path / "sitecustomize.py").write_text(RECORDER.format(file=str(record)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (done,) = running.run(["beginner/azure"])
    assert not done.failure
    attempts = [line.split(" ", 2) for line in record.read_text().splitlines()]
    assert len({process for process, _, _ in attempts}) >= 3
    assert [attempt for attempt in attempts if not is_here(attempt[2])] == []
