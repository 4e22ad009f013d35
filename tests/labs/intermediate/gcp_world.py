"""The lab's project in as few calls as its checks need: account, bucket, pipelines of small tasks, versions."""

# KFP reads the annotations of components, which may not be texts: this file does without postponed ones.
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.cloud import storage
from kfp import compiler, dsl

from labkit.labs.intermediate.gcp_project import Project
from tests.waiting import eventually

IMAGE = "us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest"
ENDED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @dsl.component(base_image="python:3.11")
    def prepare(data: str) -> int:
        if "broken" in data:
            raise ValueError("The data has no column churn.")
        return 1

    @dsl.component(base_image="python:3.11")
    def evaluate(rows: int, kind: str) -> float:
        return 0.8 if kind == "linear" else 0.92

    @dsl.component(base_image="python:3.11")
    def register(version: str) -> str:
        return version


def pipeline(inside: Callable[[Any, Any, Any], None], threshold: float = 0.85) -> dict[str, Any]:
    """A compiled pipeline: ``inside(auc, auc_threshold, version)`` writes its end."""

    @dsl.pipeline(name="churn-monthly")
    def churn_monthly(
        data: str, version: str = "", kind: str = "forest", trees: int = 100, auc_threshold: float = threshold
    ):
        prepared = prepare(data=data)
        measured = evaluate(rows=prepared.output, kind=kind)
        inside(measured.output, auc_threshold, version)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "churn.json"
        compiler.Compiler().compile(churn_monthly, str(file))
        spec: dict[str, Any] = json.loads(file.read_text())
    return spec


def gated(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(auc > threshold, name="gate"):
        register(version=version)


def beside(auc: Any, threshold: Any, version: Any) -> None:
    with dsl.If(auc > threshold):
        evaluate(rows=1, kind="none")
    register(version=version)


def done(operation: dict[str, Any]) -> dict[str, Any]:
    """Waits for an operation: its response."""
    while not operation.get("done"):
        operation = Project().vertex("POST", f"{operation['name']}:wait", json={"timeout": "10s"})
    assert "error" not in operation, operation
    response: dict[str, Any] = operation["response"]
    return response


def bucket() -> storage.Bucket:
    made = storage.Client().bucket(Project().bucket)
    if not made.exists():
        made.iam_configuration.uniform_bucket_level_access_enabled = True
        made.create(location="us-central1")
    return made


def account(in_bucket: str = "roles/storage.objectAdmin", in_project: str = "roles/aiplatform.user") -> None:
    """Makes the pipeline's account and binds it; ``""`` binds nothing."""
    project = Project()
    accounts = f"https://iam.googleapis.com/v1/projects/{project.project}/serviceAccounts"
    project.call("POST", accounts, json={"accountId": "churn-pipeline"})
    member = f"serviceAccount:{project.pipeline_account}"
    there = bucket()
    if in_bucket:
        policy = there.get_iam_policy(requested_policy_version=3)
        policy.bindings.append({"role": in_bucket, "members": {member}})
        there.set_iam_policy(policy)
    if in_project:
        bind(in_project, member)


def bind(role: str, member: str) -> None:
    """One more binding in the project's policy."""
    project = Project()
    policy = project.project_policy()
    policy["bindings"].append({"role": role, "members": [member]})
    resource = f"https://cloudresourcemanager.googleapis.com/v3/projects/{project.project}"
    project.call("POST", f"{resource}:setIamPolicy", json={"policy": policy})


def job(spec: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A run's description, as it is sent."""
    project = Project()
    return {
        "displayName": "churn-monthly",
        "pipelineSpec": spec,
        "serviceAccount": project.pipeline_account,
        "runtimeConfig": {
            "gcsOutputDirectory": f"gs://{project.bucket}",
            "parameterValues": {"data": f"gs://{project.bucket}/history", **values},
        },
    }


def run(described: dict[str, Any], identifier: str = "") -> dict[str, Any]:
    """Starts a run and waits for its end."""
    project = Project()
    query = {"pipelineJobId": identifier} if identifier else {}
    made = project.vertex("POST", f"{project.location}/pipelineJobs", json=described, params=query)

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = project.vertex("GET", made["name"])
        return found if found["state"] in ENDED else None

    return eventually(ended, 120)


def version(file: Path, folder: str = "models/one") -> str:
    """A version of the model churn, made from the file: ``projects/../models/ID@VERSION``."""
    project = Project()
    bucket().blob(f"{folder}/model.joblib").upload_from_filename(str(file))
    known = project.named("models", "churn")
    asked: dict[str, Any] = {
        "model": {
            "displayName": "churn",
            "artifactUri": f"gs://{project.bucket}/{folder}",
            "containerSpec": {"imageUri": IMAGE},
            "versionAliases": ["candidate"],
        }
    }
    if known:
        asked["parentModel"] = known[0]["name"]
    made = done(project.vertex("POST", f"{project.location}/models:upload", json=asked))
    return f"{made['model']}@{made['modelVersionId']}"


def alias(name: str, *aliases: str) -> None:
    Project().vertex("POST", f"{name}:mergeVersionAliases", json={"versionAliases": list(aliases)})


def deploy(model: str, share: int = 100) -> str:
    """Deploys a version at a new endpoint ``churn-champion``; returns the endpoint's name."""
    project = Project()
    made = project.vertex("POST", f"{project.location}/endpoints", json={"displayName": "churn-champion"})
    endpoint = str(done(made)["name"])
    machine = {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1, "maxReplicaCount": 1}
    asked = {
        "deployedModel": {"model": model, "dedicatedResources": machine},
        "trafficSplit": {"0": 100} if share else {},
    }
    done(project.vertex("POST", f"{endpoint}:deployModel", json=asked))
    return endpoint


def delete_endpoint(name: str) -> None:
    project = Project()
    for each in project.vertex("GET", name).get("deployedModels", []):
        done(project.vertex("POST", f"{name}:undeployModel", json={"deployedModelId": each["id"]}))
    done(project.vertex("DELETE", name))


def schedule(described: dict[str, Any], **changed: Any) -> str:
    """Makes the schedule, right but for what is ``changed``; returns its name."""
    project = Project()
    asked = {
        "displayName": "churn-monthly",
        "cron": "TZ=Europe/Berlin 0 6 1 * *",
        "maxConcurrentRunCount": "1",
        "createPipelineJobRequest": {"parent": project.location, "pipelineJob": described},
        **changed,
    }
    return str(project.vertex("POST", f"{project.location}/schedules", json=asked)["name"])


def uncached(spec: dict[str, Any]) -> dict[str, Any]:
    """The same pipeline with no results from the cache."""
    copied: dict[str, Any] = json.loads(json.dumps(spec))
    for task in copied["root"]["dag"]["tasks"].values():
        task["cachingOptions"] = {}
    return copied
