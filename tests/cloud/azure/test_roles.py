"""Role definitions and assignments, through Resource Manager and its SDK, and calls that roles allow or not."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud, roles
from tests.cloud.azure import principals
from tests.cloud.azure.in_process import Rest, call, raised, token
from tests.cloud.azure.principals import STORAGE, Principal, assign

VERSION = "2022-04-01"
READER = roles.named("Reader").guid


@pytest.fixture
def someone(cloud: AzureCloud, name: str) -> Iterator[Principal]:
    """A service principal without a role."""
    made = principals.make(cloud, name)
    yield made
    for each in cloud.authorization.of(made.object_id):
        cloud.authorization.remove(each)


def definition(rest: Rest, guid: str, **properties: Any) -> tuple[int, Any]:
    """Makes a custom role in the lab's group."""
    body = {
        "properties": {
            "roleName": f"role {guid}",
            "type": "CustomRole",
            "assignableScopes": [rest.group],
            "permissions": [{"actions": ["*/read"]}],
            **properties,
        }
    }
    path = f"{rest.group}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
    return rest("PUT", path, body, version=VERSION)[:2]


def test_the_sdk_gives_lists_and_takes_roles(reached: AzureCloud, rest: Rest, someone: Principal) -> None:
    from azure.identity import DefaultAzureCredential
    from azure.mgmt.authorization import AuthorizationManagementClient

    client = AuthorizationManagementClient(DefaultAzureCredential(), reached.identities.subscription)
    (role,) = client.role_definitions.list(rest.group, filter="roleName eq 'Storage Blob Data Reader'")
    assert role.permissions[0].data_actions == ["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"]
    name = str(uuid.uuid4())
    given = {"role_definition_id": role.id, "principal_id": someone.object_id, "principal_type": "ServicePrincipal"}
    made = client.role_assignments.create(rest.group, name, given)
    assert (made.scope, made.role_definition_id, made.principal_id) == (rest.group, role.id, someone.object_id)
    for listed in (
        client.role_assignments.list_for_scope(rest.workspace, filter=f"principalId eq '{someone.object_id}'"),
        client.role_assignments.list_for_scope(rest.workspace, filter=f"principalId eq {someone.object_id}"),
        client.role_assignments.list_for_subscription(filter=f"assignedTo('{someone.object_id}')"),
        client.role_assignments.list_for_resource_group("learning", filter="atScope()"),
    ):
        assert name in [each.name for each in listed]
    assert list(client.deny_assignments.list_for_scope(rest.group)) == []
    assert client.role_assignments.get_by_id(made.id).name == name
    assert client.role_assignments.delete(rest.group, name).name == name
    assert client.role_assignments.delete(rest.group, name) is None
    assert raised(lambda: client.role_assignments.get(rest.group, name)).error.code == "RoleAssignmentNotFound"


def test_a_filter_is_not_split_within_a_name(rest: Rest) -> None:
    path = f"{rest.group}/providers/Microsoft.Authorization/roleDefinitions"
    query = "roleName eq 'Reader and Data Access' and type eq 'BuiltInRole'".replace(" ", "%20")
    _, listed, _ = rest("GET", path, version=VERSION, **{"$filter": query})
    assert [each["properties"]["roleName"] for each in listed["value"]] == ["Reader and Data Access"]


