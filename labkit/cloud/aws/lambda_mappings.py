"""Event source mappings: Lambda takes messages off a queue and hands them to a function in batches.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import service_calls
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.event_patterns import InvalidPattern, Pattern
from labkit.cloud.aws.lambda_invoke import run_now
from labkit.cloud.aws.lambda_state import Reference, State, get, reference, version_of
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sqs_queue import Message, Queue
from labkit.cloud.aws.sqs_state import find
from labkit.cloud.engine.errors import CloudError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

_log = logging.getLogger(__name__)

Parameters = dict[str, Any]

#: Seconds for which one look at a queue waits, and between looks at one that cannot be read or a busy function.
WAIT = 5.0
PAUSE = 0.5
#: What the function's role has to be allowed on the queue.
NEEDED = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_SERVED = frozenset(
    ("BatchSize", "Enabled", "EventSourceArn", "FilterCriteria", "FunctionName", "FunctionResponseTypes", "UUID")
)


@dataclass(eq=False)
class Mapping:
    """A queue and the function that gets its messages; a thread works while it is enabled."""

    id: str
    place: Place
    queue_arn: str
    function: Reference
    batch: int
    enabled: bool
    by_item: bool
    criteria: Parameters | None
    patterns: Sequence[Pattern]
    modified: datetime
    stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self.stopped = threading.Event()
        threading.Thread(target=self._work, args=(self.stopped,), name=f"mapping {self.id}", daemon=True).start()

    def close(self) -> None:
        """Takes no more messages. A batch that a function has got goes on."""
        self.stopped.set()

    def _work(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                self._look()
            except CloudError:
                # The queue, the function or the role's rights are gone, or the function is busy: it may pass.
                stopped.wait(PAUSE)
            except Exception:
                _log.exception("the event source mapping %s could not hand on its messages", self.id)
                stopped.wait(PAUSE)

    def _look(self) -> None:
        queue = find(self.place, self.queue_arn)
        self._check_role(queue)
        messages = queue.receive(self.batch, WAIT)
        wanted = [each for each in messages if self._is_wanted(each)]
        for each in messages:
            # What no filter wants is taken off the queue, as documented.
            if each not in wanted:
                queue.delete(each.receipt)
        if wanted:
            self._hand_on(queue, wanted)

    def _check_role(self, queue: Queue) -> None:
        config = version_of(get(self.place, self.function.name), self.function.qualifier).config
        key = service_calls.assume(self.place, config["Role"], "lambda.amazonaws.com", self.function.name)
        for action in NEEDED:
            service_calls.authorize(self.place, key, action, queue.arn)

    def _is_wanted(self, message: Message) -> bool:
        if not self.patterns:
            return True
        try:
            body = json.loads(message.body)
        except ValueError:
            body = message.body
        return any(pattern.matches({"body": body}) for pattern in self.patterns)

    def _hand_on(self, queue: Queue, messages: Sequence[Message]) -> None:
        """Invokes the function; what it did not fail on leaves the queue, the rest comes back in its time."""
        records = [_record(each, queue, self.place.region) for each in messages]
        payload = json.dumps({"Records": records}, ensure_ascii=False).encode()
        run = run_now(self.place, self.function, payload, str(uuid.uuid4()))
        failed = {each.id for each in messages} if run.failed else set()
        if self.by_item and not run.failed:
            failed = _failed_items(run.payload, {each.id for each in messages})
        for each in messages:
            if each.id not in failed:
                queue.delete(each.receipt)


def _failed_items(answer: bytes, ids: set[str]) -> set[str]:
    """The messages that a function says it failed on; all of them where it does not say it as it has to."""
    try:
        items = (json.loads(answer) or {}).get("batchItemFailures") or []
        failed = {item["itemIdentifier"] for item in items}
    except (ValueError, TypeError, KeyError, AttributeError):
        return ids
    return failed if failed <= ids else ids


def _record(message: Message, queue: Queue, region: str) -> Parameters:
    assert message.first is not None
    attributes = {
        name: {
            "stringValue": value.get("StringValue"),
            "binaryValue": b64encode(value["BinaryValue"]).decode() if "BinaryValue" in value else None,
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": value["DataType"],
        }
        for name, value in message.attributes.items()
    }
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.received),
            "SentTimestamp": str(int(message.sent.timestamp() * 1000)),
            "SenderId": message.sender,
            "ApproximateFirstReceiveTimestamp": str(int(message.first.timestamp() * 1000)),
            **message.system,
        },
        "messageAttributes": attributes,
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": region,
    }


# -- operations ----------------------------------------------------------------------------------------------------


def create_event_source_mapping(call: Call, parameters: Parameters) -> Parameters:
    _check_served(call, parameters)
    place = Place.of(call)
    arn = parameters.get("EventSourceArn", "")
    if not arn.startswith("arn:aws:sqs:"):
        raise part_of(call, "event sources that are no queues of SQS")
    named = reference(place, parameters["FunctionName"])
    function = get(place, named.name, named.qualifier)
    version = version_of(function, named.qualifier)
    try:
        queue = find(place, arn)
    except AwsError:
        message = f"Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue: {arn}"
        raise AwsError("InvalidParameterValueException", message, 400, Type="User") from None
    try:
        key = service_calls.assume(place, version.config["Role"], "lambda.amazonaws.com", named.name)
        for action in NEEDED:
            service_calls.authorize(place, key, action, arn)
    except CloudError:
        message = "The provided execution role does not have permissions to call ReceiveMessage on SQS"
        raise AwsError("InvalidParameterValueException", message, 400, Type="User") from None
    if queue.seconds("VisibilityTimeout") < version.config["Timeout"]:
        message = (
            f"Queue visibility timeout: {queue.settings['VisibilityTimeout']} seconds is less than Function timeout: "
            f"{version.config['Timeout']} seconds"
        )
        raise AwsError("InvalidParameterValueException", message, 400, Type="User")
    state = call.store(State)
    mapping = Mapping(
        str(uuid.uuid4()),
        place,
        arn,
        named,
        parameters.get("BatchSize", 10),
        parameters.get("Enabled", True),
        "ReportBatchItemFailures" in (parameters.get("FunctionResponseTypes") or []),
        parameters.get("FilterCriteria"),
        _patterns(parameters.get("FilterCriteria")),
        call.engine.clock.now(),
    )
    with state.lock:
        for other in state.mappings.values():
            if (other.queue_arn, other.function) == (arn, named):
                message = (
                    f"An event source mapping with SQS arn ({arn}) and function ({named.name}) already exists. Please "
                    f"update or delete the existing mapping with UUID {other.id}"
                )
                raise AwsError("ResourceConflictException", message, 409, Type="User")
        state.mappings[mapping.id] = mapping
    if mapping.enabled:
        mapping.start()
    return {**_shown(mapping), "State": "Creating"}


def _check_served(call: Call, parameters: Parameters) -> None:
    for name, value in parameters.items():
        if name not in _SERVED and value:
            raise part_of(call, name)
    if not 1 <= parameters.get("BatchSize", 10) <= 10:
        # More needs a batching window, which is not served.
        raise AwsError("InvalidParameterValueException", "Batch size must be from 1 to 10.", 400, Type="User")


def _patterns(criteria: Parameters | None) -> list[Pattern]:
    try:
        return [Pattern(each["Pattern"]) for each in (criteria or {}).get("Filters") or []]
    except (InvalidPattern, KeyError):
        message = "Invalid filter pattern definition."
        raise AwsError("InvalidParameterValueException", message, 400, Type="User") from None


def _shown(mapping: Mapping) -> Parameters:
    place = mapping.place
    path = f"function:{mapping.function.name}"
    if mapping.function.qualifier:
        path += f":{mapping.function.qualifier}"
    return {
        "UUID": mapping.id,
        "EventSourceMappingArn": place.arn("lambda", f"event-source-mapping:{mapping.id}"),
        "BatchSize": mapping.batch,
        "MaximumBatchingWindowInSeconds": 0,
        "EventSourceArn": mapping.queue_arn,
        "FunctionArn": place.arn("lambda", path),
        "LastModified": mapping.modified,
        "State": "Enabled" if mapping.enabled else "Disabled",
        "StateTransitionReason": "USER_INITIATED",
        "FunctionResponseTypes": ["ReportBatchItemFailures"] if mapping.by_item else [],
        "FilterCriteria": mapping.criteria,
    }


def _mapping(call: Call, parameters: Parameters) -> Mapping:
    mapping = call.store(State).mappings.get(parameters["UUID"])
    if mapping is None:
        message = "The resource you requested does not exist."
        raise AwsError("ResourceNotFoundException", message, 404, Type="User")
    return mapping


def get_event_source_mapping(call: Call, parameters: Parameters) -> Parameters:
    return _shown(_mapping(call, parameters))


def list_event_source_mappings(call: Call, parameters: Parameters) -> Parameters:
    found = list(call.store(State).mappings.values())
    if arn := parameters.get("EventSourceArn"):
        found = [each for each in found if each.queue_arn == arn]
    if name := parameters.get("FunctionName"):
        named = reference(Place.of(call), name)
        found = [each for each in found if each.function == named]
    return {"EventSourceMappings": [_shown(each) for each in found]}


def update_event_source_mapping(call: Call, parameters: Parameters) -> Parameters:
    mapping = _mapping(call, parameters)
    _check_served(call, parameters)
    patterns = _patterns(parameters["FilterCriteria"]) if "FilterCriteria" in parameters else mapping.patterns
    mapping.close()
    mapping.batch = parameters.get("BatchSize", mapping.batch)
    mapping.enabled = parameters.get("Enabled", mapping.enabled)
    mapping.criteria, mapping.patterns = parameters.get("FilterCriteria", mapping.criteria), patterns
    if "FunctionResponseTypes" in parameters:
        mapping.by_item = "ReportBatchItemFailures" in parameters["FunctionResponseTypes"]
    if "FunctionName" in parameters:
        named = reference(Place.of(call), parameters["FunctionName"])
        get(Place.of(call), named.name, named.qualifier)
        mapping.function = named
    mapping.modified = call.engine.clock.now()
    if mapping.enabled:
        mapping.start()
    return {**_shown(mapping), "State": "Updating"}


def delete_event_source_mapping(call: Call, parameters: Parameters) -> Parameters:
    mapping = _mapping(call, parameters)
    mapping.close()
    call.store(State).mappings.pop(mapping.id, None)
    return {**_shown(mapping), "State": "Deleting"}
