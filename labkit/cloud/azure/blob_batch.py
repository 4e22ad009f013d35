"""Batches: up to 256 deletions or changes of tier in one request, each with a credential and an answer of its own.

https://learn.microsoft.com/rest/api/storageservices/blob-batch
"""

from __future__ import annotations

import re
import uuid

from labkit.cloud.azure import blob_errors
from labkit.cloud.azure.blob_errors import error
from labkit.cloud.azure.blob_request import BlobCall
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.http import Headers, Request, Response

#: Requests of the largest batch.
MOST_REQUESTS = 256
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_ALLOWED = ("DELETE", "PUT")


def batch(at: BlobCall) -> Response:
    """Does one request of the batch after the other; the answer holds theirs in the same order."""
    found = _BOUNDARY.search(at.header("content-type"))
    if found is None:
        raise error("InvalidHeaderValue", HeaderName="Content-Type", HeaderValue=at.header("content-type"))
    parts = [part for part in at.body.split(f"--{found[1]}".encode())[1:] if not part.startswith(b"--")]
    if not parts or len(parts) > MOST_REQUESTS:
        raise error("InvalidInput", why=f"A batch has 1 to {MOST_REQUESTS} requests, not {len(parts)}.")
    boundary = f"batchresponse_{uuid.uuid4()}"
    pieces = [piece for part in parts for piece in (f"--{boundary}\r\n".encode(), _one(at, part), b"\r\n")]
    body = b"".join([*pieces, f"--{boundary}--".encode()])
    return Response(202, [("Content-Type", f"multipart/mixed; boundary={boundary}")], body)


def _one(at: BlobCall, part: bytes) -> bytes:
    """Answers one part of the batch, as a part of the answer."""
    outer, _, inner = part.strip(b"\r\n").partition(b"\r\n\r\n")
    head = inner.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    line, *lines = head.split("\r\n")
    method, _, rest = line.partition(" ")
    target = rest.rpartition(" ")[0]
    fields = [field.partition(":") for field in lines if field]
    headers = [(name, value.strip()) for name, _, value in fields]
    sent = Request(method, at.call.request.host, target, Headers(headers), secure=at.call.request.secure)
    try:
        if method not in _ALLOWED or (method == "PUT" and "comp=tier" not in sent.query):
            raise error("InvalidInput", why=f"A batch cannot hold {method} of {sent.path}.")
        answer = at.call.cloud.send(sent, at.call)
    except AzureError as failure:
        answer = blob_errors.response(failure, at.call.request_id, at.call.engine.clock.now())
    identifier = re.search(rb"(?im)^content-id:\s*(\S+)", outer)
    named = b"Content-ID: " + identifier[1] + b"\r\n" if identifier else b""
    status = f"HTTP/1.1 {answer.status} {answer.reason}\r\n"
    text = status + "".join(f"{name}: {value}\r\n" for name, value in answer.headers) + "\r\n"
    content = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    return b"Content-Type: application/http\r\n" + named + b"\r\n" + text.encode() + content
