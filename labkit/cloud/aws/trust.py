"""A role's trust policy: who may assume it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Any

from labkit.cloud.engine.errors import Unsupported


def allows(
    document: str, action: str, context: Mapping[str, str], *, principals: Set[str] = frozenset(), service: str = ""
) -> bool:
    """Whether a trust policy lets somebody do ``action`` (``sts:AssumeRole``).

    ``principals`` are the names by which a policy may mean the caller (their ARN, their role's ARN, their account's
    number and root ARN); ``service`` is an AWS service that asks (``sagemaker.amazonaws.com``) instead. ``context``
    holds the condition keys of the request. Raises :class:`Unsupported` for a condition that is not evaluated here.
    """
    statements = json.loads(document).get("Statement", [])
    allowed = False
    for statement in statements if isinstance(statements, list) else [statements]:
        if not _names_action(statement, action) or not _names_principal(statement, principals, service):
            continue
        if not _conditions_hold(statement.get("Condition", {}), context):
            continue
        if statement.get("Effect") == "Deny":
            return False
        allowed = True
    return allowed


def like(text: str, pattern: str) -> bool:
    """Whether ``text`` matches a pattern of IAM's, in which ``*`` is any run of characters and ``?`` any one."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _names_action(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(like(action.lower(), each.lower()) for each in _listed(statement["NotAction"]))
    return any(like(action.lower(), each.lower()) for each in _listed(statement.get("Action", [])))


def _names_principal(statement: Mapping[str, Any], principals: Set[str], service: str) -> bool:
    if "NotPrincipal" in statement:
        return not _matches(statement["NotPrincipal"], principals, service)
    return _matches(statement.get("Principal", {}), principals, service)


def _matches(named: Any, principals: Set[str], service: str) -> bool:
    if named == "*":
        return True
    if not isinstance(named, Mapping):
        return False
    if service:
        return service in _listed(named.get("Service", []))
    return any(each == "*" or each in principals for each in _listed(named.get("AWS", [])))


def _conditions_hold(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    known = {key.lower(): value for key, value in context.items()}
    for operator, tests in conditions.items():
        for key, wanted in tests.items():
            if operator.removesuffix("IfExists") not in _OPERATORS:
                raise Unsupported(
                    f"The local clouds do not evaluate the condition operator {operator} in a trust policy yet."
                )
            actual = known.get(key.lower())
            if actual is None:
                if operator.endswith("IfExists"):
                    continue
                return False
            negated, test = _OPERATORS[operator.removesuffix("IfExists")]
            if negated == any(test(actual, each) for each in _listed(wanted)):
                return False
    return True


#: Operator -> (whether it is a negation, the test of one value).
_OPERATORS = {
    "StringEquals": (False, lambda actual, wanted: actual == wanted),
    "StringNotEquals": (True, lambda actual, wanted: actual == wanted),
    "StringEqualsIgnoreCase": (False, lambda actual, wanted: actual.lower() == wanted.lower()),
    "StringLike": (False, like),
    "StringNotLike": (True, like),
    "ArnEquals": (False, like),
    "ArnLike": (False, like),
    "ArnNotEquals": (True, like),
    "ArnNotLike": (True, like),
    "Bool": (False, lambda actual, wanted: actual.lower() == wanted.lower()),
}
