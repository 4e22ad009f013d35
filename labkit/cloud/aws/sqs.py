"""Amazon SQS: queues and their messages.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sqs_messages import (
    change_message_visibility,
    change_message_visibility_batch,
    delete_message,
    delete_message_batch,
    receive_message,
    send_message,
    send_message_batch,
)
from labkit.cloud.aws.sqs_queue import Queue
from labkit.cloud.aws.sqs_state import State, find, missing, queue_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

SERVICE = "sqs"

Parameters = dict[str, Any]

#: Attribute -> (its value where none is set, the least and the most that it may be).
SETTINGS = {
    "DelaySeconds": ("0", 0, 900),
    "MaximumMessageSize": ("1048576", 1024, 1_048_576),
    "MessageRetentionPeriod": ("345600", 60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": ("0", 0, 20),
    "VisibilityTimeout": ("30", 0, 43_200),
}
_OF_FIFO = ("ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
_NOT_SERVED = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds")


def create_queue(call: Call, parameters: Parameters) -> Parameters:
    name, given = parameters["QueueName"], dict(parameters.get("Attributes") or {})
    fifo = given.pop("FifoQueue", "false").lower() == "true"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo", name) or fifo != name.endswith(".fifo"):
        what = "1 to 80 in length, and the name of a FIFO queue must end with .fifo"
        message = f"Can only include alphanumeric characters, hyphens, or underscores. {what}"
        raise AwsError("InvalidParameterValue", message)
    place = Place.of(call)
    state = call.store(State)
    _check(call, given, fifo=fifo)
    with state.lock:
        if (known := state.queues.get(name)) is not None:
            if any(known.settings.get(key) != value for key, value in given.items()):
                changed = next(key for key, value in given.items() if known.settings.get(key) != value)
                message = f"A queue already exists with the same name and a different value for attribute {changed}"
                raise AwsError("QueueNameExists", message)
            return {"QueueUrl": known.url}
        now = call.engine.clock.now()
        queue = Queue(
            name,
            place.arn("sqs", name),
            f"https://sqs.{call.region}.amazonaws.com/{call.account}/{name}",
            {key: standard for key, (standard, *_) in SETTINGS.items()},
            now,
            now,
            call.engine.clock.now,
            dict(parameters.get("tags") or {}),
        )
        queue.bury = _burier(state)
        if fifo:
            queue.settings |= {"ContentBasedDeduplication": "false", "DeduplicationScope": "queue"}
            queue.settings["FifoThroughputLimit"] = "perQueue"
        _apply(queue, given)
        state.queues[name] = queue
    return {"QueueUrl": queue.url}


def _burier(state: State) -> Callable[..., bool]:
    def bury(arn: str, message: Any) -> bool:
        target = state.queues.get(arn.rpartition(":")[2])
        if target is not None:
            target.put(message)
        return target is not None

    return bury


def _check(call: Call, given: Parameters, *, fifo: bool) -> None:
    """Raises :class:`AwsError` for attributes that a queue cannot have."""
    for name, value in given.items():
        if name in _NOT_SERVED and value:
            raise part_of(call, f"{name}, since nothing is encrypted")
        if name in SETTINGS:
            _, low, high = SETTINGS[name]
            if not value.isdigit() or not low <= int(value) <= high:
                raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        elif name in _OF_FIFO:
            if not fifo:
                raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        elif name in ("Policy", "RedrivePolicy", "RedriveAllowPolicy"):
            if value:
                _json(name, value)
        elif name not in ("SqsManagedSseEnabled", *_NOT_SERVED):
            raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")


def _json(name: str, value: str) -> Parameters:
    try:
        document = json.loads(value)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    return document


def _apply(queue: Queue, given: Parameters) -> None:
    for name, value in given.items():
        if value == "" and name not in SETTINGS:
            queue.settings.pop(name, None)
        else:
            queue.settings[name] = value
    redrive = queue.settings.get("RedrivePolicy")
    if redrive is None:
        queue.dead_letters = None
        return
    document = json.loads(redrive)
    try:
        target, most = str(document["deadLetterTargetArn"]), int(document["maxReceiveCount"])
    except (KeyError, ValueError, TypeError):
        message = f"Value {redrive} for parameter RedrivePolicy is invalid. Reason: Redrive policy does not contain "
        raise AwsError("InvalidParameterValue", f"{message}mandatory attributes.") from None
    queue.dead_letters = (target, most)


def delete_queue(call: Call, parameters: Parameters) -> None:
    queue = queue_of(call, parameters)
    state = call.store(State)
    with state.lock:
        state.queues.pop(queue.name, None)
    queue.close()


def get_queue_url(call: Call, parameters: Parameters) -> Parameters:
    queue = call.store(State).queues.get(parameters["QueueName"])
    if queue is None or parameters.get("QueueOwnerAWSAccountId", call.account) != call.account:
        raise missing()
    return {"QueueUrl": queue.url}


def list_queues(call: Call, parameters: Parameters) -> Parameters:
    names = sorted(call.store(State).queues)
    names = [name for name in names if name.startswith(parameters.get("QueueNamePrefix", ""))]
    if after := parameters.get("NextToken"):
        names = [name for name in names if name > after]
    most = parameters.get("MaxResults")
    shown = names[: most or 1000]
    urls = [call.store(State).queues[name].url for name in shown]
    return {"QueueUrls": urls or None, "NextToken": shown[-1] if most and len(names) > len(shown) else None}


def get_queue_attributes(call: Call, parameters: Parameters) -> Parameters:
    queue = queue_of(call, parameters)
    visible, in_flight, delayed = queue.counts()
    known = {
        **queue.settings,
        "QueueArn": queue.arn,
        "ApproximateNumberOfMessages": str(visible),
        "ApproximateNumberOfMessagesNotVisible": str(in_flight),
        "ApproximateNumberOfMessagesDelayed": str(delayed),
        "CreatedTimestamp": str(int(queue.created.timestamp())),
        "LastModifiedTimestamp": str(int(queue.changed.timestamp())),
        "SqsManagedSseEnabled": queue.settings.get("SqsManagedSseEnabled", "true"),
        **({"FifoQueue": "true"} if queue.fifo else {}),
    }
    wanted = parameters.get("AttributeNames") or []
    return {"Attributes": {name: known[name] for name in known if "All" in wanted or name in wanted} or None}


def set_queue_attributes(call: Call, parameters: Parameters) -> None:
    queue = queue_of(call, parameters)
    _check(call, parameters["Attributes"], fifo=queue.fifo)
    _apply(queue, parameters["Attributes"])
    queue.changed = call.engine.clock.now()


def purge_queue(call: Call, parameters: Parameters) -> None:
    queue_of(call, parameters).purge()


def add_permission(call: Call, parameters: Parameters) -> None:
    queue = queue_of(call, parameters)
    document = json.loads(queue.settings.get("Policy") or '{"Version": "2012-10-17", "Statement": []}')
    label = parameters["Label"]
    if any(each.get("Sid") == label for each in document["Statement"]):
        message = f"Value {label} for parameter Label is invalid. Reason: Already exists."
        raise AwsError("InvalidParameterValue", message)
    document["Statement"].append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam::{each}:root" for each in parameters["AWSAccountIds"]]},
            "Action": [f"SQS:{each}" for each in parameters["Actions"]],
            "Resource": queue.arn,
        }
    )
    queue.settings["Policy"] = json.dumps(document)


def remove_permission(call: Call, parameters: Parameters) -> None:
    queue = queue_of(call, parameters)
    document = json.loads(queue.settings.get("Policy") or '{"Statement": []}')
    kept = [each for each in document["Statement"] if each.get("Sid") != parameters["Label"]]
    if len(kept) == len(document["Statement"]):
        label = parameters["Label"]
        message = f"Value {label} for parameter Label is invalid. Reason: can't find label on existing policy."
        raise AwsError("InvalidParameterValue", message)
    if kept:
        queue.settings["Policy"] = json.dumps(document | {"Statement": kept})
    else:
        del queue.settings["Policy"]


def list_dead_letter_source_queues(call: Call, parameters: Parameters) -> Parameters:
    target = queue_of(call, parameters)
    queues = call.store(State).queues.values()
    return {"queueUrls": [each.url for each in queues if each.dead_letters and each.dead_letters[0] == target.arn]}


def tag_queue(call: Call, parameters: Parameters) -> None:
    queue_of(call, parameters).tags.update(parameters["Tags"])


def untag_queue(call: Call, parameters: Parameters) -> None:
    for key in parameters["TagKeys"]:
        queue_of(call, parameters).tags.pop(key, None)


def list_queue_tags(call: Call, parameters: Parameters) -> Parameters:
    return {"Tags": dict(queue_of(call, parameters).tags) or None}


def resource_policy(cloud: AwsCloud, arn: str) -> str | None:
    """The policy of the queue that an ARN names, or None: it has none, or there is no such queue."""
    try:
        return find(Place(cloud, arn.split(":")[3]), arn).settings.get("Policy")
    except (AwsError, IndexError):
        return None


OPERATIONS = {
    "AddPermission": add_permission,
    "ChangeMessageVisibility": change_message_visibility,
    "ChangeMessageVisibilityBatch": change_message_visibility_batch,
    "CreateQueue": create_queue,
    "DeleteMessage": delete_message,
    "DeleteMessageBatch": delete_message_batch,
    "DeleteQueue": delete_queue,
    "GetQueueAttributes": get_queue_attributes,
    "GetQueueUrl": get_queue_url,
    "ListDeadLetterSourceQueues": list_dead_letter_source_queues,
    "ListQueueTags": list_queue_tags,
    "ListQueues": list_queues,
    "PurgeQueue": purge_queue,
    "ReceiveMessage": receive_message,
    "RemovePermission": remove_permission,
    "SendMessage": send_message,
    "SendMessageBatch": send_message_batch,
    "SetQueueAttributes": set_queue_attributes,
    "TagQueue": tag_queue,
    "UntagQueue": untag_queue,
}
SHAPE_ONLY = frozenset(("ListQueueTags", "TagQueue", "UntagQueue"))
NOTES = {
    "CreateQueue": "standard and FIFO queues; no encryption with KMS; JSON protocol only",
    "ReceiveMessage": "delays and time-outs follow the lab's clock; a FIFO queue has no receive attempt ids",
}


def inventory(cloud: AwsCloud) -> dict[str, list[str]]:
    """The queues there are, in every region."""
    return {"queues": sorted(name for state in cloud.stores(State) for name in state.queues)}
