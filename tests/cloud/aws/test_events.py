"""EventBridge through boto3: events reach the targets of the rules that they match, as what may and what may not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from tests.cloud.aws.event_world import EventWorld, allow, arn, policy
from tests.cloud.aws.in_process import error


@pytest.fixture(scope="module")
def bridge(client: Callable[[str], Any]) -> Any:
    return client("events")


def put(bridge: Any, detail: Any, bus: str = "default", **changes: Any) -> dict[str, Any]:
    entry = {"Source": "shop", "DetailType": "order", "Detail": json.dumps(detail), "EventBusName": bus, **changes}
    (result,) = bridge.put_events(Entries=[entry])["Entries"]
    return dict(result)


def rule(events: EventWorld, bridge: Any, pattern: Any, *targets: dict[str, Any], name: str = "r", **more: Any) -> str:
    """The ARN of a new rule for events of the test's own source, with targets."""
    name = f"{events.name}-{name}"
    given = {"EventPattern": json.dumps({"source": [events.name], **pattern})} if pattern is not None else {}
    made = bridge.put_rule(Name=name, **given, **more)["RuleArn"]
    if targets:
        bus = {"EventBusName": more["EventBusName"]} if "EventBusName" in more else {}
        put = bridge.put_targets(Rule=name, Targets=[{"Id": f"t{n}", **each} for n, each in enumerate(targets)], **bus)
        assert put["FailedEntryCount"] == 0
    return str(made)


def queue(events: EventWorld, name: str = "q", **attributes: str) -> tuple[str, str]:
    """The URL and ARN of a queue that EventBridge may send to."""
    url = events.queue(name, **attributes)
    events.let_send(url, "events.amazonaws.com")
    return url, events.queue_arn(url)


def bodies(events: EventWorld, url: str, wait: int = 0) -> list[str]:
    return [each["Body"] for each in events.received(url, wait)]


def test_an_event_reaches_a_queue(events: EventWorld, bridge: Any, engine: Engine) -> None:
    url, target = queue(events)
    rule(events, bridge, {"detail": {"total": [{"numeric": [">", 10]}]}}, {"Arn": target})
    put(bridge, {"total": 5}, Source=events.name)
    result = put(bridge, {"total": 50}, Source=events.name, Resources=["arn:a"])
    (body,) = bodies(events, url)
    event = json.loads(body)
    assert {**event, "time": ""} == {
        "version": "0",
        "id": result["EventId"],
        "detail-type": "order",
        "source": events.name,
        "account": "123456789012",
        "time": "",
        "region": "us-east-1",
        "resources": ["arn:a"],
        "detail": {"total": 50},
    }
    assert event["time"].startswith(f"{engine.clock.now():%Y-%m-%dT}")


def test_what_targets_get(events: EventWorld, bridge: Any) -> None:
    names = ("constant", "part", "text", "json")
    queues = {name: queue(events, name) for name in names}
    made = rule(
        events,
        bridge,
        {},
        {"Arn": queues["constant"][1], "Input": '{"run": 1}'},
        {"Arn": queues["part"][1], "InputPath": "$.detail.items[1]"},
        {
            "Arn": queues["text"][1],
            "InputTransformer": {
                "InputPathsMap": {"who": "$.detail.who", "none": "$.detail.nothing"},
                "InputTemplate": '"<who> bought <none> by <aws.events.rule-name>"',
            },
        },
        {
            "Arn": queues["json"][1],
            "InputTransformer": {
                "InputPathsMap": {"who": "$.detail.who", "items": "$.detail.items"},
                "InputTemplate": '{"who": <who>, "items": <items>, "say": "hi <who>", "rule": "<aws.events.rule-arn>"}',
            },
        },
    )
    put(bridge, {"who": 'A "B"', "items": [1, {"x": 2}]}, Source=events.name)
    assert bodies(events, queues["constant"][0]) == ['{"run": 1}']
    assert bodies(events, queues["part"][0]) == ['{"x": 2}']
    assert bodies(events, queues["text"][0]) == [f'"A \\"B\\" bought  by {events.name}-r"']
    assert json.loads(bodies(events, queues["json"][0])[0]) == {
        "who": 'A "B"',
        "items": [1, {"x": 2}],
        "say": 'hi A "B"',
        "rule": made,
    }


