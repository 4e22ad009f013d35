"""Objects by the XML API's addresses, ``https://storage.googleapis.com/bucket/object``: got, put and deleted.

https://cloud.google.com/storage/docs/xml-api/reference-methods
"""

from __future__ import annotations

from urllib.parse import unquote

from labkit.cloud.gcp import storage, storage_objects, storage_reading, storage_writing
from labkit.cloud.gcp.storage import StorageCall
from labkit.cloud.gcp.storage_errors import refused
from labkit.cloud.http import Response

#: Header field -> the property that it sets.
_SET = {
    "content-type": "contentType",
    "content-encoding": "contentEncoding",
    "content-disposition": "contentDisposition",
    "content-language": "contentLanguage",
    "cache-control": "cacheControl",
}
_METADATA = "x-goog-meta-"
#: Parameter -> the header field of the answer that it sets; Cloud Storage has them in signed URLs.
_ANSWERED = {"response-content-disposition": "Content-Disposition", "response-content-type": "Content-Type"}
#: Parameters that make the same address another method.
_SUBRESOURCES = ("acl", "uploads", "uploadId", "cors", "tagging", "versions", "compose", "encryption", "location")


def answer(call: StorageCall) -> Response:
    """Answers a request for an object; all others refuse."""
    path = call.request.raw_path.removeprefix("/")
    bucket, _, name = (call.target.bucket, "/", path) if call.target.bucket else path.partition("/")
    call.bucket, call.name = unquote(bucket), unquote(name)
    methods = {
        "GET": ("storage.objects.get", _get),
        "HEAD": ("storage.objects.get", _get),
        "PUT": ("storage.objects.create", _put),
        "DELETE": ("storage.objects.delete", _delete),
    }
    known = methods.get(call.request.method)
    if known is None or not call.name or any(each in call.query for each in _SUBRESOURCES):
        call.caller = call.cloud.identities.caller(call.request, call.target, "google.storage")
        raise refused(f"{call.request.method} {call.request.host}{call.request.path} (the XML API)")
    return storage.admit(call, *known)


def _get(call: StorageCall) -> Response:
    found = storage_objects.find(call)
    response = storage_reading.media(call, found)
    metadata = found.properties.get("metadata")
    if isinstance(metadata, dict):
        response.headers += [(f"{_METADATA}{name}", str(value)) for name, value in metadata.items()]
    for parameter, header in _ANSWERED.items():
        if value := call.query.get(parameter):
            response.headers = [each for each in response.headers if each[0] != header] + [(header, value)]
    return response


def _put(call: StorageCall) -> Response:
    if "x-goog-copy-source" in call.request.headers or "x-goog-acl" in call.request.headers:
        raise refused("copies and access control lists by header field")
    body = {name: value for field, name in _SET.items() if (value := call.request.headers.get(field))}
    own = {name.lower(): value for name, value in call.request.headers if name.lower().startswith(_METADATA)}
    metadata = {name.removeprefix(_METADATA): value for name, value in own.items()}
    conditions = {
        "x-goog-if-generation-match": "ifGenerationMatch",
        "x-goog-if-metageneration-match": "ifMetagenerationMatch",
    }
    call.query |= {name: value for field, name in conditions.items() if (value := call.request.headers.get(field))}
    made = storage_writing.store(
        call, call.name, body | ({"metadata": metadata} if metadata else {}), call.request.body
    )
    fields = [each for each in storage_reading.headers(made) if each[0].startswith(("X-Goog-", "ETag"))]
    return Response(200, fields)


def _delete(call: StorageCall) -> Response:
    return storage_objects.delete(call)
