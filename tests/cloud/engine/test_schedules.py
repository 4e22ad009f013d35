"""Schedules on the lab's clock: months and years pass at once, and fire all that they should."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.expressions import Cron, Rate, aws
from labkit.cloud.engine.schedules import Schedule


@pytest.fixture
def clock(monkeypatch):
    """A clock that begins on the same day of the year and at half past an hour, whenever the tests run."""
    machine = time.time_ns
    ahead = int(datetime(2026, 11, 24, 12, 30, tzinfo=UTC).timestamp()) * 10**9 - machine()
    monkeypatch.setattr(time, "time_ns", lambda: machine() + ahead)
    clock = Clock()
    yield clock
    clock.close()


@pytest.fixture
def fired():
    return []


def schedule(clock: Clock, fired: list[datetime], text: str = "cron(0 9 1 * ? *)", **options) -> Schedule:
    return Schedule(clock, options.pop("expression", None) or aws(text), fired.append, name="monthly", **options)


def test_a_year_fires_twelve_monthly_runs_in_order(clock, fired):
    monthly = schedule(clock, fired, zone=ZoneInfo("Europe/Berlin"))
    firings = clock.advance(timedelta(days=365))
    assert len(fired) == 12
    assert fired == sorted(fired) == monthly.fired == [firing.at for firing in firings]
    local = [when.astimezone(ZoneInfo("Europe/Berlin")) for when in fired]
    assert {(each.day, each.hour) for each in local} == {(1, 9)}
    assert sorted(each.month for each in local) == list(range(1, 13))
    assert len({each.utcoffset() for each in local}) == 2
    assert monthly.count == 12
    assert monthly.next_at > clock.now()


def test_a_month_fires_every_hour(clock, fired):
    schedule(clock, fired, "cron(0 * * * ? *)")
    clock.advance(timedelta(days=31))
    assert len(fired) == 744
    assert {later - earlier for earlier, later in pairwise(fired)} == {timedelta(hours=1)}


def test_disabling_stops_it_and_nothing_is_made_up_for(clock, fired):
    monthly = schedule(clock, fired, expression=Cron("0 9 1 * *"))
    clock.advance(timedelta(days=92))
    before = len(fired)
    assert before == 3
    monthly.disable()
    assert (monthly.enabled, monthly.next_at) == (False, None)
    clock.advance(timedelta(days=92))
    assert len(fired) == before
    monthly.enable()
    assert len(fired) == before
    clock.advance(timedelta(days=31))
    assert len(fired) == before + 1
    monthly.close()
    monthly.enable()
    clock.advance(timedelta(days=62))
    assert len(fired) == before + 1


def test_an_action_may_disable_its_own_schedule(clock):
    fired: list[datetime] = []

    def action(when: datetime) -> None:
        fired.append(when)
        hourly.disable()

    hourly = Schedule(clock, aws("rate(1 hour)"), action, name="hourly")
    clock.advance(timedelta(days=1))
    assert len(fired) == 1


def test_it_fires_from_its_start_to_its_end(clock, fired):
    now = clock.now().replace(minute=0, second=0, microsecond=0)
    start, end = now + timedelta(days=2), now + timedelta(days=3)
    ends: list[int] = []
    limited = schedule(clock, fired, "cron(0 * * * ? *)", start=start, end=end, ended=lambda: ends.append(len(fired)))
    clock.advance(timedelta(days=5))
    assert (fired[0], fired[-1], len(fired)) == (start, end, 25)
    assert limited.next_at is None
    # Told when the last one was started.
    assert ends == [25]


def test_it_fires_as_often_as_it_may(clock, fired):
    schedule(clock, fired, "rate(1 day)", most=3)
    clock.advance(timedelta(days=10))
    assert len(fired) == 3


def test_once_is_once(clock, fired):
    when = (clock.now() + timedelta(days=3)).replace(microsecond=0)
    ends: list[int] = []
    schedule(clock, fired, f"at({when:%Y-%m-%dT%H:%M:%S})", ended=lambda: ends.append(1))
    clock.advance(timedelta(days=30))
    assert (fired, ends) == ([when], [1])


def test_what_is_never_due_says_so_at_once(clock, fired):
    ends: list[int] = []
    assert schedule(clock, fired, "at(2020-01-01T00:00:00)", ended=lambda: ends.append(1)).next_at is None
    assert ends == [1]


def test_a_rate_may_begin_at_once(clock, fired):
    now = clock.now()
    expression = Rate(timedelta(hours=1), now)
    schedule(clock, fired, expression=expression, since=now - timedelta(microseconds=1))
    clock.advance(timedelta(minutes=61))
    assert fired == [now, now + timedelta(hours=1)]


def test_a_failed_run_does_not_end_the_schedule(clock):
    def action(when: datetime) -> None:
        raise ValueError(f"month {when.month}")

    monthly = Schedule(clock, aws("cron(0 9 1 * ? *)"), action, name="monthly")
    firings = clock.advance(timedelta(days=92))
    assert [firing.error for firing in firings] == [f"ValueError: month {firing.at.month}" for firing in firings]
    assert monthly.count == len(firings) >= 3


def test_instants_are_in_utc(clock, fired):
    schedule(clock, fired, zone=ZoneInfo("Asia/Tokyo"))
    clock.advance(timedelta(days=31))
    assert fired[0].tzinfo is UTC
    assert fired[0].hour == 0
