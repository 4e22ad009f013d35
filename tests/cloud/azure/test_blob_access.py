"""Who may use a storage account: Shared Key, tokens, and every kind of shared access signature."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from labkit.cloud.azure import AzureCloud
from labkit.cloud.azure.resources import Resource
from labkit.cloud.azure.shared_key import sign
from labkit.cloud.http import Headers, Request
from tests.cloud.azure.in_process import Rest, call, raised, token

STORAGE = "https://storage.azure.com"


@pytest.fixture
def account(cloud: AzureCloud, rest: Rest, name: str) -> Resource:
    """A storage account of the test's own with a container ``data`` and a blob ``a.txt`` in it."""
    path = f"{rest.group}/providers/Microsoft.Storage/storageAccounts/{name}"
    rest("PUT", path, {"location": "eastus"}, version="2023-01-01")
    made = cloud.resources.require(path)
    url = f"https://{name}.blob.core.windows.net"
    for target, headers in (("/data?restype=container", {}), ("/data/a.txt", {"x-ms-blob-type": "BlockBlob"})):
        bearer = token(cloud, STORAGE)
        answer = call(cloud, "PUT", f"{url}{target}", b"hi", {"x-ms-version": "2023-11-03", **headers}, token=bearer)
        assert answer.status == 201
    return made


@pytest.fixture
def url(account: Resource) -> str:
    return f"https://{account.name}.blob.core.windows.net"


def soon(minutes: int = 60) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def code_of(action: Callable[[], Any]) -> tuple[int, str]:
    error = raised(action)
    return error.status_code, str(getattr(error.error_code, "value", error.error_code))


# -- tokens --------------------------------------------------------------------------------------------------------


def test_tokens(reached: AzureCloud, url: str) -> None:
    from azure.identity import DefaultAzureCredential

    blob = BlobClient(url, "data", "a.txt", credential=DefaultAzureCredential())
    assert blob.download_blob().readall() == b"hi"


@pytest.mark.parametrize(
    ("resource", "lifetime", "detail"),
    [
        ("https://management.azure.com", 600, b"Audience validation failed"),
        (STORAGE, -1000, b"Lifetime validation failed"),
        ("https://otheraccount.blob.core.windows.net", 600, b"Audience validation failed"),
    ],
)
def test_wrong_tokens(cloud: AzureCloud, url: str, resource: str, lifetime: int, detail: bytes) -> None:
    bad, _ = cloud.identities.tokens.issue(cloud.identities.learner, resource, lifetime)
    answer = call(cloud, "GET", f"{url}/data/a.txt", headers={"x-ms-version": "2023-11-03"}, token=bad)
    headers = dict(answer.headers)
    assert (answer.status, headers["x-ms-error-code"]) == (401, "InvalidAuthenticationInfo")
    assert detail in bytes(answer.body)
    assert f"resource_id={STORAGE}" in headers["WWW-Authenticate"]


def test_a_token_needs_a_version(cloud: AzureCloud, url: str) -> None:
    answer = call(cloud, "GET", f"{url}/data/a.txt", token=token(cloud, STORAGE))
    assert (answer.status, dict(answer.headers)["x-ms-error-code"]) == (400, "MissingRequiredHeader")
    answer = call(cloud, "GET", f"{url}/data/a.txt", headers={"x-ms-version": "1"}, token=token(cloud, STORAGE))
    assert (answer.status, dict(answer.headers)["x-ms-error-code"]) == (400, "InvalidHeaderValue")


def test_without_a_credential(cloud: AzureCloud, url: str) -> None:
    read = call(cloud, "GET", f"{url}/data/a.txt")
    assert (read.status, dict(read.headers)["x-ms-error-code"]) == (409, "PublicAccessNotPermitted")
    write = call(cloud, "PUT", f"{url}/data/b", b"x", {"x-ms-blob-type": "BlockBlob"})
    assert (write.status, dict(write.headers)["x-ms-error-code"]) == (401, "NoAuthenticationInformation")


# -- Shared Key ----------------------------------------------------------------------------------------------------


def signed(account: Resource, method: str, path: str, query: str, resource: str, **headers: str) -> dict[str, str]:
    """The headers of a request that is signed by hand, as Microsoft documents it."""
    own = {"x-ms-date": format_datetime(datetime.now(UTC), usegmt=True), "x-ms-version": "2023-11-03"}
    own |= {name.replace("_", "-"): value for name, value in headers.items()}
    canonical = "".join(f"{name}:{own[name]}\n" for name in sorted(own))
    text = f"{method}\n\n\n\n\n\n\n\n\n\n\n\n{canonical}/{account.name}{path}{resource}"
    return {**own, "Authorization": f"SharedKey {account.name}:{sign(account.state.keys[1], text)}"}


