"""The front: who is let in and how the others are told, what is refused, plain REST, and the audit trail."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config

from labkit.cloud.aws import AwsCloud, front, moto_base, signature
from labkit.cloud.engine import Engine
from labkit.cloud.http import Headers, Request, Response
from tests.cloud.aws import in_process
from tests.cloud.aws.in_process import ACCESS_KEY, SECRET, error

#: Service -> an operation without arguments.
READS = {
    "s3": "list_buckets",
    "iam": "list_users",
    "sts": "get_caller_identity",
    "sagemaker": "list_endpoints",
    "ecr": "describe_repositories",
}
UNKNOWN_KEY = {
    "s3": (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
    "iam": (403, "InvalidClientTokenId", "The security token included in the request is invalid."),
    "sts": (403, "InvalidClientTokenId", "The security token included in the request is invalid."),
    "sagemaker": (400, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "ecr": (400, "UnrecognizedClientException", "The security token included in the request is invalid."),
}
MISMATCH = "The request signature we calculated does not match the signature you provided. Check your"
WRONG_SECRET = {
    "s3": (403, "SignatureDoesNotMatch", f"{MISMATCH} key and signing method."),
    "iam": (403, "SignatureDoesNotMatch", f"{MISMATCH} AWS Secret Access Key and signing method."),
    "sts": (403, "SignatureDoesNotMatch", f"{MISMATCH} AWS Secret Access Key and signing method."),
    "sagemaker": (400, "InvalidSignatureException", f"{MISMATCH} AWS Secret Access Key and signing method."),
    "ecr": (400, "InvalidSignatureException", f"{MISMATCH} AWS Secret Access Key and signing method."),
}
ANONYMOUS = {
    "s3": (403, "AccessDenied", "Access Denied"),
    "iam": (403, "MissingAuthenticationToken", "Request is missing Authentication Token"),
    "sts": (403, "MissingAuthenticationToken", "Request is missing Authentication Token"),
    "sagemaker": (400, "MissingAuthenticationTokenException", "Missing Authentication Token"),
    "ecr": (400, "MissingAuthenticationTokenException", "Missing Authentication Token"),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def empty(cloud: AwsCloud, engine: Engine) -> None:
    cloud.reset()
    engine.audit.clear()


# -- credentials ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", READS)
def test_who_is_not_let_in(cloud: AwsCloud, service: str) -> None:
    def fails(**arguments: Any) -> tuple[int, str, str]:
        return error(getattr(in_process.client(cloud, service, **arguments), READS[service]))

    assert fails(key="AKIAIOSFODNN7NOBODY") == UNKNOWN_KEY[service]
    status, code, message = fails(secret="x" * 40)
    assert (status, code) == WRONG_SECRET[service][:2]
    assert message.startswith(WRONG_SECRET[service][2])
    assert fails(config=Config(signature_version=UNSIGNED)) == ANONYMOUS[service]


def test_a_wrong_signature_is_explained(cloud: AwsCloud) -> None:
    """Services that speak JSON say what they would have signed: whoever signs by hand can compare."""
    _, _, message = error(in_process.client(cloud, "sagemaker", secret="x" * 40).list_endpoints)
    assert "The Canonical String for this request should have been\n'POST\n/\n\ncontent-type:" in message
    assert "The String-to-Sign should have been\n'AWS4-HMAC-SHA256\n" in message


@pytest.mark.parametrize("service", ["s3", "iam", "sagemaker"])
def test_a_clock_that_is_wrong(cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(minutes=20)

    client = in_process.client(cloud, service)
    monkeypatch.setattr(front, "datetime", Later)
    status, code, message = error(getattr(client, READS[service]))
    if service == "s3":
        text = "The difference between the request time and the current time is too large."
        assert (status, code, message) == (403, "RequestTimeTooSkewed", text)
    else:
        wanted = (403, "SignatureDoesNotMatch") if service == "iam" else (400, "InvalidSignatureException")
        assert (status, code) == wanted
        assert re.fullmatch(r"Signature expired: \S+ is now earlier than \S+ \(\S+ - 15 min\.\)", message)


def test_tokens_stay_good_when_the_labs_clock_is_advanced(cloud: AwsCloud, engine: Engine) -> None:
    credentials = in_process.client(cloud, "sts").get_session_token(DurationSeconds=900)["Credentials"]
    engine.clock.advance(timedelta(days=31))
    session = in_process.client(
        cloud,
        "sts",
        key=credentials["AccessKeyId"],
        secret=credentials["SecretAccessKey"],
        token=credentials["SessionToken"],
    )
    assert session.get_caller_identity()["Account"] == "123456789012"


def send_signed_for(
    cloud: AwsCloud, host: str, service: str, region: str, target: str = "/", headers: dict[str, str] | None = None
) -> Response:
    """A GET signed by hand, as AWS's documentation shows it."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    path, _, query = target.partition("?")
    sent = {"host": host, "x-amz-date": stamp, **(headers or {})}
    names = ";".join(sorted(sent))
    lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
    payload = hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n{path}\n{query}\n{lines}\n{names}\n{payload}"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    digest = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={digest}"
    )
    served = "" if host.startswith("127.") else host
    return cloud.handle(Request("GET", served, target, Headers(sent.items())))


