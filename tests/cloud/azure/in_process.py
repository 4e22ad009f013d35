"""Azure's SDKs without a socket: what ``requests`` would send goes straight to :meth:`AzureCloud.handle`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from labkit.cloud.azure import AzureCloud, settings
from labkit.cloud.azure.identity import PATH
from labkit.cloud.http import Headers, Request, Response

#: Where the lab's gateway would be.
URL = "http://127.0.0.1:21987"
MANAGEMENT = "https://management.azure.com"


class Lab:
    """Stands for ``labkit.cloud.state.Lab``."""

    def __init__(self, folder: Path, token: str = "a-token-of-a-lab") -> None:
        self.folder = folder
        self.run = folder / "run"
        self.token = token
        self.url = URL

    def write(self, file: Path, text: str) -> None:
        file.write_text(text)


@contextmanager
def reached(cloud: AzureCloud) -> Iterator[None]:
    """Has every request of ``requests`` in this process answered by ``cloud``, and its environment lead there."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.environment(cloud.lab).items():
            patch.setenv(name, value)
        patch.setattr(HTTPAdapter, "send", lambda self, request, **_: _send(self, cloud, request))
        yield


def call(
    cloud: AzureCloud,
    method: str,
    url: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    token: str | None = None,
) -> Response:
    """One request, as the gateway hands it over; a body that is no bytes is sent as JSON. The answer's is bytes."""
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent["Content-Length"] = str(len(data))
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    host = "" if url.startswith(URL) else parts.hostname or ""
    response = cloud.handle(Request(method, host, target or "/", Headers(sent.items()), data))
    response.body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    return response


def token(cloud: AzureCloud, resource: str = MANAGEMENT) -> str:
    """An access token of the learner's, got from the identity endpoint."""
    headers = {"X-IDENTITY-HEADER": cloud.identities.learners_header}
    answer = call(cloud, "GET", f"{URL}{PATH}?api-version=2019-08-01&resource={resource}", headers=headers)
    return str(json.loads(bytes(answer.body))["access_token"])


class Rest:
    """Resource Manager over plain REST, with the learner's token."""

    def __init__(self, cloud: AzureCloud) -> None:
        self.cloud = cloud
        self.subscription = f"/subscriptions/{cloud.identities.subscription}"
        self.group = f"{self.subscription}/resourceGroups/learning"
        self.workspace = f"{self.group}/providers/Microsoft.MachineLearningServices/workspaces/mlops"
        self._token = token(cloud)

    def __call__(
        self, method: str, path: str, body: Any = None, *, version: str | None = "2023-04-01", **query: str
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, body as JSON or None, headers by lower-case name). ``version`` None sends no api-version."""
        pairs = [*query.items(), *([("api-version", version)] if version else [])]
        text = "&".join(f"{name}={value}" for name, value in pairs)
        answer = call(self.cloud, method, f"{MANAGEMENT}{path}?{text}", body, token=self._token)
        headers = {name.lower(): value for name, value in answer.headers}
        return answer.status, json.loads(bytes(answer.body)) if answer.body else None, headers

    def error(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, str, str]:
        """(status, code, message) of a call that is expected to fail."""
        status, answer, _ = self(method, path, body, **query)
        return status, answer["error"]["code"], answer["error"]["message"]


def raised(action: Callable[[], Any]) -> Any:
    """The SDK's exception that ``action`` raises."""
    from azure.core.exceptions import HttpResponseError

    with pytest.raises(HttpResponseError) as caught:
        action()
    return caught.value


def _send(adapter: HTTPAdapter, cloud: AzureCloud, prepared: requests.PreparedRequest) -> requests.Response:
    assert prepared.url is not None
    assert prepared.method is not None
    parts = urlsplit(prepared.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    host = "" if prepared.url.startswith(URL) else parts.hostname or ""
    if host and cloud.serves(host) is not True:
        raise requests.exceptions.ProxyError(f"403 {cloud.serves(host)}")
    headers = Headers((name, str(value)) for name, value in prepared.headers.items())
    response = cloud.handle(Request(prepared.method, host, target or "/", headers, _body(prepared)))
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    names = {name.lower() for name, _ in response.headers}
    length = [] if "content-length" in names else [("Content-Length", str(len(body)))]
    raw = HTTPResponse(
        io.BytesIO(b"" if prepared.method == "HEAD" else body),
        headers=[*response.headers, *length],
        status=response.status,
        reason=response.reason,
        preload_content=False,
        request_method=prepared.method,
    )
    return adapter.build_response(prepared, raw)


def _body(prepared: requests.PreparedRequest) -> bytes:
    body: Any = prepared.body or b""
    if hasattr(body, "read"):
        body = body.read()
    elif not isinstance(body, (bytes, str)):
        body = b"".join(body)
    return body.encode() if isinstance(body, str) else bytes(body)
