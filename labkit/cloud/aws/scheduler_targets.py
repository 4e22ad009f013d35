"""Targets of schedules: which there are, and the call that each firing makes as the target's role.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.cloud.aws import protocols
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.json_values import from_json
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.scheduler_state import invalid

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.place import Place

SERVICE = "scheduler.amazonaws.com"
_UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"
#: A service's name in universal targets -> boto3's.
_SERVICES = {
    "cloudwatch": "cloudwatch",
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "lambda": "lambda",
    "sagemaker": "sagemaker",
    "sns": "sns",
    "sqs": "sqs",
}
#: Beginnings of operations that only read: Scheduler calls none of them.
_READS = (
    "get",
    "describe",
    "list",
    "poll",
    "receive",
    "search",
    "scan",
    "query",
    "select",
    "read",
    "lookup",
    "batchGet",
)
_NOT_SERVED = ("EcsParameters", "KinesisParameters")


class Request(NamedTuple):
    """One call of a service's operation, ``parameters`` by the names of its model."""

    service: str
    operation: str
    parameters: dict[str, Any]


def check(call: Call, target: Mapping[str, Any]) -> None:
    """Raises :class:`AwsError` for a target that there cannot be, or that is not served."""
    arn = str(target["Arn"])
    for name in _NOT_SERVED:
        if name in target:
            raise part_of(call, name)
    if arn.startswith(_UNIVERSAL):
        _check_universal(call, arn, target)
        return
    if not arn.startswith("arn:") or arn.count(":") < 5:
        raise invalid("Provided Arn is not in correct format.")
    if _templated(arn) is None:
        raise part_of(call, f"targets like {arn}")
    if arn.split(":")[2] == "events" and "EventBridgeParameters" not in target:
        raise invalid("EventBridgeParameters must be provided for an event bus as target.")
    if arn.endswith(".fifo") and "SqsParameters" not in target:
        raise invalid("SqsParameters with a MessageGroupId must be provided for a FIFO queue as target.")
    role = call.cloud.identities.role(str(target["RoleArn"]))
    if role is None or not call.cloud.identities.does_trust(role, SERVICE):
        raise invalid("The execution role you provide must allow AWS EventBridge Scheduler to assume the role.")


def _templated(arn: str) -> str | None:
    """The service of a target that is named by its own ARN, or None where it is not served."""
    service, resource = arn.split(":", 5)[2], arn.split(":", 5)[5]
    begins = {"lambda": "function:", "sagemaker": "pipeline/", "sqs": "", "sns": "", "events": "event-bus/"}
    return service if service in begins and resource.startswith(begins[service]) else None


def _check_universal(call: Call, arn: str, target: Mapping[str, Any]) -> None:
    from labkit.cloud.aws.front import own

    name, _, action = arn.removeprefix(_UNIVERSAL).partition(":")
    if action.startswith(_READS):
        raise invalid(f"{arn} is not supported as a target: the operation only reads.")
    service, operation = _SERVICES.get(name), action[:1].upper() + action[1:]
    if service is None or operation not in own(service).OPERATIONS:
        raise part_of(call, f"the target {arn}")
    _input(service, operation, str(target.get("Input", "{}")))


def _input(service: str, operation: str, text: str) -> dict[str, Any]:
    """A universal target's Input as the operation's parameters."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise invalid("Invalid RequestJson provided. Reason: The Input of a universal target must be a JSON object.")
    shape: Any = protocols.model_of(service).operation_model(operation).input_shape
    if unknown := sorted(set(document) - set(shape.members)):
        message = f"Invalid RequestJson provided. Reason The field '{unknown[0]}' is not supported by {operation}."
        raise invalid(message)
    parameters: dict[str, Any] = from_json(shape, document)
    for name, member in shape.members.items():
        if name not in parameters and member.metadata.get("idempotencyToken"):
            parameters[name] = str(uuid.uuid4())
    return parameters


def request(place: Place, target: Mapping[str, Any], content: str) -> Request:
    """The call that a firing makes; ``content`` is the target's Input with its context attributes filled in."""
    arn = str(target["Arn"])
    if arn.startswith(_UNIVERSAL):
        name, _, action = arn.removeprefix(_UNIVERSAL).partition(":")
        service, operation = _SERVICES[name], action[:1].upper() + action[1:]
        return Request(service, operation, _input(service, operation, content))
    service, name = arn.split(":")[2], arn.rpartition(":")[2]
    if service == "lambda":
        payload = {"FunctionName": arn, "InvocationType": "Event", "Payload": content.encode()}
        return Request("lambda", "Invoke", payload)
    if service == "sns":
        return Request("sns", "Publish", {"TopicArn": arn, "Message": content})
    if service == "sqs":
        url = f"https://sqs.{arn.split(':')[3]}.amazonaws.com/{place.account}/{name}"
        message: dict[str, Any] = {"QueueUrl": url, "MessageBody": content}
        if group := (target.get("SqsParameters") or {}).get("MessageGroupId"):
            message |= {"MessageGroupId": group, "MessageDeduplicationId": str(uuid.uuid4())}
        return Request("sqs", "SendMessage", message)
    if service == "events":
        given = target["EventBridgeParameters"]
        entry = {"EventBusName": arn, "Source": given["Source"], "DetailType": given["DetailType"], "Detail": content}
        return Request("events", "PutEvents", {"Entries": [entry]})
    parameters = (target.get("SageMakerPipelineParameters") or {}).get("PipelineParameterList") or []
    started = {
        "PipelineName": arn.rpartition("/")[2],
        "ClientRequestToken": uuid.uuid4().hex,
        "PipelineParameters": [dict(each) for each in parameters],
    }
    return Request("sagemaker", "StartPipelineExecution", started)


def problem_of(result: Mapping[str, Any]) -> AwsError | None:
    """The error in the answer of an operation that succeeds as a whole (PutEvents)."""
    if result.get("FailedEntryCount"):
        entry = result["Entries"][0]
        return AwsError(entry["ErrorCode"], entry["ErrorMessage"])
    return None
