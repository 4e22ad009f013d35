"""Cloud Storage by plain requests: what client libraries do not send, or hide."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from labkit.cloud.gcp import GcpCloud
from labkit.cloud.gcp.multipart import parts
from labkit.cloud.gcp.storage_errors import StorageError
from labkit.cloud.http import Response
from tests.cloud.gcp.in_process import call

HOST = "storage.googleapis.com"
CHUNK = 256 << 10
_numbers = itertools.count(1)


@pytest.fixture
def bucket(cloud: GcpCloud) -> str:
    name = f"rest-{next(_numbers)}"
    assert call(cloud, "POST", HOST, "/storage/v1/b?project=mlops-lab", {"name": name}).status == 200
    return name


def put(cloud: GcpCloud, bucket: str, name: str, data: bytes, **headers: str) -> Response:
    target = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
    sent = {field.replace("_", "-"): value for field, value in headers.items()}
    return call(cloud, "POST", HOST, target, data, headers=sent)


def get(cloud: GcpCloud, bucket: str, name: str, **headers: str) -> Response:
    return call(cloud, "GET", HOST, f"/storage/v1/b/{bucket}/o/{name}?alt=media", headers=headers)


def said(response: Response) -> Any:
    return json.loads(bytes(response.body))  # type: ignore[arg-type]


class Upload:
    """A resumable upload, as a client sends it."""

    def __init__(self, cloud: GcpCloud, bucket: str, name: str, size: int | None = None) -> None:
        self.cloud = cloud
        target = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={name}"
        headers = {"X-Upload-Content-Length": str(size)} if size is not None else {}
        begun = call(cloud, "POST", HOST, target, {"contentType": "text/plain"}, headers=headers)
        assert begun.status == 200, begun.body
        self.target = dict(begun.headers)["Location"].removeprefix(f"https://{HOST}")

    def send(self, data: bytes, where: str = "", method: str = "PUT") -> Response:
        # The upload's address is all that its sender has to show.
        headers = {"Authorization": "", "Content-Range": where}
        return call(self.cloud, method, HOST, self.target, data, headers=headers)


def test_an_upload_is_cut_off_asked_about_and_resumed(cloud: GcpCloud, bucket: str) -> None:
    content = b"0123456789abcdef" * (CHUNK // 8)
    upload = Upload(cloud, bucket, "large")
    first = upload.send(content[:CHUNK], f"bytes 0-{CHUNK - 1}/*")
    assert (first.status, dict(first.headers)["Range"]) == (308, f"bytes=0-{CHUNK - 1}")
    asked = upload.send(b"", "bytes */*")
    assert (asked.status, dict(asked.headers)["Range"]) == (308, f"bytes=0-{CHUNK - 1}")
    # The client does not know that its first piece has come, and sends it once more with the rest.
    last = upload.send(content, f"bytes 0-{len(content) - 1}/{len(content)}")
    assert (last.status, said(last)["size"]) == (200, str(len(content)))
    assert get(cloud, bucket, "large").body == content
    again = upload.send(b"", f"bytes */{len(content)}")
    assert (again.status, said(again)["generation"]) == (200, said(last)["generation"])


def test_a_bucket_has_no_managed_folders(cloud: GcpCloud, bucket: str) -> None:
    """`gcloud storage rm --recursive` asks for them before it removes the bucket."""
    listed = call(cloud, "GET", HOST, f"/storage/v1/b/{bucket}/managedFolders")
    assert (listed.status, said(listed)) == (200, {"kind": "storage#managedFolders"})
    assert call(cloud, "GET", HOST, "/storage/v1/b/no-such-bucket-here/managedFolders").status == 404
    assert call(cloud, "POST", HOST, f"/storage/v1/b/{bucket}/managedFolders", {"name": "x/"}).status == 501


def test_pieces_may_be_posted(cloud: GcpCloud, bucket: str) -> None:
    """As gcsfs sends them, through which pandas writes to gs:// addresses."""
    upload = Upload(cloud, bucket, "posted")
    first = upload.send(b"x" * CHUNK, f"bytes 0-{CHUNK - 1}/*", "POST")
    assert (first.status, dict(first.headers)["Range"]) == (308, f"bytes=0-{CHUNK - 1}")
    last = upload.send(b"yz", f"bytes {CHUNK}-{CHUNK + 1}/{CHUNK + 2}", "POST")
    assert (last.status, said(last)["size"]) == (200, str(CHUNK + 2))


