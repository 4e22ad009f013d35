"""Handlers for tests of :mod:`labkit.cloud.engine.functions`: they run in the functions' own processes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any


class Adapter:
    """Does what the event's head says; counts the events that it has answered."""

    def __init__(self, folder: Path, fail: str = "") -> None:
        self.folder = folder
        self.fail = fail
        self.count = 0
        self.kept: list[bytes] = []

    def load(self) -> bytes | None:
        print("loading")
        if self.fail == "exit":
            sys.exit(7)
        if self.fail == "slow":
            time.sleep(30)
        return b"no such module" if self.fail == "error" else None

    def handle(self, head: dict[str, Any], body: bytes) -> tuple[bool, bytes]:
        self.count += 1
        match head.get("do"):
            case "sleep":
                time.sleep(30)
            case "meet":
                # Goes on once the other event is here too: both are answered at the same time.
                (self.folder / body.decode()).touch()
                while len(list(self.folder.iterdir())) < 2:
                    time.sleep(0.005)
            case "exit":
                sys.exit(3)
            case "grow":
                self.kept = [os.urandom(1024**2) for _ in range(300)]
                time.sleep(30)
            case "fail":
                return False, b"failed"
        print("handling", end="")
        return True, f"{body.decode()} {self.count} {os.environ['WHO']} {Path.cwd().name}".encode()
