"""Google's messages and methods as the generated files have them, without the client libraries; loaded when first used.

Messages live in a descriptor pool of their own, so they are not the classes of a client library that is imported in the
same process.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

_FILES = resources.files(__package__) / "generated"
_lock = threading.RLock()

#: The APIs whose preview has every method of the stable version, with the same messages and some fields more: the
#: package of the stable version, and the preview's.
PREVIEWS = {"aiplatform": ("google.cloud.aiplatform.v1", "google.cloud.aiplatform.v1beta1")}


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
    A ``preview`` is the method as the API's preview has it: its types are the stable version's.
    """

    api: str
    service: str
    name: str
    request: str
    response: str
    streaming: str
    bindings: tuple[Binding, ...]
    operation: tuple[str, str] | None
    preview: bool = False

    @property
    def full_name(self) -> str:
        """As gRPC has it: ``google.cloud.aiplatform.v1.ModelService/UploadModel``."""
        return f"{self.service}/{self.name}"

    @property
    def dotted(self) -> str:
        """As audit logs and error details have it: ``google.cloud.aiplatform.v1.ModelService.UploadModel``."""
        return f"{self.service}.{self.name}"

    @property
    def stable_service(self) -> str:
        """The service in the API's stable version."""
        if not self.preview:
            return self.service
        stable, preview = PREVIEWS[self.api]
        return self.service.replace(f"{preview}.", f"{stable}.")


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


def pool() -> DescriptorPool:
    """The pool that holds every message of the served APIs."""
    with _lock:
        return _pool()


@cache
def _pool() -> DescriptorPool:
    from google.protobuf.descriptor_pool import DescriptorPool

    made = DescriptorPool()
    for file in _files().file:
        made.Add(file)
    return made


def _files() -> Any:
    from google.protobuf import descriptor_pb2

    content = gzip.decompress((_FILES / "descriptors.binpb.gz").read_bytes())
    return descriptor_pb2.FileDescriptorSet.FromString(content)


@cache
def message(full_name: str) -> Any:
    """The class of a message; raises KeyError when there is none of that name."""
    from google.protobuf.message_factory import GetMessageClass

    # Two threads at once would make two classes of it, whose messages do not go into each other.
    with _lock:
        return GetMessageClass(pool().FindMessageTypeByName(full_name))


def _enum(full_name: str) -> Any:
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

    return EnumTypeWrapper(pool().FindEnumTypeByName(full_name))


def in_preview(api: str, sent: Any) -> Any:
    """The message as the API's preview names its type, where it is one of the API's; else the message itself."""
    stable, preview = PREVIEWS[api]
    name = sent.DESCRIPTOR.full_name
    if not name.startswith(f"{stable}."):
        return sent
    _add_preview(api)
    return message(name.replace(stable, preview, 1)).FromString(sent.SerializeToString())


@cache
def _add_preview(api: str) -> None:
    """Adds the API's messages to the pool a second time, under the names of its preview."""
    from google.protobuf import descriptor_pb2

    stable, preview = PREVIEWS[api]
    folder, other = (package.replace(".", "/").rpartition("/") for package in (stable, preview))
    old, new = f"{folder[0]}_{folder[2]}/", f"{other[0]}_{other[2]}/"
    with _lock:
        for file in _files().file:
            if not file.package.startswith(stable):
                continue
            renamed = descriptor_pb2.FileDescriptorProto()
            renamed.CopyFrom(file)
            renamed.name, renamed.package = file.name.replace(old, new), file.package.replace(stable, preview, 1)
            renamed.dependency[:] = [each.replace(old, new) for each in file.dependency]
            for kind in renamed.message_type:
                _rename(kind, f".{stable}.", f".{preview}.")
            pool().Add(renamed)


def _rename(kind: Any, old: str, new: str) -> None:
    """Makes the fields of a message's descriptor name types that begin with ``new`` where they begin with ``old``."""
    for field in kind.field:
        if field.type_name.startswith(old):
            field.type_name = new + field.type_name.removeprefix(old)
    for nested in kind.nested_type:
        _rename(nested, old, new)


def unknown_field(sent: Any) -> str:
    """The first field of a message, or of one within it, that its type does not have (``Model: field 9``), or ``""``.

    What is free in its form is not looked into.
    """
    from google.protobuf.unknown_fields import UnknownFieldSet

    for unknown in UnknownFieldSet(sent):
        return f"{sent.DESCRIPTOR.name}: field {unknown.field_number}"
    for field, value in sent.ListFields():
        if field.message_type is None or field.message_type.full_name.startswith("google.protobuf."):
            continue
        if field.message_type.GetOptions().map_entry:
            of_value = field.message_type.fields_by_name["value"].message_type
            within = value.values() if of_value is not None else ()
        else:
            within = value if field.is_repeated else (value,)
        for each in within:
            if found := unknown_field(each):
                return found
    return ""


@cache
def methods() -> dict[str, dict[str, Method]]:
    """Every method, by API (``aiplatform``, ``monitoring`` ...) and then by gRPC name, those of previews last."""
    table = json.loads((_FILES / "methods.json").read_text(encoding="utf-8"))
    found = {api: {each["name"]: _read(api, each) for each in entries} for api, entries in table.items()}
    for api in PREVIEWS:
        previews = [_preview(each) for each in found[api].values()]
        found[api] |= {each.full_name: each for each in previews}
    return found


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


def _preview(method: Method) -> Method:
    """The method in its API's preview; one that every API mixes in has the preview's paths beside its own."""
    stable, preview = PREVIEWS[method.api]
    old, new = (f"/{package.rpartition('.')[2]}/" for package in (stable, preview))
    beside = [replace(each, template=each.template.replace(old, new, 1)) for each in method.bindings]
    if not method.service.startswith(f"{stable}."):
        return replace(method, bindings=tuple(dict.fromkeys((*method.bindings, *beside))))
    service = method.service.replace(stable, preview, 1)
    return replace(method, service=service, bindings=tuple(beside), preview=True)


def find(api: str, full_name: str) -> Method | None:
    """The method of an API by its gRPC name, or None."""
    return methods().get(api, {}).get(full_name)


def unknown(api: str, what: str) -> Method:
    """Stands for a method that no API has, so that the audit trail can name it: ``what`` was asked of ``api``."""
    return Method(api, api, what, "", "", "unary_unary", (), None)


def apis_of(full_name: str) -> Iterator[str]:
    """The APIs that have a method of this gRPC name: several for those that each API mixes in."""
    return (api for api, known in methods().items() if full_name in known)