def test_functions_topics_and_log_groups(events: EventWorld, bridge: Any) -> None:
    function = events.function("def handler(event, context): print('got', event['detail']['n'])")
    sns, logs, lambdas = events.client("sns"), events.client("logs"), events.client("lambda")
    topic = sns.create_topic(Name=f"{events.name}-topic")["TopicArn"]
    told = events.queue("told")
    events.let_send(told, "sns.amazonaws.com")
    attributes = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=events.queue_arn(told), Attributes=attributes)
    group = f"/aws/events/{events.name}"
    logs.create_log_group(logGroupName=group)
    made = rule(
        events,
        bridge,
        {},
        {"Arn": function},
        {"Arn": topic, "InputPath": "$.detail"},
        {"Arn": arn("logs", f"log-group:{group}")},
    )
    put(bridge, {"n": 1}, Source=events.name)
    assert bodies(events, told) == []
    assert logs.filter_log_events(logGroupName=group)["events"] == []
    lambdas.add_permission(
        FunctionName=function,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=made,
    )
    publish = {"Principal": {"Service": "events.amazonaws.com"}, "Action": "sns:Publish", "Resource": topic}
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy(publish))
    write = {
        "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": arn("logs", "log-group:/aws/events/*:*"),
    }
    logs.put_resource_policy(policyName=events.name, policyDocument=policy(write))
    put(bridge, {"n": 2}, Source=events.name)
    assert bodies(events, told) == ['{"n": 2}']
    (logged,) = logs.filter_log_events(logGroupName=group)["events"]
    assert json.loads(logged["message"])["detail"] == {"n": 2}
    lines = events.eventually(lambda: [each for each in events.log_lines(function) if each.startswith("got")])
    assert lines == ["got 2"]


def test_another_bus(events: EventWorld, bridge: Any) -> None:
    name = f"{events.name}-bus"
    bus = bridge.create_event_bus(Name=name)["EventBusArn"]
    url, target = queue(events)
    rule(events, bridge, {}, {"Arn": target}, name="there", EventBusName=name)
    role = events.role("events.amazonaws.com", allow("events:PutEvents", resource=bus))
    rule(events, bridge, {}, {"Arn": bus, "RoleArn": role})
    put(bridge, {"n": 1}, Source=events.name)
    put(bridge, {"n": 2}, Source=events.name, bus=name)
    assert [json.loads(each)["detail"]["n"] for each in bodies(events, url)] == [1, 2]
    message = f"Event bus {name} can't be deleted since it has rules."
    assert error(bridge.delete_event_bus, Name=name) == (400, "ValidationException", message)


def test_a_target_with_a_role(events: EventWorld, bridge: Any) -> None:
    url = events.queue()
    may = events.role("events.amazonaws.com", allow("sqs:SendMessage", resource=events.queue_arn(url)), name="may")
    may_not = events.role("events.amazonaws.com", name="may-not")
    target = {"Arn": events.queue_arn(url), "InputPath": "$.detail"}
    rule(events, bridge, {}, {**target, "RoleArn": may}, {**target, "RoleArn": may_not})
    put(bridge, {"n": 1}, Source=events.name)
    assert bodies(events, url) == ['{"n": 1}']


def test_a_delivery_that_is_denied_is_buried(events: EventWorld, bridge: Any, client: Callable[[str], Any]) -> None:
    closed = events.queue()
    dead, dead_arn = queue(events, "dead")
    made = rule(
        events,
        bridge,
        {},
        {"Arn": events.queue_arn(closed), "DeadLetterConfig": {"Arn": dead_arn}},
    )
    put(bridge, {"n": 1}, Source=events.name)
    (letter,) = events.received(dead)
    told = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert (told["RULE_ARN"], told["TARGET_ARN"]) == (made, events.queue_arn(closed))
    assert (told["ERROR_CODE"], told["RETRY_ATTEMPTS"]) == ("NO_PERMISSIONS", "0")
    assert json.loads(letter["Body"])["detail"] == {"n": 1}
    assert metric(client, "FailedInvocations", f"{events.name}-r") == 1
    assert metric(client, "InvocationsSentToDlq", f"{events.name}-r") == 1


