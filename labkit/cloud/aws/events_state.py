"""EventBridge's buses in one account and region, with their rules and the rules' targets."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.event_patterns import Pattern

if TYPE_CHECKING:
    from labkit.cloud.aws.place import Place
    from labkit.cloud.engine.schedules import Schedule

DEFAULT = "default"


@dataclass
class Rule:
    """A rule: ``request`` is what PutRule was given last, ``targets`` the targets by their ids."""

    name: str
    arn: str
    bus: str
    request: Mapping[str, Any]
    enabled: bool
    pattern: Pattern | None = None
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    timer: Schedule | None = None


@dataclass
class Bus:
    """An event bus; ``policy`` holds the statements of its policy."""

    name: str
    arn: str
    created: Any
    description: str = ""
    policy: list[dict[str, Any]] = field(default_factory=list)
    rules: dict[str, Rule] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class State:
    """Buses by name; ``lock`` is held while they and their rules change."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.buses: dict[str, Bus] = {}

    def close(self) -> None:
        """Stops every scheduled rule; called at reset."""
        with self.lock:
            rules = [rule for bus in self.buses.values() for rule in bus.rules.values()]
            self.buses.clear()
        for rule in rules:
            if rule.timer is not None:
                rule.timer.close()


def buses(place: Place) -> dict[str, Bus]:
    """The buses by name: there is always one called ``default``."""
    state = place.store(State)
    with state.lock:
        if DEFAULT not in state.buses:
            state.buses[DEFAULT] = Bus(DEFAULT, place.arn("events", f"event-bus/{DEFAULT}"), place.engine.clock.now())
        return state.buses


def find_bus(place: Place, name: str | None) -> Bus:
    """The bus that a name or an ARN means; raises :class:`AwsError`."""
    short = (name or DEFAULT).rpartition("/")[2] if (name or "").startswith("arn:") else name or DEFAULT
    bus = buses(place).get(short)
    if bus is None or ((name or "").startswith("arn:") and bus.arn != name):
        raise missing(f"Event bus {short} does not exist.")
    return bus


def find_rule(place: Place, name: str, bus: str | None) -> Rule:
    """The rule with a name on a bus; raises :class:`AwsError`."""
    found = find_bus(place, bus)
    rule = found.rules.get(name)
    if rule is None:
        raise missing(f"Rule {name} does not exist on EventBus {found.name}.")
    return rule


def missing(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message)


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
