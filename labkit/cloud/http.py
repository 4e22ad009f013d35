"""One HTTP request and one HTTP response, as the gateway hands them to a dialect and takes them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote


class Headers:
    """HTTP header fields in the order in which they came; names are looked up without regard to case."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self.items: list[tuple[str, str]] = list(items)

    def get(self, name: str, default: str = "") -> str:
        """The field's value (the first one's, where it was sent more than once)."""
        name = name.lower()
        return next((value for key, value in self.items if key.lower() == name), default)

    def all(self, name: str) -> list[str]:
        """Every value sent under this name, in order."""
        name = name.lower()
        return [value for key, value in self.items if key.lower() == name]

    def __contains__(self, name: str) -> bool:
        name = name.lower()
        return any(key.lower() == name for key, _ in self.items)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items)

    def __repr__(self) -> str:
        return f"Headers({self.items!r})"


@dataclass(slots=True)
class Request:
    """What a client sent, whole: the body is read before a dialect sees the request.

    ``target`` is the request line's target, percent-encoding untouched (signatures are computed over it);
    ``host`` the cloud's host name in lower case without a port, or ``""`` when the client was given the
    plain front's address as its endpoint; ``received`` is ``time.perf_counter()`` when the head had arrived.
    """

    method: str
    host: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    secure: bool = True
    received: float = 0.0

    @property
    def raw_path(self) -> str:
        """The path as sent, percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.raw_path)

    @property
    def query(self) -> str:
        """The query string as sent, without the question mark."""
        return self.target.partition("?")[2]


@dataclass(slots=True)
class Response:
    """What goes back. ``Content-Length`` and ``Date`` are the gateway's to add; a body in pieces is sent chunked."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""

    @property
    def reason(self) -> str:
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""
