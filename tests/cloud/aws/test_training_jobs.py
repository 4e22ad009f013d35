"""Training jobs: script mode, channels, artifacts, metrics, failures, stops, spot capacity, permissions."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud
from labkit.cloud.engine import Engine
from labkit.cloud.engine.jobs import Job
from tests.cloud.aws import in_process
from tests.cloud.aws.pipeline_world import Pipelines, channel
from tests.waiting import eventually

SCOPE = "aws:123456789012:us-east-1"
REPORT = """
import argparse, json, os
p = argparse.ArgumentParser()
p.add_argument("--alpha", type=float)
p.add_argument("--solver")
args = p.parse_args()
found = {
    "args": vars(args),
    "cwd": os.getcwd(),
    "train": sorted(os.listdir("/opt/ml/input/data/train")),
    "env": {name: os.environ.get(name) for name in os.environ if name.startswith("SM_") or name == "MINE"},
    "config": {name: json.load(open(f"/opt/ml/input/config/{name}.json"))
               for name in ("hyperparameters", "resourceconfig", "inputdataconfig")},
}
json.dump(found, open(os.path.join(os.environ["SM_MODEL_DIR"], "report.json"), "w"))
open("/opt/ml/output/data/extra.txt", "w").write("extra")
for value in (0.7, 0.81):
    print(f"validation-auc: {value}")
