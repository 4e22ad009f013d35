"""Amazon SNS: topics, and what is published to them.

https://docs.aws.amazon.com/sns/latest/api/API_Operations.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import sns_delivery
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.aws.sns_delivery import Notification
from labkit.cloud.aws.sns_state import OWNERS_STATEMENT, State, Topic, find, invalid, policy_of
from labkit.cloud.aws.sns_subscriptions import (
    get_subscription_attributes,
    list_subscriptions,
    list_subscriptions_by_topic,
    set_subscription_attributes,
    subscribe,
    unsubscribe,
)

if TYPE_CHECKING:
    from labkit.cloud.aws.front import AwsCloud, Call

SERVICE = "sns"

Parameters = dict[str, Any]

#: Bytes of the largest message, and of a batch's messages together.
LARGEST = 262_144
PAGE = 100
_SETTINGS = ("DisplayName", "Policy", "DeliveryPolicy", "SignatureVersion", "TracingConfig")


def create_topic(call: Call, parameters: Parameters) -> Parameters:
    name, attributes = parameters["Name"], dict(parameters.get("Attributes") or {})
    if name.endswith(".fifo") or attributes.get("FifoTopic", "false") == "true":
        raise part_of(call, "FIFO topics")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", name):
        raise invalid("Topic Name")
    attributes.pop("FifoTopic", None)
    arn = Place.of(call).arn("sns", name)
    tags = {each["Key"]: each["Value"] for each in parameters.get("Tags") or []}
    with call.store(State).lock:
        known = call.store(State).topics.get(arn)
        if known is not None:
            if any(known.settings.get(key) != value for key, value in attributes.items()):
                raise invalid("Attributes Reason: Topic already exists with different attributes")
            if tags and tags != known.tags:
                raise invalid("Tags Reason: Topic already exists with different tags")
            return {"TopicArn": arn}
        topic = Topic(name, arn, {"DisplayName": "", "Policy": _owners_policy(call, arn)}, tags)
        for key, value in attributes.items():
            _set(call, topic, key, value)
        call.store(State).topics[arn] = topic
    return {"TopicArn": arn}


def _owners_policy(call: Call, arn: str) -> str:
    """The policy that a topic has until it is given another: its account may do everything."""
    actions = ("Publish", "RemovePermission", "SetTopicAttributes", "DeleteTopic", "ListSubscriptionsByTopic")
    statement = {
        "Sid": OWNERS_STATEMENT,
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{each}" for each in (*actions, "GetTopicAttributes", "AddPermission", "Subscribe")],
        "Resource": arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": call.account}},
    }
    return json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})


def _set(call: Call, topic: Topic, name: str, value: str) -> None:
    if name == "KmsMasterKeyId" and value:
        raise part_of(call, "encryption with KMS")
    if name in ("DeliveryPolicy", "TracingConfig") and value not in ("", "PassThrough"):
        raise part_of(call, name)
    if name not in _SETTINGS:
        raise invalid("AttributeName")
    if name == "Policy":
        try:
            json.loads(value)["Statement"]
        except (ValueError, TypeError, KeyError):
            raise invalid("Policy Error: null") from None
    topic.settings[name] = value


def delete_topic(call: Call, parameters: Parameters) -> None:
    with call.store(State).lock:
        call.store(State).topics.pop(parameters["TopicArn"], None)


def list_topics(call: Call, parameters: Parameters) -> Parameters:
    arns = [arn for arn in sorted(call.store(State).topics) if arn > (parameters.get("NextToken") or "")]
    more = len(arns) > PAGE
    return {"Topics": [{"TopicArn": arn} for arn in arns[:PAGE]], "NextToken": arns[PAGE - 1] if more else None}


def get_topic_attributes(call: Call, parameters: Parameters) -> Parameters:
    topic = find(Place.of(call), parameters["TopicArn"])
    pending = sum(each.pending for each in topic.subscriptions.values())
    return {
        "Attributes": {
            "TopicArn": topic.arn,
            "Owner": call.account,
            **topic.settings,
            "SubscriptionsPending": str(pending),
            "SubscriptionsConfirmed": str(len(topic.subscriptions) - pending),
            "SubscriptionsDeleted": str(topic.deleted_subscriptions),
        }
    }


def set_topic_attributes(call: Call, parameters: Parameters) -> None:
    topic = find(Place.of(call), parameters["TopicArn"])
    _set(call, topic, parameters["AttributeName"], parameters.get("AttributeValue", ""))


def publish(call: Call, parameters: Parameters) -> Parameters:
    if "PhoneNumber" in parameters:
        raise part_of(call, "text messages (PhoneNumber)")
    arn = parameters.get("TopicArn") or parameters.get("TargetArn")
    if not arn:
        raise invalid("TopicArn or TargetArn Reason: no value for required parameter")
    if ":endpoint/" in arn:
        raise part_of(call, "endpoints of mobile platforms")
    topic = find(Place.of(call), arn)
    message = _notification(parameters)
    return {"MessageId": sns_delivery.publish(Place.of(call), topic, message)}


def _notification(entry: Parameters) -> Notification:
    text, subject, attributes = entry["Message"], entry.get("Subject", ""), entry.get("MessageAttributes") or {}
    if not text:
        raise invalid("Empty message")
    if len(text.encode()) > LARGEST:
        raise invalid("Message too long")
    if len(subject) > 100 or "\n" in subject:
        raise invalid("Subject")
    for name, value in attributes.items():
        kind = value.get("DataType", "")
        if kind.partition(".")[0] not in ("String", "Number", "Binary"):
            message = (
                f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            )
            raise AwsError("ParameterValueInvalid", f"{message}prefixes is Binary, Number, and String.", 400)
        if kind.startswith("Number"):
            try:
                float(value["StringValue"])
            except (KeyError, ValueError):
                message = f"Could not cast message attribute '{name}' value to number."
                raise AwsError("ParameterValueInvalid", message, 400) from None
    if entry.get("MessageStructure") != "json":
        return Notification(text, subject, attributes)
    try:
        by_protocol = json.loads(text)
        return Notification(by_protocol["default"], subject, attributes, by_protocol)
    except (ValueError, TypeError):
        raise invalid("Message Structure - JSON message body failed to parse") from None
    except KeyError:
        raise invalid("Message Structure - No default entry in JSON message body") from None


def publish_batch(call: Call, parameters: Parameters) -> Parameters:
    topic = find(Place.of(call), parameters["TopicArn"])
    entries = parameters["PublishBatchRequestEntries"]
    ids = [entry["Id"] for entry in entries]
    if len(ids) > 10:
        raise AwsError("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.", 400)
    if not ids:
        raise AwsError("EmptyBatchRequest", "The batch request doesn't contain any entries.", 400)
    if len(set(ids)) < len(ids):
        message = "Two or more batch entries in the request have the same Id."
        raise AwsError("BatchEntryIdsNotDistinct", message, 400)
    successful, failed = [], []
    for entry in entries:
        try:
            message_id = sns_delivery.publish(Place.of(call), topic, _notification(entry))
            successful.append({"Id": entry["Id"], "MessageId": message_id})
        except AwsError as error:
            failed.append({"Id": entry["Id"], "Code": error.code, "Message": error.message, "SenderFault": True})
    return {"Successful": successful, "Failed": failed}


def add_permission(call: Call, parameters: Parameters) -> None:
    topic = find(Place.of(call), parameters["TopicArn"])
    document = json.loads(topic.settings["Policy"])
    if any(each.get("Sid") == parameters["Label"] for each in document["Statement"]):
        raise invalid("Statement already exists")
    document["Statement"].append(
        {
            "Sid": parameters["Label"],
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam::{each}:root" for each in parameters["AWSAccountId"]]},
            "Action": [f"SNS:{each}" for each in parameters["ActionName"]],
            "Resource": topic.arn,
        }
    )
    topic.settings["Policy"] = json.dumps(document)


def remove_permission(call: Call, parameters: Parameters) -> None:
    topic = find(Place.of(call), parameters["TopicArn"])
    document = json.loads(topic.settings["Policy"])
    document["Statement"] = [each for each in document["Statement"] if each.get("Sid") != parameters["Label"]]
    topic.settings["Policy"] = json.dumps(document)


def tag_resource(call: Call, parameters: Parameters) -> None:
    tags = find(Place.of(call), parameters["ResourceArn"]).tags
    tags.update({each["Key"]: each["Value"] for each in parameters["Tags"]})


def untag_resource(call: Call, parameters: Parameters) -> None:
    for key in parameters["TagKeys"]:
        find(Place.of(call), parameters["ResourceArn"]).tags.pop(key, None)


def list_tags_for_resource(call: Call, parameters: Parameters) -> Parameters:
    tags = find(Place.of(call), parameters["ResourceArn"]).tags
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


OPERATIONS = {
    "AddPermission": add_permission,
    "CreateTopic": create_topic,
    "DeleteTopic": delete_topic,
    "GetSubscriptionAttributes": get_subscription_attributes,
    "GetTopicAttributes": get_topic_attributes,
    "ListSubscriptions": list_subscriptions,
    "ListSubscriptionsByTopic": list_subscriptions_by_topic,
    "ListTagsForResource": list_tags_for_resource,
    "ListTopics": list_topics,
    "Publish": publish,
    "PublishBatch": publish_batch,
    "RemovePermission": remove_permission,
    "SetSubscriptionAttributes": set_subscription_attributes,
    "SetTopicAttributes": set_topic_attributes,
    "Subscribe": subscribe,
    "TagResource": tag_resource,
    "Unsubscribe": unsubscribe,
    "UntagResource": untag_resource,
}
SHAPE_ONLY = frozenset(("ListTagsForResource", "TagResource", "UntagResource"))
NOTES = {
    "CreateTopic": "standard topics; no encryption with KMS, no delivery policies",
    "Publish": "messages are not signed: Signature is empty",
    "Subscribe": "queues and functions, as their policies allow; an e-mail address stays unconfirmed, since nothing "
    "leaves this machine; other protocols refuse",
}


def resource_policy(cloud: AwsCloud, arn: str) -> str | None:
    """The policy of the topic that an ARN names, or None: it has none, or there is no such topic."""
    try:
        return policy_of(Place(cloud, arn.split(":")[3]), arn)
    except (AwsError, IndexError):
        return None


def inventory(cloud: AwsCloud) -> dict[str, list[str]]:
    """The topics there are, in every region."""
    return {"topics": sorted(topic.name for state in cloud.stores(State) for topic in state.topics.values())}
