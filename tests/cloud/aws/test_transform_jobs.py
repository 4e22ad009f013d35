"""Batch transform: objects through a model, whole or by lines, and what becomes of errors."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cloud.aws import transform_records
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
        ({"DataProcessing": {"InputFilter": "$[1:]"}}, "NotImplementedException", "filters and joins"),
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
    assert [len(each) for each in packed] == [len(line)] * 4
    packed = list(transform_records.requests(line * 4, "Line", "MultiRecord", 2))
    assert [len(each) // len(line) for each in packed] == [3, 1]
    with pytest.raises(transform_records.TooLarge):
        list(transform_records.requests(line * 4, "None", "MultiRecord", 1))
