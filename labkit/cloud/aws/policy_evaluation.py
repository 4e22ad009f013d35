"""Policy evaluation: what the policies that apply to a request say of it together.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from labkit.cloud.aws import policy_conditions
from labkit.cloud.aws.policy_document import Document, Statement
from labkit.cloud.aws.policy_patterns import (
    Lookup,
    Unevaluated,
    action_matches,
    expand,
    has_variables,
    hidden,
    resource_matches,
)
from labkit.cloud.engine.errors import Unsupported

Kind = Literal["identity", "boundary", "session", "resource", "trust"]
#: How closely a resource's policy names a principal: its session, the user or role itself, its whole account.
Level = Literal["session", "issuer", "account"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. ``arn`` is the session's or the user's, ``issuer`` the user's or role's behind it.

    ``service`` is an AWS service (``sagemaker.amazonaws.com``) that asks for itself; then there is no ARN.
    """

    arn: str
    issuer: str
    account: str
    kind: Literal["user", "role", "federated", "root", "service"]
    service: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A policy that applies, and where it comes from: its name or ARN, and IAM's word for its type."""

    kind: Kind
    name: str
    document: Document
    type: str = "IAM Policy"


@dataclass(frozen=True, slots=True)
class Policies:
    """Everything that applies to a principal. None for ``boundary`` or ``session`` says that there is no such limit.

    ``required`` says that the resource's policy has to allow: a role's trust policy, another account's resource.
    """

    identity: Sequence[Source] = ()
    boundary: Sequence[Source] | None = None
    session: Sequence[Source] | None = None
    resource: Source | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """One action on one resource, and the way to the values of condition keys."""

    principal: Principal
    action: str
    resource: str
    lookup: Lookup
    #: The account that the resource belongs to.
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the policies say. ``kind`` is the kind of policy that forbids, or from which an allowance is missing."""

    allowed: bool
    explicit: bool = False
    kind: Kind | None = None
    matched: Sequence[tuple[Source, Statement]] = field(default=())


def decide(question: Question, policies: Policies) -> Outcome:
    """Decides; raises :class:`Unsupported` when the decision hangs on what is not evaluated here."""
    everything = [*policies.identity, *(policies.boundary or ()), *(policies.session or ())]
    if policies.resource:
        everything.append(policies.resource)
    if denied := _denial(question, everything):
        return denied
    if question.principal.kind == "root":
        return Outcome(True)
    level, granting = _grant(question, policies.resource)
    crosses = bool(question.owner) and question.owner != question.principal.account
    if (policies.required or crosses) and level is None:
        return Outcome(False, kind=policies.resource.kind if policies.resource else "resource")
    if level and not crosses:
        # A policy that names the session, or a user, is not limited by what allows nothing; a role's session is.
        if level == "session" or (level == "issuer" and question.principal.kind in ("user", "service")):
            return Outcome(True, matched=granting)
        if level == "issuer":
            return _limited(question, policies, granting)
    allowing = _allowing(question, policies.identity)
    if not allowing:
        return Outcome(False, kind="identity")
    return _limited(question, policies, [*allowing, *granting])


def _limited(question: Question, policies: Policies, granting: Sequence[tuple[Source, Statement]]) -> Outcome:
    """Allowed, if the permissions boundary and the session's policy allow it too."""
    matched = list(granting)
    for kind, limit in (("boundary", policies.boundary), ("session", policies.session)):
        if limit is None:
            continue
        allowing = _allowing(question, limit)
        if not allowing:
            return Outcome(False, kind=kind)  # type: ignore[arg-type]
        matched += allowing
    return Outcome(True, matched=matched)


def allows(question: Question, sources: Iterable[Source]) -> bool:
    """Whether policies of one kind allow by themselves, and none of them denies."""
    listed = list(sources)
    return not _denial(question, listed) and bool(_allowing(question, listed))


