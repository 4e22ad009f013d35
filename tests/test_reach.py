"""Every way in which a client reaches the clouds, with the real server behind it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable

import boto3
import botocore.exceptions
import pytest
import requests

from labkit.cloud.state import Lab

LEARNER = "arn:aws:iam::123456789012:user/learner"
IDENTITY = "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"


def run(command: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which(command.split()[0]):
        pytest.skip(f"{command.split()[0]} is not installed")
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=250)


def test_boto3_with_the_clouds_own_host_names(clouds: Lab) -> None:
    client = boto3.client("sts")
    assert client.meta.endpoint_url == "https://sts.us-east-1.amazonaws.com"
    assert client.get_caller_identity()["Arn"] == LEARNER


def test_boto3_with_the_front_as_its_endpoint(clouds: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name)
    s3 = boto3.client("s3", endpoint_url=clouds.url)
    s3.create_bucket(Bucket="reached-by-endpoint-url")
    s3.put_object(Bucket="reached-by-endpoint-url", Key="a key/with ünïcode", Body=b"x" * 100_000)
    assert s3.get_object(Bucket="reached-by-endpoint-url", Key="a key/with ünïcode")["Body"].read() == b"x" * 100_000
    assert boto3.client("sagemaker", endpoint_url=clouds.url).list_endpoints()["Endpoints"] == []


@pytest.mark.parametrize("endpoint", ["", "--endpoint-url $HTTP_PROXY"])
def test_the_aws_command(clouds: Lab, endpoint: str) -> None:
    done = run(f"aws {endpoint} sts get-caller-identity")
    assert json.loads(done.stdout)["Arn"] == LEARNER, done.stderr


def test_curl_signs_for_itself(clouds: Lab) -> None:
    sign = '--aws-sigv4 "aws:amz:us-east-1:sts" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"'
    assert LEARNER in run(f'curl -sS {sign} "{IDENTITY}"').stdout
    front = IDENTITY.replace("https://sts.us-east-1.amazonaws.com", clouds.url)
    assert LEARNER in run(f'curl -sS {sign} "{front}"').stdout


def test_requests_without_a_signature_is_the_clouds_own_error(clouds: Lab) -> None:
    answer = requests.get(IDENTITY)
    assert answer.status_code == 403
    assert "<Code>MissingAuthenticationToken</Code>" in answer.text


def test_a_service_that_is_not_served_is_the_clouds_own_error(clouds: Lab) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="do not serve Amazon Bedrock yet"):
        boto3.client("bedrock").list_foundation_models()
    with pytest.raises(botocore.exceptions.ClientError, match="'us-esat-1' is no AWS region"):
        boto3.client("sagemaker", "us-esat-1").list_endpoints()


@pytest.mark.parametrize(
    "leave",
    [
        lambda: requests.get("https://pypi.org/simple/"),
        lambda: requests.post("https://api.openai.example/v1", json={}),
        lambda: requests.get("https://1.1.1.1/"),
    ],
)
def test_nothing_else_is_reached(clouds: Lab, leave: Callable[[], object]) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match="is no cloud that the local clouds serve"):
        leave()


def test_the_machines_own_metadata_service_is_not_reached(clouds: Lab) -> None:
    # Refused by the gateway, or by the cloud that knows the address.
    assert requests.get("http://169.254.169.254/latest/meta-data/").status_code in (403, 501)
