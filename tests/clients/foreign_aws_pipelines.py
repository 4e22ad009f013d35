"""A churn pipeline as a stranger would write it with SageMaker's Python SDK: nothing in it knows of local clouds.

Usage: python foreign_aws_pipelines.py churn.csv

Process, train, evaluate, register if the AUC is at least 0.85: refused with a logistic regression, registered with
gradient boosting. The second run is started from the aws command line. The registered model predicts what the same
scripts give when they are run by hand; exits non-zero where it does not.
"""

import datetime
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import boto3
import joblib
import pandas as pd
from sagemaker.core import image_uris
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, SourceCode

SPLIT = """
import argparse
import pandas as pd
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--raw", default="/opt/ml/processing/input/churn.csv")
parser.add_argument("--out", default="/opt/ml/processing")
args = parser.parse_args()
rows = pd.read_csv(args.raw)
train, test = train_test_split(rows, test_size=0.25, stratify=rows["churn"], random_state=0)
train.to_csv(f"{args.out}/train/train.csv", index=False)
test.to_csv(f"{args.out}/test/test.csv", index=False)
"""
TRAIN = """
import argparse, os
import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--algorithm")
parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
args = parser.parse_args()
rows = pd.read_csv(os.path.join(args.train, "train.csv"))
x, y = rows.drop(columns="churn"), (rows["churn"] == "yes").astype(int)
text = list(x.select_dtypes(exclude="number"))
encode = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore", sparse_output=False), text), remainder=StandardScaler()
)
model = {
    "logistic": LogisticRegression(max_iter=2000),
    "boosting": HistGradientBoostingClassifier(learning_rate=0.03, max_iter=150, max_leaf_nodes=8, random_state=0),
}[args.algorithm]
joblib.dump(make_pipeline(encode, model).fit(x, y), os.path.join(args.model_dir, "model.joblib"))
"""
EVALUATE = """
import json, tarfile, tempfile
import joblib
import pandas as pd
from sklearn.metrics import roc_auc_score

base, folder = "/opt/ml/processing", tempfile.mkdtemp()
tarfile.open(f"{base}/model/model.tar.gz").extractall(folder)
rows = pd.read_csv(f"{base}/test/test.csv")
scores = joblib.load(f"{folder}/model.joblib").predict_proba(rows.drop(columns="churn"))[:, 1]
auc = roc_auc_score(rows["churn"] == "yes", scores)
print("auc", round(auc, 4))
json.dump({"binary_classification_metrics": {"auc": {"value": auc}}}, open(f"{base}/evaluation/metrics.json", "w"))
"""


def make_role():
    iam = boto3.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName="ChurnPipelines", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    for name in ("AmazonSageMakerFullAccess", "AmazonS3FullAccess"):
        iam.attach_role_policy(RoleName="ChurnPipelines", PolicyArn=f"arn:aws:iam::aws:policy/{name}")
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [passing]})
    iam.put_role_policy(RoleName="ChurnPipelines", PolicyName="pass", PolicyDocument=document)
    return arn


def s3_input(name, uri):
    data = ProcessingS3Input(
        s3_uri=uri, local_path=f"/opt/ml/processing/{name}", s3_data_type="S3Prefix", s3_input_mode="File"
    )
    return ProcessingInput(input_name=name, s3_input=data)


def s3_output(name, uri):
    data = ProcessingS3Output(s3_uri=uri, local_path=f"/opt/ml/processing/{name}", s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name=name, s3_output=data)


