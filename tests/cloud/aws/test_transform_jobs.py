"""Batch transform: objects through a model, whole or by lines, and what becomes of errors."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cloud.aws import transform_filters, transform_records
from labkit.cloud.engine import Engine
from tests.cloud.aws import in_process
from tests.cloud.aws.pipeline_world import Pipelines

SCOPE, GROUP = "aws:123456789012:us-east-1", "/aws/sagemaker/TransformJobs"
#: Doubles numbers in CSV; counts the requests that it has had by what it answers.
MODEL = """
import os
def model_fn(model_dir):
    return os.environ["SAGEMAKER_BATCH"]
def input_fn(body, content_type):
    return [float(line) for line in body.split()]
def predict_fn(rows, model):
    if rows == [13.0]:
        raise ValueError("unlucky")
    return rows
def output_fn(rows, accept):
    return "\\n".join(str(2 * row) for row in rows) + f";{len(rows)}", accept
"""

#: A job of lines.
LINES: dict[str, Any] = {"source": {"SplitType": "Line"}, "target": {"AssembleWith": "Line"}}


def transform(pipelines: Pipelines, name: str, model: str, **more: Any) -> dict[str, Any]:
    request = {
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{pipelines.bucket}/in/"}},
            "ContentType": "text/csv",
            **more.pop("source", {}),
        },
        "TransformOutput": {
            "S3OutputPath": f"s3://{pipelines.bucket}/scored",
            "Accept": "text/csv",
            **more.pop("target", {}),
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **more,
    }
    name = pipelines.name(name)
    pipelines.sm.create_transform_job(TransformJobName=name, ModelName=model, **request)
    return pipelines.ended(lambda: pipelines.sm.describe_transform_job(TransformJobName=name), "TransformJobStatus")


def test_objects_whole_and_by_lines(pipelines: Pipelines) -> None:
    pipelines.upload("in/a.csv", b"1\n2\n3\n")
    pipelines.upload("in/deep/b.csv", b"4\n")
    model = pipelines.model("doubler", MODEL)
    assert transform(pipelines, "whole", model)["TransformJobStatus"] == "Completed"
    assert pipelines.read(f"s3://{pipelines.bucket}/scored/a.csv.out") == b"2.0\n4.0\n6.0;3"
    assert pipelines.read(f"s3://{pipelines.bucket}/scored/deep/b.csv.out") == b"8.0;1"
    single = {"source": {"SplitType": "Line"}, "target": {"AssembleWith": "Line"}, "BatchStrategy": "SingleRecord"}
    assert transform(pipelines, "single", model, **single)["TransformJobStatus"] == "Completed"
    assert pipelines.read(f"s3://{pipelines.bucket}/scored/a.csv.out") == b"2.0;1\n4.0;1\n6.0;1\n"


def test_a_model_that_fails(pipelines: Pipelines, engine: Engine) -> None:
    pipelines.upload("in/a.csv", b"13\n")
    job = transform(pipelines, "unlucky", pipelines.model("doubler", MODEL))
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == "ClientError: See job logs for more information"
    streams = [
        each.name for each in engine.logs.streams(SCOPE, GROUP) if each.name.startswith(pipelines.name("unlucky"))
    ]
    written = [event.message for event in engine.logs.read(SCOPE, GROUP, streams)]
    assert f"{pipelines.bucket}/in/a.csv: Bad HTTP status received from algorithm: 500" in written
    assert "ValueError: unlucky" in written


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ({"DataProcessing": {"InputFilter": "$[1:]"}}, "NotImplementedException", "not split into lines"),
        ({"DataProcessing": {"InputFilter": "1"}}, "ValidationException", "it begins with $"),
        (
            {"DataProcessing": {"JoinSource": "Input"}, "source": {"SplitType": "Line", "ContentType": "image/png"}},
            "ValidationException",
            "needs records in CSV or JSON",
        ),
        (
            {"DataProcessing": {"JoinSource": "Input"}, **LINES, "target": {"Accept": "application/json"}},
            "NotImplementedException",
            "of another format than ContentType",
        ),
        ({"source": {"SplitType": "RecordIO"}}, "NotImplementedException", "SplitType RecordIO"),
        ({"BatchStrategy": "SingleRecord"}, "ValidationException", "needs SplitType Line"),
    ],
)
def test_what_is_refused(pipelines: Pipelines, more: dict[str, Any], code: str, message: str) -> None:
    pipelines.upload("in/a.csv", b"1\n")
    _, got, text = in_process.error(lambda: transform(pipelines, "refused", pipelines.model("doubler", MODEL), **more))
    assert got == code
    assert message in text


def test_lines_are_packed_up_to_the_payload() -> None:
    line = b"x" * 600_000 + b"\n"
    packed = list(transform_records.requests(line * 4, "Line", "MultiRecord", 1))
    assert packed == [[line]] * 4
    packed = list(transform_records.requests(line * 4, "Line", "MultiRecord", 2))
    assert [len(each) for each in packed] == [3, 1]
    with pytest.raises(transform_records.TooLarge):
        list(transform_records.requests(line * 4, "None", "MultiRecord", 1))


# filters and joins -----------------------------------------------------------------------------------------------

#: Adds up the numbers of each row of CSV.
ADDER = """
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    return [[float(each) for each in line.split(",")] for line in body.split()]
def predict_fn(rows, model):
    return [sum(row) for row in rows]
