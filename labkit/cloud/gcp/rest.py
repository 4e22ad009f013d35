"""REST over the same methods: a request's path, query and JSON body -> the method's message, and back.

https://cloud.google.com/apis/design/standard_methods, https://cloud.google.com/apis/docs/system-parameters and, for how
paths and bodies map to messages, ``google/api/http.proto``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from labkit.cloud.gcp import errors, schema
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.hosts import Target
from labkit.cloud.gcp.schema import Binding, Method
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud

#: Query parameters that every API takes and that change nothing here.
_SYSTEM = frozenset(
    {
        "access_token",
        "callback",
        "key",
        "oauth_token",
        "prettyPrint",
        "quotaUser",
        "userProject",
        "uploadType",
        "upload_protocol",
        "$.xgafv",
        "$key",
        "$prettyPrint",
        "$quotaUser",
        "$userProject",
    }
)
_RAW = "google.api.HttpBody"
_VARIABLE = re.compile(r"\{([a-z0-9_.]+)(?:=([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One binding of one method. ``pattern`` matches paths as sent; its groups are the fields ``fields``, in order."""

    method: Method
    binding: Binding
    pattern: re.Pattern[str]
    fields: tuple[str, ...]


@cache
def routes(api: str) -> Mapping[tuple[str, str], list[Route]]:
    """The API's routes by HTTP verb and the path's custom verb (``predict``) or ``""``, more literal ones first."""
    table: dict[tuple[str, str], list[Route]] = {}
    for method in schema.methods().get(api, {}).values():
        for binding in method.bindings:
            path, custom = _split(binding.template)
            route = Route(method, binding, _compiled(path), tuple(name for name, _ in _VARIABLE.findall(path)))
            table.setdefault((binding.verb, custom), []).append(route)
    for known in table.values():
        known.sort(key=lambda route: (route.binding.template.count("**"), route.binding.template.count("*")))
    return table


def _split(path: str) -> tuple[str, str]:
    """The path and its custom verb: the part after a colon in the last segment."""
    head, slash, last = path.rpartition("/")
    # A template's last variable may hold colons only within its braces, which have none.
    last, _, custom = last.partition(":")
    return f"{head}{slash}{last}", custom


def _compiled(template: str) -> re.Pattern[str]:
    pattern, end = "", 0
    for found in _VARIABLE.finditer(template):
        pattern += re.escape(template[end : found.start()])
        parts = (found[2] or "*").split("/")
        pattern += "(" + "/".join(_segment(part) for part in parts) + ")"
        end = found.end()
    return re.compile(pattern + re.escape(template[end:]))


def _segment(part: str) -> str:
    return {"*": "[^/]+", "**": ".+"}.get(part) or re.escape(part)


