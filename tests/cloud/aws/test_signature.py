"""Signatures: AWS's published examples, botocore's signers over many requests, and what must not pass."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cloud.aws import signature
from labkit.cloud.aws.checksums import checksum
from labkit.cloud.aws.signature import Rejected
from labkit.cloud.http import Headers, Request
from tests.cloud.aws.in_process import ACCESS_KEY, SECRET, client_without_server, request_of
from tests.waiting import eventually

SUITE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SUITE_TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
S3_TIME = datetime(2013, 5, 24, tzinfo=UTC)


def check(request: Request, secret: str, now: datetime, *, s3: bool = False, bucket: str = "") -> signature.Payload:
    credential = signature.presented(request)
    assert credential is not None
    return signature.verify(request, credential, secret, now, s3=s3, bucket=bucket)


def reason(request: Request, secret: str = SECRET, now: datetime | None = None, *, s3: bool = False) -> str:
    with pytest.raises(Rejected) as caught:
        check(request, secret, now or datetime.now(UTC), s3=s3)
    return caught.value.reason


# -- AWS's published examples --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "headers", "signed", "expected"),
    [
        ("GET", "/", {}, "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", {}, "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            {},
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ],
)
def test_sigv4_suite(method: str, target: str, headers: dict[str, str], signed: str, expected: str) -> None:
    """get-vanilla, post-vanilla and get-vanilla-query-order-key-case of AWS's Signature Version 4 test suite."""
    scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={expected}"
    sent = {
        "Host": "example.amazonaws.com",
        "X-Amz-Date": "20150830T123600Z",
        "Authorization": authorization,
        **headers,
    }
    check(Request(method, "example.amazonaws.com", target, Headers(sent.items())), SUITE_SECRET, SUITE_TIME)


def test_the_iam_example() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (ListUsers)."""
    request = Request(
        "GET",
        "iam.amazonaws.com",
        "/?Action=ListUsers&Version=2010-05-08",
        Headers(
            [
                ("Host", "iam.amazonaws.com"),
                ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("X-Amz-Date", "20150830T123600Z"),
                (
                    "Authorization",
                    (
                        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
                        "SignedHeaders=content-type;host;x-amz-date, "
                        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
                    ),
                ),
            ]
        ),
    )
    check(request, SUITE_SECRET, SUITE_TIME)


def s3_example(
    method: str, target: str, headers: dict[str, str], signed: str, digest: str, body: bytes = b""
) -> Request:
    sent = {
        "Host": "examplebucket.s3.amazonaws.com",
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-amz-date": "20130524T000000Z",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={signed},Signature={digest}",
        **headers,
    }
    return Request(method, "examplebucket.s3.amazonaws.com", target, Headers(sent.items()), body)


@pytest.mark.parametrize(
    "request_",
    [
        s3_example(
            "GET",
            "/test.txt",
            {"Range": "bytes=0-9"},
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        s3_example(
            "PUT",
            "/test%24file.text",
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            b"Welcome to Amazon S3.",
        ),
        s3_example(
            "GET",
            "/?lifecycle",
            {},
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        s3_example(
            "GET",
            "/?max-keys=2&prefix=J",
            {},
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["range", "put", "lifecycle", "list"],
)
def test_s3_examples(request_: Request) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""
    check(request_, SECRET, S3_TIME, s3=True)


def presigned_example() -> Request:
    target = (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    host = "examplebucket.s3.amazonaws.com"
    return Request("GET", host, target, Headers([("Host", host)]))


def test_the_presigned_example() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
    check(presigned_example(), SECRET, S3_TIME + timedelta(seconds=86_400), s3=True)


def chunked_example(tamper: bytes = b"") -> Request:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html: 65 KB of the letter a."""
    body = b"".join(
        (
            b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
            b"a" * 65536 + b"\r\n",
            b"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
            (tamper + b"a" * 1024)[:1024] + b"\r\n",
            b"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
        )
    )
    headers = [
        ("Host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", signature.STREAMING_SIGNED),
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("Content-Length", "66824"),
        (
            "Authorization",
            (
                f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders="
                "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
                "x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
            ),
        ),
    ]
    return Request("PUT", "s3.amazonaws.com", "/examplebucket/chunkObject.txt", Headers(headers), body)


def test_the_signed_chunks_example() -> None:
    assert check(chunked_example(), SECRET, S3_TIME, s3=True).body == b"a" * 66560


def test_a_chunk_that_was_changed() -> None:
    assert reason(chunked_example(b"b"), now=S3_TIME, s3=True) == "mismatch"


