"""EventBridge Scheduler through boto3: what fires, when, as which role, and what becomes of what it may not do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from tests.cloud.aws.event_world import EventWorld, allow, arn
from tests.cloud.aws.in_process import error
from tests.days import to_the_middle_of_a_month

OFF = {"Mode": "OFF"}
PRINT = "def handler(event, context): print('at', event['at'])"


@pytest.fixture(autouse=True)
def _ordinary_day(engine: Engine) -> None:
    to_the_middle_of_a_month(engine.clock)


@pytest.fixture(scope="module")
def scheduler(client: Callable[[str], Any]) -> Any:
    return client("scheduler")


@pytest.fixture
def schedule(events: EventWorld, scheduler: Any) -> Iterator[Callable[..., str]]:
    """Makes a schedule of the test's own, which ends with the test."""
    names: list[str] = []

    def make(target: dict[str, Any], expression: str, name: str = "s", **more: Any) -> str:
        names.append(f"{events.name}-{name}")
        given = {"FlexibleTimeWindow": OFF, "Target": target, "ScheduleExpression": expression, **more}
        return str(scheduler.create_schedule(Name=names[-1], **given)["ScheduleArn"])

    yield make
    for name in names:
        try:
            scheduler.delete_schedule(Name=name)
        except scheduler.exceptions.ResourceNotFoundException:
            continue


def function_target(events: EventWorld, **more: Any) -> tuple[str, dict[str, Any]]:
    function = events.function(PRINT)
    role = events.role("scheduler.amazonaws.com", allow("lambda:InvokeFunction", resource=function), name="scheduler")
    return function, {"Arn": function, "RoleArn": role, "Input": '{"at": "<aws.scheduler.scheduled-time>"}', **more}


def told(events: EventWorld, function: str) -> list[str]:
    return [line.removeprefix("at ") for line in events.log_lines(function) if line.startswith("at ")]


def metric(client: Callable[[str], Any], engine: Engine, name: str, group: str) -> float:
    points = client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Scheduler",
        MetricName=name,
        Dimensions=[{"Name": "ScheduleGroup", "Value": group}],
        StartTime=engine.clock.now() - timedelta(days=1),
        EndTime=engine.clock.now() + timedelta(minutes=1),
        Period=86_400,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points)


def test_a_year_has_twelve_months_in_order(events: EventWorld, schedule: Callable[..., str], engine: Engine) -> None:
    function, target = function_target(events)
    schedule(target, "cron(0 6 1 * ? *)")
    begin = engine.clock.now()
    engine.clock.advance(timedelta(days=365))
    months = told(events, function)
    wanted, month = [], begin.replace(day=1, hour=6, minute=0, second=0, microsecond=0)
    while month <= begin + timedelta(days=365):
        if month > begin:
            wanted.append(f"{month:%Y-%m-%dT%H:%M:%SZ}")
        month = (month + timedelta(days=32)).replace(day=1)
    assert len(months) == 12
    assert months == wanted


def test_a_disabled_schedule_stops(
    events: EventWorld, scheduler: Any, schedule: Callable[..., str], engine: Engine
) -> None:
    function, target = function_target(events)
    schedule(target, "rate(1 day)")
    engine.clock.advance(timedelta(days=3))
    fired = len(told(events, function))
    assert fired == 4
    same = {"FlexibleTimeWindow": OFF, "Target": target, "ScheduleExpression": "rate(1 day)"}
    scheduler.update_schedule(Name=f"{events.name}-s", State="DISABLED", **same)
    engine.clock.advance(timedelta(days=3))
    assert len(told(events, function)) == fired
    scheduler.update_schedule(Name=f"{events.name}-s", **same)
    engine.clock.advance(timedelta(days=1, minutes=1))
    assert len(told(events, function)) == fired + 2


def test_a_zone_with_daylight_saving(events: EventWorld, schedule: Callable[..., str], engine: Engine) -> None:
    function, target = function_target(events)
    schedule(target, "cron(0 9 1 * ? *)", ScheduleExpressionTimezone="America/New_York")
    engine.clock.advance(timedelta(days=366))
    hours = {moment[5:7]: moment[11:13] for moment in told(events, function)}
    assert len(hours) == 12
    assert all(
        hour == ("14" if month in ("12", "01", "02", "03") else "13") for month, hour in hours.items() if month != "11"
    )
    assert hours["11"] in ("13", "14")


def test_every_hour_of_a_month(events: EventWorld, schedule: Callable[..., str], engine: Engine) -> None:
    url = events.queue(MessageRetentionPeriod="1209600")
    role = events.role("scheduler.amazonaws.com", allow("sqs:SendMessage", resource=events.queue_arn(url)))
    target = {"Arn": events.queue_arn(url), "RoleArn": role, "Input": "<aws.scheduler.scheduled-time>"}
    begin = engine.clock.now() + timedelta(hours=1)
    schedule(target, "rate(1 hour)", StartDate=begin, EndDate=begin + timedelta(days=30))
    hours: list[str] = []
    for _ in range(4):
        engine.clock.advance(timedelta(days=8))
        while messages := events.received(url, wait=0):
            hours += [each["Body"] for each in messages]
    assert hours == [f"{begin + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}" for n in range(30 * 24 + 1)]


