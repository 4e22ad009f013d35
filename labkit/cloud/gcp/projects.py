"""Projects: the lab's own, and every other that a caller names.

A real caller names projects that exist elsewhere already. Here any well-formed id is taken to be one of the learner's.
https://cloud.google.com/resource-manager/docs/creating-managing-projects
"""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass

from labkit.cloud.gcp.errors import GcpError

#: The lab's project.
ID, NUMBER = "mlops-lab", "314159265358"

_ID = re.compile(r"([a-z0-9.-]+\.[a-z]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Project:
    """A project: names in requests hold its id or its number, names in most answers its number."""

    id: str
    number: str


class Projects:
    """The projects that callers have named; safe to use from any thread."""

    def __init__(self) -> None:
        self.own = Project(ID, NUMBER)
        self._by_number = {NUMBER: self.own}
        self._lock = threading.Lock()

    def find(self, name: str) -> Project:
        """The project with this id or number; raises :class:`GcpError` when there can be none."""
        if name == ID:
            return self.own
        with self._lock:
            if _NUMBER.fullmatch(name) and name in self._by_number:
                return self._by_number[name]
            if not _ID.fullmatch(name):
                raise GcpError(
                    "PERMISSION_DENIED",
                    f"Permission denied on resource project {name}: no project has this id or number.",
                )
            digest = hashlib.sha256(name.encode()).digest()
            number = str(10**11 + int.from_bytes(digest[:8], "big") % (9 * 10**11))
            return self._by_number.setdefault(number, Project(name, number))

    def known(self) -> list[Project]:
        """The projects that callers have named so far, and the lab's own, by their ids."""
        with self._lock:
            return sorted(self._by_number.values(), key=lambda each: each.id)

    def id_of(self, number: str) -> str:
        """The id of the project with this number, or ``""`` for one that nobody has named."""
        with self._lock:
            found = self._by_number.get(number)
        return found.id if found else ""

    def reset(self) -> None:
        """Forgets every project but the lab's own."""
        with self._lock:
            self._by_number = {NUMBER: self.own}
