"""How often an event that nobody waits for is tried again, and how old it may get.

https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.lambda_state import LATEST, LambdaFunction, Reference, State, find, version_of
from labkit.cloud.aws.refusals import part_of

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

#: What applies where a function has no configuration.
ATTEMPTS = 2
OLDEST = 21_600
_SETTINGS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")


def of(function: LambdaFunction, qualifier: str) -> tuple[int, int]:
    """How often an event is tried again, and the seconds for which it may wait."""
    config = function.event_configs.get(qualifier or LATEST, {})
    return config.get("MaximumRetryAttempts", ATTEMPTS), config.get("MaximumEventAgeInSeconds", OLDEST)


def put(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    return _set(call, function, named, parameters, {})


def update(call: Call, parameters: Parameters) -> Parameters:
    function, named = find(call, parameters)
    return _set(call, function, named, parameters, _config(function, named))


def _set(call: Call, function: LambdaFunction, named: Reference, given: Parameters, old: Parameters) -> Parameters:
    version_of(function, named.qualifier)
    if any((given.get("DestinationConfig") or {}).values()):
        raise part_of(call, "DestinationConfig (a function's DeadLetterConfig takes events that failed)")
    qualifier = named.qualifier or LATEST
    config = {**old, **{name: given[name] for name in _SETTINGS if name in given}}
    config["FunctionArn"] = f"{function.arn}:{qualifier}"
    config["LastModified"] = call.engine.clock.now()
    with call.store(State).lock:
        function.event_configs[qualifier] = config
    return _shown(config)


def _shown(config: Parameters) -> Parameters:
    return {**config, "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}}}


def _config(function: LambdaFunction, named: Reference) -> Parameters:
    qualifier = named.qualifier or LATEST
    config = function.event_configs.get(qualifier)
    if config is None:
        message = f"The function {function.arn}:{qualifier} doesn't have an EventInvokeConfig"
        raise AwsError("ResourceNotFoundException", message, 404, Type="User")
    return config


def get(call: Call, parameters: Parameters) -> Parameters:
    return _shown(_config(*find(call, parameters)))


def list_all(call: Call, parameters: Parameters) -> Parameters:
    function, _ = find(call, parameters)
    return {"FunctionEventInvokeConfigs": [_shown(each) for each in function.event_configs.values()]}


def delete(call: Call, parameters: Parameters) -> None:
    function, named = find(call, parameters)
    _config(function, named)
    with call.store(State).lock:
        del function.event_configs[named.qualifier or LATEST]
