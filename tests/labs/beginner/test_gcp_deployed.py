"""The checks of ``beginner/gcp`` that look at a model in the registry and on an endpoint, and at what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.cloud import storage

from labkit.labs.beginner import gcp_checks
from labkit.labs.beginner.gcp_cloud import Cloud
from labkit.labs.task import NotAttempted, Work, Wrong

CLOUD = "gcp"
BUCKET = "mlops-lab-churn-lab"
FOLDER = f"gs://{BUCKET}/models/churn"
IMAGE = "us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest"
ACCOUNT = "churn-lab-endpoint@mlops-lab.iam.gserviceaccount.com"


@pytest.fixture(autouse=True)
def _clouds(empty_clouds: Any) -> None:
    """Every test has empty clouds of the module's own."""


def done(cloud: Cloud, operation: dict[str, Any]) -> dict[str, Any]:
    """Waits for an operation: its response."""
    while not operation.get("done"):
        operation = cloud.vertex("POST", f"{operation['name']}:wait", json={"timeout": "10s"})
    assert "error" not in operation, operation
    response: dict[str, Any] = operation["response"]
    return response


def register(work: Work, **changed: Any) -> str:
    """Uploads the file and registers the model, right but for what is ``changed``; returns the model's name."""
    bucket = storage.Client().bucket(BUCKET)
    if not bucket.exists():
        bucket.create(location="us-central1")
        bucket.blob("models/churn/model.joblib").upload_from_filename(work.folder / "build" / "model.joblib")
    cloud = Cloud()
    model = {
        "displayName": "churn",
        "artifactUri": FOLDER,
        "containerSpec": {"imageUri": IMAGE},
        "labels": {"team": "retention"},
        "versionAliases": ["champion"],
        **changed,
    }
    name: str = done(cloud, cloud.vertex("POST", f"{cloud.location}/models:upload", json={"model": model}))["model"]
    return name


def make_account() -> None:
    """The model's service account, which may read the bucket."""
    iam = f"https://iam.googleapis.com/v1/projects/{Cloud().project}/serviceAccounts"
    Cloud().call("POST", iam, json={"accountId": "churn-lab-endpoint"})
    bucket = storage.Client().bucket(BUCKET)
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": {f"serviceAccount:{ACCOUNT}"}})
    bucket.set_iam_policy(policy)


def deploy(model: str, *, share: int = 100, account: str = ACCOUNT, name: str = "churn-api") -> str:
    """Makes an endpoint and deploys the model on it; returns the endpoint's name."""
    cloud = Cloud()
    if account and account not in cloud.accounts():
        make_account()
    made = cloud.vertex("POST", f"{cloud.location}/endpoints", json={"displayName": name})
    endpoint: str = done(cloud, made)["name"]
    machine = {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1, "maxReplicaCount": 1}
    deployed = {"model": model, "dedicatedResources": machine, "serviceAccount": account}
    asked = {"deployedModel": deployed, "trafficSplit": {"0": 100} if share else {}}
    done(cloud, cloud.vertex("POST", f"{endpoint}:deployModel", json=asked))
    return endpoint


# register ----------------------------------------------------------------------------------------------------------


def test_register_right(served: Work) -> None:
    register(served)
    assert gcp_checks.register(served) == f"the model churn, version 1 with the alias champion, from {FOLDER}"


def test_register_not_attempted(served: Work) -> None:
    register(served, displayName="another-teams")
    with pytest.raises(NotAttempted, match="no model named churn in us-central1"):
        gcp_checks.register(served)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"labels": {}}, "the labels {}"),
        ({"labels": {"team": "billing"}}, '"team": "billing"'),
        ({"versionAliases": []}, "the aliases default on version 1"),
    ],
)
def test_a_model_with_another_name_tag_is_wrong(served: Work, changed: dict[str, Any], found: str) -> None:
    register(served, **changed)
    with pytest.raises(Wrong, match=found):
        gcp_checks.register(served)


def test_a_model_from_another_folder_is_wrong(served: Work) -> None:
    register(served, displayName="first")
    blob = storage.Client().bucket(BUCKET).blob("old/model.joblib")
    blob.upload_from_filename(served.folder / "build" / "model.joblib")
    register(served, artifactUri=f"gs://{BUCKET}/old")
    with pytest.raises(Wrong, match=f"a model from gs://{BUCKET}/old"):
        gcp_checks.register(served)


# endpoint ----------------------------------------------------------------------------------------------------------


def test_endpoint_right(served: Work) -> None:
    deploy(register(served))
    assert gcp_checks.endpoint(served) == (
        "the endpoint churn-api, and its answers for 20 customers equal to the saved model's"
    )


def test_endpoint_not_attempted(served: Work) -> None:
    register(served)
    with pytest.raises(NotAttempted, match="no endpoint named churn-api"):
        gcp_checks.endpoint(served)


