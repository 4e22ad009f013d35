"""Long-running operations: the work goes on after the answer, and clients ask an operation's own resource how it is.

https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import errors
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.routes import MACHINE_LEARNING, SUBSCRIPTION, Route
from labkit.cloud.azure.wire import MANAGEMENT, json_response, time_text
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: Seconds for which a poller's question is held while the work goes on.
HELD = 2.0
#: Milliseconds after which a poller is asked to come back. ``Retry-After: 0`` would make it wait for 30 s.
RETRY_AFTER_MS = 100
#: Operations that are remembered.
KEPT = 1000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Operation:
    """Work that goes on. ``status`` is ``InProgress``, ``Succeeded`` or ``Failed``."""

    id: str
    started: datetime
    status: str = "InProgress"
    ended: datetime | None = None
    error: AzureError | None = None
    result: Any = None
    done: threading.Event = field(default_factory=threading.Event, repr=False)

    def view(self, path: str) -> dict[str, Any]:
        """The operation as its resource shows it."""
        shown: dict[str, Any] = {
            "id": path,
            "name": self.id,
            "status": self.status,
            "startTime": time_text(self.started),
            "percentComplete": 100.0 if self.ended else 0.0,
        }
        if self.ended is not None:
            shown["endTime"] = time_text(self.ended)
        if self.error is not None:
            shown["error"] = self.error.body()
        elif self.ended is not None and self.result is not None:
            shown["properties"] = self.result
        return shown


class Operations:
    """The operations of the subscription, the oldest forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Operation] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, operation: Operation) -> None:
        with self._lock:
            self._known[operation.id] = operation
            while len(self._known) > KEPT:
                self._known.popitem(last=False)

    def get(self, name: str) -> Operation:
        """The operation with this id; raises :class:`AzureError`."""
        found = self._known.get(name.lower())
        if found is None:
            raise AzureError("OperationNotFound", f"The operation '{name}' was not found.", 404)
        return found


def begin(
    call: Call,
    work: Callable[[], Any],
    *,
    status: int = 202,
    body: dict[str, Any] | None = None,
    location: str = "",
    result: bool = False,
    own_address: str = "",
) -> Response:
    """Has ``work`` done in a thread of its own and answers ``status`` with ``body`` and the operation's address.

    What ``work`` raises becomes the operation's error; what it returns, its result. ``location`` is the region whose
    operations it belongs to (the workspace's). With ``result`` the answer has a ``Location`` too, where the result is.
    ``own_address`` is the path below which the operation is, where it is not among its provider's.
    """
    operation = Operation(str(uuid.uuid4()), call.engine.clock.now())
    _store(call).add(operation)

    def run() -> None:
        try:
            operation.result = work()
            operation.status = "Succeeded"
        except CloudError as error:
            operation.error = errors.of_engine(error)
            operation.status = "Failed"
        except Exception as error:
            log.exception("%s failed", call.operation)
            why = f"The local clouds failed over {call.operation} ({type(error).__name__}: {error}); see server.log."
            operation.error = AzureError("InternalServerError", why, 500)
            operation.status = "Failed"
        finally:
            operation.ended = call.engine.clock.now()
            operation.done.set()

    threading.Thread(target=run, name=f"operation-{operation.id[:8]}", daemon=True).start()
    headers = [("retry-after-ms", str(RETRY_AFTER_MS)), ("x-ms-async-operation-timeout", "PT1H")]
    subscription, end = f"/subscriptions/{call.subscription}", f"{operation.id}?api-version={call.api_version}"
    if own_address:
        headers.append(("Azure-AsyncOperation", f"{MANAGEMENT}{own_address}/{end}"))
    elif not call.operation.startswith(f"{MACHINE_LEARNING}/"):
        headers.append(("Location", f"{MANAGEMENT}{subscription}/operationresults/{end}"))
    else:
        where = f"{subscription}/providers/{MACHINE_LEARNING}/locations/{location or call.region}"
        headers.append(("Azure-AsyncOperation", f"{MANAGEMENT}{where}/mfeOperationsStatus/{end}"))
        if result or body is None:
            headers.append(("Location", f"{MANAGEMENT}{where}/mfeOperationResults/{end}"))
    if body is None:
        return Response(status, headers)
    return json_response(status, body, headers)


def wait(call: Call, number: str) -> None:
    """Waits until an operation has ended; raises its error."""
    operation = _store(call).get(number)
    operation.done.wait()
    if operation.error is not None:
        raise operation.error


def _store(call: Call) -> Operations:
    return call.cloud.resources.store(Operations, f"/subscriptions/{call.subscription}")


def _find(call: Call, names: dict[str, str]) -> Operation:
    operation = _store(call).get(names["operation"])
    operation.done.wait(HELD)
    return operation


def get_status(call: Call, names: dict[str, str]) -> Response:
    """How the operation is. The answer is held for up to two seconds while it goes on."""
    operation = _find(call, names)
    headers = [] if operation.ended else [("retry-after-ms", str(RETRY_AFTER_MS))]
    return json_response(200, operation.view(call.request.path), headers)


def get_result(call: Call, names: dict[str, str]) -> Response:
    """The operation's result: 202 while it goes on, then what it returned, or its error."""
    operation = _find(call, names)
    if not operation.ended:
        headers = [("Location", f"{MANAGEMENT}{call.request.target}"), ("retry-after-ms", str(RETRY_AFTER_MS))]
        return Response(202, headers)
    if operation.error is not None:
        raise operation.error
    return Response(200) if operation.result is None else json_response(200, operation.result)


_OPERATION = f"{SUBSCRIPTION}/providers/{MACHINE_LEARNING}/locations/{{location}}"

ROUTES = [
    Route("GET", f"{_OPERATION}/mfeOperationsStatus/{{operation}}", get_status),
    Route("GET", f"{_OPERATION}/mfeOperationResults/{{operation}}", get_result),
    Route("GET", f"{SUBSCRIPTION}/operationresults/{{operation}}", get_result),
]
