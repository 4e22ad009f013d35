"""Amazon EventBridge: the table from operation to function.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.cloud.aws import events_buses, events_rules, events_targets
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.events_state import State, find_bus
from labkit.cloud.aws.place import Place

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud

SERVICE = "events"

OPERATIONS = {
    "CreateEventBus": events_buses.create_event_bus,
    "DeleteEventBus": events_buses.delete_event_bus,
    "DeleteRule": events_rules.delete_rule,
    "DescribeEventBus": events_buses.describe_event_bus,
    "DescribeRule": events_rules.describe_rule,
    "DisableRule": events_rules.disable_rule,
    "EnableRule": events_rules.enable_rule,
    "ListEventBuses": events_buses.list_event_buses,
    "ListRuleNamesByTarget": events_rules.list_rule_names_by_target,
    "ListRules": events_rules.list_rules,
    "ListTagsForResource": events_buses.list_tags_for_resource,
    "ListTargetsByRule": events_targets.list_targets_by_rule,
    "PutEvents": events_buses.put_events,
    "PutPermission": events_buses.put_permission,
    "PutRule": events_rules.put_rule,
    "PutTargets": events_targets.put_targets,
    "RemovePermission": events_buses.remove_permission,
    "RemoveTargets": events_targets.remove_targets,
    "TagResource": events_buses.tag_resource,
    "TestEventPattern": events_rules.test_event_pattern,
    "UntagResource": events_buses.untag_resource,
}
SHAPE_ONLY = frozenset(("ListTagsForResource", "TagResource", "UntagResource"))
NOTES = {
    "CreateEventBus": "no partner sources, no encryption with KMS, no dead-letter queue of its own",
    "PutRule": "the whole pattern language; of AWS's own services, SageMaker and S3 (where a bucket "
    "says so) send events; those of API calls (AWS API Call via CloudTrail) need a trail, and trails are refused",
    "PutTargets": "functions, queues, topics, log groups, buses and SageMaker's pipelines; as the target's role "
    "where it has one, else by leave of the target's own policy",
}


def resource_policy(cloud: AwsCloud, arn: str) -> str | None:
    """The policy of the bus that an ARN names, or None: it has none, or there is no such bus."""
    if ":event-bus/" not in arn:
        return None
    try:
        return events_buses.policy(find_bus(Place(cloud, arn.split(":")[3]), arn))
    except AwsError:
        return None


def inventory(cloud: AwsCloud) -> dict[str, list[str]]:
    """The rules there are, and the buses that were made, in every region."""
    states = cloud.stores(State)
    found = [bus for state in states for bus in state.buses.values()]
    return {
        "rules": sorted(name for bus in found for name in bus.rules),
        "event buses": sorted(bus.name for bus in found if bus.name != "default"),
    }