def test_nothing_is_there_before_an_upload_has_ended(cloud: GcpCloud, bucket: str) -> None:
    upload = Upload(cloud, bucket, "half", 2 * CHUNK)
    assert "Range" not in dict(upload.send(b"", "bytes */*").headers)
    upload.send(b"x" * CHUNK, f"bytes 0-{CHUNK - 1}/{2 * CHUNK}")
    assert get(cloud, bucket, "half").status == 404
    assert call(cloud, "DELETE", HOST, upload.target).status == 499
    assert upload.send(b"", "bytes */*").status == 404


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        (b"x" * 10, "bytes 0-9/*", "required to be equal or greater than 262144"),
        (b"x" * 10, f"bytes {CHUNK}-{CHUNK + 9}/{CHUNK + 10}", "exceeds already uploaded size of 0"),
        (b"x" * 10, "bytes 0-10/11", "does not agree with the 10 bytes"),
        (b"x" * 10, "chunks 0-9/10", "Failed to parse Content-Range"),
    ],
)
def test_pieces_that_do_not_fit(cloud: GcpCloud, bucket: str, data: bytes, where: str, message: str) -> None:
    answer = Upload(cloud, bucket, "x").send(data, where)
    assert answer.status == 400
    assert message in said(answer)["error"]["message"]


def test_an_empty_object_can_be_uploaded_in_every_way(cloud: GcpCloud, bucket: str) -> None:
    assert put(cloud, bucket, "media", b"").status == 200
    assert Upload(cloud, bucket, "whole").send(b"").status == 200
    assert Upload(cloud, bucket, "said").send(b"", "bytes */0").status == 200
    assert get(cloud, bucket, "said").body == b""


def test_a_condition_holds_when_the_upload_ends(cloud: GcpCloud, bucket: str) -> None:
    target = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name=x&ifGenerationMatch=0"
    begun = call(cloud, "POST", HOST, target, {})
    put(cloud, bucket, "x", b"meanwhile")
    address = dict(begun.headers)["Location"].removeprefix(f"https://{HOST}")
    assert call(cloud, "PUT", HOST, address, b"late").status == 412
    assert get(cloud, bucket, "x").body == b"meanwhile"


def test_checksums_in_header_fields(cloud: GcpCloud, bucket: str) -> None:
    right = base64.b64encode(hashlib.md5(b"abc").digest()).decode()
    assert put(cloud, bucket, "x", b"abc", X_Goog_Hash=f"crc32c=Nks/tw==,md5={right}").status == 200
    wrong = put(cloud, bucket, "y", b"abc", X_Goog_Hash="crc32c=AAAAAA==")
    assert wrong.status == 400
    assert said(wrong)["error"]["message"] == (
        'Provided CRC32C "AAAAAA==" doesn\'t match calculated CRC32C "Nks/tw==".'
    )
    assert get(cloud, bucket, "y").status == 404


