"""From an HTTP request to an operation and its parameters, and from a result back to HTTP, by botocore's models.

JSON is read and written here; for the query and REST protocols moto's parsers and serializers, which follow the same
models, are used. https://smithy.io/2.0/aws/protocols/index.html
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from labkit.cloud.aws import rest_json
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.json_values import document, from_json, scalar, to_json
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from moto.core.model import OperationModel, ServiceModel
    from moto.core.request import Request as MotoRequest


#: Bytes of the largest compressed body, decompressed.
LARGEST_BODY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a service as a request named it; ``uri`` holds the values that stand in its path."""

    service: str
    name: str
    protocol: str
    model: OperationModel
    uri: Mapping[str, Any]


def model_of(service: str) -> ServiceModel:
    """botocore's model of a service, loaded once."""
    from moto.core.utils import get_service_model

    return get_service_model(service)


def protocol_of(service: str, request: Request) -> str:
    """The protocol that a request speaks, as far as it can be told before its operation is known."""
    if service == "s3":
        return "rest-xml"
    if service in ("iam", "sts", "sns"):
        return "query"
    if service == "sagemaker-runtime" or service in rest_json.SERVICES:
        return "rest-json"
    content_type = request.headers.get("content-type")
    return (
        "query" if service == "cloudwatch" and content_type.startswith("application/x-www-form-urlencoded") else "json"
    )


def asked(service: str, request: Request) -> str:
    """What a request calls its operation, for the record of one that went no further; ``""`` when it cannot be told."""
    if service in ("s3", "sagemaker-runtime") or service in rest_json.SERVICES:
        return ""
    if target := request.headers.get("x-amz-target"):
        return target.rpartition(".")[2][:100]
    return form_of(request).get("Action", "")[:100]


def find(service: str, request: Request, moto_request: MotoRequest | None = None) -> Operation:
    """The operation that a request names. ``moto_request`` is needed for S3, which is routed by path.

    Raises :class:`AwsError` for one that the service does not have.
    """
    protocol = protocol_of(service, request)
    if moto_request is not None:
        return _rest(service, protocol, moto_request)
    if protocol == "rest-json":
        model, labels = rest_json.find(model_of(service), request)
        return Operation(service, model.name, protocol, model, labels)
    if protocol == "query":
        return _query(service, request)
    return _json(service, request)


def _rest(service: str, protocol: str, moto_request: MotoRequest) -> Operation:
    from moto.core.routing import get_service_router
    from werkzeug.exceptions import NotFound

    try:
        model, uri = get_service_router(service).match(moto_request)
    except NotFound:
        message = "The specified method is not allowed against this resource."
        raise AwsError("MethodNotAllowed", message, 405, Method=moto_request.method, ResourceType="SERVICE") from None
    return Operation(service, model.name, protocol, model, uri)


def _query(service: str, request: Request) -> Operation:
    form = form_of(request)
    name, version = form.get("Action", ""), form.get("Version", "")
    service_model = model_of(service)
    if not name:
        raise AwsError("MissingAction", "The request is missing an action or a required parameter.", 400)
    if name not in service_model.operation_names or version not in ("", service_model.api_version):
        message = f"Could not find operation {name} for version {version or 'NO_VERSION_SPECIFIED'}"
        raise AwsError("InvalidAction", message, 400)
    return Operation(service, name, "query", service_model.operation_model(name), {})


def _json(service: str, request: Request) -> Operation:
    service_model = model_of(service)
    prefix, _, name = request.headers.get("x-amz-target").rpartition(".")
    if "cbor" in request.headers.get("content-type"):
        raise AwsError(
            "NotImplementedException",
            "The local clouds speak the JSON and query protocols of this service, not CBOR; see docs/fidelity.md.",
            501,
        )
    if prefix != service_model.metadata.get("targetPrefix") or name not in service_model.operation_names:
        asked = request.headers.get("x-amz-target") or "no operation (the header X-Amz-Target is missing)"
        raise AwsError("UnknownOperationException", f"The request names {asked}, which {service} does not have.", 400)
    return Operation(service, name, "json", service_model.operation_model(name), {})


def form_of(request: Request) -> dict[str, str]:
    """The parameters of a query-protocol request: those in its URL, then those in its body."""
    body = request.body.decode("utf-8", "replace")
    return dict(parse_qsl(request.query, keep_blank_values=True)) | dict(parse_qsl(body, keep_blank_values=True))


