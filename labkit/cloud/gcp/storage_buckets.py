"""Buckets. https://cloud.google.com/storage/docs/json_api/v1/buckets"""

from __future__ import annotations

import re
from typing import Any

from labkit.cloud.gcp import iam_resources, storage_conditions
from labkit.cloud.gcp.locations import REGIONS
from labkit.cloud.gcp.storage import Route, StorageCall
from labkit.cloud.gcp.storage_errors import StorageError, check_types, invalid, refused, required
from labkit.cloud.gcp.storage_listing import page_of
from labkit.cloud.gcp.storage_store import Bucket
from labkit.cloud.gcp.storage_times import text
from labkit.cloud.http import Response

ROOT = "https://www.googleapis.com/storage/v1"
#: Locations that are no region: type, by name. https://cloud.google.com/storage/docs/locations
_WIDE = {"US": "multi-region", "EU": "multi-region", "ASIA": "multi-region"} | dict.fromkeys(
    ("NAM4", "EUR4", "EUR5", "EUR7", "EUR8", "ASIA1"), "dual-region"
)
STORAGE_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")
#: What a caller may set, and the kit keeps.
_KEPT = ("storageClass", "labels", "iamConfiguration", "rpo")
#: What a caller may send and the bucket has anyway.
_GIVEN = {
    "kind",
    "id",
    "selfLink",
    "name",
    "projectNumber",
    "location",
    "locationType",
    "metageneration",
    "generation",
    "etag",
    "timeCreated",
    "updated",
    "acl",
    "defaultObjectAcl",
    "owner",
    "satisfiesPZS",
}
#: Settings that would have an effect that the kit does not have, with the values that ask for none.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "versioning": (None, {}, {"enabled": False}),
    "lifecycle": (None, {}, {"rule": []}),
    "softDeletePolicy": (None, {}, {"retentionDurationSeconds": "0"}, {"retentionDurationSeconds": 0}),
    "autoclass": (None, {}, {"enabled": False}),
    "hierarchicalNamespace": (None, {}, {"enabled": False}),
    "billing": (None, {}, {"requesterPays": False}),
    "encryption": (None, {}),
    "retentionPolicy": (None, {}),
    "defaultEventBasedHold": (None, False),
    "website": (None, {}),
    "logging": (None, {}),
    "cors": (None, []),
}

#: The types of what a caller may set.
_TYPES = {"name": str, "location": str, "storageClass": str, "labels": dict, "iamConfiguration": dict, "rpo": str}

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")


def resource(bucket: Bucket, number: str) -> dict[str, Any]:
    """The bucket as the API shows it; ``number`` is its project's."""
    shown: dict[str, Any] = {
        "kind": "storage#bucket",
        "id": bucket.name,
        "selfLink": f"{ROOT}/b/{bucket.name}",
        "projectNumber": number,
        "name": bucket.name,
        "timeCreated": text(bucket.created),
        "updated": text(bucket.updated),
        "metageneration": str(bucket.metageneration),
        "location": bucket.location,
        "locationType": _WIDE.get(bucket.location, "region"),
        "etag": bucket.etag,
        **bucket.properties,
    }
    return shown


def _shown(call: StorageCall, bucket: Bucket) -> Response:
    return call.answer(resource(bucket, call.cloud.projects.find(bucket.project).number))


def insert(call: StorageCall) -> Response:
    project = call.cloud.projects.find(call.parameter("project"))
    body = call.body()
    if "name" not in body:
        raise required("name")
    check_types(body, _TYPES)
    name = str(body["name"])
    _check_name(name)
    location = str(body.get("location") or "US").upper()
    if location not in _WIDE and location.lower() not in REGIONS:
        raise invalid("The specified location constraint is not valid.")
    properties = {
        "storageClass": "STANDARD",
        "iamConfiguration": _access({}),
        **_properties(body),
    }
    if "rpo" not in properties and location in _WIDE:
        properties["rpo"] = "DEFAULT"
    now = call.buckets.now()
    with call.buckets.lock:
        if existing := call.buckets.find(name):
            if existing.project == project.id:
                message = "Your previous request to create the named bucket succeeded and you already own it."
            else:
                message = (
                    "The requested bucket name is not available. The bucket namespace is shared by all users of the "
                    "system. Please select a different name and try again."
                )
            raise StorageError(409, "conflict", message)
        bucket = Bucket(name, project.id, location, now, now, properties=properties)
        call.buckets.add(bucket)
    return _shown(call, bucket)


