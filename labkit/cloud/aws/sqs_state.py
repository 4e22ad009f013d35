"""The queues of one account and region, and how requests and other services name them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.sqs_queue import Queue

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.place import Place


class State:
    """Queues by name; ``lock`` is held while they are made or deleted."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queues: dict[str, Queue] = {}

    def close(self) -> None:
        """Lets go whoever waits for messages; called at reset."""
        with self.lock:
            queues = list(self.queues.values())
            self.queues.clear()
        for queue in queues:
            queue.close()


def missing() -> AwsError:
    return AwsError("QueueDoesNotExist", "The specified queue does not exist.")


def queue_of(call: Call, parameters: dict[str, Any]) -> Queue:
    """The queue whose URL a request gives; raises :class:`AwsError`."""
    url = str(parameters["QueueUrl"])
    queue = call.store(State).queues.get(url.rpartition("/")[2])
    if queue is None or (url.startswith("https://") and f".{call.region}." not in url):
        raise missing()
    return queue


def find(place: Place, arn: str) -> Queue:
    """The queue that an ARN names; raises :class:`AwsError`."""
    queue = place.store(State).queues.get(arn.rpartition(":")[2])
    if queue is None or queue.arn != arn:
        raise missing()
    return queue
