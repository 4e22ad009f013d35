"""Cloud Storage's front: the JSON API, its uploads, downloads and batches, and objects by the XML API's addresses.

https://cloud.google.com/storage/docs/json_api/v1, https://cloud.google.com/storage/docs/xml-api/reference-methods
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.audit import Event
from labkit.cloud.engine.errors import CloudError, Denied
from labkit.cloud.gcp import audit_logs, errors, oauth2, storage_acls, storage_fields, storage_signed
from labkit.cloud.gcp.hosts import Target
from labkit.cloud.gcp.multipart import parts, write
from labkit.cloud.gcp.storage_errors import (
    StorageError,
    invalid,
    json_response,
    of_other,
    refused,
    required,
    text_response,
    xml_response,
)
from labkit.cloud.gcp.storage_store import Buckets
from labkit.cloud.http import Headers, Request, Response

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud

#: Calls of one batch at most.
LARGEST_BATCH = 100

_BATCH = "/batch/storage/v1"
_JSON = re.compile(r"/(storage/v1|upload/storage/v1|resumable/upload/storage/v1|download/storage/v1|batch)(/|$)")
#: Headers and parameters that ask for what is not done; each with what it is.
_REFUSED_HEADERS = {
    "x-goog-encryption-algorithm": "customer-supplied encryption keys",
    "x-goog-copy-source-encryption-algorithm": "customer-supplied encryption keys",
}
_REFUSED_PARAMETERS = {
    "kmsKeyName": "customer-managed encryption keys",
    "destinationKmsKeyName": "customer-managed encryption keys",
    "predefinedAcl": "access control lists",
    "predefinedDefaultObjectAcl": "access control lists",
    "destinationPredefinedAcl": "access control lists",
    "softDeleted": "soft-deleted objects and buckets",
    "matchGlob": "lists by glob pattern",
}


@dataclass(slots=True)
class StorageCall:
    """One call on its way, as a method's function sees it. ``bucket`` and ``name`` are what its path names."""

    cloud: GcpCloud
    request: Request
    target: Target
    query: dict[str, str]
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    permission: str = ""
    bucket: str = ""
    name: str = ""
    #: The bucket and object that a copy goes to.
    to: tuple[str, str] = ("", "")
    caller: Caller | None = None
    #: Whether it was sent to an object's own address, as the XML API has them.
    plain: bool = False
    #: What was asked of the permissions on the way: (permission, resource, whether it was granted).
    authorized: list[tuple[str, str, bool]] = field(default_factory=list)
    #: What the call has changed of a policy, as an audit log's entry has it.
    policy_change: dict[str, Any] = field(default_factory=dict)

    @property
    def buckets(self) -> Buckets:
        return self.cloud.buckets

    @property
    def resource(self) -> str:
        if not self.bucket:
            return f"projects/{self.query['project']}" if self.query.get("project") else ""
        return resource_name(self.bucket, self.name)

    def require(self, permission: str, bucket: str, name: str = "") -> None:
        """Raises 403 unless the caller has a permission on a bucket or an object, 401 where nobody signed in."""
        self._require(permission, resource_name(bucket, name))

    def _require(self, permission: str, resource: str) -> None:
        assert self.caller is not None
        try:
            self.cloud.engine.access.authorize(self.caller, permission, resource)
        except Denied as denied:
            self.authorized.append((permission, resource, False))
            if not self.caller.principal:
                raise _missing_credentials(denied.message) from None
            raise StorageError(403, "forbidden", denied.message) from None
        self.authorized.append((permission, resource, True))

    def number(self, parameter: str) -> int | None:
        """A parameter that is a whole number, or None where it is not sent."""
        text = self.query.get(parameter)
        if text is None:
            return None
        if not re.fullmatch("[0-9]{1,19}", text):
            raise invalid(f"Invalid value for {parameter}: {text!r} is not a whole number.")
        return int(text)

    def parameter(self, name: str) -> str:
        """A parameter that has to be sent."""
        if not self.query.get(name):
            raise required(name)
        return self.query[name]

    def body(self) -> dict[str, Any]:
        """The request's JSON object."""
        return json_object(self.request.body)

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() == "true"

    def answer(self, resource: Mapping[str, Any], headers: list[tuple[str, str]] | None = None) -> Response:
        """A resource as JSON, only those fields of it that the call asks for."""
        if fields := self.query.get("fields"):
            resource = storage_fields.only(resource, fields)
        content = [("Content-Type", "application/json; charset=UTF-8"), *(headers or [])]
        if "etag" in resource:
            content.append(("ETag", str(resource["etag"])))
        return Response(200, content, json.dumps(resource).encode())


