"""Functions that a queue's messages are handed to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cloud.aws.event_world import EventWorld, allow
from tests.cloud.aws.in_process import error

FUNCTION = """
def handler(event, context):
    failed = []
    for record in event["Records"]:
        print("got", record["body"], record["eventSource"])
        if record["body"] == "bad":
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
"""


@pytest.fixture
def function(events: EventWorld) -> str:
    rights = allow("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    role = events.role("lambda.amazonaws.com", allow("logs:*"), rights)
    return events.function(FUNCTION, Role=role)


def got(events: EventWorld, function: str) -> list[str]:
    return [line for line in events.log_lines(function) if line.startswith("got")]


def test_messages_reach_a_function(events: EventWorld, function: str) -> None:
    lambdas, sqs = events.client("lambda"), events.client("sqs")
    url = events.queue()
    given = {"FunctionName": function, "EventSourceArn": events.queue_arn(url)}
    made = lambdas.create_event_source_mapping(**given, FunctionResponseTypes=["ReportBatchItemFailures"])
    assert made["State"] == "Creating"
    assert lambdas.get_event_source_mapping(UUID=made["UUID"])["State"] == "Enabled"
    assert error(lambdas.create_event_source_mapping, **given)[:2] == (409, "ResourceConflictException")
    sqs.send_message(QueueUrl=url, MessageBody="good")
    assert events.eventually(lambda: got(events, function)) == ["got good aws:sqs"]
    sqs.send_message(QueueUrl=url, MessageBody="bad")
    events.eventually(lambda: "got bad aws:sqs" in got(events, function))
    # What the function failed on stays, and is hidden for a while.
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(counts))["Attributes"]
    assert [attributes[name] for name in counts] == ["0", "1"]
    listed = lambdas.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    assert [each["UUID"] for each in listed] == [made["UUID"]]
    assert lambdas.delete_event_source_mapping(UUID=made["UUID"])["State"] == "Deleting"
    assert error(lambdas.get_event_source_mapping, UUID=made["UUID"])[1] == "ResourceNotFoundException"


def test_a_filter(events: EventWorld, function: str) -> None:
    sqs, url = events.client("sqs"), events.queue()
    criteria = {"Filters": [{"Pattern": json.dumps({"body": {"kind": ["drift"]}})}]}
    made = events.client("lambda").create_event_source_mapping(
        FunctionName=function, EventSourceArn=events.queue_arn(url), FilterCriteria=criteria
    )
    sqs.send_message(QueueUrl=url, MessageBody='{"kind": "cost"}')
    sqs.send_message(QueueUrl=url, MessageBody='{"kind": "drift"}')
    lines = events.eventually(lambda: got(events, function))
    assert lines == ['got {"kind": "drift"} aws:sqs']
    events.client("lambda").delete_event_source_mapping(UUID=made["UUID"])


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"EventSourceArn": "arn:aws:kinesis:us-east-1:123456789012:stream/s"}, "NotImplementedException", "no queues"),
        ({"MaximumBatchingWindowInSeconds": 5}, "NotImplementedException", "MaximumBatchingWindowInSeconds"),
        ({"BatchSize": 11}, "InvalidParameterValueException", "Batch size must be from 1 to 10."),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, "InvalidParameterValueException", "Invalid filter"),
        ({"EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:no"}, "InvalidParameterValueException", "NonExistent"),
    ],
)
def test_what_is_refused(events: EventWorld, function: str, changes: dict[str, Any], code: str, message: str) -> None:
    given = {"FunctionName": function, "EventSourceArn": events.queue_arn(events.queue()), **changes}
    told = error(events.client("lambda").create_event_source_mapping, **given)
    assert told[1] == code
    assert message in told[2]


def test_the_role_has_to_be_allowed(events: EventWorld) -> None:
    function = events.function(FUNCTION)
    told = error(
        events.client("lambda").create_event_source_mapping,
        FunctionName=function,
        EventSourceArn=events.queue_arn(events.queue()),
    )
    message = "The provided execution role does not have permissions to call ReceiveMessage on SQS"
    assert told == (400, "InvalidParameterValueException", message)
