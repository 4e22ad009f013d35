"""Lists of containers and of blobs, a page at a time.

https://learn.microsoft.com/rest/api/storageservices/list-blobs and .../list-containers2
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Sequence
from email.utils import format_datetime
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from labkit.cloud.azure.blob_errors import NOT_XML, error
from labkit.cloud.azure.blob_request import BlobCall
from labkit.cloud.azure.blob_store import Blob, Container
from labkit.cloud.azure.errors import refusal
from labkit.cloud.http import Response

#: Entries of the largest page, and of one without ``maxresults``.
LARGEST_PAGE = 5000
#: What ``include`` may ask for; of the second kind nothing exists here, so that nothing is what is listed.
_INCLUDES = frozenset(("metadata", "uncommittedblobs", "copy"))
_NONE_EXIST = frozenset(("snapshots", "deleted", "versions", "deletedwithversions", "legalhold", "immutabilitypolicy"))
#: What there is to say of a blob whose blocks all wait to be committed.
_UNCOMMITTED = (
    "<Properties><Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType><LeaseStatus>unlocked</LeaseStatus>"
    "<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>"
)


def list_blobs(at: BlobCall) -> Response:
    """A page of the container's blobs by name; with ``delimiter``, the names up to it stand for what is below."""
    container = at.find_container()
    prefix, delimiter = at.query.get("prefix", ""), at.query.get("delimiter", "")
    include = _include(at)
    with at.account.lock:
        blobs = dict(container.blobs)
        waiting = [name for name in container.waiting if name not in blobs] if "uncommittedblobs" in include else []
    names = sorted(name for name in [*blobs, *waiting] if name.startswith(prefix))
    entries: dict[str, bool] = {}
    for name in names:
        end = name.find(delimiter, len(prefix)) if delimiter else -1
        entries[name if end < 0 else name[: end + len(delimiter)]] = end >= 0
    shown, following = _page(at, list(entries))
    parts = []
    for name in shown:
        if entries[name]:
            parts.append(f"<BlobPrefix>{_name(name)}</BlobPrefix>")
        elif name in blobs:
            parts.append(_blob(blobs[name], include))
        else:
            parts.append(f"<Blob>{_name(name)}{_UNCOMMITTED}</Blob>")
    given = {"Prefix": prefix, "Delimiter": delimiter}
    return _answer(at, given, "Blobs", parts, following, f" ContainerName={quoteattr(container.name)}")


def list_containers(at: BlobCall) -> Response:
    """A page of the account's containers by name."""
    prefix, include = at.query.get("prefix", ""), _include(at)
    with at.account.lock:
        containers = dict(at.account.containers)
    shown, following = _page(at, sorted(name for name in containers if name.startswith(prefix)))
    parts = [_container(containers[name], include) for name in shown]
    return _answer(at, {"Prefix": prefix}, "Containers", parts, following, "")


def _include(at: BlobCall) -> frozenset[str]:
    asked = frozenset(each for each in at.query.get("include", "").replace(" ", "").split(",") if each)
    for each in asked - _INCLUDES - _NONE_EXIST - {"system"}:
        if each in ("tags", "permissions"):
            raise refusal(f"include={each} of a list of blobs")
        raise error("InvalidQueryParameterValue", QueryParameterName="include", QueryParameterValue=each)
    return asked


def _page(at: BlobCall, names: Sequence[str]) -> tuple[Sequence[str], str]:
    """The names on the page that was asked for, and the name with which the next one begins, or ``""``."""
    text = at.query.get("maxresults", "")
    size = LARGEST_PAGE
    if text:
        if not text.isascii() or not text.isdigit():
            raise error("InvalidQueryParameterValue", QueryParameterName="maxresults", QueryParameterValue=text)
        size = int(text)
        if not 1 <= size <= LARGEST_PAGE:
            raise error("OutOfRangeQueryParameterValue", QueryParameterName="maxresults", QueryParameterValue=text)
    if marker := at.query.get("marker", ""):
        try:
            start = urlsafe_b64decode(marker).decode()
        except (NotBase64, ValueError):
            raise error("InvalidQueryParameterValue", QueryParameterName="marker", QueryParameterValue=marker) from None
        names = [name for name in names if name >= start]
    return names[:size], names[size] if len(names) > size else ""


def _answer(
    at: BlobCall, given: dict[str, str], element: str, parts: Iterable[str], following: str, attributes: str
) -> Response:
    head = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in given.items() if value)
    for name in ("marker", "maxresults"):
        if value := at.query.get(name):
            title = "Marker" if name == "marker" else "MaxResults"
            head += f"<{title}>{escape(value)}</{title}>"
    marker = urlsafe_b64encode(following.encode()).decode()
    text = (
        f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults '
        f'ServiceEndpoint="https://{at.account.name}.blob.core.windows.net/"{attributes}>{head}'
        f"<{element}>{''.join(parts)}</{element}><NextMarker>{marker}</NextMarker></EnumerationResults>"
    )
    return Response(200, [("Content-Type", "application/xml")], text.encode())


def _name(name: str) -> str:
    """A name's element; one that XML cannot hold is sent percent-encoded."""
    if NOT_XML.search(name):
        return f'<Name Encoded="true">{quote(name)}</Name>'
    return f"<Name>{escape(name)}</Name>"


def _blob(blob: Blob, include: frozenset[str]) -> str:
    properties = {
        "Creation-Time": format_datetime(blob.created, usegmt=True),
        "Last-Modified": format_datetime(blob.modified, usegmt=True),
        "Etag": blob.etag.strip('"'),
        "Content-Length": str(blob.size),
        **{name: blob.headers.get(name, "") for name in ("Content-Type", "Content-Encoding", "Content-Language")},
        "Content-MD5": blob.md5,
        **{name: blob.headers.get(name, "") for name in ("Cache-Control", "Content-Disposition")},
        "BlobType": "BlockBlob",
        "AccessTier": blob.tier or "Hot",
        "AccessTierInferred": "" if blob.tier else "true",
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
        "ServerEncrypted": "true",
    }
    if "copy" in include:
        properties |= blob.copied
    shown = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in properties.items() if value)
    return f"<Blob>{_name(blob.name)}<Properties>{shown}</Properties>{_metadata(blob, include)}<OrMetadata /></Blob>"


def _container(container: Container, include: frozenset[str]) -> str:
    return (
        f"<Container>{_name(container.name)}<Properties>"
        f"<Last-Modified>{format_datetime(container.modified, usegmt=True)}</Last-Modified>"
        f"<Etag>{escape(container.etag)}</Etag>"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        "<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"
        "<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>"
        "<HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold>"
        "<ImmutableStorageWithVersioningEnabled>false</ImmutableStorageWithVersioningEnabled>"
        f"</Properties>{_metadata(container, include)}</Container>"
    )


def _metadata(found: Blob | Container, include: frozenset[str]) -> str:
    if "metadata" not in include:
        return ""
    return "<Metadata>" + "".join(f"<{n}>{escape(v)}</{n}>" for n, v in found.metadata.items()) + "</Metadata>"