@pytest.mark.parametrize(
    ("asked", "status", "expected", "place"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_ranges(cloud: GcpCloud, bucket: str, asked: str, status: int, expected: bytes, place: str | None) -> None:
    put(cloud, bucket, "digits", b"0123456789")
    answer = get(cloud, bucket, "digits", Range=asked)
    assert (answer.status, answer.body, dict(answer.headers).get("Content-Range")) == (status, expected, place)


def test_a_range_beyond_the_end(cloud: GcpCloud, bucket: str) -> None:
    put(cloud, bucket, "digits", b"0123456789")
    answer = get(cloud, bucket, "digits", Range="bytes=10-")
    assert (answer.status, dict(answer.headers)["Content-Range"]) == (416, "bytes */10")


def test_a_download_bears_its_checksums(cloud: GcpCloud, bucket: str) -> None:
    put(cloud, bucket, "x", b"abc", Content_Type="text/plain")
    headers = dict(get(cloud, bucket, "x").headers)
    assert headers["X-Goog-Hash"] == "crc32c=Nks/tw==,md5=kAFQmDzST7DWlj99KOF/cg=="
    assert (headers["Content-Type"], headers["X-Goog-Stored-Content-Length"]) == ("text/plain", "3")


def test_what_is_stored_compressed_is_decompressed_for_whoever_does_not_take_it(cloud: GcpCloud, bucket: str) -> None:
    target = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=z&contentEncoding=gzip"
    packed = gzip.compress(b"plain text")
    assert call(cloud, "POST", HOST, target, packed).status == 200
    assert get(cloud, bucket, "z", **{"Accept-Encoding": "gzip, deflate"}).body == packed
    plain = get(cloud, bucket, "z")
    assert plain.body == b"plain text"
    assert "Content-Encoding" not in dict(plain.headers)


def test_only_the_fields_asked_for(cloud: GcpCloud, bucket: str) -> None:
    put(cloud, bucket, "x", b"abc")
    target = f"/storage/v1/b/{bucket}/o?fields=items(name,size),nextPageToken"
    assert said(call(cloud, "GET", HOST, target)) == {"items": [{"name": "x", "size": "3"}]}
    assert said(call(cloud, "GET", HOST, f"/storage/v1/b/{bucket}/o?fields=items/name")) == {"items": [{"name": "x"}]}
    assert call(cloud, "GET", HOST, f"/storage/v1/b/{bucket}/o?fields=items(name").status == 400


@pytest.mark.parametrize("host", ["{bucket}.storage.googleapis.com/a/b", "storage.googleapis.com/{bucket}/a/b"])
def test_objects_by_the_xml_interfaces_addresses(cloud: GcpCloud, bucket: str, host: str) -> None:
    name, _, path = host.format(bucket=bucket).partition("/")
    made = call(cloud, "PUT", name, f"/{path}", b"abc", headers={"x-goog-meta-k": "v", "Content-Type": "text/plain"})
    assert made.status == 200
    answer = call(cloud, "GET", name, f"/{path}")
    assert (answer.status, answer.body, dict(answer.headers)["x-goog-meta-k"]) == (200, b"abc", "v")
    head = call(cloud, "HEAD", name, f"/{path}")
    assert (head.body, dict(head.headers)["Content-Length"]) == (b"", "3")
    assert call(cloud, "DELETE", name, f"/{path}").status == 204
    gone = call(cloud, "GET", name, f"/{path}")
    assert gone.status == 404
    assert b"<Code>NoSuchKey</Code>" in bytes(gone.body)  # type: ignore[arg-type]
    assert call(cloud, "GET", HOST, f"/{bucket}").status == 501


@pytest.mark.parametrize(
    ("sent", "message", "reason"),
    [
        ("", "Anonymous caller does not have storage.objects.get access", "required"),
        ("Bearer x", "Invalid", "authError"),
    ],
)
def test_a_call_without_a_good_token(cloud: GcpCloud, bucket: str, sent: str, message: str, reason: str) -> None:
    answer = call(cloud, "GET", HOST, f"/storage/v1/b/{bucket}/o/x", headers={"Authorization": sent})
    error = said(answer)["error"]
    assert (answer.status, error["errors"][0]["reason"]) == (401, reason)
    assert error["message"].startswith(message)
    assert "WWW-Authenticate" in dict(answer.headers)


def test_uploads_cannot_begin_with_an_upload_id_in_place_of_a_token(cloud: GcpCloud, bucket: str) -> None:
    target = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=x&upload_id=y"
    assert call(cloud, "POST", HOST, target, b"x", headers={"Authorization": ""}).status == 401


def test_errors_have_the_json_interfaces_shape(cloud: GcpCloud, bucket: str, engine: Engine) -> None:
    answer = call(cloud, "GET", HOST, f"/storage/v1/b/{bucket}/o/nothing%2Fhere")
    message = f"No such object: {bucket}/nothing/here"
    assert said(answer) == {
        "error": {
            "code": 404,
            "message": message,
            "errors": [{"message": message, "domain": "global", "reason": "notFound"}],
        }
    }
    last = next(iter(engine.audit.events()))
    assert (last.operation, last.resource, last.status) == (
        "storage.objects.get",
        f"projects/_/buckets/{bucket}/objects/nothing/here",
        404,
    )


def test_a_change_of_how_access_is_decided_leaves_the_rest(cloud: GcpCloud, bucket: str) -> None:
    target = f"/storage/v1/b/{bucket}"

    def changed(**access: Any) -> Any:
        answer = call(cloud, "PATCH", HOST, target, {"iamConfiguration": access})
        shown = said(answer)["iamConfiguration"]
        return shown["uniformBucketLevelAccess"]["enabled"], shown["publicAccessPrevention"]

    assert changed(uniformBucketLevelAccess={"enabled": True}) == (True, "inherited")
    assert changed(publicAccessPrevention="enforced") == (True, "enforced")
    assert changed(bucketPolicyOnly={"enabled": False}) == (False, "enforced")
    assert changed(uniformBucketLevelAccess={"enabled": True}, bucketPolicyOnly={"enabled": False}) == (
        True,
        "enforced",
    )
    member = "serviceAccount:learner@mlops-lab.iam.gserviceaccount.com"
    condition = {"title": "t", "expression": "true"}
    binding = {"role": "roles/storage.objectViewer", "members": [member], "condition": condition}
    policy = said(call(cloud, "GET", HOST, f"{target}/iam"))
    policy |= {"version": 3, "bindings": [*policy["bindings"], binding]}
    assert call(cloud, "PUT", HOST, f"{target}/iam", policy).status == 200
    answer = call(cloud, "PATCH", HOST, target, {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}}})
    assert (answer.status, "has IAM conditions" in said(answer)["error"]["message"]) == (412, True)


