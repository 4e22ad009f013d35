"""Subscriptions of SNS: queues and functions are told at once, an e-mail address stays unconfirmed.

https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.event_patterns import InvalidPattern, Pattern
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sns_state import PENDING, State, Subscription, find, invalid, missing

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

PAGE = 100
_SETTINGS = ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "DeliveryPolicy")


def subscribe(call: Call, parameters: Parameters) -> Parameters:
    topic = find(Place.of(call), parameters["TopicArn"])
    protocol, endpoint = parameters["Protocol"], parameters.get("Endpoint", "")
    pending = protocol in ("email", "email-json")
    if protocol in ("http", "https", "sms", "application", "firehose"):
        raise part_of(call, f"the protocol {protocol}: nothing leaves this machine")
    if not pending and protocol not in ("sqs", "lambda"):
        raise invalid(f"Does not support this protocol string: {protocol}")
    if (protocol == "sqs" and not endpoint.startswith("arn:aws:sqs:")) or (
        protocol == "lambda" and not endpoint.startswith("arn:aws:lambda:")
    ):
        raise invalid(f"{'SQS' if protocol == 'sqs' else 'Lambda'} endpoint ARN")
    if pending and "@" not in endpoint:
        raise invalid("Email address")
    with call.store(State).lock:
        for known in topic.subscriptions.values():
            if (known.protocol, known.endpoint) == (protocol, endpoint):
                return {"SubscriptionArn": _shown_arn(known, parameters)}
        subscription = Subscription(f"{topic.arn}:{uuid.uuid4()}", topic.arn, protocol, endpoint, {}, pending)
        for name, value in (parameters.get("Attributes") or {}).items():
            _set(call, subscription, name, value)
        topic.subscriptions[subscription.arn] = subscription
    return {"SubscriptionArn": _shown_arn(subscription, parameters)}


def _shown_arn(subscription: Subscription, parameters: Parameters) -> str:
    if subscription.pending and not parameters.get("ReturnSubscriptionArn"):
        return "pending confirmation"
    return subscription.arn


def _set(call: Call, subscription: Subscription, name: str, value: str) -> None:
    if name not in _SETTINGS:
        raise invalid("AttributeName")
    if name == "DeliveryPolicy" and value:
        raise part_of(call, "delivery policies")
    if name == "FilterPolicyScope" and value not in ("MessageAttributes", "MessageBody"):
        raise invalid("FilterPolicyScope: Invalid value. Please use either MessageBody or MessageAttributes")
    if name == "RawMessageDelivery" and value.lower() not in ("true", "false"):
        raise invalid("Attributes Reason: RawMessageDelivery: Invalid value")
    if name == "RedrivePolicy" and value:
        try:
            json.loads(value)["deadLetterTargetArn"]
        except (ValueError, TypeError, KeyError):
            raise invalid("RedrivePolicy: failed to parse JSON, or no deadLetterTargetArn") from None
    if name == "FilterPolicy":
        try:
            subscription.pattern = Pattern(value) if value not in ("", "{}") else None
        except InvalidPattern as problem:
            raise invalid(f"FilterPolicy: {problem}") from None
    subscription.settings[name] = value.lower() if name == "RawMessageDelivery" else value


def unsubscribe(call: Call, parameters: Parameters) -> None:
    arn = parameters["SubscriptionArn"]
    with call.store(State).lock:
        for topic in call.store(State).topics.values():
            if topic.subscriptions.pop(arn, None):
                topic.deleted_subscriptions += 1


def get_subscription_attributes(call: Call, parameters: Parameters) -> Parameters:
    subscription = _subscription(call, parameters["SubscriptionArn"])
    attributes = {
        "SubscriptionArn": subscription.arn,
        "TopicArn": subscription.topic,
        "Protocol": subscription.protocol,
        "Endpoint": subscription.endpoint,
        "Owner": call.account,
        "ConfirmationWasAuthenticated": str(not subscription.pending).lower(),
        "PendingConfirmation": str(subscription.pending).lower(),
        "RawMessageDelivery": "false",
        "SubscriptionPrincipal": call.caller.principal,
        **subscription.settings,
    }
    return {"Attributes": {name: value for name, value in attributes.items() if value}}


def set_subscription_attributes(call: Call, parameters: Parameters) -> None:
    subscription = _subscription(call, parameters["SubscriptionArn"])
    _set(call, subscription, parameters["AttributeName"], parameters.get("AttributeValue", ""))


def _subscription(call: Call, arn: str) -> Subscription:
    found = call.store(State).subscriptions().get(arn)
    if found is None:
        raise missing("Subscription")
    return found


def list_subscriptions(call: Call, parameters: Parameters) -> Parameters:
    return _page(call, list(call.store(State).subscriptions().values()), parameters)


def list_subscriptions_by_topic(call: Call, parameters: Parameters) -> Parameters:
    topic = find(Place.of(call), parameters["TopicArn"])
    return _page(call, list(topic.subscriptions.values()), parameters)


def _page(call: Call, subscriptions: list[Subscription], parameters: Parameters) -> Parameters:
    start = int(parameters.get("NextToken") or 0) if (parameters.get("NextToken") or "0").isdigit() else 0
    shown = [
        {
            "SubscriptionArn": PENDING if each.pending else each.arn,
            "Owner": call.account,
            "Protocol": each.protocol,
            "Endpoint": each.endpoint,
            "TopicArn": each.topic,
        }
        for each in subscriptions[start : start + PAGE]
    ]
    return {"Subscriptions": shown, "NextToken": str(start + PAGE) if len(subscriptions) > start + PAGE else None}
