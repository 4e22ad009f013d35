"""What stands behind a managed online endpoint's host name: replicas of deployments, credentials, divided traffic.

https://learn.microsoft.com/azure/machine-learning/concept-endpoints-online
"""

from __future__ import annotations

import random
import secrets
import string
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from labkit.cloud.azure.deployment_settings import Settings
from labkit.cloud.engine import serving
from labkit.cloud.engine.launcher import Launcher
from labkit.cloud.engine.serving import ModelServer, VariantSpec

#: Characters of a key.
KEY_LENGTH = 32
_KEY = string.ascii_letters + string.digits
#: Mirrored requests of an endpoint that run at the same time.
ASIDE = 4


@dataclass
class Deployment:
    """A deployment that can answer. ``release`` gives back what its replicas use, once they have stopped."""

    name: str
    settings: Settings
    release: Callable[[], None]
    _in_flight: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def enter(self, patience: float = 0.0) -> bool:
        """Lets a request in, unless as many as may be are in already, and stay in for so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._in_flight < self.settings.most_requests, patience):
                return False
            self._in_flight += 1
            return True

    def leave(self) -> None:
        with self._changed:
            self._in_flight -= 1
            self._changed.notify()


class Endpoint:
    """One endpoint: ``id`` is its resource's, ``scope`` that of its workspace's metrics and logs.

    ``auth_mode`` is ``Key``, ``AMLToken`` or ``AADToken``. Safe to use from any thread.
    """

    def __init__(self, resource_id: str, scope: str, region: str, launcher: Launcher) -> None:
        self.id = resource_id
        self.scope = scope
        self.region = region
        self.name = resource_id.rpartition("/")[2]
        self.auth_mode = "Key"
        self.is_public = True
        self.keys = [new_key(), new_key()]
        self.serving = serving.Endpoint(self.name, launcher)
        #: Lab times at which a deployment's number of instances changed, by the deployment's name, the oldest first.
        self.capacity: dict[str, list[tuple[datetime, int]]] = {}
        self._deployments: dict[str, Deployment] = {}
        self._traffic: dict[str, int] = {}
        self._mirror: tuple[str, int] | None = None
        self._aside: ThreadPoolExecutor | None = None
        self._random = random.Random()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def host(self) -> str:
        return f"{self.name.lower()}.{self.region}.inference.ml.azure.com"

    def deployment(self, name: str) -> Deployment | None:
        """The deployment that answers under this name, without regard to case."""
        return self._deployments.get(name.lower())

    def draw(self) -> Deployment | None:
        """A deployment drawn by the traffic that each is to have; None when none has any."""
        name = self.serving.draw()
        return None if name is None else self._deployments.get(name.lower())

    def deploy(self, deployment: Deployment, server: ModelServer) -> None:
        """Has a deployment answer, in place of the one of its name and with that one's share of the traffic.

        Blocks; raises :class:`StartFailed`, and then nothing has changed.
        """
        share = float(self._traffic.get(deployment.name, 0))
        self.serving.put(VariantSpec(deployment.name, server, deployment.settings.replicas, share))
        with self._lock:
            old = self._deployments.get(deployment.name.lower())
            self._deployments[deployment.name.lower()] = deployment
            closed = self._closed
        if old is not None:
            old.release()
        if closed:
            self.withdraw(deployment.name)

    def adjust(self, deployment: Deployment, settings: Settings) -> None:
        """Gives a deployment that answers other settings and as many replicas as they ask for.

        Blocks; raises :class:`StartFailed`, and then nothing has changed.
        """
        self.serving.scale({deployment.name: settings.replicas})
        deployment.settings = settings

    def withdraw(self, name: str) -> None:
        """Has a deployment answer no more; what it has begun, it finishes. One that does not answer is passed over."""
        with self._lock:
            deployment = self._deployments.pop(name.lower(), None)
        if deployment is not None:
            self.serving.remove(deployment.name)
            deployment.release()

    def divide(self, traffic: dict[str, int], mirror: dict[str, int]) -> None:
        """Divides the requests: each deployment's share in per cent, and the share that is sent to another one, too."""
        with self._lock:
            self._traffic = dict(traffic)
            self._mirror = next(((name, share) for name, share in mirror.items() if share), None)
            weights = {each.name: float(traffic.get(each.name, 0)) for each in self._deployments.values()}
            self.serving.set_weights(weights)

    def shadow(self) -> Deployment | None:
        """The deployment that a request goes to as well, as often as its share of the mirrored traffic says."""
        if self._mirror is None or self._random.random() * 100 >= self._mirror[1]:
            return None
        return self.deployment(self._mirror[0])

    def aside(self, work: Callable[[], None]) -> None:
        """Has work done that nobody waits for; what raises in it is lost, and none is begun after the end."""
        with self._lock:
            if self._closed:
                return
            if self._aside is None:
                self._aside = ThreadPoolExecutor(ASIDE, f"mirror-{self.name}")
            self._aside.submit(work)

    def note_capacity(self, deployment: str, instances: int, now: datetime) -> None:
        """Keeps how many instances a deployment has from ``now`` on."""
        with self._lock:
            self.capacity.setdefault(deployment, []).append((now, instances))

    def close(self) -> None:
        """Stops everything."""
        with self._lock:
            self._closed = True
            deployments, self._deployments = list(self._deployments.values()), {}
            aside = self._aside
        if aside is not None:
            aside.shutdown(wait=False, cancel_futures=True)
        self.serving.close()
        for deployment in deployments:
            deployment.release()


class Hosts:
    """The host names that are taken: an endpoint's name is its region's."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], Endpoint] = {}
        self._lock = threading.Lock()

    def add(self, endpoint: Endpoint) -> bool:
        """Gives an endpoint its name; False when another one has it."""
        with self._lock:
            return self._taken.setdefault((endpoint.region, endpoint.name.lower()), endpoint) is endpoint

    def find(self, region: str, name: str) -> Endpoint | None:
        return self._taken.get((region, name.lower()))

    def remove(self, endpoint: Endpoint) -> None:
        with self._lock:
            if self.find(endpoint.region, endpoint.name) is endpoint:
                del self._taken[endpoint.region, endpoint.name.lower()]


def new_key() -> str:
    """A key that nobody can guess."""
    return "".join(secrets.choice(_KEY) for _ in range(KEY_LENGTH))
