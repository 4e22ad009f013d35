"""Queues through boto3, which checks the digests of what it sends and receives."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from tests.cloud.aws.event_world import EventWorld
from tests.cloud.aws.in_process import error


@pytest.fixture(scope="module")
def sqs(client: Callable[[str], Any]) -> Any:
    return client("sqs")


def bodies(sqs: Any, url: str, **arguments: Any) -> list[str]:
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **arguments).get("Messages", [])
    return [each["Body"] for each in found]


def test_a_message_comes_and_goes(events: EventWorld, sqs: Any) -> None:
    url = events.queue()
    attributes = {
        "text": {"DataType": "String", "StringValue": "ü"},
        "number": {"DataType": "Number.int", "StringValue": "7"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sent = sqs.send_message(QueueUrl=url, MessageBody="hello ü", MessageAttributes=attributes)
    assert sqs.get_queue_url(QueueName=f"{events.name}-q")["QueueUrl"] == url
    (message,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"])[
        "Messages"
    ]
    assert (message["Body"], message["MessageId"]) == ("hello ü", sent["MessageId"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert bodies(sqs, url) == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_time_outs_and_delays_follow_the_labs_clock(events: EventWorld, sqs: Any, engine: Engine) -> None:
    url = events.queue(VisibilityTimeout="600", MessageRetentionPeriod="3600")
    sqs.send_message(QueueUrl=url, MessageBody="a", DelaySeconds=300)
    assert bodies(sqs, url) == []
    engine.clock.advance(timedelta(seconds=301))
    assert bodies(sqs, url) == ["a"]
    assert bodies(sqs, url) == []
    engine.clock.advance(timedelta(seconds=601))
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert bodies(sqs, url) == ["a"]
    engine.clock.advance(timedelta(hours=2))
    assert bodies(sqs, url) == []


def test_a_receiver_waits_and_others_do_not(events: EventWorld, sqs: Any) -> None:
    url, found = events.queue(), []
    waiting = threading.Thread(target=lambda: found.extend(bodies(sqs, url, WaitTimeSeconds=20)))
    waiting.start()
    began = time.monotonic()
    other = events.queue("other")
    sqs.send_message(QueueUrl=other, MessageBody="x")
    assert bodies(sqs, other) == ["x"]
    sqs.send_message(QueueUrl=url, MessageBody="late")
    waiting.join(60)
    assert found == ["late"]
    assert time.monotonic() - began < 19, "it was told at once"


def test_a_message_received_too_often_is_buried(events: EventWorld, sqs: Any) -> None:
    dead = events.queue("dead")
    redrive = {"deadLetterTargetArn": events.queue_arn(dead), "maxReceiveCount": 2}
    url = events.queue(RedrivePolicy=json.dumps(redrive), VisibilityTimeout="0")
    sqs.send_message(QueueUrl=url, MessageBody="bad")
    assert [bodies(sqs, url) for _ in range(3)] == [["bad"], ["bad"], []]
    assert bodies(sqs, dead) == ["bad"]
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]


def test_fifo_queues_keep_order_and_forget_repetitions(events: EventWorld, sqs: Any) -> None:
    url = events.queue("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for group, body in (("g", "1"), ("g", "2"), ("h", "3"), ("g", "1")):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group)
    first = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"][0]
    assert first["Body"] == "1"
    assert bodies(sqs, url) == ["3"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert bodies(sqs, url) == ["2"]
    assert error(sqs.send_message, QueueUrl=url, MessageBody="x")[1] == "MissingParameter"


def test_batches(events: EventWorld, sqs: Any) -> None:
    url = events.queue()
    entries = [{"Id": "a", "MessageBody": "1"}, {"Id": "b", "MessageBody": "2", "DelaySeconds": 901}]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["a"]
    assert [(each["Id"], each["Code"]) for each in answer["Failed"]] == [("b", "InvalidParameterValue")]
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    done = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[{"Id": "x", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "y", "ReceiptHandle": "-"}],
    )
    assert [each["Id"] for each in done["Successful"]] == ["x"]
    assert done["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"


def test_attributes_and_policies(events: EventWorld, sqs: Any) -> None:
    url = events.queue()
    sqs.add_permission(QueueUrl=url, Label="them", AWSAccountIds=["111122223333"], Actions=["SendMessage"])
    document = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    assert document["Statement"][0]["Action"] == ["SQS:SendMessage"]
    sqs.remove_permission(QueueUrl=url, Label="them")
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    assert events.queue() == url
    status, code, message = error(sqs.create_queue, QueueName=f"{events.name}-q", Attributes={"VisibilityTimeout": "7"})
    assert (status, code) == (400, "QueueAlreadyExists")
    assert message.endswith("a different value for attribute VisibilityTimeout")
    assert url in sqs.list_queues(QueueNamePrefix=events.name)["QueueUrls"]
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.send_message(QueueUrl=url, MessageBody="x")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


@pytest.mark.parametrize(
    ("operation", "arguments", "code"),
    [
        ("send_message", {"MessageBody": ""}, "MissingParameter"),
        ("send_message", {"MessageBody": "\x00"}, "InvalidMessageContents"),
        ("send_message", {"MessageBody": "x" * 2_000_000}, "InvalidParameterValue"),
        ("receive_message", {"MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ("receive_message", {"WaitTimeSeconds": 21}, "InvalidParameterValue"),
        ("delete_message", {"ReceiptHandle": "none"}, "ReceiptHandleIsInvalid"),
        ("send_message_batch", {"Entries": []}, "AWS.SimpleQueueService.EmptyBatchRequest"),
        ("set_queue_attributes", {"Attributes": {"DelaySeconds": "x"}}, "InvalidAttributeValue"),
        ("set_queue_attributes", {"Attributes": {"KmsMasterKeyId": "k"}}, "NotImplementedException"),
        ("start_message_move_task", {"SourceArn": "arn:aws:sqs:us-east-1:123456789012:q"}, "NotImplementedException"),
    ],
)
def test_what_is_refused(events: EventWorld, sqs: Any, operation: str, arguments: dict[str, Any], code: str) -> None:
    if operation != "start_message_move_task":
        arguments = {"QueueUrl": events.queue(), **arguments}
    assert error(getattr(sqs, operation), **arguments)[1] == code
