from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from labkit.cloud.engine.errors import Conflict
from labkit.cloud.gcp import GcpCloud, operations, schema
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.front import Call
from labkit.cloud.gcp.hosts import Target
from labkit.cloud.http import Headers, Request
from tests.cloud.gcp.in_process import token

HOST = "us-central1-aiplatform.googleapis.com"
V1 = schema.Package("google.cloud.aiplatform.v1")
LRO = schema.Package("google.longrunning")


def call(cloud: GcpCloud, method: str, project: str) -> Call:
    """A call as a method's function gets it."""
    from labkit.cloud.gcp.resource_names import parse

    found = schema.find("aiplatform", method)
    assert found is not None
    request = Request("POST", HOST, "/", Headers([("Authorization", f"Bearer {token(cloud)}")]))
    made = Call(cloud, request, Target("aiplatform", "us-central1"), found, "grpc")
    made.resource = f"projects/{project}/locations/us-central1"
    made.names = parse(made.resource)
    made._project = cloud.projects.find(project)
    return made


def ask(cloud: GcpCloud, method: str, request: Any) -> Any:
    """What the method of Operations answers, as over either transport."""
    found = schema.find("aiplatform", f"google.longrunning.Operations/{method}")
    assert found is not None
    sent = Request("POST", HOST, "/", Headers([("Authorization", f"Bearer {token(cloud)}")]))
    return cloud.do(Call(cloud, sent, Target("aiplatform", "us-central1"), found, "grpc"), request)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is held until short work ends, for as long as a busy machine takes."""
    monkeypatch.setattr(operations, "HELD", 60.0)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Work that waits for it goes on meanwhile; nobody's answer is held for long."""
    monkeypatch.setattr(operations, "HELD", 0.02)
    event = threading.Event()
    yield event
    event.set()


def begun(cloud: GcpCloud, project: str, work: Any) -> Any:
    return call(cloud, "google.cloud.aiplatform.v1.EndpointService/CreateEndpoint", project).operation(work)


def test_short_work_is_done_in_the_first_answer(cloud: GcpCloud) -> None:
    operation = begun(cloud, "project-lro-1", lambda: V1.Endpoint(name="e"))
    assert operation.done
    response, metadata = V1.Endpoint(), V1.CreateEndpointOperationMetadata()
    assert operation.response.Unpack(response)
    assert response.name == "e"
    assert operation.metadata.Unpack(metadata)
    assert metadata.generic_metadata.create_time.seconds > 0
    number = cloud.projects.find("project-lro-1").number
    assert operation.name.startswith(f"projects/{number}/locations/us-central1/operations/")
    assert ask(cloud, "GetOperation", LRO.GetOperationRequest(name=operation.name)) == operation


def test_work_without_a_result_answers_empty(cloud: GcpCloud) -> None:
    operation = begun(cloud, "project-lro-1", lambda: None)
    assert operation.response.type_url == "type.googleapis.com/google.protobuf.Empty"


def test_what_work_raises_is_the_operations_error(cloud: GcpCloud) -> None:
    def fail() -> None:
        raise Conflict("The endpoint is busy.")

    operation = begun(cloud, "project-lro-1", fail)
    assert operation.done
    assert (operation.error.code, operation.error.message) == (9, "The endpoint is busy.")


def test_a_defect_is_an_error_too_and_names_the_method(cloud: GcpCloud) -> None:
    operation = begun(cloud, "project-lro-1", lambda: 1 / 0)
    assert operation.error.code == 12
    assert "EndpointService.CreateEndpoint" in operation.error.message


def test_long_work_is_waited_for(cloud: GcpCloud, gate: threading.Event) -> None:
    def work() -> Any:
        assert gate.wait(100)
        return V1.Endpoint(name="late")

    operation = begun(cloud, "project-lro-2", work)
    assert not operation.done
    wait = LRO.WaitOperationRequest(name=operation.name)
    wait.timeout.FromMilliseconds(10)
    assert not ask(cloud, "WaitOperation", wait).done
    with pytest.raises(GcpError) as caught:
        ask(cloud, "DeleteOperation", LRO.DeleteOperationRequest(name=operation.name))
    assert caught.value.code == "FAILED_PRECONDITION"
    ask(cloud, "CancelOperation", LRO.CancelOperationRequest(name=operation.name))
    threading.Timer(0.02, gate.set).start()
    assert ask(cloud, "WaitOperation", LRO.WaitOperationRequest(name=operation.name)).done


def test_operations_are_listed_by_page_filter_and_place(cloud: GcpCloud, gate: threading.Event) -> None:
    project = "project-lro-3"
    done = [begun(cloud, project, lambda: None) for _ in range(3)]
    waiting = begun(cloud, project, lambda: gate.wait() and None)
    parent = f"projects/{project}/locations/us-central1"

    def listed(**more: Any) -> Any:
        return ask(cloud, "ListOperations", LRO.ListOperationsRequest(**{"name": parent} | more))

    assert [each.name for each in listed().operations] == [each.name for each in (waiting, *done[::-1])]
    assert [each.name for each in listed(filter="done=false").operations] == [waiting.name]
    first = listed(page_size=3)
    assert [each.name for each in listed(page_size=3, page_token=first.next_page_token).operations] == [done[0].name]
    assert list(listed(name=f"{parent}/models/7").operations) == []
    for wrong, code in (({"filter": "name:x"}, "UNIMPLEMENTED"), ({"page_token": "x"}, "INVALID_ARGUMENT")):
        with pytest.raises(GcpError) as caught:
            listed(**wrong)
        assert caught.value.code == code


def test_an_operation_that_is_not_there(cloud: GcpCloud) -> None:
    operation = begun(cloud, "project-lro-4", lambda: None)
    ask(cloud, "DeleteOperation", LRO.DeleteOperationRequest(name=operation.name))
    with pytest.raises(GcpError) as caught:
        ask(cloud, "GetOperation", LRO.GetOperationRequest(name=operation.name))
    assert caught.value.code == "NOT_FOUND"