def find(api: str, verb: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
    """The route for a path as sent, and the values of its fields; None when there is none."""
    for (head, custom), candidates in ((_split(path), routes(api)), ((path, ""), routes(api))):
        for route in candidates.get((verb, custom), ()):
            if matched := route.pattern.fullmatch(head):
                return route, tuple(unquote(each) for each in matched.groups())
    return None


def answer(cloud: GcpCloud, target: Target, request: Request) -> Response:
    """Answers one request; errors included."""
    from labkit.cloud.gcp.front import Call, service_of

    try:
        found = find(target.api, request.method, request.raw_path)
        if found is None:
            unknown = schema.unknown(target.api, f"{request.method} {request.path}")
            raise cloud.refuse(Call(cloud, request, target, unknown, "rest"), _no_route(target, request))
        route, values = found
        call = Call(cloud, request, target, route.method, "rest")
        query = parse_qsl(request.query, keep_blank_values=True)
        try:
            integers = _style(query)
            message = read(request, route, values, query)
        except GcpError as error:
            if route.method.preview and _NO_FIELD in error.message:
                error = errors.refusal(f"what {route.method.dotted} may have beyond v1 ({error.message})")
            raise cloud.refuse(call, error) from None
        reply = cloud.do(call, message)
    except GcpError as error:
        return errors.response(error)
    if route.method.response == _RAW:
        headers = [("Content-Type", reply.content_type or "application/octet-stream"), *call.answer_headers]
        return Response(200, headers, reply.data)
    headers = [("Content-Type", "application/json; charset=UTF-8"), *call.answer_headers]
    version, service = request.raw_path.split("/")[1], service_of(route.method)
    if shape := getattr(service, "OLDER", {}).get((version, route.method.name)):
        return Response(200, headers, json.dumps(shape(reply)).encode())
    if shown := getattr(service, "SHOWN", {}).get(route.method.name):
        return Response(200, headers, json.dumps(shown(reply), separators=(",", ":")).encode())
    return Response(200, headers, written(reply, integers=integers))


def written(message: Any, *, integers: bool = False) -> bytes:
    """A message as the JSON that Google's APIs send; ``integers`` writes enums as numbers."""
    from google.protobuf.json_format import MessageToDict

    return json.dumps(
        MessageToDict(message, use_integers_for_enums=integers, descriptor_pool=schema.pool()), separators=(",", ":")
    ).encode()


def _no_route(target: Target, request: Request) -> GcpError:
    """What a path that is no method's answers; one of another version of the API may well be a method's there."""
    stable = [route for known in routes(target.api).values() for route in known if not route.method.preview]
    versions = Counter(route.binding.template.split("/")[1] for route in stable)
    if request.path.split("/")[1] != versions.most_common(1)[0][0]:
        return errors.refusal(f"{request.method} {request.path}")
    return GcpError("NOT_FOUND", f"The local clouds know no method {request.method} {request.path} of {request.host}.")


def _style(query: list[tuple[str, str]]) -> bool:
    """Whether enums are wanted as integers; raises for answers in another form than JSON."""
    for name, value in query:
        if name in ("alt", "$alt") and value.split(";")[0] != "json":
            raise errors.refusal(f"answers in the form alt={value}")
        if name in ("fields", "$fields"):
            raise errors.refusal("the parameter fields, which asks for parts of an answer")
    return any(name in ("alt", "$alt") and "enum-encoding=int" in value for name, value in query)


def read(request: Request, route: Route, values: tuple[str, ...], query: list[tuple[str, str]]) -> Any:
    """The request's message; raises ``INVALID_ARGUMENT`` with Google's words."""
    from labkit.cloud.gcp.front import service_of

    method, body = route.method, route.binding.body
    if not body and route.binding.verb == "POST" and request.body:
        # Some bindings forget the body that their methods take.
        body = "*"
    message = schema.message(method.request)()
    fields = message.DESCRIPTOR.fields_by_name
    if raw := next(
        (each for each in fields.values() if each.message_type and each.message_type.full_name == _RAW), None
    ):
        target = getattr(message, raw.name)
        target.content_type, target.data = request.headers.get("content-type"), request.body
    elif body:
        content = _json(request)
        kind = message.DESCRIPTOR if body == "*" else fields[body].message_type
        own = getattr(service_of(method), "READ", {}).get(method.name) if body == "*" else None
        if own is None or not own(content, message):
            _parse(content, message if body == "*" else getattr(message, body), "" if body == "*" else body, kind)
        if body != "*":
            getattr(message, body).SetInParent()
    asked: dict[str, list[str]] = {}
    for name, value in query:
        if name not in _SYSTEM and name not in ("alt", "$alt"):
            asked.setdefault(name, []).append(value)
    for name, texts in asked.items():
        _put(message, name, texts)
    for name, value in zip(route.fields, values, strict=True):
        _put(message, name, [value])
    return message


def _json(request: Request) -> Any:
    if not request.body:
        return {}
    try:
        content = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from None
    if not isinstance(content, dict):
        raise errors.invalid("Invalid JSON payload received. The root of the request has to be an object.")
    return content


_NO_FIELD = "Cannot find field."
_UNKNOWN = re.compile(r'has no field named "([^"]*)"(?: at "([^"]*)")?')


def _parse(content: Any, message: Any, field: str, kind: Any) -> None:
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        ParseDict(content, message, descriptor_pool=schema.pool())
    except ParseError as error:
        text = str(error)
        if unknown := _UNKNOWN.search(text):
            at = ".".join(each for each in (field, (unknown[2] or "").partition(".")[2]) if each)
            where = f" at '{at}'" if at else ""
            text = f'Unknown name "{unknown[1]}"{where}: {_NO_FIELD}'
            raise errors.invalid(f"Invalid JSON payload received. {text}", at or unknown[1]) from None
        raise errors.invalid(f"Invalid value at '{field or kind.name}': {text}", field) from None
    except (AttributeError, RecursionError, TypeError) as error:
        # The parser trips over null among values, and over what is nested too deep.
        raise errors.invalid(f"Invalid value at '{field or kind.name}': {error}.", field) from None


def _put(message: Any, name: str, texts: list[str]) -> None:
    """Sets a field, named as a path in snake or camel case, from text; only repeated fields take several."""
    *parents, last = name.split(".")
    try:
        for part in parents:
            message = getattr(message, _field(message, part).name)
        field = _field(message, last)
    except KeyError:
        raise errors.invalid(
            f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
            f"Field '{name}' could not be found in request message.",
            name,
        ) from None
    if field.type == field.TYPE_STRING and not field.is_repeated:
        setattr(message, field.name, texts[-1])
        return
    values = [_value(field, text) for text in texts]
    _parse({field.json_name: values if field.is_repeated else values[-1]}, message, name, message.DESCRIPTOR)


def _value(field: Any, text: str) -> Any:
    """A parameter's text as the JSON that the field is read from."""
    kind = field.message_type.full_name if field.message_type is not None else ""
    if field.type == field.TYPE_BOOL or kind == "google.protobuf.BoolValue":
        return {"true": True, "false": False, "1": True, "0": False, "": True}.get(text.lower(), text)
    if kind == "google.protobuf.FieldMask":
        return re.sub("_([a-z])", lambda found: found[1].upper(), text)
    return text


def _field(message: Any, name: str) -> Any:
    """The field's descriptor by either of its names; raises KeyError."""
    descriptor = getattr(message, "DESCRIPTOR", None)
    if descriptor is None:
        raise KeyError(name)
    known = descriptor.fields_by_name
    return known[name] if name in known else descriptor.fields_by_camelcase_name[name]
