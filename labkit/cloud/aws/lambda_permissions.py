"""A function's own policy: who beside the account's principals may invoke it.

https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.lambda_state import LambdaFunction, State, find, get, reference, revision, version_of
from labkit.cloud.aws.refusals import part_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.place import Place

Parameters = dict[str, Any]


def add_permission(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    version_of(function, named.qualifier)
    for name in ("FunctionUrlAuthType", "InvokedViaFunctionUrl", "EventSourceToken", "PrincipalOrgID"):
        if name in parameters:
            raise part_of(call, name)
    principal, sid = parameters["Principal"], parameters["StatementId"]
    statement: Parameters = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": _principal(principal),
        "Action": parameters["Action"],
        "Resource": f"{function.arn}:{named.qualifier}" if named.qualifier else function.arn,
    }
    conditions: Parameters = {}
    if account := parameters.get("SourceAccount"):
        conditions["StringEquals"] = {"AWS:SourceAccount": account}
    if arn := parameters.get("SourceArn"):
        conditions["ArnLike"] = {"AWS:SourceArn": arn}
    if conditions:
        statement["Condition"] = conditions
    with call.store(State).lock:
        statements = function.statements.setdefault(named.qualifier, [])
        if any(each["Sid"] == sid for each in statements):
            message = (
                f"The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the "
                "existing statement."
            )
            raise AwsError("ResourceConflictException", message, 409, Type="User")
        statements.append(statement)
        function.policy_revision = revision()
    return {"Statement": json.dumps(statement)}


def _principal(given: str) -> Any:
    if given == "*":
        return "*"
    if given.endswith((".amazonaws.com", ".amazon.com")):
        return {"Service": given}
    if given.isdigit() and len(given) == 12:
        return {"AWS": f"arn:aws:iam::{given}:root"}
    if given.startswith("arn:"):
        return {"AWS": given}
    message = "The provided principal was invalid. Please check the principal and try again."
    raise AwsError("InvalidParameterValueException", message)


def remove_permission(call: Call, parameters: Parameters) -> None:
    function, named = find(call, parameters)
    sid = parameters["StatementId"]
    with call.store(State).lock:
        statements = function.statements.get(named.qualifier, [])
        kept = [each for each in statements if each["Sid"] != sid]
        if len(kept) == len(statements):
            message = f"Statement {sid} is not found in resource policy."
            raise AwsError("ResourceNotFoundException", message, 404, Type="User")
        function.statements[named.qualifier] = kept
        function.policy_revision = revision()


def get_policy(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    policy = document(function, named.qualifier)
    if policy is None:
        raise AwsError("ResourceNotFoundException", "The resource you requested does not exist.", 404, Type="User")
    return {"Policy": policy, "RevisionId": function.policy_revision}


def document(function: LambdaFunction, qualifier: str) -> str | None:
    """The policy of a function, or of one of its versions or aliases, as JSON; None where there is none."""
    statements = function.statements.get(qualifier)
    if not statements:
        return None
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": statements})


def policy_of(place: Place, arn: str) -> str | None:
    """The policy of the function that an ARN names, its qualifier's own where it has one."""
    named = reference(place, arn)
    return document(get(place, named.name), named.qualifier)
