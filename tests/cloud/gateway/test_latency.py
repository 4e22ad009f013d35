"""No request waits for a delayed acknowledgement, which takes 40 ms on Linux.

urllib3 leaves Nagle's algorithm on through a proxy and sends head and body apart, so each PUT and POST would stall.
Without the gateway's care the ratios below are 80 and more.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import pytest
import requests

from tests.cloud.gateway.fakes import Gateway

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
def test_a_body_takes_hardly_longer_than_none(gateway: Gateway, method: str, size: int) -> None:
    url, session, body = "https://a.cloud.test/", session_to(gateway), b"x" * size
    session.get(url)
    without = median_time(lambda: session.get(url), 30)
    assert median_time(lambda: session.request(method, url, data=body), 30) < max(10 * without, STALL / 4)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems delay acknowledgements otherwise")
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_new_connection_does_not_stall_either(gateway: Gateway, method: str) -> None:
    url, body = "https://a.cloud.test/", b"x" * 20_000 if method == "PUT" else None
    session_to(gateway).get(url)
    assert median_time(lambda: session_to(gateway).request(method, url, data=body), 11) < STALL
