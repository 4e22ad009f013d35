"""S3's objects through boto3: contents, conditions, copies, versions and digests, with S3's own codes and messages."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from labkit.cloud.aws import AwsCloud
from labkit.cloud.aws.checksums import checksum
from labkit.cloud.engine import Engine
from tests.cloud.aws import in_process
from tests.cloud.aws.in_process import error

PRECONDITION = "At least one of the pre-conditions you specified did not hold"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def s3(client: Callable[[str], Any]) -> Any:
    return client("s3")


@pytest.fixture
def bucket(s3: Any, cloud: AwsCloud) -> str:
    cloud.reset()
    s3.create_bucket(Bucket="a-bucket")
    return "a-bucket"


def test_an_object_comes_back_as_it_was_put(s3: Any, bucket: str) -> None:
    s3.put_object(
        Bucket=bucket,
        Key="a folder/ü+&.txt",
        Body=b"hello",
        ContentType="text/plain",
        CacheControl="no-cache",
        ContentDisposition="inline",
        ContentEncoding="identity",
        ContentLanguage="en",
        Expires=datetime(2030, 1, 1, tzinfo=UTC),
        Metadata={"Color": "red", "under_score": "kept"},
        Tagging="team=ml&empty=",
    )
    got = s3.get_object(Bucket=bucket, Key="a folder/ü+&.txt")
    assert got["Body"].read() == b"hello"
    told = {
        "ContentType": "text/plain",
        "CacheControl": "no-cache",
        "ContentDisposition": "inline",
        "ContentEncoding": "identity",
        "ContentLanguage": "en",
        "ExpiresString": "Tue, 01 Jan 2030 00:00:00 GMT",
        "ContentLength": 5,
        "ETag": f'"{hashlib.md5(b"hello").hexdigest()}"',
        "ChecksumCRC32": checksum("crc32", b"hello"),
        "Metadata": {"color": "red", "under_score": "kept"},
        "TagCount": 2,
        "AcceptRanges": "bytes",
        "ServerSideEncryption": "AES256",
    }
    assert {name: got[name] for name in told} == told
    assert "VersionId" not in got
    head = s3.head_object(Bucket=bucket, Key="a folder/ü+&.txt")
    assert head["ContentLength"] == 5
    assert head["Metadata"] == told["Metadata"]


def test_what_a_response_may_override(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ContentType="text/plain")
    got = s3.get_object(
        Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseExpires=datetime(2031, 1, 1, tzinfo=UTC)
    )
    assert got["ContentType"] == "a/b"
    assert got["ExpiresString"].startswith("Wed, 01 Jan 2031")


def test_a_body_that_looks_like_a_form(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"key=value&a=b", ContentType="application/x-www-form-urlencoded")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"key=value&a=b"


def test_what_is_not_there(s3: Any, bucket: str) -> None:
    assert error(s3.get_object, Bucket=bucket, Key="no") == (404, "NoSuchKey", "The specified key does not exist.")
    no_bucket = (404, "NoSuchBucket", "The specified bucket does not exist")
    assert error(s3.get_object, Bucket="no-bucket", Key="k") == no_bucket
    assert error(s3.put_object, Bucket="no-bucket", Key="k", Body=b"") == no_bucket
    assert error(s3.list_objects_v2, Bucket="no-bucket") == no_bucket
    assert error(s3.head_object, Bucket=bucket, Key="no") == (404, "404", "Not Found")
    assert error(s3.head_bucket, Bucket="no-bucket") == (404, "404", "Not Found")
    s3.delete_object(Bucket=bucket, Key="no")


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        ("bytes=0-2", 206, b"hel", "bytes 0-2/5"),
        ("bytes=-2", 206, b"lo", "bytes 3-4/5"),
        ("bytes=-99", 206, b"hello", "bytes 0-4/5"),
        ("bytes=2-", 206, b"llo", "bytes 2-4/5"),
        ("bytes=3-99", 206, b"lo", "bytes 3-4/5"),
        ("bytes=0-1,3-4", 200, b"hello", None),
        ("bytes=3-1", 200, b"hello", None),
        ("lines=1-2", 200, b"hello", None),
    ],
)
def test_ranges(s3: Any, bucket: str, asked: str, status: int, content: bytes, told: str | None) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    got = s3.get_object(Bucket=bucket, Key="k", Range=asked)
    found = (got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read(), got.get("ContentRange"))
    assert found == (status, content, told)
    head = s3.head_object(Bucket=bucket, Key="k", Range=asked)
    assert (head["ContentLength"], head.get("ContentRange")) == (len(content), told)


@pytest.mark.parametrize("asked", ["bytes=5-", "bytes=9-10", "bytes=-0"])
def test_ranges_outside(s3: Any, bucket: str, asked: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    wanted = (416, "InvalidRange", "The requested range is not satisfiable")
    assert error(s3.get_object, Bucket=bucket, Key="k", Range=asked) == wanted


def test_conditional_reads(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"hello")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    earlier, later = modified - timedelta(hours=1), modified + timedelta(hours=1)
    s3.get_object(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=earlier)
    s3.get_object(Bucket=bucket, Key="k", IfNoneMatch='"other"', IfModifiedSince=later)
    for condition in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": earlier}):
        assert error(s3.get_object, Bucket=bucket, Key="k", **condition) == (412, "PreconditionFailed", PRECONDITION)
        assert error(s3.head_object, Bucket=bucket, Key="k", **condition)[0] == 412
    for condition in ({"IfNoneMatch": etag}, {"IfModifiedSince": later}, {"IfModifiedSince": modified}):
        assert error(s3.get_object, Bucket=bucket, Key="k", **condition)[0] == 304


def test_conditional_writes(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    failed = (412, "PreconditionFailed", PRECONDITION)
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*") == failed
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"other"') == failed
    assert error(s3.put_object, Bucket=bucket, Key="no", Body=b"2", IfMatch=etag)[:2] == (404, "NoSuchKey")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag)
    assert error(s3.delete_object, Bucket=bucket, Key="k", IfMatch=etag) == failed


def test_digests(s3: Any, bucket: str) -> None:
    other = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5=other) == (
        400,
        "BadDigest",
        "The Content-MD5 you specified did not match what we received.",
    )
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5="abc") == (
        400,
        "InvalidDigest",
        "The Content-MD5 you specified was invalid.",
    )
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ChecksumSHA256=checksum("sha256", b"y")) == (
        400,
        "BadDigest",
        "The SHA256 you specified did not match the calculated checksum.",
    )
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ChecksumCRC32="AAAA") == (
        400,
        "InvalidRequest",
        "Value for x-amz-checksum-crc32 header is invalid.",
    )
    assert error(s3.head_object, Bucket=bucket, Key="k")[0] == 404


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_are_kept(s3: Any, bucket: str, algorithm: str) -> None:
    value = checksum(algorithm, b"hello")
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"hello", **{f"Checksum{algorithm}": value})
    assert (put[f"Checksum{algorithm}"], put["ChecksumType"]) == (value, "FULL_OBJECT")
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[f"Checksum{algorithm}"] == value
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ObjectSize"])
    assert attributes["Checksum"][f"Checksum{algorithm}"] == value
    assert attributes["ObjectSize"] == 5


def test_limits(s3: Any, bucket: str) -> None:
    assert error(s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"") == (
        400,
        "KeyTooLongError",
        "Your key is too long",
    )
    s3.put_object(Bucket=bucket, Key="k" * 1024, Body=b"")
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"", Metadata={"a": "b" * 2048}) == (
        400,
        "MetadataTooLarge",
        "Your metadata headers exceed the maximum allowed metadata size",
    )
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"", StorageClass="COLD") == (
        400,
        "InvalidStorageClass",
        "The storage class you specified is not valid",
    )


def test_an_archived_object_cannot_be_read(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="GLACIER")
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "GLACIER"
    wanted = (403, "InvalidObjectState", "The operation is not valid for the object's storage class")
    assert error(s3.get_object, Bucket=bucket, Key="k") == wanted


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"ServerSideEncryption": "aws:kms"}, "keys of AWS KMS"),
        ({"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "x" * 32}, "encryption with customers' keys (SSE-C)"),
        ({"WebsiteRedirectLocation": "/x"}, "S3 static website hosting"),
        ({"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime(2030, 1, 1)}, "S3 Object Lock"),
    ],
)
def test_what_is_not_done_is_refused(s3: Any, bucket: str, arguments: dict[str, Any], what: str) -> None:
    status, code, message = error(s3.put_object, Bucket=bucket, Key="k", Body=b"", **arguments)
    assert (status, code) == (501, "NotImplemented")
    assert message.startswith(f"The local clouds do not serve {what} yet")
    assert error(s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_access_control_lists_are_off_as_in_new_buckets(s3: Any, bucket: str) -> None:
    wanted = (400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"", ACL="public-read") == wanted
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="bucket-owner-full-control")
    grants = s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]
    assert [grant["Permission"] for grant in grants] == ["FULL_CONTROL"]


# -- copies --------------------------------------------------------------------------------------------------------


def test_copies(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a ü", Body=b"hello", ContentType="a/b", Metadata={"x": "y"}, Tagging="t=1")
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a ü"})
    assert copied["CopyObjectResult"]["ETag"] == s3.head_object(Bucket=bucket, Key="a ü")["ETag"]
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"], got["TagCount"]) == (
        b"hello",
        "a/b",
        {"x": "y"},
        1,
    )
    s3.copy_object(
        Bucket=bucket,
        Key="other",
        CopySource=f"{bucket}/copy",
        MetadataDirective="REPLACE",
        Metadata={"n": "m"},
        TaggingDirective="REPLACE",
        Tagging="a=1&b=2",
    )
    got = s3.head_object(Bucket=bucket, Key="other")
    assert (got["ContentType"], got["Metadata"], got["TagCount"]) == ("binary/octet-stream", {"n": "m"}, 2)


def test_copies_that_are_refused(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"hello")["ETag"]
    itself = error(s3.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/k")
    assert itself[:2] == (400, "InvalidRequest")
    assert itself[2].startswith("This copy request is illegal because it is trying to copy an object to itself")
    s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", MetadataDirective="REPLACE")
    assert error(s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/no")[:2] == (404, "NoSuchKey")
    assert error(s3.copy_object, Bucket=bucket, Key="c", CopySource="no-bucket/k")[:2] == (404, "NoSuchBucket")
    later = datetime.now(UTC) + timedelta(hours=1)
    for condition in (
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": later},
        {"CopySourceIfUnmodifiedSince": later - timedelta(days=1)},
    ):
        found = error(s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **condition)
        assert found == (412, "PreconditionFailed", PRECONDITION)
    assert error(s3.head_object, Bucket=bucket, Key="c")[0] == 404


# -- versions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def versioned(s3: Any, bucket: str) -> str:
    s3.put_object(Bucket=bucket, Key="old", Body=b"0")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def read(s3: Any, bucket: str, key: str, version: str | None = None) -> bytes:
    arguments = {"VersionId": version} if version else {}
    content: bytes = s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()
    return content


def test_versions(s3: Any, versioned: str) -> None:
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=versioned, Key="k", Body=b"2")["VersionId"]
    assert (read(s3, versioned, "k"), read(s3, versioned, "k", first)) == (b"2", b"1")
    s3.put_object(Bucket=versioned, Key="old", Body=b"1")
    assert read(s3, versioned, "old", "null") == b"0"
    s3.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert read(s3, versioned, "k") == b"1"
    assert s3.copy_object(Bucket=versioned, Key="k", CopySource=f"{versioned}/old?versionId=null")["VersionId"]
    assert read(s3, versioned, "k") == b"0"


def test_delete_markers(s3: Any, versioned: str) -> None:
    version = s3.put_object(Bucket=versioned, Key="k", Body=b"1")["VersionId"]
    deleted = s3.delete_object(Bucket=versioned, Key="k")
    assert deleted["DeleteMarker"] is True
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=versioned, Key="k")
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", deleted["VersionId"])
    assert error(s3.get_object, Bucket=versioned, Key="k", VersionId=deleted["VersionId"]) == (
        405,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
    )
    assert read(s3, versioned, "k", version) == b"1"
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned, Prefix="k")
    assert s3.delete_object(Bucket=versioned, Key="k", VersionId=deleted["VersionId"])["DeleteMarker"] is True
    assert read(s3, versioned, "k") == b"1"
    assert s3.delete_object(Bucket=versioned, Key="never")["DeleteMarker"] is True


def test_versions_that_are_not_there(s3: Any, versioned: str) -> None:
    gone = s3.put_object(Bucket=versioned, Key="k", Body=b"1")["VersionId"]
    s3.put_object(Bucket=versioned, Key="k", Body=b"2")
    s3.delete_object(Bucket=versioned, Key="k", VersionId=gone)
    wanted = (404, "NoSuchVersion", "The specified version does not exist.")
    assert error(s3.get_object, Bucket=versioned, Key="k", VersionId=gone) == wanted
    wanted = (400, "InvalidArgument", "Invalid version id specified")
    assert error(s3.get_object, Bucket=versioned, Key="k", VersionId="1") == wanted


def test_suspended_versioning_keeps_what_there_is(s3: Any, versioned: str) -> None:
    version = s3.put_object(Bucket=versioned, Key="k", Body=b"1")["VersionId"]
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    assert s3.put_object(Bucket=versioned, Key="k", Body=b"2")["VersionId"] == "null"
    s3.put_object(Bucket=versioned, Key="k", Body=b"3")
    assert (read(s3, versioned, "k"), read(s3, versioned, "k", version)) == (b"3", b"1")
    for _ in range(2):
        assert s3.delete_object(Bucket=versioned, Key="k")["VersionId"] == "null"
    listed = s3.list_object_versions(Bucket=versioned, Prefix="k")
    assert [marker["VersionId"] for marker in listed["DeleteMarkers"]] == ["null"]
    assert [kept["VersionId"] for kept in listed["Versions"]] == [version]


# -- many at once --------------------------------------------------------------------------------------------------


def test_deleting_many(s3: Any, bucket: str) -> None:
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    result = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "no"}]})
    assert result["Deleted"] == [{"Key": "a"}, {"Key": "no"}]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["c"]
    too_many = {"Objects": [{"Key": str(number)} for number in range(1001)]}
    assert error(s3.delete_objects, Bucket=bucket, Delete=too_many)[:2] == (400, "MalformedXML")


def test_deleting_many_versions(s3: Any, versioned: str) -> None:
    version = s3.put_object(Bucket=versioned, Key="k", Body=b"1")["VersionId"]
    wanted = [{"Key": "k", "VersionId": version}, {"Key": "old"}, {"Key": "k", "VersionId": "bad"}]
    result = s3.delete_objects(Bucket=versioned, Delete={"Objects": wanted})
    assert result["Deleted"][0] == {"Key": "k", "VersionId": version}
    assert result["Deleted"][1]["DeleteMarker"] is True
    assert result["Errors"] == [
        {"Key": "k", "VersionId": "bad", "Code": "InvalidArgument", "Message": "Invalid version id specified"}
    ]


def test_last_modified_is_in_lab_time(s3: Any, bucket: str, engine: Engine) -> None:
    engine.clock.advance(timedelta(days=31))
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    ahead = s3.head_object(Bucket=bucket, Key="k")["LastModified"] - datetime.now(UTC)
    assert timedelta(days=30) < ahead < timedelta(days=32)


def test_a_client_elsewhere_is_sent_to_the_buckets_region(cloud: AwsCloud, s3: Any, bucket: str) -> None:
    frankfurt = in_process.client(cloud, "s3", "eu-central-1")
    frankfurt.create_bucket(Bucket="there", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    frankfurt.put_object(Bucket="there", Key="k", Body=b"x")
    assert s3.get_object(Bucket="there", Key="k")["Body"].read() == b"x"
    assert in_process.client(cloud, "s3", "ap-south-1").head_object(Bucket="there", Key="k")["ContentLength"] == 1
