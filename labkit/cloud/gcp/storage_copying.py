"""Objects made of others: rewritten, copied, composed, moved.

https://cloud.google.com/storage/docs/json_api/v1/objects/rewrite, .../copy, .../compose, .../move
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from labkit.cloud.gcp import storage_conditions, storage_objects, storage_writing
from labkit.cloud.gcp.storage import Route, StorageCall
from labkit.cloud.gcp.storage_errors import StorageError, check_types, invalid
from labkit.cloud.gcp.storage_store import Object, pieces
from labkit.cloud.http import Response

#: Objects of one composition at most.
MOST_SOURCES = 32


def _copied(call: StorageCall) -> Object:
    """The copy; a body replaces what was set of the source."""
    call.require("storage.objects.get", call.bucket, call.name)
    source = call.buckets.require(call.bucket, call.name, call.number("sourceGeneration"))
    storage_conditions.check(call, source, source=True)
    bucket, name = call.to
    storage_objects.check_name(name)
    storage_writing.may_store(call, bucket, name)
    home = call.buckets.get(bucket)
    storage_conditions.check(call, home.objects.get(name))
    body = call.body()
    set_anew = storage_objects.properties(body)
    properties = set_anew or dict(source.properties)
    if set(set_anew) == {"storageClass"}:
        properties = {**source.properties, **set_anew}
    content = call.buckets.copy(source)
    return call.buckets.put(
        bucket,
        name,
        content,
        properties,
        source.components,
        check=lambda before: storage_conditions.check(call, before),
    )


def rewrite(call: StorageCall) -> Response:
    """The copy is done in one call, whatever its size."""
    made = _copied(call)
    size = str(made.content.size)
    return call.answer(
        {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": size,
            "objectSize": size,
            "done": True,
            "resource": storage_objects.resource(made),
        }
    )


def copy(call: StorageCall) -> Response:
    return call.answer(storage_objects.resource(_copied(call)))


def move(call: StorageCall) -> Response:
    """Gives an object another name in its bucket, in one step."""
    name = storage_objects.check_name(call.to[1])
    call.require("storage.objects.move", call.bucket, call.name)
    storage_writing.may_store(call, call.bucket, name)
    with call.buckets.lock:
        source = call.buckets.require(call.bucket, call.name, call.number("sourceGeneration"))
        storage_conditions.check(call, source, source=True)
        if name == call.name:
            raise invalid("The source and destination object names must be different.")
        content = call.buckets.copy(source)
        made = call.buckets.put(
            call.bucket,
            name,
            content,
            dict(source.properties),
            source.components,
            check=lambda before: storage_conditions.check(call, before),
        )
        call.buckets.delete(source)
    return call.answer(storage_objects.resource(made))


def compose(call: StorageCall) -> Response:
    """One object of the content of several in the same bucket, in order."""
    body = call.body()
    check_types(body, {"sourceObjects": list, "destination": dict})
    asked: list[Any] = body.get("sourceObjects") or []
    if not asked:
        raise invalid("You must provide at least one source component.")
    if len(asked) > MOST_SOURCES:
        raise invalid(f"The number of source components provided ({len(asked)}) exceeds the maximum ({MOST_SOURCES}).")
    storage_objects.check_name(call.name)
    storage_writing.may_store(call, call.bucket, call.name)
    sources = [_source(call, each) for each in asked]
    storage_conditions.check(call, call.buckets.get(call.bucket).objects.get(call.name))
    destination = storage_objects.properties(body.get("destination") or {})
    destination.setdefault("contentType", sources[0].properties.get("contentType", "application/octet-stream"))
    content = replace(call.buckets.write(_joined(call, sources)), md5="")
    made = call.buckets.put(
        call.bucket,
        call.name,
        content,
        destination,
        sum(each.components or 1 for each in sources),
        check=lambda before: storage_conditions.check(call, before),
    )
    return call.answer(storage_objects.resource(made))


def _source(call: StorageCall, asked: Any) -> Object:
    if not isinstance(asked, dict):
        raise invalid("Invalid value for sourceObjects: it has to be a list of objects.")
    check_types(asked, {"name": str, "objectPreconditions": dict}, "sourceObjects.")
    generation = _number(asked, "generation")
    call.require("storage.objects.get", call.bucket, str(asked.get("name", "")))
    found = call.buckets.require(call.bucket, str(asked.get("name", "")), generation)
    wanted = _number(asked.get("objectPreconditions") or {}, "ifGenerationMatch")
    if wanted is not None and wanted != found.generation:
        raise StorageError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    return found


def _number(asked: dict[str, Any], name: str) -> int | None:
    """A generation, which JSON has as text."""
    value = asked.get(name)
    if value is None:
        return None
    if not str(value).isdecimal():
        raise invalid(f"Invalid value for {name}: {value!r} is not a whole number.")
    return int(value)


def _joined(call: StorageCall, sources: list[Object]) -> Iterator[bytes]:
    with ExitStack() as stack:
        for opened in [stack.enter_context(call.buckets.open(each)) for each in sources]:
            yield from pieces(opened)


_OBJECT = "/storage/v1/b/{bucket}/o/{name}"
_TO = "/b/{to_bucket}/o/{to_name}"

ROUTES = [
    Route(
        "objects.rewrite",
        "POST",
        f"{_OBJECT}/rewriteTo{_TO}",
        "storage.objects.create",
        rewrite,
        "in one call",
        asks=True,
    ),
    Route("objects.copy", "POST", f"{_OBJECT}/copyTo{_TO}", "storage.objects.create", copy, asks=True),
    Route("objects.move", "POST", f"{_OBJECT}/moveTo/o/{{to_name}}", "storage.objects.move", move, asks=True),
    Route("objects.compose", "POST", f"{_OBJECT}/compose", "storage.objects.create", compose, asks=True),
]
