"""Log entries as the engine keeps them: a group for each log, an event for each entry, its fields as JSON.

https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.errors import Conflict, NotFound

if TYPE_CHECKING:
    from labkit.cloud.engine import Engine

#: Severities, the least first, with their numbers.
SEVERITIES = {
    "DEFAULT": 0,
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 300,
    "WARNING": 400,
    "ERROR": 500,
    "CRITICAL": 600,
    "ALERT": 700,
    "EMERGENCY": 800,
}
#: Days for which the bucket ``_Default`` keeps entries.
RETENTION_DAYS = 30
#: Logs' groups in the engine begin so; the rest is the log's id.
_GROUP = "log:"
_STREAM = "entries"
_numbers = itertools.count(1)


def write(
    engine: Engine,
    scope: str,
    log: str,
    entry: Mapping[str, Any],
    at: datetime | None = None,
    *,
    days: int = RETENTION_DAYS,
) -> None:
    """Keeps an entry of a log; ``entry`` has the fields of a ``LogEntry`` but for its name and times."""
    group = f"{_GROUP}{log}"
    with contextlib.suppress(Conflict):
        engine.logs.create_group(scope, group)
        engine.logs.retain(scope, group, days)
    kept = dict(entry)
    kept.setdefault("insertId", f"labkit{next(_numbers):014d}")
    when = at or engine.clock.now()
    # The engine's timestamps are in milliseconds.
    kept["timestamp"] = when.astimezone(UTC).isoformat()
    engine.logs.write(scope, group, _STREAM, json.dumps(kept), when)


def logs(engine: Engine, scope: str) -> list[str]:
    """The ids of the logs that have entries, in order."""
    return [each.name.removeprefix(_GROUP) for each in engine.logs.groups(scope) if each.name.startswith(_GROUP)]


def entries(engine: Engine, scope: str, log: str) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Each entry of a log with the time at which it came in, the oldest first."""
    try:
        events = engine.logs.read(scope, f"{_GROUP}{log}")
    except NotFound:
        return
    for event in events:
        yield datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=event.ingested), json.loads(event.message)


def delete(engine: Engine, scope: str, log: str) -> None:
    """Deletes a log with its entries; raises :class:`NotFound`."""
    engine.logs.delete_group(scope, f"{_GROUP}{log}")