def test_plain_rest(cloud: AwsCloud) -> None:
    target = "/?Action=GetCallerIdentity&Version=2011-06-15"
    answer = send_signed_for(cloud, "sts.amazonaws.com", "sts", "us-east-1", target)
    assert answer.status == 200
    assert b"<Arn>arn:aws:iam::123456789012:user/learner</Arn>" in answer.body
    assert dict(answer.headers)["content-type"] == "text/xml"


def test_a_scope_that_does_not_fit(cloud: AwsCloud) -> None:
    target = "/?Action=GetCallerIdentity&Version=2011-06-15"
    answer = send_signed_for(cloud, "sts.eu-west-1.amazonaws.com", "sts", "us-east-1", target)
    assert answer.status == 403
    assert b"Credential should be scoped to a valid region, not 'us-east-1'. " in answer.body
    answer = send_signed_for(cloud, "sts.amazonaws.com", "iam", "us-east-1", target)
    assert b"<Code>SignatureDoesNotMatch</Code>" in answer.body
    assert b"Credential should be scoped to correct service: 'sts'. " in answer.body
    hashed = {"x-amz-content-sha256": hashlib.sha256(b"").hexdigest()}
    answer = send_signed_for(cloud, "s3.eu-west-1.amazonaws.com", "s3", "us-east-1", headers=hashed)
    assert answer.status == 400
    assert b"<Code>AuthorizationHeaderMalformed</Code>" in answer.body
    assert b"the region 'us-east-1' is wrong; expecting 'eu-west-1'" in answer.body
    assert b"<Region>eu-west-1</Region>" in answer.body


def test_the_plain_front_goes_by_the_scope(cloud: AwsCloud) -> None:
    """``aws --endpoint-url http://127.0.0.1:PORT``."""
    for service, operation in (*READS.items(), ("s3", "list_buckets")):
        client = in_process.client(cloud, service, "eu-west-1", endpoint_url="http://127.0.0.1:4566")
        getattr(client, operation)()
    s3 = in_process.client(cloud, "s3", endpoint_url="http://127.0.0.1:4566")
    s3.create_bucket(Bucket="a-bucket")
    s3.put_object(Bucket="a-bucket", Key="k", Body=b"x")
    assert s3.get_object(Bucket="a-bucket", Key="k")["Body"].read() == b"x"
    batch = in_process.client(cloud, "batch", endpoint_url="http://127.0.0.1:4566")
    assert error(batch.describe_job_queues)[2] == "The local clouds do not serve AWS Batch yet; see docs/fidelity.md."
    moon = in_process.client(cloud, "sts", "eu-moon-1", endpoint_url="http://127.0.0.1:4566")
    assert "'eu-moon-1' is no AWS region" in error(moon.get_caller_identity)[2]


def test_what_the_plain_front_takes_for_aws(cloud: AwsCloud) -> None:
    assert not cloud.front(Request("GET", "", "/"))
    assert not cloud.front(Request("GET", "", "/", Headers([("Authorization", "Bearer abc")])))
    assert cloud.front(Request("GET", "", "/b/k?AWSAccessKeyId=x&Signature=y&Expires=1"))
    assert cloud.front(Request("POST", "", "/", Headers([("Authorization", "AWS4-HMAC-SHA256 Credential=x")])))


