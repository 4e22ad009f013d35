"""Finds the Chromium that the browser test needs, or installs Debian's where this machine lets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find() -> str | None:
    """The path of a Chromium on this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def install() -> bool:
    """Installs Debian's package, which needs apt-get and root; returns whether there is a Chromium now."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    print("Installing Chromium, for the browser test, with apt-get.", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", "--quiet=2", *command], check=False, stdout=subprocess.DEVNULL, env=environment)
    return find() is not None


if __name__ == "__main__":
    if not find() and not install():
        print("There is no Chromium here: the browser test is skipped, or fails where CI is set.", file=sys.stderr)