def decompressed(request: Request, body: bytes) -> bytes:
    """The body as it was before the SDK compressed it, as it does with large ones. Raises :class:`AwsError`.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-compression.html
    """
    if request.headers.get("content-encoding").strip().lower() != "gzip":
        return body
    inflate = zlib.decompressobj(wbits=31)
    try:
        data = inflate.decompress(body, LARGEST_BODY)
    except zlib.error:
        raise AwsError("SerializationException", "The request's body is no valid gzip.", 400) from None
    if inflate.unconsumed_tail:
        message = f"The request's body is larger than {LARGEST_BODY} bytes once it is decompressed."
        raise AwsError("RequestEntityTooLargeException", message, 413)
    return data


# -- parameters ----------------------------------------------------------------------------------------------------


def parse(
    operation: Operation, request: Request, body: bytes, moto_request: MotoRequest | None = None
) -> dict[str, Any]:
    """The operation's parameters, by the names of the model. Raises :class:`AwsError` when they cannot be read."""
    shape = operation.model.input_shape
    if shape is None:
        return {}
    if operation.protocol == "json":
        return from_json(shape, document(body))
    if operation.protocol == "rest-json":
        return rest_json.parse(shape, request, body, operation.uri)
    from moto.core.parse import PROTOCOL_PARSERS, RequestParserError

    if moto_request is not None:
        values: Any = moto_request.args
        headers: Any = moto_request.headers
    else:
        values, headers = form_of(request), dict(request.headers.items)
    try:
        parsed: dict[str, Any] = PROTOCOL_PARSERS[operation.protocol](operation.model).parse(
            {
                "method": request.method,
                "values": values,
                "headers": headers,
                "body": body,
                "url_path": request.path,
                "url_params": dict(operation.uri),
            }
        )
    except RequestParserError:
        message = "The XML you provided was not well-formed or did not validate against our published schema"
        raise AwsError("MalformedXML", message, 400) from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
        code = "InvalidArgument" if operation.service == "s3" else "MalformedInput"
        raise AwsError(code, f"A parameter of {operation.name} has a value of the wrong type ({error}).", 400) from None
    if operation.protocol == "rest-xml" and "Metadata" in parsed:
        # Names of user metadata are header names, which the WSGI layer below has capitalized.
        parsed["Metadata"] = {name.lower(): value for name, value in parsed["Metadata"].items()}
    return parsed


# -- results -------------------------------------------------------------------------------------------------------


class Answer(dict[str, Any]):
    """A result with an HTTP status, or headers, that the model does not know."""

    def __init__(self, members: Mapping[str, Any], status: int = 200) -> None:
        super().__init__(members)
        self.status = status
        self.headers: list[tuple[str, str]] = []


def serialize(operation: Operation, result: Mapping[str, Any] | None, request_id: str) -> Response:
    """The response to an operation that one of the kit's own functions answered."""
    if operation.protocol == "rest-xml":
        return _rest_xml(operation, result or {}, request_id)
    if operation.protocol == "rest-json":
        return rest_json.serialize(operation.model, result or {}, request_id)
    if operation.protocol == "query":
        return _query_xml(operation, result or {}, request_id)
    shape = operation.model.output_shape
    members = to_json(shape, result or {}) if shape is not None else {}
    version = operation.model.service_model.metadata.get("jsonVersion", "1.1")
    headers = [("x-amzn-requestid", request_id), ("content-type", f"application/x-amz-json-{version}")]
    body = json.dumps(members, separators=(",", ":")).encode() if shape is not None else b""
    return Response(200, headers, body)


