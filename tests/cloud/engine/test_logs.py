"""Logs: order, windows, positions, expiry, and a bound that spares the quiet streams."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from labkit.cloud.engine import logs as logs_module
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.errors import Conflict, NotFound
from labkit.cloud.engine.logs import Logs, milliseconds

SCOPE = "aws:123456789012:us-east-1"
GROUP = "/aws/sagemaker/Endpoints/churn"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logs(clock: Clock) -> Logs:
    return Logs(clock)


def messages(logs: Logs, *streams: str, **window: int) -> list[str]:
    return [event.message for event in logs.read(SCOPE, GROUP, streams or None, **window)]


class TestWrite:
    def test_it_makes_what_is_missing(self, logs: Logs) -> None:
        logs.write(SCOPE, GROUP, "blue/1", "model loaded")
        assert [group.name for group in logs.groups(SCOPE)] == [GROUP]
        assert [stream.name for stream in logs.streams(SCOPE, GROUP)] == ["blue/1"]
        assert messages(logs) == ["model loaded"]

    def test_its_time_is_the_lab_s(self, logs: Logs, clock: Clock) -> None:
        clock.advance(timedelta(days=31))
        logs.write(SCOPE, GROUP, "s", "now")
        (event,) = logs.read(SCOPE, GROUP)
        assert event.timestamp == event.ingested
        assert abs(event.timestamp - clock.time() * 1000) < 60_000
        (stream,) = logs.streams(SCOPE, GROUP)
        assert stream.created <= event.timestamp == stream.first == stream.last == stream.last_ingested

    def test_an_event_keeps_its_own_time_and_when_it_came_in(self, logs: Logs, clock: Clock) -> None:
        logs.write(SCOPE, GROUP, "s", "late", at=NOON)
        (event,) = logs.read(SCOPE, GROUP)
        assert event.timestamp == milliseconds(NOON)
        assert abs(event.ingested - clock.time() * 1000) < 60_000

    def test_every_millisecond_is_exact(self) -> None:
        for number in range(1000):
            assert milliseconds(NOON + timedelta(milliseconds=number)) == milliseconds(NOON) + number
        assert milliseconds(NOON.replace(tzinfo=None)) == milliseconds(NOON)

    def test_many_threads_lose_nothing(self, logs: Logs) -> None:
        def write(number: int) -> None:
            for line in range(200):
                logs.write(SCOPE, GROUP, f"s{number % 2}", f"{number} {line}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        events = logs.read(SCOPE, GROUP)
        assert len(events) == len({event.id for event in events}) == 1600
        for number in range(8):
            own = [event.message for event in events if event.message.startswith(f"{number} ")]
            assert own == [f"{number} {line}" for line in range(200)]


class TestRead:
    @pytest.fixture
    def logs(self, clock: Clock) -> Logs:
        logs = Logs(clock)
        logs.create_group(SCOPE, GROUP)
        for stream in ("a", "b"):
            logs.create_stream(SCOPE, GROUP, stream)
        logs.put(SCOPE, GROUP, "a", [(10, "a10"), (20, "a20"), (40, "a40")])
        logs.put(SCOPE, GROUP, "b", [(10, "b10"), (30, "b30")])
        return logs

    def test_streams_are_merged_in_order_of_time(self, logs: Logs) -> None:
        assert messages(logs) == ["a10", "b10", "a20", "b30", "a40"]
        assert messages(logs, "b") == ["b10", "b30"]
        assert messages(logs, "b", "a", "b", "missing") == messages(logs)

    def test_what_comes_late_takes_its_place(self, logs: Logs) -> None:
        logs.put(SCOPE, GROUP, "a", [(15, "a15")])
        assert messages(logs, "a") == ["a10", "a15", "a20", "a40"]

    def test_at_the_same_time_the_first_to_come_is_first(self, logs: Logs) -> None:
        logs.put(SCOPE, GROUP, "a", [(20, "again"), (20, "and again")])
        assert messages(logs, "a", start=20, end=21) == ["a20", "again", "and again"]

    def test_a_window_has_its_start_and_not_its_end(self, logs: Logs) -> None:
        assert messages(logs, start=20) == ["a20", "b30", "a40"]
        assert messages(logs, end=20) == ["a10", "b10"]
        assert messages(logs, start=20, end=40) == ["a20", "b30"]
        assert messages(logs, start=50) == []

    def test_positions_are_ids(self, logs: Logs) -> None:
        events = logs.read(SCOPE, GROUP)
        middle = events[2].id
        assert messages(logs, after=middle) == ["b30", "a40"]
        assert messages(logs, before=middle) == ["a10", "b10"]
        assert messages(logs, after=middle, start=35) == ["a40"]


class TestGroupsAndStreams:
    def test_they_are_made_once(self, logs: Logs) -> None:
        logs.create_group(SCOPE, GROUP, {"team": "churn"})
        with pytest.raises(Conflict):
            logs.create_group(SCOPE, GROUP)
        logs.create_stream(SCOPE, GROUP, "s")
        with pytest.raises(Conflict):
            logs.create_stream(SCOPE, GROUP, "s")
        assert logs.group(SCOPE, GROUP).labels == {"team": "churn"}
        (stream,) = logs.streams(SCOPE, GROUP)
        assert (stream.first, stream.last, stream.last_ingested) == (None, None, None)

    def test_scopes_do_not_meet(self, logs: Logs) -> None:
        logs.create_group(SCOPE, GROUP)
        logs.create_group("aws:123456789012:eu-west-1", GROUP)
        logs.delete_group(SCOPE, GROUP)
        assert logs.groups(SCOPE) == []
        assert len(logs.groups("aws:123456789012:eu-west-1")) == 1

    def test_what_is_not_there_is_named(self, logs: Logs) -> None:
        for call in (logs.group, logs.delete_group, logs.streams, logs.read):
            with pytest.raises(NotFound, match=f"no log group {GROUP}"):
                call(SCOPE, GROUP)
        logs.create_group(SCOPE, GROUP)
        with pytest.raises(NotFound, match="no log stream s in"):
            logs.put(SCOPE, GROUP, "s", [(1, "x")])
        with pytest.raises(NotFound, match="no log stream s in"):
            logs.delete_stream(SCOPE, GROUP, "s")
        assert messages(logs) == []

    def test_labels_are_added_replaced_and_taken_off(self, logs: Logs) -> None:
        logs.create_group(SCOPE, GROUP, {"a": "1", "b": "2"})
        logs.label(SCOPE, GROUP, {"b": "3", "c": "4"}, remove=["a", "missing"])
        assert logs.group(SCOPE, GROUP).labels == {"b": "3", "c": "4"}

    def test_stored_bytes_come_and_go(self, logs: Logs) -> None:
        logs.write(SCOPE, GROUP, "a", "12345")
        logs.write(SCOPE, GROUP, "b", "grüße")
        assert logs.group(SCOPE, GROUP).stored_bytes == 12
        logs.delete_stream(SCOPE, GROUP, "a")
        assert logs.group(SCOPE, GROUP).stored_bytes == 7

    def test_clear_forgets(self, logs: Logs) -> None:
        logs.write(SCOPE, GROUP, "a", "x")
        logs.clear()
        assert logs.groups(SCOPE) == []


class TestRetention:
    def test_events_expire_in_lab_time(self, logs: Logs, clock: Clock) -> None:
        logs.write(SCOPE, GROUP, "s", "old")
        logs.retain(SCOPE, GROUP, 7)
        clock.advance(timedelta(days=6))
        logs.write(SCOPE, GROUP, "s", "new")
        assert messages(logs) == ["old", "new"]
        clock.advance(timedelta(days=2))
        assert messages(logs) == ["new"]
        (stream,) = logs.streams(SCOPE, GROUP)
        assert stream.first == stream.last
        clock.advance(timedelta(days=7))
        assert messages(logs) == []
        assert logs.streams(SCOPE, GROUP)[0].first is None

    def test_without_it_they_stay(self, logs: Logs, clock: Clock) -> None:
        logs.write(SCOPE, GROUP, "s", "old")
        logs.retain(SCOPE, GROUP, 1)
        logs.retain(SCOPE, GROUP, None)
        clock.advance(timedelta(days=3650))
        assert messages(logs) == ["old"]


class TestBound:
    def test_the_noisiest_stream_loses_its_older_half(self, logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs_module, "KEPT_BYTES", 100 * (logs_module.OVERHEAD + 10))
        logs.write(SCOPE, GROUP, "quiet", "important.")
        for number in range(100):
            logs.write(SCOPE, GROUP, "noisy", f"line {number:05}")
        assert messages(logs, "quiet") == ["important."]
        assert messages(logs, "noisy") == [f"line {number:05}" for number in range(50, 100)]

    def test_deleting_makes_room(self, logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs_module, "KEPT_BYTES", 10 * (logs_module.OVERHEAD + 1))
        for _ in range(3):
            for number in range(10):
                logs.write(SCOPE, GROUP, "s", str(number))
            assert len(messages(logs)) == 10
            logs.delete_group(SCOPE, GROUP)