def test_once_and_then_gone(events: EventWorld, scheduler: Any, schedule: Callable[..., str], engine: Engine) -> None:
    function, target = function_target(events)
    when = (engine.clock.now() + timedelta(days=2)).replace(microsecond=0)
    schedule(target, f"at({when:%Y-%m-%dT%H:%M:%S})", ActionAfterCompletion="DELETE")
    engine.clock.advance(timedelta(days=3))
    assert told(events, function) == [f"{when:%Y-%m-%dT%H:%M:%SZ}"]
    status, code, message = error(scheduler.get_schedule, Name=f"{events.name}-s")
    assert (status, code, message) == (404, "ResourceNotFoundException", f"Schedule {events.name}-s does not exist.")


def test_a_flexible_window(events: EventWorld, schedule: Callable[..., str], engine: Engine) -> None:
    function, target = function_target(events)
    window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 30}
    schedule(target, "cron(0 0 * * ? *)", FlexibleTimeWindow=window)
    fired = [each for each in engine.clock.advance(timedelta(days=20)) if each.name.endswith(f"{events.name}-s")]
    assert all(each.at.hour == 0 and each.at.minute < 30 for each in fired)
    assert len({each.at.minute for each in fired}) > 1
    assert all(moment.endswith("T00:00:00Z") for moment in told(events, function))


def test_queues_topics_buses_and_any_operation(
    events: EventWorld, schedule: Callable[..., str], engine: Engine
) -> None:
    url = events.queue(MessageRetentionPeriod="1209600")
    sns, bridge = events.client("sns"), events.client("events")
    topic = sns.create_topic(Name=f"{events.name}-topic")["TopicArn"]
    events.let_send(url, "*")
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=events.queue_arn(url), Attributes={"RawMessageDelivery": "true"}
    )
    bridge.put_rule(Name=events.name, EventPattern=json.dumps({"source": [events.name]}))
    bridge.put_targets(Rule=events.name, Targets=[{"Id": "q", "Arn": events.queue_arn(url), "InputPath": "$.detail"}])
    events.client("sqs").set_queue_attributes(
        QueueUrl=url,
        Attributes={
            "Policy": json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}],
                }
            )
        },
    )
    role = events.role("scheduler.amazonaws.com", allow("sqs:SendMessage", "sns:Publish", "events:PutEvents"))
    soon = f"at({engine.clock.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S})"
    named = {"Source": events.name, "DetailType": "tick"}
    targets: dict[str, dict[str, Any]] = {
        "queue": {"Arn": events.queue_arn(url), "Input": "direct"},
        "topic": {"Arn": topic, "Input": "by topic"},
        "bus": {"Arn": arn("events", "event-bus/default"), "Input": '{"by":"bus"}', "EventBridgeParameters": named},
        "any": {
            "Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
            "Input": json.dumps({"QueueUrl": url, "MessageBody": "universal"}),
        },
        "plain": {"Arn": events.queue_arn(url)},
    }
    for name, target in targets.items():
        made = schedule({**target, "RoleArn": role}, soon, name)
    engine.clock.advance(timedelta(hours=2))
    bodies = [each["Body"] for each in events.received(url)]
    plain = next(json.loads(body) for body in bodies if "aws.scheduler" in body)
    assert (plain["detail-type"], plain["resources"], plain["detail"]) == ("Scheduled Event", [made], "{}")
    wanted = ["by topic", "direct", "universal", '{"by": "bus"}']
    assert sorted(body for body in bodies if "aws.scheduler" not in body) == wanted


def test_a_denied_firing_is_counted_and_buried(
    events: EventWorld, scheduler: Any, client: Callable[[str], Any], engine: Engine
) -> None:
    function, dead = events.function(PRINT), events.queue("dead")
    scheduler.create_schedule_group(Name=events.name)
    role = events.role("scheduler.amazonaws.com", allow("sqs:SendMessage", resource=events.queue_arn(dead)))
    target = {"Arn": function, "RoleArn": role, "Input": "{}", "DeadLetterConfig": {"Arn": events.queue_arn(dead)}}
    soon = f"at({engine.clock.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S})"
    made = scheduler.create_schedule(
        Name="s", GroupName=events.name, ScheduleExpression=soon, FlexibleTimeWindow=OFF, Target=target
    )["ScheduleArn"]
    engine.clock.advance(timedelta(hours=2))
    (letter,) = events.received(dead)
    attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert letter["Body"] == "{}"
    assert (attributes["ERROR_CODE"], attributes["SCHEDULE_ARN"]) == ("AccessDeniedException", made)
    assert "is not authorized to perform: lambda:InvokeFunction" in attributes["ERROR_MESSAGE"]
    assert (attributes["RETRY_ATTEMPTS"], attributes["TARGET_ARN"]) == ("0", function)
    counted = (
        "InvocationAttemptCount",
        "TargetErrorCount",
        "InvocationDroppedCount",
        "InvocationsSentToDeadLetterCount",
    )
    assert [metric(client, engine, name, events.name) for name in counted] == [1, 1, 1, 1]
    scheduler.delete_schedule_group(Name=events.name)
    assert error(scheduler.get_schedule, Name="s", GroupName=events.name)[1] == "ResourceNotFoundException"


