"""Amazon EventBridge Scheduler: groups and schedules.

https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import scheduler_firing, scheduler_targets
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.scheduler_state import DEFAULT, Group, Schedule, State, find, find_group, groups, invalid
from labkit.cloud.engine import expressions
from labkit.cloud.engine.errors import Invalid

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

SERVICE = "scheduler"

Parameters = dict[str, Any]

#: How far in the past a StartDate may be.
RECENT = timedelta(minutes=5)
_KEPT = (
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "State",
    "Target",
)


def create_schedule(call: Call, parameters: Parameters) -> Parameters:
    place, name, group = Place.of(call), parameters["Name"], parameters.get("GroupName", DEFAULT)
    find_group(place, group)
    request = _checked(call, parameters)
    now = call.engine.clock.now()
    state = call.store(State)
    with state.lock:
        if (group, name) in state.schedules:
            raise AwsError("ConflictException", f"Schedule {name} already exists.", 409)
        schedule = Schedule(name, group, place.arn("scheduler", f"schedule/{group}/{name}"), request, now, now)
        state.schedules[group, name] = schedule
        if request["State"] == "ENABLED":
            scheduler_firing.start(place, schedule)
    return {"ScheduleArn": schedule.arn}


def update_schedule(call: Call, parameters: Parameters) -> Parameters:
    place, group = Place.of(call), parameters.get("GroupName", DEFAULT)
    schedule = find(place, parameters["Name"], group)
    request = _checked(call, parameters)
    with call.store(State).lock:
        schedule.stop()
        schedule.request, schedule.modified = request, call.engine.clock.now()
        if request["State"] == "ENABLED":
            scheduler_firing.start(place, schedule)
    return {"ScheduleArn": schedule.arn}


def _checked(call: Call, parameters: Parameters) -> Parameters:
    """What a schedule is made with, defaults filled in; raises :class:`AwsError`."""
    if "KmsKeyArn" in parameters:
        raise part_of(call, "encryption with KMS")
    expression, zone = parameters["ScheduleExpression"], parameters.get("ScheduleExpressionTimezone", "UTC")
    try:
        expressions.aws(expression)
    except Invalid:
        raise invalid(f"Invalid Schedule Expression {expression}.") from None
    try:
        expressions.zone(zone)
    except Invalid:
        raise invalid(f"Invalid timezone {zone}.") from None
    window: Mapping[str, Any] = parameters["FlexibleTimeWindow"]
    if (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window):
        raise invalid("MaximumWindowInMinutes must be provided for a flexible time window, and for no other.")
    dates: Parameters = {
        name: call.engine.clock.instant(parameters[name]) for name in ("StartDate", "EndDate") if name in parameters
    }
    now = call.engine.clock.now()
    if "StartDate" in dates and dates["StartDate"] < now - RECENT:
        raise invalid("The StartDate you specify cannot be earlier than 5 minutes ago.")
    if "EndDate" in dates and dates["EndDate"] < now:
        raise invalid("The EndDate you specify cannot be in the past.")
    if len(dates) == 2 and dates["EndDate"] <= dates["StartDate"]:
        raise invalid("The EndDate you specify must come after the StartDate.")
    scheduler_targets.check(call, parameters["Target"])
    target = dict(parameters["Target"])
    target.setdefault("RetryPolicy", {})
    target["RetryPolicy"] = {
        "MaximumEventAgeInSeconds": scheduler_firing.OLDEST,
        "MaximumRetryAttempts": scheduler_firing.ATTEMPTS,
        **target["RetryPolicy"],
    }
    given = {name: parameters[name] for name in _KEPT if name in parameters}
    standard = {"State": "ENABLED", "ScheduleExpressionTimezone": "UTC", "ActionAfterCompletion": "NONE"}
    return {**standard, **given, **dates, "Target": target}


def get_schedule(call: Call, parameters: Parameters) -> Parameters:
    schedule = find(Place.of(call), parameters["Name"], parameters.get("GroupName", DEFAULT))
    return {
        "Arn": schedule.arn,
        "Name": schedule.name,
        "GroupName": schedule.group,
        "CreationDate": schedule.created,
        "LastModificationDate": schedule.modified,
        **schedule.request,
    }


def delete_schedule(call: Call, parameters: Parameters) -> None:
    schedule = find(Place.of(call), parameters["Name"], parameters.get("GroupName", DEFAULT))
    with call.store(State).lock:
        call.store(State).schedules.pop((schedule.group, schedule.name), None)
    schedule.stop()


def list_schedules(call: Call, parameters: Parameters) -> Parameters:
    if group := parameters.get("GroupName"):
        find_group(Place.of(call), group)
    prefix, state = parameters.get("NamePrefix", ""), parameters.get("State")
    with call.store(State).lock:
        found = [
            each
            for key, each in sorted(call.store(State).schedules.items())
            if group in (None, key[0]) and each.name.startswith(prefix) and state in (None, each.request["State"])
        ]
    after = parameters.get("NextToken")
    found = [each for each in found if after is None or each.arn > after]
    limit = parameters.get("MaxResults", 100)
    return {
        "Schedules": [
            {
                "Arn": each.arn,
                "Name": each.name,
                "GroupName": each.group,
                "State": each.request["State"],
                "CreationDate": each.created,
                "LastModificationDate": each.modified,
                "Target": {"Arn": each.request["Target"]["Arn"]},
            }
            for each in found[:limit]
        ],
        "NextToken": found[limit - 1].arn if len(found) > limit else None,
    }


# -- groups --------------------------------------------------------------------------------------------------------


def create_schedule_group(call: Call, parameters: Parameters) -> Parameters:
    place, name = Place.of(call), parameters["Name"]
    known, now = groups(place), call.engine.clock.now()
    with call.store(State).lock:
        if name in known:
            raise AwsError("ConflictException", f"Schedule group {name} already exists.", 409)
        tags = {each["Key"]: each["Value"] for each in parameters.get("Tags") or []}
        known[name] = Group(name, place.arn("scheduler", f"schedule-group/{name}"), now, now, tags)
    return {"ScheduleGroupArn": known[name].arn}


def get_schedule_group(call: Call, parameters: Parameters) -> Parameters:
    return _shown(find_group(Place.of(call), parameters["Name"]))


def _shown(group: Group) -> Parameters:
    return {
        "Arn": group.arn,
        "Name": group.name,
        "State": "ACTIVE",
        "CreationDate": group.created,
        "LastModificationDate": group.modified,
    }


def delete_schedule_group(call: Call, parameters: Parameters) -> None:
    name = parameters["Name"]
    if name == DEFAULT:
        raise invalid("Deletion of the default schedule group is not allowed.")
    find_group(Place.of(call), name)
    state = call.store(State)
    with state.lock:
        del state.groups[name]
        removed = [state.schedules.pop(key) for key in list(state.schedules) if key[0] == name]
    for each in removed:
        each.stop()


def list_schedule_groups(call: Call, parameters: Parameters) -> Parameters:
    known = groups(Place.of(call))
    names = [name for name in sorted(known) if name.startswith(parameters.get("NamePrefix", ""))]
    names = [name for name in names if name > (parameters.get("NextToken") or "")]
    limit = parameters.get("MaxResults", 100)
    token = names[limit - 1] if len(names) > limit else None
    return {"ScheduleGroups": [_shown(known[name]) for name in names[:limit]], "NextToken": token}


def tag_resource(call: Call, parameters: Parameters) -> None:
    tags = _tagged(call, parameters["ResourceArn"])
    tags.update({each["Key"]: each["Value"] for each in parameters["Tags"]})


def untag_resource(call: Call, parameters: Parameters) -> None:
    for key in parameters["TagKeys"]:
        _tagged(call, parameters["ResourceArn"]).pop(key, None)


def list_tags_for_resource(call: Call, parameters: Parameters) -> Parameters:
    tags = _tagged(call, parameters["ResourceArn"])
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _tagged(call: Call, arn: str) -> dict[str, str]:
    return find_group(Place.of(call), arn.rpartition("/")[2]).tags


OPERATIONS = {
    "CreateSchedule": create_schedule,
    "CreateScheduleGroup": create_schedule_group,
    "DeleteSchedule": delete_schedule,
    "DeleteScheduleGroup": delete_schedule_group,
    "GetSchedule": get_schedule,
    "GetScheduleGroup": get_schedule_group,
    "ListScheduleGroups": list_schedule_groups,
    "ListSchedules": list_schedules,
    "ListTagsForResource": list_tags_for_resource,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "UpdateSchedule": update_schedule,
}
SHAPE_ONLY = frozenset(("ListTagsForResource", "TagResource", "UntagResource"))
NOTES = {
    "CreateSchedule": "functions, queues, topics, buses, SageMaker's pipelines, and universal targets of operations of "
    "CloudWatch, CloudWatch Logs, EventBridge, Lambda, SageMaker, SNS and SQS that are served here; a denied or "
    "missing target is not tried again",
}


def inventory(cloud: AwsCloud) -> dict[str, list[str]]:
    """The schedules there are, in every region."""
    return {"schedules": sorted(name for state in cloud.stores(State) for _, name in state.schedules)}
