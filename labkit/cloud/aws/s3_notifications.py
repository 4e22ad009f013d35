"""A bucket's notification configuration: who is told what happens to its objects.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import moto_base, s3_events, s3_state
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.s3_state import malformed_xml
from labkit.cloud.engine.clock import iso_milliseconds
from labkit.cloud.engine.errors import CloudError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

_WHY_NOT = {
    "lambda": "Not authorized to invoke function [{arn}]",
    "sqs": "Permissions on the destination queue do not allow S3 to publish notifications from this bucket",
    "sns": "Permissions on the destination topic do not allow S3 to publish notifications from this bucket",
}


def put_bucket_notification_configuration(call: Call, parameters: Parameters) -> Parameters:
    """Replaces the configuration; an empty one switches notifications off."""
    bucket, given = parameters["Bucket"], parameters.get("NotificationConfiguration") or {}
    with moto_base.lock("s3"):
        region = s3_state.bucket(bucket).region_name
    kept: Parameters = {"EventBridgeConfiguration": {}} if given.get("EventBridgeConfiguration") is not None else {}
    for member, name in s3_events.DESTINATIONS.values():
        if listed := given.get(member):
            kept[member] = [_checked(each, name) for each in listed]
    everything = list(_destinations(kept))
    if len({each["Id"] for _, _, each in everything}) < len(everything):
        raise _invalid("Same ID used for multiple configurations. IDs must be unique")
    for (_, _, one), (_, _, other) in combinations(everything, 2):
        _check_apart(one, other)
    place = Place(call.cloud, region)
    _check_destinations(place, bucket, everything, parameters.get("SkipDestinationValidation") in (True, "true"))
    with moto_base.lock("s3"):
        s3_state.bucket(bucket).labkit_notifications = kept
    test = {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": iso_milliseconds(call.engine.clock.now()),
        "Bucket": bucket,
        "RequestId": call.request_id,
        "HostId": f"labkit/{call.request_id}=",
    }
    for service, arn, _ in everything:
        if service != "lambda":
            try:
                s3_events.send(place, bucket, service, arn, test)
            except CloudError:
                # Only where the destinations were not to be validated.
                continue
    return {}


def get_bucket_notification_configuration(_: Call, parameters: Parameters) -> Parameters:
    with moto_base.lock("s3"):
        return dict(getattr(s3_state.bucket(parameters["Bucket"]), "labkit_notifications", {}))


def _checked(given: Mapping[str, Any], name: str) -> Parameters:
    """One destination's configuration as it is kept."""
    events = given.get("Events") or []
    if not events or not given.get(name):
        raise malformed_xml()
    for event in events:
        if not str(event).startswith("s3:") or event == "s3:":
            raise _invalid("A specified event is not supported for notifications")
    names = [rule for rule, _ in s3_events.filter_rules(given)]
    if any(each not in ("prefix", "suffix") for each in names):
        raise _invalid("filter rule name must be either prefix or suffix")
    if len(set(names)) < len(names):
        raise _invalid(f"Cannot specify more than one {names[0]} rule in a filter.")
    return {**given, "Id": given.get("Id") or str(uuid.uuid4())}


def _destinations(configuration: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for service, (member, name) in s3_events.DESTINATIONS.items():
        for each in configuration.get(member, []):
            yield service, str(each[name]), each


def _check_apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """An event of an object goes to one destination at most."""
    same = any(_covers(a, b) or _covers(b, a) for a in one["Events"] for b in other["Events"])
    (prefix, suffix), (other_prefix, other_suffix) = s3_events.affixes(one), s3_events.affixes(other)
    begin = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
    end = suffix.endswith(other_suffix) or other_suffix.endswith(suffix)
    if same and begin and end:
        raise _invalid(
            "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are "
            "overlapping for the same event type."
        )


def _covers(wide: str, event: str) -> bool:
    return wide == event or (wide.endswith("*") and event.startswith(wide[:-1]))


def _check_destinations(
    place: Place, bucket: str, everything: list[tuple[str, str, Mapping[str, Any]]], skipped: bool
) -> None:
    for service, arn, _ in everything:
        parts = arn.split(":")
        if len(parts) < 6 or parts[2] != service:
            raise _invalid("The ARN could not be parsed")
        if parts[3] != place.region:
            raise _invalid(
                "The notification destination service region is not valid for the bucket location constraint"
            )
        if arn.endswith(".fifo"):
            message = "Unable to validate the following destination configurations"
            raise _invalid(message, arn, "FIFO destinations are not supported")
        if skipped:
            continue
        try:
            s3_events.send(place, bucket, service, arn, {}, ask=True)
        except CloudError:
            why = _WHY_NOT[service].format(arn=arn)
            raise _invalid("Unable to validate the following destination configurations", arn, why) from None


def _invalid(message: str, arn: str = "", why: str = "") -> AwsError:
    more = {"ArgumentName1": f"{arn}, null", "ArgumentValue1": why} if why else {}
    return AwsError("InvalidArgument", message, 400, **more)


OPERATIONS = {
    "GetBucketNotificationConfiguration": get_bucket_notification_configuration,
    "PutBucketNotificationConfiguration": put_bucket_notification_configuration,
}
