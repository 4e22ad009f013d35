"""Phrases that checks of several labs put together."""

from __future__ import annotations

from collections.abc import Sequence


def counted(kind: str, there: Sequence[str], most: int = 3) -> str:
    """Names of one kind as a phrase: ``the bucket b``, ``5 models (a, b, c, ...)``."""
    if len(there) == 1:
        return f"the {kind} {there[0]}"
    several = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    return f"{len(there)} {several} ({', '.join(there[:most])}{', ...' if len(there) > most else ''})"


def together(things: Sequence[str]) -> str:
    """One or more things as a phrase: ``a, b and c``."""
    *others, last = things
    return f"{', '.join(others)} and {last}" if others else last
