"""IAM's policy simulator: what policies would say to calls that nobody has made.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html and
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import access, moto_base
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.policy_document import Malformed, Statement, parse
from labkit.cloud.aws.policy_evaluation import Outcome, Policies, Principal, Question, Source, applies, decide
from labkit.cloud.aws.policy_patterns import Value

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

_VARIABLE = re.compile(r"\$\{\s*([^},\s]+)")


def simulate_custom_policy(call: Call, parameters: Parameters) -> Parameters:
    boundary = parameters.get("PermissionsBoundaryPolicyInputList")
    policies = Policies(
        _inputs(parameters["PolicyInputList"], "PolicyInputList"),
        _inputs(boundary, "PermissionsBoundaryPolicyInputList", "boundary") if boundary else None,
    )
    arn = parameters.get("CallerArn") or f"arn:aws:iam::{call.account}:user/simulated"
    return _simulate(call, parameters, arn, policies, {})


def simulate_principal_policy(call: Call, parameters: Parameters) -> Parameters:
    arn = parameters["PolicySourceArn"]
    with moto_base.lock("iam"):
        records = call.cloud.identities.iam()
        holder = _source(records, arn)
        found = access.identity_policies(records, holder)
        limit = getattr(holder, "permissions_boundary_arn", None)
        boundary = [access.managed(records, limit, "boundary")] if limit else None
    if given := parameters.get("PermissionsBoundaryPolicyInputList"):
        boundary = _inputs(given, "PermissionsBoundaryPolicyInputList", "boundary")
    identity = [*found, *_inputs(parameters.get("PolicyInputList", []), "PolicyInputList")]
    keys = {"aws:principalarn": arn, "aws:principalaccount": call.account}
    if ":user/" in arn:
        keys |= {"aws:username": holder.name, "aws:userid": holder.id, "aws:principaltype": "User"}
    for name, value in access.tags_of_record(records, holder).items() if ":group/" not in arn else ():
        keys[f"aws:principaltag/{name.lower()}"] = value
    return _simulate(call, parameters, parameters.get("CallerArn") or arn, Policies(identity, boundary), keys)


def get_context_keys_for_custom_policy(_: Call, parameters: Parameters) -> Parameters:
    return {"ContextKeyNames": _keys(_inputs(parameters["PolicyInputList"], "PolicyInputList"))}


def get_context_keys_for_principal_policy(call: Call, parameters: Parameters) -> Parameters:
    with moto_base.lock("iam"):
        records = call.cloud.identities.iam()
        found = access.identity_policies(records, _source(records, parameters["PolicySourceArn"]))
    return {"ContextKeyNames": _keys([*found, *_inputs(parameters.get("PolicyInputList", []), "PolicyInputList")])}


# -- policies ------------------------------------------------------------------------------------------------------


def _inputs(texts: Iterable[str], name: str, kind: Any = "identity") -> list[Source]:
    return [_read(text, f"{name}.{number}", kind) for number, text in enumerate(texts, 1)]


def _read(text: str, name: str, kind: Any) -> Source:
    try:
        return Source(kind, name, parse(text), "IAM Policy")
    except Malformed as error:
        raise _invalid(f"{name} is no policy: {error}") from None


def _source(records: Any, arn: str) -> Any:
    """The user, group or role that is simulated."""
    holder = None
    if ":group/" in arn:
        holder = next((each for each in records.groups.values() if each.arn == arn), None)
    elif ":user/" in arn or ":role/" in arn:
        holder = access.holder_of(records, arn)
    else:
        raise _invalid(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    if holder is None:
        kind = arn.split(":")[5].partition("/")[0]
        raise AwsError("NoSuchEntity", f"The {kind} with name {arn.rpartition('/')[2]} cannot be found.", 404)
    return holder


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidInput", message, 400)


def _keys(sources: Iterable[Source]) -> list[str]:
    found: dict[str, None] = {}
    for source in sources:
        for statement in source.document.statements:
            found |= dict.fromkeys(_asked_for(statement))
    return list(found)


def _asked_for(statement: Statement) -> list[str]:
    """The condition keys that a statement names, in conditions and in variables."""
    keys = [condition.key for condition in statement.conditions]
    texts = [*statement.resources, *(value for condition in statement.conditions for value in condition.values)]
    return keys + [name for text in texts for name in _VARIABLE.findall(text) if name not in ("*", "?", "$")]


# -- the simulation ------------------------------------------------------------------------------------------------


def _simulate(
    call: Call, parameters: Parameters, caller: str, policies: Policies, keys: Mapping[str, Any]
) -> Parameters:
    context = dict(keys)
    for given in parameters.get("ContextEntries", []):
        values = given.get("ContextKeyValues", [])
        is_list = str(given.get("ContextKeyType", "")).endswith("List")
        context[str(given.get("ContextKeyName", "")).lower()] = values if is_list else (values or [None])[0]
    resources = parameters.get("ResourceArns") or ["*"]
    if text := parameters.get("ResourcePolicy"):
        if not parameters.get("CallerArn") and ":user/simulated" in caller:
            raise _invalid("CallerArn is required when a ResourcePolicy is given.")
        policies = replace(policies, resource=_read(text, "ResourcePolicy", "resource"))
    results = []
    for action in parameters["ActionNames"]:
        if not re.fullmatch(r"[\w-]+:[\w*?]+", action):
            raise _invalid(f"Invalid Action Name: {action}")
        results += [_result(call, caller, policies, context, action, each, parameters) for each in resources]
    start, most = int(parameters.get("Marker") or 0), parameters.get("MaxItems", 100)
    more = start + most < len(results)
    return {
        "EvaluationResults": results[start : start + most],
        "IsTruncated": more,
        **({"Marker": str(start + most)} if more else {}),
    }


def _result(
    call: Call,
    caller: str,
    policies: Policies,
    context: Mapping[str, Any],
    action: str,
    resource: str,
    parameters: Mapping[str, Any],
) -> Parameters:
    def lookup(key: str) -> Value:
        found: Value = context.get(key.lower())
        return found

    account = caller.split(":")[4] if caller.count(":") >= 5 else call.account
    kind: Any = "role" if ":assumed-role/" in caller or ":role/" in caller else "user"
    owner = (parameters.get("ResourceOwner") or "").split(":")
    owned_by = owner[4] if len(owner) > 4 else resource.split(":")[4] if resource.count(":") >= 5 else ""
    question = Question(Principal(caller, caller, account, kind), action, resource, lookup, owned_by)
    outcome = decide(question, policies)
    told: Parameters = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": _decision(outcome),
        "MatchedStatements": [_matched(source, statement) for source, statement in outcome.matched],
        "MissingContextValues": _missing(question, policies, context),
    }
    if policies.boundary is not None:
        allowed = outcome.allowed or outcome.kind not in ("boundary",)
        within = decide(question, Policies(policies.boundary)).allowed if not outcome.allowed else allowed
        told["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": within}
    if owned_by and owned_by != account:
        by_identity = decide(replace(question, owner=""), replace(policies, resource=None))
        by_resource = decide(question, Policies(resource=policies.resource, identity=_EVERYTHING))
        details = {"IAM Policy": _decision(by_identity), "Resource Policy": _decision(by_resource)}
        told["EvalDecisionDetails"] = details
    return told


_EVERYTHING = (Source("identity", "", parse('{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}')),)


def _decision(outcome: Outcome) -> str:
    return "allowed" if outcome.allowed else "explicitDeny" if outcome.explicit else "implicitDeny"


def _matched(source: Source, statement: Statement) -> Parameters:
    def place(at: Sequence[int]) -> Parameters:
        return {"Line": at[0], "Column": at[1]}

    name = source.name.rpartition("/")[2] if source.name.startswith("arn:") else source.name
    return {
        "SourcePolicyId": name,
        "SourcePolicyType": "Resource Policy" if source.kind == "resource" else "IAM Policy",
        "StartPosition": place(statement.start),
        "EndPosition": place(statement.end),
    }


def _missing(question: Question, policies: Policies, context: Mapping[str, Any]) -> list[str]:
    """The keys that statements about this call ask for and that were not given."""
    sources = [*policies.identity, *(policies.boundary or ()), *([policies.resource] if policies.resource else [])]
    found: dict[str, None] = {}
    for source in sources:
        for statement in source.document.statements:
            about = replace(statement, conditions=(), resources=("*",), other_resources=False)
            if applies(about, question, variables=False):
                missing = (key for key in _asked_for(statement) if key.lower() not in context)
                found |= dict.fromkeys(missing)
    return list(found)


OPERATIONS = {
    "GetContextKeysForCustomPolicy": get_context_keys_for_custom_policy,
    "GetContextKeysForPrincipalPolicy": get_context_keys_for_principal_policy,
    "SimulateCustomPolicy": simulate_custom_policy,
    "SimulatePrincipalPolicy": simulate_principal_policy,
}