"""


def files(world: Pipelines, url: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(world.read(url))) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar.getmembers() if each.isfile()}  # type: ignore[union-attr]


def log(engine: Engine, group: str, job: str) -> list[str]:
    streams = [each.name for each in engine.logs.streams(SCOPE, group) if each.name.startswith(f"{job}/algo-1-")]
    assert len(streams) == 1
    return [event.message for event in engine.logs.read(SCOPE, group, streams)]


def test_script_mode_has_what_sagemakers_container_has(pipelines: Pipelines, engine: Engine) -> None:
    pipelines.upload("raw/2024/a.csv", b"1")
    pipelines.upload("raw/b.csv", b"2")
    request = pipelines.training(
        REPORT,
        inputs={"train": f"s3://{pipelines.bucket}/raw"},
        parameters={"alpha": "0.5", "solver": '"lbfgs"'},
        algorithm={"MetricDefinitions": [{"Name": "auc", "Regex": "validation-auc: ([0-9.]+)"}]},
        Environment={"MINE": "yes"},
    )
    job = pipelines.train("script", request)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    output = f"s3://{pipelines.bucket}/models/{pipelines.name('script')}/output"
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"{output}/model.tar.gz"
    assert files(pipelines, f"{output}/output.tar.gz") == {"extra.txt": b"extra"}
    report = json.loads(files(pipelines, f"{output}/model.tar.gz")["report.json"])
    assert report["args"] == {"alpha": 0.5, "solver": "lbfgs"}
    assert report["cwd"] == "/opt/ml/code"
    assert report["train"] == ["2024", "b.csv"]
    env = report["env"]
    assert (env["SM_MODEL_DIR"], env["SM_CHANNEL_TRAIN"]) == ("/opt/ml/model", "/opt/ml/input/data/train")
    assert (env["SM_HP_ALPHA"], env["SM_HPS"], env["MINE"]) == ("0.5", '{"alpha": 0.5, "solver": "lbfgs"}', "yes")
    assert (env["SM_CHANNELS"], env["SM_HOSTS"], env["SM_CURRENT_HOST"]) == ('["train"]', '["algo-1"]', "algo-1")
    assert report["config"]["hyperparameters"]["alpha"] == "0.5"
    assert report["config"]["resourceconfig"]["hosts"] == ["algo-1"]
    assert report["config"]["inputdataconfig"]["train"]["TrainingInputMode"] == "File"
    (metric,) = job["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("auc", pytest.approx(0.81))
    lines = log(engine, "/aws/sagemaker/TrainingJobs", pipelines.name("script"))
    assert lines == ["validation-auc: 0.7", "validation-auc: 0.81"]
    secondary = [each["Status"] for each in job["SecondaryStatusTransitions"]]
    assert list(dict.fromkeys(secondary)) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] >= 1


def test_an_entry_point_of_ones_own_and_files_by_manifest(pipelines: Pipelines) -> None:
    pipelines.upload("parts/one.txt", b"1")
    pipelines.upload("parts/deep/two.txt", b"2")
    pipelines.upload("parts/three.txt", b"3")
    manifest = [{"prefix": f"s3://{pipelines.bucket}/parts/"}, "one.txt", "deep/two.txt"]
    url = pipelines.upload("list.manifest", json.dumps(manifest).encode())
    script = "cd /opt/ml/input/data/data && find . -type f | sort > /opt/ml/model/found && cat $0 > /dev/null"
    request = pipelines.training("")
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["/bin/sh", "-c"],
        "ContainerArguments": [script, "/dev/null"],
    }
    request["InputDataConfig"] = [channel("data", url, "ManifestFile")]
    job = pipelines.train("entry", request)
    found = files(pipelines, job["ModelArtifacts"]["S3ModelArtifacts"])
    assert found["found"].split() == [b"./deep/two.txt", b"./one.txt"]


def test_a_failing_script_tells_its_error(pipelines: Pipelines) -> None:
    job = pipelines.train("broken", pipelines.training("def load():\n    raise KeyError('tenure')\nload()"))
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    reason = job["FailureReason"]
    assert reason.startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Traceback ')
    assert 'KeyError: \'tenure\'"\nCommand "python train.py", exit code: 1' in reason


def test_a_container_that_writes_its_failure(pipelines: Pipelines) -> None:
    request = pipelines.training("")
    command = "echo 'no convergence' > /opt/ml/output/failure; exit 3"
    request["AlgorithmSpecification"] |= {"ContainerEntrypoint": ["/bin/sh", "-c", command]}
    assert pipelines.train("wrote", request)["FailureReason"] == "AlgorithmError: no convergence, exit code: 3"


def test_requirements_are_checked(pipelines: Pipelines) -> None:
    request = pipelines.training("print(1)", files={"requirements.txt": "no-such-package-here==1.0\n"})
    job = pipelines.train("needs", request)
    assert job["TrainingJobStatus"] == "Failed"
    assert "no-such-package-here==1.0, which is not installed here." in job["FailureReason"]


def test_pip_in_a_container_says_what_is_missing(pipelines: Pipelines) -> None:
    request = pipelines.training("")
    command = " && ".join(
        (
            "pip uninstall --yes no-such-package",
            "python -m pip install -q scikit-learn",
            "pip install joblib",
            "pip3 install no-such-package-here",
        )
    )
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["/bin/sh", "-c", f"({command}) 2>/opt/ml/output/failure"]
    }
    reason = pipelines.train("pip", request)["FailureReason"]
    assert "pip install asks for no-such-package-here, which is not installed here." in reason


def test_an_image_that_is_not_there(pipelines: Pipelines) -> None:
    request = pipelines.training("print(1)")
    request["AlgorithmSpecification"]["TrainingImage"] = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.0"
    reason = pipelines.train("image", request)["FailureReason"]
    assert reason.startswith("ClientError: Cannot pull algorithm container. The image '763104351884")


def test_a_job_that_takes_too_long(pipelines: Pipelines, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, Callable[[], None]]] = []
    monkeypatch.setattr(Job, "_in", lambda _, seconds, action: timers.append((seconds, action)))
    script = "import time\nopen('/opt/ml/model/part','w').write('half')\nprint('half done')\ntime.sleep(600)"
    request = pipelines.training(script, StoppingCondition={"MaxRuntimeInSeconds": 1})
    running(pipelines, "slow", request, engine, "half done")
    seconds, end = eventually(lambda: timers)[0]
    assert seconds == 1
    end()
    name = pipelines.name("slow")
    job = pipelines.ended(lambda: pipelines.sm.describe_training_job(TrainingJobName=name), "TrainingJobStatus")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert files(pipelines, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"part": b"half"}


def running(pipelines: Pipelines, name: str, request: dict[str, Any], engine: Engine, line: str) -> None:
    """Starts a job and waits until it has printed a line."""
    seen = threading.Event()
    write = engine.logs.write

    def watch(scope: str, group: str, stream: str, message: str, at: Any = None) -> None:
        write(scope, group, stream, message, at)
        if message == line:
            seen.set()

    engine.logs.write = watch  # type: ignore[method-assign]
    try:
        pipelines.sm.create_training_job(TrainingJobName=pipelines.name(name), **request)
        assert seen.wait(60)
    finally:
        engine.logs.write = write  # type: ignore[method-assign]


def test_a_stopped_job_keeps_its_model(pipelines: Pipelines, engine: Engine) -> None:
    script = "import time\nopen('/opt/ml/model/m','w').write('1')\nprint('going')\ntime.sleep(600)"
    running(pipelines, "stopped", pipelines.training(script), engine, "going")
    name = pipelines.name("stopped")
    status, code, said = in_process.error(pipelines.sm.delete_training_job, TrainingJobName=name)
    assert (status, code) == (400, "ResourceInUse")
    assert "is in status InProgress and cannot be deleted" in said
    pipelines.sm.stop_training_job(TrainingJobName=name)
    job = pipelines.ended(lambda: pipelines.sm.describe_training_job(TrainingJobName=name), "TrainingJobStatus")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert files(pipelines, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"m": b"1"}
    refused = in_process.error(pipelines.sm.stop_training_job, TrainingJobName=name)
    assert refused == (
        400,
        "ValidationException",
        "The request was rejected because the training job is in status Stopped.",
    )


def test_a_deleted_job_leaves_its_name(pipelines: Pipelines) -> None:
    name, request = pipelines.name("again"), pipelines.training("pass")
    for _ in range(2):
        pipelines.sm.create_training_job(TrainingJobName=name, **request)
        pipelines.ended(lambda: pipelines.sm.describe_training_job(TrainingJobName=name), "TrainingJobStatus")
        pipelines.sm.delete_training_job(TrainingJobName=name)
    gone = (400, "ResourceNotFound", "Requested resource not found.")
    assert in_process.error(pipelines.sm.delete_training_job, TrainingJobName=name) == gone
    assert in_process.error(pipelines.sm.describe_training_job, TrainingJobName=name)[1] == "ValidationException"


SPOT = """
import os, time
path = "/opt/ml/checkpoints/step"
done = int(open(path).read()) if os.path.exists(path) else 0
for step in range(done + 1, 4):
    open(path, "w").write(str(step))
    print("step", step)
    if step == 2 and done == 0:
        print("waiting")
        time.sleep(600)
