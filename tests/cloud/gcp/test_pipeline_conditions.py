"""Conditions of pipelines: read and decided as CEL has them, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cloud.gcp.pipeline_conditions import ConditionError, parse

AUC = "inputs.parameter_values['pipelinechannel--train-auc']"
LABEL = "inputs.parameter_values['label']"


@pytest.mark.parametrize(
    ("condition", "inputs", "holds"),
    [
        (f"{AUC} > 0.85", {"pipelinechannel--train-auc": 0.9}, True),
        (f"{AUC} > 0.85", {"pipelinechannel--train-auc": 0.85}, False),
        (f"{AUC} >= 0.85", {"pipelinechannel--train-auc": 0.85}, True),
        (f"{AUC} < 1", {"pipelinechannel--train-auc": 0.82}, True),
        (f"{AUC} == 1", {"pipelinechannel--train-auc": 1.0}, True),
        (f"{AUC} > -1", {"pipelinechannel--train-auc": 0}, True),
        (f"{LABEL} == 'b'", {"label": "b"}, True),
        (f'{LABEL} == "b"', {"label": "b"}, True),
        (f"{LABEL} == 'it\\'s'", {"label": "it's"}, True),
        (f"{LABEL} != 'b'", {"label": "b"}, False),
        (f"{LABEL} == 1", {"label": "1"}, False),
        (f"int({LABEL}) == 1", {"label": "1"}, True),
        (f"{LABEL} == true", {"label": True}, True),
        (f"{LABEL} == true", {"label": False}, False),
        (f"!({LABEL} == 'b') && {AUC} > 0.5", {"label": "a", "pipelinechannel--train-auc": 0.9}, True),
        (f"!({LABEL} == 'b') && !({AUC} > 0.5)", {"label": "a", "pipelinechannel--train-auc": 0.9}, False),
        (f"{LABEL} == 'b' || {LABEL} == 'c'", {"label": "c"}, True),
        (f"{LABEL} == 'a' || {LABEL} == 'b' && {LABEL} == 'c'", {"label": "a"}, True),
    ],
)
def test_conditions_are_decided(condition: str, inputs: dict[str, Any], holds: bool) -> None:
    assert parse(condition)(inputs) is holds


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("inputs.artifacts['x'] == 1", "not served at"),
        (f"{AUC} > 0.5 &&", "ends too early"),
        (f"({AUC} > 0.5", "not closed"),
        (f"{AUC} > 0.5 {AUC}", "not served"),
        ("__import__('os') == 1", "not served"),
        (f"size({LABEL}) == 1", "not served"),
    ],
)
def test_what_is_not_served_is_refused(condition: str, why: str) -> None:
    with pytest.raises(ConditionError, match=why):
        parse(condition)


def test_a_parameter_without_a_value_and_values_that_cannot_be_compared_are_said() -> None:
    with pytest.raises(ConditionError, match="label of a condition has no value"):
        parse(f"{LABEL} == 'b'")({})
    with pytest.raises(ConditionError, match=r"'high' > 0\.85 compares values of different types"):
        parse(f"{LABEL} > 0.85")({"label": "high"})
    with pytest.raises(ConditionError, match="neither true nor false"):
        parse(f"!{LABEL}")({"label": "high"})
