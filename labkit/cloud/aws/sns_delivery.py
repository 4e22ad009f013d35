"""What becomes of a published message: each subscription's filter, its queue or function, its dead letters.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labkit.cloud.aws import lambda_invoke, lambda_permissions, service_calls, sqs_state
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.lambda_state import reference
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.sns_state import Subscription, Topic
from labkit.cloud.engine.clock import iso_milliseconds
from labkit.cloud.engine.errors import CloudError

SERVICE = "sns.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Notification:
    """A published message; ``by_protocol`` holds what protocols get that are told something of their own."""

    text: str
    subject: str = ""
    attributes: Mapping[str, Mapping[str, Any]] | None = None
    by_protocol: Mapping[str, str] | None = None

    def for_protocol(self, protocol: str) -> str:
        return (self.by_protocol or {}).get(protocol, self.text)


def publish(place: Place, topic: Topic, message: Notification) -> str:
    """Delivers a message to a topic's subscriptions, and returns its id."""
    id, now = str(uuid.uuid4()), place.engine.clock.now()
    _count(place, topic, "NumberOfMessagesPublished")
    for subscription in list(topic.subscriptions.values()):
        if subscription.pending:
            continue
        if not _wanted(subscription, message):
            _count(place, topic, "NumberOfNotificationsFilteredOut")
            continue
        document = _document(place, topic, subscription, message, id, now)
        try:
            if subscription.protocol == "lambda":
                _invoke(place, topic, subscription, document)
            else:
                _send(place, topic, subscription, message, document)
        except CloudError:
            _count(place, topic, "NumberOfNotificationsFailed")
            _bury(place, topic, subscription, document)
        else:
            _count(place, topic, "NumberOfNotificationsDelivered")
    return id


def _count(place: Place, topic: Topic, metric: str) -> None:
    place.engine.metrics.put(place.scope, "AWS/SNS", metric, {"TopicName": topic.name}, 1, unit="Count")


def _wanted(subscription: Subscription, message: Notification) -> bool:
    if subscription.pattern is None:
        return True
    if subscription.settings.get("FilterPolicyScope") == "MessageBody":
        try:
            body = json.loads(message.text)
        except ValueError:
            return False
        return isinstance(body, dict) and subscription.pattern.matches(body)
    return subscription.pattern.matches({name: _plain(each) for name, each in (message.attributes or {}).items()})


def _plain(attribute: Mapping[str, Any]) -> Any:
    """A message attribute's value as filter policies compare it."""
    kind, text = attribute["DataType"], attribute.get("StringValue", "")
    if kind.startswith("Number"):
        return float(text)
    if kind == "String.Array":
        return json.loads(text)
    return text


def _document(
    place: Place, topic: Topic, subscription: Subscription, message: Notification, id: str, now: datetime
) -> dict[str, Any]:
    host = f"https://sns.{place.region}.amazonaws.com"
    document: dict[str, Any] = {"Type": "Notification", "MessageId": id, "TopicArn": topic.arn}
    if message.subject:
        document["Subject"] = message.subject
    document |= {
        "Message": message.for_protocol(subscription.protocol),
        "Timestamp": iso_milliseconds(now),
        "SignatureVersion": "1",
        "Signature": "",
        "SigningCertURL": f"{host}/SimpleNotificationService.pem",
        "UnsubscribeURL": f"{host}/?Action=Unsubscribe&SubscriptionArn={subscription.arn}",
    }
    if message.attributes:
        document["MessageAttributes"] = {
            name: {
                "Type": each["DataType"],
                "Value": each.get("StringValue") or b64encode(each["BinaryValue"]).decode(),
            }
            for name, each in message.attributes.items()
        }
    return document


def _send(
    place: Place, topic: Topic, subscription: Subscription, message: Notification, document: Mapping[str, Any]
) -> None:
    queue = sqs_state.find(place, subscription.endpoint)
    _check(place, queue.settings.get("Policy"), "sqs:SendMessage", queue.arn, topic)
    if subscription.settings.get("RawMessageDelivery") == "true":
        queue.send(str(document["Message"]), dict(message.attributes or {}), topic.arn)
    else:
        queue.send(json.dumps(document, indent=2, ensure_ascii=False), {}, topic.arn)


def _invoke(place: Place, topic: Topic, subscription: Subscription, document: Mapping[str, Any]) -> None:
    function = subscription.endpoint
    policy = lambda_permissions.policy_of(place, function)
    _check(place, policy, "lambda:InvokeFunction", function, topic)
    inside = dict(document)
    inside["Subject"] = inside.get("Subject")
    inside["MessageAttributes"] = inside.get("MessageAttributes", {})
    inside["SigningCertUrl"], inside["UnsubscribeUrl"] = inside.pop("SigningCertURL"), inside.pop("UnsubscribeURL")
    record = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.arn,
        "Sns": inside,
    }
    lambda_invoke.queue(place, reference(place, function), json.dumps({"Records": [record]}).encode())


def _check(place: Place, policy: str | None, action: str, resource: str, topic: Topic) -> None:
    if not service_calls.may(policy, SERVICE, action, resource, topic.arn, place.account):
        raise AwsError("AccessDenied", f"{SERVICE} may not {action} on {resource} for {topic.arn}.", 403)


def _bury(place: Place, topic: Topic, subscription: Subscription, document: Mapping[str, Any]) -> None:
    """Puts what could not be delivered into the queue of the subscription's RedrivePolicy."""
    redrive = subscription.settings.get("RedrivePolicy")
    if not redrive:
        return
    try:
        queue = sqs_state.find(place, json.loads(redrive)["deadLetterTargetArn"])
        _check(place, queue.settings.get("Policy"), "sqs:SendMessage", queue.arn, topic)
    except CloudError:
        _count(place, topic, "NumberOfNotificationsFailedToRedriveToDlq")
        return
    queue.send(json.dumps(document, ensure_ascii=False), {}, topic.arn)
    _count(place, topic, "NumberOfNotificationsRedrivenToDlq")