# -- presigned URLs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [None, "s3v4"])
def test_presigned_urls(cloud: AwsCloud, version: str | None) -> None:
    s3 = in_process.client(cloud, "s3", config=Config(signature_version=version) if version else None)
    s3.create_bucket(Bucket="a-bucket")
    put = s3.generate_presigned_url("put_object", {"Bucket": "a-bucket", "Key": "a b/ü"})
    assert (version is None) == ("AWSAccessKeyId=" in put)
    assert fetch(cloud, "PUT", put, b"hello").status == 200
    get = s3.generate_presigned_url("get_object", {"Bucket": "a-bucket", "Key": "a b/ü", "ResponseContentType": "a/b"})
    answer = fetch(cloud, "GET", get)
    assert (answer.status, answer.body, dict(answer.headers)["Content-Type"]) == (200, b"hello", "a/b")
    assert fetch(cloud, "DELETE", get).status == 403
    other = fetch(cloud, "GET", get.replace("/a%20b", "/c"))
    assert (other.status, b"<Code>SignatureDoesNotMatch</Code>" in other.body) == (403, True)
    over = s3.generate_presigned_url(
        "get_object", {"Bucket": "a-bucket", "Key": "k"}, ExpiresIn=-5 if not version else 0
    )
    answer = fetch(cloud, "GET", over, later=timedelta(seconds=2))
    assert (answer.status, b"<Message>Request has expired</Message>" in answer.body) == (403, True)


def fetch(cloud: AwsCloud, method: str, url: str, body: bytes = b"", later: timedelta | None = None) -> Response:
    """Sends a request without headers of its own; ``later`` on the machine's clock."""
    prepared = AWSPreparedRequest(method, url, {}, body, False)
    if later is None:
        return cloud.handle(in_process.request_of(prepared))
    with pytest.MonkeyPatch.context() as patch:

        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + later

        patch.setattr(front, "datetime", Later)
        return cloud.handle(in_process.request_of(prepared))


def test_a_browsers_upload_is_refused(cloud: AwsCloud) -> None:
    headers = Headers([("Content-Type", "multipart/form-data; boundary=x")])
    answer = cloud.handle(Request("POST", "a-bucket.s3.us-east-1.amazonaws.com", "/", headers, b"--x--"))
    assert (answer.status, b"do not serve s3:PostObject yet" in answer.body) == (501, True)


def test_a_bucket_asked_for_in_another_region(cloud: AwsCloud) -> None:
    in_process.client(cloud, "s3").create_bucket(Bucket="a-bucket")
    hashed = {"x-amz-content-sha256": hashlib.sha256(b"").hexdigest()}
    host = "a-bucket.s3.us-west-2.amazonaws.com"
    answer = send_signed_for(cloud, host, "s3", "us-west-2", headers=hashed)
    assert (answer.status, dict(answer.headers)["x-amz-bucket-region"]) == (301, "us-east-1")
    assert b"<Code>PermanentRedirect</Code>" in answer.body
    assert b"<Endpoint>a-bucket.s3.us-east-1.amazonaws.com</Endpoint>" in answer.body


def test_version_2_only_where_aws_still_takes_it(cloud: AwsCloud) -> None:
    old = Config(signature_version="s3")
    in_process.client(cloud, "s3", "eu-west-1", config=old).list_buckets()
    message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    wrong = error(in_process.client(cloud, "s3", "eu-central-1", config=old).list_buckets)
    assert wrong == (400, "InvalidRequest", message)


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "code", "asked"),
    [
        (
            "s3",
            "put_bucket_cors",
            {"Bucket": "b", "CORSConfiguration": {"CORSRules": []}},
            "NotImplemented",
            "PutBucketCors",
        ),
        ("iam", "list_ssh_public_keys", {}, "NotImplemented", "ListSSHPublicKeys"),
        (
            "sts",
            "decode_authorization_message",
            {"EncodedMessage": "x"},
            "NotImplemented",
            "DecodeAuthorizationMessage",
        ),
        ("ecr", "describe_registry", {}, "NotImplementedException", "DescribeRegistry"),
        ("sagemaker", "list_domains", {}, "NotImplementedException", "ListDomains"),
    ],
)
def test_an_operation_that_is_not_served(
    cloud: AwsCloud, service: str, operation: str, arguments: dict[str, Any], code: str, asked: str
) -> None:
    wrong = error(getattr(in_process.client(cloud, service), operation), **arguments)
    assert wrong == (501, code, f"The local clouds do not serve {service}:{asked} yet; see docs/fidelity.md.")


@pytest.mark.parametrize(
    ("service", "region", "operation", "sentence"),
    [
        ("ec2", "us-east-1", "describe_instances", "do not serve Amazon Elastic Compute Cloud yet"),
        ("ses", "us-east-1", "list_identities", "do not serve Amazon Simple Email Service yet"),
        ("route53", "us-east-1", "list_hosted_zones", "do not serve Amazon Route 53 yet"),
        ("dynamodb", "us-east-1", "list_tables", "do not serve Amazon DynamoDB yet"),
        ("batch", "us-east-1", "describe_job_queues", "do not serve AWS Batch yet"),
        ("sagemaker", "eu-moon-1", "list_endpoints", "'eu-moon-1' is no AWS region"),
        ("s3", "eu-moon-1", "list_buckets", "'eu-moon-1' is no AWS region"),
        ("sts", "us-gov-west-1", "get_caller_identity", "a region of AWS GovCloud"),
    ],
)
def test_a_service_or_region_that_is_not_served(
    cloud: AwsCloud, service: str, region: str, operation: str, sentence: str
) -> None:
    """In the shape that the service's clients can read."""
    status, _, message = error(getattr(in_process.client(cloud, service, region), operation))
    assert status == 501
    assert sentence in message


