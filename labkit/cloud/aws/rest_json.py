"""The REST protocol with JSON bodies (Lambda, EventBridge Scheduler): operations are paths, parameters stand anywhere.

https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.json_values import document, from_json, scalar, to_json
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from moto.core.model import OperationModel, ServiceModel

#: Services that speak it.
SERVICES = frozenset(("lambda", "scheduler"))

_LABEL = re.compile(r"\\\{([^}]+?)(\\\+)?\\\}")


class _Route(NamedTuple):
    method: str
    path: re.Pattern[str]
    query: frozenset[tuple[str, str]]
    names: tuple[str, ...]
    operation: str


@lru_cache(maxsize=8)
def _routes(service_model: ServiceModel) -> tuple[_Route, ...]:
    """The routes of a service, those that ask for more first."""
    routes = []
    for name in service_model.operation_names:
        http = service_model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        pattern = re.escape(path.rstrip("/"))
        names = tuple(found[1] for found in _LABEL.finditer(pattern))
        pattern = _LABEL.sub(lambda found: "(.+)" if found[2] else "([^/]+)", pattern)
        wanted = frozenset((key, values[0]) for key, values in parse_qs(query, keep_blank_values=True).items())
        routes.append(_Route(http["method"], re.compile(f"{pattern}/?"), wanted, names, name))
    return tuple(sorted(routes, key=lambda route: (-len(route.query), len(route.names), route.operation)))


def find(service_model: ServiceModel, request: Request) -> tuple[OperationModel, dict[str, str]]:
    """The operation that a request names and the labels in its path. Raises :class:`AwsError` for none."""
    query = {(key, values[0]) for key, values in parse_qs(request.query, keep_blank_values=True).items()}
    for route in _routes(service_model):
        found = route.path.fullmatch(request.raw_path)
        if found and route.method == request.method and route.query <= query:
            labels = dict(zip(route.names, map(unquote, found.groups()), strict=True))
            return service_model.operation_model(route.operation), labels
    raise AwsError("UnknownOperationException", f"{request.method} {request.path} is no operation of the service.", 404)


def parse(shape: Any, request: Request, body: bytes, labels: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a request, from its path, query, headers and body."""
    payload = shape.serialization.get("payload")
    query = parse_qs(request.query, keep_blank_values=True)
    members = {} if payload else document(body.strip())
    parameters: dict[str, Any] = {}
    for name, member in shape.members.items():
        traits = member.serialization
        wire, location = traits.get("name", name), traits.get("location")
        value: Any = None
        if name == payload:
            if member.type_name in ("blob", "string"):
                value = body or None
            elif body.strip():
                value = from_json(member, document(body))
        elif location == "uri":
            value = _typed(member, labels[wire])
        elif location == "querystring":
            if wire in query:
                listed = member.type_name == "list"
                value = query[wire] if listed else _typed(member, query[wire][0])
        elif location == "header":
            text = request.headers.get(wire)
            value = _typed(member, text) if text else None
        elif members.get(wire) is not None:
            value = from_json(member, members[wire])
        if value is not None:
            parameters[name] = value
    return parameters


def _typed(member: Any, text: str) -> Any:
    kind = member.type_name
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
    except ValueError:
        raise AwsError("SerializationException", f"{text!r} is no number.", 400) from None
    return text.lower() == "true" if kind == "boolean" else text


def serialize(model: OperationModel, result: Mapping[str, Any], request_id: str) -> Response:
    """The response to an operation; a member whose location is the status code gives the HTTP status."""
    shape: Any = model.output_shape
    status = int(model.http.get("responseCode", 200))
    headers = [("x-amzn-requestid", request_id)]
    if shape is None:
        return Response(status, headers)
    payload = shape.serialization.get("payload")
    rest: dict[str, Any] = {}
    for name, member in shape.members.items():
        value, traits = result.get(name), member.serialization
        if value is None or name == payload:
            continue
        if traits.get("location") == "statusCode":
            status = int(value)
        elif traits.get("location") == "header":
            headers.append((traits.get("name", name), scalar(member.type_name, value)))
        else:
            rest[traits.get("name", name)] = to_json(member, value)
    if payload and shape.members[payload].type_name == "blob":
        return Response(status, [*headers, ("content-type", "application/json")], result.get(payload) or b"")
    if status == 204:
        return Response(status, headers)
    content = to_json(shape.members[payload], result.get(payload) or {}) if payload else rest
    return Response(
        status, [*headers, ("content-type", "application/json")], json.dumps(content, separators=(",", ":")).encode()
    )
