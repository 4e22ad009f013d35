"""Conditions of policy statements: every operator that IAM documents.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from operator import eq, ge, gt, le, lt
from typing import Any

from labkit.cloud.aws.policy_document import Condition
from labkit.cloud.aws.policy_patterns import (
    Lookup,
    Unevaluated,
    Value,
    arn_matches,
    expand,
    has_variables,
    hidden,
    like,
)

#: Compares a request's value with one of the policy's.
Test = Callable[[str, str], bool]


def holds(condition: Condition, lookup: Lookup, *, variables: bool = True) -> bool | Unevaluated:
    """Whether a condition is met; not decided where it asks for what the local clouds do not evaluate."""
    found = _OPERATOR.fullmatch(condition.operator)
    if found is None or found["name"] not in _OPERATORS:
        return Unevaluated(f"the condition operator {condition.operator}")
    quantifier, name, if_exists = found["quantifier"], found["name"], bool(found["exists"])
    value = lookup(condition.key)
    if isinstance(value, Unevaluated):
        return value
    if name == "Null":
        return any(wanted.lower() == str(not value).lower() for wanted in condition.values)
    if value is None or (quantifier and not value):
        if if_exists or quantifier == "ForAllValues":
            return True
        return _OPERATORS[name][0] and quantifier is None
    return _compared(condition, name, quantifier, value, lookup if variables else None)


def is_operator(name: str) -> bool:
    """Whether IAM has a condition operator of this name."""
    found = _OPERATOR.fullmatch(name)
    return found is not None and found["name"] in _OPERATORS


def _compared(
    condition: Condition, name: str, quantifier: str | None, value: Value, lookup: Lookup | None
) -> bool | Unevaluated:
    negated, test, wildcards = _OPERATORS[name]
    wanted: list[str] = []
    for each in condition.values:
        pattern: str | Unevaluated | None = each
        if lookup and has_variables(each) and name.startswith(("String", "Arn")):
            pattern = expand(each, lookup, wildcards=wildcards)
        if isinstance(pattern, Unevaluated):
            return pattern
        if pattern is not None:
            wanted.append(pattern)
    values: Sequence[str] = [value] if isinstance(value, str) else list(value)  # type: ignore[arg-type]
    if len(values) > 1 and quantifier is None:
        return Unevaluated(f"{condition.operator} for {condition.key}, which has several values: use ForAllValues")
    if wildcards and any("\ue000" in each or "\ue001" in each for each in wanted):
        values = [hidden(each) for each in values]
    met = [negated != any(test(actual, each) for each in wanted) for actual in values]
    return all(met) if quantifier == "ForAllValues" else any(met)


# -- comparing one value -------------------------------------------------------------------------------------------


def _number(compare: Callable[[Any, Any], bool]) -> Test:
    def test(actual: str, wanted: str) -> bool:
        try:
            return compare(float(actual), float(wanted))
        except ValueError:
            return False

    return test


def _date(compare: Callable[[Any, Any], bool]) -> Test:
    def test(actual: str, wanted: str) -> bool:
        try:
            return compare(_moment(actual), _moment(wanted))
        except ValueError:
            return False

    return test


@lru_cache(maxsize=256)
def _moment(text: str) -> datetime:
    """A date as policies write it: ISO 8601, or seconds since 1970."""
    if re.fullmatch(r"-?\d{5,}(\.\d+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _address(actual: str, wanted: str) -> bool:
    try:
        return ip_address(actual) in ip_network(wanted, strict=False)
    except ValueError:
        return False


def _binary(actual: str, wanted: str) -> bool:
    try:
        return b64decode(actual, validate=True) == b64decode(wanted, validate=True)
    except Base64Error:
        return False


def _ignoring_case(actual: str, wanted: str) -> bool:
    return actual.lower() == wanted.lower()


_OPERATOR = re.compile(r"(?:(?P<quantifier>ForAllValues|ForAnyValue):)?(?P<name>\w+?)(?P<exists>IfExists)?")
#: Operator -> (whether it is a negation, how it compares, whether the policy's values have wildcards).
_OPERATORS: dict[str, tuple[bool, Test, bool]] = {
    "StringEquals": (False, eq, False),
    "StringNotEquals": (True, eq, False),
    "StringEqualsIgnoreCase": (False, _ignoring_case, False),
    "StringNotEqualsIgnoreCase": (True, _ignoring_case, False),
    "StringLike": (False, like, True),
    "StringNotLike": (True, like, True),
    "NumericEquals": (False, _number(eq), False),
    "NumericNotEquals": (True, _number(eq), False),
    "NumericLessThan": (False, _number(lt), False),
    "NumericLessThanEquals": (False, _number(le), False),
    "NumericGreaterThan": (False, _number(gt), False),
    "NumericGreaterThanEquals": (False, _number(ge), False),
    "DateEquals": (False, _date(eq), False),
    "DateNotEquals": (True, _date(eq), False),
    "DateLessThan": (False, _date(lt), False),
    "DateLessThanEquals": (False, _date(le), False),
    "DateGreaterThan": (False, _date(gt), False),
    "DateGreaterThanEquals": (False, _date(ge), False),
    "Bool": (False, _ignoring_case, False),
    "BinaryEquals": (False, _binary, False),
    "IpAddress": (False, _address, False),
    "NotIpAddress": (True, _address, False),
    "ArnEquals": (False, arn_matches, True),
    "ArnLike": (False, arn_matches, True),
    "ArnNotEquals": (True, arn_matches, True),
    "ArnNotLike": (True, arn_matches, True),
    "Null": (False, eq, False),
}
