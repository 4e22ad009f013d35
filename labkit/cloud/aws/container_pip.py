"""``pip`` as a container of the local clouds has it: it says whether what is asked for is there, and installs nothing.

The vendor's own start scripts run ``python -m pip install -r requirements.txt`` before a learner's script.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from labkit.cloud.engine.requirements import unmet, unmet_lines

#: Options of ``pip install`` that are followed by a value.
_VALUED = frozenset(
    ["-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "-t", "--target"]
)


def provide(folder: Path) -> str:
    """Makes ``folder`` one in which ``python -m pip`` finds this module; returns it as PYTHONPATH writes it."""
    package = folder / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"import sys\nfrom {__name__} import main\nsys.exit(main(sys.argv[1:]))\n")
    return str(folder)


def main(arguments: Sequence[str]) -> int:
    """What pip would do; returns its exit status."""
    if not arguments or arguments[0] in ("-V", "--version"):
        print("pip of the local clouds, which install nothing")
        return 0
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


def _of_file(file: Path) -> list[str]:
    if not file.is_file():
        return [f"Could not open requirements file: No such file or directory: '{os.fspath(file)}'"]
    return unmet(file)
