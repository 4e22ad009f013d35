"""The checks of ``beginner/aws`` that look at the endpoint: each right, wrong and not attempted, on one deployment."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import joblib
import pandas
import pytest
from botocore.exceptions import WaiterError

from labkit.cloud.state import Lab
from labkit.labs.beginner import aws_checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.beginner.conftest import DATA, SOLVED
from tests.labs.beginner.test_aws_before_deployment import PRIVATE, READ, WRITE_LOGS, make_role, stub, upload

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"


def model(name: str, key: str = aws_checks.KEY, role: str = aws_checks.ROLE) -> None:
    container = {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://{aws_checks.bucket_name()}/{key}",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    }
    sagemaker = boto3.client("sagemaker")
    arn = f"arn:aws:iam::123456789012:role/{role}"
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=arn)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def switch_to(name: str) -> None:
    sagemaker = boto3.client("sagemaker")
    sagemaker.update_endpoint(EndpointName=aws_checks.ENDPOINT, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=aws_checks.ENDPOINT)


@pytest.fixture(scope="module")
def deployed(lab_clouds: Lab, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The endpoint in service, made from the archive in the folder."""
    folder = tmp_path_factory.mktemp("deployed") / "aws"
    (folder / "build").mkdir(parents=True)
    shutil.copy(model_file, folder / "build")
    for name in ("inference.py", "client.py", "sample.json"):
        shutil.copy(SOLVED / "aws" / name, folder)
    work = Work(folder, DATA)
    upload(work, **PRIVATE)
    make_role(READ, WRITE_LOGS)
    model("churn-1")
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_endpoint(EndpointName=aws_checks.ENDPOINT, EndpointConfigName="churn-1")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=aws_checks.ENDPOINT)
    return work


# Not attempted comes first: the fixture above has not run yet. ------------------------------------------------------


@pytest.mark.usefixtures("empty_clouds")
def test_no_endpoint_is_not_attempted(work: Work) -> None:
    with pytest.raises(NotAttempted, match="no endpoint named churn-api"):
        aws_checks.endpoint(work)


@pytest.mark.usefixtures("empty_clouds")
def test_an_account_that_was_always_empty_is_no_clean_up(work: Work) -> None:
    with pytest.raises(NotAttempted, match="no trace of calls to an endpoint churn-api"):
        aws_checks.cleanup(work)


# endpoint ----------------------------------------------------------------------------------------------------------


def test_endpoint_right(deployed: Work) -> None:
    assert aws_checks.endpoint(deployed) == (
        "the endpoint churn-api InService, and its answers for 20 customers equal to the saved model's"
    )


def test_an_endpoint_that_serves_another_model_than_the_saved_one_is_wrong(
    deployed: Work, customers: tuple[pandas.DataFrame, pandas.Series], tmp_path: Path
) -> None:
    folder = tmp_path / "aws"
    shutil.copytree(deployed.folder, folder)
    saved = folder / "build" / "churn.joblib"
    newer = joblib.load(saved).set_params(histgradientboostingclassifier__max_iter=20).fit(*customers)
    joblib.dump(newer, saved)
    with pytest.raises(Wrong, match=r"for customer 1, for whom the saved model says .* \(application/json\)"):
        aws_checks.endpoint(Work(folder, DATA))


@pytest.mark.parametrize(
    ("name", "other", "found"),
    [
        ("churn-other-key", {"key": "models/churn/copy.tar.gz"}, r"a model made from s3://.*/copy\.tar\.gz"),
        ("churn-other-role", {"role": "someone-else"}, "a model that runs as .*role/someone-else"),
    ],
)
def test_an_endpoint_of_other_parts_is_wrong(deployed: Work, name: str, other: dict[str, str], found: str) -> None:
    s3, bucket = boto3.client("s3"), aws_checks.bucket_name()
    s3.copy_object(Bucket=bucket, Key="models/churn/copy.tar.gz", CopySource={"Bucket": bucket, "Key": aws_checks.KEY})
    trust = boto3.client("iam").get_role(RoleName=aws_checks.ROLE)["Role"]["AssumeRolePolicyDocument"]
    if "role" in other:
        boto3.client("iam").create_role(RoleName=other["role"], AssumeRolePolicyDocument=json.dumps(trust))
        allowed = json.dumps({"Version": "2012-10-17", "Statement": [READ, WRITE_LOGS]})
        boto3.client("iam").put_role_policy(RoleName=other["role"], PolicyName="serve", PolicyDocument=allowed)
    model(name, **other)
    switch_to(name)
    try:
        with pytest.raises(Wrong, match=found):
            aws_checks.endpoint(deployed)
    finally:
        switch_to("churn-1")


