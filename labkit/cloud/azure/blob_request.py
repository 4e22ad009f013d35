"""One request to the Blob service, as an operation's function sees it, and what answers have in common."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING

from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_store import Account, Blob, Container
from labkit.cloud.azure.crc64 import crc64
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.sas import Granted

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

#: Bytes of metadata that a blob or container may have.
LARGEST_METADATA = 8192
_METADATA = "x-ms-meta-"
#: A name that C# would take for an identifier.
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True)
class BlobCall:
    """A call to one storage account. ``grant`` is what a shared access signature allows, if one was presented."""

    call: Call
    resource: Resource
    account: Account
    container: str
    blob: str
    grant: Granted | None = None

    def header(self, name: str) -> str:
        return self.call.request.headers.get(name)

    @property
    def query(self) -> dict[str, str]:
        return self.call.query

    @property
    def body(self) -> bytes:
        return self.call.request.body

    def find_container(self) -> Container:
        """The container that the path names; raises ``ContainerNotFound``."""
        found = self.account.containers.get(self.container)
        if found is None:
            raise error("ContainerNotFound")
        return found

    def find_blob(self) -> Blob:
        """The blob that the path names; raises ``ContainerNotFound`` or ``BlobNotFound``."""
        found = self.find_container().blobs.get(self.blob)
        if found is None:
            raise error("BlobNotFound")
        return found

    def metadata(self) -> dict[str, str]:
        """The metadata that the request's headers hold; raises Storage's errors for what none can be."""
        found: dict[str, str] = {}
        for name, value in self.call.request.headers:
            if name.lower().startswith(_METADATA):
                key = name[len(_METADATA) :]
                if not _IDENTIFIER.fullmatch(key):
                    raise error("InvalidMetadata", HeaderName=name)
                found[key] = value
        if sum(len(name) + len(value) for name, value in found.items()) > LARGEST_METADATA:
            raise error("MetadataTooLarge")
        return found

    def check_body(self) -> str:
        """Compares the body with the checksums that came with it; answers its MD5, base64."""
        if not self.header("content-length"):
            raise error("MissingContentLengthHeader")
        digest = hashlib.md5(self.body, usedforsecurity=False).digest()
        if stated := self.header("content-md5"):
            if _decoded(stated, 16) is None:
                raise error("InvalidMd5")
            if _decoded(stated, 16) != digest:
                raise error("Md5Mismatch", UserSpecifiedMd5=stated, ServerCalculatedMd5=b64encode(digest).decode())
        if stated := self.header("x-ms-content-crc64"):
            calculated = crc64(self.body).to_bytes(8, "little")
            if _decoded(stated, 8) != calculated:
                raise error(
                    "Crc64Mismatch", UserSpecifiedCrc=stated, ServerCalculatedCrc=b64encode(calculated).decode()
                )
        return b64encode(digest).decode()


def stamped(found: Blob | Container) -> list[tuple[str, str]]:
    """The headers that say which version of something it is."""
    return [("ETag", found.etag), ("Last-Modified", format_datetime(found.modified, usegmt=True))]


def shown_metadata(found: Blob | Container) -> Iterator[tuple[str, str]]:
    """The metadata as headers."""
    return ((f"{_METADATA}{name}", value) for name, value in found.metadata.items())


def _decoded(text: str, size: int) -> bytes | None:
    try:
        value = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return None
    return value if len(value) == size else None
