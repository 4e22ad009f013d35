"""Invoking functions: for a caller who waits, for one who does not, and for the clouds' other services.

https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html and, for events that nobody waits for,
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import lambda_event_config, service_calls
from labkit.cloud.aws.background import Background, note
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.lambda_instances import Instances, Run
from labkit.cloud.aws.lambda_state import (
    CONCURRENCY,
    LATEST,
    LambdaFunction,
    Reference,
    State,
    get,
    reference,
    version_of,
)
from labkit.cloud.aws.place import Place
from labkit.cloud.engine.errors import CloudError, Throttled

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

#: Bytes of the largest event, for a caller who waits and for one who does not.
LARGEST_EVENT = 6_291_556
LARGEST_ASYNC = 1_048_576
#: Lab time until an event that nobody waits for is tried again, after its first and its second failure.
RETRIES = (timedelta(minutes=1), timedelta(minutes=2))


def invoke(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    place = Place.of(call)
    named = reference(place, parameters["FunctionName"], parameters.get("Qualifier"))
    function = get(place, named.name, named.qualifier)
    version_of(function, named.qualifier)
    payload = bytes(parameters.get("Payload") or b"")
    kind = parameters.get("InvocationType", "RequestResponse")
    limit = LARGEST_ASYNC if kind == "Event" else LARGEST_EVENT
    if len(payload) > limit:
        message = f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
        raise AwsError("RequestTooLargeException", message, 413, Type="User")
    if payload:
        try:
            json.loads(payload)
        except ValueError as error:
            message = f"Could not parse request body into json: Could not parse payload into json: {error}"
            raise AwsError("InvalidRequestContentException", message, 400, Type="User") from None
    if kind == "DryRun":
        return {"StatusCode": 204}
    if kind == "Event":
        queue(place, named, payload, call.request_id)
        return {"StatusCode": 202}
    run = run_now(place, named, payload, call.request_id, _client_context(parameters))
    answer: dict[str, Any] = {"StatusCode": 200, "Payload": run.payload, "ExecutedVersion": run.version}
    if run.failed:
        answer["FunctionError"] = "Unhandled"
    if parameters.get("LogType") == "Tail":
        answer["LogResult"] = b64encode(run.log.encode()).decode()
    return answer


def _client_context(parameters: dict[str, Any]) -> Any:
    given = parameters.get("ClientContext")
    if given is None:
        return None
    try:
        return json.loads(b64decode(given))
    except ValueError:
        message = "Client context must be a valid Base64-encoded JSON object."
        raise AwsError("InvalidRequestContentException", message, 400, Type="User") from None


def run_now(place: Place, named: Reference, payload: bytes, request_id: str, client_context: Any = None) -> Run:
    """Has the function answer an event and waits for it; raises :class:`AwsError` where Lambda turns it away."""
    function = get(place, named.name, named.qualifier)
    version = version_of(function, named.qualifier, draw=True)
    state = place.store(State)
    with state.lock:
        if function.busy >= _limit(function) or _busy(state) >= CONCURRENCY:
            _count(place, function, named, "Throttles", 1)
            raise _throttled(function)
        if version.instances is None:
            version.instances = Instances(place, function, version)
        instances = version.instances
        function.busy += 1
        running = _busy(state)
    arn = f"{function.arn}:{named.qualifier}" if named.qualifier else function.arn
    try:
        run = instances.invoke(request_id, arn, payload, client_context)
    except Throttled:
        _count(place, function, named, "Throttles", 1)
        raise _throttled(function) from None
    finally:
        with state.lock:
            function.busy -= 1
    _count(place, function, named, "Invocations", 1)
    _count(place, function, named, "Errors", int(run.failed))
    _count(place, function, named, "Throttles", 0)
    _count(place, function, named, "Duration", run.seconds * 1000, "Milliseconds")
    _count(place, function, named, "ConcurrentExecutions", running)
    return run


def _busy(state: State) -> int:
    return sum(each.busy for each in state.functions.values())


def _limit(function: LambdaFunction) -> int:
    return CONCURRENCY if function.reserved is None else function.reserved


def _throttled(function: LambdaFunction) -> AwsError:
    what = "" if function.reserved is None else "ReservedFunction"
    reason = f"{what}ConcurrentInvocationLimitExceeded"
    return AwsError("TooManyRequestsException", "Rate Exceeded.", 429, Type="User", Reason=reason)


def _count(
    place: Place, function: LambdaFunction, named: Reference, metric: str, value: float, unit: str = "Count"
) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""
    resource = f"{function.name}:{named.qualifier}" if named.qualifier not in ("", LATEST) else function.name
    for dimensions in ({}, {"FunctionName": function.name}, {"FunctionName": function.name, "Resource": resource}):
        place.engine.metrics.put(place.scope, "AWS/Lambda", metric, dimensions, value, unit=unit)


# -- events that nobody waits for ----------------------------------------------------------------------------------


@dataclass
class _Queued:
    """An event on its way; ``failures`` counts the times that the function failed on it."""

    place: Place
    named: Reference
    payload: bytes
    request_id: str
    failures: int = 0
    waited: timedelta = timedelta(0)


def queue(place: Place, named: Reference, payload: bytes, request_id: str = "") -> Background:
    """Takes an event that nobody waits for. What is returned ends when the function has been tried once."""
    get(place, named.name, named.qualifier)
    event = _Queued(place, named, payload, request_id or str(uuid.uuid4()))
    work = _begin(event)
    note(work)
    return work


def _begin(event: _Queued) -> Background:
    return Background(f"lambda {event.named.name}", lambda: _try(event))


def _try(event: _Queued) -> None:
    """Tries an event once; what follows from its failure is left to the lab's clock or to the dead letters."""
    place = event.place
    try:
        function = get(place, event.named.name, event.named.qualifier)
        most, oldest = lambda_event_config.of(function, event.named.qualifier)
        run = run_now(place, event.named, event.payload, event.request_id)
    except AwsError as error:
        if error.code == "TooManyRequestsException" and event.waited < timedelta(seconds=oldest):
            delay = min(timedelta(seconds=1) + event.waited, timedelta(minutes=5))
            event.waited += delay
            _later(event, delay)
        return
    if not run.failed:
        return
    event.failures += 1
    delay = RETRIES[min(event.failures, len(RETRIES)) - 1]
    if event.failures <= most and event.waited + delay <= timedelta(seconds=oldest):
        event.waited += delay
        _later(event, delay)
        return
    fault = json.loads(run.payload)
    _bury(event, "200", str(fault.get("errorMessage", "")))