def metric(client: Callable[[str], Any], name: str, rule: str) -> float:
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    points = client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Events",
        MetricName=name,
        Dimensions=[{"Name": "RuleName", "Value": rule}],
        StartTime=now - timedelta(days=1),
        EndTime=now + timedelta(minutes=1),
        Period=86_400,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points)


def test_a_disabled_rule_does_nothing(events: EventWorld, bridge: Any) -> None:
    url, target = queue(events)
    name = rule(events, bridge, {}, {"Arn": target}).rpartition("/")[2]
    bridge.disable_rule(Name=name)
    assert bridge.describe_rule(Name=name)["State"] == "DISABLED"
    put(bridge, {"n": 1}, Source=events.name)
    bridge.enable_rule(Name=name)
    put(bridge, {"n": 2}, Source=events.name)
    assert [json.loads(each)["detail"]["n"] for each in bodies(events, url)] == [2]


def test_rules_are_listed_and_deleted(events: EventWorld, bridge: Any) -> None:
    _, target = queue(events)
    rule(events, bridge, {}, {"Arn": target}, name="a")
    rule(events, bridge, {}, name="b", Description="second")
    listed = bridge.list_rules(NamePrefix=events.name)["Rules"]
    assert [each["Name"] for each in listed] == [f"{events.name}-a", f"{events.name}-b"]
    assert bridge.list_rule_names_by_target(TargetArn=target)["RuleNames"] == [f"{events.name}-a"]
    assert [each["Id"] for each in bridge.list_targets_by_rule(Rule=f"{events.name}-a")["Targets"]] == ["t0"]
    message = "Rule can't be deleted since it has targets."
    assert error(bridge.delete_rule, Name=f"{events.name}-a") == (400, "ValidationException", message)
    bridge.remove_targets(Rule=f"{events.name}-a", Ids=["t0"])
    bridge.delete_rule(Name=f"{events.name}-a")
    message = f"Rule {events.name}-a does not exist on EventBus default."
    assert error(bridge.describe_rule, Name=f"{events.name}-a") == (400, "ResourceNotFoundException", message)


def test_a_rule_that_fires_by_time(events: EventWorld, bridge: Any, engine: Engine) -> None:
    url, target = queue(events, MessageRetentionPeriod="1209600")
    made = rule(events, bridge, None, {"Arn": target}, ScheduleExpression="rate(1 hour)")
    engine.clock.advance(timedelta(hours=5, minutes=1))
    fired = [json.loads(each) for each in bodies(events, url)]
    assert [(each["detail-type"], each["source"], each["resources"]) for each in fired] == 5 * [
        ("Scheduled Event", "aws.events", [made])
    ]
    assert sorted(each["time"] for each in fired) == [each["time"] for each in fired]
    bridge.disable_rule(Name=f"{events.name}-r")
    engine.clock.advance(timedelta(hours=5))
    assert bodies(events, url) == []
    bridge.enable_rule(Name=f"{events.name}-r")
    engine.clock.advance(timedelta(minutes=61))
    assert len(bodies(events, url)) == 1
    bridge.disable_rule(Name=f"{events.name}-r")


