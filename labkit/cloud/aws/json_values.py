"""JSON values as botocore's models type them, and the other way round.

https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

from labkit.cloud.aws.errors import AwsError


def document(body: bytes) -> dict[str, Any]:
    """A request's body as a JSON object; raises :class:`AwsError` when it is none."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        raise AwsError("SerializationException", "The request's body is no valid JSON.", 400) from None
    if not isinstance(found, dict):
        raise AwsError("SerializationException", "Start of structure or map expected at the top of the body.", 400)
    return found


_JSON_NAMES = {
    str: "STRING_VALUE",
    bool: "TRUE_VALUE",
    int: "NUMBER_VALUE",
    float: "DECIMAL_VALUE",
    list: "START_ARRAY",
}
_JSON_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "string": ("a String", (str,)),
    "integer": ("an Integer", (int, float)),
    "long": ("a Long", (int, float)),
    "float": ("a Float", (int, float)),
    "double": ("a Double", (int, float)),
    "boolean": ("a Boolean", (bool,)),
    "blob": ("a Blob", (str,)),
}


def from_json(shape: Any, value: Any) -> Any:
    """A JSON value as the model's type. Members that the model does not have are left out, as AWS does."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        _expect(value, dict)
        return {
            name: from_json(member, value[wire])
            for name, member in shape.members.items()
            if value.get(wire := member.serialization.get("name", name)) is not None
        }
    if kind == "list":
        _expect(value, list)
        return [from_json(shape.member, item) for item in value]
    if kind == "map":
        _expect(value, dict)
        return {key: from_json(shape.value, item) for key, item in value.items() if item is not None}
    if kind == "timestamp":
        return _timestamp(value)
    name, types = _JSON_TYPES[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "boolean"):
        if isinstance(value, dict):
            raise AwsError("SerializationException", "Start of structure or map found where not expected.", 400)
        what = _JSON_NAMES.get(type(value), "NULL_VALUE")
        raise AwsError("SerializationException", f"{what} can not be converted to {name}", 400)
    if isinstance(value, str) and kind == "blob":
        try:
            return b64decode(value, validate=True)
        except ValueError:
            raise AwsError("SerializationException", "A blob in the request is no valid base64.", 400) from None
    return int(value) if isinstance(value, float) and kind in ("integer", "long") else value


def _expect(value: Any, kind: type) -> None:
    if isinstance(value, kind):
        return
    if kind is dict:
        raise AwsError("SerializationException", "Unexpected value where a structure or map was expected.", 400)
    message = (
        "Start of structure or map found where not expected." if isinstance(value, dict) else "Expected list or null"
    )
    raise AwsError("SerializationException", message, 400)


def _timestamp(value: Any) -> datetime:
    """Seconds since 1970, or ISO 8601: aware UTC."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        when = datetime.fromisoformat(value)
    except (ValueError, TypeError, OverflowError, OSError):
        raise AwsError("SerializationException", f"{value!r} is no time that can be read.", 400) from None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def to_json(shape: Any, value: Any) -> Any:
    """A result's value for JSON: members that the model does not have, and those that are None, are left out."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        return {
            member.serialization.get("name", name): to_json(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if kind == "list":
        return [to_json(shape.member, item) for item in value]
    if kind == "map":
        return {key: to_json(shape.value, item) for key, item in value.items()}
    if kind == "timestamp" and isinstance(value, datetime):
        when = value if value.tzinfo else value.replace(tzinfo=UTC)
        if shape.serialization.get("timestampFormat") == "iso8601":
            return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return round(when.timestamp(), 3)
    if kind == "blob":
        return b64encode(value if isinstance(value, bytes) else value.encode()).decode()
    return value


def scalar(kind: str, value: Any) -> str:
    """A value as headers and XML write it."""
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "blob":
        return b64encode(value if isinstance(value, bytes) else value.encode()).decode()
    return str(value)
