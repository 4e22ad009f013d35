"""Trying what an identity can do: what it needs has to be allowed, all else denied."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from labkit.labs.task import Wrong


@dataclass(frozen=True, slots=True)
class Trial:
    """One call, named as a phrase (``read customers/``), and whether the identity needs it.

    ``hint`` is for who got this one wrong; "" where the task's first hint says enough.
    """

    what: str
    needed: bool
    call: Callable[[], Any]
    hint: str = ""


def run(who: str, trials: Iterable[Trial], is_denied: Callable[[Callable[[], Any]], bool]) -> int:
    """Makes the calls and returns how many; raises :class:`Wrong` with the first that ends otherwise than it has to.

    ``is_denied`` makes a call and says whether the cloud denied it. Calls that ought to be denied do no harm if they
    are not.
    """
    count = 0
    for trial in trials:
        denied = is_denied(trial.call)
        count += 1
        if denied and trial.needed:
            raise Wrong(f"{who} denied to {trial.what}", "everything that it needs allowed", trial.hint)
        if not denied and not trial.needed:
            raise Wrong(f"{who} allowed to {trial.what}", "nothing allowed that it does not need", trial.hint)
    return count
