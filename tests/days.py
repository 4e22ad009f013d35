"""Days of the lab's clock on which tests that let months pass begin."""

from __future__ import annotations

from datetime import datetime, timedelta

from labkit.cloud import client
from labkit.cloud.engine.clock import Clock
from labkit.cloud.state import Lab


def until_the_middle_of_a_month(now: datetime) -> timedelta:
    """How long it is to half past twelve of the next month's 15th.

    From there, months of any length pass as many first days each, whatever day it is; and no hour strikes meanwhile.
    """
    following = now.replace(day=1) + timedelta(days=32)
    return following.replace(day=15, hour=12, minute=30, second=0, microsecond=0) - now


def to_the_middle_of_a_month(clock: Clock | Lab) -> None:
    """Advances a clock, or that of clouds that run, to such a day."""
    if isinstance(clock, Clock):
        clock.advance(until_the_middle_of_a_month(clock.now()))
        return
    now = datetime.fromisoformat(client.control(clock, "GET", "clock")["time"])
    client.control(clock, "POST", "clock/advance", {"seconds": until_the_middle_of_a_month(now).total_seconds()})
