"""S3: lists of buckets, objects, versions and uploads, page by page.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkit.cloud.aws import moto_base, s3_state
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.s3_state import invalid

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: The most entries of one page.
PAGE = 1000


@dataclass
class Page:
    """One page of a list: what stands in it, the prefixes that stand for more, and where the next begins."""

    items: list[Any] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: str = ""


def _page(
    entries: Iterable[tuple[str, Any]], parameters: dict[str, Any], after: str, most: int, *, resumed: bool = False
) -> Page:
    """Entries (name, item), sorted by name, from behind ``after``; a delimiter folds them into prefixes.

    ``resumed`` keeps the entries that are named ``after`` itself: a key may go on in the middle of its versions.
    """
    prefix, delimiter = parameters.get("Prefix", ""), parameters.get("Delimiter", "")
    page = Page()
    if most == 0:
        return page
    for name, item in entries:
        if not name.startswith(prefix):
            continue
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        folded = name[: cut + len(delimiter)] if cut >= 0 else ""
        if folded and ((page.prefixes and page.prefixes[-1] == folded) or folded <= after):
            continue
        if not folded and (name < after or (name == after and not resumed)):
            continue
        if len(page.items) + len(page.prefixes) == most:
            page.truncated = True
            break
        if folded:
            page.prefixes.append(folded)
        else:
            page.items.append(item)
        page.last = folded or name
    return page


def _most(parameters: dict[str, Any], name: str = "MaxKeys") -> int:
    most = parameters.get(name, PAGE)
    if most < 0:
        argument = "max-keys" if name == "MaxKeys" else "max-uploads"
        raise invalid(
            argument,
            most,
            f"Argument {'maxKeys' if name == 'MaxKeys' else 'maxUploads'} must be an integer between 0 and 2147483647",
        )
    return min(most, PAGE)


def _encoder(parameters: dict[str, Any]) -> Callable[[str], str]:
    """How names are written: as they are, or percent-encoded when the client asked for it."""
    kind = parameters.get("EncodingType")
    if kind not in (None, "url"):
        raise invalid("encoding-type", kind, "Invalid Encoding Method specified in Request")
    return (lambda name: quote(name, safe="/")) if kind else (lambda name: name)


def _object(record: Any, encode: Callable[[str], str], *, owner: bool) -> dict[str, Any]:
    return {
        "Key": encode(record.name),
        "LastModified": record.last_modified,
        "ETag": record.etag,
        "ChecksumAlgorithm": [record.checksum_algorithm] if record.checksum_algorithm else None,
        "ChecksumType": record.checksum_type if record.checksum_algorithm else None,
        "Size": record.size,
        "StorageClass": record.storage_class,
        "Owner": s3_state.OWNER if owner else None,
    }


def _current(holder: Any) -> list[tuple[str, Any]]:
    """The current objects of a bucket, sorted by key as UTF-8."""
    kept = ((name, listed[-1]) for name, listed in dict.items(holder.keys) if listed)
    return sorted(((name, each) for name, each in kept if not s3_state.is_marker(each)), key=lambda pair: pair[0])


def list_objects_v2(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    encode, most = _encoder(parameters), _most(parameters)
    token = parameters.get("ContinuationToken")
    after = _from_token(token) if token is not None else parameters.get("StartAfter", "")
    with moto_base.lock("s3"):
        page = _page(_current(s3_state.bucket(parameters["Bucket"])), parameters, after, most)
        contents = [_object(each, encode, owner=bool(parameters.get("FetchOwner"))) for each in page.items]
    return {
        "Name": parameters["Bucket"],
        "Prefix": encode(parameters.get("Prefix", "")),
        "Delimiter": encode(parameters["Delimiter"]) if parameters.get("Delimiter") else None,
        "MaxKeys": most,
        "KeyCount": len(page.items) + len(page.prefixes),
        "IsTruncated": page.truncated,
        "Contents": contents,
        "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
        "ContinuationToken": token,
        "NextContinuationToken": _token(page.last) if page.truncated else None,
        "StartAfter": encode(parameters["StartAfter"]) if parameters.get("StartAfter") else None,
        "EncodingType": parameters.get("EncodingType"),
    }


def _token(last: str) -> str:
    return "1" + urlsafe_b64encode(last.encode()).decode()


def _from_token(token: str) -> str:
    try:
        if token[:1] == "1":
            return urlsafe_b64decode(token[1:]).decode()
    except ValueError:
        pass
    raise invalid("continuation-token", token, "The continuation token provided is incorrect")


def list_objects(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    encode, most = _encoder(parameters), _most(parameters)
    with moto_base.lock("s3"):
        entries = _current(s3_state.bucket(parameters["Bucket"]))
        page = _page(entries, parameters, parameters.get("Marker", ""), most)
        contents = [_object(each, encode, owner=True) for each in page.items]
    delimiter = parameters.get("Delimiter")
    return {
        "Name": parameters["Bucket"],
        "Prefix": encode(parameters.get("Prefix", "")),
        "Marker": encode(parameters.get("Marker", "")),
        "Delimiter": encode(delimiter) if delimiter else None,
        "MaxKeys": most,
        "IsTruncated": page.truncated,
        "Contents": contents,
        "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
        "NextMarker": encode(page.last) if page.truncated and delimiter else None,
        "EncodingType": parameters.get("EncodingType"),
    }


def list_object_versions(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    encode, most = _encoder(parameters), _most(parameters)
    key_marker, version_marker = parameters.get("KeyMarker", ""), parameters.get("VersionIdMarker", "")
    if version_marker and not key_marker:
        message = "A version-id marker cannot be specified without a key marker."
        raise invalid("version-id-marker", version_marker, message)
    with moto_base.lock("s3"):
        holder = s3_state.bucket(parameters["Bucket"])
        entries: list[tuple[str, Any]] = []
        for name in sorted(dict.keys(holder.keys)):
            kept = s3_state.versions(holder, name)[::-1]
            newest = kept[0]
            if name == key_marker and version_marker:
                ids = [each.version_id for each in kept]
                kept = kept[ids.index(version_marker) + 1 :] if version_marker in ids else []
            entries += [(name, (each, each is newest)) for each in kept]
        page = _page(entries, parameters, key_marker, most, resumed=bool(version_marker))
        shown = [_version(record, newest, encode) for record, newest in page.items]
        last = page.items[-1][0] if page.items else None
        last_version = last.version_id if last is not None and last.name == page.last else None
    return {
        "Name": parameters["Bucket"],
        "Prefix": encode(parameters.get("Prefix", "")),
        "KeyMarker": encode(key_marker),
        "VersionIdMarker": version_marker,
        "NextKeyMarker": encode(page.last) if page.truncated else None,
        "NextVersionIdMarker": last_version if page.truncated else None,
        "Delimiter": encode(parameters["Delimiter"]) if parameters.get("Delimiter") else None,
        "MaxKeys": most,
        "IsTruncated": page.truncated,
        "Versions": [each for each in shown if "Size" in each],
        "DeleteMarkers": [each for each in shown if "Size" not in each],
        "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
        "EncodingType": parameters.get("EncodingType"),
    }


def _version(record: Any, newest: bool, encode: Callable[[str], str]) -> dict[str, Any]:
    told = {"VersionId": record.version_id, "IsLatest": newest, "Owner": s3_state.OWNER}
    if s3_state.is_marker(record):
        return {"Key": encode(record.name), "LastModified": record.last_modified, **told}
    return _object(record, encode, owner=True) | told


def list_buckets(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    paged = any(parameters.get(name) for name in ("MaxBuckets", "Prefix", "BucketRegion", "ContinuationToken"))
    most = parameters.get("MaxBuckets", 10_000)
    if not 1 <= most <= 10_000:
        raise invalid("max-buckets", most, "Argument max-buckets must be an integer between 1 and 10000")
    token, region = parameters.get("ContinuationToken"), parameters.get("BucketRegion")
    with moto_base.lock("s3"):
        found = sorted(moto_base.backend("s3").buckets.values(), key=lambda each: each.name)
    entries = [(each.name, each) for each in found if region in (None, each.region_name)]
    page = _page(entries, {"Prefix": parameters.get("Prefix", "")}, _from_token(token) if token else "", most)
    buckets = [
        {"Name": each.name, "CreationDate": each.creation_date, "BucketRegion": each.region_name if paged else None}
        for each in page.items
    ]
    return {
        "Owner": s3_state.OWNER,
        "Buckets": buckets,
        "Prefix": parameters.get("Prefix"),
        "ContinuationToken": _token(page.last) if page.truncated else None,
    }


def list_multipart_uploads(_: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    encode, most = _encoder(parameters), _most(parameters, "MaxUploads")
    key_marker, id_marker = parameters.get("KeyMarker", ""), parameters.get("UploadIdMarker", "")
    with moto_base.lock("s3"):
        uploads = sorted(
            s3_state.bucket(parameters["Bucket"]).multiparts.values(),
            key=lambda each: (each.key_name, each.labkit_started, each.id),
        )
    if key_marker and id_marker:
        at = next((n for n, each in enumerate(uploads) if (each.key_name, each.id) == (key_marker, id_marker)), None)
        if at is None:
            raise AwsError("NoSuchUpload", "The upload id marker names no upload in progress.", 404, UploadId=id_marker)
        uploads = uploads[at + 1 :]
    entries = [(each.key_name, each) for each in uploads]
    page = _page(entries, parameters, key_marker, most, resumed=bool(id_marker))
    last = page.items[-1] if page.items and page.items[-1].key_name == page.last else None
    return {
        "Bucket": parameters["Bucket"],
        "KeyMarker": encode(key_marker),
        "UploadIdMarker": id_marker,
        "NextKeyMarker": encode(page.last) if page.truncated else None,
        "NextUploadIdMarker": last.id if page.truncated and last else None,
        "Prefix": encode(parameters["Prefix"]) if parameters.get("Prefix") else None,
        "Delimiter": encode(parameters["Delimiter"]) if parameters.get("Delimiter") else None,
        "MaxUploads": most,
        "IsTruncated": page.truncated,
        "Uploads": [
            {
                "Key": encode(each.key_name),
                "UploadId": each.id,
                "Initiated": each.labkit_started,
                "StorageClass": each.storage,
                "Owner": s3_state.OWNER,
                "Initiator": {"ID": each.labkit_initiator},
                "ChecksumAlgorithm": each.labkit_checksum[0] if each.labkit_checksum else None,
                "ChecksumType": each.labkit_checksum[1] if each.labkit_checksum else None,
            }
            for each in page.items
        ],
        "CommonPrefixes": [{"Prefix": encode(each)} for each in page.prefixes],
        "EncodingType": parameters.get("EncodingType"),
    }


OPERATIONS = {
    "ListBuckets": list_buckets,
    "ListMultipartUploads": list_multipart_uploads,
    "ListObjectVersions": list_object_versions,
    "ListObjects": list_objects,
    "ListObjectsV2": list_objects_v2,
}
