"""S3: multipart uploads. https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkit.cloud.aws import moto_base, s3_events, s3_state, s3_tags
from labkit.cloud.aws.checksums import ALGORITHMS, checksum
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.s3_objects import (
    check_archived,
    check_copy_conditions,
    check_write_conditions,
    checksum_members,
    given_checksum,
    metadata_of,
)
from labkit.cloud.aws.s3_state import invalid, malformed_xml

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: The smallest part but the last, in bytes.
SMALLEST_PART = 5 * 1024 * 1024
MOST_PARTS = 10_000


def create_multipart_upload(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    algorithm = parameters.get("ChecksumAlgorithm")
    kind = parameters.get("ChecksumType") or ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
    if (algorithm == "CRC64NVME" and kind == "COMPOSITE") or (
        algorithm in ("SHA1", "SHA256") and kind == "FULL_OBJECT"
    ):
        message = f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        raise AwsError("InvalidRequest", message, 400)
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        upload = moto_base.models("s3").FakeMultipart(
            parameters["Key"],
            metadata_of(call, parameters),
            account_id=holder.account_id,
            region_name=holder.region_name,
            storage=parameters.get("StorageClass", s3_state.STANDARD),
            tags=s3_tags.of_header(parameters),
        )
        upload.labkit_started = call.engine.clock.now()
        upload.labkit_initiator = call.key.principal
        upload.labkit_checksum = (algorithm, kind) if algorithm else None
        holder.multiparts[upload.id] = upload
    return {
        "Bucket": parameters["Bucket"],
        "Key": parameters["Key"],
        "UploadId": upload.id,
        "ServerSideEncryption": s3_state.ENCRYPTION,
        "ChecksumAlgorithm": algorithm,
        "ChecksumType": kind if algorithm else None,
    }


def find_upload(holder: Any, parameters: dict[str, Any]) -> Any:
    """moto's record of an upload in progress. Raises ``NoSuchUpload``."""
    upload = holder.multiparts.get(parameters["UploadId"])
    if upload is None or upload.key_name != parameters["Key"]:
        message = (
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
            "completed."
        )
        raise AwsError("NoSuchUpload", message, 404, UploadId=parameters["UploadId"])
    return upload


def _part_number(parameters: dict[str, Any]) -> int:
    number: int = parameters["PartNumber"]
    if not 1 <= number <= MOST_PARTS:
        message = f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive"
        raise invalid("partNumber", number, message)
    return number


def _keep_part(upload: Any, number: int, data: bytes, given: tuple[str, str] | None) -> Any:
    part = upload.set_part(number, data)
    part.checksum_algorithm, part.checksum_value = given or (None, None)
    return part


