"""What the operations of queues, topics, events, schedules and functions need permission for.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html and its neighbors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

#: One thing to be allowed: (action, resource ARN).
Need = tuple[str, str]

_PASS_ROLE = "iam:PassRole"


def queues(operation: str, parameters: Mapping[str, Any], prefix: str) -> list[Need]:
    action = operation.removesuffix("Batch")
    if operation == "ListQueues":
        return [("sqs:ListQueues", "*")]
    arn = parameters.get("SourceArn")
    url = str(parameters.get("QueueUrl", ""))
    name = parameters.get("QueueName") or url.rpartition("/")[2]
    return [(f"sqs:{action}", str(arn or f"{prefix}:{name}"))]


def topics(operation: str, parameters: Mapping[str, Any], prefix: str) -> list[Need]:
    action = f"sns:{operation.removesuffix('Batch')}"
    if name := parameters.get("Name"):
        return [(action, f"{prefix}:{name}")]
    arn = str(
        parameters.get("TopicArn")
        or parameters.get("TargetArn")
        or parameters.get("ResourceArn")
        or parameters.get("SubscriptionArn", "*")
    )
    # What is done to a subscription is asked about its topic.
    return [(action, arn.rpartition(":")[0] if arn.count(":") == 6 else arn)]


def events(operation: str, parameters: Mapping[str, Any], prefix: str) -> list[Need]:
    action = f"events:{operation}"
    if operation == "PutEvents":
        buses = dict.fromkeys(each.get("EventBusName", "default") for each in parameters.get("Entries", []))
        return [(action, _bus(bus, prefix)) for bus in buses] or [(action, "*")]
    if arn := parameters.get("ResourceARN"):
        return [(action, str(arn))]
    bus = str(parameters.get("EventBusName") or "default")
    rule = parameters.get("Rule") or (parameters.get("Name") if operation.endswith("Rule") else None)
    if rule:
        bus = bus.rpartition("/")[2]
        needs = [(action, f"{prefix}:rule/{rule}" if bus == "default" else f"{prefix}:rule/{bus}/{rule}")]
    elif operation in ("ListRules", "ListRuleNamesByTarget"):
        needs = [(action, f"{prefix}:rule/*")]
    elif operation in ("PutPermission", "RemovePermission", "DescribeEventBus"):
        needs = [(action, _bus(str(parameters.get("Name") or bus), prefix))]
    elif operation in ("CreateEventBus", "DeleteEventBus", "UpdateEventBus"):
        needs = [(action, _bus(str(parameters.get("Name", "")), prefix))]
    else:
        needs = [(action, "*")]
    roles = [parameters.get("RoleArn"), *(each.get("RoleArn") for each in parameters.get("Targets") or [])]
    return needs + [(_PASS_ROLE, str(role)) for role in dict.fromkeys(roles) if role]


def _bus(name: str, prefix: str) -> str:
    return name if name.startswith("arn:") else f"{prefix}:event-bus/{name}"


def schedules(operation: str, parameters: Mapping[str, Any], prefix: str) -> list[Need]:
    action = f"scheduler:{operation}"
    if arn := parameters.get("ResourceArn"):
        return [(action, str(arn))]
    if operation.endswith("ScheduleGroup"):
        return [(action, f"{prefix}:schedule-group/{parameters.get('Name', '')}")]
    if operation == "ListSchedules":
        return [(action, f"{prefix}:schedule/{parameters.get('GroupName', '*')}/*")]
    if operation == "ListScheduleGroups":
        return [(action, f"{prefix}:schedule-group/*")]
    needs = [(action, f"{prefix}:schedule/{parameters.get('GroupName', 'default')}/{parameters.get('Name', '')}")]
    if role := (parameters.get("Target") or {}).get("RoleArn"):
        needs.append((_PASS_ROLE, str(role)))
    return needs


_FUNCTION = re.compile(r"(?:.*function:)?(?P<name>[^:]+)(?::(?P<qualifier>.+))?")
#: Lambda's operations whose action has another name.
_LAMBDA = {"Invoke": "InvokeFunction", "InvokeAsync": "InvokeFunction", "InvokeWithResponseStream": "InvokeFunction"}


def functions(operation: str, parameters: Mapping[str, Any], prefix: str) -> list[Need]:
    action = f"lambda:{_LAMBDA.get(operation, operation)}"
    if arn := parameters.get("Resource"):
        return [(action, str(arn))]
    if identifier := parameters.get("UUID"):
        return [(action, f"{prefix}:event-source-mapping:{identifier}")]
    found = _FUNCTION.fullmatch(str(parameters.get("FunctionName", "")))
    if found is None or operation == "CreateEventSourceMapping":
        return [(action, "*")]
    arn = f"{prefix}:function:{found['name']}"
    qualifier = parameters.get("Qualifier") or found["qualifier"]
    if qualifier and operation in ("Invoke", "GetFunction", "GetFunctionConfiguration"):
        arn += f":{qualifier}"
    needs = [(action, arn)]
    if role := parameters.get("Role"):
        needs.append((_PASS_ROLE, str(role)))
    return needs


#: Service -> what its operations need.
NEEDS: dict[str, Callable[[str, Mapping[str, Any], str], list[Need]]] = {
    "events": events,
    "lambda": functions,
    "scheduler": schedules,
    "sns": topics,
    "sqs": queues,
}