def test_an_endpoint_that_failed_is_wrong_and_says_why(deployed: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    code = b"def model_fn(model_dir):\n    raise RuntimeError('no')\n"
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(code)
        archive.addfile(member, io.BytesIO(code))
    boto3.client("s3").put_object(
        Bucket=aws_checks.bucket_name(), Key="models/churn/broken.tar.gz", Body=body.getvalue()
    )
    model("churn-broken", key="models/churn/broken.tar.gz")
    monkeypatch.setattr(aws_checks, "ENDPOINT", "churn-broken")
    monkeypatch.setattr(aws_checks, "LOG_GROUP", "/aws/sagemaker/Endpoints/churn-broken")
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_endpoint(EndpointName="churn-broken", EndpointConfigName="churn-broken")
    with pytest.raises(WaiterError, match="terminal failure"):
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="churn-broken")
    with pytest.raises(
        Wrong, match=r"an endpoint that is Failed \(.*did not pass the ping health check.*RuntimeError: no"
    ):
        aws_checks.endpoint(deployed)
    sagemaker.delete_endpoint(EndpointName="churn-broken")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="churn-broken")


def test_code_that_fails_on_requests_is_wrong_and_the_log_is_quoted(deployed: Work) -> None:
    code = (deployed.folder / "inference.py").read_bytes().replace(b"[:, 1]", b"[:, 7]")
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        archive.add(deployed.folder / "build" / "churn.joblib", "churn.joblib")
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(code)
        archive.addfile(member, io.BytesIO(code))
    s3, bucket = boto3.client("s3"), aws_checks.bucket_name()
    good = s3.get_object(Bucket=bucket, Key=aws_checks.KEY)["Body"].read()
    s3.put_object(Bucket=bucket, Key=aws_checks.KEY, Body=body.getvalue())
    try:
        model("churn-failing")
        switch_to("churn-failing")
        with pytest.raises(
            Wrong, match=r"a ModelError .*application/json.* 500, and last in its log 'IndexError"
        ) as wrong:
            aws_checks.endpoint(deployed)
        assert "the log group /aws/sagemaker/Endpoints/churn-api" in wrong.value.hint
    finally:
        s3.put_object(Bucket=bucket, Key=aws_checks.KEY, Body=good)
        switch_to("churn-1")


# rest --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def script(deployed: Work) -> Iterator[Path]:
    """The client script, put back after the test."""
    file = deployed.folder / "client.py"
    before = file.read_text()
    yield file
    file.write_text(before)


def test_rest_right(deployed: Work) -> None:
    assert aws_checks.rest(deployed) == "a client.py that signs its own request and gets what the SDK gets"


def test_rest_not_attempted(deployed: Work, script: Path) -> None:
    script.unlink()
    with pytest.raises(NotAttempted, match=r"no file aws/client\.py"):
        aws_checks.rest(deployed)


def test_rest_without_a_signature_is_not_attempted(deployed: Work, script: Path) -> None:
    stub(script, "signed_headers")
    with pytest.raises(NotAttempted, match=r"a request that is not signed .*Missing Authentication Token"):
        aws_checks.rest(deployed)


def test_rest_whose_signature_is_forgotten_on_the_way_is_wrong(deployed: Work, script: Path) -> None:
    script.write_text(script.read_text().replace("return dict(request.headers)", "dict(request.headers)"))
    with pytest.raises(Wrong, match="a request that is not signed") as wrong:
        aws_checks.rest(deployed)
    assert "returns the headers" in wrong.value.hint


