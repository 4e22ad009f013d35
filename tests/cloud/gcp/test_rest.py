from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from labkit.cloud.gcp import GcpCloud, rest, schema
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.http import Headers, Request
from tests.cloud.gcp.in_process import call

HOST = "us-central1-aiplatform.googleapis.com"
PARENT = "/v1/projects/mlops-lab/locations/us-central1"


def read(verb: str, target: str, body: Any = None, api: str = "aiplatform") -> Any:
    """The message that a request stands for."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    request = Request(verb, HOST, target, Headers([("Content-Type", "application/json")]), data)
    found = rest.find(api, verb, request.raw_path)
    assert found is not None
    route, values = found
    from urllib.parse import parse_qsl

    return rest.read(request, route, values, parse_qsl(request.query, keep_blank_values=True))


def error(cloud: GcpCloud, *arguments: Any, **more: Any) -> tuple[int, str, str]:
    answer = call(cloud, *arguments, **more)
    said = json.loads(bytes(answer.body))["error"]  # type: ignore[arg-type]
    return answer.status, said["status"], said["message"]


def test_path_query_and_body_become_one_message() -> None:
    message = read(
        "PATCH",
        f"{PARENT}/endpoints/42?updateMask=displayName,trafficSplit",
        {"displayName": "churn", "trafficSplit": {"1": 70, "2": 30}},
    )
    assert message.DESCRIPTOR.full_name == "google.cloud.aiplatform.v1.UpdateEndpointRequest"
    assert message.endpoint.name == "projects/mlops-lab/locations/us-central1/endpoints/42"
    assert dict(message.endpoint.traffic_split) == {"1": 70, "2": 30}
    assert list(message.update_mask.paths) == ["display_name", "traffic_split"]


@pytest.mark.parametrize("name", ["updateMask", "update_mask"])
@pytest.mark.parametrize("paths", ["displayName", "display_name"])
def test_names_in_the_query_may_be_in_either_case(name: str, paths: str) -> None:
    message = read("PATCH", f"{PARENT}/endpoints/42?{name}={paths}", {})
    assert list(message.update_mask.paths) == ["display_name"]


def test_query_values_take_the_fields_types() -> None:
    message = read("GET", f"{PARENT}/models?pageSize=7&filter=a%3Db&readMask=name&orderBy=x&prettyPrint=false")
    assert (message.page_size, message.filter, message.order_by) == (7, "a=b", "x")
    listed = read(
        "GET",
        "/v3/projects/p12345/timeSeries?filter=f&interval.endTime=2026-01-01T00:00:00Z&view=HEADERS"
        "&aggregation.groupByFields=a&aggregation.groupByFields=b&aggregation.alignmentPeriod=60s",
        api="monitoring",
    )
    assert listed.interval.end_time.seconds == 1767225600
    assert listed.view == 1
    assert list(listed.aggregation.group_by_fields) == ["a", "b"]
    assert listed.aggregation.alignment_period.seconds == 60


def test_a_raw_body_stays_as_it_came() -> None:
    message = read("POST", f"{PARENT}/endpoints/42:rawPredict", b"1,2,3\n")
    assert (message.http_body.data, message.http_body.content_type) == (b"1,2,3\n", "application/json")


def test_numbers_and_lists_become_values() -> None:
    message = read("POST", f"{PARENT}/endpoints/42:predict", {"instances": [[1, 2.5], [3, 4]]})
    assert [value.number_value for value in message.instances[0].list_value.values] == [1.0, 2.5]


@pytest.mark.parametrize(
    ("target", "full_name"),
    [
        (f"{PARENT}/models/7@golden", "ModelService/GetModel"),
        (f"{PARENT}/models/7:listVersions", "ModelService/ListModelVersions"),
        (f"{PARENT}/operations/9", "Operations/GetOperation"),
        (f"{PARENT}/endpoints/4/operations/9", "Operations/GetOperation"),
        (f"{PARENT}/models/4/operations", "Operations/ListOperations"),
    ],
)
def test_paths_lead_to_methods(target: str, full_name: str) -> None:
    found = rest.find("aiplatform", "GET", target)
    assert found is not None
    assert found[0].method.full_name.endswith(full_name)


def test_every_binding_is_found_by_a_path_of_its_own() -> None:
    import re

    for api, methods in schema.methods().items():
        for method in methods.values():
            for binding in method.bindings:
                path = re.sub(r"\{[a-z0-9_.]+=?([^}]*)\}", lambda found: found[1] or "x", binding.template)
                path = path.replace("**", "x/y").replace("*", "x")
                found = rest.find(api, binding.verb, path)
                assert found is not None, path
                assert found[0].method.request == method.request or found[0].method.name == method.name, path


@pytest.mark.parametrize(
    ("verb", "target", "body", "message"),
    [
        ("POST", f"{PARENT}/endpoints/1:predict", b"{", "Invalid JSON payload received."),
        ("POST", f"{PARENT}/endpoints/1:predict", b"[1]", "The root of the request has to be an object"),
        ("POST", f"{PARENT}/endpoints/1:predict", b'{"instances":' + b"[" * 5000, "recursion depth"),
        ("POST", f"{PARENT}/endpoints/1:predict", {"instances": None}, "Invalid value at 'PredictRequest'"),
        ("POST", f"{PARENT}/endpoints/1:predict", {"instances": {"a": 1}}, "must be in []"),
        ("POST", f"{PARENT}/endpoints/1:predict", {"instance": []}, 'Unknown name "instance": Cannot find field.'),
        ("POST", f"{PARENT}/endpoints", {"displayName": 3}, "Invalid value at 'endpoint'"),
        ("POST", f"{PARENT}/endpoints", {"nope": 3}, "Unknown name \"nope\" at 'endpoint': Cannot find field."),
        (
            "POST",
            f"{PARENT}/endpoints",
            {"trafficSplit": {}, "deployedModels": [{"nope": 3}]},
            "Unknown name \"nope\" at 'endpoint.deployedModels[0]': Cannot find field.",
        ),
        ("GET", f"{PARENT}/endpoints?pageSizes=3", None, "Field 'pageSizes' could not be found in request message."),
        ("GET", f"{PARENT}/endpoints?pageSize=many", None, "Invalid value at 'pageSize'"),
    ],
)
def test_requests_that_cannot_be_read(cloud: GcpCloud, verb: str, target: str, body: Any, message: str) -> None:
    status, code, said = error(cloud, verb, HOST, target, body)
    assert (status, code) == (400, "INVALID_ARGUMENT")
    assert message in said


def test_a_method_that_is_not_served_refuses_with_its_name(cloud: GcpCloud, engine: Engine) -> None:
    answer = error(cloud, "GET", HOST, f"{PARENT}/nasJobs")
    assert answer[:2] == (501, "UNIMPLEMENTED")
    assert "google.cloud.aiplatform.v1.JobService.ListNasJobs" in answer[2]
    last = next(iter(engine.audit.events()))
    assert (last.caller and last.caller.principal, last.status) == ("learner@mlops-lab.iam.gserviceaccount.com", 501)


def test_unknown_paths_hosts_and_forms(cloud: GcpCloud, engine: Engine) -> None:
    assert error(cloud, "GET", HOST, f"{PARENT}/nonsense")[:2] == (404, "NOT_FOUND")
    assert next(iter(engine.audit.events())).operation == f"aiplatform.GET {PARENT}/nonsense"
    stranger = error(cloud, "GET", HOST, f"{PARENT}/nonsense", headers={"Authorization": ""})
    assert stranger[:2] == (401, "UNAUTHENTICATED")
    assert error(cloud, "GET", "www.googleapis.com", "/drive/v3/files")[:2] == (501, "UNIMPLEMENTED")
    assert error(cloud, "GET", HOST, "/v1alpha1/projects/p/locations/l/models")[:2] == (501, "UNIMPLEMENTED")
    assert error(cloud, "GET", HOST, f"{PARENT.replace('v1', 'v1beta1')}/extensions")[:2] == (501, "UNIMPLEMENTED")
    older = error(cloud, "GET", "cloudresourcemanager.googleapis.com", "/v1/projects")
    assert older[:2] == (501, "UNIMPLEMENTED")
    assert error(cloud, "GET", "compute.googleapis.com", "/compute/v1")[:2] == (501, "UNIMPLEMENTED")
    assert error(cloud, "GET", HOST, f"{PARENT}/operations?alt=media")[:2] == (501, "UNIMPLEMENTED")


def test_the_gcloud_command_is_refused_at_once(cloud: GcpCloud) -> None:
    """It would repeat what a server's error answers, for two minutes."""
    gcloud = {"User-Agent": "google-cloud-sdk gcloud/528.0.0 command/gcloud.services.enable"}
    for host, target in ((HOST, f"{PARENT}/nasJobs"), ("serviceusage.googleapis.com", "/v1/services")):
        answer = call(cloud, "GET", host, target, headers=gcloud)
        assert answer.status == 400
        assert json.loads(bytes(answer.body))["error"]["status"] == "UNIMPLEMENTED"  # type: ignore[arg-type]
    assert error(cloud, "GET", HOST, f"{PARENT}/nonsense", headers=gcloud)[:2] == (404, "NOT_FOUND")


