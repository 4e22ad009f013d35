"""Spot capacity: what it costs, when it is taken, and that a job goes on from its checkpoint."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.jobs import Job, Jobs, JobSpec
from labkit.cloud.engine.launcher import Launcher
from labkit.cloud.engine.spot import INTERRUPTED, SHARE, SWING, Pool, SpotOutcome, SpotRun
from tests.waiting import eventually

POOL = Pool("aws", "ml.m5.large", "us-east-1a")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: Counts in a file how often it was asked to end, until it has been twice.
TRAIN = """
import pathlib, signal, sys, time
saved = pathlib.Path("checkpoint")
done = int(saved.read_text()) if saved.exists() else 0
def leave(*_):
    saved.write_text(str(done + 1))
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("from", done)
while done < 2:
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def launcher():
    launcher = Launcher(preload=("labkit.cloud.engine.job_worker",))
    yield launcher
    launcher.close()


@pytest.fixture
def clock():
    clock = Clock()
    yield clock
    clock.close()


@pytest.fixture
def jobs(clock, launcher):
    jobs = Jobs(clock, launcher)
    yield jobs
    jobs.close()


class Training:
    """A spot run in a thread, and what it wrote."""

    def __init__(self, jobs: Jobs, clock: Clock, folder, program: str = TRAIN, **options):
        self.lines: list[str] = []
        self.warnings: list[int] = []
        self.spoke = threading.Semaphore(0)
        self.outcome: list[SpotOutcome] = []

        def start(attempt: int) -> Job:
            spec = JobSpec(
                f"try {attempt}", ["python", "-c", program], {"PATH": os.environ["PATH"]}, folder, self._line
            )
            return jobs.start(spec)

        # The grace is more than a busy machine takes, for a job that is killed has saved nothing.
        self.run = SpotRun("training", POOL, clock, start, warn=self.warnings.append, grace=120.0, **options)
        self.thread = threading.Thread(target=lambda: self.outcome.append(self.run.run()))
        self.thread.start()

    def _line(self, line: str) -> None:
        self.lines.append(line)
        self.spoke.release()

    def speaks(self) -> None:
        assert self.spoke.acquire(timeout=60)

    def ended(self) -> SpotOutcome:
        self.thread.join(100)
        return self.outcome[0]


def test_an_interrupted_job_goes_on_from_its_checkpoint_and_costs_a_share(jobs, clock, tmp_path):
    training = Training(jobs, clock, tmp_path)
    for _ in range(2):
        training.speaks()
        # It may speak before the run knows its job.
        eventually(training.run.interrupt)
    outcome = training.ended()
    assert training.lines == ["from 0", "from 1", "from 2"]
    assert training.warnings == [120, 120]
    assert (outcome.state, outcome.interruptions) == ("Succeeded", 2)
    assert outcome.seconds >= outcome.job.seconds
    assert SHARE - SWING <= outcome.billable_seconds / outcome.seconds <= SHARE + SWING
    assert not training.run.interrupt()


def test_the_clock_takes_machines_away_when_the_model_says_so(jobs, clock, tmp_path):
    training = Training(jobs, clock, tmp_path)
    training.speaks()
    eventually(lambda: clock._due)
    fired = clock.advance(POOL.next_interruption(clock.now()) - clock.now() + timedelta(seconds=1))
    assert [firing.name for firing in fired] == ["the spot machine of training is taken away"]
    training.speaks()
    training.run.stop()
    outcome = training.ended()
    assert training.lines[:2] == ["from 0", "from 1"]
    assert (outcome.state, outcome.interruptions) == ("Stopped", 1)


def test_a_run_that_has_waited_too_long_is_not_started_again(jobs, clock, tmp_path):
    training = Training(jobs, clock, tmp_path, max_wait=0.0)
    training.speaks()
    eventually(training.run.interrupt)
    outcome = training.ended()
    assert (outcome.state, outcome.interruptions, training.lines) == ("WaitedTooLong", 1, ["from 0"])


def test_a_job_that_fails_is_not_started_again(jobs, clock, tmp_path):
    outcome = Training(jobs, clock, tmp_path, program="raise SystemExit(3)").ended()
    assert (outcome.state, outcome.interruptions, outcome.job.exit_code) == ("Failed", 0, 3)


def test_the_model_is_the_same_each_time_and_differs_between_pools():
    other = Pool("aws", "ml.m5.large", "us-east-1b")
    hours = [NOON + timedelta(hours=hour) for hour in range(2000)]
    shares = [POOL.share(hour) for hour in hours]
    assert shares == [Pool("aws", "ml.m5.large", "us-east-1a").share(hour) for hour in hours]
    assert shares != [other.share(hour) for hour in hours]
    assert POOL.share(NOON) == POOL.share(NOON + timedelta(minutes=59))
    assert SHARE - SWING <= min(shares) < SHARE < max(shares) <= SHARE + SWING
    assert sum(shares) / len(shares) == pytest.approx(SHARE, abs=0.01)


def test_machines_are_taken_as_often_as_the_model_says():
    count, now = 0, NOON
    while (now := POOL.next_interruption(now)) < NOON + timedelta(hours=4000):
        count += 1
    assert count / 4000 == pytest.approx(INTERRUPTED, abs=0.012)