def test_a_signature_made_by_hand(cloud: AzureCloud, account: Resource, url: str) -> None:
    query = "restype=container&comp=list&prefix=a"
    headers = signed(account, "GET", "/data", query, "\ncomp:list\nprefix:a\nrestype:container")
    answer = call(cloud, "GET", f"{url}/data?{query}", headers=headers)
    assert answer.status == 200
    assert [each.text for each in ElementTree.fromstring(bytes(answer.body)).iter("Name")] == ["a.txt"]


def test_wrong_signatures(cloud: AzureCloud, account: Resource, url: str) -> None:
    good = signed(account, "GET", "/data/a.txt", "", "")
    assert call(cloud, "GET", f"{url}/data/a.txt", headers=good).status == 200
    old = signed(account, "GET", "/data/a.txt", "", "", x_ms_date="Tue, 01 Jan 2019 00:00:00 GMT")
    for headers, target, detail in [
        (good, "/data/b.txt", b"is not the same as any computed signature"),
        (old, "/data/a.txt", b"Request date header too old"),
        ({**good, "Authorization": good["Authorization"].replace(account.name, "other")}, "/data/a.txt", b"'other'"),
        ({**good, "Authorization": "SharedKeyLite x:y"}, "/data/a.txt", b"sharedkeylite"),
    ]:
        answer = call(cloud, "GET", f"{url}{target}", headers=headers)
        assert (answer.status, dict(answer.headers)["x-ms-error-code"]) == (403, "AuthenticationFailed")
        assert detail in bytes(answer.body)
        assert b"Make sure the value of Authorization header is formed correctly" in bytes(answer.body)


def test_keys_are_rotated(reached: AzureCloud, rest: Rest, account: Resource, url: str) -> None:
    path, version = account.id, "2023-01-01"
    _, listed, _ = rest("POST", f"{path}/listKeys", version=version)
    keys = {each["keyName"]: each["value"] for each in listed["keys"]}
    clients = {key: BlobServiceClient(url, value, retry_total=0) for key, value in keys.items()}
    for client in clients.values():
        assert [each.name for each in client.list_containers()] == ["data"]
    _, renewed, _ = rest("POST", f"{path}/regenerateKey", {"keyName": "key1"}, version=version)
    assert renewed["keys"][0]["value"] != keys["key1"]
    assert renewed["keys"][1]["value"] == keys["key2"]
    assert code_of(lambda: list(clients["key1"].list_containers())) == (403, "AuthenticationFailed")
    assert [each.name for each in clients["key2"].list_containers()] == ["data"]


def test_an_account_without_shared_keys(reached: AzureCloud, rest: Rest, account: Resource, url: str) -> None:
    body = {"properties": {"allowSharedKeyAccess": False}}
    assert rest("PATCH", account.id, body, version="2023-01-01")[0] == 200
    client = BlobServiceClient(url, account.state.keys[0], retry_total=0)
    expected = (403, "KeyBasedAuthenticationNotPermitted")
    assert code_of(lambda: list(client.list_containers())) == expected
    sas = generate_blob_sas(
        account.name, "data", "a.txt", account_key=account.state.keys[0], permission="r", expiry=soon()
    )
    assert code_of(lambda: BlobClient(url, "data", "a.txt", credential=sas).download_blob()) == expected


# -- shared access signatures --------------------------------------------------------------------------------------


def test_a_blobs_signature(reached: AzureCloud, account: Resource, url: str) -> None:
    sas = generate_blob_sas(
        account.name,
        "data",
        "a.txt",
        account_key=account.state.keys[0],
        permission=BlobSasPermissions(read=True),
        expiry=soon(),
        content_type="application/x-mine",
    )
    blob = BlobClient(url, "data", "a.txt", credential=sas)
    assert blob.download_blob().readall() == b"hi"
    assert blob.download_blob().properties.content_settings.content_type == "application/x-mine"
    refused = (403, "AuthorizationPermissionMismatch")
    assert code_of(lambda: blob.upload_blob(b"x", overwrite=True)) == refused
    assert code_of(blob.delete_blob) == refused
    assert code_of(lambda: BlobClient(url, "data", "other", credential=sas).download_blob()) == (
        403,
        "AuthenticationFailed",
    )


