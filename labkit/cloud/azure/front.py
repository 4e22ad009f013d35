"""The Azure dialect's front: from a request to the service that answers it, and back.

Every request takes the same way: host name -> service; credential -> caller; operation, access, the function that does
it; its answer in the service's own shape, and the call in the audit trail.
"""

from __future__ import annotations

import importlib
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import parse_qsl

from labkit.cloud.azure import arm, errors, hosts, identity
from labkit.cloud.azure.authorization import Authorization
from labkit.cloud.azure.directory import Directory
from labkit.cloud.azure.errors import AzureError, Codes
from labkit.cloud.azure.hosts import Target
from labkit.cloud.azure.identity import Identities, LabSettings
from labkit.cloud.azure.resources import Resource, Resources
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from labkit.cloud.engine import Engine

T = TypeVar("T")

#: Each service's module in this package; it follows :class:`Service`.
SERVICES = {
    "arm": "arm",
    "login": "login",
    "graph": "graph",
    "blob": "blob_service",
    "scoring": "scoring",
    "workspace": "runs_service",
    "metrics": "monitor_metrics",
    "log-analytics": "monitor_logs",
}

log = logging.getLogger(__name__)


class Service(Protocol):
    """What a service's module has."""

    #: The codes that it has of its own for engine errors.
    ERRORS: Codes

    def answer(self, call: Call) -> Response:
        """Authenticates, authorizes and does what the call asks; sets ``call.operation`` and ``call.resource``."""

    def failure(self, call: Call, error: AzureError) -> Response:
        """An error in the service's own shape."""


@dataclass(slots=True)
class Call:
    """One call on its way through the dialect, as an operation's function sees it.

    ``operation`` is the action that a role must allow, ``resource`` the id of what the call is about, ``query`` the
    query's parameters by lower-case name, ``outer`` the batch or deployment that the call is part of.
    """

    cloud: AzureCloud
    request: Request
    request_id: str
    target: Target
    query: dict[str, str] = field(default_factory=dict)
    operation: str = ""
    resource: str = ""
    read_only: bool = False
    workspace_id: str = ""
    outer: Call | None = None
    _caller: Caller | None = None

    @property
    def engine(self) -> Engine:
        return self.cloud.engine

    @property
    def service(self) -> str:
        return self.target.service

    @property
    def subscription(self) -> str:
        """The id of the lab's subscription: the only one that calls get past Resource Manager with."""
        return self.cloud.identities.subscription

    @property
    def api_version(self) -> str:
        return self.query.get("api-version", "")

    @property
    def caller(self) -> Caller:
        """Who made the call. Functions are only reached by calls whose credential was verified."""
        assert self._caller is not None
        return self._caller

    @property
    def workspace(self) -> Resource:
        """The Azure Machine Learning workspace that the call's path names."""
        return self.cloud.resources.require(self.workspace_id)

    @property
    def region(self) -> str:
        """The host's region, or that of the workspace that the path names, or ``""``."""
        if self.target.region or not self.workspace_id:
            return self.target.region
        found = self.cloud.resources.get(self.workspace_id)
        return found.location if found else ""

    @property
    def scope(self) -> str:
        """The workspace as the engine keeps metrics and logs apart; the subscription where there is none."""
        return f"azure:{(self.workspace_id or f'/subscriptions/{self.subscription}').lower()}"

    def body(self) -> dict[str, Any]:
        """The request's JSON object; raises :class:`AzureError` when it is none."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError as error:
            raise AzureError(
                "InvalidRequestContent",
                f"The request content was invalid and could not be deserialized: '{error}'.",
                400,
            ) from None
        if not isinstance(body, dict):
            raise AzureError(
                "InvalidRequestContent", "The request content was invalid: it has to be a JSON object.", 400
            )
        return body

    def store(self, kind: Callable[[], T]) -> T:
        """The one instance of ``kind`` for the call's workspace (or subscription); closed and gone with it."""
        return self.cloud.resources.store(kind, self.workspace_id or f"/subscriptions/{self.subscription}")

    def user_error(self, message: str, status: int, inner: str) -> AzureError:
        """An error of Azure Machine Learning's own; see :func:`labkit.cloud.azure.errors.user_error`."""
        return errors.user_error(message, status, inner, self.region, self.engine.clock.now(), self.request_id)