def signed(cloud: AwsCloud, service: str, change: Callable[[AWSPreparedRequest], None]) -> Response:
    """The answer to a request of boto3's that is changed before it is signed."""
    client = in_process.client(cloud, service)
    answers = []

    def alter(request: Any, **_: Any) -> None:
        change(request)

    def keep(request: AWSPreparedRequest, **_: Any) -> Any:
        answers.append(cloud.handle(in_process.request_of(request)))
        return in_process.botocore_response(request, answers[-1])

    client.meta.events.register("before-sign.*", alter)
    client.meta.events.register_first("before-send.*", keep)
    try:
        getattr(client, READS[service])()
    except Exception:
        assert answers
    return answers[0]


def test_operations_that_do_not_exist(cloud: AwsCloud) -> None:
    def target(request: Any) -> None:
        request.headers.replace_header("X-Amz-Target", "SageMaker.MakeCoffee")

    answer = signed(cloud, "sagemaker", target)
    assert (answer.status, json.loads(answer.body)["__type"]) == (400, "UnknownOperationException")

    def action(request: Any) -> None:
        request.data = "Action=MakeCoffee&Version=2010-05-08"

    answer = signed(cloud, "iam", action)
    assert (answer.status, b"<Code>InvalidAction</Code>" in answer.body) == (400, True)
    assert b"Could not find operation MakeCoffee for version 2010-05-08" in answer.body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The request's body is no valid JSON."),
        (b"[]", "Start of structure or map expected at the top of the body."),
        (b'{"MaxResults": "ten"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"NameContains": 5}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"NameContains": {}}', "Start of structure or map found where not expected."),
        (b'{"CreationTimeAfter": "soon"}', "'soon' is no time that can be read."),
    ],
)
def test_bodies_that_cannot_be_read(cloud: AwsCloud, body: bytes, message: str) -> None:
    def change(request: Any) -> None:
        request.data = body

    answer = signed(cloud, "sagemaker", change)
    assert answer.status == 400
    document = json.loads(answer.body)
    assert (document["__type"], document["message"]) == ("SerializationException", message)
    assert dict(answer.headers)["x-amzn-errortype"] == "SerializationException"


def test_xml_that_cannot_be_read(cloud: AwsCloud) -> None:
    s3 = in_process.client(cloud, "s3")
    s3.create_bucket(Bucket="a-bucket")
    s3.meta.events.register("before-call.s3.PutBucketTagging", lambda params, **_: params.update(body=b"<Tagging><a"))
    status, code, _ = error(s3.put_bucket_tagging, Bucket="a-bucket", Tagging={"TagSet": []})
    assert (status, code) in ((400, "MalformedXML"), (400, "BadDigest"))


def test_cbor_is_refused_in_words(cloud: AwsCloud) -> None:
    def change(request: Any) -> None:
        request.headers.replace_header("Content-Type", "application/cbor")

    answer = signed(cloud, "sagemaker", change)
    assert (answer.status, "not CBOR" in json.loads(answer.body)["message"]) == (501, True)


