"""The checks that look at runs, versions and the endpoint, on one account in which everything was done."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from labkit.cloud import client
from labkit.cloud.state import Lab
from labkit.labs.intermediate import aws_account, aws_checks, aws_cloud
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.labs.intermediate import account


@pytest.fixture(scope="module")
def refusing(lab_clouds: Lab, model_file: Path) -> Lab:
    """A pipeline that has refused a model."""
    client.control(lab_clouds, "POST", "reset")
    account.roles()
    account.pipeline(account.definition(account.put("models/model.tar.gz", account.archive(model_file))))
    return lab_clouds


def test_each_run_in_its_turn(refusing: Lab, work: Work) -> None:
    assert "only the step Gate leads to the registry" in aws_checks.gate(work)
    with pytest.raises(NotAttempted, match="no execution of churn-monthly"):
        aws_checks.refused(work)
    account.run(Model="logistic", AucThreshold="0.99")
    with pytest.raises(Wrong, match=r"with the threshold 0\.99"):
        aws_checks.refused(work)
    account.run(Model="logistic", AucThreshold="0.5")
    with pytest.raises(Wrong, match="that Succeeded"):
        aws_checks.refused(work)
    account.run(Model="logistic")
    assert "ended at AucTooLow and registered nothing: The AUC is too low" in aws_checks.refused(work)

    with pytest.raises(NotAttempted, match=r"no execution .* named from-the-shell"):
        aws_checks.trigger(work)
    account.run("from-the-shell")
    with pytest.raises(Wrong, match="Iterations=150"):
        aws_checks.trigger(work)
    account.run("from-the-shell", Iterations="100")
    assert "with Iterations=100" in aws_checks.trigger(work)
    assert r"with an AUC of 0.920 in its metrics" in aws_checks.registered(work)

    answers = work.folder / "build" / "answers.json"
    answers.parent.mkdir()
    answers.write_text('{"step": "Evaluate"}')
    with pytest.raises(Wrong, match="without step or reason"):
        aws_checks.failure(work)
    answers.write_text(json.dumps({"step": "Prepare", "reason": "The data has no column churn."}))
    with pytest.raises(Wrong, match="no run that failed in a job"):
        aws_checks.failure(work)
    account.run(InputData=account.put("broken/month.csv", "state,has_left\nKS,no\n"))
    with pytest.raises(Wrong, match="the step 'Prepare'"):
        aws_checks.failure(work)
    answers.write_text(json.dumps({"step": "Evaluate", "reason": "AlgorithmError"}))
    with pytest.raises(Wrong, match="the reason 'AlgorithmError'"):
        aws_checks.failure(work)
    answers.write_text(json.dumps({"step": "Evaluate", "reason": "The data has no column churn.\n"}))
    assert "The data has no column churn" in aws_checks.failure(work)


def deploy(name: str, **container: Any) -> None:
    sagemaker = boto3.client("sagemaker")
    role = aws_cloud.role_arn("churn-pipeline")
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, Containers=[container])
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    act = sagemaker.update_endpoint if sagemaker.list_endpoints()["Endpoints"] else sagemaker.create_endpoint
    act(EndpointName="churn-champion", EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="churn-champion")


def test_approved_and_deployed(refusing: Lab, work: Work) -> None:
    account.run()
    sagemaker, version = boto3.client("sagemaker"), aws_cloud.versions()[0]
    container = version.described["InferenceSpecification"]["Containers"][0]
    deploy("churn-champion-file", **{name: container[name] for name in ("Image", "ModelDataUrl", "Environment")})
    with pytest.raises(Wrong, match=r"a model made from s3://"):
        aws_checks.approve(work)
    sagemaker.update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus="Approved")
    deploy("churn-champion-version", ModelPackageName=version.arn)
    with pytest.raises(Wrong, match="approved without a word"):
        aws_checks.approve(work)
    sagemaker.update_model_package(
        ModelPackageArn=version.arn, ModelApprovalStatus="Approved", ApprovalDescription="above the gate"
    )
    assert "answers 20 customers as its model does" in aws_checks.approve(work)
    sagemaker.update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus="Rejected")
    with pytest.raises(Wrong, match="which is Rejected, at the endpoint"):
        aws_checks.approve(work)
    by_hand = sagemaker.create_model_package(
        ModelPackageGroupName="churn",
        InferenceSpecification=version.described["InferenceSpecification"],
        ModelMetrics=version.described["ModelMetrics"],
        ModelApprovalStatus="PendingManualApproval",
    )["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=by_hand, ModelApprovalStatus="Approved", ApprovalDescription="mine")
    deploy("churn-champion-by-hand", ModelPackageName=by_hand)
    with pytest.raises(Wrong, match=r"version \d+ at the endpoint, which no run of churn-monthly registered"):
        aws_checks.approve(work)
    with contextlib.suppress(ClientError):  # which a job or an endpoint that says something makes
        boto3.client("logs").create_log_group(logGroupName="/aws/sagemaker/ProcessingJobs")
    kept = aws_account.leftovers()
    assert {"endpoint", "endpoint configuration", "model", "version", "model package group", "log group"} <= kept.keys()