def test_rest_with_a_wrong_signature_is_told_what_was_signed(deployed: Work, script: Path) -> None:
    script.write_text(script.read_text().replace("data=body, headers=signed", "data=body + b' ', headers=signed"))
    with pytest.raises(Wrong, match="The Canonical String for this request should have been") as wrong:
        aws_checks.rest(deployed)
    assert wrong.value.hint.startswith("sign exactly")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("import requests", "import requests  # invoke_endpoint", "a client.py that calls the SDK's invoke_endpoint"),
        ('"sagemaker", session', '"s3", session', "a client.py that ends with status 1 and .*scoped"),
        ("data=body, headers=signed", "data=body + b' ', headers=signed", "ends with status 1 and .*signature"),
        ("print(answer.text)", "answer.text", "a client.py that prints nothing"),
        ("print(answer.text)", "print('[]')", "the answer '\\[\\]'"),
        ("print(answer.text)", "print('{\"predictions\": [0.1, 0.2, 0.3]}')", "0.1 for customer 1"),
        ("import sys", "import syss", "a client.py that ends with status 1 and .*syss"),
    ],
    ids=["sdk", "service", "body", "silent", "form", "made-up", "import"],
)
def test_rest_wrong(deployed: Work, script: Path, old: str, new: str, found: str) -> None:
    assert old in script.read_text()
    script.write_text(script.read_text().replace(old, new))
    with pytest.raises(Wrong, match=found):
        aws_checks.rest(deployed)


# cleanup: last, since it takes the deployment away -----------------------------------------------------------------


def test_a_deployment_that_still_stands_is_no_clean_up(deployed: Work) -> None:
    with pytest.raises(
        NotAttempted, match=r"still there: the endpoint churn-api; \d+ endpoint configurations \(churn-"
    ):
        aws_checks.cleanup(deployed)


def test_each_thing_left_behind_is_named_until_there_is_none(deployed: Work) -> None:
    sagemaker, iam, s3, logs = (boto3.client(name) for name in ("sagemaker", "iam", "s3", "logs"))

    def left() -> str:
        with pytest.raises(Wrong) as wrong:
            aws_checks.cleanup(deployed)
        return wrong.value.found

    boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="churn-api", ContentType="application/json", Body=(deployed.folder / "sample.json").read_bytes()
    )
    sagemaker.delete_endpoint(EndpointName="churn-api")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="churn-api")
    assert left().startswith(
        "still there: 5 endpoint configurations (churn-failing, churn-broken, churn-other-role, ...); 5 models"
    )
    for found in sagemaker.list_endpoint_configs()["EndpointConfigs"]:
        sagemaker.delete_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
    assert left().startswith("still there: 5 models (churn-")
    for found in sagemaker.list_models()["Models"]:
        sagemaker.delete_model(ModelName=found["ModelName"])
    assert left().startswith(f"still there: the bucket {aws_checks.bucket_name()}; the role")
    for found in s3.list_objects_v2(Bucket=aws_checks.bucket_name())["Contents"]:
        s3.delete_object(Bucket=aws_checks.bucket_name(), Key=found["Key"])
    s3.delete_bucket(Bucket=aws_checks.bucket_name())
    assert left().startswith("still there: the role churn-lab-endpoint; ")
    iam.delete_role_policy(RoleName=aws_checks.ROLE, PolicyName="serve")
    iam.delete_role(RoleName=aws_checks.ROLE)
    assert left() == (
        "still there: 2 log groups (/aws/sagemaker/Endpoints/churn-api, /aws/sagemaker/Endpoints/churn-broken)"
    )
    for group in logs.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/Endpoints/")["logGroups"]:
        logs.delete_log_group(logGroupName=group["logGroupName"])
    s3.create_bucket(Bucket="churn-lab-mistyped")
    policy = iam.create_policy(
        PolicyName="serve-churn", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": READ})
    )
    assert left() == "still there: the bucket churn-lab-mistyped; the policy serve-churn"
    s3.delete_bucket(Bucket="churn-lab-mistyped")
    iam.delete_policy(PolicyArn=policy["Policy"]["Arn"])
    assert aws_checks.cleanup(deployed) == (
        "no endpoint, configuration, model, bucket, role, policy or log group of this lab left"
    )
