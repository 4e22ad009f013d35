"""moto, as the base of S3, IAM and ECR: imported when first needed, in lab time, called without a web framework.

moto keeps its state in module globals, one set a process: so does this module. Every operation that reaches it has
passed the allow-list, the signature check and the parameter check in :mod:`labkit.cloud.aws.front`.
"""

from __future__ import annotations

import datetime as real
import importlib
import re
import secrets
import threading
import uuid
from base64 import b32encode, b64decode
from collections.abc import Callable
from copy import copy
from functools import lru_cache, wraps
from html import unescape
from io import BytesIO
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from moto.core.request import Request as MotoRequest

#: The account of the local clouds; also the one that moto falls back to.
ACCOUNT = "123456789012"

#: Services whose operations moto may answer.
SERVICES = ("s3", "iam", "ecr")

_import_lock = threading.RLock()
_locks = {service: threading.RLock() for service in SERVICES}
_now: Callable[[], real.datetime] = lambda: real.datetime.now(real.UTC)  # noqa: E731
_modules: dict[str, ModuleType] = {}


def use_clock(now: Callable[[], real.datetime]) -> None:
    """Makes moto's timestamps come from ``now`` (aware UTC)."""
    global _now
    _now = now


def _utcnow() -> real.datetime:
    """Lab time as moto keeps it: naive UTC. AWS's resources are dated to the second."""
    return _now().replace(tzinfo=None, microsecond=0)


class _LabDatetime(real.datetime):
    """``datetime`` whose ``now`` is the lab's, for moto's modules that ask the class itself."""

    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> real.datetime:  # type: ignore[override]
        return _now().astimezone(tz) if tz else _utcnow()

    @classmethod
    def utcnow(cls) -> real.datetime:  # type: ignore[override]
        return _utcnow()


_lab_datetime_module = SimpleNamespace(
    **{name: getattr(real, name) for name in real.__all__} | {"datetime": _LabDatetime}
)


def models(service: str) -> Any:
    """moto's models of a service (``moto.<service>.models``), imported and put into lab time at first use."""
    return _module(service, "models")


def backend(service: str, account: str = ACCOUNT, region: str = "aws") -> Any:
    """moto's state of a service in an account and a region; S3 and IAM have one for the whole partition."""
    return getattr(models(service), f"{service}_backends")[account][region]


def lock(service: str) -> threading.RLock:
    """Held while moto's state of a service is read or changed: moto guards nothing by itself."""
    return _locks[service]


def loaded(service: str) -> bool:
    """Whether a service of moto has been needed since the process started."""
    return f"{service}.models" in _modules


def _module(service: str, part: str) -> ModuleType:
    name = f"{service}.{part}"
    if name not in _modules:
        with _import_lock:
            if name not in _modules:
                _modules[name] = _import(service, part)
    return _modules[name]


def _import(service: str, part: str) -> ModuleType:
    from moto.core import common_models, config, utils

    utils.utcnow = _utcnow
    # moto keeps every record that it ever made, for a console that is not served here.
    common_models.BaseModel.__new__ = lambda kind, *_, **__: object.__new__(kind)  # type: ignore[method-assign]
    config.default_user_config["iam"]["load_aws_managed_policies"] = True
    module = importlib.import_module(f"moto.{service}.{part}")
    for each in (importlib.import_module(f"moto.{service}.models"), module):
        namespace = vars(each)
        if namespace.get("utcnow") is not None:
            namespace["utcnow"] = _utcnow
        if namespace.get("datetime") is real:
            namespace["datetime"] = _lab_datetime_module
        elif namespace.get("datetime") is real.datetime:
            namespace["datetime"] = _LabDatetime
    if service == "iam":
        _mend_iam(importlib.import_module("moto.iam.models"))
    if service == "s3":
        _mend_s3(importlib.import_module("moto.s3.models"), importlib.import_module("moto.s3.responses"))
    return module


def _mend_iam(models: Any) -> None:
    """Gives IAM's resources ids that say what they are, as AWS's do.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
    """
    models.random_policy_id = lambda: _unique_id("ANPA")
    read = models.IAMBackend._init_aws_policies
    templates: list[Any] = []

    def managed_policies(backend: Any) -> list[Any]:
        if not templates:
            templates.extend(read(backend))
        return [copy(policy) for policy in templates]

    # Reading AWS's 1,500 policies takes as long as all else that a reset does.
    models.IAMBackend._init_aws_policies = managed_policies
    for kind, prefix in ((models.User, "AIDA"), (models.Group, "AGPA"), (models.InstanceProfile, "AIPA")):
        kind.__init__ = _with_id(kind.__init__, prefix)


def _with_id(make: Callable[..., None], prefix: str) -> Callable[..., None]:
    @wraps(make)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.id = _unique_id(prefix)

    return init


def _unique_id(prefix: str) -> str:
    return prefix + b32encode(secrets.token_bytes(11)).decode()[:17]


def _mend_s3(models: Any, responses: Any) -> None:
    """Takes out of moto's S3 what would answer falsely."""
    from moto.iam.access_control import PermissionResult

    from labkit.cloud.aws.checksums import checksum

    def compute(body: bytes, algorithm: str, encode_base64: bool = True) -> bytes:
        value = checksum(algorithm, body).encode()
        return value if encode_base64 else b64decode(value)

    # moto stores a CRC32 under the names CRC32C and CRC64NVME when a native library is missing.
    models.compute_checksum = responses.compute_checksum = compute
    # Whether a bucket's policy lets a caller in is for engine.access to say; moto asks without knowing the caller.
    models.FakeKey.__del__ = lambda self: self.dispose()
    models.FakeBucket.get_permission = lambda self, action, resource: PermissionResult.NEUTRAL


