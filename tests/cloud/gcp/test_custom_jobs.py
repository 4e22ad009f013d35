"""Custom jobs and training pipelines over plain REST: what runs, how it ends, what is refused."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from tests.cloud.gcp.vertex_world import IMAGE, World
from tests.waiting import eventually

ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


def job(command: str, **spec: Any) -> dict[str, Any]:
    """The body of a request for a job that runs a line of Python."""
    pool = {
        "machineSpec": {"machineType": "n1-standard-4"},
        "replicaCount": 1,
        "containerSpec": {"imageUri": "python:3.11", "command": ["python3", "-c", command]},
    }
    return {"displayName": "a job", "jobSpec": {"workerPoolSpecs": [pool], **spec}}


def ended(world: World, name: str) -> dict[str, Any]:
    return eventually(lambda: dict(found) if (found := world.ok("GET", name))["state"] in ENDED else None)


def run(world: World, body: dict[str, Any]) -> dict[str, Any]:
    return ended(world, world.ok("POST", f"{world.parent}/customJobs", body)["name"])


def test_a_job_reads_and_writes_the_buckets(world: World) -> None:
    world.cloud.buckets.put(world.bucket, "in.txt", world.cloud.buckets.write([b"given"]), {})
    command = (
        f"import os; folder = os.environ['AIP_MODEL_DIR'].replace('gs://', '/gcs/'); os.makedirs(folder);"
        f"open(folder + 'out.txt', 'w').write(open('/gcs/{world.bucket}/in.txt').read().upper())"
    )
    done = run(world, job(command, baseOutputDirectory={"outputUriPrefix": f"gs://{world.bucket}/run"}))
    assert done["state"] == "JOB_STATE_SUCCEEDED", done.get("error")
    assert world.cloud.buckets.read(world.bucket, "run/model/out.txt") == b"GIVEN"
    assert done["startTime"] <= done["endTime"]


def test_a_job_knows_its_experiment(world: World) -> None:
    context = f"projects/{world.number}/locations/us-central1/metadataStores/default/contexts/churn"
    command = "from os import environ as e; raise SystemExit(e['AIP_EXPERIMENT_NAME'] + e['AIP_EXPERIMENT_RUN_NAME'])"
    done = run(world, job(command, experiment=context, experimentRun=f"{context}-first"))
    assert done["error"]["message"].endswith(f"The last line of the log: {context}{context}-first")


def test_a_job_that_fails_says_how(world: World) -> None:
    done = run(world, job("raise SystemExit('no column named churn')"))
    assert (done["state"], done["error"]["code"]) == ("JOB_STATE_FAILED", 9)
    assert done["error"]["message"].startswith("The replica workerpool0-0 exited with a non-zero status of 1.")
    assert done["error"]["message"].endswith("The last line of the log: no column named churn")


def test_jobs_are_listed_cancelled_and_deleted(world: World) -> None:
    first = run(world, job("pass"))
    second = world.ok(
        "POST", f"{world.parent}/customJobs", {**job("import time; time.sleep(60)"), "displayName": "slow"}
    )

    def names(condition: str) -> list[str]:
        found = world.ok("GET", f"{world.parent}/customJobs?filter={condition}").get("customJobs", [])
        return [each["displayName"] for each in found]

    assert names("") == ["slow", "a job"]
    assert names('display_name="a job"') == ["a job"]
    assert names('state="JOB_STATE_SUCCEEDED"') == ["a job"]
    assert world.error("GET", f"{world.parent}/customJobs?filter=size>3")[0] == "INVALID_ARGUMENT"
    assert world.error("DELETE", second["name"])[0] == "FAILED_PRECONDITION"
    world.ok("POST", f"{second['name']}:cancel", {})
    assert ended(world, second["name"])["error"]["code"] == 1
    for name in (first["name"], second["name"]):
        world.done("DELETE", name)
    assert names("") == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"machineSpec": {"machineType": "n1-standard-5"}}, "n1-standard-5"),
        ({"machineSpec": {}}, "machine_type"),
        ({"containerSpec": {"command": ["true"]}}, "URI of an image"),
    ],
)
def test_what_cannot_be_run_is_refused(world: World, change: dict[str, Any], why: str) -> None:
    body = job("pass")
    body["jobSpec"]["workerPoolSpecs"][0].update(change)
    code, said = world.error("POST", f"{world.parent}/customJobs", body)
    assert (code, why in said) == ("INVALID_ARGUMENT", True), said
    assert "customJobs" not in world.ok("GET", f"{world.parent}/customJobs")


def test_an_account_that_is_not_there_cannot_be_acted_as(world: World) -> None:
    account = f"nobody@{world.project}.iam.gserviceaccount.com"
    status, answer = world("POST", f"{world.parent}/customJobs", job("pass", serviceAccount=account))
    assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert account in answer["error"]["message"]


def package(member: str) -> bytes:
    """A source distribution with one module below ``member``."""
    packed, code = io.BytesIO(), b"print('ran')\n"
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = len(code)
        archive.addfile(info, io.BytesIO(code))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("member", "state", "why"),
    [
        ("trainer-0.1/trainer.py", "JOB_STATE_SUCCEEDED", ""),
        ("../trainer.py", "JOB_STATE_FAILED", "../trainer.py"),
    ],
)
def test_a_package_runs_unless_it_leads_out_of_its_folder(world: World, member: str, state: str, why: str) -> None:
    world.cloud.buckets.put(world.bucket, "trainer.tar.gz", world.cloud.buckets.write([package(member)]), {})
    body = job("pass")
    pool = body["jobSpec"]["workerPoolSpecs"][0]
    del pool["containerSpec"]
    pool["pythonPackageSpec"] = {
        "executorImageUri": "us-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest",
        "packageUris": [f"gs://{world.bucket}/trainer.tar.gz"],
        "pythonModule": "trainer",
    }
    done = run(world, body)
    assert (done["state"], why in done.get("error", {}).get("message", "")) == (state, True), done.get("error")


def test_a_training_pipeline_uploads_what_its_job_left(world: World) -> None:
    command = (
        "import os, joblib; from sklearn.dummy import DummyClassifier;"
        "folder = os.environ['AIP_MODEL_DIR'].replace('gs://', '/gcs/'); os.makedirs(folder);"
        "joblib.dump(DummyClassifier(strategy='constant', constant=7).fit([[0], [1]], [7, 7]), folder + 'model.joblib')"
    )
    spec = job(command, baseOutputDirectory={"outputUriPrefix": f"gs://{world.bucket}/trained"})["jobSpec"]
    body = {
        "displayName": "training",
        "trainingTaskDefinition": "gs://google-cloud-aiplatform/schema/trainingjob/definition/custom_task_1.0.0.yaml",
        "trainingTaskInputs": spec,
        "modelToUpload": {"displayName": "seven", "containerSpec": {"imageUri": IMAGE}},
    }
    name = world.ok("POST", f"{world.parent}/trainingPipelines", body)["name"]
    eventually(lambda: world.ok("GET", name)["state"] != "PIPELINE_STATE_RUNNING")
    found = world.ok("GET", name)
    assert found["state"] == "PIPELINE_STATE_SUCCEEDED", found.get("error")
    assert world.ok("GET", found["modelToUpload"]["name"])["displayName"] == "seven"
    listed = world.ok("GET", f"{world.parent}/trainingPipelines?filter=display_name=training")["trainingPipelines"]
    assert [each["name"] for each in listed] == [name]
    assert "customJobs" not in world.ok("GET", f"{world.parent}/customJobs")
    world.done("DELETE", name)