def test_the_preview_has_the_same_methods(cloud: GcpCloud, engine: Engine) -> None:
    parent = "/v1beta1/projects/project-preview/locations/us-central1"
    made = call(cloud, "POST", HOST, f"{parent}/endpoints", {"displayName": "churn"})
    operation = json.loads(bytes(made.body))  # type: ignore[arg-type]
    package = "type.googleapis.com/google.cloud.aiplatform.v1beta1"
    assert operation["response"]["@type"] == f"{package}.Endpoint"
    assert operation["metadata"]["@type"] == f"{package}.CreateEndpointOperationMetadata"
    again = call(cloud, "GET", HOST, f"/v1beta1/{operation['name']}")
    assert json.loads(bytes(again.body)) == operation  # type: ignore[arg-type]
    last = next(iter(engine.audit.events()))
    assert (last.status, last.operation) == (200, "google.longrunning.Operations.GetOperation")
    listed = call(cloud, "GET", HOST, f"{parent}/endpoints")
    assert json.loads(bytes(listed.body))["endpoints"][0]["displayName"] == "churn"  # type: ignore[arg-type]


def test_what_a_preview_has_beyond_the_stable_version_refuses(cloud: GcpCloud) -> None:
    parent = "/v1beta1/projects/project-preview/locations/us-central1"
    status, code, said = error(cloud, "POST", HOST, f"{parent}/pipelineJobs", {"originalPipelineJobId": 1})
    assert (status, code) == (501, "UNIMPLEMENTED")
    assert 'Unknown name "originalPipelineJobId"' in said
    assert "google.cloud.aiplatform.v1beta1.PipelineService.CreatePipelineJob" in said


