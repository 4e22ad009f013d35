"""Batch prediction jobs over plain REST: what is read, predicted and written, how they end, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.cloud.engine.errors import CloudError
from labkit.cloud.gcp import batch_instances, log_store
from labkit.cloud.gcp.vertex_telemetry import CONTAINER_LOG
from tests.cloud.gcp.test_iam_identities import account, grant
from tests.cloud.gcp.vertex_world import ROWS, World, constant, trained
from tests.waiting import eventually

ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
MACHINE = {"machineSpec": {"machineType": "n1-standard-2"}}


def put(world: World, name: str, text: str) -> str:
    world.cloud.buckets.put(world.bucket, name, world.cloud.buckets.write([text.encode()]), {})
    return f"gs://{world.bucket}/{name}"


def lines(rows: Any) -> str:
    return "".join(json.dumps(list(row)) + "\n" for row in rows)


def body(world: World, model: str, *uris: str, instances: str = "jsonl", **more: Any) -> dict[str, Any]:
    return {
        "displayName": "monthly",
        "model": model,
        "inputConfig": {"instancesFormat": instances, "gcsSource": {"uris": list(uris)}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": f"gs://{world.bucket}/out/"},
        },
        "dedicatedResources": MACHINE,
        **more,
    }


def begin(world: World, sent: dict[str, Any]) -> dict[str, Any]:
    return dict(world.ok("POST", f"{world.parent}/batchPredictionJobs", sent))


def ended(world: World, name: str) -> dict[str, Any]:
    return eventually(lambda: dict(found) if (found := world.ok("GET", name))["state"] in ENDED else None)


def run(world: World, *what: Any, **more: Any) -> dict[str, Any]:
    return ended(world, begin(world, body(world, *what, **more))["name"])


def written(world: World, job: dict[str, Any], name: str = batch_instances.RESULTS) -> list[dict[str, Any]]:
    directory = job["outputInfo"]["gcsOutputDirectory"].removeprefix(f"gs://{world.bucket}/")
    text = world.cloud.buckets.read(world.bucket, f"{directory}/{name}").decode()
    return [json.loads(line) for line in text.splitlines()]


def test_a_version_predicts_every_line_of_every_file(world: World) -> None:
    model = world.upload()
    put(world, "in/a.jsonl", lines(ROWS[:70]))
    put(world, "in/b.jsonl", lines(ROWS[70:100]))
    put(world, "in/c.txt", "no instances")
    begun = begin(world, body(world, model, f"gs://{world.bucket}/in/*.jsonl", labels={"team": "churn"}))
    assert (begun["state"], begun["modelVersionId"]) == ("JOB_STATE_PENDING", "1")
    assert begun["model"] == model.partition("@")[0]
    assert begun["manualBatchTuningParameters"] == {"batchSize": 64}
    done = ended(world, begun["name"])
    assert done["state"] == "JOB_STATE_SUCCEEDED", done.get("error")
    assert done["completionStats"] == {"successfulCount": "100"}
    assert done["startTime"] <= done["endTime"]
    assert done["outputInfo"]["gcsOutputDirectory"].startswith(f"gs://{world.bucket}/out/prediction-churn-20")
    found = written(world, done)
    assert [each["instance"] for each in found] == [list(row) for row in ROWS[:100]]
    assert [each["prediction"] for each in found] == trained().predict(ROWS[:100]).tolist()
    assert written(world, done, batch_instances.ERRORS) == []
    assert done["resourcesConsumed"]["replicaHours"] > 0


def test_csv_has_a_header_and_its_texts_in_quotes(world: World) -> None:
    uri = put(world, "in.csv", "a,b,c,d\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS[:3]))
    done = run(world, world.upload(constant(1)), uri, instances="csv")
    assert written(world, done) == [{"instance": list(row), "prediction": 1} for row in ROWS[:3]]
    assert batch_instances.read_csv('"x","y"\n0.5,"cat, black"\n\n', "f") == [[0.5, "cat, black"]]
    with pytest.raises(CloudError, match="Line 2 of f is no CSV with texts in double quotes"):
        batch_instances.read_csv("x\ncat\n", "f")


def test_instances_that_fail_are_written_apart(world: World) -> None:
    uri = put(world, "in.jsonl", lines(ROWS[:2]) + "[1, 2]\n")
    tuned = {"manualBatchTuningParameters": {"batchSize": 1}}
    done = run(world, world.upload(), uri, **tuned)
    assert (done["state"], done["completionStats"]) == (
        "JOB_STATE_SUCCEEDED",
        {"successfulCount": "2", "failedCount": "1"},
    )
    assert len(written(world, done)) == 2
    failed = written(world, done, batch_instances.ERRORS)
    assert (failed[0]["instance"], failed[0]["error"]["code"]) == ([1, 2], 9)
    assert "features" in failed[0]["error"]["message"]


def test_a_job_that_can_do_nothing_fails_with_its_reason(world: World) -> None:
    model = world.upload()
    none = run(world, model, put(world, "bad.jsonl", "[1, 2]\n"))
    assert (none["state"], none["error"]["code"]) == ("JOB_STATE_FAILED", 9)
    assert none["error"]["message"].startswith("No instance could be predicted. The error of the last one: ")
    torn = run(world, model, put(world, "torn.jsonl", "[1, 2, 3, 4]\n[1,\n"))
    assert "Line 2 of gs://" in torn["error"]["message"]
    missing = run(world, model, f"gs://{world.bucket}/none/*")
    assert missing["error"]["message"] == f"No file was found for the Cloud Storage path gs://{world.bucket}/none/*."
    broken = world.upload(files={"model.joblib": b"no pickle"})
    unready = run(world, broken, put(world, "in.jsonl", lines(ROWS[:1])))
    assert unready["error"]["message"].startswith("Model server never became ready. The last line of its log: ")


def test_the_service_account_needs_to_read_and_write(world: World) -> None:
    email, model, uri = account(world, "predicts"), world.upload(), put(world, "in.jsonl", lines(ROWS[:1]))
    blind = run(world, model, uri, serviceAccount=email)
    assert blind["state"] == "JOB_STATE_FAILED"
    assert blind["error"]["message"].startswith(
        f"Service account `{email}` does not have `[storage.objects.list]` IAM permission(s) to the bucket "
    )
    grant(world, "roles/storage.objectViewer", f"serviceAccount:{email}")
    mute = run(world, model, uri, serviceAccount=email)
    assert "does not have `[storage.objects.create]`" in mute["error"]["message"]
    assert mute["completionStats"] == {"successfulCount": "1"}
    grant(world, "roles/storage.objectCreator", f"serviceAccount:{email}")
    assert run(world, model, uri, serviceAccount=email)["state"] == "JOB_STATE_SUCCEEDED"
    gone = body(world, model, uri, serviceAccount=email.replace("predicts", "nobody"))
    assert world.error("POST", f"{world.parent}/batchPredictionJobs", gone)[0] in ("PERMISSION_DENIED", "NOT_FOUND")


def test_what_the_container_prints_is_logged(world: World) -> None:
    model, uri = world.upload(), put(world, "in.jsonl", lines([[1, 2]]))
    for quiet in (True, False):
        done = run(world, model, uri, disableContainerLogging=quiet)
        found = [entry for _, entry in log_store.entries(world.engine, world.scope, CONTAINER_LOG)]
        assert bool(found) is not quiet
    assert {each["resource"]["labels"]["job_id"] for each in found} == {done["name"].rpartition("/")[2]}


def test_jobs_are_listed_cancelled_and_deleted(world: World) -> None:
    model = world.upload()
    first = run(world, model, put(world, "in.jsonl", lines(ROWS[:1])))
    # A batch an instance, so that the job goes on for as long as the cancellation takes.
    many = put(world, "many.jsonl", lines(list(ROWS) * 100))
    slow = {"displayName": "slow", "manualBatchTuningParameters": {"batchSize": 1}}
    second = begin(world, {**body(world, model, many), **slow})

    def names(condition: str) -> list[str]:
        found = world.ok("GET", f"{world.parent}/batchPredictionJobs?filter={condition}")
        return [each["displayName"] for each in found.get("batchPredictionJobs", [])]

    assert names("") == ["slow", "monthly"]
    assert names('display_name="monthly" AND model_display_name="churn"') == ["monthly"]
    assert names('state="JOB_STATE_SUCCEEDED"') == ["monthly"]
    assert world.error("DELETE", second["name"])[0] == "FAILED_PRECONDITION"
    world.ok("POST", f"{second['name']}:cancel", {})
    cancelled = ended(world, second["name"])
    assert (cancelled["state"], cancelled["error"]["code"]) == ("JOB_STATE_CANCELLED", 1)
    assert "outputInfo" not in cancelled
    for name in (first["name"], second["name"]):
        world.done("DELETE", name)
    assert names("") == []
    assert world.error("GET", first["name"]) == ("NOT_FOUND", "The BatchPredictionJob does not exist.")


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"displayName": ""}, "INVALID_ARGUMENT", "batch_prediction_job.display_name"),
        ({"model": ""}, "INVALID_ARGUMENT", "batch_prediction_job.model"),
        ({"dedicatedResources": {}}, "INVALID_ARGUMENT", "machine_spec.machine_type"),
        ({"dedicatedResources": {"machineSpec": {"machineType": "n1"}}}, "INVALID_ARGUMENT", "n1"),
        ({"dedicatedResources": {**MACHINE, "startingReplicaCount": 99}}, "RESOURCE_EXHAUSTED", "99 were asked for"),
        ({"generateExplanation": True}, "UNIMPLEMENTED", "explanations (generate_explanation)"),
        ({"instanceConfig": {"keyField": "id"}}, "UNIMPLEMENTED", "conversions of instances (instance_config)"),
        ({"manualBatchTuningParameters": {"batchSize": -1}}, "INVALID_ARGUMENT", "batch_size must be positive"),
    ],
)
def test_jobs_that_cannot_be(world: World, change: dict[str, Any], code: str, says: str) -> None:
    model = f"{world.parent}/models/1"
    sent = {**body(world, model, f"gs://{world.bucket}/in.jsonl"), **change}
    found, message = world.error("POST", f"{world.parent}/batchPredictionJobs", sent)
    assert (found, says in message) == (code, True), message


@pytest.mark.parametrize(
    ("place", "change", "code", "says"),
    [
        ("inputConfig", {"instancesFormat": "tf-record", "gcsSource": {"uris": ["gs://b/x"]}}, "UNIMPLEMENTED", "csv"),
        ("inputConfig", {"instancesFormat": "bigquery", "bigquerySource": {}}, "UNIMPLEMENTED", "bigquery_source"),
        ("inputConfig", {"instancesFormat": "jsonl"}, "INVALID_ARGUMENT", "gcs_source"),
        ("inputConfig", {"instancesFormat": "jsonl", "gcsSource": {}}, "INVALID_ARGUMENT", "gcs_source.uris"),
        ("inputConfig", {"instancesFormat": "jsonl", "gcsSource": {"uris": ["/x"]}}, "INVALID_ARGUMENT", "gs://"),
        (
            "outputConfig",
            {"predictionsFormat": "csv", "gcsDestination": {"outputUriPrefix": "gs://b"}},
            "UNIMPLEMENTED",
            "'csv'",
        ),
    ],
)
def test_places_that_cannot_be(world: World, place: str, change: dict[str, Any], code: str, says: str) -> None:
    sent = {**body(world, f"{world.parent}/models/1", f"gs://{world.bucket}/in.jsonl"), place: change}
    found, message = world.error("POST", f"{world.parent}/batchPredictionJobs", sent)
    assert (found, says in message) == (code, True), message


def test_a_model_that_is_not_there(world: World) -> None:
    sent = body(world, f"{world.parent}/models/1", f"gs://{world.bucket}/in.jsonl")
    assert world.error("POST", f"{world.parent}/batchPredictionJobs", sent)[0] == "NOT_FOUND"
