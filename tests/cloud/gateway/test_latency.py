"""No request waits for a delayed acknowledgement, which takes 40 ms on Linux.

urllib3 leaves Nagle's algorithm on through a proxy and sends head and body apart, so each PUT and POST would stall.
A busy machine may take as long for other reasons, but not each time; without the gateway's care no median is shorter.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import pytest
import requests

from tests.cloud.gateway.fakes import Gateway
from tests.waiting import eventually

#: Seconds of a delayed acknowledgement.
STALL = 0.040


def session_to(gateway: Gateway) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.proxies = {"https": gateway.url}
    session.verify = gateway.ca_file
    return session


def median_time(act: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems delay acknowledgements otherwise")
@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("size", [1_000, 20_000])
def test_a_body_does_not_stall(gateway: Gateway, method: str, size: int) -> None:
    url, session, body = "https://a.cloud.test/", session_to(gateway), b"x" * size
    session.get(url)
    eventually(lambda: median_time(lambda: session.request(method, url, data=body), 30) < STALL)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems delay acknowledgements otherwise")
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_new_connection_does_not_stall_either(gateway: Gateway, method: str) -> None:
    url, body = "https://a.cloud.test/", b"x" * 20_000 if method == "PUT" else None
    session_to(gateway).get(url)
    eventually(lambda: median_time(lambda: session_to(gateway).request(method, url, data=body), 11) < STALL)
