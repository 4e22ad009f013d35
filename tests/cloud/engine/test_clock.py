"""Lab time: it runs, it can be advanced, and what is due in between fires in order."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar

import pytest

from labkit.cloud.engine import clock as clock_module
from labkit.cloud.engine.clock import Clock, duration
from labkit.cloud.engine.errors import Conflict, Invalid, LimitExceeded, TimedOut, Unavailable
from tests.waiting import eventually

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

T = TypeVar("T")


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.close()


class Job:
    """Work that finishes when it is told to, or after some seconds."""

    def __init__(self, seconds: float | None = None) -> None:
        self.done = threading.Event()
        self.waited = threading.Event()
        if seconds is not None:
            threading.Timer(seconds, self.done.set).start()

    def wait(self, timeout: float) -> bool:
        self.waited.set()
        return self.done.wait(timeout)


@contextlib.contextmanager
def held(clock: Clock) -> Iterator[None]:
    """Keeps the clock's own thread busy meanwhile: nothing becomes due by itself."""
    busy, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        busy.set()
        go_on.wait(60)

    clock.after(timedelta(0), hold, "held")
    assert busy.wait(60)
    yield
    go_on.set()


def monthly(clock: Clock, fired: list[datetime]) -> None:
    """A schedule as the dialects write them: each run schedules the next."""
    first = clock.now()
    runs = 0

    def run() -> None:
        nonlocal runs
        runs += 1
        fired.append(clock.now())
        clock.at(first + (runs + 1) * 30 * DAY, run, "monthly")

    clock.at(first + 30 * DAY, run, "monthly")


