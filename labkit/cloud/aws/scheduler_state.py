"""EventBridge Scheduler's groups and schedules in one account and region."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError

if TYPE_CHECKING:
    from labkit.cloud.aws.place import Place
    from labkit.cloud.engine import schedules

DEFAULT = "default"


@dataclass
class Group:
    """A group of schedules."""

    name: str
    arn: str
    created: datetime
    modified: datetime
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Schedule:
    """A schedule: ``request`` is what it was made or last updated with, defaults filled in."""

    name: str
    group: str
    arn: str
    request: Mapping[str, Any]
    created: datetime
    modified: datetime
    timer: schedules.Schedule | None = None

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.close()
            self.timer = None


class State:
    """Groups by name, schedules by group and name; ``lock`` is held while they change."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.groups: dict[str, Group] = {}
        self.schedules: dict[tuple[str, str], Schedule] = {}

    def close(self) -> None:
        """Stops every schedule; called at reset."""
        with self.lock:
            schedules = list(self.schedules.values())
            self.schedules.clear()
            self.groups.clear()
        for schedule in schedules:
            schedule.stop()


def groups(place: Place) -> dict[str, Group]:
    """The groups by name: there is always one called ``default``."""
    state = place.store(State)
    with state.lock:
        if DEFAULT not in state.groups:
            now = place.engine.clock.now()
            state.groups[DEFAULT] = Group(DEFAULT, place.arn("scheduler", f"schedule-group/{DEFAULT}"), now, now)
        return state.groups


def find_group(place: Place, name: str) -> Group:
    """The group with a name; raises :class:`AwsError`."""
    group = groups(place).get(name)
    if group is None:
        raise AwsError("ResourceNotFoundException", f"Schedule group {name} does not exist.", 404)
    return group


def find(place: Place, name: str, group: str) -> Schedule:
    """The schedule with a name in a group; raises :class:`AwsError`."""
    find_group(place, group)
    schedule = place.store(State).schedules.get((group, name))
    if schedule is None:
        raise AwsError("ResourceNotFoundException", f"Schedule {name} does not exist.", 404)
    return schedule


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message, 400)