def _denial(question: Question, sources: Iterable[Source]) -> Outcome | None:
    open_question: Unevaluated | None = None
    for source in sources:
        for statement in source.document.statements:
            if statement.allows:
                continue
            met = applies(statement, question, variables=source.document.variables)
            if isinstance(met, Unevaluated):
                open_question = open_question or met
            elif met:
                return Outcome(False, explicit=True, kind=source.kind, matched=[(source, statement)])
    _refuse(open_question, question)
    return None


def _allowing(question: Question, sources: Iterable[Source]) -> list[tuple[Source, Statement]]:
    found: list[tuple[Source, Statement]] = []
    open_question: Unevaluated | None = None
    for source in sources:
        for statement in source.document.statements:
            if statement.allows:
                met = applies(statement, question, variables=source.document.variables)
                if isinstance(met, Unevaluated):
                    open_question = open_question or met
                elif met:
                    found.append((source, statement))
    if not found:
        _refuse(open_question, question)
    return found


def _grant(question: Question, source: Source | None) -> tuple[Level | None, list[tuple[Source, Statement]]]:
    """The closest way in which the resource's policy allows the principal in."""
    if source is None:
        return None, []
    found = _allowing(question, [source])
    levels = [_level(name, question.principal) for _, each in found for name in _named(each)]
    for level in ("session", "issuer", "account"):
        if level in levels:
            return level, found
    return None, []


def _named(statement: Statement) -> Sequence[tuple[str, str]]:
    return (("AWS", "*"),) if statement.other_principals else statement.principals or ()


def _level(named: tuple[str, str], principal: Principal) -> Level | None:
    kind, name = named
    if kind == "Service":
        return "issuer" if principal.kind == "service" and name in (principal.service, "*") else None
    if kind != "AWS" or (principal.kind == "service" and name != "*"):
        return None
    if name == principal.arn != principal.issuer:
        return "session"
    if name in ("*", principal.issuer) and (principal.kind != "federated" or name == "*"):
        return "issuer"
    if name in (principal.account, f"arn:aws:iam::{principal.account}:root"):
        return "issuer" if principal.kind == "root" else "account"
    return None


def _refuse(what: Unevaluated | None, question: Question) -> None:
    if what is not None:
        raise Unsupported(
            f"The local clouds do not evaluate {what.what}, and whether {question.action} is allowed hangs on it; "
            "see docs/fidelity.md."
        )


# -- one statement -------------------------------------------------------------------------------------------------


def applies(statement: Statement, question: Question, *, variables: bool) -> bool | Unevaluated:
    """Whether a statement is about a request, its conditions included."""
    if statement.other_actions == any(action_matches(question.action, each) for each in statement.actions):
        return False
    if statement.principals is not None and not _names_principal(statement, question.principal):
        return False
    undecided: Unevaluated | None = None
    about = _names_resource(statement, question, variables=variables)
    if about is False:
        return False
    if isinstance(about, Unevaluated):
        undecided = about
    for condition in statement.conditions:
        met = policy_conditions.holds(condition, question.lookup, variables=variables)
        if met is False:
            return False
        if isinstance(met, Unevaluated):
            undecided = undecided or met
    return undecided or True


def _names_principal(statement: Statement, principal: Principal) -> bool:
    named = any(_level(each, principal) for each in statement.principals or ())
    return named != statement.other_principals


def _names_resource(statement: Statement, question: Question, *, variables: bool) -> bool | Unevaluated:
    undecided: Unevaluated | None = None
    for pattern in statement.resources:
        resource: str = question.resource
        if variables and has_variables(pattern):
            expanded = expand(pattern, question.lookup, wildcards=True)
            if isinstance(expanded, Unevaluated):
                undecided = undecided or expanded
                continue
            if expanded is None:
                continue
            pattern, resource = expanded, hidden(resource)
        if resource_matches(resource, pattern):
            return not statement.other_resources
    return undecided or statement.other_resources
