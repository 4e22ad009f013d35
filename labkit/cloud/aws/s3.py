"""Amazon S3: the table of the kit's own operations, and what every request must satisfy first.

Objects live in moto's records; settings that only have to be kept are left to moto (see ``operations.py``).
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import (
    moto_base,
    s3_buckets,
    s3_listing,
    s3_multipart,
    s3_notifications,
    s3_objects,
    s3_state,
    s3_tags,
    storage,
)
from labkit.cloud.aws.checksums import ALGORITHMS, checksum
from labkit.cloud.aws.errors import AwsError, refusal

SERVICE = "s3"

OPERATIONS = {
    **s3_buckets.OPERATIONS,
    **s3_listing.OPERATIONS,
    **s3_multipart.OPERATIONS,
    **s3_notifications.OPERATIONS,
    **s3_objects.OPERATIONS,
    **s3_tags.OPERATIONS,
}

#: Own operations whose record is their whole effect; the others work.
SHAPE_ONLY = frozenset(
    (
        "DeletePublicAccessBlock",
        "GetBucketAcl",
        "GetBucketEncryption",
        "GetObjectAcl",
        "GetPublicAccessBlock",
        "PutBucketEncryption",
        "PutPublicAccessBlock",
        *s3_tags.OPERATIONS,
    )
)

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

_UPLOADS = (
    "encryption with AWS KMS or customers' keys, Object Lock, ACLs and website redirects refuse; AES256 is told, as by "
    "AWS, and nothing is encrypted"
)
NOTES = {
    **dict.fromkeys(("CopyObject", "CreateMultipartUpload", "PutObject"), _UPLOADS),
    "CreateBucket": "Object Lock, directory buckets and account-regional names refuse",
    "DeletePublicAccessBlock": "requests without a signature are refused in any case",
    "GetPublicAccessBlock": "requests without a signature are refused in any case",
    "PutPublicAccessBlock": "requests without a signature are refused in any case",
    "GetBucketAcl": "the owner has full control, as always when ACLs are disabled",
    "GetObjectAcl": "the owner has full control, as always when ACLs are disabled",
    "GetBucketEncryption": "nothing is encrypted",
    "PutBucketEncryption": "AES256 only; nothing is encrypted",
    "PutBucketPolicy": "evaluated with the caller's own policies; requests without a signature are refused in any case",
    "PutBucketNotificationConfiguration": "EventBridge, functions, queues and topics; of objects made, copied, deleted "
    "and tagged: nothing expires, is restored or replicated",
    "PutBucketVersioning": "MFA delete refuses",
}

#: Parameters that ask for what the kit does not do -> what that is.
_NOT_SERVED = {
    "SSECustomerAlgorithm": "encryption with customers' keys (SSE-C)",
    "CopySourceSSECustomerAlgorithm": "encryption with customers' keys (SSE-C)",
    "SSEKMSKeyId": "keys of AWS KMS",
    "WebsiteRedirectLocation": "S3 static website hosting",
    "ObjectLockMode": "S3 Object Lock",
    "ObjectLockRetainUntilDate": "S3 Object Lock",
    "ObjectLockLegalHoldStatus": "S3 Object Lock",
    "WriteOffsetBytes": "appending to objects",
    "MFA": "MFA delete",
}
_GRANTS = ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")
_STORAGE_CLASSES = frozenset(
    (
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
    )
)


def check(call: Call, parameters: dict[str, Any]) -> None:
    """What holds for every operation: the bucket exists and is here, the body arrived whole, names fit, ...

    Raises :class:`AwsError` as S3 words it.
    """
    name = parameters.get("Bucket")
    if name and call.operation != "CreateBucket":
        with moto_base.lock("s3"):
            holder = s3_state.bucket(name)
        storage.check_region(call)
        if parameters.get("ExpectedBucketOwner", holder.account_id) != holder.account_id:
            raise AwsError("AccessDenied", "Access Denied", 403)
    for parameter, what in _NOT_SERVED.items():
        if parameters.get(parameter):
            raise refusal("s3", call.operation, f"The local clouds do not serve {what} yet; see docs/fidelity.md.")
    if parameters.get("ServerSideEncryption") not in (None, s3_state.ENCRYPTION):
        raise refusal("s3", call.operation, "The local clouds do not serve keys of AWS KMS yet; use AES256.")
    if call.operation not in ("CreateBucket", "GetBucketAcl") and (
        parameters.get("ACL") not in (None, "bucket-owner-full-control") or any(parameters.get(g) for g in _GRANTS)
    ):
        raise AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs", 400)
    _check_names(parameters)
    _check_body(call, parameters)


def _check_names(parameters: dict[str, Any]) -> None:
    key = parameters.get("Key")
    if key and len(key.encode()) > 1024:
        size, most = len(key.encode()), 1024
        raise AwsError("KeyTooLongError", "Your key is too long", 400, Size=size, MaxSizeAllowed=most)
    metadata = parameters.get("Metadata", {})
    size = sum(len(n.encode()) + len(v.encode()) for n, v in metadata.items())
    if size > 2048:
        message = "Your metadata headers exceed the maximum allowed metadata size"
        raise AwsError("MetadataTooLarge", message, 400, Size=size, MaxSizeAllowed=2048)
    storage_class = parameters.get("StorageClass", s3_state.STANDARD)
    if storage_class not in _STORAGE_CLASSES:
        message = "The storage class you specified is not valid"
        raise AwsError("InvalidStorageClass", message, 400, StorageClassRequested=storage_class)


def _check_body(call: Call, parameters: dict[str, Any]) -> None:
    """The digests in the headers against the body; those in trailers were checked with the signature."""
    if md5 := call.request.headers.get("content-md5"):
        try:
            wanted = b64decode(md5, validate=True)
        except Base64Error:
            wanted = b""
        if len(wanted) != 16:
            raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.", 400, **{"Content-MD5": md5})
        actual = hashlib.md5(call.body, usedforsecurity=False).digest()
        if actual != wanted:
            message = "The Content-MD5 you specified did not match what we received."
            digests = {"ExpectedDigest": md5, "CalculatedDigest": b64encode(actual).decode()}
            raise AwsError("BadDigest", message, 400, **digests)
    if call.operation == "CompleteMultipartUpload":
        return
    for name, value in call.request.headers.items:
        algorithm = name.lower().removeprefix("x-amz-checksum-")
        if algorithm == name.lower() or algorithm in ("algorithm", "mode", "type"):
            continue
        if algorithm not in ALGORITHMS:
            raise refusal("s3", call.operation, f"The local clouds do not compute {algorithm} checksums yet.")
        actual_value = checksum(algorithm, call.body)
        if len(value) != len(actual_value):
            raise AwsError("InvalidRequest", f"Value for {name.lower()} header is invalid.", 400)
        if value != actual_value:
            message = f"The {algorithm.upper()} you specified did not match the calculated checksum."
            raise AwsError("BadDigest", message, 400)
