"""Google's messages and methods as the generated files have them, without the client libraries; loaded when first used.

Messages live in a descriptor pool of their own, so they are not the classes of a client library that is imported in the
same process.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

_FILES = resources.files(__package__) / "generated"
_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Binding:
    """How a method is called over REST: ``template`` as in ``google.api.http``, ``body`` a field, ``*`` or ``""``.

    https://cloud.google.com/service-infrastructure/docs/service-management/reference/rpc/google.api#httprule
    """

    verb: str
    template: str
    body: str


@dataclass(frozen=True, slots=True)
class Method:
    """One method. ``service`` and ``name`` make its gRPC name; types are full names of messages.

    ``operation`` are the types of the response and the metadata of the long-running operation that it answers with.
    """

    api: str
    service: str
    name: str
    request: str
    response: str
    streaming: str
    bindings: tuple[Binding, ...]
    operation: tuple[str, str] | None

    @property
    def full_name(self) -> str:
        """As gRPC has it: ``google.cloud.aiplatform.v1.ModelService/UploadModel``."""
        return f"{self.service}/{self.name}"

    @property
    def dotted(self) -> str:
        """As audit logs and error details have it: ``google.cloud.aiplatform.v1.ModelService.UploadModel``."""
        return f"{self.service}.{self.name}"


class Package:
    """The messages and enums of one protobuf package as attributes: ``Package("google.rpc").Status(code=5)``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        full_name = f"{self._name}.{name}"
        try:
            found = message(full_name)
        except KeyError:
            found = _enum(full_name)
        setattr(self, name, found)
        return found


@cache
def pool() -> DescriptorPool:
    """The pool that holds every message of the served APIs."""
    from google.protobuf import descriptor_pb2
    from google.protobuf.descriptor_pool import DescriptorPool

    with _lock:
        made = DescriptorPool()
        files = descriptor_pb2.FileDescriptorSet.FromString(
            gzip.decompress((_FILES / "descriptors.binpb.gz").read_bytes())
        )
        for file in files.file:
            made.Add(file)
        return made


@cache
def message(full_name: str) -> Any:
    """The class of a message; raises KeyError when there is none of that name."""
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(pool().FindMessageTypeByName(full_name))


def _enum(full_name: str) -> Any:
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

    return EnumTypeWrapper(pool().FindEnumTypeByName(full_name))


@cache
def methods() -> dict[str, dict[str, Method]]:
    """Every method, by API (``aiplatform``, ``monitoring`` ...) and then by gRPC name."""
    table = json.loads((_FILES / "methods.json").read_text(encoding="utf-8"))
    return {api: {each["name"]: _read(api, each) for each in entries} for api, entries in table.items()}


def _read(api: str, entry: dict[str, Any]) -> Method:
    service, _, name = entry["name"].partition("/")
    bindings = tuple(Binding(verb.upper(), template, body) for verb, template, body in entry.get("http", ()))
    operation = entry.get("operation")
    return Method(
        api,
        service,
        name,
        entry["request"],
        entry["response"],
        entry.get("streaming", "unary_unary"),
        bindings,
        (operation[0], operation[1]) if operation else None,
    )


def find(api: str, full_name: str) -> Method | None:
    """The method of an API by its gRPC name, or None."""
    return methods().get(api, {}).get(full_name)


def unknown(api: str, what: str) -> Method:
    """Stands for a method that no API has, so that the audit trail can name it: ``what`` was asked of ``api``."""
    return Method(api, api, what, "", "", "unary_unary", (), None)


def apis_of(full_name: str) -> Iterator[str]:
    """The APIs that have a method of this gRPC name: several for those that each API mixes in."""
    return (api for api, known in methods().items() if full_name in known)
