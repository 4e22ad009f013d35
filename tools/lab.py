"""Starts the local clouds and opens JupyterLab on ``notebooks/``: what ``make lab`` runs when ``.venv`` is there."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from labkit.cloud import client, state
from labkit.cloud.state import Lab
from labkit.errors import LabError
from labkit.kernels import warm

ROOT = Path(__file__).resolve().parent.parent
#: JupyterLab's settings for the lab: the kernel chosen, no word to the outside, no tools of a course's authors.
SETTINGS = ROOT / "tools" / "jupyter"


def jupyter_options(notebooks: Path, browser: str | None) -> list[str]:
    """JupyterLab's options: this machine only, and its token kept, whatever the user's own settings say.

    ``browser`` is a command that opens a browser, ``"none"`` for no browser, or None for the machine's own.
    """
    options = [f"--ServerApp.root_dir={notebooks}", "--ServerApp.ip=127.0.0.1", "--log-level=WARN"]
    if os.geteuid() == 0:
        options.append("--allow-root")
    if browser == "none":
        options.append("--no-browser")
    elif browser:
        options.append(f"--ServerApp.browser={browser}")
    return options


def browser_of(environ: Mapping[str, str]) -> str | None:
    """``LABKIT_BROWSER``, or ``"none"`` where no window can be shown, or None for the machine's own browser."""
    if chosen := environ.get("LABKIT_BROWSER"):
        return chosen
    windows = sys.platform != "linux" or environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    return None if windows else "none"


def jupyter_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which JupyterLab finds the lab's settings, and its terminals find ``labkit``."""
    programs = str(Path(sys.prefix) / "bin")
    settings = [str(SETTINGS), *filter(None, [environ.get("JUPYTER_CONFIG_PATH")])]
    return {
        **environ,
        "JUPYTER_CONFIG_PATH": os.pathsep.join(settings),
        "PATH": os.pathsep.join([programs, environ.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": sys.prefix,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.lab", description=__doc__)
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks", help="the folder to open")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    chosen = parser.parse_args(arguments)
    try:
        client.up(Lab(state.folder()), lambda line: print(line, flush=True))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    print("The local clouds are up. JupyterLab comes next; Ctrl-C ends it and leaves the clouds up.", flush=True)
    with contextlib.suppress(warm.NoFork):
        # Its imports go on while JupyterLab starts and the learner looks round.
        warm.start(jupyter_environment(os.environ))
    options = jupyter_options(chosen.notebooks.resolve(), "none" if chosen.no_browser else browser_of(os.environ))
    jupyter = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=jupyter_environment(os.environ))
    # The terminal sends Ctrl-C to both; this one stays to have the last word.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: jupyter.terminate())
    status = jupyter.wait()
    down = os.path.relpath(Path(sys.prefix) / "bin" / "labkit")
    print(f"\nJupyterLab has ended. The local clouds are still up; `{down} down` stops them.", flush=True)
    return status if status > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