def upload_part(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    number, data = _part_number(parameters), call.body
    given = given_checksum(call, parameters, data)
    with moto_base.lock("s3"):
        upload = find_upload(s3_state.bucket(parameters["Bucket"]), parameters)
        part = _keep_part(upload, number, data, given)
        checksums = {f"Checksum{given[0]}": given[1]} if given else {}
        return {"ETag": part.etag, "ServerSideEncryption": s3_state.ENCRYPTION, **checksums}


def upload_part_copy(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    number = _part_number(parameters)
    name, key, version = s3_state.copy_source(parameters["CopySource"])
    with moto_base.lock("s3"):
        upload = find_upload(s3_state.bucket(parameters["Bucket"]), parameters)
        holder = s3_state.bucket(name)
        source = s3_state.find(holder, key, version)
        check_archived(source)
        check_copy_conditions(source, parameters)
        data = source.value
        if asked := parameters.get("CopySourceRange"):
            matched = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
            if matched is None or int(matched[1]) > int(matched[2]):
                message = (
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are"
                )
                raise invalid(
                    "x-amz-copy-source-range",
                    asked,
                    f"{message} the zero-based offsets of the first and last bytes to copy",
                )
            if int(matched[2]) >= len(data):
                message = f"Range specified is not valid for source object of size: {len(data)}"
                raise invalid("x-amz-copy-source-range", asked, message)
            data = data[int(matched[1]) : int(matched[2]) + 1]
        algorithm = upload.labkit_checksum[0] if upload.labkit_checksum else None
        given = (algorithm, checksum(algorithm, data)) if algorithm else None
        part = _keep_part(upload, number, data, given)
        result = {"ETag": part.etag, "LastModified": part.last_modified}
        if given:
            result[f"Checksum{given[0]}"] = given[1]
        return {
            "CopyPartResult": result,
            "CopySourceVersionId": s3_state.version_of(holder, source),
            "ServerSideEncryption": s3_state.ENCRYPTION,
        }


def complete_multipart_upload(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    key, listed = parameters["Key"], parameters.get("MultipartUpload", {}).get("Parts", [])
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        done = s3_state.latest(holder, key)
        if done is not None and getattr(done, "labkit_upload", "") == parameters["UploadId"]:
            return _completed(holder, done)
        upload = find_upload(holder, parameters)
        if not listed:
            raise malformed_xml()
        parts = _listed_parts(upload, listed)
        check_write_conditions(holder, parameters)
        data = b"".join(part.value for part in parts)
        if (size := parameters.get("MpuObjectSize")) is not None and int(size) != len(data):
            message = (
                f"The provided 'x-amz-mp-object-size' header value {size} does not match what was computed: {len(data)}"
            )
            raise AwsError("InvalidRequest", message, 400)
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        kind, whole = _whole_checksum(upload, parts, data)
        told = next(
            (parameters[f"Checksum{name.upper()}"] for name in ALGORITHMS if f"Checksum{name.upper()}" in parameters),
            None,
        )
        if told and whole and told.partition("-")[0] != whole[1].partition("-")[0]:
            message = f"The {whole[0].upper()} you specified did not match the calculated checksum."
            raise AwsError("BadDigest", message, 400)
        record = s3_state.store(
            holder,
            key,
            data,
            upload.metadata,
            etag=f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}",
            storage_class=upload.storage,
            checksum=whole,
            checksum_type=kind,
        )
        s3_tags.put(record, upload.tags)
        record.labkit_parts = [(part.name, part.size) for part in parts]
        record.labkit_upload = upload.id
        _forget(holder, upload)
        change = s3_events.of_record("ObjectCreated:CompleteMultipartUpload", holder, record)
        result = _completed(holder, record)
    s3_events.tell(s3_events.By.of(call), holder, change)
    return result


def _listed_parts(upload: Any, listed: list[dict[str, Any]]) -> list[Any]:
    """The parts that a completion names. Raises ``InvalidPartOrder``, ``InvalidPart``, ``EntityTooSmall``."""
    numbers = [int(each.get("PartNumber", 0)) for each in listed]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        message = (
            "The list of parts was not in ascending order. The parts list must be specified in order by part number."
        )
        raise AwsError("InvalidPartOrder", message, 400, UploadId=upload.id)
    found = []
    for number, each in zip(numbers, listed, strict=True):
        part, etag = upload.parts.get(number), str(each.get("ETag", "")).strip('"')
        told = next((value for name, value in each.items() if name.startswith("Checksum")), None)
        if (
            part is None
            or part.etag.strip('"') != etag
            or (told and part.checksum_value and told != part.checksum_value)
        ):
            message = (
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
                "specified entity tag may not match the part's entity tag."
            )
            raise AwsError("InvalidPart", message, 400, UploadId=upload.id, PartNumber=number, ETag=etag)
        found.append(part)
    for part in found[:-1]:
        if part.size < SMALLEST_PART:
            message = "Your proposed upload is smaller than the minimum allowed size"
            details = {"ETag": part.etag.strip('"'), "MinSizeAllowed": SMALLEST_PART, "PartNumber": part.name}
            raise AwsError("EntityTooSmall", message, 400, ProposedSize=part.size, **details)
    return found


def _whole_checksum(upload: Any, parts: list[Any], data: bytes) -> tuple[str, tuple[str, str] | None]:
    """The type and the value of the finished object's checksum; none when the upload was begun without one."""
    if upload.labkit_checksum is None:
        return "FULL_OBJECT", None
    algorithm, kind = upload.labkit_checksum
    if kind == "FULL_OBJECT":
        return kind, (algorithm, checksum(algorithm, data))
    each = (part.checksum_value or checksum(algorithm, part.value) for part in parts)
    return kind, (algorithm, f"{checksum(algorithm, b''.join(b64decode(value) for value in each))}-{len(parts)}")


def _completed(holder: Any, record: Any) -> dict[str, Any]:
    return {
        "Location": f"https://{holder.name}.s3.{holder.region_name}.amazonaws.com/{quote(record.name, safe='')}",
        "Bucket": holder.name,
        "Key": record.name,
        "ETag": record.etag,
        "VersionId": s3_state.version_of(holder, record),
        "ServerSideEncryption": record.encryption,
        **checksum_members(record),
    }


def _forget(holder: Any, upload: Any) -> None:
    upload.dispose()
    dict.pop(holder.multiparts, upload.id)


def abort_multipart_upload(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        _forget(holder, find_upload(holder, parameters))
    return {}


def list_parts(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    most = min(parameters.get("MaxParts", 1000), 1000)
    after = int(parameters.get("PartNumberMarker") or 0)
    with moto_base.lock("s3"):
        upload = find_upload(s3_state.bucket(parameters["Bucket"]), parameters)
        left = [upload.parts[number] for number in sorted(upload.parts) if number > after]
        page = left[:most]
        shown = []
        for part in page:
            each = {"PartNumber": part.name, "LastModified": part.last_modified, "ETag": part.etag, "Size": part.size}
            if part.checksum_value:
                each[f"Checksum{part.checksum_algorithm}"] = part.checksum_value
            shown.append(each)
        algorithm, kind = upload.labkit_checksum or (None, None)
        return {
            "Bucket": parameters["Bucket"],
            "Key": parameters["Key"],
            "UploadId": upload.id,
            "PartNumberMarker": after,
            "NextPartNumberMarker": page[-1].name if page else 0,
            "MaxParts": most,
            "IsTruncated": len(left) > len(page),
            "Parts": shown,
            "Initiator": {"ID": upload.labkit_initiator},
            "Owner": s3_state.OWNER,
            "StorageClass": upload.storage,
            "ChecksumAlgorithm": algorithm,
            "ChecksumType": kind,
        }


OPERATIONS = {
    "AbortMultipartUpload": abort_multipart_upload,
    "CompleteMultipartUpload": complete_multipart_upload,
    "CreateMultipartUpload": create_multipart_upload,
    "ListParts": list_parts,
    "UploadPart": upload_part,
    "UploadPartCopy": upload_part_copy,
}
