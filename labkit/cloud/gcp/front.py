"""The Google dialect's front: from a call over gRPC or REST to the function that answers it, and back.

Every call takes the same way: token -> caller; method -> permission, resource and access; the function that does it;
and the call in the audit trail. gRPC (:mod:`labkit.cloud.gcp.grpc_server`) and REST (:mod:`labkit.cloud.gcp.rest`) only
read the request's message and write the answer's. Cloud Storage has no protobuf interface that clients use, so it has a
front of its own (:mod:`labkit.cloud.gcp.storage`).
"""

from __future__ import annotations

import importlib
import logging
import re
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event
from labkit.cloud.engine.errors import CloudError, Denied
from labkit.cloud.gcp import audit_logs, errors, hosts, iam_roles, permissions, schema
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.hosts import Target
from labkit.cloud.gcp.iam import Iam
from labkit.cloud.gcp.identity import Identities, LabSettings
from labkit.cloud.gcp.projects import Project, Projects
from labkit.cloud.gcp.resource_names import parse
from labkit.cloud.gcp.schema import Method
from labkit.cloud.gcp.storage_store import Buckets
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from labkit.cloud.engine import Engine
    from labkit.cloud.gcp.grpc_server import GrpcServer

T = TypeVar("T")

#: A method's function: the call and its request message -> the response message.
Function = Callable[["Call", Any], Any]
#: Host names -> (private key, certificate and those above it), both PEM: what the gRPC server serves them with.
Certificates = Callable[..., tuple[bytes, bytes]]

#: Each service's module in this package; it follows :class:`Service`.
SERVICES = {
    "google.longrunning.Operations": "operations",
    "google.cloud.location.Locations": "locations",
    "google.cloud.resourcemanager.v3.Projects": "project_methods",
    "google.iam.v1.IAMPolicy": "iam_policy_service",
    "google.iam.admin.v1.IAM": "iam_admin",
    "google.iam.credentials.v1.IAMCredentials": "iam_credentials",
    "google.cloud.aiplatform.v1.ModelService": "vertex_models",
    "google.cloud.aiplatform.v1.EndpointService": "vertex_endpoints",
    "google.cloud.aiplatform.v1.PredictionService": "prediction",
    "google.cloud.aiplatform.v1.MetadataService": "metadata_service",
    "google.cloud.aiplatform.v1.TensorboardService": "tensorboards",
    "google.cloud.aiplatform.v1.PipelineService": "pipeline_jobs",
    "google.cloud.aiplatform.v1.ScheduleService": "schedules",
    "google.cloud.aiplatform.v1.JobService": "custom_jobs",
    "google.monitoring.v3.MetricService": "monitoring",
    "google.logging.v2.LoggingServiceV2": "logging_service",
}

#: The gcloud command, as its requests name it: it asks for two minutes again and again where the status is a server
#: error's, so that a refusal's is not. Its body, which gcloud shows, is the same.
_REPEATS = "google-cloud-sdk gcloud/"

log = logging.getLogger(__name__)


class Service(Protocol):
    """What a service's module has. It may also have ``PERMISSIONS`` (method -> permission, where the usual rule does
    not give it), ``RESOURCES`` (method -> the names of what a request is about, where there are several),
    ``SHAPE_ONLY`` (methods whose record is their whole effect), ``OLDER`` ((version, method) -> the answer's JSON over
    REST in an older version of the API, whose messages are others), ``NOTES`` (method -> its limits) and, for methods
    that have to be quick, ``READ`` (method -> what reads its JSON into the message, or says that it does not) and
    ``SHOWN`` (method -> the answer's JSON)."""

    #: By the method's name: the function that does it. A method that is not in it refuses.
    METHODS: Mapping[str, Function]


