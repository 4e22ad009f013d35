"""The AWS dialect's front: from a request to the function that answers it, and back.

Every request takes the same way: host name (or, without one, the credential's scope) -> service and region; signature
-> caller; protocol -> operation and parameters; allow-list; access; then the kit's own function or moto's. Whatever
happens, the answer has the service's own shape, and the call is in the audit trail.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import secrets
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.cloud.aws import (
    errors,
    events_own,
    hosts,
    moto_base,
    protocols,
    resources,
    runtime,
    signature,
    storage,
    validate,
)
from labkit.cloud.aws.access import Permissions
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.hosts import Refusal, Target
from labkit.cloud.aws.identity import LEARNER, Identities, Key
from labkit.cloud.aws.operations import ALLOWED
from labkit.cloud.aws.policy_keys import OfCall
from labkit.cloud.aws.resources import Need
from labkit.cloud.aws.settings import LearnersKeys
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event
from labkit.cloud.engine.errors import CloudError
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from moto.core.request import Request as MotoRequest

    from labkit.cloud.engine import Engine

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Services with functions of the kit's own: module ``labkit.cloud.aws.<name>``, whose ``OPERATIONS`` is the table.
OWN = {
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker_runtime",
    "cloudwatch": "cloudwatch",
    "logs": "logs",
    "sts": "sts",
    "s3": "s3",
    "iam": "iam",
    "ecr": "ecr",
    "cloudtrail": "cloudtrail",
    "events": "events",
    "lambda": "lambda_service",
    "scheduler": "scheduler_service",
    "sns": "sns",
    "sqs": "sqs",
}
#: Where a process started by the clouds asks for its role's credentials, on the plain front.
CREDENTIALS_PATH = "/_aws/credentials"
#: Operations that AWS takes without a signature; the kit has no identity providers.
UNSIGNED = ("AssumeRoleWithSAML", "AssumeRoleWithWebIdentity")

_WAITER = re.compile(r"(?:^|\s)m/(?:[A-Za-z0-9+-]+,)*B(?:,|\s|$)")


@dataclass(slots=True)
class Call:
    """One call on its way through the dialect, as an operation's function sees it.

    ``body`` is the request's body with S3's chunk encoding undone; ``resource`` the ARN of what the call is about.
    """

    cloud: AwsCloud
    request: Request
    request_id: str
    target: Target
    body: bytes = b""
    operation: str = ""
    protocol: str = ""
    resource: str = ""
    trailers: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] | None = None
    _caller: Caller | None = None
    _key: Key | None = None

    @property
    def engine(self) -> Engine:
        return self.cloud.engine

    @property
    def service(self) -> str:
        """boto3's name of the service."""
        return self.target.service

    @property
    def region(self) -> str:
        return self.target.region

    @property
    def account(self) -> str:
        return moto_base.ACCOUNT

    @property
    def scope(self) -> str:
        """The account and region as the engine keeps metrics and logs apart."""
        return f"aws:{self.account}:{self.region}"

    @property
    def caller(self) -> Caller:
        """Who signed the call. Functions are only reached by signed calls."""
        assert self._caller is not None
        return self._caller

    @property
    def key(self) -> Key:
        """The access key with which the call was signed."""
        assert self._key is not None
        return self._key

    @property
    def waiter(self) -> bool:
        """Whether a waiter of an SDK sent the call: botocore says so in its user agent (feature ``B``)."""
        return bool(_WAITER.search(self.request.headers.get("user-agent")))

    def store(self, kind: Callable[[], T]) -> T:
        """The one instance of ``kind`` for this account and region, made at first use and gone at reset."""
        return self.cloud.store(kind, self.account, self.region)


