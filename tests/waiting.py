"""Waiting for what another thread or process does, where nothing tells of it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def eventually(
    ask: Callable[[], T], seconds: float = 60.0, *, despite: type[Exception] | tuple[type[Exception], ...] = ()
) -> T:
    """The first answer that is true; fails the test if there is none in ``seconds``.

    An exception of the type ``despite`` counts as no answer yet. The limit is for what never happens and costs a test
    that passes nothing, so it allows for a machine that is busy with a hundred other things.
    """
    deadline = time.monotonic() + seconds
    while True:
        last: object
        try:
            if answer := ask():
                return answer
            last = answer
        except despite as error:
            last = error
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {_wording(ask)}; the last answer was {last!r}")
        time.sleep(0.01)


def _wording(ask: Callable[[], object]) -> str:
    """A lambda as it is written, anything else by its name."""
    if getattr(ask, "__name__", "") == "<lambda>":
        return " ".join(inspect.getsource(ask).split())
    return repr(ask)
