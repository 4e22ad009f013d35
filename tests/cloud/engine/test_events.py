from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.events import Event, Events


@pytest.fixture
def clock():
    clock = Clock()
    yield clock
    clock.close()


def test_every_listener_hears_every_event_until_it_takes_that_back(clock):
    events = Events(clock)
    one, other = [], []
    forget = events.listen(one.append)
    events.listen(other.append)
    first = events.publish("aws:1:r", "aws.sagemaker", "Job State Change", {"status": "Failed"}, resources=["arn:a"])
    forget()
    forget()
    second = events.publish("aws:1:r", "aws.sagemaker", "Job State Change", {"status": "Stopped"})
    assert (one, other) == ([first], [first, second])
    assert (first.scope, first.source, first.kind, first.detail, first.resources) == (
        "aws:1:r",
        "aws.sagemaker",
        "Job State Change",
        {"status": "Failed"},
        ("arn:a",),
    )


def test_events_have_the_labs_time_unless_it_is_said(clock):
    clock.advance(timedelta(days=31))
    events = Events(clock)
    assert abs(events.publish("s", "s", "k", {}).at - clock.now()) < timedelta(minutes=1)
    when = datetime(2027, 1, 1, tzinfo=UTC)
    assert events.publish("s", "s", "k", {}, at=when).at == when


def test_a_listener_that_fails_keeps_it_from_nobody(clock, capsys):
    events = Events(clock)
    heard: list[Event] = []
    events.listen(lambda event: 1 / 0)
    events.listen(heard.append)
    assert heard == [events.publish("s", "s", "k", {})]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_listener_may_publish(clock):
    events = Events(clock)
    heard: list[str] = []

    def echo(event: Event) -> None:
        heard.append(event.kind)
        if event.kind == "first":
            events.publish("s", "s", "second", {})

    events.listen(echo)
    events.publish("s", "s", "first", {})
    assert heard == ["first", "second"]
