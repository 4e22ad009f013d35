"""The cells that the AWS notebook gives, and its answers, with what learners may have done in their own way."""

from __future__ import annotations

import json
from typing import Any

import boto3
import nbformat
import pytest

from labkit import Lab
from labkit.cloud.state import Lab as Clouds
from labkit.labs.beginner import aws_checks
from labkit.release import ROOT

ACCOUNT = "123456789012"
BUCKET = f"churn-lab-{ACCOUNT}-us-east-1"
CELLS = {cell.id: cell.source for cell in nbformat.read(ROOT / "solutions" / "beginner" / "aws.ipynb", 4).cells}
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/models/*"}


@pytest.fixture
def notebook(empty_clouds: Clouds) -> dict[str, Any]:
    """The names that a notebook has after its first cells."""
    names: dict[str, Any] = {"account": ACCOUNT, "region": "us-east-1", "bucket": BUCKET}
    names |= {"role_name": aws_checks.ROLE, "endpoint_name": aws_checks.ENDPOINT, "version": "churn-1"}
    names |= {service: boto3.client(service) for service in ("iam", "s3", "sagemaker", "logs")}
    exec("import json\nimport pandas as pd\nfrom contextlib import suppress", names)
    return names


def run(cell: str, names: dict[str, Any]) -> None:
    exec(compile(CELLS[cell], cell, "exec"), names)


def give_the_role_policies_of_ones_own() -> None:
    """One inline and one attached, under names that nobody else knows, and one of them a single statement, no list."""
    iam = boto3.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=aws_checks.ROLE, AssumeRolePolicyDocument=json.dumps(document(trust)))
    iam.put_role_policy(RoleName=aws_checks.ROLE, PolicyName="mine", PolicyDocument=json.dumps(document(READ)))
    for name in ("my-churn-logs", "churn-lab-deployer", "churn-lab-caller"):
        iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document([READ, {**READ, "Sid": "Named"}])))
    iam.attach_role_policy(RoleName=aws_checks.ROLE, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/my-churn-logs")


def document(statement: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statement}


def test_the_table_of_policies_reads_what_is_there(notebook: dict[str, Any]) -> None:
    give_the_role_policies_of_ones_own()
    run("policy-table-cell", notebook)
    table = notebook["table"]
    assert table["who"].value_counts().to_dict() == {"endpoint": 3, "deployer": 2, "caller": 2}
    assert set(table["statement"]) == {"", "Named"}
    assert set(table["may do"]) == {"s3:GetObject"}


def test_the_clean_up_takes_everything_and_can_run_twice(notebook: dict[str, Any]) -> None:
    give_the_role_policies_of_ones_own()
    s3, sagemaker = notebook["s3"], notebook["sagemaker"]
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="models/churn/model.tar.gz", Body=b"archive")
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
    role = f"arn:aws:iam::{ACCOUNT}:role/{aws_checks.ROLE}"
    container = {"Image": image, "ModelDataUrl": f"s3://{BUCKET}/models/churn/model.tar.gz"}
    for number in range(12):
        name = f"churn-{number}"
        sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
        variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    assert len(aws_checks.leftovers()["model"]) == 12
    run("cleanup", notebook)
    assert aws_checks.leftovers() == {}
    run("cleanup", notebook)


def test_waiting_for_an_endpoint_that_nobody_made_is_a_sentence(
    notebook: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run("wait", notebook)
    said = capsys.readouterr().out
    assert "Could not find endpoint" in said
    assert said.count("\n") == 1


def test_the_answer_that_is_shown_is_the_cell() -> None:
    assert "get_paginator" in Lab("beginner/aws").answer("cleanup")
