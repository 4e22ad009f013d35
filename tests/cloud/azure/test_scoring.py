"""The scoring URI over plain REST: credentials, routing, every documented status, mirrored traffic, header fields."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from labkit.cloud.azure import online_hosting, scoring
from labkit.cloud.azure.identity import PATH
from tests.cloud.azure.in_process import URL, Rest, call
from tests.cloud.azure.online_world import Scored, World
from tests.waiting import eventually


def test_an_answer_and_its_header_fields(world: World) -> None:
    world.serve()
    answer = world.score({"x": [1, "é"]}, x_ms_client_request_id="my id!-1_" + "a" * 50)
    assert (answer.status, answer.json["x"]) == (200, [1, "é"])
    headers = answer.headers
    assert headers["content-type"] == "application/json"
    assert headers["azureml-model-deployment"] == "blue"
    assert headers["x-ms-client-request-id"] == "myid-1_" + "a" * 33
    assert headers["x-ms-run-function-failed"] == "False"
    assert headers["x-ms-server-version"].startswith("azmlinfsrv/")
    assert headers["server"] == "azureml-frontdoor"
    assert len(headers["x-request-id"]) == 36
    assert float(headers["x-ms-run-fn-exec-ms"]) < 1000


def test_a_script_sees_the_request_and_not_the_credential(world: World) -> None:
    script = """
        from azureml.contrib.services.aml_request import AMLRequest, rawhttp
        from azureml.contrib.services.aml_response import AMLResponse
        def init(): pass
        @rawhttp
        def run(request):
            shown = {"method": request.method, "query": request.args.get("q"), "body": request.get_data().hex(),
                     "kind": request.headers.get("X-Kind"), "credential": "Authorization" in request.headers}
            answer = AMLResponse(shown, 200, json_str=True)
            answer.headers["X-Mine"] = "yes"
            return answer
    """
    world.make()
    world.deploy(script=script)
    answer = world.score(b"\x00\xff", "blue", path="/score?q=a%20b", X_Kind="bytes")
    assert answer.json == {"method": "POST", "query": "a b", "body": "00ff", "kind": "bytes", "credential": False}
    assert answer.headers["x-mine"] == "yes"
    assert world.score(None, "blue", method="GET").json["method"] == "GET"


def test_credentials(world: World) -> None:
    world.serve()
    key = world.keys["secondaryKey"]
    assert world.score({}, credential=key).status == 200
    missing, wrong = world.score({}, credential=""), world.score({}, credential="wrong")
    assert (missing.status, missing.body) == (401, b"key_auth_bad_header_forbidden")
    assert (wrong.status, wrong.body) == (401, b"key_auth_access_denied")
    assert "x-request-id" in wrong.headers
    assert world.score({}, credential=" ").status == 401
    assert world.score({}, credential="", Authorization=f"Basic {key}").status == 401
    assert world.score({}, credential=world.token("https://ml.azure.com")).status == 401
    assert world.score({}, credential="ключ").status == 401


def test_a_token_is_asked_for_the_right_to_score(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.serve()
    world.make(authMode="AADToken", traffic={"blue": 100})
    nobody = world.cloud.identities.assign(f"/subscriptions/x/{world.name}")
    token, _ = world.cloud.identities.tokens.issue(nobody, scoring.AUDIENCE)
    asked = []
    monkeypatch.setattr(world.cloud.engine.access, "authorize", lambda *about: asked.append(about))
    assert world.score({}, credential=token).status == 200
    ((caller, action, resource),) = asked
    assert (caller.principal, action, resource) == (nobody.object_id, scoring.SCORE, world.path)
    world.cloud.identities.unassign(f"/subscriptions/x/{world.name}")
    assert world.score({}, credential=token).status == 401


def test_an_endpoint_without_public_access(world: World) -> None:
    world.serve()
    world.make(publicNetworkAccess="Disabled", traffic={"blue": 100})
    assert world.score({}).status == 403


def test_where_there_is_nothing_to_route_to(world: World, rest: Rest) -> None:
    no_route = b"No valid deployments to route to. Please check that the endpoint has at least one deployment with "
    world.serve(traffic={"blue": 0})
    for answer in (world.score({}), world.score({}, "red")):
        assert (answer.status, answer.body.startswith(no_route)) == (404, True)
        assert "azureml-model-deployment" not in answer.headers
    assert world.score({}, "blue").json["name"] == world.score({}, "BLUE").json["name"] == "blue"
    assert World(rest, "no-such-endpoint").score({}, credential="x").status == 404


def test_a_run_that_raises(world: World) -> None:
    world.serve()
    answer = world.score({"raise": "the data is bad"})
    assert answer.status == 424
    assert answer.json == {"message": "An unexpected error occurred in scoring script. Check the logs for more info."}
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.headers["x-ms-run-function-failed"] == "True"
    assert answer.headers["azureml-model-deployment"] == "blue"
    log = world.logged("RuntimeError: the data is bad")
    assert "in run" in log


def test_a_result_that_json_cannot_hold(world: World) -> None:
    world.serve()
    answer = world.score({"unserializable": 1})
    assert answer.status == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.json == {"message": "An unexpected internal error occurred. Check the logs for more info."}
    world.logged("is not JSON serializable")


def test_a_status_of_the_models_own(world: World) -> None:
    script = """
        from azureml.contrib.services.aml_response import AMLResponse
        def init(): pass
        def run(raw): return AMLResponse("no such plant", int(raw))
    """
    world.make()
    world.deploy(script=script)
    for status, failed in (("418", "False"), ("503", "True")):
        answer = world.score(status.encode(), "blue")
        assert (answer.status, answer.body) == (424, b"no such plant")
        assert answer.headers["ms-azureml-model-error-statuscode"] == status
        assert answer.headers.get("x-ms-run-function-failed") == failed
    assert world.score(b"200", "blue").status == 200


def test_a_run_that_hangs(world: World) -> None:
    world.serve(requestSettings={"requestTimeout": "PT0.2S"})
    answer = world.score({"sleep": 30})
    assert (answer.status, answer.body) == (408, b"upstream request timeout")
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert "ms-azureml-model-error-reason" not in answer.headers
    # What hung does not keep those away that come next.
    assert eventually(lambda: (found := world.score({})).status == 200 and found.json["name"] == "blue")


def test_a_model_that_ends_its_process(world: World) -> None:
    world.serve()
    answer = world.score({"exit": 3})
    assert answer.status == 424
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert eventually(lambda: world.score({}).status == 200)


def test_more_requests_than_are_let_in(world: World, tmp_path: Path) -> None:
    world.serve(requestSettings={"requestTimeout": "PT90S"})
    flag = tmp_path / "go"
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(world.score, {"wait": str(flag)}) for _ in range(3)]
        done, held = wait(asked, 60, FIRST_COMPLETED)
        flag.touch()
        assert [each.result().status for each in held] == [200, 200]
    refused = done.pop().result()
    assert refused.status == 429
    assert refused.body == b""
    assert refused.headers["ms-azureml-model-error-reason"] == "too_many_pending_request"
    assert world.score({}).status == 200


def test_a_body_that_is_too_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.serve()
    monkeypatch.setattr(scoring, "LARGEST_BODY", 100)
    answer = world.score({"x": "y" * 100})
    assert answer.status == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "413"


def test_other_paths_are_the_inference_servers(world: World) -> None:
    world.serve()
    alive = world.score(None, path="/", method="GET")
    assert (alive.status, alive.body) == (200, b"Healthy")
    swagger = world.score(None, path="/swagger.json", method="GET")
    assert swagger.json["paths"]["/score"]["post"]["responses"]
    assert swagger.headers["azureml-model-deployment"] == "blue"
    assert world.score(None, path="/other", method="GET").headers["ms-azureml-model-error-statuscode"] == "404"
    assert world.score(None, path="/score", method="PUT").headers["ms-azureml-model-error-statuscode"] == "405"


def test_traffic_is_divided_by_weight(world: World) -> None:
    world.serve("blue", "green", traffic={"blue": 70, "green": 30})
    requests = 1000
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: world.score({}), range(requests)))
    assert {answer.status for answer in answers} == {200}
    assert all(answer.json["name"] == answer.headers["azureml-model-deployment"] for answer in answers)
    counted = Counter(answer.json["name"] for answer in answers)
    sigma = math.sqrt(requests * 0.7 * 0.3)
    assert abs(counted["blue"] - 0.7 * requests) < 4 * sigma
    world.make(traffic={"green": 100})
    assert {world.score({}).json["name"] for _ in range(30)} == {"green"}
    assert world.score({}, "blue").json["name"] == "blue"


def test_traffic_is_mirrored(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.serve("blue", "green")
    touched = tmp_path / "touched"
    begun: list[Future[None]] = []
    aside = online_hosting.Endpoint.aside

    def noted(endpoint: online_hosting.Endpoint, work: Callable[[], None]) -> None:
        begun.append(ended := Future())
        aside(endpoint, lambda: ended.set_result(work()))  # type: ignore[func-returns-value]

    monkeypatch.setattr(online_hosting.Endpoint, "aside", noted)

    def mirrored() -> int:
        return Counter(touched.read_text().split())["green"] if touched.exists() else 0

    world.make(traffic={"blue": 100}, mirrorTraffic={"green": 50})
    requests = 400
    names = Counter(world.score({"touch": str(touched)}).json["name"] for _ in range(requests))
    assert names == {"blue": requests}
    low, high = (requests / 2 + sign * 4 * math.sqrt(requests / 4) for sign in (-1, 1))
    mirrorings = len(begun)
    assert not wait(begun, 60).not_done
    seen = mirrored()
    assert low < seen < high
    # A request that names its deployment is not mirrored, nor is any once the share is taken away.
    for _ in range(20):
        world.score({"touch": str(touched)}, "blue")
    world.make(traffic={"blue": 100})
    for _ in range(20):
        world.score({"touch": str(touched)})
    assert len(begun) == mirrorings
    assert mirrored() == seen


def test_a_mirrored_request_that_fails_concerns_nobody(world: World) -> None:
    world.make()
    world.deploy("blue", script="def init(): pass\ndef run(raw): return 'fine'")
    world.deploy("green", script="def init(): pass\ndef run(raw): raise ValueError('in the shadow')")
    world.make(traffic={"blue": 100}, mirrorTraffic={"green": 50})
    assert {world.score({}).status for _ in range(30)} == {200}
    world.logged("ValueError: in the shadow", "green")


def test_requests_come_from_many_threads(world: World) -> None:
    world.serve(instances=1, requestSettings={"maxConcurrentRequestsPerInstance": 50})

    def one(number: int) -> Scored:
        return world.score({"number": number})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(400)))
    assert [answer.json["number"] for answer in answers] == list(range(400))


def test_a_model_calls_the_cloud_as_its_endpoint(world: World) -> None:
    """A replica proves that it is the endpoint with a header that is good while the deployment is there."""
    world.serve()
    principal = world.rest("GET", world.path)[1]["identity"]["principalId"]
    header = world.score({"env": ["IDENTITY_HEADER"]}).json["IDENTITY_HEADER"]
    address = f"{URL}{PATH}?api-version=2019-08-01&resource=https://management.azure.com"

    def ask() -> tuple[int, bytes]:
        answer = call(world.cloud, "GET", address, headers={"X-IDENTITY-HEADER": header})
        return answer.status, bytes(answer.body)

    status, body = ask()
    assert status == 200, body
    claims = world.cloud.identities.tokens.verify(json.loads(body)["access_token"], lambda audience: True)
    assert claims.object_id == principal
    world.make(traffic={})
    world.done("DELETE", f"{world.path}/deployments/blue")
    assert ask()[0] >= 400
