"""AWS CloudTrail: the event history, read from the clouds' audit trail.

https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import cloudtrail_events
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.audit import Event

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

SERVICE = "cloudtrail"

#: Days for which the event history is kept.
KEPT_DAYS = 90
_MOST = 50


def lookup_events(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """The management events of the account in the region, newest first, at once and not after some minutes."""
    if parameters.get("EventCategory"):
        raise part_of(call, "CloudTrail Insights (EventCategory)")
    matches = _filter(parameters.get("LookupAttributes", []))
    most = parameters.get("MaxResults", _MOST)
    start, end = parameters.get("StartTime"), parameters.get("EndTime")
    if start and end and start > end:
        raise AwsError("InvalidTimeRangeException", "The start time must be before the end time.")
    after = _after(parameters.get("NextToken"))
    found: list[dict[str, Any]] = []
    passed = after is None
    for event in _history(call, start, end):
        if not passed:
            passed = event.id == after
            continue
        told = cloudtrail_events.entry(event, call.cloud.identities)
        if not matches(told):
            continue
        if len(found) == most:
            return {"Events": found, "NextToken": b64encode(found[-1]["EventId"].encode()).decode()}
        found.append(told)
    if not passed:
        raise _wrong_token()
    return {"Events": found}


def _history(call: Call, start: datetime | None, end: datetime | None) -> Iterator[Event]:
    oldest = call.engine.clock.now() - timedelta(days=KEPT_DAYS)
    for event in call.engine.audit.events():
        if event.cloud != "aws" or event.region != call.region or not cloudtrail_events.is_management(event):
            continue
        at = event.at.replace(microsecond=0)
        if event.at >= oldest and (start is None or at >= start) and (end is None or at <= end):
            yield event


def _after(token: str | None) -> str | None:
    if token is None:
        return None
    try:
        return b64decode(token, validate=True).decode()
    except ValueError:
        raise _wrong_token() from None


def _wrong_token() -> AwsError:
    return AwsError("InvalidNextTokenException", "The NextToken is not one that LookupEvents gave.")


def _filter(attributes: list[dict[str, str]]) -> Callable[[dict[str, Any]], bool]:
    if not attributes:
        return lambda told: True
    if len(attributes) > 1:
        raise AwsError("InvalidLookupAttributesException", "You can only specify one lookup attribute.")
    key, value = attributes[0]["AttributeKey"], attributes[0]["AttributeValue"]
    if key in ("ResourceName", "ResourceType"):
        return lambda told: any(each.get(key) == value for each in told["Resources"])
    return lambda told: told.get(key) == value


NOTES = {
    "LookupEvents": "management events, as at AWS, and at once; responseElements is null; data events (objects in S3, "
    "predictions, messages) are in no event history: the lab's audit trail has them",
}

OPERATIONS = {"LookupEvents": lookup_events}
