"""Messages of SQS: sent, received, hidden and deleted, one at a time or ten.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import QUEUE_CODES, AwsError
from labkit.cloud.aws.sqs_queue import Message, Queue, attributes_md5
from labkit.cloud.aws.sqs_state import queue_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

#: Entries of a batch, and bytes of all its messages.
BATCH = 10
LARGEST_BATCH = 1_048_576
_NOT_ALLOWED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def send_message(call: Call, parameters: Parameters) -> Parameters:
    return _send(call, queue_of(call, parameters), parameters)


def _send(call: Call, queue: Queue, entry: Parameters) -> Parameters:
    body, attributes = entry["MessageBody"], entry.get("MessageAttributes") or {}
    _check_message(queue, body, attributes, entry.get("DelaySeconds"))
    group, deduplication = entry.get("MessageGroupId", ""), entry.get("MessageDeduplicationId", "")
    if queue.fifo:
        if not group:
            raise AwsError("MissingParameter", "The request must contain the parameter MessageGroupId.")
        if not deduplication and queue.settings["ContentBasedDeduplication"] != "true":
            message = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId "
            raise AwsError("InvalidParameterValue", f"{message}provided explicitly")
        if entry.get("DelaySeconds"):
            message = f"Value {entry['DelaySeconds']} for parameter DelaySeconds is invalid. Reason: The request "
            raise AwsError(
                "InvalidParameterValue", f"{message}include parameter that is not valid for this queue type."
            )
        deduplication = deduplication or hashlib.sha256(body.encode()).hexdigest()
    elif deduplication:
        message = f"Value {deduplication} for parameter MessageDeduplicationId is invalid. Reason: The request "
        raise AwsError("InvalidParameterValue", f"{message}includes a parameter that is not valid for this queue type.")
    system = {
        name: str(value.get("StringValue", "")) for name, value in (entry.get("MessageSystemAttributes") or {}).items()
    }
    sent = queue.send(
        body,
        attributes,
        _sender(call),
        delay=entry.get("DelaySeconds"),
        system=system,
        group=group,
        deduplication=deduplication,
    )
    return {
        "MessageId": sent.id,
        "MD5OfMessageBody": sent.body_md5,
        "MD5OfMessageAttributes": attributes_md5(attributes),
        "SequenceNumber": sent.system.get("SequenceNumber"),
    }


def _sender(call: Call) -> str:
    return call.key.user_id or call.key.issuer


def _check_message(queue: Queue, body: str, attributes: Mapping[str, Mapping[str, Any]], delay: int | None) -> None:
    if not body:
        raise AwsError("MissingParameter", "The request must contain the parameter MessageBody.")
    if _NOT_ALLOWED.search(body):
        message = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to "
        raise AwsError("InvalidMessageContents", f"{message}#xFFFD | #x10000 to #x10FFFF")
    if len(attributes) > 10:
        message = f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10]."
        raise AwsError("InvalidParameterValue", message)
    size = len(body.encode())
    for name, value in attributes.items():
        kind = value.get("DataType", "")
        if kind.partition(".")[0] not in ("String", "Number", "Binary"):
            message = f"The message attribute '{name}' has an invalid message attribute type, the set of supported "
            raise AwsError("InvalidParameterValue", f"{message}type prefixes is Binary, Number, and String.")
        content = value.get("BinaryValue" if kind.startswith("Binary") else "StringValue")
        if not content:
            message = f"The message attribute '{name}' must contain a non-empty message attribute value for message "
            raise AwsError("InvalidParameterValue", f"{message}attribute type '{kind}'.")
        size += len(name.encode()) + len(kind) + len(content if isinstance(content, bytes) else content.encode())
    if size > queue.seconds("MaximumMessageSize"):
        message = "One or more parameters are invalid. Reason: Message must be shorter than "
        raise AwsError("InvalidParameterValue", f"{message}{queue.settings['MaximumMessageSize']} bytes.")
    if delay is not None and not 0 <= delay <= 900:
        message = f"Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
        raise AwsError("InvalidParameterValue", message)


def receive_message(call: Call, parameters: Parameters) -> Parameters:
    queue = queue_of(call, parameters)
    most, wait = parameters.get("MaxNumberOfMessages", 1), parameters.get("WaitTimeSeconds")
    if not 1 <= most <= BATCH:
        message = f"Value {most} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if "
        raise AwsError("InvalidParameterValue", f"{message}provided.")
    wait = queue.seconds("ReceiveMessageWaitTimeSeconds") if wait is None else wait
    if not 0 <= wait <= 20:
        message = f"Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."
        raise AwsError("InvalidParameterValue", message)
    messages = queue.receive(most, wait, parameters.get("VisibilityTimeout"))
    system = {*parameters.get("AttributeNames", []), *parameters.get("MessageSystemAttributeNames", [])}
    return {"Messages": [_received(each, system, parameters) for each in messages] or None}


def _received(message: Message, wanted: set[str], parameters: Parameters) -> Parameters:
    assert message.first is not None
    system = {
        "SenderId": message.sender,
        "SentTimestamp": str(int(message.sent.timestamp() * 1000)),
        "ApproximateReceiveCount": str(message.received),
        "ApproximateFirstReceiveTimestamp": str(int(message.first.timestamp() * 1000)),
        **message.system,
    }
    names = parameters.get("MessageAttributeNames", [])
    attributes = {name: value for name, value in message.attributes.items() if _is_wanted(name, names)}
    return {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": message.body_md5,
        "Body": message.body,
        "Attributes": {name: value for name, value in system.items() if "All" in wanted or name in wanted} or None,
        "MD5OfMessageAttributes": attributes_md5(attributes),
        "MessageAttributes": attributes or None,
    }


def _is_wanted(name: str, wanted: list[str]) -> bool:
    return any(each in ("All", ".*", name) or (each.endswith(".*") and name.startswith(each[:-2])) for each in wanted)


def delete_message(call: Call, parameters: Parameters) -> None:
    _delete(call, queue_of(call, parameters), parameters)


def _delete(_: Call, queue: Queue, entry: Parameters) -> Parameters:
    if not queue.delete(entry["ReceiptHandle"]):
        message = f'The input receipt handle "{entry["ReceiptHandle"]}" is not a valid receipt handle.'
        raise AwsError("ReceiptHandleIsInvalid", message, 404)
    return {}


def change_message_visibility(call: Call, parameters: Parameters) -> None:
    _hide(call, queue_of(call, parameters), parameters)


def _hide(_: Call, queue: Queue, entry: Parameters) -> Parameters:
    seconds = entry.get("VisibilityTimeout", queue.seconds("VisibilityTimeout"))
    if not 0 <= seconds <= 43_200:
        message = f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an "
        raise AwsError("InvalidParameterValue", f"{message}integer between 0 and 43200.")
    hidden = queue.hide(entry["ReceiptHandle"], seconds)
    if hidden is None:
        message = f'The input receipt handle "{entry["ReceiptHandle"]}" is not a valid receipt handle.'
        raise AwsError("ReceiptHandleIsInvalid", message, 404)
    if not hidden:
        message = f"Value {entry['ReceiptHandle']} for parameter ReceiptHandle is invalid. Reason: Message does not "
        raise AwsError("MessageNotInflight", f"{message}exist or is not available for visibility timeout change.")
    return {}


# -- batches -------------------------------------------------------------------------------------------------------


def send_message_batch(call: Call, parameters: Parameters) -> Parameters:
    size = sum(len(entry["MessageBody"].encode()) for entry in parameters["Entries"])
    if size > LARGEST_BATCH:
        message = f"Batch requests cannot be longer than {LARGEST_BATCH} bytes. You have sent {size} bytes."
        raise AwsError("BatchRequestTooLong", message)
    return _batch(call, parameters, _send)


def delete_message_batch(call: Call, parameters: Parameters) -> Parameters:
    return _batch(call, parameters, _delete)


def change_message_visibility_batch(call: Call, parameters: Parameters) -> Parameters:
    return _batch(call, parameters, _hide)


def _batch(call: Call, parameters: Parameters, each: Callable[[Call, Queue, Parameters], Parameters]) -> Parameters:
    queue, entries = queue_of(call, parameters), parameters["Entries"]
    if not entries:
        raise AwsError("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > BATCH:
        message = f"Maximum number of entries per request are {BATCH}. You have sent {len(entries)}."
        raise AwsError("TooManyEntriesInBatchRequest", message)
    ids = [entry["Id"] for entry in entries]
    if len(set(ids)) < len(ids):
        raise AwsError("BatchEntryIdsNotDistinct", f"Id {max(ids, key=ids.count)} repeated.")
    if any(not re.fullmatch(r"[\w-]{1,80}", id, re.ASCII) for id in ids):
        message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at "
        raise AwsError("InvalidBatchEntryId", f"{message}most 80 letters long.")
    successful, failed = [], []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **each(call, queue, entry)})
        except AwsError as error:
            code = QUEUE_CODES.get(error.code, error.code)
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": code, "Message": error.message})
    return {"Successful": successful, "Failed": failed}