@pytest.mark.parametrize(
    ("verb", "target", "what"),
    [
        ("GET", "/storage/v1/b/{bucket}/o/x/acl", "get legacy ACL for an object"),
        ("GET", "/storage/v1/b/{bucket}/defaultObjectAcl", "get legacy ACL for an object"),
        ("POST", "/storage/v1/b/{bucket}/acl", "insert legacy ACL for a bucket"),
        ("DELETE", "/storage/v1/b/{bucket}/o/x/acl/allUsers", "delete legacy ACL for an object"),
        ("POST", "/upload/storage/v1/b/{bucket}/o?name=x&predefinedAcl=publicRead", "insert legacy ACL for an object"),
    ],
)
def test_there_are_no_access_lists_where_roles_alone_decide(
    cloud: GcpCloud, bucket: str, verb: str, target: str, what: str
) -> None:
    body = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
    assert call(cloud, "PATCH", HOST, f"/storage/v1/b/{bucket}", body).status == 200
    answer = call(cloud, verb, HOST, target.format(bucket=bucket), b"")
    assert answer.status == 400
    assert said(answer)["error"]["message"].startswith(
        f"Cannot {what} when uniform bucket-level access is enabled. Read more at https://cloud.google.com/storage/"
    )


@pytest.mark.parametrize(
    ("verb", "target", "what"),
    [
        ("GET", "/storage/v1/b/{bucket}/o/x/acl", "/acl"),
        ("GET", "/storage/v1/b/{bucket}/notificationConfigs", "/notificationConfigs"),
        ("POST", "/upload/storage/v1/b/{bucket}/o?name=x&kmsKeyName=k", "customer-managed"),
        ("GET", "/storage/v1/b/{bucket}/o/x?X-Goog-Signature=abc", "signed URLs of the JSON API"),
    ],
)
def test_what_is_not_served_is_named(cloud: GcpCloud, bucket: str, verb: str, target: str, what: str) -> None:
    answer = call(cloud, verb, HOST, target.format(bucket=bucket), b"")
    assert answer.status == 501
    assert what in bytes(answer.body).decode()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a%0Ab", "..", "x" * 1025])
