"""What is in the clouds, kept on disk while they run: when they are killed, it says what has gone with them."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.cloud.state import Lab

if TYPE_CHECKING:
    from labkit.cloud.dialect import Dialect
    from labkit.cloud.engine.audit import Audit, Event

#: By dialect, then by kind: the names of what a learner made.
Inventory = Mapping[str, Mapping[str, Sequence[str]]]

#: Seconds between two writes.
PAUSE = 1.0
#: Names that a sentence spells out.
NAMED = 12

_log = logging.getLogger(__name__)


class Keeper:
    """Writes the inventory after changes, at most once in :data:`PAUSE` seconds, from a thread of its own."""

    def __init__(self, lab: Lab, dialects: Iterable[Dialect], audit: Audit) -> None:
        self._lab = lab
        self._dialects = list(dialects)
        self._changed = threading.Event()
        self._closed = threading.Event()
        audit.listen(self._heard)
        self._thread = threading.Thread(target=self._keep, name="inventory", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the keeping and forgets: the clouds are stopped in order, nobody needs to be told."""
        self._closed.set()
        self._changed.set()
        self._thread.join(5.0)
        with contextlib.suppress(OSError):
            self._lab.inventory_file.unlink(missing_ok=True)

    def _heard(self, event: Event) -> None:
        if not event.read_only:
            self._changed.set()

    def _keep(self) -> None:
        while self._changed.wait() and not self._closed.is_set():
            self._changed.clear()
            try:
                inventory = {dialect.name: dialect.inventory() for dialect in self._dialects}
                self._lab.write(self._lab.inventory_file, json.dumps(inventory))
            except Exception:
                _log.exception("the inventory could not be written")
            self._closed.wait(PAUSE)


def take_left_behind(lab: Lab) -> Inventory:
    """What a killed server had in it; forgotten once it has been read. Nothing, if it was stopped in order."""
    try:
        text = lab.inventory_file.read_text(encoding="utf-8")
        lab.inventory_file.unlink()
        inventory = json.loads(text)
    except (OSError, ValueError):
        return {}
    return inventory if isinstance(inventory, dict) else {}


def spelled(inventory: Inventory) -> str:
    """The inventory as part of a sentence: ``endpoint churn-api, buckets data, models``; ``""`` when it is empty."""
    parts: list[str] = []
    left = NAMED
    more = 0
    for kinds in inventory.values():
        for kind, names in kinds.items():
            shown = names[:left]
            left -= len(shown)
            more += len(names) - len(shown)
            if shown:
                parts.append(f"{_one(kind) if len(names) == 1 else kind} {', '.join(shown)}")
    if more:
        parts.append(f"and {more} more")
    return "; ".join(parts)


def _one(kind: str) -> str:
    return kind[:-3] + "y" if kind.endswith("ies") else kind.removesuffix("s")
