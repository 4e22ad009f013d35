"""Long-running operations, as clients poll them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud, operations
from labkit.cloud.azure.front import Call
from labkit.cloud.azure.hosts import Target
from labkit.cloud.engine.errors import Conflict
from labkit.cloud.http import Request
from tests.cloud.azure.in_process import Rest


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question about work that ends soon is held for as long as a busy machine takes."""
    monkeypatch.setattr(operations, "HELD", 60.0)


@pytest.fixture
def begin(cloud: AzureCloud) -> Callable[..., dict[str, str]]:
    """Begins an operation of a workspace's; answers the headers by lower-case name."""

    def begin(work: Callable[[], Any], **options: Any) -> dict[str, str]:
        call = Call(
            cloud, Request("PUT", "management.azure.com", "/"), "r", Target("arm"), {"api-version": "2023-04-01"}
        )
        call.operation = "Microsoft.MachineLearningServices/workspaces/things/write"
        answer = operations.begin(call, work, location="eastus", **options)
        return {"status": str(answer.status), **{name.lower(): value for name, value in answer.headers}}

    return begin


def path_of(headers: dict[str, str], name: str = "azure-asyncoperation") -> str:
    return headers[name].removeprefix("https://management.azure.com").partition("?")[0]


def test_a_poller_is_told_to_come_back_soon(begin: Any, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    headers = begin(goes_on.wait, status=201, body={"a": 1})
    assert (headers["status"], headers["retry-after-ms"]) == ("201", "100")
    assert "retry-after" not in headers
    with monkeypatch.context() as patch:
        patch.setattr(operations, "HELD", 0.01)
        status, body, polled = rest("GET", path_of(headers))
    assert (status, body["status"], polled["retry-after-ms"]) == (200, "InProgress", "100")
    goes_on.set()
    _, body, polled = rest("GET", path_of(headers))
    assert body["status"] == "Succeeded"
    assert body["startTime"] <= body["endTime"]
    assert "retry-after-ms" not in polled


def test_the_answer_comes_as_soon_as_the_work_ends(begin: Any, rest: Rest) -> None:
    goes_on = threading.Event()
    headers = begin(goes_on.wait)
    threading.Timer(0.05, goes_on.set).start()
    assert rest("GET", path_of(headers))[1]["status"] == "Succeeded"


def test_results(begin: Any, rest: Rest) -> None:
    headers = begin(lambda: {"keys": 2}, result=True)
    assert rest("GET", path_of(headers, "location"))[:2] == (200, {"keys": 2})
    headers = begin(lambda: None)
    assert rest("GET", path_of(headers, "location"))[:2] == (200, None)


def test_errors(begin: Any, rest: Rest) -> None:
    def fails() -> None:
        raise Conflict("It is there already.")

    headers = begin(fails, result=True)
    _, body, _ = rest("GET", path_of(headers))
    assert (body["status"], body["error"]) == ("Failed", {"code": "Conflict", "message": "It is there already."})
    assert rest.error("GET", path_of(headers, "location")) == (409, "Conflict", "It is there already.")
    headers = begin(lambda: 1 / 0)
    _, body, _ = rest("GET", path_of(headers))
    assert body["error"]["code"] == "InternalServerError"
    assert "ZeroDivisionError" in body["error"]["message"]


def test_an_operation_that_is_not_known(rest: Rest) -> None:
    path = f"{rest.subscription}/providers/Microsoft.MachineLearningServices/locations/eastus/mfeOperationsStatus/x"
    assert rest.error("GET", path) == (404, "OperationNotFound", "The operation 'x' was not found.")
