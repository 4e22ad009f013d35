"""What happens to objects, told to whom a bucket's notification configuration names.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html (EventBridge) and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html (functions, queues, topics)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from labkit.cloud.aws import s3_state
from labkit.cloud.aws.place import Place
from labkit.cloud.engine.clock import iso_milliseconds
from labkit.cloud.engine.errors import CloudError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

SERVICE = "s3.amazonaws.com"
#: What happened, as destinations know it -> EventBridge's detail-type, and its ``reason`` where it has one.
KINDS = {
    "ObjectCreated:Put": ("Object Created", "PutObject"),
    "ObjectCreated:Copy": ("Object Created", "CopyObject"),
    "ObjectCreated:CompleteMultipartUpload": ("Object Created", "CompleteMultipartUpload"),
    "ObjectRemoved:Delete": ("Object Deleted", "DeleteObject"),
    "ObjectRemoved:DeleteMarkerCreated": ("Object Deleted", "DeleteObject"),
    "ObjectTagging:Put": ("Object Tags Added", ""),
    "ObjectTagging:Delete": ("Object Tags Deleted", ""),
}
_DELETIONS = {
    "ObjectRemoved:Delete": "Permanently Deleted",
    "ObjectRemoved:DeleteMarkerCreated": "Delete Marker Created",
}
#: The kind of destination -> the members of a configuration that list it and that name it.
DESTINATIONS = {
    "lambda": ("LambdaFunctionConfigurations", "LambdaFunctionArn"),
    "sqs": ("QueueConfigurations", "QueueArn"),
    "sns": ("TopicConfigurations", "TopicArn"),
}


@dataclass(frozen=True, slots=True)
class By:
    """Whose request it was."""

    cloud: AwsCloud
    account: str
    principal_id: str
    request_id: str

    @classmethod
    def of(cls, call: Call) -> By:
        return cls(call.cloud, call.account, call.key.user_id, call.request_id)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one object."""

    kind: str
    key: str
    version: str | None = None
    etag: str = ""
    size: int | None = None


def of_record(kind: str, holder: Any, record: Any) -> Change:
    """A change of an object that is there; called with S3's lock held."""
    version = s3_state.version_of(holder, record)
    return Change(kind, record.name, version, record.etag.strip('"'), record.size)


def tell(by: By, holder: Any, *changes: Change) -> None:
    """Tells everybody whom a bucket's configuration names; called without S3's lock, when the changes are made."""
    configuration: Mapping[str, Any] = getattr(holder, "labkit_notifications", {})
    if not configuration:
        return
    place = Place(by.cloud, holder.region_name)
    now = place.engine.clock.now()
    for change in changes:
        if "EventBridgeConfiguration" in configuration:
            kind, detail = _detail(by, holder.name, change, now)
            resources = [f"arn:aws:s3:::{holder.name}"]
            place.engine.events.publish(place.scope, "aws.s3", kind, detail, resources=resources, at=now)
        for service, each in _wanting(configuration, change):
            record = _record(by, holder, each["Id"], change, now)
            try:
                send(place, holder.name, service, each[DESTINATIONS[service][1]], {"Records": [record]})
            except CloudError:
                # As at S3: what a destination does not take is lost, and the request is none the worse for it.
                continue


def send(place: Place, bucket: str, service: str, arn: str, message: Mapping[str, Any], *, ask: bool = False) -> None:
    """Hands a message to a function, queue or topic, or only asks whether that may be.

    Raises :class:`CloudError` where it is missing or its policy does not let S3 in.
    """
    # Imported with the first notification: not what the server starts with.
    from labkit.cloud.aws import lambda_invoke, lambda_permissions, service_calls, sns_delivery, sns_state, sqs_state
    from labkit.cloud.aws.errors import AwsError
    from labkit.cloud.aws.lambda_state import reference

    text = json.dumps(message, separators=(",", ":"))

    def check(policy: str | None, action: str) -> None:
        if not service_calls.may(policy, SERVICE, action, arn, f"arn:aws:s3:::{bucket}", place.account):
            raise AwsError("AccessDenied", f"{SERVICE} is not authorized to perform {action} on {arn}.", 403)

    if service == "lambda":
        check(lambda_permissions.policy_of(place, arn), "lambda:InvokeFunction")
        if not ask:
            lambda_invoke.queue(place, reference(place, arn), text.encode())
    elif service == "sqs":
        queue = sqs_state.find(place, arn)
        check(queue.settings.get("Policy"), "sqs:SendMessage")
        if not ask:
            queue.send(text, {}, SERVICE)
    else:
        topic = sns_state.find(place, arn)
        check(sns_state.policy_of(place, arn), "sns:Publish")
        if not ask:
            sns_delivery.publish(place, topic, sns_delivery.Notification(text, "Amazon S3 Notification"))


def _wanting(configuration: Mapping[str, Any], change: Change) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The configurations that a change is for, with their kind of destination."""
    family = change.kind.partition(":")[0]
    for service, (member, _) in DESTINATIONS.items():
        for each in configuration.get(member, []):
            wanted = {f"s3:{change.kind}", f"s3:{family}:*"} & set(each["Events"])
            prefix, suffix = affixes(each)
            if wanted and change.key.startswith(prefix) and change.key.endswith(suffix):
                yield service, each


def filter_rules(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rules of a configuration's filter: what of the key each is about, in lower case, and how it has to be."""
    rules = ((configuration.get("Filter") or {}).get("Key") or {}).get("FilterRules") or []
    return [(str(each.get("Name", "")).lower(), str(each.get("Value", ""))) for each in rules]


def affixes(configuration: Mapping[str, Any]) -> tuple[str, str]:
    """The prefix and the suffix of keys that a configuration is about."""
    found = dict(filter_rules(configuration))
    return found.get("prefix", ""), found.get("suffix", "")


def _sequencer(now: datetime) -> str:
    return f"{int(now.timestamp() * 1_000_000):016X}"


def _detail(by: By, bucket: str, change: Change, now: datetime) -> tuple[str, dict[str, Any]]:
    kind, reason = KINDS[change.kind]
    told: dict[str, Any] = {"key": change.key}
    if kind == "Object Created":
        told["size"] = change.size
    if change.etag:
        told["etag"] = change.etag
    if change.version:
        told["version-id"] = change.version
    if reason:
        told["sequencer"] = _sequencer(now)
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": told,
        "request-id": by.request_id,
        "requester": by.account,
        "source-ip-address": "127.0.0.1",
    }
    if reason:
        detail["reason"] = reason
    if deletion := _DELETIONS.get(change.kind):
        detail["deletion-type"] = deletion
    return kind, detail


def _record(by: By, holder: Any, configuration: str, change: Change, now: datetime) -> dict[str, Any]:
    told: dict[str, Any] = {"key": quote_plus(change.key, safe="/")}
    if change.size is not None:
        told["size"] = change.size
    if change.etag:
        told["eTag"] = change.etag
    if change.version:
        told["versionId"] = change.version
    return {
        "eventVersion": "2.3" if change.kind.startswith("ObjectTagging") else "2.1",
        "eventSource": "aws:s3",
        "awsRegion": holder.region_name,
        "eventTime": iso_milliseconds(now),
        "eventName": change.kind,
        "userIdentity": {"principalId": f"AWS:{by.principal_id or by.account}"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": by.request_id, "x-amz-id-2": f"labkit/{by.request_id}="},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {
                "name": holder.name,
                "ownerIdentity": {"principalId": s3_state.OWNER["ID"]},
                "arn": f"arn:aws:s3:::{holder.name}",
            },
            "object": {**told, "sequencer": _sequencer(now)},
        },
    }
