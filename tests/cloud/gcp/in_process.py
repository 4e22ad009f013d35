"""Google Cloud without a socket: requests go straight to :meth:`GcpCloud.handle`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from labkit.cloud.gcp import GcpCloud
from labkit.cloud.gcp.identity import LEARNER, SCOPE
from labkit.cloud.http import Headers, Request, Response

#: Where the lab's gateway would be.
URL = "http://127.0.0.1:21987"


class Lab:
    """Stands for ``labkit.cloud.state.Lab``."""

    def __init__(self, folder: Path, token: str = "a-token-of-a-lab") -> None:
        self.folder = folder
        self.run = folder / "run"
        self.token = token
        self.url = URL


def token(cloud: GcpCloud) -> str:
    """An access token of the learner's."""
    return cloud.identities.tokens.issue(LEARNER.email, (SCOPE,))


def call(
    cloud: GcpCloud, method: str, host: str, target: str, body: Any = None, *, headers: dict[str, str] | None = None
) -> Response:
    """One request, as the gateway hands it over; a body that is no bytes is sent as JSON. The answer's is bytes."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = {"Authorization": f"Bearer {token(cloud)}", "Content-Type": "application/json"} | (headers or {})
    sent = Headers([(name, value) for name, value in fields.items() if value])
    response = cloud.handle(Request(method, host, target, sent, data, received=time.perf_counter()))
    response.body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    return response