def test_the_learner_is_an_administrator(rest: Rest, cloud: AzureCloud) -> None:
    mine = f"principalId eq '{cloud.identities.learner.object_id}'"
    path = f"{rest.subscription}/providers/Microsoft.Authorization/roleAssignments"
    _, listed, _ = rest("GET", path, version=VERSION, **{"$filter": mine.replace(" ", "%20")})
    given = {each["properties"]["roleDefinitionId"].rpartition("/")[2]: each["id"] for each in listed["value"]}
    owner, data = roles.named("Owner").guid, roles.named("Storage Blob Data Owner").guid
    assert given.keys() == {owner, data}
    status, _, message = rest.error("DELETE", given[owner], version=VERSION)
    assert (status, message) == (403, "Cannot delete the last RBAC admin assignment.")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"guid": "00000000-0000-0000-0000-000000000000"}, 404, "RoleDefinitionDoesNotExist"),
        ({"principal": "00000000-0000-0000-0000-000000000000"}, 400, "PrincipalNotFound"),
        ({"name": "no-guid"}, 400, "InvalidRoleAssignmentId"),
        ({"principalType": "User"}, 400, "UnmatchedPrincipalType"),
        ({"condition": "@Resource[x] StringEquals 'y'"}, 501, "NotImplemented"),
        ({"scope": "/providers/Microsoft.Management/managementGroups/all"}, 501, "NotImplemented"),
        ({"scope": "{group}/providers/Microsoft.Storage/storageAccounts/none"}, 404, "ResourceNotFound"),
        ({"scope": "/subscriptions/00000000-0000-0000-0000-000000000000"}, 404, "SubscriptionNotFound"),
    ],
)
def test_assignments_that_are_refused(
    rest: Rest, someone: Principal, changed: dict[str, str], status: int, code: str
) -> None:
    asked = {"principal": someone.object_id, "guid": READER, "scope": rest.group} | changed
    asked["scope"] = asked["scope"].format(group=rest.group)
    found, answer = assign(rest, **asked)
    assert (found, answer["error"]["code"]) == (status, code)


def test_an_assignment_is_one_of_its_kind(rest: Rest, someone: Principal) -> None:
    name, other = str(uuid.uuid4()), str(uuid.uuid4())
    assert assign(rest, someone.object_id, READER, rest.group, name)[0] == 201
    assert assign(rest, someone.object_id, READER, rest.group, name)[0] == 201
    status, answer = assign(rest, someone.object_id, READER, rest.group, other)
    assert (status, answer["error"]["code"]) == (409, "RoleAssignmentExists")
    assert name.replace("-", "") in answer["error"]["message"]
    status, answer = assign(rest, someone.object_id, roles.named("Owner").guid, rest.group, name)
    assert (status, answer["error"]["code"]) == (400, "RoleAssignmentUpdateNotPermitted")


def test_a_custom_role(rest: Rest, someone: Principal) -> None:
    guid = str(uuid.uuid4())
    assert definition(rest, guid)[0] == 201
    status, answer = assign(rest, someone.object_id, guid, rest.subscription)
    assert (status, answer["error"]["code"]) == (400, "RoleDefinitionNotAssignable")
    assert assign(rest, someone.object_id, guid, rest.group)[0] == 201
    theirs = someone.rest()
    assert theirs("GET", rest.group, version="2021-04-01")[0] == 200
    assert definition(rest, guid, permissions=[{"actions": ["Microsoft.Storage/*/read"]}])[0] == 201
    assert theirs.error("GET", rest.group, version="2021-04-01")[:2] == (403, "AuthorizationFailed")
    path = f"{rest.group}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
    assert rest.error("DELETE", path, version=VERSION)[:2] == (400, "RoleDefinitionHasAssignments")
    given = rest("GET", f"{rest.group}/providers/Microsoft.Authorization/roleAssignments", version=VERSION)[1]["value"]
    (mine,) = [each for each in given if each["properties"]["principalId"] == someone.object_id]
    assert rest("DELETE", mine["id"], version=VERSION)[0] == 200
    assert [rest("DELETE", path, version=VERSION)[0] for _ in range(2)] == [200, 204]


@pytest.mark.parametrize(
    ("properties", "status", "code"),
    [
        ({"roleName": "Reader"}, 409, "RoleDefinitionWithSameNameExists"),
        ({"roleName": ""}, 400, "InvalidRoleDefinition"),
        ({"permissions": [{"actions": ["no action at all"]}]}, 400, "InvalidActionOrNotAction"),
        (
            {"permissions": [{"actions": ["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"]}]},
            400,
            "InvalidActionOrNotAction",
        ),
        (
            {"permissions": [{"dataActions": ["Microsoft.MachineLearningServices/workspaces/read"]}]},
            400,
            "InvalidDataActionOrNotDataAction",
        ),
        ({"permissions": []}, 400, "InvalidRoleDefinition"),
        ({"assignableScopes": ["/"]}, 400, "InvalidRoleDefinition"),
        ({"assignableScopes": ["/subscriptions/00000000-0000-0000-0000-000000000000"]}, 404, "SubscriptionNotFound"),
        ({"permissions": [{"actions": ["*/read"], "condition": "x"}]}, 501, "NotImplemented"),
    ],
)
def test_roles_that_are_refused(rest: Rest, properties: dict[str, Any], status: int, code: str) -> None:
    found, answer = definition(rest, str(uuid.uuid4()), **properties)
    assert (found, answer["error"]["code"]) == (status, code)


