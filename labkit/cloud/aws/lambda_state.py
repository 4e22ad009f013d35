"""What Lambda keeps in one account and region: functions with their versions, aliases and policies.

https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html
"""

from __future__ import annotations

import random
import re
import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.cloud.aws.errors import AwsError

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.lambda_instances import Instances
    from labkit.cloud.aws.lambda_mappings import Mapping
    from labkit.cloud.aws.place import Place

LATEST = "$LATEST"
#: Events that are answered at once, in all functions together: what a new account has.
CONCURRENCY = 10


@dataclass
class Version:
    """A version of a function: ``config`` as FunctionConfiguration shows it, ``folder`` the unpacked code.

    ``instances`` are the processes that answer with it, once there was an event for it.
    """

    number: str
    config: dict[str, Any]
    folder: Path
    instances: Instances | None = None


@dataclass
class LambdaFunction:
    """A function. ``statements`` are those of its policy, by qualifier (``""`` without one)."""

    name: str
    arn: str
    latest: Version
    tags: dict[str, str]
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, dict[str, Any]] = field(default_factory=dict)
    statements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    event_configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    policy_revision: str = ""
    reserved: int | None = None
    busy: int = 0

    def all_versions(self) -> list[Version]:
        return [self.latest, *self.versions.values()]


class State:
    """The functions of one account and region; ``lock`` is held while they are looked up to be changed."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.functions: dict[str, LambdaFunction] = {}
        self.mappings: dict[str, Mapping] = {}

    def close(self) -> None:
        """Ends every instance; called at reset."""
        with self.lock:
            functions, mappings = list(self.functions.values()), list(self.mappings.values())
            self.functions.clear()
            self.mappings.clear()
        for mapping in mappings:
            mapping.close()
        for version in (each for function in functions for each in function.all_versions()):
            discard(version, now=True)


def discard(version: Version, *, now: bool = False) -> None:
    """Ends a version's instances, those that answer an event after they have unless ``now``; removes its code."""
    if version.instances is not None:
        version.instances.close(now=now)
        if version.instances.busy and not now:
            # What still answers may yet import from it; it goes with the clouds.
            return
    shutil.rmtree(version.folder, ignore_errors=True)


class Reference(NamedTuple):
    """A function as a request names it; ``qualifier`` is a version, an alias or ``""``."""

    name: str
    qualifier: str


_NAME = re.compile(
    r"(?:arn:aws:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)


def reference(place: Place, name: str, qualifier: str | None = None) -> Reference:
    """Reads a name, a partial or a full ARN, and the qualifier beside it; raises :class:`AwsError`."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise AwsError("ValidationException", f"{name} is no name or ARN of a function.")
    if (found["region"] or place.region) != place.region or (found["account"] or place.account) != place.account:
        raise AwsError("ResourceNotFoundException", f"Functions from '{found['region']}' are not reachable here", 404)
    inside = found["qualifier"] or ""
    if qualifier and inside and qualifier != inside:
        message = "The derived qualifier from the function name does not match the specified qualifier."
        raise AwsError("InvalidParameterValueException", message)
    return Reference(found["name"], qualifier or inside)


def get(place: Place, name: str, qualifier: str = "") -> LambdaFunction:
    """The function with a name; ``qualifier`` only stands in the error where there is none."""
    function = place.store(State).functions.get(name)
    if function is None:
        raise missing(place.arn("lambda", f"function:{name}"), qualifier)
    return function


def missing(arn: str, qualifier: str = "") -> AwsError:
    named = f"{arn}:{qualifier}" if qualifier else arn
    return AwsError("ResourceNotFoundException", f"Function not found: {named}", 404, Type="User")


def find(call: Call, parameters: dict[str, Any]) -> tuple[LambdaFunction, Reference]:
    """The function that a call names, and how it names it."""
    from labkit.cloud.aws.place import Place

    place = Place.of(call)
    named = reference(place, parameters["FunctionName"], parameters.get("Qualifier"))
    return get(place, named.name, named.qualifier), named


def version_of(function: LambdaFunction, qualifier: str, *, draw: bool = False) -> Version:
    """The version that a qualifier means; an alias's additional version by its weight where ``draw``."""
    if qualifier in ("", LATEST):
        return function.latest
    if (alias := function.aliases.get(qualifier)) is not None:
        number = str(alias["FunctionVersion"])
        if draw:
            chance = random.random()
            for other, weight in alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}).items():
                chance -= weight
                if chance < 0:
                    number = other
                    break
        return version_of(function, number)
    version = function.versions.get(qualifier)
    if version is None:
        raise missing(function.arn, qualifier)
    return version


def functions(place: Place) -> Iterator[LambdaFunction]:
    """The functions of a region, by name."""
    state = place.store(State)
    with state.lock:
        yield from [state.functions[name] for name in sorted(state.functions)]


def revision() -> str:
    """A new revision's id."""
    return str(uuid.uuid4())
