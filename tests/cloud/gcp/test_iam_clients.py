"""Google's own client libraries against IAM: accounts, keys, roles, impersonation, denials, the audit trail."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from typing import Any

import pytest
from google.api_core.exceptions import Aborted, Forbidden, InvalidArgument, PermissionDenied
from google.auth.exceptions import RefreshError

from labkit.cloud.state import Lab

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
PROJECT = "mlops-lab"
_numbers = itertools.count(1)


@pytest.fixture
def iam(clouds: Lab) -> Any:
    from google.cloud import iam_admin_v1

    return iam_admin_v1.IAMClient()


@pytest.fixture
def account(iam: Any) -> str:
    """The address of a new service account without any role."""
    made = iam.create_service_account(
        name=f"projects/{PROJECT}", account_id=f"worker-{next(_numbers)}", service_account={"display_name": "Worker"}
    )
    assert made.email == f"{made.name.rpartition('/')[2]}"
    return str(made.email)


def key_of(iam: Any, email: str) -> Any:
    return iam.create_service_account_key(name=f"projects/-/serviceAccounts/{email}")


def credentials_of(key: Any) -> Any:
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_info(json.loads(key.private_key_data), scopes=SCOPES)


def bucket(name: str) -> Any:
    from google.cloud import storage

    made = storage.Client().bucket(name)
    made.iam_configuration.uniform_bucket_level_access_enabled = True
    made.create(location="us-central1")
    made.blob("a/1.csv").upload_from_string("x")
    return made


def grant(of: Any, role: str, email: str, condition: dict[str, str] | None = None) -> None:
    """Adds a binding to a bucket's policy, as one reads, modifies and writes it."""
    policy = of.get_iam_policy(requested_policy_version=3)
    policy.version = 3
    binding: dict[str, Any] = {"role": role, "members": {f"serviceAccount:{email}"}}
    policy.bindings.append(binding | ({"condition": condition} if condition else {}))
    of.set_iam_policy(policy)


def test_a_key_signs_in_until_it_is_deleted(iam: Any, account: str) -> None:
    from google.auth.transport.requests import Request
    from google.cloud import storage

    open_bucket = bucket(f"keys-{next(_numbers)}-lab")
    key = key_of(iam, account)
    credentials = credentials_of(key)
    reader = storage.Client(project=PROJECT, credentials=credentials)
    with pytest.raises(
        Forbidden, match=rf"{account} does not have storage\.objects\.get access to the Google Cloud St"
    ):
        reader.bucket(open_bucket.name).blob("a/1.csv").download_as_bytes()
    grant(open_bucket, "roles/storage.objectViewer", account)
    assert reader.bucket(open_bucket.name).blob("a/1.csv").download_as_bytes() == b"x"
    with pytest.raises(Forbidden, match=r"storage\.objects\.create"):
        reader.bucket(open_bucket.name).blob("a/2.csv").upload_from_string("y")

    iam.delete_service_account_key(name=key.name)
    with pytest.raises(RefreshError, match="Invalid JWT Signature"):
        credentials_of(key).refresh(Request())


def test_a_grpc_client_with_a_key_signs_its_own_tokens(iam: Any, account: str) -> None:
    from google.cloud import resourcemanager_v3
    from google.oauth2 import service_account

    info = json.loads(key_of(iam, account).private_key_data)
    projects = resourcemanager_v3.ProjectsClient(
        credentials=service_account.Credentials.from_service_account_info(info)
    )
    with pytest.raises(PermissionDenied) as caught:
        projects.get_project(name=f"projects/{PROJECT}")
    assert caught.value.reason == "IAM_PERMISSION_DENIED"
    assert caught.value.metadata["permission"] == "resourcemanager.projects.get"
    iam.disable_service_account(request={"name": f"projects/{PROJECT}/serviceAccounts/{account}"})
    with pytest.raises(Exception, match="invalid authentication credentials") as refused:
        projects.get_project(name=f"projects/{PROJECT}")
    assert "ACCOUNT_STATE_INVALID" in str(refused.value)


def test_impersonation_takes_the_token_creator_role(iam: Any, account: str) -> None:
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.transport.requests import Request
    from google.oauth2 import id_token

    source, _ = google.auth.default(scopes=SCOPES)
    impersonated = impersonated_credentials.Credentials(source, account, SCOPES, lifetime=600)
    with pytest.raises(RefreshError, match=r"iam\.serviceAccounts\.getAccessToken.*denied on resource"):
        impersonated.refresh(Request())
    resource = f"projects/{PROJECT}/serviceAccounts/{account}"
    policy = iam.get_iam_policy(request={"resource": resource})
    learner = "serviceAccount:learner@mlops-lab.iam.gserviceaccount.com"
    policy.bindings.add(role="roles/iam.serviceAccountTokenCreator", members=[learner])
    iam.set_iam_policy(request={"resource": resource, "policy": policy})
    impersonated.refresh(Request())
    assert impersonated.sign_bytes(b"payload")
    identity = impersonated_credentials.IDTokenCredentials(impersonated, "https://run.example", include_email=True)
    identity.refresh(Request())
    said = id_token.verify_oauth2_token(identity.token, Request(), "https://run.example")
    assert said["email"] == account