open("/opt/ml/model/from", "w").write(str(done))
"""


def test_spot_training_goes_on_from_its_checkpoint(pipelines: Pipelines, engine: Engine) -> None:
    request = pipelines.training(
        SPOT,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200},
        CheckpointConfig={"S3Uri": f"s3://{pipelines.bucket}/checkpoints"},
    )
    running(pipelines, "spot", request, engine, "waiting")
    taken = "the spot machine of"
    while not any(each.name.startswith(taken) for each in engine.clock.advance(timedelta(hours=6))):
        pass
    name = pipelines.name("spot")
    job = pipelines.ended(lambda: pipelines.sm.describe_training_job(TrainingJobName=name), "TrainingJobStatus")
    assert job["TrainingJobStatus"] == "Completed"
    assert "Interrupted" in [each["Status"] for each in job["SecondaryStatusTransitions"]]
    assert files(pipelines, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"from": b"2"}
    assert job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"]
    assert pipelines.read(f"s3://{pipelines.bucket}/checkpoints/step") == b"3"


def test_a_role_without_permission(pipelines: Pipelines) -> None:
    pipelines.upload("raw/a.csv", b"1")
    role = pipelines.make_role("poor", actions=())
    request = pipelines.training("print(1)", inputs={"train": f"s3://{pipelines.bucket}/raw"}, RoleArn=role)
    message = (
        f'No S3 objects found under S3 URL "s3://{pipelines.bucket}/raw" given in input data source. Please ensure '
        "that the bucket exists in the selected region (us-east-1), that objects exist under that S3 prefix, and that "
        f'the role "{role}" has "s3:ListBucket" permissions on bucket "{pipelines.bucket}".'
    )
    refused = in_process.error(pipelines.sm.create_training_job, TrainingJobName="poor", **request)
    assert refused == (400, "ValidationException", message)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "arn:aws:s3:::*"},
        ],
    }
    pipelines.iam.put_role_policy(RoleName=pipelines.name("poor"), PolicyName="read", PolicyDocument=json.dumps(policy))
    script = "open('/opt/ml/model/m', 'w').write('1')"
    job = pipelines.train("unwritten", {**request, **pipelines.training(script, RoleArn=role)})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Data upload failed:AccessDenied (403): ")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}},
            "NotImplementedException",
            "more than one instance",
        ),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 5}}, "ValidationException", "Invalid MaxWaitTimeInSeconds"),
        ({"ExperimentConfig": {"ExperimentName": "e"}}, "NotImplementedException", "experiments"),
        ({"InputDataConfig": [channel("c", "s3://nowhere-at-all/x")]}, "ValidationException", "No S3 objects found"),
        (
            {"InputDataConfig": [{**channel("c", "s3://b/x"), "InputMode": "Pipe"}]},
            "NotImplementedException",
            "input mode Pipe",
        ),
    ],
)
def test_what_is_refused(pipelines: Pipelines, change: dict[str, Any], code: str, message: str) -> None:
    request = {**pipelines.training("print(1)"), **change}
    _, got, text = in_process.error(pipelines.sm.create_training_job, TrainingJobName="refused", **request)
    assert got == code
    assert message in text


def test_names_are_unique_and_jobs_are_listed(pipelines: Pipelines) -> None:
    request = pipelines.training("print(1)")
    for name in ("first", "second"):
        pipelines.train(name, request)
    _, code, message = in_process.error(
        pipelines.sm.create_training_job, TrainingJobName=pipelines.name("first"), **request
    )
    assert code == "ResourceInUse"
    assert message.startswith("Training job names must be unique within an AWS account and region")
    listed = pipelines.sm.list_training_jobs(NameContains=pipelines.name(""), SortBy="Name", SortOrder="Ascending")
    assert [each["TrainingJobName"] for each in listed["TrainingJobSummaries"]] == [
        pipelines.name("first"),
        pipelines.name("second"),
    ]
    missing = in_process.error(pipelines.sm.describe_training_job, TrainingJobName="none")
    assert missing == (400, "ValidationException", "Requested resource not found.")


def test_a_script_calls_aws_as_its_role(pipelines: Pipelines, cloud: AwsCloud, client: Callable[[str], Any]) -> None:
    script = "import os\nopen('/opt/ml/model/m','w').write(os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN'])"
    job = pipelines.train("calls", pipelines.training(script))
    token = files(pipelines, job["ModelArtifacts"]["S3ModelArtifacts"])["m"].decode()
    # The job is over, and so is its right to credentials.
    assert cloud.identities.container_credentials(token) is None
