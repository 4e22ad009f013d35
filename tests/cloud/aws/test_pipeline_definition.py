"""Pipeline definitions: what is taken, what is refused with which reason, and how values are evaluated."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.aws import pipeline_conditions, pipeline_definition, pipeline_policies
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.pipeline_values import NoValue, Scope

FAIL = {"Name": "Low", "Type": "Fail", "Arguments": {"ErrorMessage": "low"}}


def processing(name: str, **more: Any) -> dict[str, Any]:
    arguments = {
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["python3", "x.py"]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "RoleArn": "arn:aws:iam::123456789012:role/r",
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **more}


def condition(name: str, left: Any, **branches: Any) -> dict[str, Any]:
    tests = [{"Type": "Equals", "LeftValue": left, "RightValue": 1}]
    return {"Name": name, "Type": "Condition", "Arguments": {"Conditions": tests, **branches}}


def document(*steps: Any, parameters: Any = (), **more: Any) -> str:
    return json.dumps({"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps), **more})


def test_steps_wait_for_what_they_use_and_for_their_branch() -> None:
    text = document(
        processing("A"),
        processing("B", DependsOn=["A"]),
        condition(
            "Gate",
            {"Get": "Steps.A.ExitMessage"},
            IfSteps=[condition("Inner", {"Get": "Steps.B.ExitMessage"}, IfSteps=[FAIL], ElseSteps=[])],
            ElseSteps=[processing("C")],
        ),
    )
    steps = pipeline_definition.parse(text).steps
    assert {name: set(step.after) for name, step in steps.items()} == {
        "A": set(),
        "B": {"A"},
        "Gate": {"A"},
        "Inner": {"Gate", "B"},
        "Low": {"Inner"},
        "C": {"Gate"},
    }
    assert (steps["Low"].branch, steps["C"].branch) == (("Inner", True), ("Gate", False))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Invalid JSON: "),
        ("[]", "Expecting start of Json Object."),
        ('{"Version": "2019-01-01", "Steps": []}', "Version '2019-01-01' is not supported"),
        (document(), "The pipeline has no steps."),
        (document({"Name": "a b", **{k: v for k, v in FAIL.items() if k != "Name"}}), "Step name 'a b' has to match"),
        (document({**FAIL, "Type": "Fial"}), "Unknown step type 'Fial'."),
        (document({**FAIL, "Arguments": {}}), "The Fail step 'Low' has no ErrorMessage."),
        (document(FAIL, FAIL), "Duplicate step name 'Low'."),
        (document({**FAIL, "DependsOn": ["X"]}), "Step 'Low' depends on 'X', which is not a step of the pipeline."),
        (document(processing("A", DependsOn=["B"]), processing("B", DependsOn=["A"])), "Cycle detected"),
        (
            document(FAIL, {**FAIL, "Name": "F", "Arguments": {"ErrorMessage": {"Get": "Parameters.P"}}}),
            "Parameter 'P' is not defined.",
        ),
        (
            document({**FAIL, "Arguments": {"ErrorMessage": {"Get": "Execution.Nme"}}}),
            "Unknown execution variable 'Nme'.",
        ),
        (document(condition("G", {"Get": "Steps.Z.ExitMessage"})), "Step 'G' depends on 'Z', which is not a step"),
        (document({**processing("A"), "Arguments": {"Bogus": 1}}), "Unknown Argument member 'Bogus'"),
        (
            document(processing("A"), {**FAIL, "Arguments": {"ErrorMessage": {"Get": "Steps.A.ModelArtifacts.X"}}}),
            "Invalid property reference 'Steps.A.ModelArtifacts.X': a Processing step has no property",
        ),
        (
            document({**processing("A"), "Arguments": {"RoleArn": "r"}}),
            "Model Validation failed: ProcessingResources must not be null.",
        ),
        (
            document({"Name": "T", "Type": "Training", "Arguments": {"InputDataConfig": []}}),
            "Model Validation failed: Length of container InputDataConfig=0 cannot be less than min=1.",
        ),
        (document({**processing("A"), "Arguments": {"ProcessingInputs": {}}}), "Expecting start of Json Array."),
        (
            document(processing("A", CacheConfig={"Enabled": True, "ExpireAfter": "soon"})),
            "ExpireAfter 'soon' is not an ISO 8601 duration.",
        ),
        (
            document(processing("A", RetryPolicies=[{"ExceptionType": ["Step.NONE"], "MaxAttempts": 1}])),
            "Unknown ExceptionType 'Step.NONE'.",
        ),
        (document(FAIL, parameters=[{"Name": "P", "Type": "Number"}]), "Parameter 'P' has the unknown Type 'Number'."),
        (
            document(FAIL, parameters=[{"Name": "P", "Type": "Integer", "DefaultValue": "1"}]),
            "Invalid DefaultValue: Parameter [P] value is not of type Integer.",
        ),
        (
            document(FAIL, parameters=[{"Name": "P", "Type": "String", "DefaultValue": "c", "EnumValues": ["a", "b"]}]),
            "is not one of the enum values [a, b].",
        ),
        (
            document({"Name": "G", "Type": "Condition", "Arguments": {"Conditions": [{"Type": "Is"}]}}),
            "Unknown condition type 'Is'.",
        ),
        (
            document(
                processing("A"),
                condition("G", {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.A.PropertyFiles.R"}, "Path": "x"}}),
            ),
            "Step 'A' has no property file 'R'.",
        ),
    ],
)
def test_a_broken_definition_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(AwsError) as caught:
        pipeline_definition.parse(text)
    assert caught.value.code == "ValidationException"
    assert caught.value.message.startswith("Unable to parse pipeline definition. ")
    assert reason in caught.value.message


@pytest.mark.parametrize("kind", sorted(pipeline_definition.REFUSED))
def test_other_step_types_refuse_by_name(kind: str) -> None:
    with pytest.raises(AwsError, match=f"do not serve pipeline steps of type {kind} yet") as caught:
        pipeline_definition.parse(document({"Name": "A", "Type": kind, "Arguments": {}}))
    assert caught.value.status == 501


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [("String", "x", "x"), ("Integer", "3", 3), ("Float", "0.5", 0.5), ("Boolean", "True", True)],
)
def test_parameters_are_read_by_their_type(kind: str, text: str, value: Any) -> None:
    assert pipeline_definition.Parameter("P", kind).read(text) == value
    if kind != "String":
        with pytest.raises(AwsError, match=rf"Parameter \[P\] value is not of type {kind}\."):
            pipeline_definition.Parameter("P", kind).read("maybe")


def scope() -> Scope:
    objects = {"s3://b/report.json": b'{"auc": {"value": 0.9}, "list": [1, {"x y": 2}]}', "s3://b/bad": b"no"}
    described = {
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}}]},
        "FinalMetricDataList": [{"MetricName": "auc", "Value": 0.8}],
    }
    return Scope(
        parameters={"Bucket": "b", "Count": 3, "Flag": True},
        execution={"PipelineExecutionId": "abc"},
        read=lambda url: objects[url],
        steps={"Prep": described},
        files={("Prep", "Report"): "s3://b/report.json", ("Prep", "Bad"): "s3://b/bad"},
    )


def from_file(path: str, name: str = "Report") -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.Prep.PropertyFiles.{name}"}, "Path": path}}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("plain", "plain"),
        ({"Get": "Parameters.Count"}, 3),
        ({"Get": "Execution.PipelineExecutionId"}, "abc"),
        ({"Get": "Steps.Prep.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"}, "s3://b/train"),
        ({"Get": "Steps.Prep.FinalMetricDataList['auc'].Value"}, 0.8),
        ({"Get": "Steps.Prep.ProcessingOutputConfig.Outputs[0].OutputName"}, "train"),
        (
            {"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.Bucket"}, {"Get": "Parameters.Count"}]}},
            "s3://b/3",
        ),
        ({"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Flag"}]}}, "true"),
        (from_file("auc.value"), 0.9),
        (from_file("$.list[1]['x y']"), 2),
        (
            {
                "Std:JsonGet": {
                    "S3Uri": {"Std:Join": {"On": "", "Values": ["s3://b/", "report.json"]}},
                    "Path": "auc.value",
                }
            },
            0.9,
        ),
        ([{"a": {"Get": "Parameters.Count"}}], [{"a": 3}]),
    ],
)
def test_values_are_evaluated(given: Any, value: Any) -> None:
    assert scope().value(given) == value


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"Get": "Steps.Other.X"}, "Step Other has no properties"),
        ({"Get": "Steps.Prep.Nothing"}, "there is no 'Nothing'"),
        (from_file("auc.size"), "there is no 'size'"),
        (from_file("auc", "Bad"), "it is no JSON document"),
        (from_file("auc", "Missing"), "Property file Missing of step Prep is not there"),
    ],
)
def test_values_that_are_not_there(given: Any, reason: str) -> None:
    with pytest.raises(NoValue, match=reason):
        scope().value(given)


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        (compare("Equals", {"Get": "Parameters.Count"}, 3), True),
        (compare("Equals", "3", 3), True),
        (compare("Equals", "x", 3), False),
        (compare("GreaterThan", 3, {"Get": "Parameters.Count"}), False),
        (compare("GreaterThanOrEqualTo", from_file("auc.value"), 0.9), True),
        (compare("LessThan", from_file("auc.value"), 0.9), False),
        (compare("LessThanOrEqualTo", "0.5", 0.5), True),
        ({"Type": "In", "QueryValue": {"Get": "Parameters.Bucket"}, "Values": ["a", "b"]}, True),
        ({"Type": "Not", "Expression": compare("Equals", 1, 1)}, False),
        ({"Type": "Not", "Condition": compare("Equals", 1, 2)}, True),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", 2, 2)]}, True),
        (
            {
                "Type": "Or",
                "Conditions": [compare("Equals", 1, 2), {"Type": "Not", "Expression": compare("Equals", 2, 2)}],
            },
            False,
        ),
    ],
)
def test_conditions(test: dict[str, Any], outcome: bool) -> None:
    assert pipeline_conditions.holds(test, scope()) is outcome


def test_a_condition_that_cannot_be_decided() -> None:
    with pytest.raises(NoValue, match="'high' is no number to compare"):
        pipeline_conditions.holds(compare("GreaterThan", 0.9, "high"), scope())


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("P30D", timedelta(days=30)),
        ("PT1H", timedelta(hours=1)),
        ("30d", timedelta(days=30)),
        ("T16m", timedelta(minutes=16)),
        ("30dT5h", timedelta(days=30, hours=5)),
        ("P1Y2W", timedelta(days=379)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    assert pipeline_policies.duration(text, ValueError) == length