@dataclass(slots=True)
class Call:
    """One call on its way through the dialect, as a method's function sees it.

    ``resource`` is the name of what the call is about, as the request gives it; ``names`` its parts
    (``{"projects": "p", "locations": "us-central1", "endpoints": "42"}``). ``request`` is the HTTP request; over gRPC
    its headers are the call's metadata and its body is empty. ``answer_headers`` go with the answer: header fields over
    REST, initial metadata over gRPC (lower-case names).
    """

    cloud: GcpCloud
    request: Request
    target: Target
    method: Method
    transport: str
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    permission: str = ""
    resource: str = ""
    names: dict[str, str] = field(default_factory=dict)
    answer_headers: list[tuple[str, str]] = field(default_factory=list)
    #: What was asked of the permissions on the way: (permission, resource, whether it was granted).
    authorized: list[tuple[str, str, bool]] = field(default_factory=list)
    #: The request's message, once it was read, and the answer's, once there is one.
    message: Any = None
    response: Any = None
    #: What the call has changed of a policy, as an audit log's entry has it.
    policy_change: dict[str, Any] = field(default_factory=dict)
    _caller: Caller | None = None
    _project: Project | None = None

    @property
    def engine(self) -> Engine:
        return self.cloud.engine

    @property
    def caller(self) -> Caller:
        """Who made the call. Functions are only reached by calls whose token was verified."""
        assert self._caller is not None
        return self._caller

    @property
    def project(self) -> Project:
        """The project that the resource is in (``.id``, ``.number``), the caller's where the call names none."""
        return self._project or self.cloud.projects.own

    @property
    def location(self) -> str:
        """The location that the resource is in (``us-central1``), or ``""``."""
        return self.names.get("locations", "")

    @property
    def parent(self) -> str:
        """``projects/NUMBER/locations/LOCATION``: resources' names in answers begin so, with the project's number."""
        return f"projects/{self.project.number}/locations/{self.location}"

    @property
    def scope(self) -> str:
        """The project as the engine keeps metrics and logs apart."""
        return f"gcp:{self.project.id}"

    @property
    def read_only(self) -> bool:
        return self.method.name.startswith(("Get", "List", "Query", "Search", "Predict", "RawPredict", "Wait", "Test"))

    def authorize(self, permission: str, resource: str, caller: Caller | None = None) -> None:
        """Raises ``PERMISSION_DENIED``, with its details, unless the caller (another one, if given) may do this."""
        try:
            self.engine.access.authorize(caller or self.caller, permission, resource, {"service": self.target.api})
        except Denied as denied:
            self.authorized.append((permission, resource, False))
            raise permissions.denied(denied.message, self.target.api, permission, resource) from None
        self.authorized.append((permission, resource, True))

    def store(self, kind: Callable[[], T]) -> T:
        """The one instance of ``kind`` for the call's project and location, made at first use and gone at a reset.

        Its ``close()`` is called then, if it has one.
        """
        return self.cloud.store(kind, self.project.id, self.location)

    def operation(self, work: Callable[[], Any], *, metadata: Any = None, below: str = "") -> Any:
        """Does ``work`` as a long-running operation and returns its ``google.longrunning.Operation``.

        ``work`` runs in a thread of its own and returns the response's message (None: Empty); what it raises becomes
        the operation's error. The answer waits for up to 2 s, so that short work is ``done`` in it. ``metadata`` is
        the metadata's message, whose ``generic_metadata`` is kept up; the method's own type where none is given. The
        operation's name is below ``below`` (``projects/N/locations/L/endpoints/1``), or below :attr:`parent`.
        """
        from labkit.cloud.gcp import operations

        return operations.begin(self, work, metadata, below or self.parent)


