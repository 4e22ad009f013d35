"""boto3 clients that are made once and reach the cloud of the running test: making one takes longer than a test."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from labkit.cloud.aws import AwsCloud
from labkit.cloud.http import Request, Response
from tests.cloud.aws import in_process


class _Current:
    cloud: AwsCloud

    def handle(self, request: Request) -> Response:
        return self.cloud.handle(request)


_current = _Current()


@lru_cache
def _client(service: str, region: str) -> Any:
    return in_process.client(_current, service, region)  # type: ignore[arg-type]


def client(cloud: AwsCloud, service: str, region: str = "us-east-1") -> Any:
    """A client of ``cloud``, until this is called for another one."""
    _current.cloud = cloud
    return _client(service, region)
