"""AWS's base services through the gateway: the ``aws`` command, boto3 without any override, requests signed by hand."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import boto3
import pytest
import requests

from labkit.cloud.state import Lab

AWS = Path(sys.executable).with_name("aws")


def aws(*arguments: str, fails: bool = False) -> str:
    """Runs the command; returns its output, or what it says when it must fail."""
    done = subprocess.run([str(AWS), *arguments], capture_output=True, text=True, timeout=250)
    assert bool(done.returncode) == fails, done.stderr
    return done.stderr.strip() if fails else done.stdout


def failed(code: str, operation: str, message: str) -> str:
    return f"An error occurred ({code}) when calling the {operation} operation: {message}"


@pytest.fixture
def name(clouds: Lab) -> str:
    """A name of the test's own on the clouds that tests share."""
    return f"t-{uuid4().hex[:12]}"


def test_the_command_copies_files(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source.bin", tmp_path / "target.bin"
    source.write_bytes(bytes(range(256)) * 40_000)
    aws("s3", "mb", f"s3://{name}")
    aws("s3", "cp", str(source), f"s3://{name}/a folder/ü.bin", "--no-progress")
    listed = aws("s3", "ls", f"s3://{name}", "--recursive")
    assert listed.split(maxsplit=2)[2].strip() == "10240000 a folder/ü.bin"
    aws("s3", "cp", f"s3://{name}/a folder/ü.bin", str(target), "--no-progress")
    assert target.read_bytes() == source.read_bytes()
    assert "BucketNotEmpty" in aws("s3", "rb", f"s3://{name}", fails=True)
    aws("s3", "rb", f"s3://{name}", "--force")


def test_the_command_tells_errors(name: str) -> None:
    wanted = failed("NoSuchBucket", "ListObjectsV2", "The specified bucket does not exist")
    assert aws("s3", "ls", f"s3://{name}", fails=True) == wanted
    wanted = failed("404", "HeadObject", "Not Found")
    assert aws("s3api", "head-object", "--bucket", name, "--key", "k", fails=True) == wanted
    wanted = failed("NoSuchEntity", "GetRole", f"The role with name {name} cannot be found.")
    assert aws("iam", "get-role", "--role-name", name, fails=True) == wanted
    message = f"The repository with name '{name}' does not exist in the registry with id '123456789012'"
    wanted = failed("RepositoryNotFoundException", "DescribeRepositories", message)
    assert aws("ecr", "describe-repositories", "--repository-names", name, fails=True) == wanted


def test_the_command_tells_what_is_not_served(name: str) -> None:
    sentence = "The local clouds do not serve s3:ListBucketMetricsConfigurations yet; see docs/fidelity.md."
    wanted = failed("NotImplemented", "ListBucketMetricsConfigurations", sentence)
    aws("s3", "mb", f"s3://{name}")
    assert aws("s3api", "list-bucket-metrics-configurations", "--bucket", name, fails=True) == wanted
    sentence = "The local clouds do not serve AWS Batch yet; see docs/fidelity.md."
    wanted = failed("NotImplementedException", "DescribeJobQueues", sentence)
    assert aws("batch", "describe-job-queues", fails=True) == wanted
    assert "'eu-moon-1' is no AWS region" in aws("--region", "eu-moon-1", "sts", "get-caller-identity", fails=True)


def test_the_command_on_the_plain_front(clouds: Lab, name: str) -> None:
    here = ("--endpoint-url", clouds.url)
    who = json.loads(aws(*here, "sts", "get-caller-identity"))
    assert who["Arn"] == "arn:aws:iam::123456789012:user/learner"
    aws(*here, "s3", "mb", f"s3://{name}")
    assert name in aws("s3", "ls")
    assert json.loads(aws(*here, "ecr", "describe-repositories", "--region", "eu-west-1")) == {"repositories": []}


def test_boto3_without_any_override(name: str) -> None:
    s3, iam, sts = (boto3.client(service) for service in ("s3", "iam", "sts"))
    ireland = boto3.client("s3", region_name="eu-west-1")
    ireland.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    data = bytes(range(256)) * 50_000
    s3.upload_fileobj(io.BytesIO(data), name, "big")
    assert s3.get_object(Bucket=name, Key="big")["Body"].read() == data
    assert ireland.head_object(Bucket=name, Key="big")["ContentLength"] == len(data)
    trust = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    session = sts.assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    assumed = boto3.client(
        "sts",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    assert assumed.get_caller_identity()["Arn"] == f"arn:aws:sts::123456789012:assumed-role/{name}/me"


def test_ecr_keeps_repositories_and_no_images(name: str) -> None:
    ecr = boto3.client("ecr")
    made = ecr.create_repository(repositoryName=name, tags=[{"Key": "team", "Value": "ml"}])["repository"]
    assert made["repositoryUri"] == f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{name}"
    assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "team", "Value": "ml"}]
    with pytest.raises(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName=name)
    assert ecr.list_images(repositoryName=name)["imageIds"] == []
    token = ecr.get_authorization_token()["authorizationData"][0]
    assert (token["expiresAt"] - datetime.now(UTC)).total_seconds() > 11 * 3600
    answer = requests.get(f"{token['proxyEndpoint']}/v2/")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (501, "UNSUPPORTED")
    ecr.delete_repository(repositoryName=name)


def signed_headers(lab: Lab, method: str, host: str, path: str, body: bytes) -> dict[str, str]:
    """Headers with a Signature Version 4 for S3, made by hand."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    digest = hashlib.sha256(body).hexdigest()
    sent = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(sent))
    lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
    canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{digest}"
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{lab.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"Credential={lab.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**sent, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}


def test_requests_with_a_signature_made_by_hand(clouds: Lab, name: str) -> None:
    host = f"{name}.s3.us-east-1.amazonaws.com"
    path = quote("/a folder/ü+&.txt")

    def send(method: str, path: str, body: bytes = b"") -> requests.Response:
        headers = signed_headers(clouds, method, host, path, body)
        return requests.request(method, f"https://{host}{path}", headers=headers, data=body)

    assert send("PUT", "/").status_code == 200
    assert send("PUT", path, b"hello").headers["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert send("GET", path).content == b"hello"
    assert send("HEAD", path).headers["Content-Length"] == "5"
    missing = send("GET", "/no")
    assert (missing.status_code, "<Code>NoSuchKey</Code>" in missing.text) == (404, True)
    anonymous = requests.get(f"https://{host}{path}")
    assert (anonymous.status_code, "<Code>AccessDenied</Code>" in anonymous.text) == (403, True)


def test_presigned_urls_with_requests(name: str) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=name)
    arguments: dict[str, Any] = {"Bucket": name, "Key": "a b.txt"}
    assert requests.put(s3.generate_presigned_url("put_object", arguments), data=b"hello").status_code == 200
    answer = requests.get(s3.generate_presigned_url("get_object", arguments), headers={"Range": "bytes=1-3"})
    assert (answer.status_code, answer.content) == (206, b"ell")
