"""Executions of pipelines nobody here has seen: what runs, what must not run, and the states it ends with."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.aws import AwsCloud, sagemaker_executions, service_calls
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.place import Place
from labkit.cloud.engine import Engine
from labkit.cloud.engine.events import Event
from tests.cloud.aws import in_process
from tests.cloud.aws.event_world import EventWorld
from tests.cloud.aws.pipeline_world import Pipelines
from tests.cloud.aws.sagemaker_world import DOUBLER, IMAGE

#: Writes the score that it is given, and a mark that it ran.
SCORE = """
import json, sys
json.dump({"metrics": {"auc": float(sys.argv[1])}}, open("/opt/ml/processing/report/report.json", "w"))
"""
MARK = "open('/opt/ml/processing/mark/ran', 'a').write('x')"


def step(name: str, kind: str, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "Arguments": arguments, **more}


def score(pipelines: Pipelines, name: str, value: Any) -> dict[str, Any]:
    text = {"Std:Join": {"On": "", "Values": [value]}}
    files = [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}]
    arguments = pipelines.processing(SCORE, outputs=["report"], arguments=[text])
    (output,) = arguments["ProcessingOutputConfig"]["Outputs"]
    parts = ["s3:/", pipelines.bucket, {"Get": "Execution.PipelineExecutionId"}, name]
    output["S3Output"]["S3Uri"] = {"Std:Join": {"On": "/", "Values": parts}}
    return step(name, "Processing", arguments, PropertyFiles=files)


def mark(pipelines: Pipelines, name: str, **more: Any) -> dict[str, Any]:
    """A step that leaves ``marks/{name}/ran`` in the bucket."""
    arguments = pipelines.processing(MARK, outputs=["mark"])
    arguments["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] = f"s3://{pipelines.bucket}/marks/{name}"
    return step(name, "Processing", arguments, **more)


def marks(pipelines: Pipelines) -> set[str]:
    listed = pipelines.s3.list_objects_v2(Bucket=pipelines.bucket, Prefix="marks/").get("Contents", [])
    return {each["Key"].split("/")[1] for each in listed}


def gate(name: str, of: str, least: Any, yes: list[Any], no: list[Any], **more: Any) -> dict[str, Any]:
    left = {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{of}.PropertyFiles.Report"}, "Path": "metrics.auc"}}
    test = {"Type": "GreaterThanOrEqualTo", "LeftValue": left, "RightValue": least}
    return step(name, "Condition", {"Conditions": [test], "IfSteps": yes, "ElseSteps": no}, **more)


def fail(name: str, message: Any) -> dict[str, Any]:
    return step(name, "Fail", {"ErrorMessage": message})


AUC = {"Name": "Auc", "Type": "Float", "DefaultValue": 0.9}


def test_nested_conditions_take_one_branch_each(pipelines: Pipelines, engine: Engine) -> None:
    inner = gate("Excellent", "Rate", 0.95, [mark(pipelines, "Ship")], [mark(pipelines, "Shelve")])
    after = mark(pipelines, "Afterwards", DependsOn=["Ship"])
    pipeline = pipelines.pipeline(
        "nested",
        [
            score(pipelines, "Rate", {"Get": "Parameters.Auc"}),
            gate(
                "Good",
                "Rate",
                0.8,
                [inner],
                [fail("Poor", {"Std:Join": {"On": "", "Values": ["AUC ", {"Get": "Parameters.Auc"}]}})],
            ),
            after,
        ],
        [AUC],
    )
    told: list[Event] = []
    forget = engine.events.listen(told.append)
    first = pipelines.execute(pipeline)
    forget()
    assert pipelines.settled(first)["PipelineExecutionStatus"] == "Succeeded"
    assert pipelines.statuses(first) == dict.fromkeys(("Rate", "Good", "Excellent", "Shelve"), "Succeeded")
    assert marks(pipelines) == {"Shelve"}
    outcomes = {
        name: each["Metadata"]["Condition"]["Outcome"]
        for name, each in pipelines.steps(first).items()
        if name in ("Good", "Excellent")
    }
    assert outcomes == {"Good": "True", "Excellent": "False"}
    second = pipelines.execute(pipeline, {"Auc": "0.97"})
    assert "Afterwards" in pipelines.statuses(second)
    third = pipelines.execute(pipeline, {"Auc": "0.5"})
    described = pipelines.settled(third)
    assert (described["PipelineExecutionStatus"], described["FailureReason"]) == (
        "Failed",
        "Step failure: One or multiple steps failed.",
    )
    assert pipelines.statuses(third) == {"Rate": "Succeeded", "Good": "Succeeded", "Poor": "Failed"}
    assert pipelines.steps(third)["Poor"]["FailureReason"] == "AUC 0.5"
    statuses = [
        each.detail["currentPipelineExecutionStatus"]
        for each in told
        if each.kind == "SageMaker Model Building Pipeline Execution Status Change"
    ]
    assert statuses == ["Executing", "Succeeded"]


def test_two_branches_and_a_step_that_fails(pipelines: Pipelines) -> None:
    broken = step("Broken", "Processing", pipelines.processing("raise KeyError('tenure')"))
    pipeline = pipelines.pipeline(
        "branches",
        [
            broken,
            mark(pipelines, "Never", DependsOn=["Broken"]),
            mark(pipelines, "NeverEither", DependsOn=["Never"]),
            mark(pipelines, "Left"),
            mark(pipelines, "LeftEnd", DependsOn=["Left"]),
        ],
    )
    execution = pipelines.execute(pipeline, ParallelismConfiguration={"MaxParallelExecutionSteps": 2})
    assert pipelines.settled(execution)["PipelineExecutionStatus"] == "Failed"
    assert pipelines.statuses(execution) == {"Broken": "Failed", "Left": "Succeeded", "LeftEnd": "Succeeded"}
    assert marks(pipelines) == {"Left", "LeftEnd"}
    reason = pipelines.steps(execution)["Broken"]["FailureReason"]
    assert reason == "ClientError: AlgorithmError: See job logs for more information"


def test_a_retried_execution_runs_what_did_not_succeed(pipelines: Pipelines) -> None:
    pipelines.upload("state/ready", b"")
    script = "import os; assert os.path.exists('/opt/ml/processing/state/go')"
    state = {"state": f"s3://{pipelines.bucket}/state/"}
    waiting = step("Wait", "Processing", pipelines.processing(script, inputs=state), DependsOn=["First"])
    pipeline = pipelines.pipeline(
        "retried", [mark(pipelines, "First"), waiting, mark(pipelines, "Last", DependsOn=["Wait"])]
    )
    execution = pipelines.execute(pipeline)
    first = pipelines.steps(execution)
    assert pipelines.statuses(execution) == {"First": "Succeeded", "Wait": "Failed"}
    pipelines.upload("state/go", b"")
    pipelines.sm.retry_pipeline_execution(PipelineExecutionArn=execution, ClientRequestToken="r" * 32)
    assert pipelines.settled(execution)["PipelineExecutionStatus"] == "Succeeded"
    assert pipelines.statuses(execution) == dict.fromkeys(("First", "Wait", "Last"), "Succeeded")
    assert pipelines.steps(execution)["First"]["Metadata"] == first["First"]["Metadata"]
    assert pipelines.steps(execution)["Wait"]["Metadata"] != first["Wait"]["Metadata"]
    _, code, _ = in_process.error(
        pipelines.sm.retry_pipeline_execution, PipelineExecutionArn=execution, ClientRequestToken="s" * 32
    )
    assert code == "ConflictException"


@contextmanager
def failing(operation: str, *errors: AwsError) -> Iterator[None]:
    """The next calls of an operation by a pipeline fail with these errors."""
    perform, left = service_calls.perform, list(errors)

    def stand_in(place: Any, key: Any, service: str, name: str, *rest: Any) -> Any:
        if name == operation and left:
            raise left.pop(0)
        return perform(place, key, service, name, *rest)

    service_calls.perform = stand_in  # type: ignore[assignment]
    try:
        yield
    finally:
        service_calls.perform = perform


def test_retry_policies(pipelines: Pipelines) -> None:
    policy = {"ExceptionType": ["Step.THROTTLING"], "IntervalSeconds": 0, "BackoffRate": 1.0, "MaxAttempts": 2}
    pipeline = pipelines.pipeline("policy", [mark(pipelines, "Once", RetryPolicies=[policy])])
    throttled = AwsError("ThrottlingException", "Rate exceeded", 400)
    with failing("CreateProcessingJob", throttled, throttled):
        execution = pipelines.execute(pipeline)
    once = pipelines.steps(execution)["Once"]
    assert (once["StepStatus"], once["AttemptCount"]) == ("Succeeded", 3)
    with failing("CreateProcessingJob", throttled, throttled, throttled):
        execution = pipelines.execute(pipeline)
    once = pipelines.steps(execution)["Once"]
    assert (once["StepStatus"], once["AttemptCount"]) == ("Failed", 3)
    assert once["FailureReason"] == (
        "ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: Rate exceeded"
    )
    with failing("CreateProcessingJob", AwsError("ResourceLimitExceeded", "no more", 400)):
        execution = pipelines.execute(pipeline)
    assert pipelines.steps(execution)["Once"]["AttemptCount"] == 1


def test_a_stopped_execution(pipelines: Pipelines, engine: Engine) -> None:
    started = threading.Event()
    forget = engine.events.listen(
        lambda event: started.set() if event.detail.get("currentStepStatus") == "Executing" else None
    )
    long = step("Long", "Processing", pipelines.processing("import time; time.sleep(600)"))
    pipeline = pipelines.pipeline("stopped", [long, mark(pipelines, "Next", DependsOn=["Long"])])
    execution = pipelines.start(pipeline)
    assert started.wait(60)
    forget()
    pipelines.sm.stop_pipeline_execution(PipelineExecutionArn=execution, ClientRequestToken="t" * 32)
    assert pipelines.settled(execution)["PipelineExecutionStatus"] == "Stopped"
    assert pipelines.statuses(execution) == {"Long": "Stopped"}
    assert marks(pipelines) == set()
    _, code, message = in_process.error(
        pipelines.sm.stop_pipeline_execution, PipelineExecutionArn=execution, ClientRequestToken="u" * 32
    )
    assert (code, "Only executing pipelines can be stopped." in message) == ("ConflictException", True)


def test_a_cached_step_is_not_run_again_until_it_expires(pipelines: Pipelines, engine: Engine) -> None:
    cached = mark(pipelines, "Prepare", CacheConfig={"Enabled": True, "ExpireAfter": "P2D"})
    cached["Arguments"]["Environment"] = {"YEAR": {"Get": "Parameters.Year"}}
    pipeline = pipelines.pipeline("cached", [cached], [{"Name": "Year", "Type": "String", "DefaultValue": "2024"}])

    def hit(execution: str) -> str | None:
        found = pipelines.steps(execution)["Prepare"]
        assert found["StepStatus"] == "Succeeded"
        return found.get("CacheHitResult", {}).get("SourcePipelineExecutionArn")

    first = pipelines.execute(pipeline)
    assert hit(first) is None
    again = pipelines.execute(pipeline)
    assert hit(again) == first
    assert pipelines.steps(again)["Prepare"]["Metadata"] == pipelines.steps(first)["Prepare"]["Metadata"]
    assert hit(pipelines.execute(pipeline, {"Year": "2025"})) is None
    engine.clock.advance(timedelta(days=3))
    assert hit(pipelines.execute(pipeline)) is None


def test_a_selected_step_takes_the_others_results(pipelines: Pipelines) -> None:
    pipeline = pipelines.pipeline(
        "selective",
        [
            score(pipelines, "Rate", 0.9),
            gate("Good", "Rate", 0.8, [mark(pipelines, "Ship")], []),
            mark(pipelines, "Else"),
        ],
    )
    first = pipelines.execute(pipeline)
    config = {"SourcePipelineExecutionArn": first, "SelectedSteps": [{"StepName": "Good"}, {"StepName": "Ship"}]}
    second = pipelines.execute(pipeline, SelectiveExecutionConfig=config)
    steps = pipelines.steps(second)
    assert set(steps) == {"Rate", "Good", "Ship"}
    assert steps["Rate"]["SelectiveExecutionResult"]["SourcePipelineExecutionArn"] == first
    assert steps["Rate"]["Metadata"] == pipelines.steps(first)["Rate"]["Metadata"]
    assert "SelectiveExecutionResult" not in steps["Ship"]


def test_train_make_a_model_transform_and_register(pipelines: Pipelines) -> None:
    pipelines.upload("in/a.json", b"[[1, 2]]")
    script = "import shutil; shutil.copytree('/opt/ml/input/data/code2', '/opt/ml/model/code')"
    pipelines.upload("serve/inference.py", DOUBLER.encode())
    train = pipelines.training(script, inputs={"code2": f"s3://{pipelines.bucket}/serve/"})
    artifact = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    container = {"Image": IMAGE, "ModelDataUrl": artifact, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
    transform = {
        "ModelName": {"Get": "Steps.Make.ModelName"},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{pipelines.bucket}/in"}},
            "ContentType": "application/json",
        },
        "TransformOutput": {"S3OutputPath": f"s3://{pipelines.bucket}/scored", "Accept": "application/json"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": {"Get": "Parameters.Count"}},
    }
    register = {
        "ModelPackageGroupName": pipelines.name("group"),
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "SkipModelValidation": "None",
    }
    pipeline = pipelines.pipeline(
        "all",
        [
            step("Train", "Training", train),
            step("Make", "Model", {"ExecutionRoleArn": pipelines.role, "PrimaryContainer": container}),
            step("Score", "Transform", transform),
            step("Register", "RegisterModel", register, DependsOn=["Score"]),
        ],
        [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}],
    )
    execution = pipelines.execute(pipeline)
    assert pipelines.statuses(execution) == dict.fromkeys(("Train", "Make", "Score", "Register"), "Succeeded")
    assert json.loads(pipelines.read(f"s3://{pipelines.bucket}/scored/a.json.out")) == [[2.0, 4.0]]
    steps = pipelines.steps(execution)
    package = steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    described = pipelines.sm.describe_model_package(ModelPackageName=package)
    job = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    artifacts = pipelines.sm.describe_training_job(TrainingJobName=job)["ModelArtifacts"]["S3ModelArtifacts"]
    assert described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == artifacts
    assert job.startswith(f"pipelines-{execution.rpartition('/')[2]}-train-")


def test_what_the_pipelines_role_may_not_do(pipelines: Pipelines) -> None:
    role = pipelines.make_role("weak", actions=["s3:*"])
    pipeline = pipelines.pipeline("weak", [mark(pipelines, "Mark")])
    pipelines.sm.update_pipeline(PipelineName=pipeline, RoleArn=role)
    execution = pipelines.execute(pipeline)
    reason = pipelines.steps(execution)["Mark"]["FailureReason"]
    assert reason.startswith("ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: User: ")
    assert f"assumed-role/{pipelines.name('weak')}/SageMaker is not authorized to perform" in reason


def test_a_missing_value_in_a_report_fails_the_condition(pipelines: Pipelines) -> None:
    wrong = gate("Good", "Rate", 0.8, [mark(pipelines, "Ship")], [])
    wrong["Arguments"]["Conditions"][0]["LeftValue"]["Std:JsonGet"]["Path"] = "metrics.acu"
    pipeline = pipelines.pipeline("typo", [score(pipelines, "Rate", 0.9), wrong])
    execution = pipelines.execute(pipeline)
    assert pipelines.statuses(execution) == {"Rate": "Succeeded", "Good": "Failed"}
    assert "Nothing was found at 'metrics.acu'" in pipelines.steps(execution)["Good"]["FailureReason"]


def test_parameters_tokens_and_versions(pipelines: Pipelines) -> None:
    parameters = [
        AUC,
        {"Name": "Need", "Type": "Integer"},
        {"Name": "Kind", "Type": "String", "EnumValues": ["a", "b"], "DefaultValue": "a"},
    ]
    pipeline = pipelines.pipeline("values", [fail("Stop", "done")], parameters)
    with pytest.raises(Exception, match=r"Parameters \[Need\] have no default value and were not given\."):
        pipelines.start(pipeline)
    for given, message in (
        ({"Need": "x"}, r"Parameter \[Need\] value is not of type Integer\."),
        ({"Need": "1", "Kind": "c"}, r"is not one of the enum values \[a, b\]\."),
        ({"Need": "1", "Other": "c"}, r"Parameter \[Other\] is not defined in the pipeline\."),
    ):
        with pytest.raises(Exception, match=message):
            pipelines.start(pipeline, given)
    execution = pipelines.start(pipeline, {"Need": "2"}, ClientRequestToken="x" * 32)
    assert pipelines.start(pipeline, {"Need": "2"}, ClientRequestToken="x" * 32) == execution
    listed = pipelines.sm.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)
    values = {each["Name"]: each["Value"] for each in listed["PipelineParameters"]}
    assert values == {"Auc": "0.9", "Need": "2", "Kind": "a"}
    pipelines.settled(execution)
    text = json.dumps({"Version": "2020-12-01", "Steps": [fail("Other", "no")]})
    updated = pipelines.sm.update_pipeline(PipelineName=pipeline, PipelineDefinition=text)
    assert updated["PipelineVersionId"] == 2
    assert "Stop" in pipelines.statuses(pipelines.execute(pipeline, {"Need": "1"}, PipelineVersionId=1))
    assert "Other" in pipelines.statuses(pipelines.execute(pipeline))
    executed = pipelines.sm.describe_pipeline_definition_for_execution(PipelineExecutionArn=execution)
    assert '"Stop"' in executed["PipelineDefinition"]
    summaries = pipelines.sm.list_pipeline_executions(PipelineName=pipeline)["PipelineExecutionSummaries"]
    assert len(summaries) == 3
    pipelines.sm.delete_pipeline(PipelineName=pipeline, ClientRequestToken="y" * 32)
    _, code, _ = in_process.error(pipelines.sm.describe_pipeline, PipelineName=pipeline)
    assert code == "ResourceNotFound"


def test_a_definition_in_s3_and_a_broken_one(pipelines: Pipelines) -> None:
    text = json.dumps({"Version": "2020-12-01", "Steps": [fail("Stop", "done")]})
    pipelines.upload("definition.json", text.encode())
    location = {"Bucket": pipelines.bucket, "ObjectKey": "definition.json"}
    pipelines.sm.create_pipeline(
        PipelineName=pipelines.name("stored"), PipelineDefinitionS3Location=location, RoleArn=pipelines.role
    )
    assert pipelines.sm.describe_pipeline(PipelineName=pipelines.name("stored"))["PipelineDefinition"] == text
    refused = in_process.error(
        pipelines.sm.create_pipeline,
        PipelineName=pipelines.name("broken"),
        PipelineDefinition='{"Version": "2020-12-01", "Steps": {}}',
        RoleArn=pipelines.role,
    )
    message = "Unable to parse pipeline definition. Expecting start of Json Array."
    assert refused == (400, "ValidationException", message)
    assert pipelines.sm.list_pipelines(PipelineNamePrefix=pipelines.name("broken"))["PipelineSummaries"] == []


def test_a_service_starts_an_execution_as_a_role(pipelines: Pipelines, cloud: AwsCloud) -> None:
    pipeline, place = pipelines.pipeline("target", [mark(pipelines, "Mark")]), Place(cloud, "us-east-1")
    key = service_calls.assume(place, pipelines.role, "sagemaker.amazonaws.com", "schedule")
    execution = sagemaker_executions.start_as(place, key, {"PipelineName": pipeline}, "scheduler.amazonaws.com")
    assert execution.wait(100)
    assert execution.status == "Succeeded"
    weak = pipelines.make_role("nobody", actions=())
    key = service_calls.assume(place, weak, "sagemaker.amazonaws.com", "schedule")
    with pytest.raises(AwsError, match="not authorized to perform: sagemaker:StartPipelineExecution"):
        sagemaker_executions.start_as(place, key, {"PipelineName": pipeline}, "scheduler.amazonaws.com")


COUNT = """
def handler(event, context):
    if event.get("rows") == "none":
        raise ValueError("no rows")
    return {"count": len(event["rows"]), "note": "counted", "unasked": 1}