class TestNow:
    def test_it_is_the_machine_s_until_it_is_advanced(self, clock: Clock) -> None:
        assert abs(clock.now() - datetime.now(UTC)) < MINUTE
        assert clock.now().utcoffset() == timedelta(0)
        assert clock.time() == pytest.approx(time.time(), abs=60)
        assert clock.offset == timedelta(0)

    def test_it_moves_by_itself(self, clock: Clock) -> None:
        before = clock.now()
        time.sleep(0.01)
        assert timedelta(milliseconds=5) <= clock.now() - before < MINUTE

    def test_it_is_further_by_what_it_was_advanced(self, clock: Clock) -> None:
        clock.advance(31 * DAY)
        assert abs(clock.now() - datetime.now(UTC) - 31 * DAY) < MINUTE
        assert abs(clock.offset - 31 * DAY) < MINUTE
        assert clock.time() == pytest.approx(time.time() + 31 * 86_400, abs=60)

    def test_it_never_goes_back(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        before = clock.now()
        machine = time.time_ns() - 3600 * 10**9
        monkeypatch.setattr(clock_module.time, "time_ns", lambda: machine)
        assert clock.now() == before
        monkeypatch.setattr(clock_module.time, "time_ns", lambda: machine + 5 * 10**9)
        assert clock.now() == before + 5 * SECOND


class TestRealTime:
    def test_what_is_due_fires_as_time_passes(self, clock: Clock) -> None:
        fired: list[datetime] = []
        due = clock.after(timedelta(milliseconds=50), lambda: fired.append(clock.now()), "soon")
        eventually(lambda: fired)
        assert fired[0] >= due.at

    def test_the_earliest_fires_first_whenever_it_was_scheduled(self, clock: Clock) -> None:
        order: list[str] = []
        last = threading.Event()
        with held(clock):
            begin = clock.now()
            clock.at(begin + timedelta(milliseconds=30), last.set, "last")
            clock.at(begin + timedelta(milliseconds=20), lambda: order.append("second"), "second")
            clock.at(begin + timedelta(milliseconds=10), lambda: order.append("first"), "first")
        assert last.wait(60)
        assert order == ["first", "second"]

    def test_what_is_past_fires_at_once(self, clock: Clock) -> None:
        fired = threading.Event()
        clock.at(datetime(2020, 1, 1), fired.set, "late")
        assert fired.wait(60)

    def test_what_was_taken_back_does_not_fire(self, clock: Clock) -> None:
        fired, later = threading.Event(), threading.Event()
        with held(clock):
            due = clock.after(timedelta(milliseconds=10), fired.set, "soon")
            assert due.cancel()
            assert not due.cancel()
            clock.after(timedelta(milliseconds=20), later.set, "later")
        assert later.wait(60)
        assert not fired.is_set()

    def test_work_that_goes_on_holds_up_nothing(self, clock: Clock) -> None:
        job, later = Job(), threading.Event()
        clock.after(timedelta(0), lambda: job, "endless")
        clock.after(timedelta(milliseconds=20), later.set, "later")
        assert later.wait(60)
        job.done.set()

    def test_a_failure_is_recorded_and_stops_nothing(self, clock: Clock) -> None:
        later = threading.Event()
        clock.after(timedelta(0), lambda: 1 / 0, "broken")  # type: ignore[arg-type, return-value]
        clock.after(timedelta(milliseconds=20), later.set, "later")
        assert later.wait(60)
        assert clock.firings()[0].name == "broken"
        assert clock.firings()[0].error == "ZeroDivisionError: division by zero"

    def test_an_idle_clock_has_no_thread_and_uses_no_processor(self, clock: Clock) -> None:
        assert not any(thread.name == "clock" for thread in threading.enumerate() if thread is clock._driver)
        clock.after(DAY, lambda: None, "tomorrow")
        assert clock._driver is not None
        assert clock._driver.ident is not None
        spent = time.pthread_getcpuclockid(clock._driver.ident)
        before = time.clock_gettime(spent)
        time.sleep(0.05)
        assert time.clock_gettime(spent) - before < 0.02

    def test_close_ends_its_thread(self, clock: Clock) -> None:
        clock.after(DAY, lambda: None, "tomorrow")
        clock.close()
        assert clock._driver is not None
        clock._driver.join(60)
        assert not clock._driver.is_alive()
        with pytest.raises(Unavailable, match="tomorrow cannot be scheduled"):
            clock.after(DAY, lambda: None, "tomorrow")


class TestAdvance:
    def test_a_year_fires_twelve_months_in_order_at_their_instants(self, clock: Clock) -> None:
        fired: list[datetime] = []
        start = clock.now()
        monthly(clock, fired)
        firings = clock.advance(365 * DAY)
        assert len(fired) == len(firings) == 12
        for number, (now, firing) in enumerate(zip(fired, firings, strict=True), 1):
            assert abs(firing.at - (start + number * 30 * DAY)) < MINUTE
            assert timedelta(0) <= now - firing.at < MINUTE
        assert len(clock.advance(30 * DAY)) == 1

    def test_ties_fire_in_the_order_of_scheduling(self, clock: Clock) -> None:
        when = clock.now() + DAY
        order: list[int] = []
        for number in range(20):
            clock.at(when, lambda number=number: order.append(number), str(number))  # type: ignore[misc]
        clock.advance(2 * DAY)
        assert order == list(range(20))

    def test_it_stops_short_of_what_is_due_later(self, clock: Clock) -> None:
        clock.after(3 * DAY, lambda: None, "later")
        assert clock.advance(2 * DAY) == []
        assert [firing.name for firing in clock.advance(2 * DAY)] == ["later"]

    def test_it_waits_for_what_it_started(self, clock: Clock) -> None:
        job = Job()
        ended: list[datetime] = []
        clock.after(DAY, lambda: job, "train")
        clock.after(2 * DAY, lambda: ended.append(clock.now()), "after")
        advance = in_thread(lambda: clock.advance(3 * DAY))
        assert job.waited.wait(60)
        assert not ended
        assert clock.offset < 1.5 * DAY
        job.done.set()
        assert [firing.error for firing in advance()] == ["", ""]
        assert len(ended) == 1

    def test_the_clock_runs_while_something_works(self, clock: Clock) -> None:
        begin = clock.now()
        clock.at(begin + DAY, lambda: Job(0.05), "train")
        seen: list[datetime] = []
        due = clock.at(begin + DAY + SECOND / 100, lambda: seen.append(clock.now()), "next")
        clock.advance(2 * DAY)
        assert seen[0] - due.at >= timedelta(milliseconds=30)

    def test_work_beyond_the_limit_is_left_and_named(self) -> None:
        clock = Clock(patience=0.05)
        clock.after(DAY, Job, "endless")
        clock.after(2 * DAY, lambda: None, "next")
        endless, following = clock.advance(3 * DAY)
        assert endless.error == "It had not finished after 0.05 s and was left to go on."
        assert following.error == ""
        clock.close()

    def test_a_failure_stops_nothing(self, clock: Clock) -> None:
        def refuse() -> None:
            raise Conflict("The pipeline is being deleted.")

        clock.after(DAY, refuse, "broken")
        clock.after(2 * DAY, lambda: None, "next")
        lines: list[str] = []
        assert [firing.error for firing in clock.advance(3 * DAY, lines.append)] == [
            "The pipeline is being deleted.",
            "",
        ]
        assert any("broken failed: The pipeline is being deleted." in line for line in lines)

    def test_work_that_cannot_be_waited_for_stops_nothing(self, clock: Clock) -> None:
        class Lost:
            def wait(self, timeout: float) -> bool:
                raise OSError("gone")

        clock.after(DAY, Lost, "lost")
        assert [firing.error for firing in clock.advance(2 * DAY)] == ["OSError: gone"]

    def test_what_started_by_itself_is_waited_for_first(self, clock: Clock) -> None:
        job = Job()
        clock.after(timedelta(0), lambda: job, "early")
        eventually(lambda: len(clock.firings()) == 1)
        advance = in_thread(lambda: clock.advance(DAY))
        assert job.waited.wait(60)
        assert clock.offset == timedelta(0)
        job.done.set()
        assert advance() == []
        assert clock.offset > DAY - MINUTE

    def test_hourly_for_a_month_fires_all(self, clock: Clock) -> None:
        start = clock.now()
        runs = 0

        def run() -> None:
            nonlocal runs
            runs += 1
            clock.at(start + (runs + 1) * timedelta(hours=1), run, "hourly")

        clock.at(start + timedelta(hours=1), run, "hourly")
        assert len(clock.advance(31 * DAY)) == 31 * 24

    def test_past_a_thousand_firings_it_refuses(self, clock: Clock) -> None:
        runs = 0

        def run() -> None:
            nonlocal runs
            runs += 1
            clock.at(start + (runs + 1) * MINUTE, run, "every minute")

        start = clock.now()
        clock.at(start + MINUTE, run, "every minute")
        with pytest.raises(LimitExceeded, match=r"after 1,000 firings.*every minute due next: advance in shorter"):
            clock.advance(31 * DAY)
        assert runs == 1_000
        assert abs(clock.now() - start - 1_000 * MINUTE) < MINUTE
        # It was a refusal, not an end: the rest is still due.
        assert len(clock.advance(10 * MINUTE)) in (10, 11)

    def test_exactly_a_thousand_are_allowed(self, clock: Clock) -> None:
        for number in range(1_000):
            clock.after(DAY, lambda: None, str(number))
        assert len(clock.advance(2 * DAY)) == 1_000

    def test_only_one_at_a_time(self, clock: Clock) -> None:
        job = Job()
        clock.after(DAY, lambda: job, "train")
        advance = in_thread(lambda: clock.advance(2 * DAY))
        assert job.waited.wait(60)
        with pytest.raises(Conflict, match="being advanced already"):
            clock.advance(DAY)
        job.done.set()
        advance()
        clock.advance(DAY)

    def test_an_action_cannot_advance_the_clock(self, clock: Clock) -> None:
        clock.after(DAY, lambda: clock.advance(DAY), "meddler")  # type: ignore[arg-type, return-value]
        assert "being advanced already" in clock.advance(2 * DAY)[0].error
        clock.after(timedelta(0), lambda: clock.advance(DAY), "meddler")  # type: ignore[arg-type, return-value]
        eventually(lambda: len(clock.firings()) == 2)
        assert "being advanced already" in clock.firings()[1].error

    def test_it_waits_for_what_is_being_started(self) -> None:
        clock = Clock(patience=0.2)
        started, go_on = threading.Event(), threading.Event()

        def slow() -> None:
            started.set()
            go_on.wait(60)

        clock.after(timedelta(0), slow, "slow")
        assert started.wait(60)
        with pytest.raises(TimedOut, match=r"has not been started after 0\.2 s"):
            clock.advance(DAY)
        assert clock.offset == timedelta(0)
        go_on.set()
        clock.patience = 60.0
        clock.advance(DAY)
        clock.close()

    @pytest.mark.parametrize("by", [timedelta(0), -DAY, 36_500 * DAY])
    def test_a_length_that_makes_no_sense_is_refused(self, clock: Clock, by: timedelta) -> None:
        with pytest.raises(Invalid, match="at most 3660 days"):
            clock.advance(by)
        assert clock.offset == timedelta(0)

    def test_progress_says_what_fires_and_what_takes_long(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clock_module, "REPORT_EVERY", 0.0)
        due = clock.after(DAY, lambda: Job(0.05), "train")
        lines: list[str] = []
        clock.advance(2 * DAY, lines.append)
        assert lines[0] == f"{due.at:%Y-%m-%d %H:%M:%S} UTC  train"
        assert any(line.startswith("train has been running for ") for line in lines)

    def test_a_listener_that_has_gone_ends_it_where_it_is(self, clock: Clock) -> None:
        def gone(_: str) -> None:
            raise BrokenPipeError

        clock.after(DAY, lambda: None, "first")
        with pytest.raises(BrokenPipeError):
            clock.advance(2 * DAY, gone)
        assert clock.advance(DAY) == []

    def test_close_ends_it(self, clock: Clock) -> None:
        job = Job()
        clock.after(DAY, lambda: job, "train")
        advance = in_thread(lambda: clock.advance(2 * DAY))
        assert job.waited.wait(60)
        clock.close()
        with pytest.raises(Unavailable, match="stopped while"):
            advance()

    def test_the_driver_leaves_to_it_what_is_due_on_the_way(self, clock: Clock) -> None:
        threads: list[str] = []
        for number in range(50):
            clock.after(number * MINUTE + DAY, lambda: threads.append(threading.current_thread().name), "x")
        clock.advance(2 * DAY)
        assert set(threads) == {threading.current_thread().name}
        assert len(threads) == 50


class TestWindow:
    def test_it_is_left_alone_until_the_clock_is_advanced(self, clock: Clock) -> None:
        end = datetime.now(UTC)
        assert clock.window(end - DAY, end) == (end - DAY, end)

    def test_one_that_ends_now_moves_to_the_lab_s_now(self, clock: Clock) -> None:
        clock.advance(31 * DAY)
        end = datetime.now(UTC)
        start, moved = clock.window(end - DAY, end)
        assert moved - start == DAY
        assert abs(moved - clock.now()) < MINUTE
        assert clock.window(end, end + 4 * MINUTE)[1] > clock.now()

    def test_any_other_is_lab_time_already(self, clock: Clock) -> None:
        clock.advance(31 * DAY)
        for end in (datetime.now(UTC) - 10 * MINUTE, datetime.now(UTC) + 10 * MINUTE, clock.now()):
            assert clock.window(end - DAY, end) == (end - DAY, end)

    def test_the_lab_s_now_is_not_taken_for_the_machine_s(self, clock: Clock) -> None:
        clock.advance(2 * MINUTE)
        end = clock.now()
        assert clock.window(end - DAY, end) == (end - DAY, end)

    def test_naive_datetimes_are_utc(self, clock: Clock) -> None:
        naive = datetime(2024, 5, 1, 12)
        assert clock.window(naive, naive) == (datetime(2024, 5, 1, 12, tzinfo=UTC),) * 2
        east = datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
        assert clock.window(east, east)[0].tzinfo is UTC
        assert clock.window(east, east)[0] == datetime(2024, 5, 1, 12, tzinfo=UTC)

    def test_an_instant_is_a_window_of_no_length(self, clock: Clock) -> None:
        clock.advance(31 * DAY)
        assert abs(clock.instant(datetime.now(UTC)) - clock.now()) < MINUTE
        assert clock.instant(datetime(2024, 5, 1)) == datetime(2024, 5, 1, tzinfo=UTC)


class TestDuration:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("31d", 31 * DAY),
            ("90s", 90 * SECOND),
            ("2h30m", 150 * MINUTE),
            ("1w 2d", 9 * DAY),
            ("1.5h", 90 * MINUTE),
            (" 15M ", 15 * MINUTE),
        ],
    )
    def test_as_people_write_it(self, text: str, expected: timedelta) -> None:
        assert duration(text) == expected

    @pytest.mark.parametrize("text", ["", "31", "d", "2 fortnights", "5d!", "-5d", "1h1h", "1e3s", "31days"])
    def test_anything_else_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(Invalid, match="is not a duration: write one like 31d"):
            duration(text)

    def test_no_time_and_too_much_are_refused(self) -> None:
        with pytest.raises(Invalid, match="no time at all"):
            duration("0s")
        with pytest.raises(Invalid, match="too long"):
            duration("9999999999999d")


def in_thread(call: Callable[[], T]) -> Callable[[], T]:
    """Starts ``call``; the function returned waits for its result, or raises what it raised."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> T:
        thread.join(100)
        assert not thread.is_alive()
        if errors:
            raise errors[0]
        return results[0]

    return result
