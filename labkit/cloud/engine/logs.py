"""Logs: groups of streams of events, in lab time.

An event has two times: the one that its writer gave it, by which it is ordered and found, and the one at which it came
in. Memory is bounded: past ``KEPT_BYTES``, the stream that takes most loses its older half, so that one noisy program
does not push out what the others wrote.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

from labkit.cloud.engine.clock import EPOCH, Clock, utc
from labkit.cloud.engine.errors import Conflict, NotFound

#: Bytes of events that are kept in all, with ``OVERHEAD`` for each beside its message.
KEPT_BYTES = 48 * 1024 * 1024
OVERHEAD = 200

#: An event's id is its timestamp, shifted by this much, plus a number: ids are unique and in order.
_SHIFT = 64
_END = 1 << 2 * _SHIFT
_id = attrgetter("id")
_DAY = 86_400_000


class Event(NamedTuple):
    """One line that was written. Times are milliseconds since 1970; events sort by ``id``, which is by timestamp."""

    id: int
    ingested: int
    stream: str
    message: str

    @property
    def timestamp(self) -> int:
        return self.id >> _SHIFT


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as it stands. ``first`` and ``last`` are timestamps, ``last_ingested`` a time of arrival; all in ms."""

    name: str
    created: int
    first: int | None
    last: int | None
    last_ingested: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it stands. Without ``retention_days`` its events do not expire. ``stored_bytes`` are its messages'."""

    name: str
    created: int
    retention_days: int | None
    labels: Mapping[str, str]
    stored_bytes: int


@dataclass(slots=True)
class _Stream:
    created: int
    events: list[Event] = field(default_factory=list)
    size: int = 0
    last_ingested: int | None = None

    @property
    def cost(self) -> int:
        return self.size + OVERHEAD * len(self.events)


@dataclass(slots=True)
class _Group:
    created: int
    labels: dict[str, str]
    retention_days: int | None = None
    streams: dict[str, _Stream] = field(default_factory=dict)


