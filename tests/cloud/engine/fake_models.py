"""Model containers for the tests of serving, as a dialect would bring them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path


class Echo:
    """Answers with its own name and what it was sent; obeys orders in the body."""

    def __init__(self, folder: Path, name: str = "echo", fail: str = "", imports: Sequence[str] = ()) -> None:
        self.folder = folder
        self.name = name
        self.fail = fail
        self.imports = imports

    def load(self) -> None:
        print(f"{self.name} loads from {self.folder.name}")
        for name in self.imports:
            import_module(name)
        if self.fail == "raise":
            raise RuntimeError("no model here")
        if self.fail == "exit":
            os._exit(7)
        if self.fail == "hang":
            time.sleep(600)

    def handle(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        order = body.decode()
        if order == "die":
            os._exit(9)
        if order == "hang":
            time.sleep(600)
        if order.startswith("sleep"):
            time.sleep(float(order.split()[1]))
        if order == "pid":
            return 200, {}, str(os.getpid()).encode()
        if order == "env":
            return 200, {}, repr(sorted(os.environ)).encode()
        if order == "threads":
            import threadpoolctl

            return 200, {}, repr([pool["num_threads"] for pool in threadpoolctl.threadpool_info()]).encode()
        if order.startswith("fail"):
            print(order)
            return 500, {}, b"failed"
        if order == "child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            return 200, {}, str(child.pid).encode()
        return 200, {"x-from": self.name}, body