def test_names_that_no_object_can_have(cloud: GcpCloud, bucket: str, name: str) -> None:
    assert put(cloud, bucket, name, b"x").status == 400


def test_contents_are_for_whoever_deploys_them(cloud: GcpCloud, bucket: str) -> None:
    put(cloud, bucket, "m/model.joblib", b"abc")
    assert cloud.buckets.names(bucket, "m/") == ["m/model.joblib"]
    assert cloud.buckets.read(bucket, "m/model.joblib") == b"abc"
    with pytest.raises(StorageError) as caught:
        cloud.buckets.read(bucket, "m/other")
    assert (caught.value.code, caught.value.status) == ("NOT_FOUND", 404)


@pytest.mark.parametrize("line", [b"\r\n", b"\n"])
def test_parts_are_found_whatever_ends_the_lines(line: bytes) -> None:
    content = b"\r\n--not the boundary\n\x00\xff"
    body = line.join([b"--b b", b"Content-Type: text/plain", b"", content, b"--b b", b"", b"two", b"--b b--", b""])
    (first, one), (_, two) = parts('multipart/related; boundary="b b"', body)
    assert (first.get("content-type"), one, two) == ("text/plain", content, b"two")


@pytest.mark.parametrize("body", [b"", b"--b\r\nA: b\r\n\r\ncut off", b"--b\r\nno blank line\r\n--b--"])
def test_bodies_that_are_not_whole_are_refused(body: bytes) -> None:
    with pytest.raises(StorageError):
        parts("multipart/related; boundary=b", body)


@pytest.mark.parametrize(
    ("verb", "path", "body", "message"),
    [
        ("POST", "/storage/v1/b?project=mlops-lab", {"name": 3}, "name: it has to be a string"),
        ("POST", "/storage/v1/b?project=mlops-lab", {"name": "a-b-c", "labels": 5}, "labels: it has to be an object"),
        ("POST", "/storage/v1/b?project=mlops-lab", {"name": "a-b-c", "labels": {"a": 5}}, "labels.a: it has to be a"),
        ("POST", "/storage/v1/b?project=mlops-lab", {"name": "a-b-c", "iamConfiguration": "x"}, "iamConfiguration"),
        (
            "POST",
            "/storage/v1/b?project=mlops-lab",
            {"name": "a-b-c", "iamConfiguration": {"uniformBucketLevelAccess": True}},
            "uniformBucketLevelAccess: it has to be an object",
        ),
        ("PATCH", "/storage/v1/b/{bucket}/o/x", {"metadata": [1]}, "metadata: it has to be an object"),
        ("PATCH", "/storage/v1/b/{bucket}/o/x", {"metadata": {"a": 5}}, "an object with strings"),
        ("PATCH", "/storage/v1/b/{bucket}/o/x", {"contentType": 5}, "contentType: it has to be a string"),
        ("POST", "/storage/v1/b/{bucket}/o/y/compose", {"sourceObjects": "x"}, "sourceObjects: it has to be a list"),
        ("POST", "/storage/v1/b/{bucket}/o/y/compose", {"sourceObjects": ["x"]}, "a list of objects"),
        (
            "POST",
            "/storage/v1/b/{bucket}/o/y/compose",
            {"sourceObjects": [{"name": "x", "generation": "q"}]},
            "generation: 'q' is not a whole number",
        ),
        ("POST", "/storage/v1/b", {"name": "a-b-c"}, "Required parameter: project"),
        ("PATCH", "/storage/v1/b/{bucket}", b"[1]", "Parse Error"),
    ],
)
def test_bodies_of_a_wrong_form(cloud: GcpCloud, bucket: str, verb: str, path: str, body: Any, message: str) -> None:
    put(cloud, bucket, "x", b"x")
    answer = call(cloud, verb, HOST, path.format(bucket=bucket), body)
    assert answer.status == 400
    assert message in said(answer)["error"]["message"]
