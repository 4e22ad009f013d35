"""Callback steps: a message with a token goes to a queue, and the step waits until somebody answers with the token.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-callback and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SendPipelineExecutionStepSuccess.html
"""

from __future__ import annotations

import json
import secrets
import string
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.pipeline_records import Execution, Result
from labkit.cloud.aws.pipeline_steps import StepFailed, StepRun
from labkit.cloud.engine.dags import Attempt

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call
    from labkit.cloud.aws.place import Place

#: How long a step waits, in lab time.
LONGEST = timedelta(days=7)
_LETTERS = string.ascii_letters + string.digits
#: How a value is told, which is text, becomes one of the step's type of output.
_READERS: Mapping[str, Callable[[str], Any]] = {
    "String": str,
    "Integer": int,
    "Float": float,
    "Boolean": lambda text: {"true": True, "false": False}[text.lower()],
}


@dataclass
class Callback:
    """A step that waits. ``outputs`` are the types of its outputs by name; ``failure`` is None while it may succeed.

    ``request`` is the token of the client's request that has answered, by which the same request is known again.
    """

    execution: Execution
    outputs: Mapping[str, str]
    request: str = ""
    answered: threading.Event = field(default_factory=threading.Event)
    values: dict[str, Any] = field(default_factory=dict)
    told: list[Mapping[str, Any]] = field(default_factory=list)
    failure: str | None = None


class State:
    """Callbacks by token."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.callbacks: dict[str, Callback] = {}

    def close(self) -> None:
        """Lets go the steps that wait; called at reset."""
        with self.lock:
            for each in self.callbacks.values():
                each.failure = each.failure or "The clouds were reset."
                each.answered.set()


def run(step: StepRun, arguments: dict[str, Any], attempt: Attempt, note: Callable[[Any], None]) -> Result:
    """Sends the message and waits for the answer; raises :class:`StepFailed`."""
    place, url = step.place, str(step.scope.value(step.step.document["SqsQueueUrl"]))
    declared = step.step.document.get("OutputParameters") or []
    callback = Callback(step.execution, {each["OutputName"]: each.get("OutputType", "String") for each in declared})
    token = "".join(secrets.choice(_LETTERS) for _ in range(10))
    state = place.store(State)
    with state.lock:
        state.callbacks[token] = callback
    shown: dict[str, Any] = {"CallbackToken": token, "SqsQueueUrl": url}
    note({"Callback": shown})

    def send(status: str) -> None:
        message = {
            "token": token,
            "pipelineExecutionArn": step.execution.arn,
            "arguments": arguments,
            "status": status,
        }
        step.call("sqs", "SendMessage", {"QueueUrl": url, "MessageBody": json.dumps(message)})

    def stopping() -> None:
        try:
            send("Stopping")
        except StepFailed:
            # The queue takes no more messages: nobody will answer, and the step need not wait.
            _answer(callback, failure="The step was stopped.")

    expiry = place.engine.clock.after(LONGEST, lambda: _expire(callback), f"time-out of the step {step.step.name}")
    try:
        send("Executing")
        attempt.on_stop(stopping)
        callback.answered.wait()
    finally:
        expiry.cancel()
    if callback.failure is not None:
        raise StepFailed(callback.failure)
    return Result({"OutputParameters": callback.values}, {}, {"Callback": {**shown, "OutputParameters": callback.told}})


def _expire(callback: Callback) -> None:
    _answer(callback, failure="ClientError: The callback step timed out: no callback was received within 7 days.")


def _answer(callback: Callback, failure: str) -> None:
    if not callback.answered.is_set():
        callback.failure = failure
        callback.answered.set()


# -- operations ----------------------------------------------------------------------------------------------------


def send_success(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Ends a step that waits, with the values of its outputs."""
    given = {each["Name"]: each["Value"] for each in parameters.get("OutputParameters") or []}

    def succeed(callback: Callback) -> None:
        values = {}
        for name, text in given.items():
            if name not in callback.outputs:
                raise AwsError("ValidationException", f"Output parameter [{name}] is not defined in the callback step.")
            try:
                values[name] = _READERS[callback.outputs[name]](text)
            except (ValueError, KeyError):
                message = f"Output parameter [{name}] value is not of type {callback.outputs[name]}."
                raise AwsError("ValidationException", message) from None
        callback.values = values
        callback.told = [{"Name": name, "Value": text} for name, text in given.items()]

    return _end(call, parameters, succeed)


def send_failure(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Has a step that waits fail."""

    def fail(callback: Callback) -> None:
        callback.failure = parameters.get("FailureReason") or "The callback step failed."

    return _end(call, parameters, fail)


def find(at: Call | Place, token: str) -> Callback | None:
    """The step to which a token was given."""
    return at.store(State).callbacks.get(token)


def _end(call: Call, parameters: dict[str, Any], answer: Callable[[Callback], None]) -> dict[str, Any]:
    token, state = parameters["CallbackToken"], call.store(State)
    # Clients need not send one; without it, no later request is the same.
    request = parameters.get("ClientRequestToken") or secrets.token_hex(20)
    callback = find(call, token)
    if callback is None:
        raise AwsError("ResourceNotFound", f"Callback token '{token}' does not exist.")
    with state.lock:
        told = {"PipelineExecutionArn": callback.execution.arn}
        if callback.answered.is_set():
            if callback.request == request:
                return told
            raise AwsError("ConflictException", f"The callback step with the token '{token}' has ended already.")
        answer(callback)
        callback.request = request
        callback.answered.set()
    return told
