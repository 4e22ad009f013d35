"""Vertex AI's PredictionService: a request's way from an endpoint to one of its deployed models and back.

https://cloud.google.com/vertex-ai/docs/predictions/get-online-predictions
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.errors import ModelFailed, NotFound, TimedOut, Unavailable
from labkit.cloud.engine.serving import Answer
from labkit.cloud.gcp import schema, vertex_telemetry
from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.vertex_hosting import DeployedModel, Endpoint
from labkit.cloud.gcp.vertex_names import v1
from labkit.cloud.gcp.vertex_state import State

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: Bytes that a request may have.
LARGEST_REQUEST = 1_572_864
#: Seconds in which the container has to answer.
TIME_LIMIT = 60.0
_JSON = {"content-type": "application/json", "accept": "application/json"}
#: HTTP status of a container's answer -> the code that clients see; other errors are the model's own.
_CODES = {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


def predict(call: Call, request: Any) -> Any:
    """Predictions for ``instances``, as the deployed model's container gives them."""
    instances = [_plain(each) for each in request.instances]
    body = {"instances": instances}
    if request.HasField("parameters"):
        body["parameters"] = _plain(request.parameters)
    sent = json.dumps(body).encode()
    deployed, answer = _ask(call, request.endpoint, _JSON, sent, len(instances))
    response = v1.PredictResponse(
        deployed_model_id=deployed.id,
        model=deployed.model.name,
        model_version_id=deployed.version.id,
        model_display_name=deployed.version.display_name,
    )
    answered = _read(answer.body)
    for each in answered["predictions"]:
        _fill(response.predictions.add(), each)
    if "metadata" in answered:
        _fill(response.metadata, answered["metadata"])
    return response


def raw_predict(call: Call, request: Any) -> Any:
    """The container's answer to an arbitrary body, as it is; headers say which deployed model gave it."""
    headers = {"content-type": request.http_body.content_type or "application/json"}
    body = request.http_body.data
    deployed, answer = _ask(call, request.endpoint, headers, body, _count(body))
    call.answer_headers += [
        ("X-Vertex-AI-Endpoint-Id", request.endpoint.rpartition("/")[2]),
        ("X-Vertex-AI-Deployed-Model-Id", deployed.id),
        ("X-Vertex-AI-Model", deployed.model.name),
        ("X-Vertex-AI-Model-Version-Id", deployed.version.id),
    ]
    content_type = answer.headers.get("content-type", "application/octet-stream")
    return schema.message("google.api.HttpBody")(content_type=content_type, data=answer.body)


def read(content: dict[str, Any], request: Any) -> bool:
    """Fills a ``PredictRequest`` from its JSON in a third of the time that protobuf takes; no for unusual ones."""
    instances = content.get("instances")
    if len(content) > 1 or not isinstance(instances, list):
        return False
    try:
        for each in instances:
            _fill(request.instances.add(), each)
    except RecursionError:
        request.ClearField("instances")
        return False
    return True


def shown(response: Any) -> dict[str, Any]:
    """A ``PredictResponse`` as the JSON that Vertex AI sends."""
    described: dict[str, Any] = {"predictions": [_plain(each) for each in response.predictions]}
    described |= {
        "deployedModelId": response.deployed_model_id,
        "model": response.model,
        "modelDisplayName": response.model_display_name,
        "modelVersionId": response.model_version_id,
    }
    if response.HasField("metadata"):
        described["metadata"] = _plain(response.metadata)
    return {name: value for name, value in described.items() if value}


METHODS = {"Predict": predict, "RawPredict": raw_predict}
READ, SHOWN = {"Predict": read}, {"Predict": shown}

PERMISSIONS = {"Predict": "aiplatform.endpoints.predict", "RawPredict": "aiplatform.endpoints.predict"}


