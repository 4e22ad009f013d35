"""Policies of CloudWatch Logs: which of AWS's services may write to an account's log groups.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutResourcePolicy.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.place import Place

Parameters = dict[str, Any]

#: Policies that a region of an account may have.
MOST = 10


class State:
    """A region's policies by name, as DescribeResourcePolicies shows them."""

    def __init__(self) -> None:
        self.policies: dict[str, dict[str, Any]] = {}


def put_resource_policy(call: Call, parameters: Parameters) -> Parameters:
    if "resourceArn" in parameters or "expectedRevisionId" in parameters:
        raise part_of(call, "policies of one log group (resourceArn)")
    name, document = parameters.get("policyName"), parameters.get("policyDocument")
    if not name or not document:
        raise AwsError("InvalidParameterException", "policyName and policyDocument have to be given.")
    try:
        json.loads(document)["Statement"]
    except (ValueError, TypeError, KeyError):
        raise AwsError("InvalidParameterException", "The specified policy document is not valid.") from None
    policies = call.store(State).policies
    if name not in policies and len(policies) >= MOST:
        raise AwsError("LimitExceededException", "Resource limit exceeded.")
    now = int(call.engine.clock.time() * 1000)
    policies[name] = {"policyName": name, "policyDocument": document, "lastUpdatedTime": now, "policyScope": "ACCOUNT"}
    return {"resourcePolicy": policies[name]}


def describe_resource_policies(call: Call, parameters: Parameters) -> Parameters:
    if "resourceArn" in parameters or parameters.get("policyScope", "ACCOUNT") != "ACCOUNT":
        raise part_of(call, "policies of one log group (resourceArn)")
    policies = call.store(State).policies
    return {"resourcePolicies": [policies[name] for name in sorted(policies)]}


def delete_resource_policy(call: Call, parameters: Parameters) -> None:
    name = parameters.get("policyName", "")
    if call.store(State).policies.pop(name, None) is None:
        message = f"Policy with name [{name}] does not exist."
        raise AwsError("ResourceNotFoundException", message)


def documents(place: Place) -> list[str]:
    """The policies that are in force in a region, as JSON."""
    return [str(each["policyDocument"]) for each in place.store(State).policies.values()]
