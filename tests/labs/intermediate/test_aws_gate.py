"""The gate of ``intermediate/aws``, read from definitions: right in several spellings, and wrong in several ways."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.labs.intermediate import aws_gate
from labkit.labs.task import Wrong

AUC = {
    "Std:JsonGet": {
        "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Metrics"},
        "Path": "binary_classification_metrics.auc.value",
    }
}
OTHER_PATH = {"Std:JsonGet": {**AUC["Std:JsonGet"], "Path": "accuracy"}}
OTHER_FILE = {"Std:JsonGet": {**AUC["Std:JsonGet"], "PropertyFile": {"Get": "Steps.Train.PropertyFiles.Metrics"}}}
THRESHOLD = {"Get": "Parameters.AucThreshold"}
REGISTER = {"Name": "Register-RegisterModel", "Type": "RegisterModel", "Arguments": {}}
FAIL = {"Name": "AucTooLow", "Type": "Fail", "Arguments": {}}
EVALUATE = {
    "Name": "Evaluate",
    "Type": "Processing",
    "Arguments": {},
    "PropertyFiles": [{"PropertyFileName": "Metrics", "OutputName": "evaluation", "FilePath": "metrics.json"}],
}


def compare(kind: str = "GreaterThan", left: Any = AUC, right: Any = THRESHOLD) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def negated(inner: dict[str, Any]) -> dict[str, Any]:
    return {"Type": "Not", "Expression": inner}


def condition(*conditions: Any, yes: Any = (REGISTER,), no: Any = (FAIL,), name: str = "Gate") -> dict[str, Any]:
    branches = {"IfSteps": list(yes), "ElseSteps": list(no)}
    return {"Name": name, "Type": "Condition", "Arguments": {"Conditions": list(conditions), **branches}}


def definition(*steps: Any, default: Any = 0.85) -> dict[str, Any]:
    parameters = [{"Name": "AucThreshold", "Type": "Float", "DefaultValue": default}] if default is not None else []
    return {"Version": "2020-12-01", "Parameters": parameters, "Steps": [EVALUATE, *steps]}


@pytest.mark.parametrize(
    "gate",
    [
        condition(compare()),
        condition(compare("LessThan", THRESHOLD, AUC)),
        condition(compare("LessThanOrEqualTo"), yes=[FAIL], no=[REGISTER]),
        condition(compare("GreaterThanOrEqualTo", THRESHOLD, AUC), yes=[FAIL], no=[REGISTER]),
        condition(negated(compare("LessThanOrEqualTo"))),
        condition(negated(compare()), yes=[FAIL], no=[REGISTER]),
        condition(compare("Equals", {"Get": "Parameters.Model"}, "boosting"), compare()),
        condition(compare(), yes=[condition(compare("Equals", 1, 1), name="Inner")]),
    ],
    ids=["sdk", "mirrored", "negated", "negated-mirrored", "not", "not-negated", "and", "nested"],
)
def test_a_gate_is_right_however_it_is_put(gate: dict[str, Any]) -> None:
    assert aws_gate.check(definition(gate)) == "Gate"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (definition(), "a pipeline of the steps Evaluate, none of which registers a model"),
        (definition(REGISTER, condition(compare(), yes=[])), "Register-RegisterModel beside the gate"),
        (definition(condition(compare(), yes=[FAIL], no=[REGISTER])), "runs if the AUC is at most the threshold"),
        (definition(condition(compare("LessThan"))), "runs if the AUC is below the threshold"),
        (definition(condition(compare("GreaterThanOrEqualTo"))), "runs if the AUC is at least the threshold"),
        (definition(condition(compare(right=0.85))), "compared with 0.85 and not with the parameter"),
        (definition(condition(compare(left=OTHER_PATH))), "the value at accuracy is compared"),
        (definition(condition(compare(left=OTHER_FILE))), r"property file Steps\.Train\.PropertyFiles\.Metrics"),
        (definition(condition(compare(left={"Get": "Parameters.LearningRate"}))), r"Parameters\.LearningRate is comp"),
        (definition(condition(compare(), no=[])), "ends as succeeded when it refuses a model"),
        (definition(condition(compare()), default=0.8), "the default 0.8 for it"),
        (definition(condition(compare()), default=None), "no such parameter"),
        (definition(condition()), "without a condition"),
        (definition(condition({"Type": "Or", "Conditions": [compare()]})), "a condition of the type Or holds"),
        (
            definition(condition({"Type": "Not", "Expression": compare("LessThan")})),
            "the AUC is at least the threshold",
        ),
        (
            definition(condition({"Type": "Not", "Expression": compare(right=0.85)})),
            "a condition of the type Not holds",
        ),
    ],
    ids=[
        "unregistered",
        "beside",
        "other-branch",
        "less",
        "at-least",
        "number",
        "path",
        "file",
        "parameter",
        "no-fail",
        "default",
        "no-threshold",
        "empty",
        "or",
        "not-less",
        "not-number",
    ],
)
def test_what_would_register_another_model_is_wrong(given: dict[str, Any], found: str) -> None:
    with pytest.raises(Wrong, match=found):
        aws_gate.check(given)