class AzureCloud:
    """Azure, on the engine: a :class:`labkit.cloud.dialect.Dialect`."""

    name = "azure"

    def __init__(
        self, engine: Engine, lab: LabSettings, clients: Callable[[], Mapping[str, str]] = dict[str, str]
    ) -> None:
        self.engine = engine
        self.lab = lab
        #: The variables that lead code which the clouds run to them, without an identity.
        self.clients = clients
        self.identities = Identities(lab)
        self.resources = Resources()
        self.authorization = Authorization(self.identities, engine.clock.now)
        self.resources.when_deleted = self.authorization.forget
        engine.access.use(self.name, self.authorization)
        self.directory = Directory(self.identities, engine.clock.now)
        #: The ids of what the lab has from the beginning.
        self.laid_out: frozenset[str] = frozenset()
        arm.lay_out(self)

    # -- what the gateway asks -------------------------------------------------------------------------------------

    def serves(self, host: str) -> bool | str:
        target = hosts.resolve(host)
        return target if isinstance(target, str) else target is not None

    def front(self, request: Request) -> bool:
        return request.raw_path == identity.PATH

    def handle(self, request: Request) -> Response:
        """Answers one request; errors, refusals and the kit's own bugs included."""
        if not request.host:
            return self.identities.answer(request)
        target = hosts.resolve(request.host)
        if not isinstance(target, Target):
            why = target or f"{request.host} is no host of Azure."
            return errors.arm_response(errors.refusal(request.host, why), str(uuid.uuid4()))
        call, service = self._call(request, target), _service(target)
        try:
            return self._answer(call, service)
        except AzureError as failure:
            return service.failure(call, failure)

    def send(self, request: Request, outer: Call) -> Response:
        """Answers a request that is part of another call; raises :class:`AzureError`."""
        call = self._call(request, outer.target)
        call.outer = outer
        return self._answer(call, _service(outer.target))

    def inventory(self) -> dict[str, list[str]]:
        return arm.inventory(self)

    def reset(self) -> None:
        self.resources.reset()
        self.identities.reset()
        self.authorization.reset()
        self.directory.reset()
        arm.lay_out(self)

    def close(self) -> None:
        self.resources.reset()

    def warm(self) -> None:
        """Imports and makes what the first calls need, so that they do not wait for it."""
        self.identities.tokens.issue(self.identities.learner, arm.AUDIENCES[0])
        arm.table()

    def _call(self, request: Request, target: Target) -> Call:
        query = {name.lower(): value for name, value in parse_qsl(request.query, keep_blank_values=True)}
        return Call(self, request, str(uuid.uuid4()), target, query)

    def _answer(self, call: Call, service: Service) -> Response:
        """The service's answer; whatever goes wrong is raised as its error, and all is in the audit trail."""
        try:
            response = service.answer(call)
        except CloudError as error:
            failure = errors.of_engine(error, service.ERRORS)
        except Exception as error:
            what = call.operation or f"{call.request.method} {call.request.path}"
            log.exception("%s failed", what)
            why = f"The local clouds could not serve {what} ({type(error).__name__}: {error}); see server.log."
            failure = errors.refusal(what, why)
        else:
            self._record(call, response.status)
            return response
        self._record(call, failure.status, failure)
        raise failure

    def _record(self, call: Call, status: int, failure: AzureError | None = None) -> None:
        """Writes the call to the audit trail."""
        self.engine.audit.record(
            Event(
                at=self.engine.clock.now(),
                cloud=self.name,
                service=call.service,
                operation=call.operation,
                caller=call._caller,
                region=call.region,
                resource=call.resource,
                status=status,
                error=failure.code if failure else "",
                message=failure.message if failure else "",
                read_only=call.read_only,
                request_id=call.request_id,
                client=call.request.headers.get("user-agent"),
                parameters={"method": call.request.method, "correlation": (call.outer or call).request_id},
            )
        )


def _service(target: Target) -> Service:
    return cast(Service, importlib.import_module(f"{__package__}.{SERVICES[target.service]}"))
