"""boto3 without a socket: its requests, signed as ever, go straight to :meth:`AwsCloud.handle`."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from labkit.cloud.aws import AwsCloud
from labkit.cloud.http import Headers, Request, Response

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@dataclass
class Keys:
    """Stands for ``labkit.cloud.state.Lab``: the learner's key."""

    access_key_id: str = ACCESS_KEY
    secret_access_key: str = SECRET


class _Raw(io.BytesIO):
    """A body as urllib3 gives it to botocore."""

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        while chunk := self.read(65536):
            yield chunk

    def release_conn(self) -> None:
        pass


def request_of(prepared: AWSPreparedRequest) -> Request:
    """What the gateway would make of a request that botocore is about to send."""
    url = urlsplit(prepared.url)
    body = prepared.body or b""
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    headers = [
        (name, value.decode() if isinstance(value, bytes) else str(value)) for name, value in prepared.headers.items()
    ]
    headers.append(("Host", url.netloc))
    target = url.path + (f"?{url.query}" if url.query else "")
    host = "" if (url.hostname or "").startswith(("127.", "localhost")) else url.hostname or ""
    return Request(prepared.method, host, target or "/", Headers(headers), body)


def botocore_response(prepared: AWSPreparedRequest, response: Response) -> AWSResponse:
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    headers = dict(response.headers)
    if prepared.method != "HEAD":
        headers["content-length"] = str(len(body))
    return AWSResponse(prepared.url, response.status, headers, _Raw(body))


@lru_cache(maxsize=1)
def _loader() -> Any:
    return botocore.session.get_session().get_component("data_loader")


@lru_cache(maxsize=8)
def client_without_server(service: str, region: str = "us-east-1", token: str | None = None) -> Any:
    """A boto3 client that only makes URLs."""
    return boto3.session.Session(ACCESS_KEY, SECRET, token, region_name=region).client(service)


def client(
    cloud: AwsCloud,
    service: str,
    region: str = "us-east-1",
    *,
    key: str = ACCESS_KEY,
    secret: str = SECRET,
    token: str | None = None,
    config: Config | None = None,
    **kwargs: Any,
) -> Any:
    """A boto3 client whose requests end in ``cloud``."""
    session = boto3.session.Session(key, secret, token, region_name=region)
    # Sessions read the services' models anew; one reader of them keeps what it has read.
    session._session.register_component("data_loader", _loader())
    made = session.client(service, config=Config(retries={"total_max_attempts": 1}).merge(config or Config()), **kwargs)

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        return botocore_response(request, cloud.handle(request_of(request)))

    made.meta.events.register("before-send.*", send)
    return made


def error(call: Callable[..., Any], **arguments: Any) -> tuple[int, str, str]:
    """The HTTP status, code and message with which a call fails."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    told = caught.value.response
    return told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"], told["Error"].get("Message", "")