def test_create_permission_does_not_overwrite(reached: AzureCloud, account: Resource, url: str) -> None:
    sas = generate_container_sas(account.name, "data", account_key=account.state.keys[0], permission="c", expiry=soon())
    container = ContainerClient(url, "data", sas)
    container.upload_blob("new", b"x")
    assert code_of(lambda: container.upload_blob("a.txt", b"x", overwrite=True)) == (
        403,
        "AuthorizationPermissionMismatch",
    )


def test_a_containers_signature(reached: AzureCloud, account: Resource, url: str) -> None:
    sas = generate_container_sas(
        account.name, "data", account_key=account.state.keys[1], permission="rwl", expiry=soon()
    )
    container = ContainerClient(url, "data", sas)
    container.upload_blob("b", b"x")
    assert [each.name for each in container.list_blobs()] == ["a.txt", "b"]
    refused = (403, "AuthorizationPermissionMismatch")
    assert code_of(lambda: container.delete_blob("b")) == refused
    assert code_of(container.delete_container) == refused
    assert code_of(container.get_container_properties) == refused
    other = BlobServiceClient(url, sas)
    assert code_of(lambda: list(other.list_containers()))[0] == 403


def test_an_accounts_signature(reached: AzureCloud, account: Resource, url: str) -> None:
    sas = generate_account_sas(
        account.name,
        account.state.keys[0],
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, list=True, write=True),
        soon(),
    )
    service = BlobServiceClient(url, sas)
    assert [each.name for each in service.get_container_client("data").list_blobs()] == ["a.txt"]
    assert service.get_container_client("data").get_container_properties().name == "data"
    assert code_of(lambda: list(service.list_containers())) == (403, "AuthorizationResourceTypeMismatch")
    assert code_of(lambda: service.get_blob_client("data", "a.txt").delete_blob()) == (
        403,
        "AuthorizationPermissionMismatch",
    )


def test_a_user_delegation_signature(reached: AzureCloud, account: Resource, url: str) -> None:
    from azure.identity import DefaultAzureCredential

    service = BlobServiceClient(url, DefaultAzureCredential())
    key = service.get_user_delegation_key(soon(-5), soon())
    assert key.signed_oid == reached.identities.learner.object_id
    sas = generate_blob_sas(account.name, "data", "a.txt", user_delegation_key=key, permission="r", expiry=soon(30))
    assert BlobClient(url, "data", "a.txt", credential=sas).download_blob().readall() == b"hi"
    key.signed_oid = "00000000-0000-0000-0000-000000000000"
    forged = generate_blob_sas(account.name, "data", "a.txt", user_delegation_key=key, permission="r", expiry=soon(30))
    assert code_of(lambda: BlobClient(url, "data", "a.txt", credential=forged).download_blob()) == (
        403,
        "AuthenticationFailed",
    )
    assert code_of(lambda: service.get_user_delegation_key(soon(), soon(60 * 24 * 8))) == (400, "OutOfRangeInput")


@pytest.mark.parametrize(
    ("start", "expiry", "key", "detail"),
    [
        (None, -1, None, "Signature not valid in the specified time frame"),
        (120, 240, None, "Signature not valid in the specified time frame"),
        (None, 60, b64encode(b"k" * 64).decode(), "Signature did not match"),
    ],
)
def test_signatures_that_are_not_good(
    reached: AzureCloud, account: Resource, url: str, start: int | None, expiry: int, key: str | None, detail: str
) -> None:
    sas = generate_blob_sas(
        account.name,
        "data",
        "a.txt",
        account_key=key or account.state.keys[0],
        permission="r",
        start=None if start is None else soon(start),
        expiry=soon(expiry),
    )
    error = raised(lambda: BlobClient(url, "data", "a.txt", credential=sas).download_blob())
    assert (error.status_code, str(error.error_code)) == (403, "AuthenticationFailed") or detail in error.message
    assert detail in error.message


def test_what_a_signature_holds_is_signed(cloud: AzureCloud, account: Resource, url: str) -> None:
    sas = generate_blob_sas(
        account.name, "data", "a.txt", account_key=account.state.keys[0], permission="r", expiry=soon()
    )
    assert call(cloud, "GET", f"{url}/data/a.txt?{sas}").status == 200
    assert call(cloud, "DELETE", f"{url}/data/a.txt?{sas.replace('sp=r', 'sp=rd')}").status == 403


