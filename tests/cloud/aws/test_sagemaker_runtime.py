"""InvokeEndpoint: what goes to the container and back, its errors and limits, and the metrics of it all."""

from __future__ import annotations

import io
import math
from collections import Counter
from datetime import timedelta
from typing import Any

import numpy
import pytest
from botocore.exceptions import ClientError

from labkit.cloud.aws import sagemaker_runtime
from labkit.cloud.aws.sklearn_container import INTERNAL_SERVER_ERROR
from labkit.cloud.engine import Engine
from tests.cloud.aws.sagemaker_world import DOUBLER, ORDERS, World

SCOPE = "aws:123456789012:us-east-1"


@pytest.fixture
def doubler(world: World) -> str:
    return world.endpoint("doubler", world.model("doubler"))


@pytest.fixture
def orders(world: World) -> str:
    return world.endpoint("orders", world.model("orders", ORDERS))


def refused(world: World, endpoint: str, body: bytes = b"{}", **more: Any) -> dict[str, Any]:
    """The whole response to a call that fails."""
    with pytest.raises(ClientError) as caught:
        world.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, **more)
    return dict(caught.value.response)


def see(endpoint: str) -> str:
    return (
        "See https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logEventViewer:"
        f"group=/aws/sagemaker/Endpoints/{endpoint} in account 123456789012 for more information."
    )


def figures(engine: Engine, endpoint: str, name: str, variant: str = "AllTraffic") -> Any:
    """The sum and number of a metric's values, and its unit."""
    now = engine.clock.now()
    points = engine.metrics.statistics(
        SCOPE,
        "AWS/SageMaker",
        name,
        {"EndpointName": endpoint, "VariantName": variant},
        now - timedelta(minutes=5),
        now + timedelta(minutes=5),
        600,
        ["Sum", "SampleCount"],
    )
    if not points:
        return None
    (point,) = points
    return point.values["Sum"], point.values["SampleCount"], point.unit


# -- there and back ------------------------------------------------------------------------------------------------


def test_json_csv_and_npy_in_and_out(world: World, doubler: str) -> None:
    array = numpy.array([[1.5, 2.0], [3.0, 4.25]])
    npy = io.BytesIO()
    numpy.save(npy, array)
    bodies = {
        "application/json": b"[[1.5, 2.0], [3.0, 4.25]]",
        "text/csv": b"1.5,2.0\n3.0,4.25\n",
        "application/x-npy": npy.getvalue(),
    }
    for content_type, body in bodies.items():
        for accept in bodies:
            answer = world.runtime.invoke_endpoint(
                EndpointName=doubler, ContentType=content_type, Accept=accept, Body=body
            )
            assert answer["ContentType"].partition(";")[0] == accept
            content = answer["Body"].read()
            if accept == "application/json":
                got = numpy.array(eval(content))
            elif accept == "text/csv":
                got = numpy.loadtxt(io.BytesIO(content), delimiter=",")
            else:
                got = numpy.load(io.BytesIO(content))
            assert (got == array * 2).all()


def test_the_answer_tells_the_variant_and_the_type(world: World, doubler: str) -> None:
    answer = world.runtime.invoke_endpoint(EndpointName=doubler, Body=b"[[1]]", InferenceId="mine")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ContentType"] == "application/json"
    assert answer["ResponseMetadata"]["RequestId"]
    assert "CustomAttributes" not in answer


def test_custom_attributes_come_back_only_from_the_container(world: World) -> None:
    code = """
class Answer:
    status_code = 200
    headers = {"Content-Type": "text/plain", "X-Amzn-SageMaker-Custom-Attributes": "trace=7"}
    def get_data(self):
        return b"done"
def model_fn(model_dir): ...
def input_fn(body, content_type): ...
def predict_fn(data, model): ...
def output_fn(prediction, accept): return Answer()
"""
    name = world.endpoint("custom", world.model("custom", code))
    answer = world.runtime.invoke_endpoint(EndpointName=name, Body=b"", CustomAttributes="trace=1")
    assert answer["CustomAttributes"] == "trace=7"
    assert answer["ContentType"] == "text/plain"


def test_traffic_follows_the_weights_and_a_target_is_hit(world: World) -> None:
    model = world.model("model")
    name = world.endpoint(
        "ab",
        {"VariantName": "blue", "ModelName": model, "InitialVariantWeight": 0.9},
        {"VariantName": "green", "ModelName": model, "InitialVariantWeight": 0.1},
    )
    invoke = world.runtime.invoke_endpoint
    seen = Counter(invoke(EndpointName=name, Body=b"[[1]]")["InvokedProductionVariant"] for _ in range(1000))
    assert abs(seen["green"] - 100) <= 4 * math.sqrt(1000 * 0.9 * 0.1)

    hit = {
        invoke(EndpointName=name, Body=b"[[1]]", TargetVariant="green")["InvokedProductionVariant"] for _ in range(20)
    }
    assert hit == {"green"}
    response = refused(world, name, TargetVariant="red")
    assert response["Error"] == {
        "Code": "ValidationError",
        "Message": f"Variant red of endpoint {name} not found; its variants are blue, green.",
    }


