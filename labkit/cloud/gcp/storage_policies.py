"""Policies of buckets: read, set and asked about.

https://cloud.google.com/storage/docs/json_api/v1/buckets/getIamPolicy, .../setIamPolicy, .../testIamPermissions
"""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import parse_qsl

from labkit.cloud.gcp import audit_logs, iam_policy_service, iam_resources, iam_roles
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.iam_members import ALL_AUTHENTICATED, ALL_USERS
from labkit.cloud.gcp.iam_policies import Policy
from labkit.cloud.gcp.storage import Route, StorageCall
from labkit.cloud.gcp.storage_errors import StorageError, check_types, invalid, required
from labkit.cloud.gcp.storage_store import Bucket
from labkit.cloud.http import Response


def get_policy(call: StorageCall) -> Response:
    bucket = call.buckets.get(call.bucket)
    version = call.number("optionsRequestedPolicyVersion") or 1
    policy = call.cloud.iam.policies.get(iam_resources.bucket_name(bucket.name))
    assert policy is not None
    if policy.version > version:
        raise invalid(
            f"Requested policy version ({version}) cannot be less than the existing policy version (3). For more "
            "information, please refer to https://cloud.google.com/iam/docs/policies#versions."
        )
    return call.answer(_shown(bucket, policy))


def set_policy(call: StorageCall) -> Response:
    bucket, body = call.buckets.get(call.bucket), call.body()
    check_types(body, {"bindings": list, "etag": str})
    bindings = [each if isinstance(each, dict) else {} for each in body.get("bindings") or []]
    settings = bucket.properties.get("iamConfiguration")
    closed = isinstance(settings, dict) and settings.get("publicAccessPrevention") == "enforced"
    uniform = isinstance(settings, dict) and bool((settings.get("uniformBucketLevelAccess") or {}).get("enabled"))
    if closed and any({ALL_USERS, ALL_AUTHENTICATED} & set(each.get("members") or ()) for each in bindings):
        raise StorageError(
            412,
            "conditionNotMet",
            "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access prevention is "
            "enforced.",
        )
    if not uniform and any(each.get("condition") for each in bindings):
        raise StorageError(
            412,
            "conditionNotMet",
            "IAM conditions are only allowed on buckets with uniform bucket-level access enabled.",
        )
    try:
        etag = base64.b64decode(body.get("etag") or "", validate=True)
        name, iam = iam_resources.bucket_name(bucket.name), call.cloud.iam
        read = Policy(iam_policy_service.read_bindings(iam, name, bindings))
        held = iam.policies.get(name) or Policy()
        made = iam.policies.set(name, read, version=int(body.get("version") or 0), etag=etag)
        call.policy_change = audit_logs.policy_change(held, made)
    except (binascii.Error, ValueError):
        raise invalid("Invalid value for etag or version.") from None
    except GcpError as error:
        if error.code == "ABORTED":
            raise StorageError(412, "conditionNotMet", "Precondition Failed") from None
        raise
    return call.answer(_shown(bucket, made))


def test_permissions(call: StorageCall) -> Response:
    """Which of the named permissions the caller has on the bucket."""
    bucket = call.buckets.get(call.bucket)
    asked = [value for name, value in parse_qsl(call.request.query) if name == "permissions"]
    if not asked:
        raise required("permissions")
    for each in asked:
        if each not in iam_roles.permissions() or not each.startswith("storage."):
            raise invalid(f"Invalid permission: {each}")
    place = iam_resources.bucket_place(bucket.project, bucket.name)
    principal = call.caller.principal if call.caller else ""
    held = [each for each in asked if call.cloud.iam.allowed(principal, each, place)]
    answer: dict[str, Any] = {"kind": "storage#testIamPermissionsResponse"}
    return call.answer(answer | ({"permissions": held} if held else {}))


def _shown(bucket: Bucket, policy: Policy) -> dict[str, Any]:
    bindings = []
    for each in policy.bindings:
        binding: dict[str, Any] = {"role": each.role, "members": list(each.members)}
        if each.condition is not None:
            binding["condition"] = {"title": each.title, "expression": each.condition.expression}
            if each.description:
                binding["condition"]["description"] = each.description
        bindings.append(binding)
    return {
        "kind": "storage#policy",
        "resourceId": f"projects/_/buckets/{bucket.name}",
        "version": policy.version,
        "etag": base64.b64encode(policy.etag).decode(),
        "bindings": bindings,
    }


_IAM = "/storage/v1/b/{bucket}/iam"

ROUTES = [
    Route("buckets.getIamPolicy", "GET", _IAM, "storage.buckets.getIamPolicy", get_policy),
    Route("buckets.setIamPolicy", "PUT", _IAM, "storage.buckets.setIamPolicy", set_policy, iam_policy_service.NOTE),
    Route("buckets.testIamPermissions", "GET", f"{_IAM}/testPermissions", "", test_permissions),
]
