"""The ``labkit`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from labkit.errors import LabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="labkit", description="Local clouds to learn MLOps on.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the local clouds").set_defaults(run=_up)
    commands.add_parser("down", help="stop the local clouds").set_defaults(run=_down)
    commands.add_parser("status", help="show the local clouds").set_defaults(run=_status)
    execute = commands.add_parser("exec", help="run a command against the local clouds")
    execute.add_argument("--fresh", action="store_true")
    execute.add_argument("rest", nargs=argparse.REMAINDER)
    execute.set_defaults(run=_exec)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except LabError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 1


def _lab():
    from labkit.cloud.state import Lab, folder

    return Lab(folder())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _up(options) -> int:
    from labkit.cloud import client

    print(client.up(_lab(), _say))
    return 0


def _down(options) -> int:
    from labkit.cloud import client

    print(client.down(_lab(), _say))
    return 0


def _status(options) -> int:
    from labkit.cloud import client

    print(client.status(_lab()))
    return 0


def _exec(options) -> int:
    import subprocess, os

    from labkit.cloud import client, environment

    command = options.rest[1:] if options.rest[:1] == ["--"] else options.rest
    if options.fresh:
        with client.fresh() as lab:
            return subprocess.run(command, env=environment.inside(lab, os.environ)).returncode
    lab = _lab()
    client.up(lab, _say)
    return subprocess.run(command, env=environment.inside(lab, os.environ)).returncode
