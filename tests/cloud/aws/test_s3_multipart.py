"""Multipart uploads through boto3: parts, checksums, completion and what is refused."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud
from labkit.cloud.aws.checksums import checksum
from labkit.cloud.engine import Engine
from tests.cloud.aws.in_process import error

BIG = b"a" * 5 * 1024 * 1024
SMALL = b"the rest"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def s3(client: Callable[[str], Any]) -> Any:
    return client("s3")


@pytest.fixture
def upload(s3: Any, cloud: AwsCloud) -> dict[str, str]:
    """An upload in progress: the arguments that name it."""
    cloud.reset()
    s3.create_bucket(Bucket="a-bucket")
    named = {"Bucket": "a-bucket", "Key": "a key"}
    return {**named, "UploadId": s3.create_multipart_upload(**named, ContentType="a/b", Tagging="t=1")["UploadId"]}


def put(s3: Any, upload: dict[str, str], number: int, body: bytes) -> dict[str, Any]:
    return {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}


def complete(s3: Any, upload: dict[str, str], parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **more)
    return result


def test_an_upload_in_parts(s3: Any, upload: dict[str, str]) -> None:
    put(s3, upload, 2, b"will be replaced")
    second = put(s3, upload, 2, SMALL)
    first = put(s3, upload, 1, BIG)
    assert error(s3.head_object, Bucket="a-bucket", Key="a key")[0] == 404
    done = complete(s3, upload, [first, second])
    digests = hashlib.md5(BIG).digest() + hashlib.md5(SMALL).digest()
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert done["Location"] == "https://a-bucket.s3.us-east-1.amazonaws.com/a%20key"
    got = s3.get_object(Bucket="a-bucket", Key="a key")
    assert (got["ContentType"], got["TagCount"], got["Body"].read() == BIG + SMALL) == ("a/b", 1, True)
    part = s3.get_object(Bucket="a-bucket", Key="a key", PartNumber=2)
    assert (part["Body"].read(), part["PartsCount"]) == (SMALL, 2)
    assert part["ContentRange"] == f"bytes {len(BIG)}-{len(BIG + SMALL) - 1}/{len(BIG + SMALL)}"
    assert error(s3.get_object, Bucket="a-bucket", Key="a key", PartNumber=3)[:2] == (416, "InvalidPartNumber")
    attributes = s3.get_object_attributes(Bucket="a-bucket", Key="a key", ObjectAttributes=["ObjectParts"])
    assert [each["Size"] for each in attributes["ObjectParts"]["Parts"]] == [len(BIG), len(SMALL)]
    assert complete(s3, upload, [first, second])["ETag"] == done["ETag"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="a-bucket")


def test_the_transfer_manager(s3: Any, upload: dict[str, str]) -> None:
    data = bytes(range(256)) * 40_000
    s3.upload_fileobj(io.BytesIO(data), "a-bucket", "big")
    target = io.BytesIO()
    s3.download_fileobj("a-bucket", "big", target)
    assert target.getvalue() == data
    assert s3.head_object(Bucket="a-bucket", Key="big")["ETag"].endswith('-2"')


def test_composite_and_full_checksums(s3: Any, upload: dict[str, str]) -> None:
    each = [base64.b64decode(checksum("crc32", part)) for part in (BIG, SMALL)]
    for kind, wanted in (
        ("COMPOSITE", f"{checksum('crc32', b''.join(each))}-2"),
        ("FULL_OBJECT", checksum("crc32", BIG + SMALL)),
    ):
        named = {"Bucket": "a-bucket", "Key": kind}
        begun = s3.create_multipart_upload(**named, ChecksumAlgorithm="CRC32", ChecksumType=kind)
        assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == ("CRC32", kind)
        named["UploadId"] = begun["UploadId"]
        parts = [put(s3, named, 1, BIG), put(s3, named, 2, SMALL)]
        done = complete(s3, named, parts)
        assert (done["ChecksumCRC32"], done["ChecksumType"]) == (wanted, kind)
        head = s3.head_object(Bucket="a-bucket", Key=kind, ChecksumMode="ENABLED")
        assert (head["ChecksumCRC32"], head["ChecksumType"]) == (wanted, kind)
    wrong = error(s3.create_multipart_upload, Bucket="a-bucket", Key="k", ChecksumAlgorithm="SHA1", ChecksumType=kind)
    assert wrong[:2] == (400, "InvalidRequest")


def test_a_completion_that_does_not_fit(s3: Any, upload: dict[str, str]) -> None:
    first, second = put(s3, upload, 1, SMALL), put(s3, upload, 2, SMALL)
    assert error(complete, s3=s3, upload=upload, parts=[second, first])[:2] == (400, "InvalidPartOrder")
    assert error(complete, s3=s3, upload=upload, parts=[{**first, "ETag": '"x"'}])[:2] == (400, "InvalidPart")
    assert error(complete, s3=s3, upload=upload, parts=[{"PartNumber": 7, "ETag": '"x"'}])[:2] == (400, "InvalidPart")
    small = error(complete, s3=s3, upload=upload, parts=[first, second])
    assert small == (400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    assert error(complete, s3=s3, upload=upload, parts=[])[:2] == (400, "MalformedXML")
    checked = {"Bucket": "a-bucket", "Key": "checked"}
    checked["UploadId"] = s3.create_multipart_upload(**checked, ChecksumAlgorithm="CRC32")["UploadId"]
    part = put(s3, checked, 1, SMALL)
    wrong = error(complete, s3=s3, upload=checked, parts=[part], ChecksumCRC32=checksum("crc32", b"other"))
    assert wrong == (400, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")


def test_a_conditional_completion(s3: Any, upload: dict[str, str]) -> None:
    s3.put_object(Bucket="a-bucket", Key="a key", Body=b"")
    part = put(s3, upload, 1, SMALL)
    assert error(complete, s3=s3, upload=upload, parts=[part], IfNoneMatch="*")[:2] == (412, "PreconditionFailed")


def test_part_numbers(s3: Any, upload: dict[str, str]) -> None:
    wanted = (400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    for number in (0, 10_001):
        assert error(s3.upload_part, **upload, PartNumber=number, Body=b"") == wanted


def test_an_upload_that_is_not_there(s3: Any, upload: dict[str, str]) -> None:
    wanted = (
        404,
        "NoSuchUpload",
        (
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
            "completed."
        ),
    )
    s3.abort_multipart_upload(**upload)
    assert error(s3.upload_part, **upload, PartNumber=1, Body=b"") == wanted
    assert error(s3.abort_multipart_upload, **upload) == wanted
    assert error(s3.list_parts, **upload) == wanted
    assert error(complete, s3=s3, upload=upload, parts=[{"PartNumber": 1, "ETag": "x"}]) == wanted


def test_parts_copied_from_an_object(s3: Any, upload: dict[str, str]) -> None:
    s3.put_object(Bucket="a-bucket", Key="source", Body=b"0123456789")
    source = {"Bucket": "a-bucket", "Key": "source"}
    part = s3.upload_part_copy(**upload, PartNumber=1, CopySource=source, CopySourceRange="bytes=2-4")
    complete(s3, upload, [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}])
    assert s3.get_object(Bucket="a-bucket", Key="a key")["Body"].read() == b"234"
    second = {**upload, "UploadId": s3.create_multipart_upload(Bucket="a-bucket", Key="a key")["UploadId"]}
    for asked in ("bytes=5-99", "bytes=4-2", "5-6"):
        wrong = error(s3.upload_part_copy, **second, PartNumber=1, CopySource=source, CopySourceRange=asked)
        assert wrong[:2] == (400, "InvalidArgument")


def test_pages_of_parts_and_uploads(s3: Any, upload: dict[str, str]) -> None:
    for number in (3, 1, 2):
        put(s3, upload, number, b"x" * number)
    pages = list(s3.get_paginator("list_parts").paginate(**upload, PaginationConfig={"PageSize": 2}))
    assert [[part["Size"] for part in page["Parts"]] for page in pages] == [[1, 2], [3]]
    for key in ("b", "b", "c"):
        s3.create_multipart_upload(Bucket="a-bucket", Key=key)
    pages = list(
        s3.get_paginator("list_multipart_uploads").paginate(Bucket="a-bucket", PaginationConfig={"PageSize": 2})
    )
    assert [[each["Key"] for each in page["Uploads"]] for page in pages] == [["a key", "b"], ["b", "c"]]
    assert pages[0]["Uploads"][0]["Initiator"]["ID"] == "arn:aws:iam::123456789012:user/learner"
