"""The Blob service: who may, which operation, and its answer.

https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from labkit.cloud.azure import (
    blob_batch,
    blob_containers,
    blob_copy,
    blob_errors,
    blob_listing,
    blob_reading,
    blob_writing,
    storage_accounts,
)
from labkit.cloud.azure.blob_access import Operation, authenticate, authorize
from labkit.cloud.azure.blob_errors import ERRORS, error
from labkit.cloud.azure.blob_request import BlobCall
from labkit.cloud.azure.errors import AzureError, refusal
from labkit.cloud.azure.resources import Resource
from labkit.cloud.http import Response

if TYPE_CHECKING:
    from labkit.cloud.azure.front import Call

__all__ = ["ERRORS", "OPERATIONS", "answer", "failure"]

#: The version that a request without one is answered in.
_OLDEST, _NEWEST = "2015-04-05", "2026-10-06"
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_SERVICE = "Microsoft.Storage/storageAccounts/blobServices"
_CONTAINERS = f"{_SERVICE}/containers"
_READ_BLOB, _WRITE_BLOB = f"{_CONTAINERS}/blobs/read", f"{_CONTAINERS}/blobs/write"
#: Headers and query parameters of features that are not served, with their names.
_NOT_SERVED_HEADERS = {
    "x-ms-encryption-key": "customer-provided keys",
    "x-ms-encryption-scope": "encryption scopes",
    "x-ms-tags": "index tags of blobs",
    "x-ms-if-tags": "index tags of blobs",
    "x-ms-immutability-policy-mode": "immutability policies",
    "x-ms-legal-hold": "legal holds",
    "x-ms-structured-body": "structured messages",
}
_NOT_SERVED_QUERY = {"snapshot": "snapshots of blobs", "versionid": "versions of blobs"}


def _reads(name: str, function: Callable[[BlobCall], Response], action: str, permissions: str, kind: str) -> Operation:
    return Operation(name, function, action, permissions, kind, read_only=True)


_GET_CONTAINER = _reads("Get Container Properties", blob_containers.get_container, f"{_CONTAINERS}/read", "", "c")
_CONTAINER_METADATA = _reads(
    "Get Container Metadata", blob_containers.get_container_metadata, f"{_CONTAINERS}/read", "", "c"
)
_BLOB_METADATA = _reads("Get Blob Metadata", blob_reading.get_metadata, _READ_BLOB, "r", "o")
ACCOUNT_INFORMATION = _reads(
    "Get Account Information", blob_containers.get_account_information, f"{_CONTAINERS}/read", "rwdlacup", "sco"
)
_BATCH = Operation(
    "Blob Batch", blob_batch.batch, f"{_SERVICE}/read", "rwdlacup", "sco", note="Delete Blob and Set Blob Tier"
)
#: By level, method and ``comp``; a PUT of a blob without ``comp`` is looked at further.
OPERATIONS: dict[tuple[str, str, str], Operation] = {
    ("service", "GET", "list"): _reads(
        "List Containers", blob_listing.list_containers, f"{_CONTAINERS}/read", "l", "s"
    ),
    ("service", "GET", "properties"): _reads(
        "Get Blob Service Properties",
        blob_containers.get_service_properties,
        f"{_SERVICE}/read",
        "r",
        "s",
    ),
    ("service", "POST", "userdelegationkey"): Operation(
        "Get User Delegation Key",
        blob_containers.get_user_delegation_key,
        f"{_SERVICE}/generateUserDelegationKey/action",
        "",
        "s",
    ),
    ("service", "POST", "batch"): _BATCH,
    ("container", "POST", "batch"): _BATCH,
    ("container", "PUT", ""): Operation(
        "Create Container", blob_containers.create_container, f"{_CONTAINERS}/write", "cw", "c"
    ),
    ("container", "GET", ""): _GET_CONTAINER,
    ("container", "HEAD", ""): _GET_CONTAINER,
    ("container", "DELETE", ""): Operation(
        "Delete Container", blob_containers.delete_container, f"{_CONTAINERS}/delete", "d", "c"
    ),
    ("container", "GET", "list"): _reads("List Blobs", blob_listing.list_blobs, _READ_BLOB, "l", "cl"),
    ("container", "GET", "metadata"): _CONTAINER_METADATA,
    ("container", "HEAD", "metadata"): _CONTAINER_METADATA,
    ("container", "PUT", "metadata"): Operation(
        "Set Container Metadata", blob_containers.set_container_metadata, f"{_CONTAINERS}/write", "w", "c"
    ),
    ("container", "GET", "acl"): _reads(
        "Get Container ACL", blob_containers.get_container_acl, f"{_CONTAINERS}/getAcl/action", "", ""
    ),
    ("blob", "PUT", ""): Operation("Put Blob", blob_writing.put_blob, _WRITE_BLOB, "cw", "o"),
    ("blob", "PUT", "copy"): Operation(
        "Copy Blob", blob_copy.copy_blob, _WRITE_BLOB, "cw", "o", note="from the local clouds; done at once"
    ),
    ("blob", "PUT", "from-url"): Operation(
        "Put Blob From URL", blob_copy.put_blob_from_url, _WRITE_BLOB, "cw", "o", note="from the local clouds"
    ),
    ("blob", "PUT", "block"): Operation("Put Block", blob_writing.put_block, _WRITE_BLOB, "cw", "o"),
    ("blob", "PUT", "blocklist"): Operation("Put Block List", blob_writing.put_block_list, _WRITE_BLOB, "cw", "o"),
    ("blob", "GET", "blocklist"): _reads("Get Block List", blob_reading.get_block_list, _READ_BLOB, "r", "o"),
    ("blob", "GET", ""): _reads("Get Blob", blob_reading.get_blob, _READ_BLOB, "r", "o"),
    ("blob", "HEAD", ""): _reads("Get Blob Properties", blob_reading.get_properties, _READ_BLOB, "r", "o"),
    ("blob", "GET", "metadata"): _BLOB_METADATA,
    ("blob", "HEAD", "metadata"): _BLOB_METADATA,
    ("blob", "PUT", "metadata"): Operation("Set Blob Metadata", blob_writing.set_metadata, _WRITE_BLOB, "w", "o"),
    ("blob", "PUT", "properties"): Operation("Set Blob Properties", blob_writing.set_properties, _WRITE_BLOB, "w", "o"),
    ("blob", "PUT", "tier"): Operation(
        "Set Blob Tier", blob_writing.set_tier, _WRITE_BLOB, "w", "o", "shape", "Hot, Cool and Cold"
    ),
    ("blob", "DELETE", ""): Operation("Delete Blob", blob_writing.delete_blob, f"{_CONTAINERS}/blobs/delete", "d", "o"),
}


def answer(call: Call) -> Response:
    """Answers one call to an account's Blob service."""
    call.operation = f"{call.request.method} {call.query.get('comp', '') or 'blob'}"
    resource = storage_accounts.find(call.cloud, call.target.name)
    if resource is None:
        raise AzureError(
            "ResourceNotFound", f"There is no storage account {call.target.name} in the local clouds.", 404
        )
    at = _read_path(call, resource)
    operation = _find(at)
    call.operation, call.resource = operation.name, _resource_id(at)
    call.read_only = operation.read_only
    authenticate(at, operation)
    _check_version(at)
    authorize(at, operation)
    _refuse_features(at)
    response = operation.function(at)
    response.headers += _common(call)
    return response


