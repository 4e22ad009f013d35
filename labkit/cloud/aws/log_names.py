"""What CloudWatch Logs' operations share: finding a group by name or ARN, ARNs, pages."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.engine.errors import NotFound
from labkit.cloud.engine.logs import Group

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

T = TypeVar("T")

NO_GROUP = partial(AwsError, "ResourceNotFoundException", "The specified log group does not exist.")
NO_STREAM = partial(AwsError, "ResourceNotFoundException", "The specified log stream does not exist.")
BAD_TOKEN = partial(AwsError, "InvalidParameterException", "The specified nextToken is invalid.")


def group_arn(call: Call, name: str) -> str:
    return f"arn:aws:logs:{call.region}:{call.account}:log-group:{name}"


def stream_arn(call: Call, group: str, name: str) -> str:
    return f"{group_arn(call, group)}:log-stream:{name}"


def group_of(call: Call, parameters: Mapping[str, Any]) -> Group:
    """The group that ``logGroupName`` or ``logGroupIdentifier`` names."""
    name, identifier = parameters.get("logGroupName"), parameters.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        message = "Exactly one of logGroupName and logGroupIdentifier must be specified."
        raise AwsError("InvalidParameterException", message)
    try:
        return call.engine.logs.group(call.scope, name or resource_group(call, str(identifier)))
    except NotFound:
        raise NO_GROUP() from None


def resource_group(call: Call, identifier: str) -> str:
    """The name of the group that an ARN, or a name, identifies. Raises for an ARN of anything else."""
    if not identifier.startswith("arn:"):
        return identifier
    parts = identifier.removesuffix(":*").split(":", 6)
    if parts[:6] != ["arn", "aws", "logs", call.region, call.account, "log-group"] or ":" in parts[-1]:
        raise NO_GROUP()
    return parts[6]


def sequence_token(number: int) -> str:
    """A number as the service writes its tokens and ids: 56 digits."""
    return f"{number:056d}"


def page(
    parameters: Mapping[str, Any],
    items: Sequence[T],
    key: Callable[[T], list[Any]],
    most: int,
    *,
    descending: bool = False,
) -> tuple[list[T], str | None]:
    """The page that ``nextToken`` and ``limit`` ask for, in order of ``key``, and the token of the next.

    A token holds the key at which the page ended, so that what is made or deleted meanwhile moves nothing.
    """
    ordered = sorted(items, key=key, reverse=descending)
    if token := parameters.get("nextToken"):
        try:
            last = json.loads(urlsafe_b64decode(token))
            ordered = [each for each in ordered if (key(each) < last if descending else key(each) > last)]
        except (ValueError, TypeError):
            raise BAD_TOKEN() from None
    size = parameters.get("limit", most)
    shown = ordered[:size]
    more = len(ordered) > size
    return shown, urlsafe_b64encode(json.dumps(key(shown[-1])).encode()).decode() if more else None