def _query_xml(operation: Operation, result: Mapping[str, Any], request_id: str) -> Response:
    name, shape = operation.name, operation.model.output_shape
    xml: list[str] = []
    if shape is not None:
        _to_xml(shape, result, shape.serialization.get("resultWrapper", f"{name}Result"), xml, "%Y-%m-%dT%H:%M:%SZ")
    namespace = operation.model.service_model.metadata.get("xmlNamespace", "")
    body = (
        f'<{name}Response xmlns="{namespace}">{"".join(xml)}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    )
    return Response(200, [("x-amzn-requestid", request_id), ("content-type", "text/xml")], body.encode())


def _rest_xml(operation: Operation, result: Mapping[str, Any], request_id: str) -> Response:
    headers = [("x-amz-request-id", request_id), ("x-amz-id-2", f"labkit/{request_id}="), ("server", "AmazonS3")]
    shape: Any = operation.model.output_shape
    body = b""
    if shape is not None:
        headers += _located(shape, result)
        payload = shape.serialization.get("payload")
        if payload and shape.members[payload].type_name == "blob":
            body = result.get(payload, b"")
        elif payload or any("location" not in member.serialization for member in shape.members.values()):
            root = shape.serialization.get("resultWrapper") or payload or shape.name.replace("Output", "Result")
            xml: list[str] = []
            content = result.get(payload) if payload else result
            _to_xml(shape.members[payload] if payload else shape, content, root, xml, "%Y-%m-%dT%H:%M:%S.000Z")
            xml[0] = f'<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            body = ('<?xml version="1.0" encoding="UTF-8"?>\n' + "".join(xml)).encode()
            headers.append(("content-type", "application/xml"))
    status = operation.model.http.get("responseCode", 200)
    if isinstance(result, Answer):
        headers += result.headers
        status = result.status
    return Response(status, headers, body)


def _located(shape: Any, result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The members of a result that travel as headers."""
    headers = []
    for name, member in shape.members.items():
        value, traits = result.get(name), member.serialization
        if value is None:
            continue
        if traits.get("location") == "headers":
            headers += [(traits.get("name", "") + key, item) for key, item in value.items()]
        elif traits.get("location") == "header":
            kind = member.type_name
            text = formatdate(_aware(value).timestamp(), usegmt=True) if kind == "timestamp" else scalar(kind, value)
            headers.append((traits.get("name", name), text))
    return headers


def _aware(when: datetime) -> datetime:
    """A time as moto keeps it (naive UTC) or as the engine does (aware)."""
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _to_xml(shape: Any, value: Any, name: str, xml: list[str], time_format: str) -> None:
    """Appends ``<name>...</name>``; the first piece is the opening tag."""
    kind = shape.type_name
    if kind == "structure":
        attributes = {
            m.serialization["name"]: n for n, m in shape.members.items() if m.serialization.get("xmlAttribute")
        }
        namespace = shape.serialization.get("xmlNamespace", {})
        opening = f' xmlns:{namespace["prefix"]}="{namespace["uri"]}"' if namespace.get("prefix") else ""
        opening += "".join(f' {attribute}="{value[member]}"' for attribute, member in attributes.items())
        xml.append(f"<{name}{opening}>")
        for member_name, member in shape.members.items():
            item = value.get(member_name) if value is not None else None
            if item is None or "location" in member.serialization or member_name in attributes.values():
                continue
            if member.type_name == "list" and member.serialization.get("flattened"):
                each_name = member.member.serialization.get("name") or member.serialization.get("name", member_name)
                for each in item:
                    _to_xml(member.member, each, each_name, xml, time_format)
            else:
                _to_xml(member, item, member.serialization.get("name", member_name), xml, time_format)
    elif kind == "list":
        xml.append(f"<{name}>")
        for each in value:
            _to_xml(shape.member, each, shape.member.serialization.get("name", "member"), xml, time_format)
    elif kind == "map":
        xml.append(f"<{name}>")
        for key, item in value.items():
            xml.append("<entry>")
            _to_xml(shape.key, key, shape.key.serialization.get("name", "key"), xml, time_format)
            _to_xml(shape.value, item, shape.value.serialization.get("name", "value"), xml, time_format)
            xml.append("</entry>")
    else:
        text = f"{_aware(value).astimezone(UTC):{time_format}}" if kind == "timestamp" else scalar(kind, value)
        xml.append(f"<{name}>{escape(text)}")
    xml.append(f"</{name}>")


_SECRET = re.compile(
    r"password|secret|privatekey|plaintext|credential|sessiontoken|tokencode|identitytoken|assertion", re.IGNORECASE
)


def redacted(operation: Operation, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters for the audit trail: secrets hidden, bodies left out."""
    shape = operation.model.input_shape
    return {} if shape is None else _redacted(shape, parameters)


def _redacted(shape: Any, value: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, Mapping):
        kept = {}
        for name, item in value.items():
            member = shape.members.get(name)
            if member is None or member.type_name == "blob" or isinstance(item, (bytes, memoryview)):
                continue
            hidden = member.metadata.get("sensitive") or (_SECRET.search(name) and isinstance(item, str))
            kept[name] = "***" if hidden else _redacted(member, item)
        return kept
    if shape.type_name == "list" and isinstance(value, list):
        return [_redacted(shape.member, item) for item in value[:100]]
    return value
