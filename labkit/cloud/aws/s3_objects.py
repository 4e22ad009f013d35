"""S3: objects. https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labkit.cloud.aws import moto_base, s3_events, s3_state, s3_tags
from labkit.cloud.aws.checksums import ALGORITHMS, checksum
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.protocols import Answer
from labkit.cloud.aws.resources import Need
from labkit.cloud.aws.s3_state import find, invalid, malformed_xml, precondition_failed
from labkit.cloud.engine.errors import Denied

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Parameter -> the response header that an object's metadata is kept under.
SYSTEM_METADATA = {
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentLanguage": "Content-Language",
    "ContentType": "Content-Type",
}
_OVERRIDES = {f"Response{name}": name for name in SYSTEM_METADATA}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


# -- writing -------------------------------------------------------------------------------------------------------


def put_object(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    data = call.body
    given = given_checksum(call, parameters, data)
    tags = s3_tags.of_header(parameters)
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        check_write_conditions(holder, parameters)
        record = s3_state.store(
            holder,
            parameters["Key"],
            data,
            metadata_of(call, parameters),
            storage_class=parameters.get("StorageClass", s3_state.STANDARD),
            checksum=given,
        )
        s3_tags.put(record, tags)
        change = s3_events.of_record("ObjectCreated:Put", holder, record)
        result = {
            "ETag": record.etag,
            "ServerSideEncryption": record.encryption,
            "VersionId": s3_state.version_of(holder, record),
            **checksum_members(record),
        }
    s3_events.tell(s3_events.By.of(call), holder, change)
    return result


def given_checksum(call: Call, parameters: Mapping[str, Any], data: bytes) -> tuple[str, str] | None:
    """(algorithm, value) of the checksum that a client sent in a header or trailer, verified before."""
    for algorithm in ALGORITHMS:
        if value := parameters.get(f"Checksum{algorithm.upper()}"):
            return algorithm.upper(), value
    named = str(parameters.get("ChecksumAlgorithm", ""))
    return (named, checksum(named, data)) if named.lower() in ALGORITHMS else None


def metadata_of(call: Call, parameters: Mapping[str, Any]) -> dict[str, str]:
    """What is kept with an object, by the header that tells it; the names of user metadata in lower case."""
    kept = {"Content-Type": "binary/octet-stream"}
    kept |= {header: parameters[name] for name, header in SYSTEM_METADATA.items() if parameters.get(name)}
    if expires := call.request.headers.get("expires"):
        kept["Expires"] = expires
    for name, value in parameters.get("Metadata", {}).items():
        kept[f"x-amz-meta-{name}"] = value
    return kept


def check_write_conditions(holder: Any, parameters: Mapping[str, Any]) -> None:
    """Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""
    current = s3_state.latest(holder, parameters["Key"])
    if wanted := parameters.get("IfMatch"):
        if current is None:
            raise s3_state.no_such_key(parameters["Key"])
        if not _etag_in(current.etag, wanted):
            raise precondition_failed("If-Match")
    if none := parameters.get("IfNoneMatch"):
        if none != "*":
            message = "A header you provided implies functionality that is not implemented"
            raise AwsError("NotImplemented", message, 501, Header="If-None-Match")
        if current is not None:
            raise precondition_failed("If-None-Match")


