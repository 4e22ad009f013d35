"""The account that the pipeline acts as, and what is left in the end."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.labs.intermediate import gcp_access
from labkit.labs.intermediate.gcp_project import Project
from labkit.labs.task import NotAttempted, Wrong
from tests.labs.intermediate import gcp_world

WORK: Any = None
MEMBER = "serviceAccount:churn-pipeline@mlops-lab.iam.gserviceaccount.com"


@pytest.fixture(autouse=True)
def _clouds(empty_clouds: Any) -> None:
    """Every test has empty clouds of the module's own."""


def test_role_right() -> None:
    gcp_world.account()
    assert gcp_access.role(WORK) == (
        "churn-pipeline with roles/storage.objectAdmin in the bucket and roles/aiplatform.user in the project"
    )


def test_role_not_attempted() -> None:
    gcp_world.bucket()
    with pytest.raises(NotAttempted, match="no service account churn-pipeline@mlops-lab"):
        gcp_access.role(WORK)


@pytest.mark.parametrize(
    ("in_bucket", "in_project", "found"),
    [
        ("", "roles/aiplatform.user", "no role in the bucket"),
        ("roles/storage.objectAdmin", "", "no role in the project"),
        ("roles/storage.objectViewer", "roles/aiplatform.user", r"roles/storage\.objectViewer in the bucket"),
        ("roles/storage.objectAdmin", "roles/editor", r"roles/editor in the project for churn-pipeline"),
    ],
)
def test_other_roles_are_wrong(in_bucket: str, in_project: str, found: str) -> None:
    gcp_world.account(in_bucket, in_project)
    with pytest.raises(Wrong, match=found):
        gcp_access.role(WORK)


def test_one_role_more_is_wrong() -> None:
    gcp_world.account()
    gcp_world.bind("roles/editor", MEMBER)
    with pytest.raises(Wrong, match=r"roles/editor in the project too"):
        gcp_access.role(WORK)


def test_a_role_on_a_condition_is_wrong() -> None:
    gcp_world.account(in_bucket="")
    bucket = gcp_world.bucket()
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.version = 3
    until = {"title": "today", "expression": 'request.time < timestamp("2020-01-01T00:00:00Z")'}
    policy.bindings.append({"role": "roles/storage.objectAdmin", "members": {MEMBER}, "condition": until})
    bucket.set_iam_policy(policy)
    with pytest.raises(Wrong, match=r"roles/storage\.objectAdmin in the bucket on a condition"):
        gcp_access.role(WORK)


def test_a_policy_that_was_replaced_is_wrong() -> None:
    gcp_world.account()
    bucket = gcp_world.bucket()
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings = [each for each in policy.bindings if each["role"] == "roles/storage.objectAdmin"]
    bucket.set_iam_policy(policy)
    with pytest.raises(Wrong, match="has lost the project's owners") as wrong:
        gcp_access.role(WORK)
    assert "get_iam_policy" in wrong.value.hint


def test_cleanup_before_anything_ran_is_not_attempted() -> None:
    with pytest.raises(NotAttempted, match="no trace of a pipeline's jobs"):
        gcp_access.cleanup(WORK)
    gcp_world.bucket()
    with pytest.raises(NotAttempted, match="the bucket mlops-lab-churn-pipeline still there"):
        gcp_access.cleanup(WORK)


def test_cleanup() -> None:
    project = Project()
    gcp_world.account()
    made = gcp_world.run(gcp_world.job(gcp_world.pipeline(lambda *_: None)))
    endpoint = gcp_world.done(
        project.vertex("POST", f"{project.location}/endpoints", json={"displayName": "churn-champion"})
    )["name"]
    with pytest.raises(NotAttempted, match="the endpoint churn-champion, 1 run of churn-monthly, the bucket"):
        gcp_access.cleanup(WORK)
    gcp_world.delete_endpoint(endpoint)
    gcp_world.done(project.vertex("DELETE", made["name"]))
    gcp_world.bucket().delete(force=True)
    with pytest.raises(Wrong, match=r"the service account churn-pipeline and roles/aiplatform\.user for it"):
        gcp_access.cleanup(WORK)
    policy = project.project_policy()
    policy["bindings"] = [each for each in policy["bindings"] if MEMBER not in each["members"]]
    resource = f"https://cloudresourcemanager.googleapis.com/v3/projects/{project.project}"
    project.call("POST", f"{resource}:setIamPolicy", json={"policy": policy})
    account = f"https://iam.googleapis.com/v1/projects/{project.project}/serviceAccounts/{project.pipeline_account}"
    project.call("DELETE", account)
    assert "account of this lab left" in gcp_access.cleanup(WORK)