class Logs:
    """Everything that was logged, by scope, group and stream; safe to use from any thread.

    A scope keeps clouds, accounts and regions apart. Methods that name a group or stream that is not there raise
    :class:`NotFound`, those that make one that is there raise :class:`Conflict`; only :meth:`write` makes what is
    missing.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: dict[tuple[str, str], _Group] = {}
        self._numbers = itertools.count(1)
        self._cost = 0

    def write(self, scope: str, group: str, stream: str, message: str, at: datetime | None = None) -> None:
        """Appends one event, as a cloud's own writers do. ``at`` is lab time, now if not given."""
        now = self._now()
        timestamp = now if at is None else milliseconds(at)
        with self._lock:
            held = self._groups.get((scope, group))
            if held is None:
                held = self._groups[scope, group] = _Group(now, {})
            target = held.streams.get(stream)
            if target is None:
                target = held.streams[stream] = _Stream(now)
            self._append(target, stream, timestamp, now, message)
            self._bound()

    def put(self, scope: str, group: str, stream: str, entries: Iterable[tuple[int, str]]) -> None:
        """Appends events, each a timestamp in milliseconds of lab time and a message, to a stream that is there."""
        now = self._now()
        with self._lock:
            target = self._stream(scope, group, stream)
            for timestamp, message in entries:
                self._append(target, stream, timestamp, now, message)
            self._bound()

    def read(
        self,
        scope: str,
        group: str,
        streams: Collection[str] | None = None,
        *,
        start: int | None = None,
        end: int | None = None,
        after: int | None = None,
        before: int | None = None,
    ) -> list[Event]:
        """The events of these streams (None: of all) together, in order of their ids.

        ``start`` and ``end`` are milliseconds, the first in and the second not in the window; ``after`` and
        ``before`` are ids of events, neither of them included. Streams that are not there have no events. Events
        past the group's retention are not shown.
        """
        with self._lock:
            held = self._group(scope, group)
            start = max(start or 0, self._kept_since(held))
            low = max(start << _SHIFT, (after or 0) + 1)
            high = min(_END if end is None else end << _SHIFT, _END if before is None else before)
            names = (
                held.streams if streams is None else [name for name in dict.fromkeys(streams) if name in held.streams]
            )
            found = []
            for name in names:
                events = held.streams[name].events
                found.append(events[bisect_left(events, low, key=_id) : bisect_left(events, high, key=_id)])
        return found[0] if len(found) == 1 else sorted(itertools.chain.from_iterable(found))

    def create_group(self, scope: str, group: str, labels: Mapping[str, str] | None = None) -> None:
        """Makes an empty group."""
        with self._lock:
            if (scope, group) in self._groups:
                raise Conflict(f"Log group {group} exists already.")
            self._groups[scope, group] = _Group(self._now(), dict(labels or {}))

    def delete_group(self, scope: str, group: str) -> None:
        """Deletes a group with all that is in it."""
        with self._lock:
            held = self._group(scope, group)
            self._cost -= sum(stream.cost for stream in held.streams.values())
            del self._groups[scope, group]

    def group(self, scope: str, group: str) -> Group:
        """One group."""
        with self._lock:
            return _describe(group, self._group(scope, group))

    def scopes(self) -> set[str]:
        """The scopes that have groups."""
        with self._lock:
            return {scope for scope, _ in self._groups}

    def groups(self, scope: str) -> list[Group]:
        """The scope's groups, by name."""
        with self._lock:
            return [_describe(name, held) for (its, name), held in sorted(self._groups.items()) if its == scope]

    def retain(self, scope: str, group: str, days: int | None) -> None:
        """Has the group's events expire ``days`` of lab time after their timestamps, or never."""
        with self._lock:
            self._group(scope, group).retention_days = days

    def label(self, scope: str, group: str, labels: Mapping[str, str], remove: Collection[str] = ()) -> None:
        """Adds or replaces labels of a group, and takes off those named in ``remove``."""
        with self._lock:
            held = self._group(scope, group).labels
            held.update(labels)
            for name in remove:
                held.pop(name, None)

    def create_stream(self, scope: str, group: str, stream: str) -> None:
        """Makes an empty stream."""
        with self._lock:
            streams = self._group(scope, group).streams
            if stream in streams:
                raise Conflict(f"Log stream {stream} exists already in {group}.")
            streams[stream] = _Stream(self._now())

    def delete_stream(self, scope: str, group: str, stream: str) -> None:
        """Deletes a stream with its events."""
        with self._lock:
            self._cost -= self._stream(scope, group, stream).cost
            del self._group(scope, group).streams[stream]

    def streams(self, scope: str, group: str) -> list[Stream]:
        """The group's streams, by name."""
        with self._lock:
            held = self._group(scope, group)
            kept_since = self._kept_since(held) << _SHIFT
            described = []
            for name, stream in sorted(held.streams.items()):
                events = stream.events
                kept = bisect_left(events, kept_since, key=_id)
                first, last = (events[kept].timestamp, events[-1].timestamp) if kept < len(events) else (None, None)
                described.append(Stream(name, stream.created, first, last, stream.last_ingested))
            return described

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._groups.clear()
            self._cost = 0

    def _now(self) -> int:
        return int(self._clock.time() * 1000)

    def _kept_since(self, group: _Group) -> int:
        return 0 if group.retention_days is None else max(self._now() - group.retention_days * _DAY, 0)

    def _group(self, scope: str, group: str) -> _Group:
        try:
            return self._groups[scope, group]
        except KeyError:
            raise NotFound(f"There is no log group {group}.") from None

    def _stream(self, scope: str, group: str, stream: str) -> _Stream:
        try:
            return self._group(scope, group).streams[stream]
        except KeyError:
            raise NotFound(f"There is no log stream {stream} in {group}.") from None

    def _append(self, stream: _Stream, name: str, timestamp: int, now: int, message: str) -> None:
        event = Event(timestamp << _SHIFT | next(self._numbers), now, name, message)
        if stream.events and stream.events[-1].id > event.id:
            insort(stream.events, event)
        else:
            stream.events.append(event)
        stream.last_ingested = now
        size = _size(message)
        stream.size += size
        self._cost += size + OVERHEAD

    def _bound(self) -> None:
        while self._cost > KEPT_BYTES:
            streams = (stream for group in self._groups.values() for stream in group.streams.values())
            largest = max(streams, key=attrgetter("cost"))
            older = largest.events[: (len(largest.events) + 1) // 2]
            del largest.events[: len(older)]
            freed = sum(_size(event.message) for event in older)
            largest.size -= freed
            self._cost -= freed + OVERHEAD * len(older)


def milliseconds(when: datetime) -> int:
    """Milliseconds since 1970. A datetime without a zone is in UTC."""
    return (utc(when) - EPOCH) // timedelta(milliseconds=1)


def _describe(name: str, group: _Group) -> Group:
    stored = sum(stream.size for stream in group.streams.values())
    return Group(name, group.created, group.retention_days, dict(group.labels), stored)


def _size(message: str) -> int:
    return len(message) if message.isascii() else len(message.encode("utf-8", "replace"))
