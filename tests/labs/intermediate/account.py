"""The lab's account in as few calls as its checks need: roles, a pipeline without jobs, versions, a schedule."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import boto3

from labkit.labs.intermediate import aws_cloud
from tests.labs.intermediate.conftest import SOLVED
from tests.labs.intermediate.test_aws_gate import AUC, THRESHOLD
from tests.waiting import eventually

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
PIPELINE_ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/churn-monthly"
BUCKET = "churn-pipeline-123456789012-us-east-1"
MONTHS = f"s3://{BUCKET}/months/"
PASS = {
    "Effect": "Allow",
    "Action": "iam:PassRole",
    "Resource": "arn:aws:iam::123456789012:role/churn-pipeline",
    "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
}
START = {"Effect": "Allow", "Action": "sagemaker:StartPipelineExecution", "Resource": PIPELINE_ARN}


def allow(action: Any, resource: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


PERMISSIONS = [
    allow(
        ["sagemaker:CreateTrainingJob", "sagemaker:CreateProcessingJob", "sagemaker:Describe*", "sagemaker:AddTags"],
        "arn:aws:sagemaker:us-east-1:123456789012:*",
    ),
    allow(
        ["sagemaker:CreateModelPackage", "sagemaker:CreateModelPackageGroup"],
        "arn:aws:sagemaker:us-east-1:123456789012:model-package*",
    ),
    allow("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"),
    allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{BUCKET}/*"),
    allow(["logs:*", "ecr:*", "cloudwatch:PutMetricData"], "*"),
]


def role(name: str, service: str, *statements: Any) -> None:
    iam = boto3.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document(trust)))
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(document(*statements)))


def document(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def roles() -> None:
    role("churn-pipeline", "sagemaker.amazonaws.com", *PERMISSIONS, PASS)
    role("churn-pipeline-schedule", "scheduler.amazonaws.com", START)


def put(key: str, body: bytes | str) -> str:
    s3 = boto3.client("s3")
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return f"s3://{BUCKET}/{key}"


def archive(model: Path) -> bytes:
    """A model's archive, with the code that serves it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(model, arcname="churn.joblib")
        tar.add(SOLVED / "steps" / "inference.py", arcname="code/inference.py")
    return stream.getvalue()


def definition(model_url: str, auc: float = 0.92) -> dict[str, Any]:
    """A pipeline whose only job reads and writes small files: prepare, evaluate, gate."""
    metrics = put("code/metrics.json", json.dumps({"binary_classification_metrics": {"auc": {"value": auc}}}))
    script = (
        "import glob, json, sys\n"
        "text = ''.join(open(each).read() for each in glob.glob('/opt/ml/processing/data/*.csv'))\n"
        "if 'churn' not in text:\n    sys.exit('The data has no column churn.')\n"
        "metrics = json.load(open('/opt/ml/processing/metrics/metrics.json'))\n"
        "if sys.argv[1] == 'logistic':\n    metrics['binary_classification_metrics']['auc']['value'] = 0.8\n"
        "json.dump(metrics, open('/opt/ml/processing/evaluation/metrics.json', 'w'))\n"
    )
    inputs = {"code": put("code/evaluate.py", script), "metrics": metrics, "data": {"Get": "Parameters.InputData"}}
    processing = {
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/evaluate.py"],
            "ContainerArguments": [{"Get": "Parameters.Model"}],
        },
        "ProcessingInputs": [
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": url,
                    "LocalPath": f"/opt/ml/processing/{name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for name, url in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "evaluation",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/evaluation",
                        "LocalPath": "/opt/ml/processing/evaluation",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}
        },
        "RoleArn": aws_cloud.role_arn("churn-pipeline"),
    }
    register = {
        "ModelPackageGroupName": "churn",
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": IMAGE,
                    "ModelDataUrl": model_url,
                    "Environment": {
                        "SAGEMAKER_PROGRAM": "inference.py",
                        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                    },
                }
            ],
            "SupportedContentTypes": ["application/json", "text/csv"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": metrics}}},
        "ModelApprovalStatus": "PendingManualApproval",
    }
    gate = {
        "Conditions": [{"Type": "GreaterThan", "LeftValue": AUC, "RightValue": THRESHOLD}],
        "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": register}],
        "ElseSteps": [{"Name": "AucTooLow", "Type": "Fail", "Arguments": {"ErrorMessage": "The AUC is too low."}}],
    }
    defaults = {"InputData": put("history/customers.csv", "state,churn\nKS,no\n"), "Model": "boosting"}
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            *({"Name": name, "Type": "String", "DefaultValue": value} for name, value in defaults.items()),
            {"Name": "Iterations", "Type": "Integer", "DefaultValue": 150},
            {"Name": "AucThreshold", "Type": "Float", "DefaultValue": 0.85},
        ],
        "Steps": [
            {
                "Name": "Evaluate",
                "Type": "Processing",
                "Arguments": processing,
                "PropertyFiles": [
                    {"PropertyFileName": "Metrics", "OutputName": "evaluation", "FilePath": "metrics.json"}
                ],
            },
            {"Name": "Gate", "Type": "Condition", "Arguments": gate},
        ],
    }


def pipeline(given: dict[str, Any]) -> None:
    boto3.client("sagemaker").create_pipeline(
        PipelineName="churn-monthly", PipelineDefinition=json.dumps(given), RoleArn=aws_cloud.role_arn("churn-pipeline")
    )


def run(name: str = "", **values: str) -> str:
    """Runs the pipeline to its end; returns the execution's ARN."""
    sagemaker = boto3.client("sagemaker")
    parameters = [{"Name": each, "Value": value} for each, value in values.items()]
    shown = {"PipelineExecutionDisplayName": name} if name else {}
    started = sagemaker.start_pipeline_execution(PipelineName="churn-monthly", PipelineParameters=parameters, **shown)
    arn = str(started["PipelineExecutionArn"])
    eventually(
        lambda: (
            sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] != "Executing"
        ),
        200,
    )
    return arn


def schedule(**other: Any) -> None:
    """Makes the schedule, right but for what is given; ``None`` leaves a member out."""
    target = {
        "Arn": PIPELINE_ARN,
        "RoleArn": "arn:aws:iam::123456789012:role/churn-pipeline-schedule",
        "SageMakerPipelineParameters": {"PipelineParameterList": [{"Name": "InputData", "Value": MONTHS}]},
    } | other.pop("target", {})
    asked: dict[str, Any] = {
        "Name": "churn-monthly",
        "ScheduleExpression": "cron(0 6 1 * ? *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {name: value for name, value in target.items() if value is not None},
        **other,
    }
    boto3.client("scheduler").create_schedule(**{name: value for name, value in asked.items() if value is not None})
