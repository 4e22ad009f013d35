"""What runs in an account's name may do what that account may; what is asked for it, and what is logged of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from labkit.cloud.gcp import GcpCloud
from labkit.cloud.gcp.identity import SCOPE
from tests.cloud.gcp.in_process import call
from tests.cloud.gcp.vertex_world import World

IAM, CREDENTIALS = "iam.googleapis.com", "iamcredentials.googleapis.com"


def account(world: World, name: str) -> str:
    return world.cloud.iam.accounts.create(world.project, name, "", "").email


def bearer(world: World, email: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.cloud.identities.tokens.issue(email, (SCOPE,))}"}


def grant(world: World, role: str, member: str, resource: str = "", host: str = "cloudresourcemanager") -> None:
    target = f"/{'v3' if host == 'cloudresourcemanager' else 'v1'}/{resource or f'projects/{world.project}'}"
    held = json.loads(bytes(call(world.cloud, "POST", f"{host}.googleapis.com", f"{target}:getIamPolicy").body))
    held.setdefault("bindings", []).append({"role": role, "members": [member]})
    answer = call(world.cloud, "POST", f"{host}.googleapis.com", f"{target}:setIamPolicy", {"policy": held})
    assert answer.status == 200, answer.body


def said(cloud: GcpCloud, method: str, host: str, target: str, body: Any, headers: dict[str, str]) -> tuple[int, str]:
    answer = call(cloud, method, host, target, body, headers=headers)
    content = json.loads(bytes(answer.body))  # type: ignore[arg-type]
    return answer.status, content.get("error", {}).get("message", "")


def test_a_model_whose_account_may_not_read_it_is_not_deployed(world: World) -> None:
    email = account(world, "runs-model")
    endpoint, model = world.endpoint(), world.upload()
    body = world.deployment(model, {"0": 100}, serviceAccount=email)
    code, message = world.error("POST", f"{endpoint}:deployModel", body)
    assert code == "FAILED_PRECONDITION"
    assert message.startswith(
        f"Service account `{email}` does not have `[storage.objects.get, storage.objects.list]` IAM permission(s) to "
        f'the directory "gs://{world.bucket}/models/'
    )
    assert world.deployed(endpoint) == []
    grant(world, "roles/storage.objectViewer", f"serviceAccount:{email}")
    assert world.deploy(endpoint, model, {"0": 100}, serviceAccount=email)


def test_a_model_is_uploaded_with_the_eyes_of_vertex_ais_own_account(world: World) -> None:
    agent = f"service-{world.number}@gcp-sa-aiplatform.iam.gserviceaccount.com"
    iam, name = world.cloud.iam, f"//cloudresourcemanager.googleapis.com/projects/{world.project}"
    held = iam.policies.get(name)
    assert held is not None
    kept = tuple(each for each in held.bindings if each.role != "roles/aiplatform.serviceAgent")
    iam.policies.set(name, type(held)(kept), version=3, etag=b"")
    model = {
        "displayName": "m",
        "containerSpec": {"imageUri": "us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest"},
        "artifactUri": f"gs://{world.bucket}/m",
    }
    code, message = world.error("POST", f"{world.parent}/models:upload", {"model": model})
    assert code == "FAILED_PRECONDITION"
    assert f"Service account `{agent}` does not have" in message


def test_handing_an_account_over_takes_act_as(world: World) -> None:
    deployer, runs = account(world, "deployer"), account(world, "runs-model")
    grant(world, "roles/aiplatform.user", f"serviceAccount:{deployer}")
    grant(world, "roles/storage.objectViewer", f"serviceAccount:{runs}")
    endpoint, model = world.endpoint(), world.upload()
    body = world.deployment(model, {"0": 100}, serviceAccount=runs)
    host, target = f"{world.region}-aiplatform.googleapis.com", f"/v1/{endpoint}:deployModel"
    status, message = said(world.cloud, "POST", host, target, body, bearer(world, deployer))
    expected = f"You do not have permission to act as service_account: {runs}. (or it may not exist)."
    assert (status, message) == (403, expected)
    resource = f"projects/{world.project}/serviceAccounts/{runs}"
    grant(world, "roles/iam.serviceAccountUser", f"serviceAccount:{deployer}", resource, "iam")
    assert said(world.cloud, "POST", host, target, body, bearer(world, deployer)) == (200, "")


def test_a_prediction_names_the_permission_that_is_missing(world: World) -> None:
    caller = account(world, "call-center")
    endpoint = world.endpoint((world.upload(), 100))
    host = f"{world.region}-aiplatform.googleapis.com"
    body = {"instances": [[0.1, 0.2, 0.3, 0.4]]}
    answer = call(world.cloud, "POST", host, f"/v1/{endpoint}:predict", body, headers=bearer(world, caller))
    error = json.loads(bytes(answer.body))["error"]  # type: ignore[arg-type]
    assert (answer.status, error["status"]) == (403, "PERMISSION_DENIED")
    assert error["message"] == (
        f"Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/{endpoint}' "
        "(or it may not exist)."
    )
    assert error["details"][0]["metadata"]["permission"] == "aiplatform.endpoints.predict"
    member, target = f"serviceAccount:{caller}", f"/v1beta1/{endpoint}:setIamPolicy"
    policy = {"policy": {"bindings": [{"role": "roles/aiplatform.user", "members": [member]}]}}
    assert call(world.cloud, "POST", host, target, policy).status == 200
    answer = call(world.cloud, "POST", host, f"/v1/{endpoint}:predict", body, headers=bearer(world, caller))
    assert answer.status == 200


def test_delegates_need_each_other(world: World) -> None:
    """https://cloud.google.com/iam/docs/create-short-lived-credentials-delegated"""
    first, second, last = (account(world, name) for name in ("first-one", "second-one", "last-one"))
    target = f"/v1/projects/-/serviceAccounts/{last}:generateAccessToken"
    body = {"scope": [SCOPE], "delegates": [f"projects/-/serviceAccounts/{second}"]}

    def ask() -> tuple[int, str]:
        return said(world.cloud, "POST", CREDENTIALS, target, body, bearer(world, first))

    creator, base = "roles/iam.serviceAccountTokenCreator", f"projects/{world.project}/serviceAccounts"
    assert "iam.serviceAccounts.implicitDelegation" in ask()[1]
    grant(world, creator, f"serviceAccount:{first}", f"{base}/{second}", "iam")
    assert "iam.serviceAccounts.getAccessToken" in ask()[1]
    grant(world, creator, f"serviceAccount:{second}", f"{base}/{last}", "iam")
    assert ask() == (200, "")