"""


def test_a_function_as_a_step(pipelines: Pipelines, events: EventWorld) -> None:
    function = events.function(COUNT)
    outputs = [{"OutputName": "count", "OutputType": "Integer"}, {"OutputName": "note", "OutputType": "String"}]
    count = {
        **step("Count", "Lambda", {"rows": {"Get": "Parameters.Rows"}}),
        "FunctionArn": function,
        "OutputParameters": outputs,
    }
    test = {
        "Type": "GreaterThan",
        "LeftValue": {"Get": "Steps.Count.OutputParameters['count']"},
        "RightValue": 2,
    }
    enough = step("Enough", "Condition", {"Conditions": [test], "IfSteps": [mark(pipelines, "Many")], "ElseSteps": []})
    pipeline = pipelines.pipeline(
        "counted", [count, enough], [{"Name": "Rows", "Type": "String", "DefaultValue": "abc"}]
    )
    first = pipelines.execute(pipeline)
    assert pipelines.statuses(first) == dict.fromkeys(("Count", "Enough", "Many"), "Succeeded")
    assert pipelines.steps(first)["Count"]["Metadata"]["Lambda"] == {
        "Arn": function,
        "OutputParameters": [{"Name": "count", "Value": "3"}, {"Name": "note", "Value": "counted"}],
    }
    second = pipelines.execute(pipeline, {"Rows": "x"})
    assert pipelines.statuses(second) == dict.fromkeys(("Count", "Enough"), "Succeeded")
    third = pipelines.execute(pipeline, {"Rows": "none"})
    assert pipelines.statuses(third) == {"Count": "Failed"}
    reason = pipelines.steps(third)["Count"]["FailureReason"]
    assert reason.startswith("ClientError: Received error from lambda function. ")
    assert "ValueError" in reason