def test_the_signed_chunks_with_trailer_example() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html"""
    request = chunked_example()
    trailer = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
    request.body = b"".join(
        (
            b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n",
            b"a" * 65536 + b"\r\n",
            b"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n",
            b"a" * 1024 + b"\r\n",
            b"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n",
            f"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{trailer}\r\n\r\n".encode(),
        )
    )
    replaced = {
        "x-amz-content-sha256": signature.STREAMING_SIGNED_TRAILER,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders="
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;"
        "x-amz-trailer,Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    }
    request.headers.items = [(name, replaced.get(name, value)) for name, value in request.headers.items]
    request.headers.items.append(("x-amz-trailer", "x-amz-checksum-crc32c"))
    payload = check(request, SECRET, S3_TIME, s3=True)
    assert payload.body == b"a" * 66560
    assert payload.trailers == {"x-amz-checksum-crc32c": "sOO8/Q=="}
    request.body = request.body.replace(trailer.encode(), b"0" * 64)
    assert reason(request, now=S3_TIME, s3=True) == "mismatch"


# -- botocore's signers --------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
parameters = st.dictionaries(text, text, max_size=4)


def signed_request(signer: type, service: str, url: str, method: str, headers: dict[str, str], body: bytes) -> Request:
    request = AWSRequest(method, url, dict(headers), body)
    key = Credentials(ACCESS_KEY, SECRET)
    arguments = {"expires": 60} if issubclass(signer, SigV4QueryAuth) else {}
    signer(key, service, "eu-west-1", **arguments).add_auth(request)
    return request_of(request.prepare())


def query_string(pairs: dict[str, str]) -> str:
    return "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in pairs.items())


@settings(max_examples=150, deadline=None)
@given(
    path=st.lists(text, max_size=4),
    query=parameters,
    value=header_values,
    body=st.binary(max_size=64),
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    signer=st.sampled_from([S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth]),
)
def test_what_botocore_signs(
    path: list[str], query: dict[str, str], value: str, body: bytes, method: str, signer: type
) -> None:
    """Whatever botocore signs is accepted, and no other secret's signature is."""
    is_s3 = signer in (S3SigV4Auth, S3SigV4QueryAuth)
    safe = "/~" if is_s3 else "-_.~"
    url = "https://bucket.s3.eu-west-1.amazonaws.com/" + "/".join(quote(p, safe=safe) for p in path)
    if query:
        url += "?" + query_string(query)
    presigned = issubclass(signer, SigV4QueryAuth)
    service, headers = "s3" if is_s3 else "execute-api", {"x-amz-meta-x": value}
    request = signed_request(signer, service, url, method, headers, b"" if presigned else body)
    if signer is S3SigV4QueryAuth:
        request.body = body
    elif presigned:
        body = b""
    now = datetime.now(UTC)
    assert check(request, SECRET, now, s3=is_s3).body == body
    assert reason(request, SECRET[::-1], now, s3=is_s3) == "mismatch"


@settings(max_examples=60, deadline=None)
@given(key=text, query=parameters, token=st.one_of(st.none(), st.just("a/token+with=signs")))
def test_signature_version_2(key: str, query: dict[str, str], token: str | None) -> None:
    """The presigned URLs that boto3 makes for S3 by default."""
    boto3_client = client_without_server("s3", token=token)
    url = boto3_client.generate_presigned_url("get_object", {"Bucket": "a-bucket", "Key": key, "VersionId": "v 1"})
    split = urlsplit(url)
    request = Request("GET", split.netloc, f"{split.path}?{split.query}", Headers([("Host", split.netloc)]))
    assert "AWSAccessKeyId=" in split.query
    check(request, SECRET, datetime.now(UTC), s3=True, bucket="a-bucket")
    with pytest.raises(Rejected, match="mismatch"):
        check(request, SECRET[::-1], datetime.now(UTC), s3=True, bucket="a-bucket")
    with pytest.raises(Rejected, match="mismatch"):
        check(request, SECRET, datetime.now(UTC), s3=True, bucket="another")
    with pytest.raises(Rejected, match="presign-expired"):
        check(request, SECRET, datetime.now(UTC) + timedelta(hours=2), s3=True, bucket="a-bucket")


# -- payloads ------------------------------------------------------------------------------------------------------


def with_trailer(
    data: bytes, sent: bytes | None = None, trailer: str = "", announced: str = "x-amz-checksum-crc32"
) -> Request:
    """An upload as boto3 makes it over TLS: unsigned chunks, the checksum after them."""
    trailer = trailer or f"x-amz-checksum-crc32:{checksum('crc32', data)}"
    headers = {
        "x-amz-content-sha256": signature.STREAMING_UNSIGNED_TRAILER,
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-trailer": announced,
        "content-encoding": "aws-chunked",
    }
    url = "https://bucket.s3.eu-west-1.amazonaws.com/key"
    request = AWSRequest("PUT", url, headers, b"")
    request.context["payload_signing_enabled"] = False
    signer = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET), "s3", "eu-west-1")
    signer.payload = lambda _: signature.STREAMING_UNSIGNED_TRAILER  # type: ignore[method-assign]
    signer.add_auth(request)
    made = request_of(request.prepare())
    sent = data if sent is None else sent
    chunks = b"%x\r\n%s\r\n" % (len(sent), sent) if sent else b""
    made.body = chunks + b"0\r\n" + trailer.encode() + b"\r\n\r\n"
    return made


def test_unsigned_chunks_with_a_trailing_checksum() -> None:
    payload = check(with_trailer(b"hello"), SECRET, datetime.now(UTC), s3=True)
    assert payload.body == b"hello"
    assert payload.trailers == {"x-amz-checksum-crc32": checksum("crc32", b"hello")}