# -- errors --------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_is_not_there(world: World, doubler: str) -> None:
    for name in ("no-such-endpoint", doubler.upper()):
        response = refused(world, name)
        assert response["Error"] == {
            "Code": "ValidationError",
            "Message": f"Endpoint {name} of account 123456789012 not found.",
        }
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_error_of_the_container_is_a_model_error(world: World, doubler: str, engine: Engine) -> None:
    response = refused(world, doubler, b'{"not": closed', ContentType="application/json")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["Error"]["Code"] == "ModelError"
    assert response["Error"]["Message"] == (
        f'Received server error (500) from primary with message "{INTERNAL_SERVER_ERROR}". {see(doubler)}'
    )
    assert response["OriginalStatusCode"] == 500
    assert response["OriginalMessage"] == INTERNAL_SERVER_ERROR
    assert (
        response["LogStreamArn"] == f"arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/{doubler}"
    )
    assert "JSONDecodeError" in world.log(engine, doubler)
    assert world.invoke(doubler, "[[1]]") == [[2.0]]


def test_predict_fns_own_error_is_in_the_log(world: World, orders: str, engine: Engine) -> None:
    assert refused(world, orders, b'{"raise": "no such column: age"}')["OriginalStatusCode"] == 500
    assert "RuntimeError: no such column: age" in world.log(engine, orders)


def test_a_status_of_the_containers_own(world: World, engine: Engine) -> None:
    code = """
class Answer:
    status_code = 422
    headers = {"Content-Type": "text/plain"}
    def get_data(self):
        return b"age is missing"
def model_fn(model_dir): ...
def transform_fn(model, body, content_type, accept): return Answer()
"""
    name = world.endpoint("strict", world.model("strict", code))
    response = refused(world, name)
    assert response["Error"]["Message"] == (
        f'Received client error (422) from primary with message "age is missing". {see(name)}'
    )
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (422, "age is missing")
    assert figures(engine, name, "Invocation4XXErrors") == (1.0, 1.0, "None")
    assert figures(engine, name, "Invocation5XXErrors") == (0.0, 1.0, "None")
    assert figures(engine, name, "InvocationModelErrors") == (1.0, 1.0, "None")


def test_a_container_that_dies_over_a_request(world: World, orders: str) -> None:
    response = refused(world, orders, b'{"exit": 3}')
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 502
    assert "502 Bad Gateway" in response["OriginalMessage"]
    assert world.invoke(orders, {})["pid"]


def test_a_container_that_hangs(world: World, orders: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.invoke(orders, {})["pid"]
    monkeypatch.setattr(sagemaker_runtime, "TIME_LIMIT", 0.3)
    response = refused(world, orders, b'{"sleep": 600}')
    assert response["Error"]["Message"] == (
        'Received server error (0) from primary with message "Your invocation timed out while waiting for a response '
        "from container primary. Review the latency metrics for each container in Amazon CloudWatch, resolve the "
        f'issue, and try again.". {see(orders)}'
    )
    assert response["OriginalStatusCode"] == 0
    monkeypatch.setattr(sagemaker_runtime, "TIME_LIMIT", 60.0)
    assert world.invoke(orders, {})["pid"] != first
    assert figures(engine, orders, "Invocation5XXErrors")[0] == 1.0
    assert figures(engine, orders, "ModelLatency")[0] >= 300_000


def test_a_long_answer_is_not_quoted(world: World) -> None:
    code = """
class Answer:
    status_code = 400
    headers = {}
    def get_data(self):
        return b"x" * 20_000
def model_fn(model_dir): ...
def transform_fn(model, body, content_type, accept): return Answer()
"""
    name = world.endpoint("chatty", world.model("chatty", code))
    response = refused(world, name)
    assert response["Error"]["Message"] == (
        f"Received client error (400) from primary and could not load the entire response body. {see(name)}"
    )
    assert response["OriginalMessage"] == "x" * 16384


def test_a_body_that_is_too_large(world: World, doubler: str, engine: Engine) -> None:
    limit = 6 * 1024 * 1024
    response = refused(world, doubler, b" " * (limit + 4097))
    assert response["Error"] == {"Code": "413", "Message": "HTTP content length exceeded 6295552 bytes."}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413
    response = refused(world, doubler, b" " * (limit + 1))
    assert response["Error"]["Code"] == "ValidationError"
    assert (
        "at 'body' failed to satisfy constraint: Member must have length less than or equal to 6291456"
        in (response["Error"]["Message"])
    )
    assert world.invoke(doubler, b"[[1]]" + b" " * (limit - 5)) == [[2.0]]
    assert figures(engine, doubler, "Invocations")[0] == 1.0


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (
            {"TargetModel": "a.tar.gz"},
            "ValidationError",
            "is not a multi-model endpoint and does not support target model",
        ),
        ({"TargetContainerHostname": "second"}, "ValidationError", "does not support target container hostname header"),
        ({"EnableExplanations": "`true`"}, "NotImplementedException", "(EnableExplanations)"),
        ({"InferenceComponentName": "part"}, "NotImplementedException", "(InferenceComponentName)"),
        ({"PrefixAwareId": "p"}, "NotImplementedException", "(PrefixAwareId)"),
        ({"SessionId": "NEW_SESSION"}, "NotImplementedException", "(SessionId)"),
        ({"CustomAttributes": "x" * 1025}, "ValidationError", "at 'customAttributes' failed to satisfy constraint"),
    ],
)
def test_what_the_endpoint_cannot_do(world: World, doubler: str, more: dict[str, Any], code: str, words: str) -> None:
    error = refused(world, doubler, **more)["Error"]
    assert error["Code"] == code
    assert words in error["Message"]


