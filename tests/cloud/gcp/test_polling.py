"""Who asks again about a job is held while the job may still change, and only then."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from labkit.cloud.gcp.polling import HELD, Polling, Watched
from labkit.cloud.gcp.vertex_names import stamp, v1

CALL: Any = SimpleNamespace(caller=SimpleNamespace(principal="learner", credential="key"))


class Job(Watched):
    """A job that nobody waits for in earnest: it counts who would."""

    def __init__(self) -> None:
        super().__init__(v1.PipelineJob(name="projects/1/locations/here/pipelineJobs/job"))
        self.held: list[float] = []

    def changed_since(self, version: int, timeout: float) -> int:
        self.held.append(timeout)
        return self.version

    def end(self) -> None:
        with self._changed:
            stamp(self.message, end_time=datetime(2026, 1, 2, tzinfo=UTC))
            self._news(datetime(2026, 1, 2, tzinfo=UTC))


def test_who_asks_again_is_held_until_there_is_news() -> None:
    job, polling = Job(), Polling()
    polling.hold(CALL, job)
    assert job.held == []
    polling.hold(CALL, job)
    assert job.held == [HELD]


def test_a_job_that_is_over_holds_nobody() -> None:
    job, polling = Job(), Polling()
    polling.hold(CALL, job)
    job.end()
    for _ in range(3):
        polling.hold(CALL, job)
    assert job.held == []