def test_an_empty_upload_in_chunks() -> None:
    assert check(with_trailer(b""), SECRET, datetime.now(UTC), s3=True).body == b""


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (with_trailer(b"hello", b"jello"), "bad-digest"),
        (with_trailer(b"hello", b"hell"), "incomplete-body"),
        (with_trailer(b"hello", trailer="x-amz-checksum-sha1:abc="), "malformed-trailer"),
    ],
)
def test_chunks_that_do_not_fit(request_: Request, expected: str) -> None:
    assert reason(request_, s3=True) == expected


def test_a_truncated_chunk() -> None:
    request = with_trailer(b"hello")
    request.body = request.body[:5]
    assert reason(request, s3=True) == "incomplete-body"


def s3_put(body: bytes = b"hello", headers: dict[str, str] | None = None) -> Request:
    url = "https://bucket.s3.eu-west-1.amazonaws.com/key"
    return signed_request(S3SigV4Auth, "s3", url, "PUT", headers or {}, body)


def test_a_body_that_was_changed() -> None:
    request = s3_put()
    request.body = b"jello"
    assert reason(request, s3=True) == "payload-mismatch"


def test_a_header_that_was_not_signed() -> None:
    request = s3_put()
    request.headers.items.append(("x-amz-acl", "public-read"))
    assert reason(request, s3=True) == "unsigned-headers"


def test_s3_wants_the_payloads_hash() -> None:
    request = signed_request(SigV4Auth, "s3", "https://s3.eu-west-1.amazonaws.com/b/k", "GET", {}, b"")
    assert reason(request, s3=True) == "no-payload-hash"


def test_a_body_of_another_service_that_was_changed() -> None:
    request = signed_request(SigV4Auth, "iam", "https://iam.amazonaws.com/", "POST", {}, b"Action=ListUsers")
    request.body = b"Action=ListRoles"
    assert reason(request) == "mismatch"


# -- what cannot be read, and time ---------------------------------------------------------------------------------


def iam_get(**changes: str) -> Request:
    """A signed request with something replaced in its Authorization header."""
    request = signed_request(SigV4Auth, "iam", "https://iam.amazonaws.com/", "GET", {}, b"")
    for old, new in changes.items():
        request.headers.items = [
            (name, value.replace(old, new) if name == "Authorization" else value)
            for name, value in request.headers.items
        ]
    return request


def test_what_cannot_be_read() -> None:
    assert reason(iam_get(Signature="Sig")) == "malformed"
    assert reason(iam_get(aws4_request="aws5_request")) == "malformed-scope"
    assert reason(iam_get(**{"SignedHeaders=host;": "SignedHeaders="})) == "host-unsigned"
    assert reason(iam_get(**{"SignedHeaders=host": "SignedHeaders=host;x-absent"})) == "mismatch"
    today = f"{datetime.now(UTC):%Y%m%d}"
    assert reason(iam_get(**{f"/{today}/": "/20200101/"})) == "scope-date"
    assert signature.presented(Request("GET", "iam.amazonaws.com", "/")) is None
    bearer = Request("GET", "iam.amazonaws.com", "/", Headers([("Authorization", "Bearer abc")]))
    assert reason(bearer) == "unsupported"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"X-Amz-Expires": "604801"}, "X-Amz-Expires must be less than a week (in seconds) that is 604800"),
        ({"X-Amz-Expires": "-1"}, "X-Amz-Expires must be non-negative"),
        ({"X-Amz-Expires": "soon"}, "X-Amz-Expires should be a number"),
        ({"X-Amz-Date": "today"}, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""),
    ],
)
def test_presigned_parameters(query: dict[str, str], message: str) -> None:
    request = presigned_example()
    for name, value in query.items():
        old = next(p for p in request.query.split("&") if p.startswith(f"{name}="))
        request.target = request.target.replace(old, f"{name}={value}")
    with pytest.raises(Rejected) as caught:
        signature.presented(request)
    assert caught.value.message == message


def test_time() -> None:
    now = datetime.now(UTC)
    assert reason(iam_get(), now=now + timedelta(minutes=16)) == "skewed"
    assert reason(iam_get(), now=now - timedelta(minutes=6)) == "skewed"
    assert reason(s3_put(), now=now + timedelta(minutes=16), s3=True) == "skewed"
    check(s3_put(), SECRET, now - timedelta(minutes=14), s3=True)
    check(iam_get(), SECRET, now + timedelta(minutes=14))
    assert reason(presigned_example(), now=S3_TIME + timedelta(seconds=86_402), s3=True) == "presign-expired"
    assert reason(presigned_example(), now=S3_TIME - timedelta(minutes=16), s3=True) == "not-yet"


def test_a_signature_is_checked_in_200_microseconds() -> None:
    """Five times the bound of the design, so that a busy machine does not fail it."""
    request = iam_get()
    now = datetime.now(UTC)

    def soon_enough() -> bool:
        started = time.thread_time()
        for _ in range(200):
            check(request, SECRET, now)
        return (time.thread_time() - started) / 200 < 1e-3

    eventually(soon_enough)
