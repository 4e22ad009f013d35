"""Targets of EventBridge's rules: functions, queues, topics, log groups, buses and SageMaker's pipelines.

As documented, a target's role is used where it has one; without, functions, queues, topics and log groups let
EventBridge in by their own policies (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from labkit.cloud.aws import (
    event_input,
    lambda_invoke,
    lambda_permissions,
    log_policies,
    service_calls,
    sns_delivery,
    sns_state,
    sqs_state,
)
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.events_state import Rule
from labkit.cloud.aws.lambda_state import reference
from labkit.cloud.aws.place import Place

SERVICE = "events.amazonaws.com"

#: Kinds of targets that there are, by the beginning of what follows the account in their ARNs.
KINDS = {
    "lambda": "function:",
    "sqs": "",
    "sns": "",
    "logs": "log-group:",
    "sagemaker": "pipeline/",
    "events": "event-bus/",
}
#: Kinds that EventBridge reaches as the target's role only.
BY_ROLE = ("sagemaker", "events")


def kind_of(arn: str) -> str | None:
    """The kind of target that an ARN names (``lambda``), or None for one that is not served."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[2] not in KINDS or not parts[5].startswith(KINDS[parts[2]]):
        return None
    return parts[2]


def send(place: Place, rule: Rule, target: Mapping[str, Any], event: Mapping[str, Any], content: str) -> None:
    """Hands ``content`` to a target; raises :class:`AwsError` where the target or its permissions say no."""
    arn = str(target["Arn"])
    kind = kind_of(arn)
    region = arn.split(":")[3]
    place = place if region == place.region else Place(place.cloud, region)
    if kind == "sagemaker":
        _start_pipeline(place, rule, target, event)
    elif kind == "events":
        _put_event(place, rule, target, event)
    elif kind == "lambda":
        _check(place, lambda_permissions.policy_of(place, arn), "lambda:InvokeFunction", arn, rule, target)
        lambda_invoke.queue(place, reference(place, arn), content.encode())
    elif kind == "sqs":
        _send_message(place, rule, target, event, content)
    elif kind == "sns":
        topic = sns_state.find(place, arn)
        _check(place, sns_state.policy_of(place, arn), "sns:Publish", arn, rule, target)
        sns_delivery.publish(place, topic, sns_delivery.Notification(content))
    else:
        _write_log(place, rule, arn, content)


def _check(place: Place, policy: str | None, action: str, resource: str, rule: Rule, target: Mapping[str, Any]) -> None:
    """Raises unless the target's role, or without one the policy on the resource, lets EventBridge in."""
    if role := target.get("RoleArn"):
        key = service_calls.assume(place, role, SERVICE, rule.name[:64], rule.arn)
        service_calls.authorize(place, key, action, resource)
        return
    if not service_calls.may(policy, SERVICE, action, resource, rule.arn, place.account):
        raise AwsError("AccessDenied", f"{SERVICE} is not authorized to perform {action} on {resource}.", 403)


def _start_pipeline(place: Place, rule: Rule, target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    key = service_calls.assume(place, target["RoleArn"], SERVICE, rule.name[:64], rule.arn)
    given = (target.get("SageMakerPipelineParameters") or {}).get("PipelineParameterList") or []
    parameters = {
        "PipelineName": str(target["Arn"]).rpartition("/")[2],
        "ClientRequestToken": uuid.uuid4().hex,
        "PipelineParameters": [{"Name": each["Name"], "Value": _dynamic(each["Value"], event)} for each in given],
    }
    service_calls.perform(place, key, "sagemaker", "StartPipelineExecution", parameters, SERVICE)


def _dynamic(value: str, event: Mapping[str, Any]) -> str:
    """A parameter's value, taken from the event where it is a path into it."""
    if not event_input.is_path(value):
        return value
    found = event_input.at(event, value)
    return found if isinstance(found, str) else json.dumps(found)


def _put_event(place: Place, rule: Rule, target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    from labkit.cloud.aws import events_delivery
    from labkit.cloud.aws.events_state import find_bus

    key = service_calls.assume(place, target["RoleArn"], SERVICE, rule.name[:64], rule.arn)
    arn = str(target["Arn"])
    service_calls.authorize(place, key, "events:PutEvents", arn)
    events_delivery.dispatch(place, find_bus(place, arn), event)


def _send_message(place: Place, rule: Rule, target: Mapping[str, Any], event: Mapping[str, Any], content: str) -> None:
    queue = sqs_state.find(place, target["Arn"])
    _check(place, queue.settings.get("Policy"), "sqs:SendMessage", queue.arn, rule, target)
    group = (target.get("SqsParameters") or {}).get("MessageGroupId", "")
    deduplication = str(event["id"]) if queue.fifo else ""
    queue.send(content, {}, SERVICE, group=_dynamic(group, event), deduplication=deduplication)


def _write_log(place: Place, rule: Rule, arn: str, content: str) -> None:
    group = arn.split(":log-group:", 1)[1].removesuffix(":*")
    if all(each.name != group for each in place.engine.logs.groups(place.scope)):
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    resource = f"{arn.removesuffix(':*')}:log-stream:{uuid.uuid4()}"
    policies = log_policies.documents(place)
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        if not any(
            service_calls.may(policy, SERVICE, action, resource, rule.arn, place.account) for policy in policies
        ):
            raise AwsError("AccessDenied", f"{SERVICE} is not authorized to perform {action} on {resource}.", 403)
    place.engine.logs.write(place.scope, group, resource.rpartition(":")[2], content)