@pytest.mark.parametrize("parameter", ["si=policy", "sip=10.0.0.1", "sdd=1"])
def test_features_of_signatures_that_are_refused(
    cloud: AzureCloud, account: Resource, url: str, parameter: str
) -> None:
    answer = call(cloud, "GET", f"{url}/data/a.txt?sv=2023-11-03&sr=b&sp=r&se=2099-01-01&sig=x&{parameter}")
    assert answer.status == 501
    assert parameter.partition("=")[0].encode() in bytes(answer.body)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"location": "eastus", "properties": {"isHnsEnabled": True}}, 501, "NotImplemented"),
        ({"location": "westus", "kind": "BlobStorage"}, 409, "AccountPropertyCannotBeUpdated"),
        ({"location": "eastus", "kind": "FileStorage"}, 501, "NotImplemented"),
        ({"location": "eastus", "properties": {"allowBlobPublicAccess": True}}, 501, "NotImplemented"),
        ({"location": "eastus", "properties": {"networkAcls": {"defaultAction": "Deny"}}}, 501, "NotImplemented"),
    ],
)
def test_accounts_that_cannot_be_made(
    rest: Rest, account: Resource, body: dict[str, Any], status: int, code: str
) -> None:
    assert rest.error("PUT", account.id, body, version="2023-01-01")[:2] == (status, code)


def test_an_account_name_is_taken_everywhere(rest: Rest, account: Resource) -> None:
    rest("PUT", f"{rest.subscription}/resourceGroups/elsewhere", {"location": "eastus"}, version="2021-04-01")
    path = account.id.replace("/learning/", "/elsewhere/")
    found = rest.error("PUT", path, {"location": "eastus"}, version="2023-01-01")
    assert found == (409, "StorageAccountAlreadyTaken", f"The storage account named {account.name} is already taken.")
    assert rest.error("PUT", path.replace(account.name, "No_Name"), {"location": "eastus"}, version="2023-01-01")[
        1
    ] == ("AccountNameInvalid")


def test_deleting_an_account_deletes_its_blobs(rest: Rest, cloud: AzureCloud, account: Resource, url: str) -> None:
    file = account.state.containers["data"].blobs["a.txt"].file
    assert file.exists()
    assert rest("DELETE", account.id, version="2023-01-01")[0] == 200
    assert rest("DELETE", account.id, version="2023-01-01")[0] == 204
    assert not file.exists()
    assert call(cloud, "GET", f"{url}/data/a.txt", token=token(cloud, STORAGE)).status == 404


def test_containers_through_resource_manager(rest: Rest, account: Resource, url: str, reached: AzureCloud) -> None:
    path, version = f"{account.id}/blobServices/default/containers", "2023-01-01"
    status, made, _ = rest("PUT", f"{path}/fresh", {"properties": {"metadata": {"k": "v"}}}, version=version)
    assert (status, made["name"], made["properties"]["metadata"]) == (201, "fresh", {"k": "v"})
    assert rest("PUT", f"{path}/fresh", {}, version=version)[0] == 200
    _, listed, _ = rest("GET", path, version=version)
    assert [each["name"] for each in listed["value"]] == ["data", "fresh"]
    assert rest("GET", f"{path}/fresh", version=version)[1]["id"] == f"{path}/fresh"
    service = BlobServiceClient(url, account.state.keys[0])
    assert service.get_container_client("fresh").get_container_properties().metadata == {"k": "v"}
    assert [rest("DELETE", f"{path}/fresh", version=version)[0] for _ in range(2)] == [200, 204]
    assert rest.error("GET", f"{path}/fresh", version=version)[:2] == (404, "ContainerNotFound")
    assert rest.error("PUT", f"{path}/No", {}, version=version)[:2] == (400, "OutOfRangeInput")
    public = {"properties": {"publicAccess": "Blob"}}
    assert rest.error("PUT", f"{path}/fresh", public, version=version)[:2] == (409, "PublicAccessNotPermitted")


def test_a_body_needs_a_length(cloud: AzureCloud, url: str) -> None:
    headers = {
        "x-ms-version": "2023-11-03",
        "x-ms-blob-type": "BlockBlob",
        "Authorization": f"Bearer {token(cloud, STORAGE)}",
    }
    sent = Request("PUT", url.removeprefix("https://"), "/data/b", Headers(headers.items()), b"x")
    answer = cloud.handle(sent)
    assert (answer.status, dict(answer.headers)["x-ms-error-code"]) == (411, "MissingContentLengthHeader")
