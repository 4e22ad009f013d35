"""Processing jobs: inputs, outputs, configuration, exit messages, failures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from tests.cloud.aws import in_process
from tests.cloud.aws.pipeline_world import Pipelines

SCOPE, GROUP = "aws:123456789012:us-east-1", "/aws/sagemaker/ProcessingJobs"
COPY = """
import json, os, sys
base = "/opt/ml/processing"
rows = open(f"{base}/raw/rows.csv").read()
os.makedirs(f"{base}/clean/deep", exist_ok=True)
open(f"{base}/clean/deep/rows.csv", "w").write(rows.upper())
config = json.load(open("/opt/ml/config/processingjobconfig.json"))
hosts = json.load(open("/opt/ml/config/resourceconfig.json"))["hosts"]
json.dump({"argv": sys.argv[1:], "job": config["ProcessingJobName"], "hosts": hosts, "env": os.environ["MINE"]},
          open(f"{base}/clean/report.json", "w"))
open("/opt/ml/output/message", "w").write("3 rows kept")
print("done")
"""


def test_a_job_reads_writes_and_reports(pipelines: Pipelines, engine: Engine) -> None:
    pipelines.upload("raw/rows.csv", b"a,b\n")
    request = pipelines.processing(
        COPY,
        inputs={"raw": f"s3://{pipelines.bucket}/raw/rows.csv"},
        outputs=["clean"],
        arguments=["--share", "0.2"],
        Environment={"MINE": "yes"},
    )
    job = pipelines.process("copy", request)
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "3 rows kept")
    assert job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    assert pipelines.read(f"s3://{pipelines.bucket}/out/clean/deep/rows.csv") == b"A,B\n"
    report = json.loads(pipelines.read(f"s3://{pipelines.bucket}/out/clean/report.json"))
    name = pipelines.name("copy")
    assert report == {"argv": ["--share", "0.2"], "job": name, "hosts": ["algo-1"], "env": "yes"}
    streams = [each.name for each in engine.logs.streams(SCOPE, GROUP) if each.name.startswith(f"{name}/algo-1-")]
    assert [event.message for event in engine.logs.read(SCOPE, GROUP, streams)] == ["done"]


def test_a_job_that_fails(pipelines: Pipelines) -> None:
    job = pipelines.process("broken", pipelines.processing("raise SystemExit(4)"))
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"


def test_a_job_that_takes_too_long(pipelines: Pipelines) -> None:
    request = pipelines.processing("import time; time.sleep(600)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert pipelines.process("slow", request)["ProcessingJobStatus"] == "Stopped"


def test_an_output_that_may_not_be_written(pipelines: Pipelines) -> None:
    role = pipelines.make_role("reader", actions=["s3:GetObject", "s3:ListBucket"])
    script = "open('/opt/ml/processing/out/x', 'w').write('1')"
    job = pipelines.process("denied", pipelines.processing(script, outputs=["out"], RoleArn=role))
    assert job["ProcessingJobStatus"] == "Failed"
    assert "AccessDenied (403)" in job["FailureReason"]
    assert f"assumed-role/{pipelines.name('reader')}/SageMaker is not authorized" in job["FailureReason"]


def changed(request: dict[str, Any], **source: Any) -> dict[str, Any]:
    (code,) = request["ProcessingInputs"]
    return {**request, "ProcessingInputs": [{**code, "S3Input": {**code["S3Input"], **source}}]}


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ({"S3InputMode": "Pipe"}, "NotImplementedException", "input mode Pipe (input code)"),
        ({"S3CompressionType": "Gzip"}, "ValidationException", "Gzip can only be used if Pipe mode"),
        ({"LocalPath": "/home/me"}, "ValidationException", "has to be a path below /opt/ml/processing"),
        ({"S3Uri": "s3://nowhere-at-all/x"}, "ValidationException", "No S3 objects found under S3 URL"),
    ],
)
def test_what_is_refused(pipelines: Pipelines, source: dict[str, Any], code: str, message: str) -> None:
    request = changed(pipelines.processing("print(1)"), **source)
    _, got, text = in_process.error(pipelines.sm.create_processing_job, ProcessingJobName="refused", **request)
    assert got == code
    assert message in text


def test_a_stopped_job_and_a_missing_one(pipelines: Pipelines) -> None:
    request = pipelines.processing("import time; time.sleep(600)")
    name = pipelines.name("stopped")
    pipelines.sm.create_processing_job(ProcessingJobName=name, **request)
    pipelines.sm.stop_processing_job(ProcessingJobName=name)
    described = pipelines.ended(
        lambda: pipelines.sm.describe_processing_job(ProcessingJobName=name), "ProcessingJobStatus"
    )
    assert described["ProcessingJobStatus"] == "Stopped"
    pipelines.sm.delete_processing_job(ProcessingJobName=name)
    deleted = in_process.error(pipelines.sm.delete_processing_job, ProcessingJobName=name)
    assert deleted == (400, "ResourceNotFound", "Requested resource not found.")
    missing = in_process.error(pipelines.sm.describe_processing_job, ProcessingJobName="none")
    assert missing == (400, "ValidationException", "Could not find requested job with name: none")
