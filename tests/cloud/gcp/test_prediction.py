"""Predictions: rows and models, divided traffic, raw bodies, and what goes wrong with each."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from labkit.cloud.gcp import prediction, schema
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.vertex_names import v1
from tests.cloud.gcp import in_process
from tests.cloud.gcp.vertex_world import ROWS, World, constant, trained
from tests.waiting import eventually


@pytest.fixture
def endpoint(world: World) -> str:
    return world.endpoint((world.upload(), 100))


def test_every_row_is_predicted_as_the_local_model_does(world: World, endpoint: str) -> None:
    answer = world.predict(endpoint, ROWS.tolist())
    assert answer["predictions"] == trained().predict(ROWS).tolist()
    (deployed,) = world.deployed(endpoint)
    assert answer["deployedModelId"] == deployed["id"]
    assert (answer["model"], answer["modelVersionId"]) == (deployed["model"], "1")
    assert answer["modelDisplayName"] == "churn"


def test_a_raw_body_goes_to_the_container_as_it_is(world: World, endpoint: str) -> None:
    body = json.dumps({"instances": ROWS[:5].tolist()}).encode()
    host = f"{world.region}-aiplatform.googleapis.com"
    answer = in_process.call(world.cloud, "POST", host, f"/v1/{endpoint}:rawPredict", body)
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {"predictions": trained().predict(ROWS[:5]).tolist()}
    (deployed,) = world.deployed(endpoint)
    headers = {name.lower(): value for name, value in answer.headers}
    assert headers["content-type"] == "application/json"
    assert headers["x-vertex-ai-endpoint-id"] == endpoint.rpartition("/")[2]
    assert headers["x-vertex-ai-deployed-model-id"] == deployed["id"]
    assert headers["x-vertex-ai-model"] == deployed["model"]
    assert headers["x-vertex-ai-model-version-id"] == "1"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"instances": [[1.0, 2.0, 3.0]]},
            "X has 3 features, but LogisticRegression is expecting 4 features as input.",
        ),
        ({"instances": [[1.0, 2.0], [3.0]]}, "setting an array element with a sequence."),
        ({"instances": [[0, 0, 0, 0]], "parameters": {}}, "got an unexpected keyword argument 'parameters'"),
    ],
)
def test_what_the_model_cannot_do_comes_back_in_its_container_s_words(
    world: World, endpoint: str, body: dict[str, Any], message: str
) -> None:
    code, said = world.error("POST", f"{endpoint}:predict", body)
    assert code == "FAILED_PRECONDITION"
    assert said.startswith('"Prediction failed: Exception during sklearn prediction: ')
    assert message in said


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"predictions": 3}', b'{"predictions": [NaN]}'])
def test_an_answer_of_another_form_is_the_model_s_failure(body: bytes) -> None:
    with pytest.raises(GcpError, match="The model's answer is no JSON object with a list of 'predictions'") as caught:
        prediction._read(body)
    assert caught.value.code == "FAILED_PRECONDITION"


@pytest.mark.parametrize("verb", ["predict", "rawPredict"])
def test_a_request_of_more_than_a_megabyte_and_a_half_is_refused(world: World, endpoint: str, verb: str) -> None:
    code, message = world.error("POST", f"{endpoint}:{verb}", {"instances": ["x" * 1_600_000]})
    assert code == "INVALID_ARGUMENT"
    assert "bytes) exceeds 1.500MB limit." in message


def test_an_endpoint_without_a_model_has_no_traffic_split(world: World) -> None:
    endpoint = world.endpoint()
    expected = ("FAILED_PRECONDITION", f"Endpoint {endpoint} doesn't have traffic_split.")
    assert world.error("POST", f"{endpoint}:predict", {"instances": [[1]]}) == expected
    world.deploy(endpoint, world.upload())
    assert world.error("POST", f"{endpoint}:predict", {"instances": [[1]]}) == expected


def test_an_endpoint_that_is_not_there(world: World) -> None:
    absent = f"{world.parent}/endpoints/123"
    assert world.error("POST", f"{absent}:predict", {"instances": []}) == ("NOT_FOUND", "The Endpoint does not exist.")


def test_a_request_without_a_token_is_refused(world: World, endpoint: str) -> None:
    status, answer = world("POST", f"{endpoint}:predict", {"instances": []}, Authorization="")
    assert (status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_traffic_is_divided_as_the_split_says(world: World) -> None:
    endpoint = world.endpoint((world.upload(constant(1)), 70), (world.upload(constant(2)), 30))
    asked = 400
    seen = Counter(world.predict(endpoint, [[0, 0, 0, 0]])["predictions"][0] for _ in range(asked))
    assert set(seen) == {1, 2}
    assert abs(seen[1] - 0.7 * asked) < 4 * math.sqrt(asked * 0.7 * 0.3)
    first, second = (each["id"] for each in world.deployed(endpoint))
    world.ok("PATCH", f"{endpoint}?updateMask=trafficSplit", {"trafficSplit": {first: 0, second: 100}})
    assert {world.predict(endpoint, [[0, 0, 0, 0]])["deployedModelId"] for _ in range(50)} == {second}


def ordering(what: Callable[[Any], Any]) -> Any:
    """A model that does ``what`` with each number of an instance before it predicts."""
    order = FunctionTransformer(np.vectorize(what, otypes=[object]))
    return Pipeline([("order", order), ("model", constant(1))])


def recovered(world: World, endpoint: str, instances: list[Any]) -> Any:
    """The predictions of a replica that takes the place of a lost one."""

    def answered() -> Any:
        status, answer = world("POST", f"{endpoint}:predict", {"instances": instances})
        return answer["predictions"] if status == 200 else None

    return eventually(answered)


def test_a_model_that_hangs_ends_with_the_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = world.endpoint((world.upload(ordering(time.sleep)), 100))
    monkeypatch.setattr(prediction, "TIME_LIMIT", 0.2)
    code, message = world.error("POST", f"{endpoint}:predict", {"instances": [[60]]})
    assert code == "DEADLINE_EXCEEDED"
    assert "did not answer within 0.2 s" in message
    monkeypatch.undo()
    assert recovered(world, endpoint, [[0]]) == [1]


def test_a_model_server_that_dies_is_unavailable(world: World) -> None:
    endpoint = world.endpoint((world.upload(ordering(os._exit)), 100))
    (deployed,) = world.deployed(endpoint)
    code, message = world.error("POST", f"{endpoint}:predict", {"instances": [[3]]})
    assert code == "UNAVAILABLE"
    assert message.startswith(f"The model server of DeployedModel {deployed['id']} failed: ")


def test_no_request_fails_while_models_come_and_go(world: World) -> None:
    model = world.upload(constant(1))
    endpoint = world.endpoint((model, 100))
    stop = threading.Event()
    failed: list[Any] = []
    answered: list[Any] = []

    def ask() -> None:
        while not stop.is_set():
            status, answer = world("POST", f"{endpoint}:predict", {"instances": [[0, 0, 0, 0]]})
            (answered if status == 200 else failed).append(answer)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            (old,) = (each["id"] for each in world.deployed(endpoint))
            new = world.deploy(endpoint, model, {"0": 50, old: 50})
            split = {"deployedModelId": old, "trafficSplit": {new: 100}}
            world.done("POST", f"{endpoint}:undeployModel", split)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert len({each["deployedModelId"] for each in answered}) > 1


@pytest.mark.parametrize("verb", ["explain", "streamRawPredict", "serverStreamingPredict", "directPredict"])
def test_other_ways_to_predict_refuse_by_name(world: World, endpoint: str, verb: str) -> None:
    code, message = world.error("POST", f"{endpoint}:{verb}", {})
    assert code == "UNIMPLEMENTED"
    assert f"PredictionService.{verb[0].upper()}{verb[1:]}" in message


@pytest.mark.parametrize(
    "instances",
    [[], [[1, 2.5, -3]], ["text", None, True, False], [{"a": [1, {"b": ""}], "c": {}}], [[[]]], [10**15, 1e300]],
)
def test_its_own_reading_and_writing_are_protobufs(instances: list[Any]) -> None:
    request, expected = v1.PredictRequest(), v1.PredictRequest()
    assert prediction.read({"instances": instances}, request)
    ParseDict({"instances": instances}, expected, descriptor_pool=schema.pool())
    assert request == expected
    response = v1.PredictResponse(deployed_model_id="7", model="m", model_version_id="1")
    response.predictions.extend(request.instances)
    assert prediction.shown(response) == MessageToDict(response, descriptor_pool=schema.pool())


def test_unusual_requests_are_left_to_protobuf() -> None:
    nested: list[Any] = []
    for _ in range(3000):
        nested = [nested]
    request = v1.PredictRequest()
    for content in ({}, {"instances": 1}, {"instances": [], "parameters": {}}, {"instances": [nested]}):
        assert not prediction.read(content, request)
        assert request == v1.PredictRequest()