def test_patterns_are_tried(bridge: Any) -> None:
    event = {"id": "1", "account": "1", "source": "a", "time": "t", "region": "r", "resources": [], "detail-type": "d"}
    answer = bridge.test_event_pattern(EventPattern='{"source": [{"prefix": "a"}]}', Event=json.dumps(event))
    assert answer["Result"] is True
    status, code, message = error(bridge.test_event_pattern, EventPattern='{"source": "a"}', Event=json.dumps(event))
    assert (status, code) == (400, "InvalidEventPatternException")
    assert message == 'Event pattern is not valid. Reason: "source" must be an object or an array'


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Source": ""}, "InvalidArgument"),
        ({"Source": "aws.s3"}, "NotAuthorizedForSourceException"),
        ({"Detail": "[]"}, "MalformedDetail"),
        ({"EventBusName": "nowhere"}, "ResourceNotFoundException"),
    ],
)
def test_events_that_are_not_taken(bridge: Any, changes: dict[str, str], code: str) -> None:
    assert put(bridge, {}, **changes)["ErrorCode"] == code


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        (
            {"Arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s"},
            "NotImplementedException",
            "targets like arn:aws:kin",
        ),
        ({"Arn": arn("sagemaker", "pipeline/p")}, "ValidationException", "RoleArn is required for target"),
        ({"Arn": arn("sqs", "q"), "Input": "{no"}, "ValidationException", "JSON syntax error in Input for target t0."),
        (
            {"Arn": arn("sqs", "q"), "Input": "1", "InputPath": "$.a"},
            "ValidationException",
            "Only one of Input, InputPath",
        ),
        ({"Arn": arn("sqs", "q.fifo")}, "ValidationException", "SqsParameters must be specified for target: t0."),
        ({"Arn": "q"}, "ValidationException", "Provided Arn is not in correct format."),
    ],
)
def test_targets_that_are_not_taken(
    events: EventWorld, bridge: Any, target: dict[str, str], code: str, message: str
) -> None:
    rule(events, bridge, {})
    told = error(bridge.put_targets, Rule=f"{events.name}-r", Targets=[{"Id": "t0", **target}])
    assert told[1] == code
    assert message in told[2]


def test_rules_that_are_not_taken(events: EventWorld, bridge: Any) -> None:
    message = "Parameter(s) EventPattern or ScheduleExpression must be specified."
    assert error(bridge.put_rule, Name=events.name) == (400, "ValidationException", message)
    message = "Parameter ScheduleExpression is not valid."
    told = error(bridge.put_rule, Name=events.name, ScheduleExpression="cron(0 0 * * * *)")
    assert told == (400, "ValidationException", message)
    told = error(bridge.create_archive, ArchiveName="a", EventSourceArn=arn("events", "event-bus/default"))
    assert told[:2] == (501, "NotImplementedException")


def test_who_may_put_rules_and_pass_roles(events: EventWorld, bridge: Any) -> None:
    role = events.role("events.amazonaws.com")
    name = rule(events, bridge, {}).rpartition("/")[2]
    user = events.user("events", allow("events:PutTargets"))
    target = {"Id": "t", "Arn": arn("sagemaker", "pipeline/p"), "RoleArn": role}
    status, code, message = error(user.put_targets, Rule=name, Targets=[target])
    assert (status, code) == (400, "AccessDeniedException")
    assert f"is not authorized to perform: iam:PassRole on resource: {role}" in message
    assert error(user.put_events, Entries=[{"Source": "a", "DetailType": "b", "Detail": "{}"}])[1] == (
        "AccessDeniedException"
    )


def test_awss_own_events(events: EventWorld, bridge: Any, engine: Engine) -> None:
    url, target = queue(events)
    kind = "SageMaker Model Package State Change"
    pattern = {"source": ["aws.sagemaker"], "detail-type": [kind], "detail": {"ModelPackageName": [events.name]}}
    rule(events, bridge, pattern, {"Arn": target})
    detail = {"ModelPackageName": events.name, "ModelApprovalStatus": "Approved"}
    package = arn("sagemaker", f"model-package/{events.name}/1")
    for scope in ("aws:123456789012:us-east-1", "aws:123456789012:eu-west-1", "gcp:project"):
        engine.events.publish(scope, "aws.sagemaker", kind, detail, resources=[package])
    (body,) = bodies(events, url)
    event = json.loads(body)
    assert (event["source"], event["detail-type"], event["region"]) == ("aws.sagemaker", kind, "us-east-1")
    assert (event["resources"], event["detail"]) == ([package], detail)