def copy_object(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    source_bucket, source_key, source_version = s3_state.copy_source(parameters["CopySource"])
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        source_holder = s3_state.bucket(source_bucket)
        source = find(source_holder, source_key, source_version)
        check_archived(source)
        check_copy_conditions(source, parameters)
        check_write_conditions(holder, parameters)
        replaced = parameters.get("MetadataDirective") == "REPLACE"
        same = (source_bucket, source_key, source_version) == (parameters["Bucket"], parameters["Key"], None)
        if same and not replaced and not parameters.get("StorageClass") and not parameters.get("ServerSideEncryption"):
            message = (
                "This copy request is illegal because it is trying to copy an object to itself without changing the "
                "object's metadata, storage class, website redirect location or encryption attributes."
            )
            raise AwsError("InvalidRequest", message, 400)
        data = source.value
        algorithm = parameters.get("ChecksumAlgorithm") or source.checksum_algorithm
        keeps = algorithm == source.checksum_algorithm and source.checksum_type == "FULL_OBJECT"
        retagged = parameters.get("TaggingDirective") == "REPLACE"
        tags = s3_tags.of_header(parameters) if retagged else s3_tags.of_record(source)
        record = s3_state.store(
            holder,
            parameters["Key"],
            data,
            metadata_of(call, parameters) if replaced else dict(source.metadata),
            storage_class=parameters.get("StorageClass", s3_state.STANDARD),
            checksum=(algorithm, source.checksum_value if keeps else checksum(algorithm, data)) if algorithm else None,
        )
        s3_tags.put(record, tags)
        change = s3_events.of_record("ObjectCreated:Copy", holder, record)
        copied = {"ETag": record.etag, "LastModified": record.last_modified, **checksum_members(record)}
        result = {
            "CopyObjectResult": copied,
            "CopySourceVersionId": s3_state.version_of(source_holder, source),
            "VersionId": s3_state.version_of(holder, record),
            "ServerSideEncryption": record.encryption,
        }
    s3_events.tell(s3_events.By.of(call), holder, change)
    return result


def check_copy_conditions(source: Any, parameters: Mapping[str, Any]) -> None:
    """Raises ``PreconditionFailed`` when the source is not as ``x-amz-copy-source-if-*`` asks."""
    modified = source.last_modified.replace(microsecond=0)
    if (wanted := parameters.get("CopySourceIfMatch")) and not _etag_in(source.etag, wanted):
        raise precondition_failed("x-amz-copy-source-If-Match")
    if (unwanted := parameters.get("CopySourceIfNoneMatch")) and _etag_in(source.etag, unwanted):
        raise precondition_failed("x-amz-copy-source-If-None-Match")
    before = parameters.get("CopySourceIfUnmodifiedSince")
    if before and modified > before and not parameters.get("CopySourceIfMatch"):
        raise precondition_failed("x-amz-copy-source-If-Unmodified-Since")
    after = parameters.get("CopySourceIfModifiedSince")
    if after and modified <= after and not parameters.get("CopySourceIfNoneMatch"):
        raise precondition_failed("x-amz-copy-source-If-Modified-Since")


def delete_object(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        if wanted := parameters.get("IfMatch"):
            current = s3_state.latest(holder, parameters["Key"])
            if current is None:
                raise s3_state.no_such_key(parameters["Key"])
            if not _etag_in(current.etag, wanted):
                raise precondition_failed("If-Match")
        version, marker, changes = _delete(holder, parameters["Key"], parameters.get("VersionId"))
    s3_events.tell(s3_events.By.of(call), holder, *changes)
    return {"VersionId": version, "DeleteMarker": marker or None}


def _delete(holder: Any, key: str, version: str | None) -> tuple[str | None, bool, list[s3_events.Change]]:
    """Deletes an object or a version; returns what :func:`s3_state.delete` does, and what there is to tell of it."""
    before = len(s3_state.versions(holder, key))
    told, marker = s3_state.delete(holder, key, version)
    added = len(s3_state.versions(holder, key)) - before
    if marker and version is None:
        return told, marker, [s3_events.Change("ObjectRemoved:DeleteMarkerCreated", key, told)]
    return told, marker, [s3_events.Change("ObjectRemoved:Delete", key, told)] if added < 0 else []


def delete_objects(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    asked = parameters["Delete"]
    objects = asked.get("Objects", [])
    if not 1 <= len(objects) <= 1000:
        raise malformed_xml()
    deleted: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    gone: list[s3_events.Change] = []
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        for each in objects:
            key, version = each["Key"], each.get("VersionId")
            try:
                _may_delete(call, holder.name, key, version)
                told, marker, changes = _delete(holder, key, version)
            except (AwsError, Denied) as error:
                code = error.code or "AccessDenied"
                failed.append({"Key": key, "VersionId": version, "Code": code, "Message": error.message})
                continue
            gone += changes
            news = {"Key": key, "VersionId": version}
            if marker:
                news |= {"DeleteMarker": True, "DeleteMarkerVersionId": told}
            deleted.append(news)
    s3_events.tell(s3_events.By.of(call), holder, *gone)
    return {"Deleted": [] if asked.get("Quiet") else deleted, "Errors": failed}


def _may_delete(call: Call, bucket: str, key: str, version: str | None) -> None:
    action = "s3:DeleteObjectVersion" if version else "s3:DeleteObject"
    need = Need(action, f"arn:aws:s3:::{bucket}/{key}")
    call.cloud.require(call, {"Bucket": bucket, "Key": key, "VersionId": version}, need)


# -- reading -------------------------------------------------------------------------------------------------------


def get_object(call: Call, parameters: dict[str, Any]) -> Answer:
    return _read(call, parameters, with_body=True)


def head_object(call: Call, parameters: dict[str, Any]) -> Answer:
    return _read(call, parameters, with_body=False)


def _read(call: Call, parameters: dict[str, Any], *, with_body: bool) -> Answer:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        record = _found(call, holder, parameters)
        if with_body:
            check_archived(record)
        result: dict[str, Any] = {
            "AcceptRanges": "bytes",
            "LastModified": record.last_modified,
            "ETag": record.etag,
            "VersionId": s3_state.version_of(holder, record),
            "ServerSideEncryption": record.encryption,
            "StorageClass": record.storage_class if record.storage_class != s3_state.STANDARD else None,
            "TagCount": len(s3_tags.of_record(record)) or None,
        }
        if _not_modified(record, parameters):
            return Answer(result, status=304)
        span, status, told = _span(call, parameters, record)
        result |= told
        body = record.value if with_body else b""
    for name, header in SYSTEM_METADATA.items():
        result[name] = record.metadata.get(header)
    result |= {name: parameters[override] for override, name in _OVERRIDES.items() if parameters.get(override)}
    prefix = "x-amz-meta-"
    result["Metadata"] = {n.removeprefix(prefix): v for n, v in record.metadata.items() if n.startswith(prefix)}
    result["ContentLength"] = span[1] - span[0]
    if parameters.get("ChecksumMode") == "ENABLED" and span == (0, record.size):
        result |= checksum_members(record)
    if with_body:
        result["Body"] = body if span == (0, len(body)) else body[slice(*span)]
    answer = Answer(result, status=status)
    expires = call.request.query and dict(parse_qsl(call.request.query)).get("response-expires")
    if expires := expires or record.metadata.get("Expires"):
        answer.headers.append(("expires", expires))
    return answer


def _found(call: Call, holder: Any, parameters: Mapping[str, Any]) -> Any:
    """The version that is asked for. Who may not list the bucket is not told that it is missing."""
    try:
        return find(holder, parameters["Key"], parameters.get("VersionId"))
    except AwsError as error:
        if error.code == "NoSuchKey":
            call.cloud.require(call, {"Bucket": holder.name}, Need("s3:ListBucket", f"arn:aws:s3:::{holder.name}"))
        raise


def _span(call: Call, parameters: Mapping[str, Any], record: Any) -> tuple[tuple[int, int], int, dict[str, Any]]:
    """What of an object is asked for: (first, one past last), HTTP status, and what the response tells of it."""
    size: int = record.size
    asked, number = parameters.get("Range"), parameters.get("PartNumber")
    parts: list[tuple[int, int]] = getattr(record, "labkit_parts", [])
    if asked and number:
        message = "Cannot specify both Range header and partNumber query parameter"
        raise AwsError("InvalidRequest", message, 400)
    if number:
        if number > max(len(parts), 1) or number < 1:
            message = "The requested partnumber is not satisfiable"
            raise AwsError("InvalidPartNumber", message, 416, ActualPartCount=max(len(parts), 1))
        start = sum(each for _, each in parts[: number - 1])
        end = start + parts[number - 1][1] if parts else size
        told: dict[str, Any] = {"ContentRange": f"bytes {start}-{end - 1}/{size}"} if size else {}
        return (start, end), 206, told | ({"PartsCount": len(parts)} if parts else {})
    matched = _RANGE.fullmatch(asked or "")
    if matched is None or matched[1] == matched[2] == "":
        return (0, size), 200, {}
    if not matched[1]:
        start, end = max(size - int(matched[2]), 0), size
    else:
        start, end = int(matched[1]), min(int(matched[2]) + 1, size) if matched[2] else size
        if matched[2] and int(matched[2]) < start:
            return (0, size), 200, {}
    if start >= size or start >= end:
        message = "The requested range is not satisfiable"
        raise AwsError("InvalidRange", message, 416, RangeRequested=asked, ActualObjectSize=size)
    return (start, end), 206, {"ContentRange": f"bytes {start}-{end - 1}/{size}"}


def _not_modified(record: Any, parameters: Mapping[str, Any]) -> bool:
    """Conditional reads, in the order of RFC 9110, 13.2.2. Raises ``PreconditionFailed``."""
    modified = record.last_modified.replace(microsecond=0)
    if wanted := parameters.get("IfMatch"):
        if not _etag_in(record.etag, wanted):
            raise precondition_failed("If-Match")
    elif (before := parameters.get("IfUnmodifiedSince")) and modified > before:
        raise precondition_failed("If-Unmodified-Since")
    if unwanted := parameters.get("IfNoneMatch"):
        return _etag_in(record.etag, unwanted)
    after: datetime | None = parameters.get("IfModifiedSince")
    return bool(after and modified <= after)


def _etag_in(etag: str, wanted: str) -> bool:
    names = [each.strip().removeprefix("W/").strip('"') for each in wanted.split(",")]
    return "*" in names or etag.strip('"') in names


def check_archived(record: Any) -> None:
    """Raises what S3 answers for an object that lies in an archive and was not restored."""
    if record.storage_class in s3_state.ARCHIVED:
        message = "The operation is not valid for the object's storage class"
        raise AwsError("InvalidObjectState", message, 403, StorageClass=record.storage_class)


def checksum_members(record: Any) -> dict[str, Any]:
    """An object's checksum as the members of a response."""
    if not record.checksum_algorithm or not record.checksum_value:
        return {}
    return {f"Checksum{record.checksum_algorithm}": record.checksum_value, "ChecksumType": record.checksum_type}


def get_object_attributes(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    asked = parameters["ObjectAttributes"]
    if wrong := [
        each for each in asked if each not in ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
    ]:
        raise invalid("x-amz-object-attributes", wrong[0], "Invalid attribute name specified.")
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        record = find(holder, parameters["Key"], parameters.get("VersionId"))
        parts: list[tuple[int, int]] = getattr(record, "labkit_parts", [])
        found: dict[str, Any] = {
            "ETag": record.etag.strip('"'),
            "Checksum": checksum_members(record) or None,
            "StorageClass": record.storage_class,
            "ObjectSize": record.size,
            "ObjectParts": _object_parts(parts, parameters) if parts else None,
        }
        return {
            "LastModified": record.last_modified,
            "VersionId": s3_state.version_of(holder, record),
            **{name: value for name, value in found.items() if name in asked},
        }


def _object_parts(parts: list[tuple[int, int]], parameters: Mapping[str, Any]) -> dict[str, Any]:
    after, most = int(parameters.get("PartNumberMarker") or 0), min(int(parameters.get("MaxParts") or 1000), 1000)
    left = [each for each in parts if each[0] > after]
    page = left[:most]
    return {
        "TotalPartsCount": len(parts),
        "PartNumberMarker": str(after),
        "NextPartNumberMarker": str(page[-1][0] if page else 0),
        "MaxParts": most,
        "IsTruncated": len(left) > len(page),
        "Parts": [{"PartNumber": number, "Size": size} for number, size in page],
    }


OPERATIONS = {
    "CopyObject": copy_object,
    "DeleteObject": delete_object,
    "DeleteObjects": delete_objects,
    "GetObject": get_object,
    "GetObjectAttributes": get_object_attributes,
    "HeadObject": head_object,
    "PutObject": put_object,
}
