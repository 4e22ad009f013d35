"""Long-running operations, over both transports and at every place that an API keeps them.

https://google.aip.dev/151, https://github.com/googleapis/googleapis/blob/master/google/longrunning/operations.proto
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.errors import CloudError
from labkit.cloud.gcp import errors, paging, schema
from labkit.cloud.gcp.errors import GcpError

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: Seconds for which the first answer, and a poller's question, are held while the work goes on.
HELD = 2.0
#: Seconds that :func:`wait_operation` waits at most.
LONGEST_WAIT = 300.0
#: Operations that are remembered in one project and location.
KEPT = 1000

_PARTIAL = "google.cloud.aiplatform.v1.GenericOperationMetadata"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Operation:
    """Work that goes on. ``message`` is its ``google.longrunning.Operation``; ``lock`` guards it."""

    message: Any
    metadata: Any
    preview_of: str = ""  #: the API whose preview began it, so that its messages are named as the preview's
    done: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def view(self) -> Any:
        """The operation as it is now: a message of the caller's own."""
        with self.lock:
            shown = type(self.message)()
            shown.CopyFrom(self.message)
            return shown

    def pack(self, into: Any, message: Any) -> None:
        """Packs a message into the operation's ``response`` or ``metadata``; the caller holds the lock."""
        into.Pack(schema.in_preview(self.preview_of, message) if self.preview_of else message)


class Operations:
    """The operations of one project and location, the oldest forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Operation] = OrderedDict()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Operation]:
        with self._lock:
            return iter(list(self._known.values()))

    def add(self, operation: Operation) -> None:
        with self._lock:
            self._known[_number(operation.message.name)] = operation
            while len(self._known) > KEPT:
                self._known.popitem(last=False)

    def get(self, name: str) -> Operation:
        """The operation of this name; raises ``NOT_FOUND``."""
        found = self._known.get(_number(name))
        if found is None:
            raise GcpError("NOT_FOUND", f"The operation {name} was not found.")
        return found

    def remove(self, name: str) -> None:
        with self._lock:
            self._known.pop(_number(name), None)


def begin(call: Call, work: Callable[[], Any], metadata: Any, below: str) -> Any:
    """See :meth:`labkit.cloud.gcp.front.Call.operation`."""
    assert call.method.operation is not None
    if metadata is None:
        metadata = schema.message(call.method.operation[1])()
    message = schema.message("google.longrunning.Operation")(name=f"{below}/operations/{secrets.randbits(62)}")
    operation = Operation(message, metadata, call.method.api if call.method.preview else "")
    _stamp(call, operation, begun=True)
    call.store(Operations).add(operation)

    def run() -> None:
        outcome = _outcome(call, work)
        with operation.lock:
            message.done = True
            if isinstance(outcome, GcpError):
                message.error.CopyFrom(outcome.rpc_status())
            else:
                operation.pack(message.response, outcome)
        _stamp(call, operation)
        operation.done.set()

    threading.Thread(target=run, name=f"operation-{_number(message.name)}", daemon=True).start()
    operation.done.wait(HELD)
    return operation.view()


def _outcome(call: Call, work: Callable[[], Any]) -> Any:
    """What the work returned, or its error."""
    try:
        result = work()
    except CloudError as error:
        return errors.of_engine(error)
    except Exception as error:
        return call.cloud.defect(call.method.dotted, error)
    return schema.message("google.protobuf.Empty")() if result is None else result


def _stamp(call: Call, operation: Operation, *, begun: bool = False) -> None:
    """Writes the lab's time into the metadata, where it is of the kind that has times."""
    now = call.engine.clock.now()
    metadata = operation.metadata
    kinds = metadata.DESCRIPTOR.fields_by_name
    with operation.lock:
        if "generic_metadata" in kinds and kinds["generic_metadata"].message_type.full_name == _PARTIAL:
            if begun:
                metadata.generic_metadata.create_time.FromDatetime(now)
            metadata.generic_metadata.update_time.FromDatetime(now)
        operation.pack(operation.message.metadata, metadata)


def _number(name: str) -> str:
    return name.rpartition("/")[2]


def get_operation(call: Call, request: Any) -> Any:
    """How the operation is. The answer is held for up to two seconds while it goes on."""
    operation = call.store(Operations).get(request.name)
    operation.done.wait(HELD)
    return operation.view()


def wait_operation(call: Call, request: Any) -> Any:
    """How the operation is once it has ended, or its timeout has passed."""
    operation = call.store(Operations).get(request.name)
    asked = request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else LONGEST_WAIT
    operation.done.wait(min(asked, LONGEST_WAIT))
    return operation.view()


def list_operations(call: Call, request: Any) -> Any:
    """The operations below a name, the last begun first; filters refuse, but for ``done=true`` and ``done=false``."""
    wanted = {"": None, "done=true": True, "done=false": False}
    asked = request.filter.replace(" ", "").replace(":", "=").lower()
    if asked not in wanted:
        raise errors.refusal(f"the filter {request.filter!r} of operations")
    views = [each.view() for each in call.store(Operations)]
    within = [each for each in views if _within(call, each.name, request.name) and wanted[asked] in (None, each.done)]
    page, token = paging.page(within[::-1], request.page_size, request.page_token)
    kind = schema.message("google.longrunning.ListOperationsResponse")
    return kind(operations=page, next_page_token=token)


def _within(call: Call, name: str, asked: str) -> bool:
    """Whether an operation is below the name asked for, which may hold the project's id or number."""
    asked = asked.removesuffix("/").removesuffix("/operations")
    asked = asked.replace(f"projects/{call.project.id}", f"projects/{call.project.number}", 1)
    return name.startswith(f"{asked}/")


def cancel_operation(call: Call, request: Any) -> Any:
    """Asks for an end, which nothing that the kit does can be brought to half-way: it has ended, or goes on."""
    call.store(Operations).get(request.name)
    return schema.message("google.protobuf.Empty")()


def delete_operation(call: Call, request: Any) -> Any:
    """Forgets an operation that has ended."""
    operations = call.store(Operations)
    if not operations.get(request.name).view().done:
        raise GcpError("FAILED_PRECONDITION", f"The operation {request.name} is still going on.")
    operations.remove(request.name)
    return schema.message("google.protobuf.Empty")()


METHODS = {
    "GetOperation": get_operation,
    "WaitOperation": wait_operation,
    "ListOperations": list_operations,
    "CancelOperation": cancel_operation,
    "DeleteOperation": delete_operation,
}
NOTES = {
    "CancelOperation": "best effort, as documented: work that has begun is done to its end",
    "ListOperations": "the filter may be done=true or done=false",
}

#: Whoever knows an operation's name may ask how it goes: Google has no permission for that, only for listing them.
PERMISSIONS = {
    "GetOperation": "",
    "WaitOperation": "",
    "CancelOperation": "",
    "DeleteOperation": "",
}