def test_reads_are_logged_only_where_the_policy_asks_for_it(world: World) -> None:
    log = "cloudaudit.googleapis.com%2Fdata_access"
    reader = account(world, "reads-logs")

    def logged(headers: dict[str, str] | None = None) -> list[Any]:
        body = {
            "resourceNames": [f"projects/{world.project}"],
            "filter": f'logName="projects/{world.project}/logs/{log}"',
        }
        answer = call(world.cloud, "POST", "logging.googleapis.com", "/v2/entries:list", body, headers=headers)
        return list(json.loads(bytes(answer.body)).get("entries", []))  # type: ignore[arg-type]

    target = f"/storage/v1/b/{world.bucket}/o"
    call(world.cloud, "GET", "storage.googleapis.com", target)
    assert logged() == []
    configs = [{"service": "storage.googleapis.com", "auditLogConfigs": [{"logType": "DATA_READ"}]}]
    call(
        world.cloud,
        "POST",
        "cloudresourcemanager.googleapis.com",
        f"/v1/projects/{world.project}:setIamPolicy",
        {"policy": {"auditConfigs": configs}, "updateMask": "auditConfigs"},
    )
    call(world.cloud, "GET", "storage.googleapis.com", target)
    [entry] = logged()
    assert entry["protoPayload"]["methodName"] == "storage.objects.list"
    assert entry["protoPayload"]["authorizationInfo"][0]["granted"] is True
    grant(world, "roles/logging.viewer", f"serviceAccount:{reader}")
    assert logged(bearer(world, reader)) == []
    grant(world, "roles/logging.privateLogViewer", f"serviceAccount:{reader}")
    assert len(logged(bearer(world, reader))) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"service": "nonsense"}, "Audit logs of nonsense cannot be configured"),
        ({}, "has to name a service"),
        ({"auditLogConfigs": [{}]}, "The log type has to be one of ADMIN_READ, DATA_READ, DATA_WRITE."),
        (
            {"auditLogConfigs": [{"logType": "DATA_READ", "exemptedMembers": ["jo"]}]},
            "The member jo is of an unknown type",
        ),
    ],
)
def test_audit_configurations_that_cannot_be(world: World, config: dict[str, Any], message: str) -> None:
    if "auditLogConfigs" in config:
        config = {"service": "allServices", **config}
    target = f"/v1/projects/{world.project}:setIamPolicy"
    body = {"policy": {"auditConfigs": [config]}, "updateMask": "auditConfigs"}
    status, found = said(world.cloud, "POST", "cloudresourcemanager.googleapis.com", target, body, {})
    assert (status, message in found) == (400, True)


