"""Versions and aliases of functions.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html and
https://docs.aws.amazon.com/lambda/latest/dg/configuration-aliases.html
"""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.lambda_state import LATEST, LambdaFunction, State, Version, find, revision, version_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]


def publish_version(call: Call, parameters: Parameters) -> Parameters:
    function, _ = find(call, parameters)
    latest = function.latest.config
    if parameters.get("CodeSha256", latest["CodeSha256"]) != latest["CodeSha256"]:
        message = (
            f"CodeSHA256 ({parameters['CodeSha256']}) is different from current CodeSHA256 in $LATEST "
            f"({latest['CodeSha256']}). Please try again with the CodeSHA256 in $LATEST."
        )
        raise AwsError("InvalidParameterValueException", message)
    return publish(call, function, parameters.get("Description", ""))


def publish(call: Call, function: LambdaFunction, description: str) -> Parameters:
    """Publishes what $LATEST is now; the last version again where nothing has changed since."""
    with call.store(State).lock:
        config = function.latest.config
        last = list(function.versions.values())[-1] if function.versions else None
        if last is not None and _content(last.config) == _content(config):
            return last.config
        number = str(int(last.number) + 1 if last is not None else 1)
        folder = function.latest.folder.with_name(uuid.uuid4().hex)
        shutil.copytree(function.latest.folder, folder)
        function.versions[number] = Version(
            number,
            {
                **config,
                "FunctionArn": f"{function.arn}:{number}",
                "Version": number,
                "Description": description or config["Description"],
                "RevisionId": revision(),
            },
            folder,
        )
        return function.versions[number].config


def _content(config: Parameters) -> Parameters:
    apart = ("FunctionArn", "Version", "Description", "RevisionId", "LastModified")
    return {name: value for name, value in config.items() if name not in apart}


def create_alias(call: Call, parameters: Parameters) -> Parameters:
    function, _ = find(call, parameters)
    name = parameters["Name"]
    if name in function.aliases:
        message = f"Alias already exists: {function.arn}:{name}"
        raise AwsError("ResourceConflictException", message, 409, Type="User")
    return _put(call, function, name, parameters, {})


def update_alias(call: Call, parameters: Parameters) -> Parameters:
    function, _ = find(call, parameters)
    alias = _alias(function, parameters["Name"])
    if parameters.get("RevisionId", alias["RevisionId"]) != alias["RevisionId"]:
        message = "The Revision Id provided does not match the latest Revision Id."
        raise AwsError("PreconditionFailedException", message, 412, Type="User")
    return _put(call, function, parameters["Name"], parameters, alias)


def _put(call: Call, function: LambdaFunction, name: str, parameters: Parameters, old: Parameters) -> Parameters:
    number = str(parameters.get("FunctionVersion", old.get("FunctionVersion")))
    version_of(function, number)
    routing = parameters.get("RoutingConfig", old.get("RoutingConfig")) or {}
    weights = routing.get("AdditionalVersionWeights") or {}
    for other, weight in weights.items():
        version_of(function, other)
        if not 0 <= weight <= 1 or LATEST in (number, other) or len(weights) > 1:
            message = (
                "An alias splits traffic between two published versions, with one weight from 0.0 to 1.0: "
                f"{weights} beside version {number} does not."
            )
            raise AwsError("InvalidParameterValueException", message)
    alias = {
        "AliasArn": f"{function.arn}:{name}",
        "Name": name,
        "FunctionVersion": number,
        "Description": parameters.get("Description", old.get("Description", "")),
        "RevisionId": revision(),
    }
    if weights:
        alias["RoutingConfig"] = {"AdditionalVersionWeights": dict(weights)}
    with call.store(State).lock:
        function.aliases[name] = alias
    return alias


def get_alias(call: Call, parameters: Parameters) -> Parameters:
    return _alias(find(call, parameters)[0], parameters["Name"])


def list_aliases(call: Call, parameters: Parameters) -> Parameters:
    function, _ = find(call, parameters)
    wanted = parameters.get("FunctionVersion")
    listed = [function.aliases[name] for name in sorted(function.aliases)]
    return {"Aliases": [each for each in listed if wanted in (None, each["FunctionVersion"])]}


def delete_alias(call: Call, parameters: Parameters) -> None:
    function, _ = find(call, parameters)
    with call.store(State).lock:
        function.aliases.pop(parameters["Name"], None)
        function.statements.pop(parameters["Name"], None)


def _alias(function: LambdaFunction, name: str) -> Parameters:
    alias = function.aliases.get(name)
    if alias is None:
        raise AwsError("ResourceNotFoundException", f"Cannot find alias arn: {function.arn}:{name}", 404, Type="User")
    return alias