class GcpCloud:
    """Google Cloud, on the engine: a :class:`labkit.cloud.dialect.Dialect`."""

    name = "gcp"

    def __init__(
        self,
        engine: Engine,
        lab: LabSettings,
        clients: Callable[[], Mapping[str, str]] = dict[str, str],
        certificates: Certificates | None = None,
    ) -> None:
        self.engine = engine
        self.lab = lab
        #: The variables that lead code which the clouds run to them, without an identity.
        self.clients = clients
        self.identities = Identities(lab, lambda: self.iam)
        self.projects = Projects()
        #: Cloud Storage's content: ``read(bucket, name)``, ``names(bucket, prefix)``.
        self.buckets = Buckets(lab.run / "gcs", engine.clock.now)
        #: Accounts, roles and policies, and what they decide.
        self.iam = Iam(self)
        engine.access.use(self.name, self.iam)
        self._certificates = certificates
        self._stores: dict[tuple[Any, str, str], Any] = {}
        self._grpc: GrpcServer | None = None
        self._lock = threading.RLock()

    # -- what the gateway asks -------------------------------------------------------------------------------------

    def serves(self, host: str) -> bool | str:
        target = hosts.resolve(host)
        return target if isinstance(target, str) else target is not None

    def front(self, request: Request) -> bool:
        return self.identities.metadata_request(request.raw_path)

    def handle(self, request: Request) -> Response:
        """Answers one request over HTTP/1.1; errors, refusals and the kit's own bugs included."""
        response = self._handle(request)
        if response.status == 501 and _REPEATS in request.headers.get("user-agent"):
            response.status = 400
        return response

    def _handle(self, request: Request) -> Response:
        if not request.host:
            return self.identities.answer(request)
        target = hosts.resolve(request.host)
        if not isinstance(target, Target):
            why = target or f"{request.host} is no host of Google Cloud."
            return errors.response(errors.refusal(request.host, why))
        module = importlib.import_module(f"{__package__}.{hosts.FRONTS.get(target.api, 'rest')}")
        return cast(Response, module.answer(self, target, request))

    def http2(self, host: str) -> socket.socket:
        """A connection to the gRPC server, for the bytes of a client that speaks HTTP/2 only to ``host``."""
        return self.grpc_server.connect(host)

    def warm(self) -> None:
        """Imports and makes what the first calls need, so that they do not wait for it."""
        schema.pool()
        schema.methods()
        iam_roles.predefined()
        for name in {*SERVICES.values(), *hosts.FRONTS.values(), "rest"}:
            importlib.import_module(f"{__package__}.{name}")
        importlib.import_module(f"{__package__}.storage").tables()
        if self._certificates is not None:
            _ = self.grpc_server

    def inventory(self) -> dict[str, list[str]]:
        with self._lock:
            stores = list(self._stores.values())
        found = self.buckets.inventory()
        for store in stores:
            if hasattr(store, "inventory"):
                for kind, names in store.inventory().items():
                    found.setdefault(kind, []).extend(names)
        return {kind: names for kind, names in found.items() if names}

    def reset(self) -> None:
        with self._lock:
            stores, self._stores = list(self._stores.values()), {}
        for store in stores:
            if close := getattr(store, "close", None):
                close()
        self.buckets.close()
        self.projects.reset()
        self.identities.reset()
        self.iam.reset()

    def close(self) -> None:
        self.reset()
        if self._grpc is not None:
            self._grpc.close()

    # -- what services and transports ask ----------------------------------------------------------------------------

    @property
    def grpc_server(self) -> GrpcServer:
        """The gRPC server, started when it is first asked for."""
        with self._lock:
            if self._grpc is None:
                from labkit.cloud.gcp.grpc_server import GrpcServer

                assert self._certificates is not None
                self._grpc = GrpcServer(self, *self._certificates(*hosts.WILDCARDS))
            return self._grpc

    def store(self, kind: Callable[[], T], project: str, location: str = "") -> T:
        """The one instance of ``kind`` for a project (its id) and location."""
        key = (kind, project, location)
        with self._lock:
            if key not in self._stores:
                self._stores[key] = kind()
            return cast(T, self._stores[key])

    def do(self, call: Call, message: Any) -> Any:
        """The response to a call whose request was read; whatever goes wrong is raised as its :class:`GcpError`.

        All of it is in the audit trail.
        """
        try:
            answer = self._do(call, message)
        except CloudError as error:
            failure = errors.of_engine(error)
        except Exception as error:
            failure = self.defect(call.method.dotted, error)
        else:
            call.response = answer
            self.record(call)
            return answer
        self.record(call, failure)
        raise failure

    def _do(self, call: Call, message: Any) -> Any:
        call.message = message
        call._caller = self.identities.caller(call.request, call.target, call.method.dotted)
        call.resource = _named(call.method, message)
        call.names = parse(call.resource)
        if (project := call.names.get("projects")) and project != "-":
            call._project = self.projects.find(project)
        service = service_of(call.method)
        function = service.METHODS.get(call.method.name) if service else None
        if function is None:
            raise errors.refusal(call.method.dotted)
        call.permission = permissions.of(call.method, getattr(service, "PERMISSIONS", {}), call.resource)
        if call.permission:
            named = getattr(service, "RESOURCES", {}).get(call.method.name)
            for resource in named(message) if named else (call.resource,):
                call.authorize(call.permission, resource)
        if call.location and call.target.region and call.location != call.target.region:
            raise errors.invalid(
                f"{call.request.host} serves {call.target.region} only, and {call.resource} is in {call.location}; "
                f"send the request to {call.location}-{call.target.api}.googleapis.com."
            )
        return function(call, message)

    def refuse(self, call: Call, failure: GcpError) -> GcpError:
        """The answer to a call whose method or request nobody knows: ``failure``, if a caller of the lab's sent it.

        It is in the audit trail too.
        """
        try:
            call._caller = self.identities.caller(call.request, call.target, call.method.dotted)
        except GcpError as error:
            failure = error
        self.record(call, failure)
        return failure

    def defect(self, what: str, error: Exception) -> GcpError:
        """The answer to a call that the kit failed over; the traceback is in the server's log."""
        log.exception("%s failed", what, exc_info=error)
        return GcpError(
            "UNIMPLEMENTED",
            f"The local clouds could not serve {what} ({type(error).__name__}: {error}); see server.log.",
        )

    def record(self, call: Call, failure: GcpError | None = None) -> None:
        """Writes the call to the audit trail, and to Cloud Audit Logs as the policies want it."""
        audit_logs.write(self, audit_logs.of_call(call, failure))
        self.engine.audit.record(
            Event(
                at=self.engine.clock.now(),
                cloud=self.name,
                service=call.target.api,
                operation=call.permission or call.method.dotted,
                caller=call._caller,
                region=call.location or call.target.region,
                resource=call.resource,
                status=failure.status if failure else 200,
                error=failure.code if failure else "",
                message=failure.message if failure else "",
                read_only=call.read_only,
                request_id=call.request_id,
                client=call.request.headers.get("user-agent"),
            )
        )


def service_of(method: Method) -> Service | None:
    """The module that serves the method's service, or None where none does."""
    name = SERVICES.get(method.stable_service)
    return cast(Service, importlib.import_module(f"{__package__}.{name}")) if name else None


_VARIABLE = re.compile(r"\{([a-z0-9_.]+)")
#: The fields that name a resource where a method's path does not.
_USUAL = ("name", "parent", "resource", "log_name")


def _named(method: Method, message: Any) -> str:
    """The name of the resource that a request is about: the field that its REST path begins with."""
    fields = [found for binding in method.bindings if (found := _VARIABLE.findall(binding.template))]
    for path in [each[0] for each in fields] or _USUAL:
        value = message
        for part in path.split("."):
            value = getattr(value, part, "")
        if value and isinstance(value, str):
            return value
    return ""