def activity(world: World, filter_: str) -> list[dict[str, Any]]:
    """The payloads of the project's Admin Activity that a filter means."""
    body = {
        "resourceNames": [f"projects/{world.project}"],
        "filter": f'log_id("cloudaudit.googleapis.com/activity") AND {filter_}',
    }
    answer = call(world.cloud, "POST", "logging.googleapis.com", "/v2/entries:list", body)
    return list(json.loads(bytes(answer.body)).get("entries", []))  # type: ignore[arg-type]


def test_the_log_names_who_had_a_token_made(world: World) -> None:
    """https://cloud.google.com/iam/docs/audit-logging/examples-service-accounts"""
    first, second, last = (account(world, name) for name in ("first-one", "second-one", "last-one"))
    creator, base = "roles/iam.serviceAccountTokenCreator", f"projects/{world.project}/serviceAccounts"
    grant(world, creator, f"serviceAccount:{first}", f"{base}/{second}", "iam")
    grant(world, creator, f"serviceAccount:{second}", f"{base}/{last}", "iam")
    target = f"/v1/projects/-/serviceAccounts/{last}:generateAccessToken"
    body = {"scope": [SCOPE], "delegates": [f"projects/-/serviceAccounts/{second}"]}
    made = call(world.cloud, "POST", CREDENTIALS, target, body, headers=bearer(world, first))
    token = json.loads(bytes(made.body))["accessToken"]  # type: ignore[arg-type]
    headers = {"Authorization": f"Bearer {token}"}
    call(
        world.cloud,
        "POST",
        IAM,
        f"/v1/projects/{world.project}/serviceAccounts",
        {"accountId": "denied"},
        headers=headers,
    )
    (entry,) = activity(world, "protoPayload.status.code=7")
    who = entry["protoPayload"]["authenticationInfo"]
    assert (who["principalEmail"], who["principalSubject"]) == (last, f"serviceAccount:{last}")
    delegation = [each["firstPartyPrincipal"]["principalEmail"] for each in who["serviceAccountDelegationInfo"]]
    assert delegation == [first, second]
    assert "serviceAccountKeyName" not in who


def test_the_log_names_the_key_that_a_token_was_given_for(world: World) -> None:
    email = account(world, "has-a-key")
    key = "//iam.googleapis.com/projects/p/serviceAccounts/e/keys/k"
    token = world.cloud.identities.tokens.issue(email, (SCOPE,), key=key)
    target, headers = f"/v1/projects/{world.project}/serviceAccounts", {"Authorization": f"Bearer {token}"}
    call(world.cloud, "POST", IAM, target, {"accountId": "denied"}, headers=headers)
    (entry,) = activity(world, "protoPayload.status.code=7")
    assert entry["protoPayload"]["authenticationInfo"]["serviceAccountKeyName"] == key