def failure(call: Call, problem: AzureError) -> Response:
    sent = blob_errors.response(problem, call.request_id, call.engine.clock.now(), head=call.request.method == "HEAD")
    sent.headers += _common(call)
    return sent


def _read_path(call: Call, resource: Resource) -> BlobCall:
    container, _, blob = call.request.raw_path.lstrip("/").partition("/")
    container, blob = unquote(container), unquote(blob)
    if container and not blob and call.query.get("restype") != "container":
        # A name alone is a blob in the root container.
        container, blob = "$root", container
    return BlobCall(call, resource, resource.state, container, blob)


def _find(at: BlobCall) -> Operation:
    method, comp = at.call.request.method, at.query.get("comp", "")
    level = "blob" if at.blob else "container" if at.container else "service"
    if comp == "properties" and at.query.get("restype") == "account":
        return ACCOUNT_INFORMATION
    if level == "blob" and method == "PUT" and not comp and at.header("x-ms-copy-source"):
        comp = "from-url" if at.header("x-ms-blob-type") else "copy"
    found = OPERATIONS.get((level, method, comp))
    if found is None:
        if method not in ("GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"):
            raise error("UnsupportedHttpVerb")
        what = f"{method} with comp={comp}" if comp else method
        raise refusal(f"{what} of a {level} in Blob Storage")
    return found


def _refuse_features(at: BlobCall) -> None:
    for name, what in _NOT_SERVED_HEADERS.items():
        if at.header(name):
            raise refusal(f"{what} (header {name})")
    for name, what in _NOT_SERVED_QUERY.items():
        if at.query.get(name):
            raise refusal(f"{what} (parameter {name})")
    if at.header("x-ms-lease-id"):
        raise error("LeaseNotPresentWithBlobOperation" if at.blob else "LeaseNotPresentWithContainerOperation")


def _resource_id(at: BlobCall) -> str:
    path = f"{at.resource.id}/blobServices/default"
    if at.container:
        path += f"/containers/{at.container}"
    return f"{path}/blobs/{at.blob}" if at.blob else path


def _common(call: Call) -> list[tuple[str, str]]:
    headers = [
        ("x-ms-request-id", call.request_id),
        ("x-ms-version", call.request.headers.get("x-ms-version") or _NEWEST),
    ]
    if client := call.request.headers.get("x-ms-client-request-id"):
        headers.append(("x-ms-client-request-id", client))
    return headers


def _check_version(at: BlobCall) -> None:
    version = at.header("x-ms-version")
    if not version and at.call.outer is not None:
        version = at.call.outer.request.headers.get("x-ms-version")
    if not version:
        if at.grant is None:
            raise error("MissingRequiredHeader", HeaderName="x-ms-version")
        return
    if not _VERSION.fullmatch(version) or not _OLDEST <= version <= _NEWEST:
        raise error("InvalidHeaderValue", HeaderName="x-ms-version", HeaderValue=version)
