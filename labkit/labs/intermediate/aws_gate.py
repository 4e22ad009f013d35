"""Reads whether a pipeline registers nothing but what is above the gate, from its definition.

The definition's language: https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.labs.beginner.churn import GATE
from labkit.labs.intermediate.aws_cloud import AUC_PATH, THRESHOLD, Placed, placed
from labkit.labs.task import Wrong

#: What a condition says of the AUC against the threshold when it holds; and the same when it does not hold.
ABOVE, AT_LEAST, AT_MOST, BELOW = "above", "at least", "at most", "below"
_SAYS = {
    "GreaterThan": ABOVE,
    "GreaterThanOrEqualTo": AT_LEAST,
    "LessThanOrEqualTo": AT_MOST,
    "LessThan": BELOW,
}
_MIRRORED = {ABOVE: BELOW, AT_LEAST: AT_MOST, AT_MOST: AT_LEAST, BELOW: ABOVE}
_NEGATED = {ABOVE: AT_MOST, AT_LEAST: BELOW, AT_MOST: ABOVE, BELOW: AT_LEAST}
#: For whom the gate compares wrongly: what is asked of it, not how it is written.
READ_IT = (
    "read the condition aloud: its left side is the AUC, its right side the parameter auc_threshold, and what it is "
    "true for leads to register"
)
HINT = (
    "ConditionStep(name=..., conditions=[ConditionGreaterThan(left=auc, right=auc_threshold)], "
    "if_steps=[register], else_steps=[too_low])"
)


def check(definition: Mapping[str, Any]) -> str:
    """The name of the condition step that is the gate; :class:`Wrong` says what is not right with the definition."""
    every = list(placed(definition["Steps"]))
    registering = [each for each in every if each.step["Type"] == "RegisterModel"]
    expected = f"a step that registers the model, behind a condition on the AUC and {THRESHOLD}"
    if not registering:
        names = ", ".join(each.step["Name"] for each in every)
        raise Wrong(f"a pipeline of the steps {names}, none of which registers a model", expected)
    _check_threshold(definition.get("Parameters", []))
    gates = [_gate(each, definition["Steps"]) for each in registering]
    for gate, taken in gates:
        other = gate["Arguments"]["ElseSteps" if taken else "IfSteps"]
        if not any(step["Type"] == "Fail" for step in other or []):
            raise Wrong(
                "a pipeline that ends as succeeded when it refuses a model",
                "the step AucTooLow in the gate's other branch",
                "else_steps=[too_low]: without it, nobody notices that there is no new model",
            )
    return str(gates[0][0]["Name"])


def _check_threshold(parameters: Sequence[Mapping[str, Any]]) -> None:
    values = {each["Name"]: each.get("DefaultValue") for each in parameters}
    if values.get(THRESHOLD) != GATE:
        found = f"the default {values[THRESHOLD]!r} for it" if THRESHOLD in values else "no such parameter"
        raise Wrong(
            found, f"the parameter {THRESHOLD} with the default {GATE}", "parameters=parameters in Pipeline(...)"
        )


def _gate(registering: Placed, top: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], bool]:
    """The condition step that guards a step, and whether by its branch for *true*."""
    name = registering.step["Name"]
    if not registering.guards:
        raise Wrong(
            f"the step {name} beside the gate, not behind it",
            "a model that is registered only if the gate's condition holds",
            "register belongs into if_steps of the ConditionStep and not into the list of the pipeline's steps",
        )
    problems = []
    for step, taken in registering.guards:
        problem = _problem(step, taken, top)
        if not problem:
            return step, taken
        problems.append(problem)
    raise Wrong(f"that {name} runs {problems[0]}", f"that it runs if the AUC is above {THRESHOLD}", READ_IT)


def _problem(step: Mapping[str, Any], taken: bool, top: Sequence[Mapping[str, Any]]) -> str:
    """What keeps a condition step from being the gate of the branch ``taken``, after "runs"; "" if nothing does."""
    conditions = step["Arguments"].get("Conditions") or []
    said = [_says(condition, top) for condition in conditions]
    if taken:
        return "" if ABOVE in said else f"if {_told(said[0])}" if said else "without a condition"
    # What is in the other branch runs when any one of the conditions does not hold.
    if len(said) == 1:
        opposite = _NEGATED.get(said[0])
        return "" if opposite == ABOVE else f"if {_told(opposite)}" if opposite else f"unless {said[0]}"
    return "if any one of several conditions does not hold"


def _told(said: str) -> str:
    """What :func:`_says` has found, as a phrase after "if"."""
    return f"the AUC is {said} the threshold" if said in _NEGATED else said


def _says(condition: Mapping[str, Any], top: Sequence[Mapping[str, Any]]) -> str:
    """What a condition says of the AUC: one of the four, or a phrase for what it compares instead."""
    kind = condition.get("Type", "")
    if kind == "Not" and (inner := _says(condition.get("Expression") or {}, top)) in _NEGATED:
        return _NEGATED[inner]
    if kind not in _SAYS:
        return f"a condition of the type {kind} holds"
    left, right, says = condition["LeftValue"], condition["RightValue"], _SAYS[kind]
    if left == {"Get": f"Parameters.{THRESHOLD}"}:
        left, right, says = right, left, _MIRRORED[says]
    wrong = _not_the_auc(left, top)
    if wrong:
        return f"{wrong} is compared"
    if right != {"Get": f"Parameters.{THRESHOLD}"}:
        what = right if isinstance(right, (int, float, str)) else right.get("Get", right)
        return f"the AUC is compared with {what} and not with the parameter"
    return says


def _not_the_auc(value: Any, top: Sequence[Mapping[str, Any]]) -> str:
    """What stands where the AUC should; "" if the AUC does."""
    got = value.get("Std:JsonGet") if isinstance(value, Mapping) else None
    if got is None:
        return str(value.get("Get", value)) if isinstance(value, Mapping) else repr(value)
    if got.get("Path") != AUC_PATH:
        return f"the value at {got.get('Path')}"
    name = str(got.get("PropertyFile", {}).get("Get", ""))
    steps = {each["Name"]: each for each in top}
    parts = name.split(".")
    files = steps.get(parts[1], {}).get("PropertyFiles", []) if len(parts) > 1 else []
    if not any(each["PropertyFileName"] == parts[-1] for each in files):
        return f"the property file {name or 'of no step'}"
    return ""
