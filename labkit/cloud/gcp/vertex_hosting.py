"""An endpoint of Vertex AI: its deployed models, their replicas, and how its traffic is divided.

https://cloud.google.com/vertex-ai/docs/predictions/overview
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.cloud.engine import serving
from labkit.cloud.engine.clock import Clock
from labkit.cloud.engine.launcher import Launcher
from labkit.cloud.engine.serving import ModelServer, VariantSpec
from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.vertex_names import stamp, v1
from labkit.cloud.gcp.vertex_registry import Model, Version

#: The key that stands for the model that is just being deployed.
NEW = "0"


@dataclass
class DeployedModel:
    """A version of a model in an endpoint. ``message`` is it as Vertex AI shows it; ``folder`` holds its artifacts."""

    id: str
    model: Model
    version: Version
    message: Any
    folder: Path
    #: Ends its right to call the clouds.
    dismiss: Callable[[], None] = lambda: None

    @property
    def replicas(self) -> int:
        """How many replicas run: the fewest that it may have, for nothing here scales by load."""
        return max(int(self.message.dedicated_resources.min_replica_count), 1)

    def release(self) -> None:
        """Removes the artifacts, once nothing serves from them, and the identity."""
        self.dismiss()
        shutil.rmtree(self.folder, ignore_errors=True)


class Endpoint:
    """One endpoint. ``asked`` is the message with which it was made. Safe to use from any thread."""

    def __init__(self, name: str, asked: Any, clock: Clock, launcher: Launcher) -> None:
        self.name = name
        self.asked = asked
        self._clock = clock
        self.created = self.updated = clock.now()
        self.serving = serving.Endpoint(name.rpartition("/")[2], launcher)
        self.lock = threading.RLock()
        self._deployed: dict[str, DeployedModel] = {}
        self._pending: dict[str, DeployedModel] = {}
        self._traffic: dict[str, int] = {}
        self._closed = False

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]

    def uses(self) -> Iterator[DeployedModel]:
        """What is deployed here or about to be."""
        with self.lock:
            return iter([*self._deployed.values(), *self._pending.values()])

    def deployed(self, identifier: str) -> DeployedModel | None:
        """The deployed model of an id."""
        return self._deployed.get(identifier)

    def draw(self) -> DeployedModel | None:
        """A deployed model drawn by the traffic that each is to have; None when none has any."""
        while (identifier := self.serving.draw()) is not None:
            # One that was withdrawn a moment ago is not drawn again.
            if (drawn := self._deployed.get(identifier)) is not None:
                return drawn
        return None

    def require(self, identifier: str) -> DeployedModel:
        """The deployed model of an id; raises ``NOT_FOUND``."""
        found = self._deployed.get(identifier)
        if found is None:
            raise GcpError("NOT_FOUND", f"DeployedModel with ID `{identifier}` is not found in Endpoint {self.name}.")
        return found

    def expect(self, fresh: DeployedModel, split: Mapping[str, int]) -> None:
        """Notes that a model is about to be deployed, to take traffic as ``split`` says; raises :class:`GcpError`."""
        with self.lock:
            if any(each.id == fresh.id for each in self.uses()):
                raise GcpError("ALREADY_EXISTS", f"Endpoint {self.name} has a DeployedModel {fresh.id} already.")
            self._check(split, {NEW})
            self._pending[fresh.id] = fresh

    def deploy(self, fresh: DeployedModel, server: ModelServer, split: Mapping[str, int]) -> None:
        """Has an expected model serve, and divides the traffic anew if ``split`` is not empty.

        Blocks until its replicas are ready; raises :class:`StartFailed`, and then nothing has changed.
        """
        self.serving.put(VariantSpec(fresh.id, server, fresh.replicas, 0.0))
        with self.lock:
            self._pending.pop(fresh.id, None)
            self._deployed[fresh.id] = fresh
            self.updated = self._clock.now()
            if split:
                self._divide({fresh.id if key == NEW else key: share for key, share in split.items()})
            closed = self._closed
        if closed:
            self.close()

    def give_up(self, fresh: DeployedModel) -> None:
        """Forgets a model that could not be deployed."""
        with self.lock:
            self._pending.pop(fresh.id, None)
        fresh.release()

    def withdraw(self, identifier: str, split: Mapping[str, int]) -> DeployedModel:
        """Takes a model out of the traffic, for :meth:`stop`; raises :class:`GcpError` while others would lack it."""
        with self.lock:
            leaving = self.require(identifier)
            last = len(self._deployed) == 1
            if split and not last:
                self._check(split, set())
            share = split.get(identifier, 0) if split else self._traffic.get(identifier, 0)
            if share and not last:
                raise GcpError(
                    "FAILED_PRECONDITION",
                    f"DeployedModel {identifier} of Endpoint {self.name} has {share}% of the traffic: give its traffic "
                    "to the other DeployedModels first, or in this request's traffic_split.",
                )
            # No request is sent there any more before it is gone.
            self.serving.set_weights({identifier: 0.0})
            del self._deployed[identifier]
            self._divide({} if last else {key: each for key, each in (split or self._traffic).items() if each})
            self.updated = self._clock.now()
        return leaving

    def stop(self, leaving: DeployedModel) -> None:
        """Stops a withdrawn model's replicas once they have finished what they have begun."""
        self.serving.remove(leaving.id)
        leaving.release()

    def divide(self, split: Mapping[str, int]) -> None:
        """Divides the traffic anew; an empty split stops it. Raises :class:`GcpError`."""
        with self.lock:
            if split:
                self._check(split, set())
            self._divide(split)
            self.updated = self._clock.now()

    def resize(self, identifier: str, message: Any) -> None:
        """Gives a deployed model other resources; blocks until its replicas are ready, raises :class:`StartFailed`."""
        deployed = self.require(identifier)
        self.serving.scale({identifier: max(int(message.dedicated_resources.min_replica_count), 1)})
        with self.lock:
            deployed.message = message

    def in_use(self) -> list[str]:
        """The ids of what is deployed or about to be."""
        return sorted(each.id for each in self.uses())

    def view(self) -> Any:
        """The endpoint as a message."""
        message = v1.Endpoint()
        message.CopyFrom(self.asked)
        message.name = self.name
        with self.lock:
            message.ClearField("deployed_models")
            message.deployed_models.extend(each.message for each in self._deployed.values())
            message.ClearField("traffic_split")
            message.traffic_split.update(self._traffic)
            message.etag = f"{abs(hash((self.name, self.updated))):x}"
            stamp(message, create_time=self.created, update_time=self.updated)
        return message

    def close(self) -> None:
        """Stops everything."""
        with self.lock:
            self._closed = True
            deployed, self._deployed = list(self._deployed.values()), {}
        self.serving.close()
        for each in deployed:
            each.release()

    def _check(self, split: Mapping[str, int], also: set[str]) -> None:
        if not split:
            return
        unknown = [key for key in split if key not in self._deployed and key not in also]
        if unknown:
            raise invalid(f"The following DeployedModel ID(s) [{', '.join(unknown)}] do not exist.", "traffic_split")
        if any(share < 0 for share in split.values()) or sum(split.values()) != 100:
            raise invalid(
                "The traffic percentage values of traffic_split must add up to 100 and not be negative; these are "
                f"{', '.join(f'{key}: {share}' for key, share in split.items())}.",
                "traffic_split",
            )

    def _divide(self, split: Mapping[str, int]) -> None:
        self._traffic = {key: share for key, share in split.items() if key in self._deployed}
        self.serving.set_weights({key: float(self._traffic.get(key, 0)) for key in self._deployed})
