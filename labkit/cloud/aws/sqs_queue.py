"""A queue: messages that come, are received, hidden for a while, deleted or moved to a dead-letter queue.

Delays, visibility time-outs and retention follow the lab's time; a receiver waits for messages in real time.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-how-it-works.html
"""

from __future__ import annotations

import hashlib
import struct
import threading
import time
import uuid
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

#: Seconds between two looks at a queue that is waited on: the lab's clock may have been advanced meanwhile.
LOOK_EVERY = 0.05
#: How long a FIFO queue remembers a message's deduplication id.
DEDUPLICATED = timedelta(minutes=5)
MOST_IN_FLIGHT = 120_000


@dataclass(eq=False)
class Message:
    """A message in a queue; ``visible`` is when it may be received, ``receipt`` the latest handle given out."""

    id: str
    body: str
    attributes: Mapping[str, Mapping[str, Any]]
    sender: str
    sent: datetime
    visible: datetime
    system: dict[str, str] = field(default_factory=dict)
    group: str = ""
    received: int = 0
    first: datetime | None = None
    receipt: str = ""
    deleted: bool = False

    @property
    def body_md5(self) -> str:
        return hashlib.md5(self.body.encode(), usedforsecurity=False).hexdigest()


@dataclass
class Queue:
    """A queue; ``settings`` are its attributes as SetQueueAttributes takes them. Safe to use from any thread.

    ``now`` gives the lab's time; ``bury`` puts a message that was received too often into another queue, and says
    whether that one is there.
    """

    name: str
    arn: str
    url: str
    settings: dict[str, str]
    created: datetime
    changed: datetime
    now: Callable[[], datetime]
    tags: dict[str, str] = field(default_factory=dict)
    bury: Callable[[str, Message], bool] = lambda *_: False
    dead_letters: tuple[str, int] | None = None
    deleted: bool = False
    _messages: list[Message] = field(default_factory=list)
    _arrival: threading.Condition = field(default_factory=threading.Condition)
    _sent: dict[str, tuple[datetime, Message]] = field(default_factory=dict)
    _numbers: int = 0

    @property
    def fifo(self) -> bool:
        return self.name.endswith(".fifo")

    def seconds(self, setting: str) -> int:
        return int(self.settings[setting])

    def send(
        self,
        body: str,
        attributes: Mapping[str, Mapping[str, Any]],
        sender: str,
        *,
        delay: int | None = None,
        system: Mapping[str, str] | None = None,
        group: str = "",
        deduplication: str = "",
    ) -> Message:
        """Puts a message in; in a FIFO queue, one with a known deduplication id is not put in again."""
        now = self.now()
        with self._arrival:
            self._forget(now)
            if deduplication and (known := self._sent.get(deduplication)):
                return known[1]
            visible = now + timedelta(seconds=self.seconds("DelaySeconds") if delay is None else delay)
            message = Message(str(uuid.uuid4()), body, attributes, sender, now, visible, dict(system or {}), group)
            if self.fifo:
                self._numbers += 1
                message.system["SequenceNumber"] = f"{18_800_000_000_000_000_000 + self._numbers}"
                message.system["MessageDeduplicationId"] = deduplication
            if group:
                message.system["MessageGroupId"] = group
            if deduplication:
                self._sent[deduplication] = (now, message)
            self._messages.append(message)
            self._arrival.notify_all()
        return message

    def put(self, message: Message) -> None:
        """Takes a message over from another queue, as it is."""
        message.visible, message.receipt = self.now(), ""
        with self._arrival:
            self._messages.append(message)
            self._arrival.notify_all()

    def receive(self, most: int, wait: float, hidden: int | None = None) -> list[Message]:
        """Up to ``most`` messages, hidden from others for ``hidden`` seconds; waits up to ``wait`` for the first."""
        deadline = time.monotonic() + wait
        while True:
            with self._arrival:
                found, buried = self._take(most, self.seconds("VisibilityTimeout") if hidden is None else hidden)
                left = deadline - time.monotonic()
                if not (found or buried or left <= 0 or self.deleted):
                    self._arrival.wait(min(left, LOOK_EVERY))
            for message in buried:
                assert self.dead_letters is not None
                if not self.bury(self.dead_letters[0], message):
                    # Without its dead-letter queue a message stays where it is.
                    self.put(message)
            if found or left <= 0 or self.deleted:
                return found

    def _take(self, most: int, hidden: int) -> tuple[list[Message], list[Message]]:
        now = self.now()
        self._forget(now)
        found: list[Message] = []
        buried: list[Message] = []
        blocked: set[str] = set()
        for message in list(self._messages):
            if len(found) == most:
                break
            if message.group in blocked:
                continue
            if message.visible > now:
                if self.fifo:
                    # A group's messages come in order: one that is not to be had holds up those behind it.
                    blocked.add(message.group)
                continue
            if self.dead_letters is not None and message.received >= self.dead_letters[1]:
                self._messages.remove(message)
                buried.append(message)
                continue
            message.received += 1
            message.first = message.first or now
            message.visible = now + timedelta(seconds=hidden)
            message.receipt = urlsafe_b64encode(f"{message.id} {uuid.uuid4()}".encode()).decode()
            found.append(message)
        return found, buried

    def _forget(self, now: datetime) -> None:
        oldest = now - timedelta(seconds=self.seconds("MessageRetentionPeriod"))
        self._messages = [each for each in self._messages if each.sent >= oldest]
        self._sent = {key: known for key, known in self._sent.items() if known[0] >= now - DEDUPLICATED}

    def delete(self, receipt: str) -> bool:
        """Deletes the message that a handle is of, if it is still there; False for what is no handle."""
        id = _id_of(receipt)
        if id is None:
            return False
        with self._arrival:
            for message in self._messages:
                if message.id == id and (message.receipt == receipt or not self.fifo):
                    self._messages.remove(message)
                    break
        return True

    def hide(self, receipt: str, seconds: int) -> bool | None:
        """Hides a received message from now for ``seconds``; None for what is no handle, False when not in flight."""
        id = _id_of(receipt)
        if id is None:
            return None
        now = self.now()
        with self._arrival:
            for message in self._messages:
                if message.id == id and message.receipt == receipt and message.visible > now:
                    message.visible = now + timedelta(seconds=seconds)
                    self._arrival.notify_all()
                    return True
        return False

    def counts(self) -> tuple[int, int, int]:
        """Messages that may be received, are in flight, and are delayed."""
        now = self.now()
        with self._arrival:
            self._forget(now)
            visible = sum(each.visible <= now for each in self._messages)
            delayed = sum(each.visible > now and not each.receipt for each in self._messages)
            return visible, len(self._messages) - visible - delayed, delayed

    def purge(self) -> None:
        with self._arrival:
            self._messages.clear()

    def close(self) -> None:
        """Lets those go who wait for messages of a queue that is gone."""
        with self._arrival:
            self.deleted = True
            self._arrival.notify_all()


def _id_of(receipt: str) -> str | None:
    try:
        id, _, nonce = b64decode(receipt, altchars=b"-_", validate=True).decode().partition(" ")
        return id if nonce else None
    except ValueError:
        return None


def attributes_md5(attributes: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The digest by which clients check message attributes.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """
    if not attributes:
        return None
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        kind = attributes[name]["DataType"]
        binary = kind.partition(".")[0] == "Binary"
        value = attributes[name]["BinaryValue"] if binary else attributes[name]["StringValue"].encode()
        for part in (name.encode(), kind.encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        digest.update((b"\x02" if binary else b"\x01") + struct.pack(">I", len(value)) + value)
    return digest.hexdigest()