def _later(event: _Queued, delay: timedelta) -> None:
    event.place.engine.clock.after(delay, lambda: _begin(event), f"event of Lambda function {event.named.name}")


def _bury(event: _Queued, code: str, message: str) -> None:
    """Sends an event that failed for good where the function's DeadLetterConfig says."""
    place = event.place
    try:
        config = version_of(get(place, event.named.name), event.named.qualifier).config
    except AwsError:
        return
    target = (config.get("DeadLetterConfig") or {}).get("TargetArn")
    if not target:
        return
    told = {"RequestID": event.request_id, "ErrorCode": code, "ErrorMessage": message[:1024]}
    attributes = {
        name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": value or " "}
        for name, value in told.items()
    }
    try:
        key = service_calls.assume(place, config["Role"], "lambda.amazonaws.com", event.named.name)
        body = event.payload.decode("utf-8", "replace")
        if target.startswith("arn:aws:sqs:"):
            url = f"https://sqs.{place.region}.amazonaws.com/{place.account}/{target.rpartition(':')[2]}"
            letter = {"QueueUrl": url, "MessageBody": body, "MessageAttributes": attributes}
            service_calls.perform(place, key, "sqs", "SendMessage", letter, "lambda.amazonaws.com")
        else:
            letter = {"TopicArn": target, "Message": body, "MessageAttributes": attributes}
            service_calls.perform(place, key, "sns", "Publish", letter, "lambda.amazonaws.com")
    except CloudError:
        place.engine.metrics.put(
            place.scope, "AWS/Lambda", "DeadLetterErrors", {"FunctionName": event.named.name}, 1, unit="Count"
        )