def test_the_log_names_who_was_given_which_role(world: World) -> None:
    email = account(world, "is-granted")
    grant(world, "roles/viewer", f"serviceAccount:{email}")
    (entry,) = activity(world, 'protoPayload.methodName="SetIamPolicy"')
    data = entry["protoPayload"]["serviceData"]
    assert data["@type"] == "type.googleapis.com/google.iam.v1.logging.AuditData"
    assert data["policyDelta"] == {
        "bindingDeltas": [{"action": "ADD", "role": "roles/viewer", "member": f"serviceAccount:{email}"}]
    }
    by_delta = f'protoPayload.serviceData.policyDelta.bindingDeltas.member="serviceAccount:{email}"'
    assert len(activity(world, by_delta)) == 1


def test_the_log_names_what_was_made_and_shows_no_key(world: World) -> None:
    target = f"/v1/projects/{world.project}/serviceAccounts"
    made = call(world.cloud, "POST", IAM, target, {"accountId": "was-made"})
    email = json.loads(bytes(made.body))["email"]  # type: ignore[arg-type]
    key = json.loads(bytes(call(world.cloud, "POST", IAM, f"{target}/{email}/keys").body))  # type: ignore[arg-type]
    account_made, key_made = activity(world, 'resource.type="service_account"')
    assert account_made["resource"]["labels"]["email_id"] == email
    assert account_made["protoPayload"]["response"]["email"] == email
    assert key_made["protoPayload"]["response"]["name"] == key["name"]
    assert key["privateKeyData"] not in json.dumps(key_made)
    name, host = f"{world.project}-made", "storage.googleapis.com"
    assert call(world.cloud, "POST", host, f"/storage/v1/b?project={world.project}", {"name": name}).status == 200
    (bucket,) = activity(world, 'protoPayload.methodName="storage.buckets.create"')
    assert bucket["protoPayload"]["resourceName"] == f"projects/_/buckets/{name}"
    assert bucket["resource"]["labels"]["bucket_name"] == name


@pytest.mark.parametrize(
    ("account_id", "message"),
    [
        ("short", 'The account ID "short" does not have a length between 6 and 30.'),
        ("Has-Capitals", 'The account ID "Has-Capitals" does not have the form'),
    ],
)
def test_account_ids_that_cannot_be(world: World, account_id: str, message: str) -> None:
    target = f"/v1/projects/{world.project}/serviceAccounts"
    status, found = said(world.cloud, "POST", IAM, target, {"accountId": account_id}, {})
    assert status == 400
    assert found.startswith(message)


def test_a_key_is_answered_once_and_can_be_disabled(world: World) -> None:
    from google.auth import jwt
    from google.auth.crypt import RSASigner

    email = account(world, "has-a-key")
    target = f"/v1/projects/-/serviceAccounts/{email}/keys"
    made = json.loads(bytes(call(world.cloud, "POST", IAM, target).body))  # type: ignore[arg-type]
    info = json.loads(base64.b64decode(made["privateKeyData"]))
    import time
    from urllib.parse import urlencode

    now = int(time.time())
    claims = {"iss": email, "scope": SCOPE, "aud": info["token_uri"], "iat": now, "exp": now + 600}
    assertion = jwt.encode(RSASigner.from_service_account_info(info), claims).decode()
    form = urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}).encode()

    def exchange() -> dict[str, Any]:
        answer = call(world.cloud, "POST", "oauth2.googleapis.com", "/token", form)
        content: dict[str, Any] = json.loads(bytes(answer.body))  # type: ignore[arg-type]
        return content

    assert exchange()["token_type"] == "Bearer"
    key = made["name"].replace(f"projects/{world.project}", "projects/-")
    shown = json.loads(bytes(call(world.cloud, "GET", IAM, f"/v1/{key}").body))  # type: ignore[arg-type]
    assert "privateKeyData" not in shown
    call(world.cloud, "POST", IAM, f"/v1/{key}:disable", {})
    assert exchange() == {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
