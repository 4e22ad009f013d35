"""Makes ``requirements.txt``, every package of the kit pinned, from the direct dependencies in ``pyproject.toml``.

Usage: ``.venv/bin/python -m tools.lock [--upgrade | --check]``. Pins that still fit are kept unless ``--upgrade`` is
given; ``--check`` changes nothing and says which direct dependencies the pins do not agree with.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Every package of the kit, pinned, for Python 3.11 to 3.14 on every platform.
# Made from pyproject.toml, which has the floors and their reasons, by: python -m tools.lock [--upgrade]
"""


def direct_dependencies(pyproject: Path) -> list[Requirement]:
    """What ``pyproject.toml`` asks for by name, the dependency groups included."""
    declared = tomllib.loads(pyproject.read_text())
    groups = declared.get("dependency-groups", {})
    named = declared["project"]["dependencies"] + [line for group in groups.values() for line in group]
    return [Requirement(line) for line in named]


def pins(requirements: Path) -> list[Requirement]:
    """The pinned packages; one may be there several times, with markers that exclude each other."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def disagreements(direct: list[Requirement], pinned: list[Requirement]) -> list[str]:
    """One sentence for each direct dependency that has no pin, or a pin that it does not allow."""
    versions: dict[str, list[str]] = {}
    for pin in pinned:
        versions.setdefault(canonicalize_name(pin.name), []).extend(
            spec.version for spec in pin.specifier if spec.operator == "=="
        )
    found = []
    for wanted in direct:
        chosen = versions.get(canonicalize_name(wanted.name), [])
        if not chosen:
            found.append(f"{wanted.name} is in pyproject.toml and not pinned in requirements.txt.")
        found += [
            f"{wanted.name} is pinned at {version}, which {wanted} in pyproject.toml does not allow."
            for version in chosen
            if not wanted.specifier.contains(version, prereleases=True)
        ]
    return found


def compile_requirements(root: Path, *, upgrade: bool = False) -> None:
    """Writes ``requirements.txt`` with uv, for all platforms at once."""
    target = root / "requirements.txt"
    command = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--python-version", "3.11", "--quiet"]
    command += ["--no-header", "--group", "setup", "--group", "test", "pyproject.toml", "--output-file", target.name]
    subprocess.run(command + ["--upgrade"] * upgrade, cwd=root, check=True)
    target.write_text(HEADER + target.read_text())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=__doc__.partition("\n")[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    choice.add_argument("--check", action="store_true", help="only say what does not agree")
    options = parser.parse_args(arguments)
    if not options.check:
        compile_requirements(ROOT, upgrade=options.upgrade)
    found = disagreements(direct_dependencies(ROOT / "pyproject.toml"), pins(ROOT / "requirements.txt"))
    print("\n".join(found) or "requirements.txt pins every dependency of pyproject.toml.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