def test_an_endpoint_without_a_model_is_wrong(served: Work) -> None:
    register(served)
    cloud = Cloud()
    done(cloud, cloud.vertex("POST", f"{cloud.location}/endpoints", json={"displayName": "churn-api"}))
    with pytest.raises(Wrong, match="an endpoint churn-api without a model"):
        gcp_checks.endpoint(served)


def test_a_model_without_traffic_is_wrong(served: Work) -> None:
    deploy(register(served), share=0)
    with pytest.raises(Wrong, match="0 % of the traffic"):
        gcp_checks.endpoint(served)


def test_the_default_account_is_wrong(served: Work) -> None:
    deploy(register(served), account="")
    with pytest.raises(Wrong, match="runs as the default service account"):
        gcp_checks.endpoint(served)


def test_another_model_on_the_endpoint_is_wrong(served: Work) -> None:
    deploy(register(served, displayName="another"))
    register(served)
    with pytest.raises(Wrong, match="another model on it"):
        gcp_checks.endpoint(served)


def test_an_older_file_on_the_endpoint_is_wrong(served: Work, weaker_file: Path) -> None:
    deploy(register(served))
    (served.folder / "build" / "model.joblib").write_bytes(weaker_file.read_bytes())
    with pytest.raises(Wrong, match="for customer 1, for whom the saved model says"):
        gcp_checks.endpoint(served)


# rest --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def deployed(served: Work) -> Work:
    deploy(register(served))
    return served


def change(work: Work, old: str, new: str) -> None:
    script = work.folder / "client.py"
    assert old in script.read_text()
    script.write_text(script.read_text().replace(old, new))


def test_rest_right(deployed: Work) -> None:
    assert gcp_checks.rest(deployed) == "a client.py that brings its own token and gets what the SDK gets"


def test_rest_not_attempted(served: Work) -> None:
    (served.folder / "client.py").unlink()
    with pytest.raises(NotAttempted, match=r"no file gcp/client\.py"):
        gcp_checks.rest(served)


def test_rest_without_a_token_is_not_attempted(deployed: Work) -> None:
    change(deployed, '    return {"Authorization": f"Bearer {credentials.token}"}\n', "")
    with pytest.raises(NotAttempted, match="UNAUTHENTICATED"):
        gcp_checks.rest(deployed)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("Bearer {credentials.token}", "Bearer wrong", "whose token is not accepted"),
        ("import requests\n", "import requests\nfrom google.cloud import aiplatform\n", "uses the SDK"),
        (":predict", ":predictions", "ends with status 1"),
        ("import requests\n", "import request\n", "No module named 'request'"),
        ("print(answer.text)", "print(answer.json()['predictions'])", "the answer"),
    ],
    ids=["token", "sdk", "url", "import", "form"],
)
def test_rest_wrong(deployed: Work, old: str, new: str, found: str) -> None:
    change(deployed, old, new)
    with pytest.raises(Wrong, match=found):
        gcp_checks.rest(deployed)


# cleanup -----------------------------------------------------------------------------------------------------------


def use(work: Work, endpoint: str) -> None:
    Cloud().predict(endpoint, json.loads((work.folder / "sample.json").read_text())["instances"])


def remove_endpoint(name: str) -> None:
    cloud = Cloud()
    for deployed in cloud.vertex("GET", name).get("deployedModels", []):
        asked = {"deployedModelId": deployed["id"]}
        done(cloud, cloud.vertex("POST", f"{name}:undeployModel", json=asked))
    done(cloud, cloud.vertex("DELETE", name))


def test_cleanup_right_and_not_before_everything_is_gone(served: Work) -> None:
    model = register(served)
    endpoint = deploy(model)
    use(served, endpoint)
    everything = (
        f"the endpoint churn-api, the model churn, the bucket {BUCKET} and the service account churn-lab-endpoint"
    )
    with pytest.raises(NotAttempted, match=f"{everything} still there"):
        gcp_checks.cleanup(served)
    remove_endpoint(endpoint)
    with pytest.raises(Wrong, match="the model churn, the bucket"):
        gcp_checks.cleanup(served)
    cloud = Cloud()
    done(cloud, cloud.vertex("DELETE", model))
    with pytest.raises(Wrong, match=f"the bucket {BUCKET} and the service account churn-lab-endpoint still there"):
        gcp_checks.cleanup(served)
    storage.Client().bucket(BUCKET).delete(force=True)
    with pytest.raises(Wrong, match="the service account churn-lab-endpoint still there"):
        gcp_checks.cleanup(served)
    cloud.call("DELETE", f"https://iam.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}")
    assert gcp_checks.cleanup(served) == "no endpoint, model, bucket or service account of this lab left"


def test_cleanup_before_anything_was_done_is_not_attempted(served: Work) -> None:
    with pytest.raises(NotAttempted, match="no trace of calls to an endpoint"):
        gcp_checks.cleanup(served)


def test_a_broken_model_that_is_left_is_wrong(served: Work) -> None:
    register(served, displayName="churn-broken")
    with pytest.raises(Wrong, match=r"the model churn-broken and the bucket .* still there"):
        gcp_checks.cleanup(served)
