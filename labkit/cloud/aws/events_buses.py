"""Event buses: made, described, permitted, deleted; and the events that programs put on them.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.events_delivery import dispatch, envelope
from labkit.cloud.aws.events_rules import page, tagged
from labkit.cloud.aws.events_state import DEFAULT, Bus, State, buses, find_bus, invalid
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

#: Bytes of all the events of one call.
LARGEST = 1_048_576


def create_event_bus(call: Call, parameters: Parameters) -> Parameters:
    place, name = Place.of(call), parameters["Name"]
    for member in ("EventSourceName", "KmsKeyIdentifier", "DeadLetterConfig", "LogConfig"):
        if parameters.get(member):
            raise part_of(call, member)
    if "/" in name:
        raise invalid("Event bus name must not contain '/'.")
    known = buses(place)
    if name in known:
        raise AwsError("ResourceAlreadyExistsException", f"Event bus {name} already exists.")
    bus = Bus(name, place.arn("events", f"event-bus/{name}"), call.engine.clock.now())
    bus.description = parameters.get("Description", "")
    bus.tags = {each["Key"]: each["Value"] for each in parameters.get("Tags") or []}
    with call.store(State).lock:
        known[name] = bus
    return {"EventBusArn": bus.arn, "Description": bus.description or None}


def delete_event_bus(call: Call, parameters: Parameters) -> None:
    if parameters["Name"] == DEFAULT:
        raise invalid("Cannot delete event bus default.")
    with call.store(State).lock:
        bus = buses(Place.of(call)).get(parameters["Name"])
        if bus is None:
            return
        if bus.rules:
            raise invalid(f"Event bus {bus.name} can't be deleted since it has rules.")
        del buses(Place.of(call))[bus.name]


def describe_event_bus(call: Call, parameters: Parameters) -> Parameters:
    return _shown(find_bus(Place.of(call), parameters.get("Name")))


def list_event_buses(call: Call, parameters: Parameters) -> Parameters:
    known = buses(Place.of(call))
    names = [name for name in sorted(known) if name.startswith(parameters.get("NamePrefix", ""))]
    shown, token = page(names, parameters)
    return {"EventBuses": [_shown(known[name]) for name in shown], "NextToken": token}


def _shown(bus: Bus) -> Parameters:
    return {
        "Name": bus.name,
        "Arn": bus.arn,
        "Description": bus.description or None,
        "CreationTime": bus.created,
        "LastModifiedTime": bus.created,
        "Policy": policy(bus),
    }


def policy(bus: Bus) -> str | None:
    """The bus's policy as JSON, or None where it has none."""
    return json.dumps({"Version": "2012-10-17", "Statement": bus.policy}) if bus.policy else None


def put_permission(call: Call, parameters: Parameters) -> None:
    bus = find_bus(Place.of(call), parameters.get("EventBusName"))
    if text := parameters.get("Policy"):
        try:
            statements = json.loads(text)["Statement"]
        except (ValueError, TypeError, KeyError):
            raise invalid("Invalid policy: it is no JSON document with a Statement.") from None
        bus.policy = statements if isinstance(statements, list) else [statements]
        return
    if "Condition" in parameters:
        raise part_of(call, "Condition (give a whole Policy)")
    principal, sid = parameters.get("Principal"), parameters.get("StatementId")
    if not principal or not sid:
        raise invalid("Parameter(s) Principal and StatementId must be specified, or Policy.")
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": "*" if principal == "*" else {"AWS": f"arn:aws:iam::{principal}:root"},
        "Action": parameters.get("Action", "events:PutEvents"),
        "Resource": bus.arn,
    }
    bus.policy = [each for each in bus.policy if each.get("Sid") != sid] + [statement]


def remove_permission(call: Call, parameters: Parameters) -> None:
    bus = find_bus(Place.of(call), parameters.get("EventBusName"))
    sid = parameters.get("StatementId")
    if parameters.get("RemoveAllPermissions"):
        bus.policy = []
        return
    if all(each.get("Sid") != sid for each in bus.policy):
        raise AwsError("ResourceNotFoundException", f"Statement with the provided id does not exist: {sid}.")
    bus.policy = [each for each in bus.policy if each.get("Sid") != sid]


def tag_resource(call: Call, parameters: Parameters) -> None:
    tagged(call, parameters["ResourceARN"]).tags.update({each["Key"]: each["Value"] for each in parameters["Tags"]})


def untag_resource(call: Call, parameters: Parameters) -> None:
    for key in parameters["TagKeys"]:
        tagged(call, parameters["ResourceARN"]).tags.pop(key, None)


def list_tags_for_resource(call: Call, parameters: Parameters) -> Parameters:
    tags = tagged(call, parameters["ResourceARN"]).tags
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


# -- events that programs put --------------------------------------------------------------------------------------


def put_events(call: Call, parameters: Parameters) -> Parameters:
    if "EndpointId" in parameters:
        raise part_of(call, "global endpoints (EndpointId)")
    size = sum(len(str(value).encode()) for entry in parameters["Entries"] for value in entry.values())
    if size > LARGEST:
        raise invalid("Total size of the entries in the request is over the limit.")
    results = [_put(call, entry) for entry in parameters["Entries"]]
    return {"FailedEntryCount": sum("ErrorCode" in each for each in results), "Entries": results}


def _put(call: Call, entry: Parameters) -> Parameters:
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            message = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
    if entry["Source"].startswith("aws."):
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
    try:
        detail = json.loads(entry["Detail"])
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    place = Place.of(call)
    try:
        bus = find_bus(place, entry.get("EventBusName"))
    except AwsError as error:
        return {"ErrorCode": error.code, "ErrorMessage": error.message}
    at = call.engine.clock.instant(entry["Time"]) if "Time" in entry else None
    event = envelope(place, entry["Source"], entry["DetailType"], detail, entry.get("Resources"), at)
    dispatch(place, bus, event)
    return {"EventId": event["id"]}