def test_built_in_roles_stay(rest: Rest) -> None:
    assert definition(rest, READER)[0] == 403
    path = f"{rest.group}/providers/Microsoft.Authorization/roleDefinitions/{READER}"
    assert rest.error("DELETE", path, version=VERSION)[0] == 403


def test_who_may_give_roles(rest: Rest, someone: Principal) -> None:
    someone.give("Contributor", rest.group)
    status, answer = assign(someone.rest(), someone.object_id, roles.named("Owner").guid, rest.group)
    action = "Microsoft.Authorization/roleAssignments/write"
    assert (status, answer["error"]["code"]) == (403, "AuthorizationFailed")
    assert f"does not have authorization to perform action '{action}' over scope '{rest.group}/" in str(answer)
    someone.give("User Access Administrator", rest.group)
    assert assign(someone.rest(), someone.object_id, READER, rest.group)[0] == 201


def test_a_role_on_each_of_its_scopes_is_needed_to_define_it(rest: Rest, someone: Principal) -> None:
    someone.give("User Access Administrator", rest.workspace)
    guid = str(uuid.uuid4())
    body = {"roleName": guid, "permissions": [{"actions": ["*/read"]}], "assignableScopes": [rest.subscription]}
    path = f"{rest.workspace}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
    status, code, message = someone.rest().error("PUT", path, {"properties": body}, version=VERSION)
    assert (status, code) == (403, "LinkedAuthorizationFailed")
    assert f"on the linked scope(s) '{rest.subscription}'" in message


def test_built_in_roles_are_everyones_to_read(someone: Principal) -> None:
    path = f"/providers/Microsoft.Authorization/roleDefinitions/{READER}"
    _, role, _ = someone.rest()("GET", path, version=VERSION)
    assert (role["id"], role["properties"]["roleName"]) == (path, "Reader")


def test_what_is_not_served_refuses_by_name(rest: Rest) -> None:
    path = f"{rest.group}/providers/Microsoft.Authorization/roleEligibilityScheduleRequests/x"
    status, _, message = rest.error("PUT", path, {}, version=VERSION)
    assert (status, "roleEligibilityScheduleRequests" in message) == (501, True)


def test_lists_of_a_subscription_hold_what_one_may_read(rest: Rest, someone: Principal) -> None:
    theirs = someone.rest()
    assert theirs.error("GET", f"{rest.subscription}/resourceGroups", version="2021-04-01")[0] == 403
    someone.give("Reader", rest.workspace)
    assert theirs("GET", "/subscriptions", version="2021-04-01")[1]["count"]["value"] == 1
    _, listed, _ = theirs("GET", f"{rest.subscription}/resources", version="2021-04-01")
    assert [each["id"] for each in listed["value"]] == [rest.workspace]
    assert theirs.error("GET", f"{rest.group}/resources", version="2021-04-01")[0] == 403


def test_permissions_of_the_caller(rest: Rest, someone: Principal) -> None:
    someone.give("Reader", rest.group)
    path = f"{rest.workspace}/providers/Microsoft.Authorization/permissions"
    _, answer, _ = someone.rest()("GET", path, version=VERSION)
    assert [each["actions"] for each in answer["value"]] == [["*/read"]]


def test_blobs_need_a_role_on_data(rest: Rest, cloud: AzureCloud, someone: Principal, name: str) -> None:
    account = f"{rest.group}/providers/Microsoft.Storage/storageAccounts/{name}"
    rest("PUT", account, {"location": "eastus"}, version="2023-01-01")
    for container in ("scores", "people"):
        rest("PUT", f"{account}/blobServices/default/containers/{container}", {}, version="2023-01-01")
    someone.give("Owner", account)

    def tried(method: str, path: str) -> tuple[int, str]:
        headers = {"x-ms-version": "2023-11-03", "x-ms-blob-type": "BlockBlob"}
        url = f"https://{name}.blob.core.windows.net/{path}"
        answer = call(cloud, method, url, b"x" if method == "PUT" else b"", headers, token=someone.token(STORAGE))
        return answer.status, dict(answer.headers).get("x-ms-error-code", "")

    assert tried("PUT", "scores/a") == (403, "AuthorizationPermissionMismatch")
    someone.give("Storage Blob Data Contributor", f"{account}/blobServices/default/containers/scores")
    assert tried("PUT", "scores/a") == (201, "")
    assert tried("GET", "scores/a") == (200, "")
    assert tried("PUT", "people/a") == (403, "AuthorizationPermissionMismatch")
    assert tried("GET", "people?restype=container&comp=list") == (403, "AuthorizationPermissionMismatch")
    message = "This request is not authorized to perform this operation using this permission."
    event = next(iter(cloud.engine.audit.events()))
    assert (event.status, event.message) == (403, message)
    rest("DELETE", account, version="2023-01-01")
    assert cloud.authorization.of(someone.object_id) == []