def _check_name(name: str) -> None:
    """https://cloud.google.com/storage/docs/buckets#naming"""
    parts = name.split(".")
    if (
        not _NAME.fullmatch(name)
        or (len(parts) == 1 and len(name) > 63)
        or any(not part or len(part) > 63 for part in parts)
        or _ADDRESS.fullmatch(name)
        or name.startswith("goog")
        or "google" in name
    ):
        raise invalid(f"Invalid bucket name: '{name}'")


def _properties(body: dict[str, Any], held: dict[str, Any] | None = None) -> dict[str, object]:
    """The settings of a bucket that a request's body has; refuses those that the kit would not give effect to.

    ``held`` is how access is decided now, where the body is merged into it.
    """
    for name, harmless in _WITHOUT_EFFECT.items():
        if name in body and body[name] not in harmless:
            raise refused(f"the bucket setting {name}")
    for name in body:
        if name not in _KEPT and name not in _GIVEN and name not in _WITHOUT_EFFECT:
            raise refused(f"the bucket setting {name}")
    check_types(body, _TYPES)
    check_types(body.get("labels") or {}, dict.fromkeys(body.get("labels") or {}, str), "labels.")
    kept: dict[str, object] = {name: body[name] for name in _KEPT if body.get(name) is not None}
    if kept.get("storageClass", "STANDARD") not in STORAGE_CLASSES:
        raise invalid(f"Invalid storage class: {kept['storageClass']}")
    if "iamConfiguration" in kept:
        kept["iamConfiguration"] = _access(body["iamConfiguration"], held)
    return kept


def _access(asked: dict[str, Any], held: dict[str, Any] | None = None) -> dict[str, Any]:
    """How access is decided: by roles alone, or (as is usual until it is set) by access control lists beside them."""
    types = {"uniformBucketLevelAccess": dict, "bucketPolicyOnly": dict, "publicAccessPrevention": str}
    check_types(asked, types, "iamConfiguration.")
    old = asked.get("uniformBucketLevelAccess") is None and asked.get("bucketPolicyOnly") is not None
    asked = (held or {}) | asked
    uniform_access = asked.get("bucketPolicyOnly" if old else "uniformBucketLevelAccess") or {}
    check_types(uniform_access, {"enabled": bool}, "uniformBucketLevelAccess.")
    uniform = bool(uniform_access.get("enabled", False))
    if asked.get("publicAccessPrevention", "inherited") not in ("inherited", "enforced", "unspecified"):
        raise invalid(f"Invalid publicAccessPrevention: {asked['publicAccessPrevention']}")
    return {
        "bucketPolicyOnly": {"enabled": uniform},
        "uniformBucketLevelAccess": {"enabled": uniform},
        "publicAccessPrevention": asked.get("publicAccessPrevention", "inherited"),
    }


def _check_uniform(call: StorageCall, access: Any) -> None:
    """Raises where roles alone are to decide no more and have conditions, which access control lists know nothing of.

    https://cloud.google.com/storage/docs/uniform-bucket-level-access#should-you-use
    """
    policy = call.cloud.iam.policies.get(iam_resources.bucket_name(call.bucket))
    if policy and policy.version == 3 and not (access or {}).get("uniformBucketLevelAccess", {}).get("enabled"):
        raise StorageError(
            412,
            "conditionNotMet",
            "Uniform bucket-level access cannot be disabled while the bucket's policy has IAM conditions.",
        )


def get(call: StorageCall) -> Response:
    bucket = call.buckets.get(call.bucket)
    storage_conditions.check_bucket(call, bucket)
    return _shown(call, bucket)


def list_buckets(call: StorageCall) -> Response:
    project = call.cloud.projects.find(call.parameter("project"))
    prefix = call.query.get("prefix", "")
    found = [each for each in call.buckets.of_project(project.id) if each.name.startswith(prefix)]
    page, token = page_of(call, found, lambda each: each.name)
    answer: dict[str, Any] = {"kind": "storage#buckets"}
    if page:
        answer["items"] = [resource(each, project.number) for each in page]
    if token:
        answer["nextPageToken"] = token
    return call.answer(answer)