def test_a_role_that_stopped_trusting_decides_when_it_fires(
    events: EventWorld, schedule: Callable[..., str], engine: Engine
) -> None:
    function, target = function_target(events)
    schedule(target, "rate(1 hour)", StartDate=engine.clock.now() + timedelta(minutes=30))
    nobody = json.dumps({"Version": "2012-10-17", "Statement": []})
    elsewhere = json.loads(nobody)
    elsewhere["Statement"] = [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    name = target["RoleArn"].rpartition("/")[2]
    events.client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(elsewhere))
    engine.clock.advance(timedelta(hours=1))
    assert error(events.log_lines, function=function)[1] == "ResourceNotFoundException"


def test_schedules_are_described_and_listed(
    events: EventWorld, scheduler: Any, schedule: Callable[..., str], engine: Engine
) -> None:
    _, target = function_target(events)
    start = datetime.now(UTC)
    made = schedule(target, "cron(0 6 1 * ? *)", StartDate=start, Description="monthly")
    got = scheduler.get_schedule(Name=f"{events.name}-s")
    assert (got["Arn"], got["GroupName"], got["State"]) == (made, "default", "ENABLED")
    assert (got["ScheduleExpressionTimezone"], got["ActionAfterCompletion"]) == ("UTC", "NONE")
    assert got["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    assert abs(got["StartDate"] - engine.clock.now()) < timedelta(seconds=30)
    listed = scheduler.list_schedules(NamePrefix=events.name)["Schedules"]
    assert [(each["Name"], each["Target"]["Arn"]) for each in listed] == [(f"{events.name}-s", target["Arn"])]
    assert [each["Name"] for each in scheduler.list_schedule_groups(NamePrefix="def")["ScheduleGroups"]] == ["default"]
    told = error(
        scheduler.create_schedule,
        Name=f"{events.name}-s",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow=OFF,
        Target=target,
    )
    assert told == (409, "ConflictException", f"Schedule {events.name}-s already exists.")
    told = error(
        scheduler.update_schedule,
        Name="none",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow=OFF,
        Target=target,
    )
    assert told == (404, "ResourceNotFoundException", "Schedule none does not exist.")


@pytest.mark.parametrize(
    ("changes", "status", "code", "message"),
    [
        (
            {"ScheduleExpression": "cron(0 6 1 * * *)"},
            400,
            "ValidationException",
            "Invalid Schedule Expression cron(0 6",
        ),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, 400, "ValidationException", "Invalid timezone Mars/Olympus."),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, 400, "ValidationException", "MaximumWindowInMinutes must be"),
        (
            {"StartDate": datetime(2020, 1, 1, tzinfo=UTC)},
            400,
            "ValidationException",
            "cannot be earlier than 5 minutes",
        ),
        ({"EndDate": datetime(2020, 1, 1, tzinfo=UTC)}, 400, "ValidationException", "cannot be in the past"),
        ({"GroupName": "nowhere"}, 404, "ResourceNotFoundException", "Schedule group nowhere does not exist."),
        (
            {"Arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s"},
            501,
            "NotImplementedException",
            "targets like arn",
        ),
        ({"Arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances"}, 501, "NotImplementedException", "ec2:stopInstances"),
        ({"Arn": "arn:aws:scheduler:::aws-sdk:sqs:listQueues"}, 400, "ValidationException", "the operation only reads"),
        (
            {"Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage", "Input": '{"Queue": 1}'},
            400,
            "ValidationException",
            "The field 'Queue' is not supported by SendMessage.",
        ),
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/none"},
            400,
            "ValidationException",
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
        ),
    ],
)
def test_what_create_refuses(
    events: EventWorld, scheduler: Any, changes: dict[str, Any], status: int, code: str, message: str
) -> None:
    target = {"Arn": arn("sqs", "q"), "RoleArn": events.role("scheduler.amazonaws.com")}
    target |= {name: changes[name] for name in ("Arn", "RoleArn", "Input") if name in changes}
    given = {name: value for name, value in changes.items() if name not in target}
    request = {"ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": OFF, "Target": target, **given}
    told = error(scheduler.create_schedule, Name=events.name, **request)
    assert told[:2] == (status, code)
    assert message in told[2]


def test_who_may_pass_the_role(events: EventWorld, scheduler: Any) -> None:
    user = events.user("scheduler", allow("scheduler:CreateSchedule"))
    role = events.role("scheduler.amazonaws.com")
    target = {"Arn": arn("sqs", "q"), "RoleArn": role}
    told = error(
        user.create_schedule, Name="s", ScheduleExpression="rate(1 day)", FlexibleTimeWindow=OFF, Target=target
    )
    assert told[:2] == (403, "AccessDeniedException")
    assert f"is not authorized to perform: iam:PassRole on resource: {role}" in told[2]
