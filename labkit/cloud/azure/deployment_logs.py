"""What a deployment's containers write, what happens to them, and how ``get_logs`` tells it.

Everything goes to the engine's logs, one group for each endpoint and table of Azure Monitor, so that
``getLogs`` and Log Analytics read the same
(https://learn.microsoft.com/azure/machine-learning/how-to-monitor-online-endpoints#logs).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading

from labkit.cloud.azure.wire import time_text
from labkit.cloud.engine import Engine
from labkit.cloud.engine.errors import Conflict, NotFound

CONSOLE, EVENTS, TRAFFIC = "AmlOnlineEndpointConsoleLog", "AmlOnlineEndpointEventLog", "AmlOnlineEndpointTrafficLog"
INFERENCE_SERVER, STORAGE_INITIALIZER = "inference-server", "storage-initializer"
#: Days for which a Log Analytics workspace keeps what it is sent, unless it is told otherwise.
RETENTION_DAYS = 30
#: What an instance goes through, in this order.
STAGES = ("SystemSetup", "UserContainerImagePull", "ModelDownload", "UserContainerStart")


def group(table: str, endpoint_id: str) -> str:
    """The engine's log group for a table's rows about one endpoint."""
    return f"{table}{endpoint_id.lower()}"


def lay_out(engine: Engine, scope: str, endpoint_id: str) -> None:
    """Makes an endpoint's log groups; one that an endpoint of the same name left behind goes on."""
    for table in (CONSOLE, EVENTS, TRAFFIC):
        with contextlib.suppress(Conflict):
            engine.logs.create_group(scope, group(table, endpoint_id))
        engine.logs.retain(scope, group(table, endpoint_id), RETENTION_DAYS)


class DeploymentLog:
    """The log of one deployment, across its generations: every change of it starts new instances.

    ``scope`` is that of the workspace. Safe to use from any thread.
    """

    def __init__(self, engine: Engine, scope: str, endpoint_id: str, deployment: str) -> None:
        self._engine = engine
        self._scope = scope
        self._endpoint = endpoint_id
        self._deployment = deployment
        self._lock = threading.Lock()
        self._generation = ""
        self._instances: list[str] = []
        self._stages: dict[str, str] = {}
        self._events: list[str] = []

    def begin(self, generation: str) -> None:
        """Begins a generation: what ``text`` shows is its log from now on."""
        with self._lock:
            self._generation = generation
            self._instances, self._events = [], []
            self._stages = dict.fromkeys(STAGES, "Unknown")

    def stage(self, name: str, status: str) -> None:
        """Notes how far the instances have come: ``InProgress``, ``Succeeded`` or ``Failed``."""
        with self._lock:
            self._stages[name] = status

    def event(self, name: str, message: str, kind: str = "Normal") -> None:
        """Notes something that happened to the containers."""
        when = time_text(self._engine.clock.now())
        with self._lock:
            self._events.append(f"Kind: Pod, Name: {name}, Type: {kind}, Time: {when}, Message: {message}")
        self._write(EVENTS, f"{self._deployment}/{self._generation}", json.dumps({"Name": name, "Message": message}))

    def server_line(self, replica: str, line: str) -> None:
        """Takes a line that an inference server wrote; ``replica`` tells its process apart."""
        instance = hashlib.sha256(f"{self._generation}/{replica}".encode()).hexdigest()[:20]
        stream = f"{self._deployment}/{INFERENCE_SERVER}/{instance}"
        with self._lock:
            if stream not in self._instances:
                self._instances.append(stream)
        self._write(CONSOLE, stream, line)

    def storage_line(self, line: str) -> None:
        """Takes a line about the download of the model and the code."""
        stream = f"{self._deployment}/{STORAGE_INITIALIZER}/{self._generation}"
        with self._lock:
            if stream not in self._instances:
                self._instances.append(stream)
        self._write(CONSOLE, stream, line)

    def lines(self, container: str, tail: int) -> list[str]:
        """The last lines of the current generation's containers of one kind, in order."""
        with self._lock:
            streams = [stream for stream in self._instances if stream.split("/")[1] == container]
        try:
            events = self._engine.logs.read(self._scope, group(CONSOLE, self._endpoint), streams)
        except NotFound:
            return []
        return [event.message for event in events[-tail:]] if tail > 0 else []

    def text(self, container: str, tail: int) -> str:
        """What ``getLogs`` answers: the instances' status, their events, and the last lines of a kind of container."""
        lines = self.lines(container, tail)
        with self._lock:
            stages = [f"{name}: {status}" for name, status in self._stages.items()]
            events = list(self._events)
        parts = ["Instance status:", *stages, "", "Container events:", *events, "", "Container logs:", *lines]
        return "\n".join(parts)

    def _write(self, table: str, stream: str, message: str) -> None:
        self._engine.logs.write(self._scope, group(table, self._endpoint), stream, message)
