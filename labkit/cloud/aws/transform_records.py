"""An object of a batch transform: cut into records, packed into requests, its answers put together.

https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_MEGABYTE = 1024 * 1024


class TooLarge(Exception):
    """A record, or an object that is not split, is larger than a request may be."""


def requests(content: bytes, split: str, strategy: str, most_mb: int) -> Iterator[list[bytes]]:
    """The records of each request: all of ``content`` (split ``None``), or its lines one by one or as many as fit."""
    limit = most_mb * _MEGABYTE or len(content) + 1
    if split == "None":
        if len(content) > limit:
            raise TooLarge
        yield [content]
        return
    lines = [line for line in content.splitlines(keepends=True) if line.strip()]
    if any(len(line) > limit for line in lines):
        raise TooLarge
    if strategy == "SingleRecord":
        yield from ([line.rstrip(b"\r\n")] for line in lines)
        return
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > limit:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def assembled(answers: Iterable[bytes], assemble: str) -> bytes:
    """The output object: the answers as they are, or (``Line``) each with a line's end."""
    if assemble == "None":
        return b"".join(answers)
    return b"".join(answer if answer.endswith(b"\n") else answer + b"\n" for answer in answers)
