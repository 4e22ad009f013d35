"""What is the same for every kind of job of Vertex AI: they are got, listed, cancelled, and forgotten once ended.

https://cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1#jobservice
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from labkit.cloud.gcp import schema
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.polling import Polling, Watched
from labkit.cloud.gcp.resource_filters import Fields, judge
from labkit.cloud.gcp.vertex_listing import listed
from labkit.cloud.gcp.vertex_names import does_not_exist, snake, split, v1

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call


class JobRun(Watched):
    """A job that goes on or has ended, whose ``message`` has a ``state``."""

    #: Whether it is in lists: what another job has begun is not.
    is_listed = True

    def __init__(self, message: Any) -> None:
        super().__init__(message)
        self.id = self.name.rpartition("/")[2]

    @property
    def state(self) -> str:
        """As the API names it: ``JOB_STATE_RUNNING``."""
        states = self.message.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
        return str(states[self.message.state].name)

    @property
    def further(self) -> dict[str, str]:
        """Texts by which it can be found, beside those of its message."""
        return {}

    def cancel(self) -> None:
        """Asks for the end of it; nothing changes where it has ended."""
        raise NotImplementedError


J = TypeVar("J", bound=JobRun)


class Jobs(Generic[J]):
    """The jobs of one kind in one project and location, by id.

    ``collection`` is what their names have before the id, ``leftovers`` what people call them where they are left over,
    or ``""``, and ``fields`` are what they can be filtered by.
    """

    collection: ClassVar[str]
    leftovers: ClassVar[str] = ""
    fields: ClassVar[Fields]

    def __init__(self) -> None:
        self.runs: dict[str, J] = {}
        self.lock = threading.RLock()

    @classmethod
    def noun(cls) -> str:
        """One of them, as the API names its type: ``CustomJob``."""
        return cls.collection[0].upper() + cls.collection[1:-1]

    def add(self, run: J) -> None:
        with self.lock:
            self.runs[run.id] = run

    def run(self, call: Call, name: str) -> J:
        """One of them; raises ``NOT_FOUND``."""
        found = self.runs.get(split(call, name, self.collection)[0])
        if found is None:
            raise does_not_exist(self.collection)
        return found

    def inventory(self) -> dict[str, list[str]]:
        names = sorted(run.message.display_name for run in self.runs.values())
        return {self.leftovers: names} if self.leftovers else {}

    def close(self) -> None:
        for run in list(self.runs.values()):
            run.cancel()


def methods(kind: type[Jobs[Any]]) -> dict[str, Callable[[Call, Any], Any]]:
    """The calls that get, list, cancel and delete jobs of this kind, by name."""
    noun, field = kind.noun(), snake(kind.collection)

    def get(call: Call, request: Any) -> Any:
        """One who asks again while nothing has changed is answered when something has, or in 2 s."""
        run = call.store(kind).run(call, request.name)
        call.store(Polling).hold(call, run)
        return run.view()

    def list_(call: Call, request: Any) -> Any:
        jobs, meets = call.store(kind), judge(request.filter, kind.fields)
        with jobs.lock:
            runs = [run for run in jobs.runs.values() if run.is_listed]
        found, token = listed([shown for run in runs if meets(shown := run.view(), run.further)], request)
        return getattr(v1, f"List{noun}sResponse")(**{field: found}, next_page_token=token)

    def cancel(call: Call, request: Any) -> Any:
        call.store(kind).run(call, request.name).cancel()
        return schema.message("google.protobuf.Empty")()

    def delete(call: Call, request: Any) -> Any:
        """Forgets a job that has ended; what it made stays. Long-running."""
        jobs = call.store(kind)
        with jobs.lock:
            run = jobs.run(call, request.name)
            if not run.over:
                raise GcpError("FAILED_PRECONDITION", f"The {noun} {run.name} is {run.state}: cancel it first.")
            del jobs.runs[run.id]
        return call.operation(lambda: None, below=run.name)

    return {f"Get{noun}": get, f"List{noun}s": list_, f"Cancel{noun}": cancel, f"Delete{noun}": delete}