#: A method's function.
Function = Callable[[StorageCall], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of the JSON API: its name there, its path below ``/storage/v1``, what it needs, what does it."""

    name: str
    verb: str
    path: str
    permission: str
    function: Function
    note: str = ""
    #: Whether the upload's id is all that a caller has to show.
    by_upload_id: bool = False
    #: Whether the function asks for its permissions itself, because they depend on more than the path.
    asks: bool = False


def resource_name(bucket: str, name: str = "") -> str:
    """A bucket or an object as policies' conditions and audit logs name it."""
    return f"projects/_/buckets/{bucket}{f'/objects/{name}' if name else ''}"


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON object that was sent; raises the API's error for anything else."""
    try:
        content = json.loads(body or b"{}")
    except ValueError:
        raise StorageError(400, "parseError", "Parse Error") from None
    if not isinstance(content, dict):
        raise StorageError(400, "parseError", "Parse Error")
    return content


def tables() -> list[Route]:
    """Every method that is served."""
    from labkit.cloud.gcp import (
        storage_buckets,
        storage_copying,
        storage_listing,
        storage_objects,
        storage_policies,
        storage_writing,
    )

    modules = (
        storage_buckets,
        storage_policies,
        storage_objects,
        storage_listing,
        storage_writing,
        storage_copying,
    )
    return [route for module in modules for route in module.ROUTES]


_PARTS = {"{bucket}": "(?P<bucket>[^/]+)", "{name}": "(?P<name>[^/]+)"}
_PARTS |= {"{to_bucket}": "(?P<to_bucket>[^/]+)", "{to_name}": "(?P<to_name>[^/]+)", "{project}": "(?P<project>[^/]+)"}


@cache
def _compiled() -> list[tuple[re.Pattern[str], Route]]:
    compiled = []
    for route in tables():
        pattern = re.escape(route.path).replace(r"\{", "{").replace(r"\}", "}")
        for part, group in _PARTS.items():
            pattern = pattern.replace(part, group)
        compiled.append((re.compile(pattern), route))
    return compiled


def answer(cloud: GcpCloud, target: Target, request: Request) -> Response:
    """Answers one request; errors included."""
    if not target.bucket and request.raw_path == _BATCH and request.method == "POST":
        return _batch(cloud, target, request)
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    call = StorageCall(cloud, request, target, query)
    call.plain = bool(target.bucket) or not _JSON.match(request.raw_path)
    if request.host == "www.googleapis.com" and request.path.startswith("/oauth2/"):
        return oauth2.answer(cloud, target, request)
    if call.plain and request.host == "www.googleapis.com":
        return errors.response(errors.refusal(f"{request.host}{request.path}"))
    try:
        return _answer(call)
    except StorageError as error:
        if call.plain:
            return xml_response(error)
        return text_response(error) if query.get("alt") == "media" else json_response(error)


def _answer(call: StorageCall) -> Response:
    try:
        response = _plain(call) if call.plain else _json(call)
    except CloudError as error:
        failure = of_other(errors.of_engine(error))
    except Exception as error:
        failure = of_other(call.cloud.defect(f"{call.request.method} {call.request.path}", error))
    else:
        _record(call, response.status)
        return response
    _record(call, failure.status, failure)
    raise failure


def _json(call: StorageCall) -> Response:
    path = re.sub(r"^/resumable(?=/upload/)|^/download(?=/storage/)", "", call.request.raw_path)
    for pattern, route in _compiled():
        if route.verb == call.request.method and (found := pattern.fullmatch(path)):
            names = {name: unquote(value) for name, value in found.groupdict().items()}
            call.bucket, call.name = names.get("bucket", ""), names.get("name", "")
            call.to = names.get("to_bucket", ""), names.get("to_name", "")
            if "project" in names:
                call.query["project"] = names["project"]
            return admit(call, route.permission, route.function, by_upload_id=route.by_upload_id, asks=route.asks)
    call.caller = call.cloud.identities.caller(call.request, call.target, "google.storage")
    storage_acls.check_path(call, path)
    raise refused(f"{call.request.method} {call.request.path}")


def _plain(call: StorageCall) -> Response:
    from labkit.cloud.gcp import storage_xml

    return storage_xml.answer(call)


def admit(
    call: StorageCall, permission: str, function: Function, *, by_upload_id: bool = False, asks: bool = False
) -> Response:
    """Authenticates, authorizes and does what the call asks."""
    call.permission = permission
    if not by_upload_id:
        call.caller = authenticated(call)
        if permission and not asks:
            call._require(permission, call.resource)
    for header, what in _REFUSED_HEADERS.items():
        if header in call.request.headers:
            raise refused(what)
    for parameter, what in _REFUSED_PARAMETERS.items():
        if parameter in call.query:
            if parameter == "predefinedAcl":
                storage_acls.check(
                    call, call.bucket, "object" if call.permission.startswith("storage.obj") else "bucket"
                )
            raise refused(what)
    return function(call)


def authenticated(call: StorageCall) -> Caller:
    """Who sent the call, with ``""`` for a principal where nobody signed in; raises as Cloud Storage does."""
    if (signer := storage_signed.signer(call)) is not None:
        return signer
    try:
        return call.cloud.identities.caller(call.request, call.target, "google.storage")
    except errors.GcpError as error:
        if "authorization" not in call.request.headers:
            return Caller(call.cloud.name, "", "", "")
        location = ("header", "Authorization")
        raise StorageError(401, "authError", "Invalid Credentials", location=location, headers=error.headers) from None


def _missing_credentials(message: str) -> StorageError:
    challenge = [("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/"')]
    return StorageError(401, "required", message, location=("header", "Authorization"), headers=challenge)


def _record(call: StorageCall, status: int, failure: StorageError | None = None) -> None:
    """Writes the call to the audit trail, and to Cloud Audit Logs as the policies want it."""
    audit_logs.write(call.cloud, audit_logs.of_storage(call, failure))
    engine = call.cloud.engine
    engine.audit.record(
        Event(
            at=engine.clock.now(),
            cloud=call.cloud.name,
            service="storage",
            operation=call.permission or f"{call.request.method} {call.request.path}",
            caller=call.caller,
            region="",
            resource=call.resource,
            status=status,
            error=failure.code if failure else "",
            message=failure.message if failure else "",
            read_only=call.request.method in ("GET", "HEAD"),
            request_id=call.request_id,
            client=call.request.headers.get("user-agent"),
        )
    )


def _batch(cloud: GcpCloud, target: Target, request: Request) -> Response:
    """Several calls in one request, each with its own answer. https://cloud.google.com/storage/docs/batch"""
    try:
        calls = parts(request.headers.get("content-type"), request.body)
        if len(calls) > LARGEST_BATCH:
            raise invalid(f"The batch has {len(calls)} calls, and may have {LARGEST_BATCH}.")
        answers = [
            (headers.get("content-id"), answer(cloud, target, _inner(content, request))) for headers, content in calls
        ]
    except StorageError as error:
        return json_response(error)
    boundary = f"batch_{uuid.uuid4().hex}"
    written = []
    for number, inner in answers:
        head = "".join(f"{name}: {value}\r\n" for name, value in inner.headers)
        body = inner.body if isinstance(inner.body, bytes) else b"".join(inner.body)
        text = f"HTTP/1.1 {inner.status} {inner.reason}\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        headers = [("Content-Type", "application/http")]
        if number:
            headers.append(("Content-ID", re.sub("^<", "<response-", number)))
        written.append((headers, text))
    return Response(200, [("Content-Type", f"multipart/mixed; boundary={boundary}")], write(boundary, written))


def _inner(content: bytes, outer: Request) -> Request:
    """The request in one part of a batch; it is the outer one's sender's unless it says otherwise."""
    head, _, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    first, *lines = head.decode("utf-8", "replace").strip().split("\n")
    line = first.split(" ")
    if len(line) < 2:
        raise invalid("A part of the batch is no HTTP request.")
    target = re.sub("^https?://[^/]+", "", line[1])
    headers = [(name.strip(), value.strip()) for name, _, value in (each.partition(":") for each in lines)]
    if not any(name.lower() == "authorization" for name, _ in headers):
        headers += [("Authorization", value) for value in outer.headers.all("authorization")]
    return Request(line[0], outer.host, target, Headers(headers), body.strip(b"\n"))
