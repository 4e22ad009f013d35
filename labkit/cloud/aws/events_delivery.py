"""An event on a bus: the rules that it matches, their targets, and what becomes of a delivery that fails.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html and
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labkit.cloud.aws import event_input, event_targets, service_calls, sqs_state
from labkit.cloud.aws.errors import AwsError, of_engine
from labkit.cloud.aws.event_targets import SERVICE
from labkit.cloud.aws.events_state import Bus, Rule, find_bus
from labkit.cloud.aws.place import Place
from labkit.cloud.engine.errors import CloudError

#: Errors after which EventBridge tries again; any other one is for good.
RETRIED = frozenset(
    ("ThrottlingException", "TooManyRequestsException", "ResourceLimitExceeded", "ServiceUnavailable", "Throttling")
)
#: Attempts and seconds after which it gives up, where a target has no RetryPolicy.
ATTEMPTS = 185
OLDEST = 86_400
#: Rules that send an event on to a bus, and so on: a loop ends here.
MOST_HOPS = 10

_hops: ContextVar[int] = ContextVar("hops", default=0)


@dataclass
class _Delivery:
    """An event on its way to one target."""

    place: Place
    rule: Rule
    target: Mapping[str, Any]
    event: Mapping[str, Any]
    begun: datetime
    attempts: int = 0


def envelope(
    place: Place,
    source: str,
    kind: str,
    detail: Mapping[str, Any],
    resources: list[str] | None = None,
    at: datetime | None = None,
) -> dict[str, Any]:
    """An event in EventBridge's shape, with a new id; ``at`` is lab time."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": place.account,
        "time": f"{at or place.engine.clock.now():%Y-%m-%dT%H:%M:%SZ}",
        "region": place.region,
        "resources": list(resources or []),
        "detail": dict(detail),
    }


def publish(
    place: Place,
    source: str,
    kind: str,
    detail: Mapping[str, Any],
    resources: list[str] | None = None,
    at: datetime | None = None,
) -> None:
    """Puts an event of one of AWS's own services (``aws.sagemaker``) on the default bus."""
    dispatch(place, find_bus(place, None), envelope(place, source, kind, detail, resources, at))


def dispatch(place: Place, bus: Bus, event: Mapping[str, Any]) -> None:
    """Hands an event to the targets of every enabled rule of a bus that it matches."""
    for rule in list(bus.rules.values()):
        if rule.enabled and rule.pattern is not None and rule.pattern.matches(event):
            _count(place, "MatchedEvents", {"RuleName": rule.name})
            trigger(place, rule, event)


def trigger(place: Place, rule: Rule, event: Mapping[str, Any]) -> None:
    """Hands an event to a rule's targets."""
    _count(place, "TriggeredRules", {"RuleName": rule.name})
    hops = _hops.get()
    if hops >= MOST_HOPS:
        _count(place, "FailedInvocations", {"RuleName": rule.name})
        return
    token = _hops.set(hops + 1)
    try:
        for target in list(rule.targets.values()):
            _deliver(_Delivery(place, rule, target, event, place.engine.clock.now()))
    finally:
        _hops.reset(token)


def _deliver(delivery: _Delivery) -> None:
    place, rule, target = delivery.place, delivery.rule, delivery.target
    ingested = f"{delivery.begun:%Y-%m-%dT%H:%M:%SZ}"
    _count(place, "Invocations", {"RuleName": rule.name})
    try:
        content = event_input.of_target(target, delivery.event, rule.name, rule.arn, ingested)
        event_targets.send(place, rule, target, delivery.event, content)
    except CloudError as error:
        _failed(delivery, of_engine(error, "events"))


def _failed(delivery: _Delivery, error: AwsError) -> None:
    place, rule = delivery.place, delivery.rule
    policy = delivery.target.get("RetryPolicy") or {}
    most, oldest = policy.get("MaximumRetryAttempts", ATTEMPTS), policy.get("MaximumEventAgeInSeconds", OLDEST)
    age = place.engine.clock.now() - delivery.begun
    exhausted = ""
    if error.code in RETRIED:
        exhausted = "MaximumRetryAttempts" if delivery.attempts >= most else ""
        exhausted = "MaximumEventAgeInSeconds" if age >= timedelta(seconds=oldest) else exhausted
        if not exhausted:
            delay = timedelta(seconds=min(2**delivery.attempts, 3600))
            delivery.attempts += 1
            _count(place, "RetryInvocationAttempts", {"RuleName": rule.name})
            place.engine.clock.after(delay, lambda: _deliver(delivery), f"retry of rule {rule.name}")
            return
    _count(place, "FailedInvocations", {"RuleName": rule.name})
    letters = (delivery.target.get("DeadLetterConfig") or {}).get("Arn")
    if not letters:
        return
    told = {
        "RULE_ARN": rule.arn,
        "TARGET_ARN": str(delivery.target["Arn"]),
        "ERROR_CODE": _dead_letter_code(error),
        "ERROR_MESSAGE": error.message,
        "RETRY_ATTEMPTS": str(delivery.attempts),
        "EXHAUSTED_RETRY_CONDITION": exhausted,
    }
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in told.items() if value}
    try:
        queue = sqs_state.find(place, letters)
        policy_text = queue.settings.get("Policy")
        if not service_calls.may(policy_text, SERVICE, "sqs:SendMessage", queue.arn, rule.arn, place.account):
            raise AwsError("AccessDenied", f"{SERVICE} may not send to {queue.arn}.", 403)
        queue.send(event_input.of_target({}, delivery.event, rule.name, rule.arn, ""), attributes, SERVICE)
        _count(place, "InvocationsSentToDlq", {"RuleName": rule.name})
    except CloudError:
        _count(place, "InvocationsFailedToBeSentToDlq", {"RuleName": rule.name})


def _dead_letter_code(error: AwsError) -> str:
    """The error as EventBridge writes it on a dead letter."""
    if error.code.startswith("AccessDenied"):
        return "NO_PERMISSIONS"
    if "NotFound" in error.code or error.code == "QueueDoesNotExist":
        return "NO_RESOURCE"
    return "THROTTLING" if error.code in RETRIED else "SDK_CLIENT_ERROR"


def _count(place: Place, metric: str, dimensions: Mapping[str, str]) -> None:
    place.engine.metrics.put(place.scope, "AWS/Events", metric, dimensions, 1, unit="Count")
