"""What a request says for the condition keys of its service, and the tags that it names.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labkit.cloud.aws import access, moto_base, s3_state, s3_tags, sagemaker_conditions
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.resource_tags import tags_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Clients of the local clouds run on the same machine.
ADDRESS = "127.0.0.1"

_LISTS = ("ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads")


def module_of(service: str) -> Any:
    """The module with the kit's own functions of a service, or None for a service that is not served."""
    from labkit.cloud.aws.front import OWN, own

    return own(service) if service in OWN else None


def tags(call: Call, parameters: Mapping[str, Any], resource: str) -> dict[str, Any]:
    """``aws:RequestTag/``, ``aws:TagKeys`` and ``aws:ResourceTag/``, and the service's own form of the last."""
    asked = _request_tags(parameters)
    found: dict[str, Any] = {f"aws:requesttag/{key.lower()}": value for key, value in asked.items()}
    keys = list(asked) or list(parameters.get("TagKeys") or parameters.get("tagKeys") or [])
    if keys:
        found["aws:tagkeys"] = keys
    service = resource.split(":")[2] if resource.startswith("arn:") else call.service
    for key, value in tags_of(call.cloud, resource).items():
        found[f"aws:resourcetag/{key.lower()}"] = value
        found[f"{service}:resourcetag/{key.lower()}"] = value
    return found


def _request_tags(parameters: Mapping[str, Any]) -> dict[str, str]:
    given = parameters.get("Tags") or parameters.get("tags") or {}
    if isinstance(given, Mapping):
        return {str(key): str(value) for key, value in given.items()}
    pairs = ((each.get("Key", each.get("key")), each.get("Value", each.get("value", ""))) for each in given)
    return {str(key): str(value) for key, value in pairs if key is not None}


def of_service(call: Call, parameters: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """The service's own keys of this request."""
    found: dict[str, Any] = {}
    if call.service == "s3":
        found = dict(_s3(call, parameters, query))
    elif call.service == "iam":
        found["iam:permissionsboundary"] = parameters.get("PermissionsBoundary") or _boundary_of(call, parameters)
        if call.operation.startswith(("Attach", "Detach")):
            found["iam:policyarn"] = parameters.get("PolicyArn")
    elif call.service == "sts":
        found["sts:externalid"] = parameters.get("ExternalId")
        found["sts:rolesessionname"] = parameters.get("RoleSessionName")
        if "DurationSeconds" in parameters:
            found["sts:durationseconds"] = str(parameters["DurationSeconds"])
    elif call.service in ("sagemaker", "sagemaker-runtime"):
        found = dict(sagemaker_conditions.of_request(call, parameters))
    elif call.service == "cloudwatch":
        found["cloudwatch:namespace"] = parameters.get("Namespace")
    if own := getattr(module_of(call.service), "condition_keys", None):
        found |= {name.lower(): value for name, value in own(call, parameters).items()}
    return found


def _boundary_of(call: Call, parameters: Mapping[str, Any]) -> str | None:
    """The boundary of the user or role that an operation changes."""
    with moto_base.lock("iam"):
        records = call.cloud.identities.iam()
        named = access.role_named(records, parameters.get("RoleName")) or records.users.get(parameters.get("UserName"))
        return getattr(named, "permissions_boundary_arn", None) or None


# -- S3 ------------------------------------------------------------------------------------------------------------


def _s3(call: Call, parameters: Mapping[str, Any], query: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    headers = call.request.headers
    for name, value in headers.items:
        if name.lower().startswith("x-amz-"):
            yield f"s3:{name.lower()}", value
    for header in ("if-match", "if-none-match"):
        if value := headers.get(header):
            yield f"s3:{header}", value
    if call.operation in _LISTS:
        yield "s3:prefix", parameters.get("Prefix", "")
        yield "s3:delimiter", parameters.get("Delimiter")
        if "MaxKeys" in parameters:
            yield "s3:max-keys", str(parameters["MaxKeys"])
    yield "s3:resourceaccount", call.account
    yield "s3:versionid", parameters.get("VersionId") or None
    yield "s3:locationconstraint", parameters.get("CreateBucketConfiguration", {}).get("LocationConstraint")
    signed = headers.get("authorization")
    yield "s3:authtype", "REST-HEADER" if signed else "REST-QUERY-STRING"
    is_v4 = signed.startswith("AWS4") or "X-Amz-Algorithm" in query
    yield "s3:signatureversion", "AWS4-HMAC-SHA256" if is_v4 else "AWS"
    asked = dict(parse_qsl(str(parameters.get("Tagging", "")))) if isinstance(parameters.get("Tagging"), str) else {}
    if isinstance(parameters.get("Tagging"), Mapping):
        asked = {each.get("Key", ""): each.get("Value", "") for each in parameters["Tagging"].get("TagSet", [])}
    if asked:
        yield "s3:requestobjecttagkeys", list(asked)
        for key, value in asked.items():
            yield f"s3:requestobjecttag/{key.lower()}", value
    for key, value in _object_tags(parameters).items():
        yield f"s3:existingobjecttag/{key.lower()}", value


def _object_tags(parameters: Mapping[str, Any]) -> dict[str, str]:
    bucket, key = parameters.get("Bucket"), parameters.get("Key")
    if not bucket or not key:
        return {}
    with moto_base.lock("s3"):
        try:
            return s3_tags.of_record(s3_state.find(s3_state.bucket(bucket), key, parameters.get("VersionId")))
        except AwsError:
            return {}