def test_other_ways_to_invoke_refuse_by_name(world: World, doubler: str) -> None:
    for operation, more in (
        (world.runtime.invoke_endpoint_async, {"InputLocation": "s3://b/k"}),
        (world.runtime.invoke_endpoint_with_response_stream, {"Body": b"x"}),
    ):
        with pytest.raises(ClientError) as caught:
            operation(EndpointName=doubler, **more)
        error = caught.value.response["Error"]
        assert error["Code"] == "NotImplementedException"
        assert "InvokeEndpoint" in error["Message"]


# -- metrics -------------------------------------------------------------------------------------------------------


def test_every_request_is_measured(world: World, engine: Engine) -> None:
    name = world.endpoint("orders", {"ModelName": world.model("orders", ORDERS), "InitialInstanceCount": 2})
    for _ in range(3):
        world.invoke(name, {"sleep": 0.02})
    refused(world, name, b'{"raise": "x"}')

    assert figures(engine, name, "Invocations") == (4.0, 4.0, "None")
    assert figures(engine, name, "InvocationsPerInstance") == (2.0, 4.0, "None")
    assert figures(engine, name, "Invocation4XXErrors") == (0.0, 4.0, "None")
    assert figures(engine, name, "Invocation5XXErrors") == (1.0, 4.0, "None")
    assert figures(engine, name, "InvocationModelErrors") == (1.0, 4.0, "None")
    total, count, unit = figures(engine, name, "ModelLatency")
    assert (count, unit) == (4.0, "Microseconds")
    assert 60_000 <= total < 200_000_000
    total, count, unit = figures(engine, name, "OverheadLatency")
    assert (count, unit) == (4.0, "Microseconds")
    assert total > 0


def test_what_does_not_reach_a_container_is_not_measured(world: World, doubler: str, engine: Engine) -> None:
    refused(world, doubler, TargetVariant="red")
    refused(world, doubler, TargetModel="m")
    assert figures(engine, doubler, "Invocations") is None
    assert figures(engine, "no-such-endpoint", "Invocations") is None


def test_two_hundred_rows_equal_the_local_models(world: World) -> None:
    """A pipeline with text columns, names of its own throughout: what a stranger would deploy."""
    import joblib
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    random = numpy.random.default_rng(3)
    rows = pandas.DataFrame({"soil": random.choice(["clay", "loam", "sand"], 200), "acidity": random.normal(6, 1, 200)})
    target = (rows["acidity"] + (rows["soil"] == "loam") > 6.3).astype(int)
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["soil"]), remainder="passthrough"), LogisticRegression()
    ).fit(rows, target)
    dumped = io.BytesIO()
    joblib.dump(model, dumped)
    code = """
import io, os
import joblib, pandas
def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "garden.joblib"))
def input_fn(body, content_type):
    return pandas.read_csv(io.StringIO(body))
def predict_fn(frame, model):
    return model.predict_proba(frame)[:, 1]
"""
    name = world.endpoint(
        "garden", {"VariantName": "spring", "ModelName": world.model("g", code, {"garden.joblib": dumped.getvalue()})}
    )
    got = world.invoke(name, rows.to_csv(index=False), ContentType="text/csv")
    assert numpy.array(got) == pytest.approx(model.predict_proba(rows)[:, 1], abs=1e-15)
    assert DOUBLER not in code