class AwsCloud:
    """AWS, on the engine: a :class:`labkit.cloud.dialect.Dialect`.

    ``clients`` gives the variables by which a process finds the local clouds; those that the cloud starts get them.
    """

    name = "aws"

    def __init__(self, engine: Engine, lab: LearnersKeys, clients: Callable[[], Mapping[str, str]] = dict) -> None:
        self.engine = engine
        self.lab = lab
        self.clients = clients
        self.identities = Identities(moto_base.ACCOUNT, lab.access_key_id, lab.secret_access_key)
        self._stores: dict[tuple[Any, str, str], Any] = {}
        self._stores_lock = threading.RLock()
        engine.access.use(self.name, Permissions(self))
        self._deaf = events_own.listen(self)
        moto_base.use_clock(engine.clock.now)
        moto_base.reset()

    # -- what the gateway asks -------------------------------------------------------------------------------------

    def serves(self, host: str) -> bool | str:
        target = hosts.resolve(host)
        return target.sentence if isinstance(target, Refusal) else target is not None

    def front(self, request: Request) -> bool:
        if request.raw_path == CREDENTIALS_PATH:
            return True
        authorization, query = request.headers.get("authorization"), request.query
        return (
            authorization.startswith((signature.V4, "AWS "))
            or "X-Amz-Credential=" in query
            or "AWSAccessKeyId=" in query
            or bool(request.headers.get("x-amz-target") or request.headers.get("x-amz-content-sha256"))
        )

    def handle(self, request: Request) -> Response:
        """Answers one request; errors, refusals and the kit's own bugs included."""
        if not request.host and request.raw_path == CREDENTIALS_PATH:
            return self._container_credentials(request)
        target = hosts.resolve(request.host) if request.host else _target_of_scope(request)
        request_id = (
            secrets.token_hex(8).upper() if isinstance(target, Target) and target.service == "s3" else str(uuid.uuid4())
        )
        if not isinstance(target, Target):
            refusal = target or Refusal(f"{request.host} is no host of AWS.")
            call = Call(self, request, request_id, Target(request.host, ""))
            self.record(call, 501, AwsError("NotImplemented", refusal.sentence, 501))
            return errors.refused_host(refusal.sentence, refusal.protocol, request_id)
        if target.service == hosts.REGISTRY:
            return _registry()
        call = Call(self, request, request_id, target, protocol=protocols.protocol_of(target.service, request))
        try:
            response = self._answer(call)
        except CloudError as error:
            failure = errors.of_engine(error, call.service)
        except NotImplementedError:
            failure = errors.refusal(call.service, call.operation)
        except Exception as error:
            log.exception("%s:%s failed", call.service, call.operation or "?")
            failure = _bug(call, error)
        else:
            self.record(call, response.status)
            return response
        self.record(call, failure.status, failure)
        return errors.response(failure, call.service, call.protocol, request_id, head=request.method == "HEAD")

    def inventory(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        if moto_base.loaded("s3"):
            found["buckets"] = sorted(moto_base.backend("s3").buckets)
        if moto_base.loaded("iam"):
            records = self.identities.iam()
            found["roles"] = sorted(role.name for role in records.roles.values())
            found["users"] = sorted(set(records.users) - {LEARNER})
            found["policies"] = sorted(p.name for p in records.managed_policies.values() if ":aws:policy/" not in p.arn)
        for service in ("sagemaker", "logs", "lambda", "sqs", "sns", "events", "scheduler"):
            if lister := getattr(sys.modules.get(f"{__package__}.{OWN[service]}"), "inventory", None):
                found |= lister(self)
        return {kind: names for kind, names in found.items() if names}

    def reset(self) -> None:
        with self._stores_lock:
            stores, self._stores = list(self._stores.values()), {}
        for each in stores:
            if close := getattr(each, "close", None):
                close()
        moto_base.reset()
        self.identities.reset()

    def close(self) -> None:
        self._deaf()
        self.reset()

    def warm(self) -> None:
        """Imports what the first calls need, so that they do not wait for it."""
        for service in ("sts", "iam", "s3"):
            protocols.model_of(service)
        self.identities.iam()
        moto_base.models("s3")

    def store(self, kind: Callable[[], T], account: str, region: str) -> T:
        """See :meth:`Call.store`."""
        at = (kind, account, region)
        with self._stores_lock:
            if at not in self._stores:
                self._stores[at] = kind()
            return self._stores[at]

    def stores(self, kind: Callable[[], T]) -> list[T]:
        """The instances of ``kind`` that there are, of every account and region."""
        with self._stores_lock:
            return [each for (its_kind, *_), each in self._stores.items() if its_kind is kind]

    # -- one call --------------------------------------------------------------------------------------------------

    def _answer(self, call: Call) -> Response:
        call.body = self._authenticate(call)
        if call.service == "sagemaker-runtime":
            return self._invoke(call)
        if call.service != "s3":
            call.body = call.request.body = protocols.decompressed(call.request, call.body)
        moto_request = storage.moto_request(call) if call.service == "s3" else None
        operation = protocols.find(call.service, call.request, moto_request)
        call.operation, call.protocol = operation.name, operation.protocol
        module = own(call.service)
        function = module.OPERATIONS.get(operation.name)
        served = function is not None or operation.name in ALLOWED.get(call.service, {})
        try:
            parameters = protocols.parse(operation, call.request, call.body, moto_request)
        except AwsError:
            if served:
                raise
            parameters = {}
        call.parameters = protocols.redacted(operation, parameters)
        if prepare := getattr(module, "prepare", None):
            prepare(call, parameters)
        self.authorize(call, parameters)
        if not served:
            raise errors.refusal(call.service, operation.name)
        if operation.model.input_shape is not None and call.service != "s3":
            validate.check(call.service, operation.model.input_shape, parameters)
        if check := getattr(module, "check", None):
            check(call, parameters)
        if function is None:
            response = self._moto(call, moto_request)
            finish = getattr(module, "finish", None)
            return finish(call, parameters, response) if finish else response
        result = function(call, parameters)
        return result if isinstance(result, Response) else protocols.serialize(operation, result, call.request_id)

    def _authenticate(self, call: Call) -> bytes:
        """Verifies the signature, sets the caller and returns the body as the service reads it."""
        service, is_s3 = call.service, call.service == "s3"
        credential = None
        try:
            credential = signature.presented(call.request)
            if credential is None and is_s3 and storage.is_form(call.request):
                raise errors.refusal("s3", "PostObject")
            if credential is None:
                if service == "sts" and protocols.asked(service, call.request) in UNSIGNED:
                    raise errors.refusal(service, protocols.asked(service, call.request))
                raise errors.unauthenticated(service)
            if credential.form.startswith("v2"):
                if not is_s3:
                    raise errors.unauthenticated(service)
                if call.region not in signature.V2_REGIONS:
                    raise signature.Rejected(
                        "v2-unsupported",
                        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
                    )
            key = self.identities.find(credential.access_key)
            if key is None or (key.token and not credential.token):
                raise errors.unknown_key(service, credential.access_key)
            now = datetime.now(UTC)
            if credential.token != key.token:
                raise errors.bad_token(service, credential.token)
            if key.expires and now >= key.expires:
                raise errors.expired_token(service, credential.token)
            region = storage.signing_region(call, credential) if is_s3 else call.region
            if not credential.form.startswith("v2") and (
                wrong := errors.wrong_scope(service, credential, region=region, signed_as=hosts.SIGNED_AS[service])
            ):
                raise wrong
            call._key = key
            payload = signature.verify(call.request, credential, key.secret, now, s3=is_s3, bucket=call.target.bucket)
        except signature.Rejected as error:
            raise errors.rejected(service, error, credential) from None
        call._caller = Caller("aws", key.principal, call.account, call.region, key.access_key)
        call.trailers = payload.trailers
        if not key.token:
            used_for = hosts.SIGNED_AS[service]
            self.identities.note_use(key.access_key, self.engine.clock.now(), used_for, call.region)
        return payload.body

    def authorize(self, call: Call, parameters: Mapping[str, Any]) -> None:
        """Asks ``engine.access`` for everything that the call does."""
        needs = resources.of_call(call, parameters)
        bucket = parameters.get("Bucket")
        call.resource = needs[0].resource if needs else f"arn:aws:s3:::{bucket}" if bucket else "*"
        for need in needs:
            self.require(call, parameters, need)

    def require(self, call: Call, parameters: Mapping[str, Any], need: Need) -> None:
        """Asks ``engine.access`` for one thing that a call does; raises :class:`Denied`."""
        context = OfCall(call, parameters, need.resource, need.keys)
        self.engine.access.authorize(call._caller, need.action, need.resource, context)

    def _moto(self, call: Call, moto_request: MotoRequest | None) -> Response:
        if moto_request is None:
            region = "" if call.service == "iam" else f"{call.region}."
            host = f"{'api.ecr' if call.service == 'ecr' else call.service}.{region}amazonaws.com"
            headers = call.request.headers.items
            moto_request = moto_base.request_of(call.request, call.body, host, call.request.raw_path, headers)
        if call.service == "iam":
            self.identities.iam()
        try:
            return moto_base.call(call.service, call.operation, moto_request, call.request_id)
        except AwsError as error:
            if reword := getattr(own(call.service), "reword", None):
                error.message = reword(error.message)
            raise
        finally:
            if call.service == "iam" and not resources.is_read_only(call.operation):
                self.identities.forget_changed()

    def record(self, call: Call, status: int, failure: AwsError | None = None) -> None:
        """Writes the call to the audit trail."""
        call.operation = call.operation or protocols.asked(call.service, call.request)
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
                read_only=resources.is_read_only(call.operation),
                request_id=call.request_id,
                client=call.request.headers.get("user-agent"),
                parameters=call.parameters,
            )
        )

    # -- predictions -----------------------------------------------------------------------------------------------

    def _invoke(self, call: Call) -> Response:
        """A call of SageMaker's runtime: no moto, no model of the whole service on its way."""
        name, parameters = runtime.find(call)
        call.operation = name
        self.authorize(call, parameters)
        function = own(call.service).OPERATIONS.get(name)
        if function is None:
            raise errors.refusal(call.service, name)
        result = function(call, parameters)
        assert isinstance(result, Response)
        result.headers.append(("x-amzn-requestid", call.request_id))
        return result

    # -- credentials for containers --------------------------------------------------------------------------------

    def _container_credentials(self, request: Request) -> Response:
        found = self.identities.container_credentials(request.headers.get("authorization"))
        if found is None:
            problem = {
                "code": "AccessDenied",
                "message": "The authorization token is not one that the clouds gave out.",
            }
            return Response(403, [("content-type", "application/json")], json.dumps(problem).encode())
        return Response(200, [("content-type", "application/json")], json.dumps(found).encode())


