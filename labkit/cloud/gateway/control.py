"""The control interface: what ``labkit``'s commands and ``Lab`` ask of the running server, over plain HTTP on its port.

Paths begin with ``/_labkit/``; every request bears the lab's token. Answers are JSON; one that takes time is a line of
JSON for each piece of news, the last one with the result.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.cloud.gateway.connection import plain
from labkit.cloud.http import Request, Response

PREFIX = "/_labkit/"

#: Answers one request, given its JSON body; an iterator is sent as lines, as they come.
Route = Callable[[dict[str, Any]], "dict[str, Any] | Iterator[dict[str, Any]]"]


class Bad(Exception):
    """The request cannot be done. The message is one sentence."""


@dataclass(frozen=True)
class Control:
    """The control interface's routes, by method and path (``"POST clock/advance"``)."""

    port: int
    token: str
    routes: Mapping[str, Route]

    def has(self, request: Request) -> bool:
        """Whether the request's path is one of this interface's."""
        path = request.path.removeprefix(PREFIX)
        return request.path != path and any(route.split(" ", 1)[1] == path for route in self.routes)

    def handle(self, request: Request) -> Response:
        presented = request.headers.get("authorization")
        if not hmac.compare_digest(presented.encode(), f"Bearer {self.token}".encode()):
            return plain(401, "The control interface takes the token of this lab's own commands only.")
        route = self.routes.get(f"{request.method} {request.path.removeprefix(PREFIX)}")
        if route is None:
            return plain(405, f"{request.path} does not take {request.method}.")
        try:
            payload = json.loads(request.body or b"{}")
            if not isinstance(payload, dict):
                raise ValueError
        except ValueError:
            return plain(400, "The control interface takes a JSON object.")
        try:
            answer = route(payload)
        except Bad as error:
            return _json(400, {"error": str(error)})
        if isinstance(answer, dict):
            return _json(200, answer)
        return Response(200, [("Content-Type", "application/jsonl")], _lines(answer))


def _json(status: int, content: dict[str, Any]) -> Response:
    return Response(status, [("Content-Type", "application/json")], json.dumps(content).encode())


def _lines(news: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    try:
        for each in news:
            yield json.dumps(each).encode() + b"\n"
    except Bad as error:
        yield json.dumps({"error": str(error)}).encode() + b"\n"
