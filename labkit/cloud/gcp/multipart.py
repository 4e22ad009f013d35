"""Bodies in several parts (RFC 2046): of uploads with their metadata, and of batches."""

from __future__ import annotations

import re
from collections.abc import Sequence

from labkit.cloud.gcp.storage_errors import invalid
from labkit.cloud.http import Headers

_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]+)\"|'([^']+)'|([^;\s]+))", re.IGNORECASE)


def parts(content_type: str, body: bytes) -> list[tuple[Headers, bytes]]:
    """The parts of a body: their headers and content. Raises when the body is not of this kind, or is cut off."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or not found:
        raise invalid(f"The request's Content-Type has to be multipart with a boundary, and is {content_type!r}.")
    boundary = b"--" + next(each for each in found.groups() if each).encode()
    if not body.startswith(boundary):
        start = body.find(b"\n" + boundary)
        body = body[start + 1 :] if start >= 0 else b""
    made = []
    at = len(boundary)
    while body[at : at + 2] != b"--":
        end = body.find(b"\n" + boundary, at)
        if not body or end < 0:
            raise invalid("Malformed multipart body.")
        # The line break before a boundary is the boundary's.
        part = body[at : end - 1 if body[end - 1 : end] == b"\r" else end]
        made.append(_part(part))
        at = end + 1 + len(boundary)
    return made


def _part(part: bytes) -> tuple[Headers, bytes]:
    start = part.find(b"\n") + 1
    if part[start : start + 2] == b"\r\n" or part[start : start + 1] == b"\n":
        return Headers(), part[start:].split(b"\n", 1)[1]
    ends = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := part.find(mark, start)) >= 0]
    if not ends:
        raise invalid("Malformed multipart body.")
    end, length = min(ends)
    lines = part[start:end].decode("utf-8", "replace").splitlines()
    fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Headers(fields), part[end + length :]


def write(boundary: str, parts: Sequence[tuple[Sequence[tuple[str, str]], bytes]]) -> bytes:
    """A body of these parts."""
    pieces = []
    for headers, content in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        pieces.append(f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n")
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()
