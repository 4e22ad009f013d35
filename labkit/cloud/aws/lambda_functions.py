"""Functions: created, described, changed, deleted; and what of their settings stands beside the configuration.

https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.cloud.aws import lambda_code, lambda_configuration
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.lambda_state import (
    CONCURRENCY,
    LATEST,
    LambdaFunction,
    State,
    Version,
    discard,
    find,
    functions,
    get,
    reference,
    revision,
    version_of,
)
from labkit.cloud.aws.lambda_versions import publish
from labkit.cloud.aws.place import Place
from labkit.cloud.aws.refusals import part_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]
T = TypeVar("T")


def create_function(call: Call, parameters: Parameters) -> Parameters:
    place = Place.of(call)
    named = reference(place, parameters["FunctionName"])
    if named.qualifier:
        message = f"The function name {parameters['FunctionName']} may not have a qualifier."
        raise AwsError("InvalidParameterValueException", message)
    for required in ("Runtime", "Handler"):
        if required not in parameters:
            message = f"{required} is mandatory for functions created with deployment packages."
            raise AwsError("InvalidParameterValueException", message)
    parameters = {**parameters, "FunctionName": named.name}
    lambda_configuration.check(call, parameters)
    state = call.store(State)
    if named.name in state.functions:
        raise _exists(named.name)
    code = lambda_code.unpack(call, lambda_code.archive_of(call, parameters["Code"]))
    arn = place.arn("lambda", f"function:{named.name}")
    config = {
        "FunctionName": named.name,
        "FunctionArn": arn,
        **lambda_configuration.described(call, parameters),
        "CodeSize": code.size,
        "CodeSha256": code.sha256,
        "Version": LATEST,
        "LastModified": _stamp(call),
        "RevisionId": revision(),
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }
    function = LambdaFunction(named.name, arn, Version(LATEST, config, code.folder), dict(parameters.get("Tags") or {}))
    with state.lock:
        if named.name in state.functions:
            discard(function.latest)
            raise _exists(named.name)
        state.functions[named.name] = function
    shown = publish(call, function, "") if parameters.get("Publish") else config
    # Lambda answers before the function is ready, and its clients wait for Active; here it is ready by now.
    return {
        **shown,
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "LastUpdateStatus": None,
    }


def _exists(name: str) -> AwsError:
    return AwsError("ResourceConflictException", f"Function already exist: {name}", 409, Type="User")


def get_function(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    described: Parameters = {
        "Configuration": shown(function, named.qualifier),
        "Code": {"RepositoryType": "S3"},
        "Tags": dict(function.tags) or None,
    }
    if function.reserved is not None:
        described["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
    return described


def get_function_configuration(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    return shown(function, named.qualifier)


def shown(function: LambdaFunction, qualifier: str) -> Parameters:
    """A version's configuration under the name by which it was asked for."""
    config = version_of(function, qualifier).config
    return {**config, "FunctionArn": f"{function.arn}:{qualifier}"} if qualifier else config


def list_functions(call: Call, parameters: Parameters) -> Parameters:
    found = list(functions(Place.of(call)))
    versions = [each.latest for each in found]
    if parameters.get("FunctionVersion") == "ALL":
        versions = [version for each in found for version in each.all_versions()]
    page, marker = paged(parameters, [version.config for version in versions])
    return {"Functions": page, "NextMarker": marker}


def list_versions_by_function(call: Call, parameters: Parameters) -> Parameters:
    function, _ = find(call, parameters)
    versions = [
        {**version.config, "FunctionArn": f"{function.arn}:{version.number}"} for version in function.all_versions()
    ]
    page, marker = paged(parameters, versions)
    return {"Versions": page, "NextMarker": marker}


def paged(parameters: Parameters, items: Sequence[T]) -> tuple[Sequence[T], str | None]:
    """A page of a list, and the marker of the next one."""
    try:
        start = int(urlsafe_b64decode(parameters.get("Marker") or "MA==").decode())
    except ValueError:
        raise AwsError("InvalidParameterValueException", "Invalid pagination token") from None
    end = start + min(parameters.get("MaxItems", 50), 50)
    return items[start:end], urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None


