"""Targets of rules: put, listed, removed.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutTargets.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import event_input, event_targets
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.events_rules import page
from labkit.cloud.aws.events_state import State, find_rule, invalid
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

#: Targets of a rule, at most.
MOST = 5
_INPUTS = ("Input", "InputPath", "InputTransformer")
_NOT_SERVED = (
    "AppSyncParameters",
    "BatchParameters",
    "EcsParameters",
    "HttpParameters",
    "KinesisParameters",
    "RedshiftDataParameters",
    "RunCommandParameters",
)


def put_targets(call: Call, parameters: Parameters) -> Parameters:
    rule = find_rule(Place.of(call), parameters["Rule"], parameters.get("EventBusName"))
    targets = parameters["Targets"]
    for target in targets:
        _check(call, target)
    with call.store(State).lock:
        put = rule.targets | {target["Id"]: dict(target) for target in targets}
        if len(put) > MOST:
            raise AwsError("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
        rule.targets = put
    return {"FailedEntryCount": 0, "FailedEntries": []}


def _check(call: Call, target: Mapping[str, Any]) -> None:
    """Raises :class:`AwsError` for a target that there cannot be, or that is not served."""
    id, arn = target["Id"], target["Arn"]
    if not arn.startswith("arn:") or arn.count(":") < 5:
        raise invalid(f"Parameter {arn} is not valid. Reason: Provided Arn is not in correct format.")
    kind = event_targets.kind_of(arn)
    if kind is None:
        raise part_of(call, f"targets like {arn}")
    for name in _NOT_SERVED:
        if name in target:
            raise part_of(call, name)
    if kind in event_targets.BY_ROLE and not target.get("RoleArn"):
        raise invalid(f"RoleArn is required for target {arn}.")
    if kind == "logs" and target.get("RoleArn"):
        raise part_of(call, "a RoleArn on log groups: a resource policy of CloudWatch Logs lets EventBridge in")
    if sum(name in target for name in _INPUTS) > 1:
        raise invalid(f"Only one of Input, InputPath, or InputTransformer must be provided for target {id}.")
    if "Input" in target:
        try:
            json.loads(target["Input"])
        except ValueError:
            raise invalid(f"JSON syntax error in Input for target {id}.") from None
    paths = [*(target.get("InputTransformer") or {}).get("InputPathsMap", {}).values()]
    for path in [*paths, *([target["InputPath"]] if target.get("InputPath") else [])]:
        if not event_input.is_path(path):
            raise invalid(f"Invalid InputPath for target {id}: {path} is no path of the kinds $.a.b and $.a[0].")
    if kind == "sqs" and arn.endswith(".fifo") and not (target.get("SqsParameters") or {}).get("MessageGroupId"):
        raise invalid(f"Parameter(s) SqsParameters must be specified for target: {id}.")


def remove_targets(call: Call, parameters: Parameters) -> Parameters:
    rule = find_rule(Place.of(call), parameters["Rule"], parameters.get("EventBusName"))
    with call.store(State).lock:
        rule.targets = {id: target for id, target in rule.targets.items() if id not in parameters["Ids"]}
    return {"FailedEntryCount": 0, "FailedEntries": []}


def list_targets_by_rule(call: Call, parameters: Parameters) -> Parameters:
    rule = find_rule(Place.of(call), parameters["Rule"], parameters.get("EventBusName"))
    shown, token = page(sorted(rule.targets), parameters)
    return {"Targets": [rule.targets[id] for id in shown], "NextToken": token}
