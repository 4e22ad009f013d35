"""CloudWatch Logs' events: putting, getting and filtering them.

A client's timestamps come from its machine's clock: a batch, or a window, that ends at the machine's now means the
lab's now. What is returned is lab time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.log_names import BAD_TOKEN, NO_STREAM, group_of, sequence_token
from labkit.cloud.aws.log_patterns import matcher
from labkit.cloud.aws.refusals import part_of
from labkit.cloud.engine.clock import EPOCH
from labkit.cloud.engine.errors import NotFound
from labkit.cloud.engine.logs import Event, milliseconds

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

#: One batch, or one page: bytes of UTF-8, with 26 more for each event, and events.
BYTES = 1_048_576
PER_EVENT = 26
EVENTS = 10_000

_HOUR = 3_600_000
_DAY = 24 * _HOUR
#: The start time from which FilterLogEvents can go backwards: 1 January 2024.
_BACKWARDS_SINCE = 1_704_067_200_000


def put_log_events(call: Call, parameters: Parameters) -> Parameters:
    if "entity" in parameters:
        raise part_of(call, "entities")
    group = group_of(call, parameters)
    entries = [(each["timestamp"], each["message"]) for each in parameters["logEvents"]]
    times = [timestamp for timestamp, _ in entries]
    size = sum(len(message.encode("utf-8", "replace")) + PER_EVENT for _, message in entries)
    if size > BYTES:
        raise AwsError("InvalidParameterException", f"Upload too large: {size} bytes exceeds limit of {BYTES}")
    if times != sorted(times):
        message = "Log events in a single PutLogEvents request must be in chronological order."
        raise AwsError("InvalidParameterException", message)
    shift = _shift(call, times[-1])
    now = milliseconds(call.engine.clock.now())
    expired = 0 if group.retention_days is None else now - group.retention_days * _DAY
    placed = [(timestamp + shift, message) for timestamp, message in entries]
    too_old = sum(timestamp < now - 14 * _DAY for timestamp, _ in placed)
    past = sum(timestamp < expired for timestamp, _ in placed)
    too_new = sum(timestamp <= now + 2 * _HOUR for timestamp, _ in placed)
    valid = placed[max(too_old, past) : too_new]
    if valid and valid[-1][0] - valid[0][0] > _DAY:
        message = "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        raise AwsError("InvalidParameterException", message)
    try:
        call.engine.logs.put(call.scope, group.name, parameters["logStreamName"], valid)
    except NotFound:
        raise NO_STREAM() from None
    rejected: dict[str, int] = {}
    if too_new < len(placed):
        rejected["tooNewLogEventStartIndex"] = too_new
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if past > too_old:
        rejected["expiredLogEventEndIndex"] = past
    return {"nextSequenceToken": sequence_token(now), "rejectedLogEventsInfo": rejected or None}


def get_log_events(call: Call, parameters: Parameters) -> Parameters:
    group, stream = group_of(call, parameters), parameters["logStreamName"]
    logs = call.engine.logs
    if all(each.name != stream for each in logs.streams(call.scope, group.name)):
        raise NO_STREAM()
    start, end = _window(call, parameters)
    direction, place = _place(parameters.get("nextToken"), "fb")
    if not direction:
        direction = "f" if parameters.get("startFromHead") else "b"
    bounds = {} if place is None else {"after": place} if direction == "f" else {"before": place}
    found = logs.read(call.scope, group.name, [stream], start=start, end=end, **bounds)
    shown = _page(found if direction == "f" else reversed(found), parameters.get("limit", EVENTS))
    if direction == "b":
        shown.reverse()
    if shown:
        forward, backward = shown[-1].id, shown[0].id
    elif place is None:
        forward, backward = 0, 0
    else:
        # Nothing more this way: the same token again, and the one that leads back over what was seen.
        forward, backward = (place, place + 1) if direction == "f" else (max(place - 1, 0), place)
    return {
        "events": [
            {"timestamp": each.timestamp, "message": each.message, "ingestionTime": each.ingested} for each in shown
        ],
        "nextForwardToken": f"f/{sequence_token(forward)}",
        "nextBackwardToken": f"b/{sequence_token(backward)}",
    }


def filter_log_events(call: Call, parameters: Parameters) -> Parameters:
    group = group_of(call, parameters)
    logs = call.engine.logs
    streams = [each.name for each in logs.streams(call.scope, group.name)]
    if "logStreamNames" in parameters and "logStreamNamePrefix" in parameters:
        message = "logStreamNames and logStreamNamePrefix are mutually exclusive parameters."
        raise AwsError("InvalidParameterException", message)
    if names := parameters.get("logStreamNames"):
        if not set(names) <= set(streams):
            raise NO_STREAM()
        streams = names
    prefix = parameters.get("logStreamNamePrefix", "")
    matches = matcher(parameters.get("filterPattern", ""))
    start, end = _window(call, parameters)
    direction, place = _place(parameters.get("nextToken"), "ad")
    if not direction:
        direction = "a" if parameters.get("startFromHead", True) else "d"
        if direction == "d" and parameters.get("startTime", _BACKWARDS_SINCE) < _BACKWARDS_SINCE:
            message = "startFromHead can be false only when startTime is on or after Jan 1, 2024 00:00:00 UTC."
            raise AwsError("InvalidParameterException", message)
    bounds = {} if place is None else {"after": place} if direction == "a" else {"before": place}
    found = logs.read(
        call.scope,
        group.name,
        [name for name in streams if name.startswith(prefix)],
        start=start,
        # Unlike GetLogEvents', this end is in the window.
        end=None if end is None else end + 1,
        **bounds,
    )
    if direction == "d":
        found.reverse()
    shown = _page((each for each in found if matches(each.message)), parameters.get("limit", EVENTS))
    more = bool(shown) and found[-1] is not shown[-1]
    return {
        "events": [
            {
                "logStreamName": each.stream,
                "timestamp": each.timestamp,
                "message": each.message,
                "ingestionTime": each.ingested,
                "eventId": sequence_token(each.id),
            }
            for each in shown
        ],
        "searchedLogStreams": [],
        "nextToken": f"{direction}/{sequence_token(shown[-1].id)}" if more else None,
    }


def _page(events: Iterable[Event], limit: int) -> list[Event]:
    """As many events as a page holds: ``limit``, or 1 MB, but one at least."""
    shown: list[Event] = []
    size = 0
    for event in events:
        size += len(event.message.encode("utf-8", "replace")) + PER_EVENT
        if len(shown) == limit or (size > BYTES and shown):
            break
        shown.append(event)
    return shown


def _place(token: str | None, directions: str) -> tuple[str, int | None]:
    """The direction and the id in a token; ``("", None)`` without one."""
    if token is None:
        return "", None
    direction, _, digits = token.partition("/")
    if len(direction) != 1 or direction not in directions or not (digits.isascii() and digits.isdecimal()):
        raise BAD_TOKEN()
    return direction, int(digits)


def _window(call: Call, parameters: Parameters) -> tuple[int | None, int | None]:
    """The lab time that ``startTime`` and ``endTime`` mean. Without an end there is none: the start is lab time."""
    start, end = parameters.get("startTime"), parameters.get("endTime")
    if end is None:
        return start, None
    shift = _shift(call, end)
    return (None if start is None else start + shift), end + shift


def _shift(call: Call, timestamp: int) -> int:
    """Milliseconds from a client's timestamp to the lab time that it means."""
    try:
        when = EPOCH + timedelta(milliseconds=timestamp)
        return (call.engine.clock.instant(when) - when) // timedelta(milliseconds=1)
    except OverflowError:
        # Far beyond any event, as the largest number there is often stands for "no end".
        return 0
