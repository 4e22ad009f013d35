"""The topics of one account and region, with their subscriptions."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.event_patterns import Pattern

if TYPE_CHECKING:
    from labkit.cloud.aws.place import Place

PENDING = "PendingConfirmation"
#: The id of the statement that a topic's policy begins with.
OWNERS_STATEMENT = "__default_statement_ID"


@dataclass
class Subscription:
    """Who is told what is published: ``settings`` are its attributes as SetSubscriptionAttributes takes them."""

    arn: str
    topic: str
    protocol: str
    endpoint: str
    settings: dict[str, str]
    pending: bool = False
    pattern: Pattern | None = None


@dataclass
class Topic:
    """A topic; ``settings`` are its attributes as SetTopicAttributes takes them."""

    name: str
    arn: str
    settings: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    deleted_subscriptions: int = 0


class State:
    """Topics by ARN; ``lock`` is held while they and their subscriptions change."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.topics: dict[str, Topic] = {}

    def subscriptions(self) -> Mapping[str, Subscription]:
        return {arn: each for topic in self.topics.values() for arn, each in topic.subscriptions.items()}


def missing(what: str = "Topic") -> AwsError:
    return AwsError("NotFound", f"{what} does not exist", 404)


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameter", f"Invalid parameter: {message}", 400)


def find(place: Place, arn: str) -> Topic:
    """The topic that an ARN names; raises :class:`AwsError`."""
    topic = place.store(State).topics.get(arn)
    if topic is None:
        raise missing()
    return topic


def policy_of(place: Place, arn: str) -> str | None:
    """What the policy of a topic lets others do, as JSON; raises :class:`AwsError`.

    The statement that every topic begins with gives its own account nothing that IAM does not.
    """
    document = json.loads(find(place, arn).settings["Policy"])
    document["Statement"] = [each for each in document["Statement"] if each.get("Sid") != OWNERS_STATEMENT]
    return json.dumps(document) if document["Statement"] else None