def update_function_code(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    _only_latest(named.qualifier)
    _check_revision(function, parameters)
    if "PublishTo" in parameters:
        raise part_of(call, "PublishTo")
    code = lambda_code.unpack(call, lambda_code.archive_of(call, parameters))
    updated = {
        "CodeSize": code.size,
        "CodeSha256": code.sha256,
        "Architectures": parameters.get("Architectures") or function.latest.config["Architectures"],
    }
    if parameters.get("DryRun"):
        discard(Version(LATEST, {}, code.folder))
        return {**function.latest.config, **updated}
    with call.store(State).lock:
        old = function.latest
        function.latest = Version(LATEST, _changed(call, old.config, updated), code.folder)
    discard(old)
    if parameters.get("Publish"):
        return publish(call, function, "")
    return _under_way(function.latest.config)


def update_function_configuration(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    _only_latest(named.qualifier)
    _check_revision(function, parameters)
    lambda_configuration.check(call, parameters)
    simple = ("Role", "Handler", "Description", "Timeout", "MemorySize", "Runtime", "EphemeralStorage")
    updated: Parameters = {name: parameters[name] for name in simple if name in parameters}
    if "Environment" in parameters:
        updated["Environment"] = lambda_configuration.environment(parameters)
    if "DeadLetterConfig" in parameters:
        updated["DeadLetterConfig"] = lambda_configuration.dead_letters(parameters)
    if "LoggingConfig" in parameters:
        updated["LoggingConfig"] = lambda_configuration.logging(function.name, parameters["LoggingConfig"])
    with call.store(State).lock:
        latest = function.latest
        latest.config = _changed(call, latest.config, updated)
        old, latest.instances = latest.instances, None
    if old is not None:
        old.close()
    return _under_way(latest.config)


def _changed(call: Call, config: Parameters, updated: Parameters) -> Parameters:
    return {**config, **updated, "LastModified": _stamp(call), "RevisionId": revision()}


def _under_way(config: Parameters) -> Parameters:
    """The answer to a change: Lambda's clients wait until it is done, which here it is."""
    return {
        **config,
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": "The function is being created.",
        "LastUpdateStatusReasonCode": "Creating",
    }


def _only_latest(qualifier: str) -> None:
    if qualifier not in ("", LATEST):
        message = "Versions of a function cannot be changed; change the function, then publish it."
        raise AwsError("InvalidParameterValueException", message)


def _check_revision(function: LambdaFunction, parameters: Parameters) -> None:
    if parameters.get("RevisionId", function.latest.config["RevisionId"]) != function.latest.config["RevisionId"]:
        message = (
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id"
        )
        raise AwsError("PreconditionFailedException", message, 412, Type="User")


def delete_function(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    state = call.store(State)
    if named.qualifier == LATEST:
        raise AwsError(
            "InvalidParameterValueException", "$LATEST version cannot be deleted without deleting the function."
        )
    with state.lock:
        if named.qualifier:
            version = version_of(function, named.qualifier)
            if any(alias["FunctionVersion"] == version.number for alias in function.aliases.values()):
                names = [name for name, alias in function.aliases.items() if alias["FunctionVersion"] == version.number]
                message = f"Version was not able to be deleted as the following aliases reference it: {names}"
                raise AwsError("ResourceConflictException", message, 409, Type="User")
            removed = [function.versions.pop(named.qualifier)]
        else:
            removed = state.functions.pop(function.name).all_versions()
    for each in removed:
        discard(each)
    return {"StatusCode": 204}


def put_function_concurrency(call: Call, parameters: Parameters) -> Parameters:
    function, _ = find(call, parameters)
    function.reserved = parameters["ReservedConcurrentExecutions"]
    return {"ReservedConcurrentExecutions": function.reserved}


def get_function_concurrency(call: Call, parameters: Parameters) -> Parameters:
    function, _ = find(call, parameters)
    return {"ReservedConcurrentExecutions": function.reserved}


def delete_function_concurrency(call: Call, parameters: Parameters) -> None:
    function, _ = find(call, parameters)
    function.reserved = None


def get_account_settings(call: Call, _: Parameters) -> Parameters:
    found = list(functions(Place.of(call)))
    reserved = sum(each.reserved or 0 for each in found)
    size = sum(version.config["CodeSize"] for each in found for version in each.all_versions())
    return {
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": lambda_code.LARGEST_CODE,
            "CodeSizeZipped": lambda_code.LARGEST_ARCHIVE,
            "ConcurrentExecutions": CONCURRENCY,
            "UnreservedConcurrentExecutions": max(CONCURRENCY - reserved, 0),
        },
        "AccountUsage": {"TotalCodeSize": size, "FunctionCount": len(found)},
    }


def tag_resource(call: Call, parameters: Parameters) -> None:
    _tagged(call, parameters["Resource"]).update(parameters["Tags"])


def untag_resource(call: Call, parameters: Parameters) -> None:
    tags = _tagged(call, parameters["Resource"])
    for key in parameters["TagKeys"]:
        tags.pop(key, None)


def list_tags(call: Call, parameters: Parameters) -> Parameters:
    return {"Tags": dict(_tagged(call, parameters["Resource"]))}


def _tagged(call: Call, arn: str) -> dict[str, str]:
    if ":function:" not in arn:
        raise part_of(call, "tags of anything but functions")
    place = Place.of(call)
    named = reference(place, arn)
    if named.qualifier:
        message = "Tags on function aliases and versions are not supported. Please specify either a function name."
        raise AwsError("InvalidParameterValueException", message)
    return get(place, named.name).tags


def _stamp(call: Call) -> str:
    now = call.engine.clock.now()
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}+0000"