def version_id() -> str:
    """A new object version's id."""
    return str(uuid.uuid4())


def reset() -> None:
    """Empties every service of moto that has been used."""
    if not _modules:
        return
    from moto.core.base_backend import BackendDict

    with _import_lock:
        # moto's own reset makes every backend anew before it drops it.
        used: list[Any] = vars(BackendDict)["_instances"]
        for backends in used:
            backends.clear()
            getattr(backends, "bucket_accounts", {}).clear()
        used.clear()


# -- calling it ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _object_request() -> type[MotoRequest]:
    """The class of S3's requests: the body is never read as a form, since an object may have any content type."""
    from moto.core.request import Request as MotoRequest

    class ObjectRequest(MotoRequest):
        form: Any = MappingProxyType({})
        files: Any = MappingProxyType({})

        @property
        def data(self) -> bytes:
            body: bytes = self.environ["labkit.body"]
            return body

        def get_data(self, *args: Any, **kwargs: Any) -> Any:
            return self.data

    return ObjectRequest


def request_of(request: Request, body: bytes, host: str, path: str, headers: list[tuple[str, str]]) -> MotoRequest:
    """A request as moto takes it, for ``host`` and the percent-encoded ``path``; the body is not copied."""
    from moto.core import request as moto_core

    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path).encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": f"{path}?{request.query}" if request.query else path,
        "SERVER_NAME": host,
        "SERVER_PORT": "443",
        "HTTP_HOST": host,
        "HTTP_X_MOTO_ACCOUNT_ID": ACCOUNT,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(body),
        "labkit.body": body,
    }
    preserved = {}
    for name, value in headers:
        key = moto_core.environ_key_for_header(name)
        if key in ("HTTP_HOST", "CONTENT_LENGTH", "HTTP_X_MOTO_ACCOUNT_ID"):
            continue
        environ[key] = f"{environ[key]},{value}" if key in environ else value
        if moto_core.should_preserve_original_header_name(name):
            preserved[key] = name
    environ[moto_core.PRESERVED_HEADER_NAMES_ENVIRON_KEY] = preserved
    made = (_object_request() if host.startswith("s3.") else moto_core.Request)(environ)
    made.from_wsgi_server = True
    return made


def call(service: str, operation: str, moto_request: MotoRequest, request_id: str) -> Response:
    """Has moto answer; raises :class:`AwsError` for an error of its making, other exceptions for its bugs."""
    from werkzeug.exceptions import HTTPException

    responses = _module(service, "responses")
    try:
        with _locks[service]:
            if service == "s3":
                status, headers, body = _call_s3(responses.S3Response(), moto_request)
            else:
                kind = responses.IamResponse if service == "iam" else responses.ECRResponse
                status, headers, body = kind.dispatch(moto_request)
    except HTTPException as error:
        code = getattr(error, "error_type", "") or error.name
        raise AwsError(code, getattr(error, "message", "") or str(error.description), error.code or 400) from None
    content = body.encode() if isinstance(body, str) else body or b""
    if int(status) >= 400 and service != "s3":
        raise _error(service, int(status), headers, content)
    return Response(int(status), _headers(service, headers, request_id), _with_request_id(content, request_id))


def _call_s3(response: Any, moto_request: MotoRequest) -> tuple[int, dict[str, Any], Any]:
    bucket, _, key = moto_request.raw_path.lstrip("/").partition("/")
    answer = response.key_response if bucket and key else response.bucket_response
    return answer(moto_request, moto_request.raw_url, moto_request.headers)


def _headers(service: str, headers: dict[str, Any], request_id: str) -> list[tuple[str, str]]:
    dropped = {"status", "date", "server", "x-amzn-requestid", "x-amz-request-id", "content-length", "connection"}
    kept = [(name.lower(), str(value)) for name, value in headers.items() if name.lower() not in dropped]
    if service == "s3":
        # moto echoes the request's checksum where S3 does not.
        kept = [(name, value) for name, value in kept if not name.startswith(("x-amz-checksum-", "x-amz-sdk-"))]
        return [
            ("x-amz-request-id", request_id),
            ("x-amz-id-2", f"labkit/{request_id}="),
            ("server", "AmazonS3"),
            *kept,
        ]
    if service == "iam":
        kept = [("content-type", "text/xml"), *((name, value) for name, value in kept if name != "content-type")]
    return [("x-amzn-requestid", request_id), *kept]


_REQUEST_ID = re.compile(rb"(?<=<RequestId>)[^<]*(?=</RequestId>)")


def _with_request_id(body: bytes, request_id: str) -> bytes:
    """An XML body with the request's own id where moto wrote one of its own; objects are left alone."""
    return _REQUEST_ID.sub(request_id.encode(), body) if b"<RequestId>" in body[-400:] and body[:1] == b"<" else body


def _error(service: str, status: int, headers: dict[str, Any], body: bytes) -> AwsError:
    """The error in what moto sent, to be sent again in the service's own shape."""
    text = body.decode("utf-8", "replace")
    if service == "ecr":
        import json

        document = json.loads(text or "{}")
        code = str(document.get("__type", "ServerException")).split("#")[-1]
        return AwsError(code, str(document.get("message") or document.get("Message") or ""), status)
    return AwsError(_element(text, "Code") or "InternalFailure", _element(text, "Message"), status)


def _element(xml: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", xml, re.DOTALL)
    return unescape(found[1]).strip() if found else ""