@lru_cache(maxsize=16)
def own(service: str) -> Any:
    """The module with the kit's own functions of a service.

    ``OPERATIONS`` is its table from operation to function. Where it has them, ``prepare(call, parameters)`` is called
    before access is decided, ``check(call, parameters)`` before any operation of the service, its own or moto's, and
    ``finish(call, parameters, response)`` after moto's. ``needs(call, parameters)`` says what a call must be allowed
    to do, ``condition_keys(call, parameters)`` and ``CONDITION_KEYS`` what policies may ask about, and
    ``resource_policy(cloud, arn)`` gives the policy on a resource.
    """
    return importlib.import_module(f"{__package__}.{OWN[service]}")


def _target_of_scope(request: Request) -> Target | Refusal:
    """At the plain front: the service and region in which the request was signed."""
    try:
        credential = signature.presented(request)
    except signature.Rejected:
        credential = None
    if credential is None or credential.form.startswith("v2"):
        return Target("s3", hosts.GLOBAL_REGION)
    service = hosts.SIGNING_NAMES.get(credential.service)
    if service is None:
        full_name, protocol = hosts.describe(credential.service)
        return Refusal(hosts.not_served(full_name), protocol)
    if service == "sagemaker" and runtime.is_runtime(request):
        service = "sagemaker-runtime"
    return hosts.in_region(Target(service, credential.region))


def _registry() -> Response:
    """What Docker's client is told: the registry takes and gives no images."""
    message = "The local clouds keep no container images; see docs/fidelity.md."
    body = json.dumps({"errors": [{"code": "UNSUPPORTED", "message": message}]}).encode()
    return Response(
        501, [("content-type", "application/json"), ("docker-distribution-api-version", "registry/2.0")], body
    )


def _bug(call: Call, error: Exception) -> AwsError:
    """What a client is told when the kit, or moto below it, failed: the operation is not served after all."""
    what = f"{call.service}:{call.operation}" if call.operation else f"this request of {call.service}"
    why = (
        f"The local clouds could not serve {what} ({type(error).__name__}: {error}); the server's log has the details."
    )
    return errors.refusal(call.service, call.operation, why)
