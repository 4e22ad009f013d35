"""SageMaker through the gateway: unmodified boto3, and the aws command line, errors included."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from labkit.cloud.state import Lab
from tests.cloud.aws.sagemaker_world import World

AWS = Path(sys.executable).with_name("aws")
#: A container that calls AWS as itself, and reads from S3 what its role may read.
CALLER = """
import json, boto3
def model_fn(model_dir): ...
def input_fn(body, content_type):
    return json.loads(body)
def predict_fn(order, model):
    body = boto3.client("s3").get_object(**order)["Body"].read().decode()
    return {"arn": boto3.client("sts").get_caller_identity()["Arn"], "body": body}
"""


@pytest.fixture
def world(clouds: Lab) -> Iterator[World]:
    world = World(boto3.client, "clients")
    yield world
    world.close()
    for each in world.s3.list_objects_v2(Bucket=world.bucket).get("Contents", []):
        world.s3.delete_object(Bucket=world.bucket, Key=each["Key"])
    world.s3.delete_bucket(Bucket=world.bucket)
    world.iam.delete_role_policy(RoleName=world.name("role"), PolicyName="rights")
    world.iam.delete_role(RoleName=world.name("role"))
    for each in world.sm.list_models(NameContains=world.prefix)["Models"]:
        world.sm.delete_model(ModelName=each["ModelName"])
    for each in world.sm.list_endpoint_configs(NameContains=world.prefix)["EndpointConfigs"]:
        world.sm.delete_endpoint_config(EndpointConfigName=each["EndpointConfigName"])


def aws(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([str(AWS), *arguments], capture_output=True, text=True, timeout=250)
    return done.returncode, done.stdout, done.stderr.strip()


def test_boto3_as_it_is(world: World) -> None:
    name = world.endpoint("endpoint", world.model("model"))
    assert world.invoke(name, "[[1, 2], [3, 4]]") == [[2.0, 4.0], [6.0, 8.0]]
    with pytest.raises(ClientError) as caught:
        world.runtime.invoke_endpoint(EndpointName=name, Body=b"{", ContentType="application/json")
    assert type(caught.value).__name__ == "ModelError"
    assert caught.value.response["OriginalStatusCode"] == 500
    with pytest.raises(ClientError, match="HTTP content length exceeded 6295552 bytes"):
        world.runtime.invoke_endpoint(EndpointName=name, Body=bytes(7 * 1024 * 1024))
    with pytest.raises(ClientError, match="do not serve sagemaker:ListDomains yet") as refused:
        world.sm.list_domains()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_container_calls_aws_as_its_role(world: World) -> None:
    world.upload("greeting.txt", b"hello")
    name = world.endpoint("caller", world.model("caller", CALLER))
    answer = world.invoke(name, {"Bucket": world.bucket, "Key": "greeting.txt"})
    role = world.role.rpartition("/")[2]
    assert answer == {"arn": f"arn:aws:sts::123456789012:assumed-role/{role}/SageMaker", "body": "hello"}


def test_the_aws_command_line(world: World, tmp_path: Path) -> None:
    model = world.model("model")
    config, endpoint = world.name("config"), world.name("endpoint")
    variant = f"VariantName=AllTraffic,ModelName={model},InstanceType=ml.m5.large,InitialInstanceCount=1"
    code, out, error = aws(
        *("sagemaker", "create-endpoint-config", "--endpoint-config-name", config, "--production-variants", variant)
    )
    assert (code, error) == (0, "")
    assert json.loads(out)["EndpointConfigArn"].endswith(f":endpoint-config/{config}")
    code, _, error = aws("sagemaker", "create-endpoint", "--endpoint-name", endpoint, "--endpoint-config-name", config)
    assert (code, error) == (0, "")
    assert aws("sagemaker", "wait", "endpoint-in-service", "--endpoint-name", endpoint) == (0, "", "")

    answer = tmp_path / "answer.json"
    (tmp_path / "rows.csv").write_text("1,2\n3,4\n")
    code, out, error = aws(
        *("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", endpoint, "--content-type", "text/csv"),
        *("--body", f"fileb://{tmp_path / 'rows.csv'}", str(answer)),
    )
    assert (code, error) == (0, "")
    assert json.loads(out)["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads(answer.read_text()) == [[2.0, 4.0], [6.0, 8.0]]


def test_the_aws_command_lines_errors(world: World, tmp_path: Path) -> None:
    code, _, error = aws("sagemaker", "describe-endpoint", "--endpoint-name", "none")
    assert code == 255
    assert error == (
        "An error occurred (ValidationException) when calling the DescribeEndpoint operation: "
        'Could not find endpoint "arn:aws:sagemaker:us-east-1:123456789012:endpoint/none".'
    )
    code, _, error = aws(
        "sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "none", "--body", "x", str(tmp_path / "out")
    )
    assert code == 255
    assert error == (
        "An error occurred (ValidationError) when calling the InvokeEndpoint operation: "
        "Endpoint none of account 123456789012 not found."
    )
    code, _, error = aws("sagemaker", "list-domains")
    assert code == 255
    assert "(NotImplementedException) when calling the ListDomains operation" in error
