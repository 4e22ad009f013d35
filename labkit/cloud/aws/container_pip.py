"""``pip`` as a container of the local clouds has it: it says whether what is asked for is there, and installs nothing.

The vendor's own start scripts run ``python -m pip install -r requirements.txt`` before a learner's script.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from labkit.cloud.engine.requirements import unmet, unmet_lines

_COMMAND = '#!/bin/sh\nexec python -m pip "$@"\n'
#: Options of ``pip install`` that are followed by a value.
_VALUED = frozenset(
    ["-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "-t", "--target"]
)


def provide(folder: Path) -> dict[str, str]:
    """Puts this ``pip`` into ``folder``; returns what goes before PYTHONPATH and PATH for a container to find it.

    However it is called: as a module, as a command, or by the command of an interpreter's own ``bin``, which imports
    ``pip._internal`` (``main``, or ``cli`` as its newer ones do).
    """
    entry = (
        f"import sys\nfrom {__name__} import main as run\n\n\n"
        "def main():\n    return run(sys.argv[1:])\n\n\ncli = main\n"
    )
    files = {
        "pip/__init__.py": "",
        "pip/__main__.py": "import sys\nfrom pip._internal.cli.main import main\n\nsys.exit(main())\n",
        "pip/_internal/__init__.py": "",
        "pip/_internal/cli/__init__.py": "",
        "pip/_internal/cli/main.py": entry,
        "bin/pip": _COMMAND,
        "bin/pip3": _COMMAND,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text == _COMMAND:
            path.chmod(0o755)
    return {"PYTHONPATH": str(folder), "PATH": str(folder / "bin")}


def main(arguments: Sequence[str]) -> int:
    """What pip would do; returns its exit status."""
    if not arguments or arguments[0] in ("-V", "--version"):
        print("pip of the local clouds, which install nothing")
        return 0
    if arguments[0] == "uninstall":
        return _uninstall([each for each in arguments[1:] if not each.startswith("-")])
    if arguments[0] != "install":
        print(f"ERROR: the local clouds do not serve 'pip {arguments[0]}' in a job's container.", file=sys.stderr)
        return 1
    problems: list[str] = []
    rest = iter(arguments[1:])
    for argument in rest:
        if argument in ("-r", "--requirement"):
            problems += _of_file(Path(next(rest, "")))
        elif argument in _VALUED:
            next(rest, None)
        elif not argument.startswith("-"):
            problems += unmet_lines([argument], "pip install")
    for problem in problems:
        print(f"ERROR: {problem}", file=sys.stderr)
    if problems:
        print(
            "ERROR: The local clouds install nothing: install it in the lab's environment, or change the file.",
            file=sys.stderr,
        )
        return 1
    print("Requirements already satisfied.")
    return 0


def _uninstall(names: Sequence[str]) -> int:
    """Start scripts take out a package that some images have; one that is not there is skipped, as pip does."""
    status = 0
    for name in names:
        if any(metadata.distributions(name=name)):
            print(f"ERROR: The local clouds uninstall nothing, and {name} is installed.", file=sys.stderr)
            status = 1
        else:
            print(f"WARNING: Skipping {name} as it is not installed.", file=sys.stderr)
    return status


def _of_file(file: Path) -> list[str]:
    if not file.is_file():
        return [f"Could not open requirements file: No such file or directory: '{os.fspath(file)}'"]
    return unmet(file)
