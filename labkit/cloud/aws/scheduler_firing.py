"""A schedule that fires: the call that it makes as its target's role, tries again, metrics and dead letters.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/monitoring-cloudwatch.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
"""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labkit.cloud.aws import scheduler_targets, service_calls
from labkit.cloud.aws.background import Together, noting
from labkit.cloud.aws.errors import AwsError, of_engine
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.scheduler_state import Schedule, State
from labkit.cloud.aws.scheduler_targets import SERVICE
from labkit.cloud.engine import expressions, schedules
from labkit.cloud.engine.clock import Work
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.engine.expressions import At

#: Errors after which Scheduler tries again; any other one is for good.
RETRIED = frozenset(
    ("ThrottlingException", "TooManyRequestsException", "ResourceLimitExceeded", "ServiceUnavailable", "Throttling")
)
ATTEMPTS = 185
OLDEST = 86_400


@dataclass
class _Firing:
    """One firing on its way; ``retries`` counts the attempts after the first."""

    place: Place
    schedule: Schedule
    target: dict[str, Any]
    when: datetime
    id: str
    content: str = ""
    retries: int = 0


def start(place: Place, schedule: Schedule) -> None:
    """Has an enabled schedule fire from now on."""
    request, clock = schedule.request, place.engine.clock
    name = f"schedule {schedule.group}/{schedule.name}"
    now, window = clock.now(), request["FlexibleTimeWindow"].get("MaximumWindowInMinutes", 0)
    anchor = request.get("StartDate") or now
    expression = expressions.aws(request["ScheduleExpression"], anchor=anchor)

    def fire(when: datetime) -> Work | None:
        if not window:
            return _fire(place, schedule, when)
        late = when + timedelta(seconds=random.uniform(0, 60 * window))
        clock.at(late, lambda: _fire(place, schedule, when), name)
        return None

    def ended() -> None:
        if request["ActionAfterCompletion"] == "DELETE":
            place.store(State).schedules.pop((schedule.group, schedule.name), None)

    once = isinstance(expression, At)
    schedule.timer = schedules.Schedule(
        clock,
        expression,
        fire,
        name=name,
        zone=expressions.zone(request["ScheduleExpressionTimezone"]),
        # A one-time schedule fires whatever its dates are.
        start=None if once else request.get("StartDate"),
        end=None if once else request.get("EndDate"),
        # As documented, a rate without a start date fires at once.
        since=now if "StartDate" in request else now - timedelta(microseconds=1),
        ended=ended,
    )


def _fire(place: Place, schedule: Schedule, when: datetime) -> Work | None:
    return _attempt(_Firing(place, schedule, dict(schedule.request["Target"]), when, uuid.uuid4().hex[:16]))


def _attempt(firing: _Firing) -> Work | None:
    place, target = firing.place, firing.target
    firing.content = _content(firing)
    _count(firing, "InvocationAttemptCount")
    with noting() as works:
        try:
            key = service_calls.assume(place, target["RoleArn"], SERVICE, firing.id, firing.schedule.arn)
            made = scheduler_targets.request(place, target, firing.content)
            result = service_calls.perform(place, key, made.service, made.operation, made.parameters, SERVICE)
            problem = scheduler_targets.problem_of(result)
        except CloudError as error:
            problem = of_engine(error, "scheduler")
    if problem is not None:
        _failed(firing, problem)
    return Together(works) if works else None


def _content(firing: _Firing) -> str:
    """The target's Input with its context attributes filled in; without one, an event that tells of the firing.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    place, schedule, when = firing.place, firing.schedule, f"{firing.when:%Y-%m-%dT%H:%M:%SZ}"
    if "Input" not in firing.target:
        event = {
            "version": "0",
            "id": firing.id,
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": place.account,
            "time": when,
            "region": place.region,
            "resources": [schedule.arn],
            "detail": "{}",
        }
        universal = str(firing.target["Arn"]).startswith("arn:aws:scheduler:::")
        return "{}" if universal else json.dumps(event)
    text = str(firing.target["Input"])
    for name, value in (
        ("schedule-arn", schedule.arn),
        ("scheduled-time", when),
        ("execution-id", firing.id),
        ("attempt-number", str(firing.retries + 1)),
    ):
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def _failed(firing: _Firing, error: AwsError) -> None:
    place = firing.place
    _count(firing, "TargetErrorThrottledCount" if error.code in RETRIED else "TargetErrorCount")
    policy = firing.target.get("RetryPolicy") or {}
    most, oldest = policy.get("MaximumRetryAttempts", ATTEMPTS), policy.get("MaximumEventAgeInSeconds", OLDEST)
    age = place.engine.clock.now() - firing.when
    exhausted = "MaximumRetryAttempts"
    if error.code in RETRIED and firing.retries < most:
        if age < timedelta(seconds=oldest):
            delay = timedelta(seconds=min(2**firing.retries, 3600))
            firing.retries += 1
            name = f"retry of schedule {firing.schedule.group}/{firing.schedule.name}"
            place.engine.clock.after(delay, lambda: _attempt(firing), name)
            return
        exhausted = "MaximumEventAgeInSeconds"
    _count(firing, "InvocationDroppedCount")
    if letters := (firing.target.get("DeadLetterConfig") or {}).get("Arn"):
        _bury(firing, error, exhausted, letters)


def _bury(firing: _Firing, error: AwsError, exhausted: str, queue: str) -> None:
    """Sends what could not be done to the dead-letter queue, as the target's role."""
    place = firing.place
    told = {
        "ERROR_CODE": error.code,
        "ERROR_MESSAGE": error.message,
        "EXECUTION_ID": firing.id,
        "EXHAUSTED_RETRY_CONDITION": exhausted,
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": str(firing.retries),
        "SCHEDULED_TIME": f"{firing.when:%Y-%m-%dT%H:%M:%SZ}",
        "SCHEDULE_ARN": firing.schedule.arn,
        "TARGET_ARN": str(firing.target["Arn"]),
    }
    letter = {
        "QueueUrl": f"https://sqs.{place.region}.amazonaws.com/{place.account}/{queue.rpartition(':')[2]}",
        "MessageBody": firing.content,
        "MessageAttributes": {name: {"DataType": "String", "StringValue": value} for name, value in told.items()},
    }
    # A message has ten attributes at most; these are nine.
    try:
        key = service_calls.assume(place, firing.target["RoleArn"], SERVICE, firing.id, firing.schedule.arn)
        service_calls.perform(place, key, "sqs", "SendMessage", letter, SERVICE)
        _count(firing, "InvocationsSentToDeadLetterCount")
    except CloudError as problem:
        _count(firing, "InvocationsFailedToBeSentToDeadLetterCount")
        _count(firing, f"InvocationsFailedToBeSentToDeadLetterCount_{of_engine(problem, 'sqs').code}")


def _count(firing: _Firing, metric: str) -> None:
    place, dimensions = firing.place, {"ScheduleGroup": firing.schedule.group}
    place.engine.metrics.put(place.scope, "AWS/Scheduler", metric, dimensions, 1, unit="Count")