def make_pipeline(role, session, bucket):
    image = image_uris.retrieve("sklearn", session.boto_region_name, version="1.4-2")
    raw = ParameterString("RawData", default_value=f"s3://{bucket}/raw/churn.csv")
    algorithm = ParameterString("Algorithm", default_value="logistic", enum_values=["logistic", "boosting"])
    threshold = ParameterFloat("LeastAuc", default_value=0.85)

    def place(name):
        return Join(on="/", values=["s3:/", bucket, "runs", ExecutionVariables.PIPELINE_EXECUTION_ID, name])

    processor = ScriptProcessor(
        image_uri=image,
        command=["python3"],
        instance_type="ml.m5.large",
        instance_count=1,
        role=role,
        sagemaker_session=session,
    )
    split = ProcessingStep(
        "SplitCustomers",
        step_args=processor.run(
            code="split.py",
            inputs=[s3_input("input", raw)],
            outputs=[s3_output("train", place("train")), s3_output("test", place("test"))],
        ),
        cache_config=CacheConfig(enable_caching=True, expire_after="P1D"),
    )
    outputs = split.properties.ProcessingOutputConfig.Outputs
    trainer = ModelTrainer(
        training_image=image,
        source_code=SourceCode(source_dir="source", entry_script="train.py"),
        role=role,
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        hyperparameters={"algorithm": algorithm},
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/models"),
        sagemaker_session=session,
        base_job_name="churn",
    )
    channel = InputData(channel_name="train", data_source=outputs["train"].S3Output.S3Uri)
    train = TrainingStep("FitModel", step_args=trainer.train(input_data_config=[channel]))
    artifacts = train.properties.ModelArtifacts.S3ModelArtifacts
    report = PropertyFile(name="Metrics", output_name="evaluation", path="metrics.json")
    evaluate = ProcessingStep(
        "Judge",
        step_args=processor.run(
            code="evaluate.py",
            inputs=[s3_input("model", artifacts), s3_input("test", outputs["test"].S3Output.S3Uri)],
            outputs=[s3_output("evaluation", place("evaluation"))],
        ),
        property_files=[report],
    )
    builder = ModelBuilder(s3_model_data_url=artifacts, image_uri=image, sagemaker_session=session, role_arn=role)
    register = ModelStep(
        "Register",
        step_args=builder.register(
            model_package_group_name="churn-models",
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.m5.large"],
            transform_instances=["ml.m5.large"],
            approval_status="PendingManualApproval",
        ),
    )
    auc = JsonGet(step_name=evaluate.name, property_file=report, json_path="binary_classification_metrics.auc.value")
    gate = ConditionStep(
        "GoodEnough",
        conditions=[ConditionGreaterThanOrEqualTo(left=auc, right=threshold)],
        if_steps=[register],
        else_steps=[FailStep("NotGoodEnough", error_message=Join(on=" ", values=["AUC is below", threshold]))],
    )
    return Pipeline(
        name="ChurnMonthly",
        parameters=[raw, algorithm, threshold],
        steps=[split, train, evaluate, gate],
        sagemaker_session=session,
    )


def ended(execution):
    """The steps of an execution that has ended, by name."""
    sagemaker = boto3.client("sagemaker")
    while (
        status := sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)["PipelineExecutionStatus"]
    ) == "Executing":
        time.sleep(0.2)
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution)["PipelineExecutionSteps"]
    return status, {step["StepName"]: step for step in listed}


def start_from_command_line(**parameters):
    values = json.dumps([{"Name": name, "Value": value} for name, value in parameters.items()])
    command = ["aws", "sagemaker", "start-pipeline-execution", "--pipeline-name", "ChurnMonthly"]
    command += ["--pipeline-parameters", values, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["PipelineExecutionArn"]


def by_hand(data, folder, algorithm):
    """Runs the scripts as they are, without a cloud; returns the model, the test rows and the seconds of each."""
    seconds = {}
    for part in ("train", "test", "model"):
        (folder / part).mkdir()
    commands = {
        "SplitCustomers": ["split.py", "--raw", str(data), "--out", str(folder)],
        "FitModel": [
            *("source/train.py", "--algorithm", algorithm),
            *("--train", f"{folder}/train", "--model-dir", f"{folder}/model"),
        ],
    }
    for name, command in commands.items():
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True)
        seconds[name] = time.perf_counter() - began
    return joblib.load(folder / "model" / "model.joblib"), pd.read_csv(folder / "test" / "test.csv"), seconds


def main():
    data, folder = Path(sys.argv[1]).resolve(), Path(tempfile.mkdtemp())
    os.chdir(folder)
    Path("source").mkdir()
    for name, text in (("split.py", SPLIT), ("source/train.py", TRAIN), ("evaluate.py", EVALUATE)):
        Path(name).write_text(text)
    role, session, s3 = make_role(), PipelineSession(), boto3.client("s3")
    bucket = session.default_bucket()
    s3.upload_file(str(data), bucket, "raw/churn.csv")
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="churn-models")
    pipeline = make_pipeline(role, session, bucket)
    pipeline.upsert(role_arn=role)

    status, refused = ended(pipeline.start().arn)
    assert status == "Failed", refused
    assert refused["NotGoodEnough"]["FailureReason"] == "AUC is below 0.85"
    assert "Register" not in refused
    assert not sagemaker.list_model_packages(ModelPackageGroupName="churn-models")["ModelPackageSummaryList"]

    status, passed = ended(start_from_command_line(Algorithm="boosting"))
    assert status == "Succeeded", passed
    assert "SourcePipelineExecutionArn" in passed["SplitCustomers"]["CacheHitResult"]
    arn = passed["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    url = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    s3.download_file(bucket, url.removeprefix(f"s3://{bucket}/"), "registered.tar.gz")
    with tarfile.open("registered.tar.gz") as archive:
        registered = joblib.load(archive.extractfile("model.joblib"))
    model, rows, bare = by_hand(data, folder, "boosting")
    features = rows.drop(columns="churn")
    assert (registered.predict_proba(features) == model.predict_proba(features)).all()
    steps = {"SplitCustomers": refused["SplitCustomers"], "FitModel": passed["FitModel"]}
    for name, step in steps.items():
        took = (step["EndTime"] - step["StartTime"]) / datetime.timedelta(seconds=1)
        print(f"{name}: {took:.2f} s as a step, {bare[name]:.2f} s by hand")
    print(f"{len(rows)} predictions equal")


main()