def _ask(
    call: Call, name: str, headers: Mapping[str, str], body: bytes, instances: int
) -> tuple[DeployedModel, Answer]:
    """Has a deployed model answer that is drawn by its share of the traffic; measures it, raises :class:`GcpError`."""
    endpoint = call.store(State).endpoint(call, name)
    if len(body) > LARGEST_REQUEST:
        raise invalid(f"The request size ({len(body)} bytes) exceeds 1.500MB limit.")
    started = call.request.received or time.perf_counter()
    deployed, outcome = _send(endpoint, headers, body)
    failure = outcome if isinstance(outcome, GcpError) else _failure(outcome)
    vertex_telemetry.measure(
        call.engine,
        call.scope,
        vertex_telemetry.labels(call.project.number, call.location, endpoint.id),
        deployed.id,
        status=failure.status if failure else 200,
        predictions=instances,
        model_seconds=outcome.model_seconds if isinstance(outcome, Answer) else 0.0,
        total_seconds=time.perf_counter() - started,
    )
    if failure is not None:
        raise failure
    assert isinstance(outcome, Answer)
    return deployed, outcome


def _send(endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> tuple[DeployedModel, Answer | GcpError]:
    """The deployed model that got the request, and its container's answer or why there is none."""
    while (deployed := endpoint.draw()) is not None:
        try:
            return deployed, endpoint.serving.invoke(headers, body, variant=deployed.id, timeout=TIME_LIMIT)
        except NotFound:
            # It was undeployed since it was drawn: another one has its traffic.
            continue
        except TimedOut:
            message = f"Deadline exceeded: the model did not answer within {TIME_LIMIT:g} s."
            return deployed, GcpError("DEADLINE_EXCEEDED", message)
        except (ModelFailed, Unavailable) as error:
            message = f"The model server of DeployedModel {deployed.id} failed: {error.message}"
            return deployed, GcpError("UNAVAILABLE", message)
    raise GcpError("FAILED_PRECONDITION", f"Endpoint {endpoint.name} doesn't have traffic_split.")


def _failure(answer: Answer) -> GcpError | None:
    """What a client sees of a container's answer with an error: its own words."""
    if answer.status < 400:
        return None
    said = answer.body.decode("utf-8", "replace").strip()
    return GcpError(_CODES.get(answer.status, "FAILED_PRECONDITION"), said)


def _read(body: bytes) -> dict[str, Any]:
    try:
        answered = json.loads(body, parse_constant=_no_number)
    except ValueError:
        answered = None
    if not isinstance(answered, dict) or not isinstance(answered.get("predictions"), list):
        raise GcpError("FAILED_PRECONDITION", "The model's answer is no JSON object with a list of 'predictions'.")
    return answered


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def _count(body: bytes) -> int:
    """How many instances a raw body has, where it is of the usual form; 1 for any other."""
    try:
        instances = json.loads(body)["instances"]
    except (ValueError, KeyError, TypeError):
        return 1
    return len(instances) if isinstance(instances, list) else 1


def _plain(value: Any) -> Any:
    """A ``google.protobuf.Value`` as plain data. Its numbers are doubles; whole ones are written as integers."""
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "list_value":
            return [_plain(each) for each in value.list_value.values]
        case "string_value":
            return value.string_value
        case "struct_value":
            return {key: _plain(each) for key, each in value.struct_value.fields.items()}
        case "bool_value":
            return value.bool_value
    return None


def _fill(value: Any, plain: Any) -> None:
    """Writes plain data into a ``google.protobuf.Value``."""
    if isinstance(plain, bool):
        value.bool_value = plain
    elif isinstance(plain, int | float):
        value.number_value = plain
    elif isinstance(plain, str):
        value.string_value = plain
    elif isinstance(plain, list):
        value.list_value.SetInParent()
        for each in plain:
            _fill(value.list_value.values.add(), each)
    elif isinstance(plain, dict):
        value.struct_value.SetInParent()
        for key, each in plain.items():
            _fill(value.struct_value.fields[key], each)
    else:
        value.null_value = 0