@pytest.mark.parametrize("plane", ["management", "data"])
def test_a_container_takes_the_roles_on_it_along(
    rest: Rest, cloud: AzureCloud, someone: Principal, name: str, plane: str
) -> None:
    account = f"{rest.group}/providers/Microsoft.Storage/storageAccounts/{name}"
    rest("PUT", account, {"location": "eastus"}, version="2023-01-01")
    scores, people = (f"{account}/blobServices/default/containers/{each}" for each in ("scores", "people"))
    for container in (scores, people):
        rest("PUT", container, {}, version="2023-01-01")
        someone.give("Storage Blob Data Reader", container)
    if plane == "management":
        assert rest("DELETE", scores, version="2023-01-01")[0] == 200
    else:
        url = f"https://{name}.blob.core.windows.net/scores?restype=container"
        headers = {"x-ms-version": "2023-11-03"}
        assert call(cloud, "DELETE", url, b"", headers, token=token(cloud, STORAGE)).status == 202
    assert [each.scope for each in cloud.authorization.of(someone.object_id)] == [people]


def test_a_signature_with_a_delegation_key_does_what_its_signer_may(
    rest: Rest, reached: AzureCloud, someone: Principal, name: str
) -> None:
    from datetime import UTC, datetime, timedelta

    from azure.identity import ClientSecretCredential
    from azure.storage.blob import BlobClient, BlobServiceClient, generate_blob_sas

    account = f"{rest.group}/providers/Microsoft.Storage/storageAccounts/{name}"
    rest("PUT", account, {"location": "eastus"}, version="2023-01-01")
    rest("PUT", f"{account}/blobServices/default/containers/data", {}, version="2023-01-01")
    url = f"https://{name}.blob.core.windows.net"
    BlobClient(url, "data", "a", credential=reached.resources.require(account).state.keys[0]).upload_blob(b"hi")
    someone.give("Storage Blob Data Reader", account)
    credential = ClientSecretCredential(reached.identities.tenant, someone.client_id, someone.secret)
    now = datetime.now(UTC)
    key = BlobServiceClient(url, credential).get_user_delegation_key(now, now + timedelta(hours=1))
    signed = generate_blob_sas(
        name, "data", "a", user_delegation_key=key, permission="rw", expiry=now + timedelta(hours=1)
    )
    blob = BlobClient(url, "data", "a", credential=signed)
    assert blob.download_blob().readall() == b"hi"
    assert raised(lambda: blob.upload_blob(b"ho", overwrite=True)).error_code == "AuthorizationPermissionMismatch"


def test_a_template_gives_a_role(rest: Rest, someone: Principal) -> None:
    assignment = {
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": VERSION,
        "name": "[guid(resourceGroup().id, parameters('who'))]",
        "properties": {
            "roleDefinitionId": f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{READER}')]",
            "principalId": "[parameters('who')]",
            "principalType": "ServicePrincipal",
        },
    }
    template = {"parameters": {"who": {"type": "string"}}, "resources": [assignment]}
    properties = {"mode": "Incremental", "template": template, "parameters": {"who": {"value": someone.object_id}}}
    path = f"{rest.group}/providers/Microsoft.Resources/deployments/{someone.object_id}"
    status, answer, _ = rest("PUT", path, {"properties": properties}, version="2022-09-01")
    assert (status, answer["properties"]["provisioningState"]) == (201, "Succeeded")
    assert someone.rest()("GET", rest.group, version="2021-04-01")[0] == 200
