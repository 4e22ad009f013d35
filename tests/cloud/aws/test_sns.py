"""Topics through boto3: what is published reaches queues and functions, as their policies allow and filters want."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cloud.aws.event_world import EventWorld
from tests.cloud.aws.in_process import error


@pytest.fixture(scope="module")
def sns(client: Callable[[str], Any]) -> Any:
    return client("sns")


@pytest.fixture
def topic(events: EventWorld, sns: Any) -> str:
    return str(sns.create_topic(Name=f"{events.name}-topic")["TopicArn"])


def subscribed(events: EventWorld, sns: Any, topic: str, name: str = "q", **attributes: str) -> str:
    """A queue that the topic may send to and that is subscribed."""
    url = events.queue(name)
    events.let_send(url, "sns.amazonaws.com", ArnEquals={"aws:SourceArn": topic})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=events.queue_arn(url), Attributes=attributes)
    return url


def test_a_queue_is_told(events: EventWorld, sns: Any, topic: str) -> None:
    plain, raw = subscribed(events, sns, topic), subscribed(events, sns, topic, "raw", RawMessageDelivery="true")
    attributes = {"kind": {"DataType": "String", "StringValue": "drift"}}
    id = sns.publish(TopicArn=topic, Message="hello ü", Subject="news", MessageAttributes=attributes)["MessageId"]
    (message,) = events.received(plain)
    told = json.loads(message["Body"])
    assert (told["Type"], told["MessageId"], told["TopicArn"]) == ("Notification", id, topic)
    assert (told["Message"], told["Subject"]) == ("hello ü", "news")
    assert told["MessageAttributes"] == {"kind": {"Type": "String", "Value": "drift"}}
    (message,) = events.received(raw)
    assert (message["Body"], message["MessageAttributes"]) == ("hello ü", attributes)


def test_a_queue_that_does_not_let_the_topic_send_is_not_told(events: EventWorld, sns: Any, topic: str) -> None:
    url, dead = events.queue(), events.queue("dead")
    events.let_send(dead, "sns.amazonaws.com")
    events.let_send(url, "sns.amazonaws.com", ArnEquals={"aws:SourceArn": f"{topic}-other"})
    redrive = json.dumps({"deadLetterTargetArn": events.queue_arn(dead)})
    attributes = {"RedrivePolicy": redrive}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=events.queue_arn(url), Attributes=attributes)
    sns.publish(TopicArn=topic, Message="x")
    assert events.received(url, wait=0) == []
    assert json.loads(events.received(dead)[0]["Body"])["Message"] == "x"


def test_a_function_is_told(events: EventWorld, sns: Any, topic: str) -> None:
    function = events.function("def handler(event, context): print('told', event['Records'][0]['Sns']['Message'])")
    queue = subscribed(events, sns, topic)
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)
    sns.publish(TopicArn=topic, Message="not yet")
    events.client("lambda").add_permission(
        FunctionName=function,
        StatementId="topic",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    sns.publish(TopicArn=topic, Message="now")
    assert len(events.received(queue)) == 2
    told = events.eventually(lambda: [line for line in events.log_lines(function) if line.startswith("told")])
    assert told == ["told now"]


@pytest.mark.parametrize(
    ("policy", "scope", "wanted"),
    [
        ({"kind": ["drift"]}, "MessageAttributes", ["1"]),
        ({"kind": [{"anything-but": ["drift"]}]}, "MessageAttributes", ["2"]),
        ({"psi": [{"numeric": [">", 0.2]}]}, "MessageAttributes", ["1"]),
        ({"models": ["b"]}, "MessageAttributes", ["2"]),
        ({"n": [1]}, "MessageBody", ["1"]),
        ({"kind": ["drift"], "psi": [{"exists": False}]}, "MessageAttributes", []),
    ],
)
def test_filters(
    events: EventWorld, sns: Any, topic: str, policy: dict[str, Any], scope: str, wanted: list[str]
) -> None:
    url = subscribed(
        events, sns, topic, FilterPolicy=json.dumps(policy), FilterPolicyScope=scope, RawMessageDelivery="true"
    )
    first = {
        "kind": {"DataType": "String", "StringValue": "drift"},
        "psi": {"DataType": "Number", "StringValue": "0.31"},
    }
    second = {
        "kind": {"DataType": "String", "StringValue": "cost"},
        "models": {"DataType": "String.Array", "StringValue": '["a", "b"]'},
    }
    sns.publish(TopicArn=topic, Message='{"n": 1}', MessageAttributes=first)
    sns.publish(TopicArn=topic, Message='{"n": 2}', MessageAttributes=second)
    assert [str(json.loads(each["Body"])["n"]) for each in events.received(url, wait=0)] == wanted


def test_subscriptions(events: EventWorld, sns: Any, topic: str) -> None:
    subscribed(events, sns, topic)
    mail = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="me@example.com")
    assert mail["SubscriptionArn"] == "pending confirmation"
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [(each["Protocol"], each["SubscriptionArn"] == "PendingConfirmation") for each in listed] == [
        ("sqs", False),
        ("email", True),
    ]
    arn = listed[0]["SubscriptionArn"]
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true")
    assert sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["RawMessageDelivery"] == "true"
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (attributes["SubscriptionsConfirmed"], attributes["SubscriptionsPending"]) == ("1", "1")
    sns.unsubscribe(SubscriptionArn=arn)
    assert error(sns.get_subscription_attributes, SubscriptionArn=arn) == (
        404,
        "NotFound",
        "Subscription does not exist",
    )


def test_a_batch_and_a_message_for_each_protocol(events: EventWorld, sns: Any, topic: str) -> None:
    url = subscribed(events, sns, topic, RawMessageDelivery="true")
    entries = [
        {"Id": "a", "Message": json.dumps({"default": "all", "sqs": "queues"}), "MessageStructure": "json"},
        {"Id": "b", "Message": json.dumps({"sqs": "queues"}), "MessageStructure": "json"},
    ]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["a"]
    assert [(each["Id"], each["Code"]) for each in answer["Failed"]] == [("b", "InvalidParameter")]
    assert [each["Body"] for each in events.received(url)] == ["queues"]


@pytest.mark.parametrize(
    ("operation", "arguments", "code", "message"),
    [
        (
            "publish",
            {"Message": "x", "TopicArn": "arn:aws:sns:us-east-1:123456789012:no"},
            "NotFound",
            "Topic does not",
        ),
        ("publish", {"Message": ""}, "InvalidParameter", "Invalid parameter: Empty message"),
        ("publish", {"Message": "x" * 300_000}, "InvalidParameter", "Invalid parameter: Message too long"),
        ("subscribe", {"Protocol": "https", "Endpoint": "https://example.com"}, "NotImplemented", "the protocol https"),
        ("subscribe", {"Protocol": "sqs", "Endpoint": "q"}, "InvalidParameter", "Invalid parameter: SQS endpoint ARN"),
        ("create_topic", {"Name": "a.fifo"}, "NotImplemented", "do not serve FIFO topics"),
        ("create_topic", {"Name": "a b"}, "InvalidParameter", "Invalid parameter: Topic Name"),
        (
            "create_platform_application",
            {"Name": "a", "Platform": "ADM", "Attributes": {}},
            "NotImplemented",
            "sns:Cre",
        ),
    ],
)
def test_what_is_refused(
    sns: Any, topic: str, operation: str, arguments: dict[str, Any], code: str, message: str
) -> None:
    if operation in ("publish", "subscribe"):
        arguments = {"TopicArn": topic, **arguments}
    told = error(getattr(sns, operation), **arguments)
    assert told[1] == code
    assert message in told[2]