def test_a_bug_below_is_told_as_a_refusal(
    cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No operation answers with an unplanned HTTP 500, and never with HTML."""

    def fail(*_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(moto_base, "call", fail)
    status, code, message = error(in_process.client(cloud, "iam").list_users)
    assert (status, code) == (501, "NotImplemented")
    assert (
        message
        == "The local clouds could not serve iam:ListUsers (KeyError: 'a bug'); the server's log has the details."
    )
    assert "Traceback" in caplog.text
    monkeypatch.setattr(signature, "presented", fail)
    assert error(in_process.client(cloud, "iam").list_users)[0] == 501


def test_motos_own_gaps_are_told_as_refusals(cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise NotImplementedError("The list_users action has not been implemented")

    monkeypatch.setattr(moto_base, "call", missing)
    wanted = (501, "NotImplemented", "The local clouds do not serve iam:ListUsers yet; see docs/fidelity.md.")
    assert error(in_process.client(cloud, "iam").list_users) == wanted


def test_docker_is_told_that_there_are_no_images(cloud: AwsCloud) -> None:
    host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    answer = cloud.handle(Request("GET", host, "/v2/", Headers([("Host", host)])))
    assert answer.status == 501
    assert json.loads(answer.body)["errors"][0]["code"] == "UNSUPPORTED"


# -- the audit trail -----------------------------------------------------------------------------------------------


def test_every_call_is_in_the_audit_trail(cloud: AwsCloud, engine: Engine) -> None:
    s3, iam = in_process.client(cloud, "s3"), in_process.client(cloud, "iam")
    s3.create_bucket(Bucket="a-bucket")
    s3.put_object(Bucket="a-bucket", Key="k", Body=b"secret contents", Metadata={"a": "b"})
    error(s3.get_object, Bucket="a-bucket", Key="no")
    error(s3.put_bucket_cors, Bucket="a-bucket", CORSConfiguration={"CORSRules": []})
    iam.create_user(UserName="u")
    error(in_process.client(cloud, "iam", secret="x" * 40).list_users)
    events = list(engine.audit.events())[::-1]
    told = [(e.service, e.operation, e.resource, e.status, e.error, e.read_only) for e in events]
    assert told == [
        ("s3", "CreateBucket", "arn:aws:s3:::a-bucket", 200, "", False),
        ("s3", "PutObject", "arn:aws:s3:::a-bucket/k", 200, "", False),
        ("s3", "GetObject", "arn:aws:s3:::a-bucket/no", 404, "NoSuchKey", True),
        ("s3", "PutBucketCors", "arn:aws:s3:::a-bucket", 501, "NotImplemented", False),
        ("iam", "CreateUser", "arn:aws:iam::123456789012:user/u", 200, "", False),
        ("iam", "ListUsers", "", 403, "SignatureDoesNotMatch", True),
    ]
    put = events[1]
    assert put.caller is not None
    assert (put.caller.principal, put.caller.credential) == ("arn:aws:iam::123456789012:user/learner", ACCESS_KEY)
    assert put.parameters is not None
    assert "Body" not in put.parameters
    assert put.parameters["Metadata"] == {"a": "b"}
    assert put.client.startswith("Boto3/")
    assert events[-1].caller is None


def test_a_refused_host_is_in_the_audit_trail(cloud: AwsCloud, engine: Engine) -> None:
    error(in_process.client(cloud, "ses").list_identities)
    (event,) = engine.audit.events()
    assert (event.service, event.status, event.error) == ("email.us-east-1.amazonaws.com", 501, "NotImplemented")
    assert "Amazon Simple Email Service" in event.message


def test_secrets_are_not_in_the_audit_trail(cloud: AwsCloud, engine: Engine) -> None:
    sts = in_process.client(cloud, "sts")
    error(sts.assume_role, RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="me", TokenCode="123456")
    (event,) = engine.audit.events()
    assert event.parameters == {
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "RoleSessionName": "me",
        "TokenCode": "***",
    }


def test_a_waiter_is_recognized(cloud: AwsCloud) -> None:
    seen = []
    client = in_process.client(cloud, "sagemaker")

    def look(request: AWSPreparedRequest, **_: Any) -> None:
        call = front.Call(cloud, in_process.request_of(request), "", front.Target("sagemaker", "us-east-1"))
        seen.append(call.waiter)

    client.meta.events.register_first("before-send.*", look)
    error(client.describe_endpoint, EndpointName="e")
    with pytest.raises(Exception, match="Waiter EndpointInService failed"):
        client.get_waiter("endpoint_in_service").wait(EndpointName="e")
    assert seen == [False, True]


# -- emptying ------------------------------------------------------------------------------------------------------


def test_inventory_and_reset(cloud: AwsCloud) -> None:
    s3, iam = in_process.client(cloud, "s3"), in_process.client(cloud, "iam")
    s3.create_bucket(Bucket="a-bucket")
    iam.create_user(UserName="u")
    found = cloud.inventory()
    assert (found["buckets"], found["users"]) == (["a-bucket"], ["u"])
    cloud.reset()
    assert cloud.inventory() == {}
    assert s3.list_buckets()["Buckets"] == []
    assert [user["UserName"] for user in iam.list_users()["Users"]] == ["learner"]


def test_stores_are_one_for_each_account_and_region(cloud: AwsCloud) -> None:
    request = Request("GET", "sagemaker", "/")
    here, there = (
        front.Call(cloud, request, "", front.Target("sagemaker", each)) for each in ("us-east-1", "eu-west-1")
    )
    kept = here.store(dict)
    assert here.store(dict) is kept
    assert there.store(dict) is not kept
    assert here.scope == "aws:123456789012:us-east-1"
    cloud.reset()
    assert here.store(dict) is not kept