def test_a_policy_that_changed_meanwhile_is_not_overwritten(clouds: Lab, account: str) -> None:
    from google.cloud import resourcemanager_v3

    projects, resource = resourcemanager_v3.ProjectsClient(), f"projects/{PROJECT}"
    first = projects.get_iam_policy(resource=resource)
    stale = projects.get_iam_policy(resource=resource)
    first.bindings.add(role="roles/aiplatform.user", members=[f"serviceAccount:{account}"])
    projects.set_iam_policy(request={"resource": resource, "policy": first})
    stale.bindings.add(role="roles/aiplatform.viewer", members=[f"serviceAccount:{account}"])
    with pytest.raises(Aborted, match="There were concurrent policy changes"):
        projects.set_iam_policy(request={"resource": resource, "policy": stale})
    fresh = projects.get_iam_policy(resource=resource)
    fresh.bindings.add(role="roles/viewer", members=["serviceAccount:nobody@mlops-lab.iam.gserviceaccount.com"])
    with pytest.raises(InvalidArgument, match=r"Service account nobody@mlops-lab\.iam\..* does not exist"):
        projects.set_iam_policy(request={"resource": resource, "policy": fresh})


def test_a_custom_role_gives_what_it_includes(iam: Any, account: str) -> None:
    from google.cloud import resourcemanager_v3

    role_id = f"reader{next(_numbers)}"
    made = iam.create_role(
        request={
            "parent": f"projects/{PROJECT}",
            "role_id": role_id,
            "role": {"title": "Reads", "included_permissions": ["resourcemanager.projects.get"], "stage": "GA"},
        }
    )
    projects, resource = resourcemanager_v3.ProjectsClient(), f"projects/{PROJECT}"
    policy = projects.get_iam_policy(resource=resource)
    policy.bindings.add(role=made.name, members=[f"serviceAccount:{account}"])
    projects.set_iam_policy(request={"resource": resource, "policy": policy})
    worker = resourcemanager_v3.ProjectsClient(credentials=credentials_of(key_of(iam, account)))
    assert worker.get_project(name=resource).project_id == PROJECT
    asked = ["resourcemanager.projects.get", "resourcemanager.projects.delete"]
    assert list(worker.test_iam_permissions(resource=resource, permissions=asked).permissions) == asked[:1]
    owner = iam.get_role(request={"name": "roles/owner"}).included_permissions
    assert "aiplatform.endpoints.predict" in owner
    assert "iam.serviceAccounts.getAccessToken" not in owner


def test_a_denied_call_is_in_the_audit_log(iam: Any, account: str) -> None:
    from google.cloud import iam_admin_v1
    from google.cloud import logging as cloud_logging

    worker = iam_admin_v1.IAMClient(credentials=credentials_of(key_of(iam, account)))
    with pytest.raises(PermissionDenied, match=r"Permission 'iam\.serviceAccounts\.create' denied on resource"):
        worker.create_service_account(name=f"projects/{PROJECT}", account_id="an-intruder")
    asked = (
        f'logName="projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Factivity" AND protoPayload.status.code=7 '
        f'AND protoPayload.authenticationInfo.principalEmail="{account}"'
    )
    [entry] = cloud_logging.Client(project=PROJECT).list_entries(filter_=asked)
    said = entry.payload_json if hasattr(entry, "payload_json") else entry.payload
    assert said["methodName"] == "google.iam.admin.v1.CreateServiceAccount"
    assert said["authorizationInfo"] == [
        {"resource": f"projects/{PROJECT}", "permission": "iam.serviceAccounts.create"}
    ]
    assert entry.severity == "ERROR"


@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_the_gcloud_command_makes_an_account_and_binds_it(clouds: Lab) -> None:
    name = f"by-gcloud-{next(_numbers)}"
    email = f"{name}@{PROJECT}.iam.gserviceaccount.com"

    def gcloud(*arguments: str) -> str:
        done = subprocess.run(["gcloud", *arguments], capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        return done.stdout

    gcloud("iam", "service-accounts", "create", name, "--project", PROJECT, "--display-name", "Made by gcloud")
    binding = ("--member", f"serviceAccount:{email}", "--role", "roles/aiplatform.viewer", "--condition", "None")
    said = gcloud("projects", "add-iam-policy-binding", PROJECT, *binding)
    assert "roles/aiplatform.viewer" in said