def test_a_region_is_asked_at_its_own_host(cloud: GcpCloud) -> None:
    status, code, said = error(cloud, "GET", HOST, "/v1/projects/mlops-lab/locations/europe-west4/operations")
    assert (status, code) == (400, "INVALID_ARGUMENT")
    assert "europe-west4-aiplatform.googleapis.com" in said


def test_projects_by_id_and_number(cloud: GcpCloud, engine: Engine) -> None:
    host = "cloudresourcemanager.googleapis.com"
    by_id = json.loads(bytes(call(cloud, "GET", host, "/v3/projects/another-one").body))  # type: ignore[arg-type]
    assert (by_id["projectId"], by_id["state"]) == ("another-one", "ACTIVE")
    by_number = json.loads(bytes(call(cloud, "GET", host, f"/v3/{by_id['name']}?$alt=json;enum-encoding=int").body))  # type: ignore[arg-type]
    assert (by_number["projectId"], by_number["state"]) == ("another-one", 1)
    assert next(iter(engine.audit.events())).operation == "resourcemanager.projects.get"
    first_version = json.loads(bytes(call(cloud, "GET", host, "/v1/projects/another-one").body))  # type: ignore[arg-type]
    assert first_version == {
        "projectNumber": by_id["name"].removeprefix("projects/"),
        "projectId": "another-one",
        "lifecycleState": "ACTIVE",
        "name": "another-one",
    }
    assert error(cloud, "GET", host, "/v3/projects/No%21")[:2] == (403, "PERMISSION_DENIED")


def test_projects_are_searched_among_those_that_were_named(cloud: GcpCloud) -> None:
    host = "cloudresourcemanager.googleapis.com"
    call(cloud, "GET", host, "/v3/projects/searched-1")
    call(cloud, "GET", host, "/v3/projects/searched-2")

    def found(query: str) -> list[str]:
        answer = call(cloud, "GET", host, f"/v3/projects:search?query={query}")
        return [each["projectId"] for each in json.loads(bytes(answer.body)).get("projects", [])]  # type: ignore[arg-type]

    assert found("id:searched-*") == ["searched-1", "searched-2"]
    assert found("projectId=Searched-1%20state:ACTIVE") == ["searched-1"]
    assert found("displayName:nothing") == []
    assert "mlops-lab" in found("")
    assert error(cloud, "GET", host, "/v3/projects:search?query=labels.a:b")[1] == "UNIMPLEMENTED"
    account = cloud.iam.accounts.create("searched-1", "sees-one", "", "").email
    headers = {"Authorization": f"Bearer {cloud.identities.tokens.issue(account, ())}"}
    answer = call(cloud, "GET", host, "/v3/projects:search", headers=headers)
    assert json.loads(bytes(answer.body)) == {}  # type: ignore[arg-type]


def test_locations(cloud: GcpCloud) -> None:
    answer = call(cloud, "GET", "aiplatform.googleapis.com", "/v1/projects/mlops-lab/locations")
    listed = json.loads(bytes(answer.body))["locations"]  # type: ignore[arg-type]
    assert {"europe-west4", "us-central1"} <= {each["locationId"] for each in listed}
    one = call(cloud, "GET", HOST, PARENT)
    assert json.loads(bytes(one.body))["displayName"] == "Iowa"  # type: ignore[arg-type]


def test_errors_of_the_engine_have_their_codes() -> None:
    from labkit.cloud.engine import errors as engine
    from labkit.cloud.gcp import errors

    found = {kind.__name__: errors.of_engine(kind("x")).code for kind in (engine.NotFound, engine.Conflict)}
    assert found == {"NotFound": "NOT_FOUND", "Conflict": "FAILED_PRECONDITION"}
    assert errors.of_engine(engine.Conflict("x", code="ALREADY_EXISTS")).status == 409
    own = GcpError("ABORTED", "x")
    assert errors.of_engine(own) is own
    violation = errors.invalid("bad", "endpoint.name").body()["error"]["details"][0]
    assert violation["fieldViolations"] == [{"field": "endpoint.name", "description": "bad"}]