def output_fn(sums, accept):
    return "\\n".join(map(str, sums)), accept
"""


@pytest.mark.parametrize("strategy", ["MultiRecord", "SingleRecord"])
@pytest.mark.parametrize(
    ("processing", "stored"),
    [
        ({"InputFilter": "$[1:]"}, b"3.0\n7.0\n"),
        ({"InputFilter": "$[1:]", "JoinSource": "Input"}, b"7,1,2,3.0\n8,3,4,7.0\n"),
        ({"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}, b"7,3.0\n8,7.0\n"),
        ({"OutputFilter": "$[0]"}, b"10.0\n15.0\n"),
    ],
)
def test_columns_are_left_out_and_put_back(
    pipelines: Pipelines, strategy: str, processing: dict[str, str], stored: bytes
) -> None:
    pipelines.upload("in/a.csv", b"7,1,2\n8,3,4\n")
    model = pipelines.model("adder", ADDER)
    done = transform(pipelines, "filtered", model, **LINES, DataProcessing=processing, BatchStrategy=strategy)
    assert done["TransformJobStatus"] == "Completed"
    assert done["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None", **processing}
    assert pipelines.read(f"s3://{pipelines.bucket}/scored/a.csv.out") == stored


def test_a_position_that_no_record_has_fails_the_job(pipelines: Pipelines, engine: Engine) -> None:
    pipelines.upload("in/a.csv", b"7,1,2\n")
    model = pipelines.model("adder", ADDER)
    done = transform(pipelines, "beyond", model, **LINES, DataProcessing={"InputFilter": "$[0,9]"})
    assert done["FailureReason"] == "ClientError: See job logs for more information"


def test_json_records_get_the_answer_as_an_attribute() -> None:
    joined = transform_filters.Processing({"InputFilter": "$.x", "JoinSource": "Input"}, "json")
    assert joined.before(b'{"id": 1, "x": [1, 2]}\n') == b"[1, 2]\n"
    assert joined.after([b'{"id": 1}', b"[5]"], b'{"p": 0.5}\n{"p": 0.7}\n') == (
        b'{"id": 1, "SageMakerOutput": {"p": 0.5}}\n{"SageMakerInput": [5], "SageMakerOutput": {"p": 0.7}}\n'
    )
    picked = transform_filters.Processing({"JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"}, "json")
    assert picked.after([b'{"id": 1, "x": 2}'], b"0.5") == b'{"id": 1, "SageMakerOutput": 0.5}\n'
    with pytest.raises(transform_filters.FilterError, match="mismatched line count"):
        picked.after([b"{}", b"{}"], b"[1, 2]")
    with pytest.raises(transform_filters.FilterError, match="no attribute 'id'"):
        picked.after([b"{}"], b"1")


@pytest.mark.parametrize(
    ("path", "value", "taken"),
    [
        ("$", [1], [1]),
        ("$.a.b", {"a": {"b": 2}}, 2),
        ("$['a'][1:]", {"a": [1, 2, 3]}, [2, 3]),
        ("$[0,5:]", list("abcdefg"), ["a", "f", "g"]),
        ("$.*", {"a": 1, "b": 2}, [1, 2]),
        ("$[*]", [1, 2], [1, 2]),
    ],
)
def test_paths(path: str, value: Any, taken: Any) -> None:
    assert transform_filters.selector(path)(value) == taken


@pytest.mark.parametrize("path", ["a", "$..a", "$[?(@.x)]", "$[x]", "$['a',1]"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(transform_filters.FilterError):
        transform_filters.selector(path)
