"""The labs, one module each: its tasks, its visible checks, its hints and its points."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from labkit.labs.task import Definition

LEVELS = ("foundations", "beginner", "intermediate", "advanced")
CLOUDS = ("aws", "azure", "gcp")


def names() -> list[str]:
    """The labs there are, as ``level/cloud``, in the order in which they are taken."""
    here = Path(__file__).parent
    return [f"{level}/{cloud}" for level in LEVELS for cloud in CLOUDS if (here / level / f"{cloud}.py").is_file()]


def load(name: str) -> Definition:
    """The lab of that name, or a ``LookupError`` that lists the labs there are."""
    if name not in names():
        raise LookupError(f"There is no lab named {name!r}; the labs are {', '.join(names())}.")
    definition: Definition = import_module(f"labkit.labs.{name.replace('/', '.')}").LAB
    return definition


def matching(prefixes: Sequence[str]) -> list[str]:
    """The labs at or below any of the prefixes (``beginner``, ``beginner/aws``); all of them when none is given.

    A prefix below which there is no lab is a ``LookupError`` that lists the labs there are.
    """
    if not prefixes:
        return names()
    chosen: list[str] = []
    for prefix in prefixes:
        found = [name for name in names() if f"{name}/".startswith(f"{prefix.rstrip('/')}/")]
        if not found:
            raise LookupError(f"There is no lab at {prefix!r}; the labs are {', '.join(names())}.")
        chosen += [name for name in found if name not in chosen]
    return chosen