def patch(call: StorageCall) -> Response:
    """Changes what the body names: null takes a setting away, labels are merged."""
    return _changed(call, merge=True)


def update(call: StorageCall) -> Response:
    """Sets everything to what the body says."""
    return _changed(call, merge=False)


def _changed(call: StorageCall, *, merge: bool) -> Response:
    body = call.body()
    with call.buckets.lock:
        bucket = call.buckets.get(call.bucket)
        storage_conditions.check_bucket(call, bucket)
        usual: dict[str, object] = {"storageClass": "STANDARD", "iamConfiguration": _access({})}
        before = dict(bucket.properties) if merge else usual
        held = before.get("iamConfiguration") if merge else None
        changed = before | _properties(body, held)  # type: ignore[arg-type]
        if merge:
            changed = {name: value for name, value in changed.items() if name not in body or body[name] is not None}
            if isinstance(body.get("labels"), dict):
                labels = {**(before.get("labels") or {}), **body["labels"]}  # type: ignore[dict-item]
                changed["labels"] = {name: value for name, value in labels.items() if value is not None}
        _check_uniform(call, changed.get("iamConfiguration"))
        bucket.properties = usual | changed
        bucket.metageneration += 1
        bucket.updated = call.buckets.now()
        return _shown(call, bucket)


def delete(call: StorageCall) -> Response:
    with call.buckets.lock:
        bucket = call.buckets.get(call.bucket)
        storage_conditions.check_bucket(call, bucket)
        if bucket.objects:
            raise StorageError(409, "conflict", "The bucket you tried to delete is not empty.")
        call.buckets.remove(bucket.name)
        call.cloud.iam.policies.remove(iam_resources.bucket_name(bucket.name))
    return Response(204)


def layout(call: StorageCall) -> Response:
    bucket = call.buckets.get(call.bucket)
    return call.answer(
        {
            "kind": "storage#storageLayout",
            "bucket": bucket.name,
            "location": bucket.location,
            "locationType": _WIDE.get(bucket.location, "region"),
            "hierarchicalNamespace": {"enabled": False},
        }
    )


def list_managed_folders(call: StorageCall) -> Response:
    """The bucket's managed folders: none, because making one refuses. gcloud asks before it removes a bucket."""
    call.buckets.get(call.bucket)
    return call.answer({"kind": "storage#managedFolders"})


def service_account(call: StorageCall) -> Response:
    project = call.cloud.projects.find(call.query["project"])
    email = f"service-{project.number}@gs-project-accounts.iam.gserviceaccount.com"
    return call.answer({"kind": "storage#serviceAccount", "email_address": email})


_BUCKET = "/storage/v1/b/{bucket}"
_SETTINGS = "labels, storage class, location and access settings; versioning, lifecycle rules and the like refuse"

ROUTES = [
    Route("buckets.insert", "POST", "/storage/v1/b", "storage.buckets.create", insert, _SETTINGS),
    Route("buckets.list", "GET", "/storage/v1/b", "storage.buckets.list", list_buckets),
    Route("buckets.get", "GET", _BUCKET, "storage.buckets.get", get),
    Route("buckets.patch", "PATCH", _BUCKET, "storage.buckets.update", patch, _SETTINGS),
    Route("buckets.update", "PUT", _BUCKET, "storage.buckets.update", update, _SETTINGS),
    Route("buckets.delete", "DELETE", _BUCKET, "storage.buckets.delete", delete),
    Route("buckets.getStorageLayout", "GET", f"{_BUCKET}/storageLayout", "storage.objects.list", layout),
    Route(
        "managedFolders.list",
        "GET",
        f"{_BUCKET}/managedFolders",
        "storage.managedFolders.list",
        list_managed_folders,
        "there are none: making one refuses",
    ),
    Route(
        "projects.serviceAccount.get",
        "GET",
        "/storage/v1/projects/{project}/serviceAccount",
        "resourcemanager.projects.get",
        service_account,
    ),
]
