"""Google's client libraries, unmodified, against running clouds: credentials, gRPC and REST side by side."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import requests

from labkit.cloud.state import Lab


@pytest.fixture
def token(clouds: Lab) -> str:
    import google.auth
    from google.auth.transport.requests import Request

    credentials, project = google.auth.default()
    assert project == "mlops-lab"
    credentials.refresh(Request())
    assert credentials.service_account_email == "learner@mlops-lab.iam.gserviceaccount.com"
    return str(credentials.token)


@pytest.fixture(params=["grpc", "rest"])
def projects(request: pytest.FixtureRequest, clouds: Lab) -> Any:
    from google.cloud import resourcemanager_v3

    return resourcemanager_v3.ProjectsClient(transport=request.param)


def raised(action: Callable[[], Any]) -> tuple[int, str]:
    from google.api_core.exceptions import GoogleAPICallError

    with pytest.raises(GoogleAPICallError) as caught:
        action()
    return int(caught.value.code or 0), str(caught.value.message)


def test_google_auth_finds_the_lab(token: str) -> None:
    url = "https://us-central1-aiplatform.googleapis.com/v1/projects/mlops-lab/locations/us-central1/operations"
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=250)
    assert answer.status_code == 200, answer.text


def test_both_transports_give_the_same(projects: Any) -> None:
    found = projects.get_project(name="projects/some-project")
    assert (found.project_id, found.state.name) == ("some-project", "ACTIVE")


def test_errors_are_the_ones_that_clients_know(projects: Any) -> None:
    code, message = raised(lambda: projects.get_project(name="projects/No!"))
    assert code == 403
    assert "No!" in message
    code, message = raised(lambda: projects.list_projects(parent="folders/1"))
    assert code == 501
    assert "google.cloud.resourcemanager.v3.Projects.ListProjects" in message


def channel(host: str) -> Any:
    import grpc

    return grpc.secure_channel(f"{host}:443", grpc.ssl_channel_credentials())


def status(host: str, method: str, body: bytes = b"", metadata: Any = ()) -> tuple[str, str, dict[str, Any]]:
    import grpc

    with channel(host) as opened, pytest.raises(grpc.RpcError) as caught:
        opened.unary_unary(method)(body, metadata=metadata, timeout=250)
    return caught.value.code().name, caught.value.details(), dict(caught.value.trailing_metadata() or ())


def test_a_grpc_call_without_a_token_is_unauthenticated(clouds: Lab) -> None:
    from google.rpc import error_details_pb2, status_pb2

    method = "/google.cloud.resourcemanager.v3.Projects/GetProject"
    code, text, trailing = status("cloudresourcemanager.googleapis.com", method)
    assert code == "UNAUTHENTICATED"
    assert "missing required authentication credential" in text
    info = error_details_pb2.ErrorInfo()
    details = status_pb2.Status.FromString(trailing["grpc-status-details-bin"]).details
    assert details[0].Unpack(info)
    assert (info.reason, info.metadata["service"]) == ("CREDENTIALS_MISSING", "cloudresourcemanager.googleapis.com")


@pytest.mark.parametrize(
    ("host", "method", "says"),
    [
        ("cloudresourcemanager.googleapis.com", "/no.such.Service/Do", "know no method no.such.Service.Do"),
        ("logging.googleapis.com", "/google.monitoring.v3.MetricService/ListTimeSeries", "one of monitoring"),
        ("compute.googleapis.com", "/google.cloud.compute.v1.Instances/List", "Compute Engine"),
        (
            "us-central1-aiplatform.googleapis.com",
            "/google.cloud.aiplatform.v1.PredictionService/StreamRawPredict",
            "which streams",
        ),
    ],
)
def test_grpc_methods_that_are_not_served_say_so(token: str, host: str, method: str, says: str) -> None:
    code, text, _ = status(host, method, metadata=[("authorization", f"Bearer {token}")])
    assert code == "UNIMPLEMENTED"
    assert says in text


def test_the_preview_over_grpc(clouds: Lab, token: str) -> None:
    """Its operations hold the preview's messages, which its clients unpack; fields that v1 has not refuse."""
    from labkit.cloud.gcp import schema

    v1, host = schema.Package("google.cloud.aiplatform.v1"), "us-central1-aiplatform.googleapis.com"
    parent = "projects/mlops-preview/locations/us-central1"
    service, metadata = "/google.cloud.aiplatform.v1beta1.EndpointService", [("authorization", f"Bearer {token}")]
    asked = v1.CreateEndpointRequest(parent=parent, endpoint=v1.Endpoint(display_name="churn"))
    with channel(host) as opened:
        answer = opened.unary_unary(f"{service}/CreateEndpoint")(asked.SerializeToString(), metadata=metadata)
        operation = schema.message("google.longrunning.Operation").FromString(answer)
        polled = schema.message("google.longrunning.GetOperationRequest")(name=operation.name).SerializeToString()
        again = opened.unary_unary("/google.longrunning.Operations/GetOperation")(polled, metadata=metadata)
    assert operation.response.type_url == "type.googleapis.com/google.cloud.aiplatform.v1beta1.Endpoint"
    assert v1.Endpoint.FromString(operation.response.value).display_name == "churn"
    assert again == answer
    further = asked.SerializeToString() + b"\x9a\x06\x01x"
    code, text, _ = status(host, f"{service}/CreateEndpoint", further, metadata)
    assert code == "UNIMPLEMENTED"
    assert "v1beta1.EndpointService.CreateEndpoint has beyond v1 (CreateEndpointRequest: field 99)" in text


def test_a_message_that_is_none(clouds: Lab, token: str) -> None:
    method = "/google.cloud.resourcemanager.v3.Projects/GetProject"
    code, text, _ = status(
        "cloudresourcemanager.googleapis.com", method, b"\xff", [("authorization", f"Bearer {token}")]
    )
    assert code == "INVALID_ARGUMENT"
    assert "GetProjectRequest" in text


def test_even_an_unknown_method_is_for_callers_only(clouds: Lab) -> None:
    assert status("cloudresourcemanager.googleapis.com", "/no.such.Service/Do")[0] == "UNAUTHENTICATED"


@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_the_gcloud_command_has_a_token(clouds: Lab) -> None:
    said = subprocess.check_output(["gcloud", "auth", "print-access-token"], text=True, timeout=250)
    url = f"https://oauth2.googleapis.com/tokeninfo?access_token={said.strip()}"
    assert requests.get(url, timeout=250).json()["email"] == "learner@mlops-lab.iam.gserviceaccount.com"


def test_curl_speaks_http_1_on_the_same_host(clouds: Lab, token: str) -> None:
    url = "https://cloudresourcemanager.googleapis.com/v3/projects/mlops-lab"
    command = ["curl", "-s", "-H", f"Authorization: Bearer {token}", url]
    assert '"projectId":"mlops-lab"' in subprocess.check_output(command, text=True)


def test_a_program_started_by_exec_finds_its_way(clouds: Lab) -> None:
    code = (
        "import google.auth, os; c, p = google.auth.default(); "
        "print(p, os.environ['GOOGLE_CLOUD_PROJECT'], os.environ['GOOGLE_CLOUD_REGION'], type(c).__module__)"
    )
    command = [sys.executable, "-m", "labkit", "exec", "--", sys.executable, "-c", code]
    said = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
    assert said.split() == ["mlops-lab", "mlops-lab", "us-central1", "google.auth.compute_engine.credentials"]
