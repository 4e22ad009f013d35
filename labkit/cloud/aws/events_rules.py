"""EventBridge's rules: which events, or at which times, something happens.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.cloud.aws import events_schedule
from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.event_patterns import InvalidPattern, Pattern
from labkit.cloud.aws.events_state import DEFAULT, Bus, Rule, State, find_bus, find_rule, invalid
from labkit.cloud.aws.place import Place

if TYPE_CHECKING:
    from labkit.cloud.aws.front import Call

Parameters = dict[str, Any]

#: Rules that a bus may have.
MOST = 300
#: Members that an event has to have to be tested against a pattern.
_ENVELOPE = ("id", "account", "source", "time", "region", "resources", "detail-type")


def put_rule(call: Call, parameters: Parameters) -> Parameters:
    place = Place.of(call)
    name, expression = parameters["Name"], parameters.get("ScheduleExpression")
    bus = find_bus(place, parameters.get("EventBusName"))
    if not parameters.get("EventPattern") and not expression:
        raise invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    pattern = _pattern(parameters["EventPattern"]) if parameters.get("EventPattern") else None
    if expression:
        if bus.name != DEFAULT:
            raise invalid("ScheduleExpression is supported only on the default event bus.")
        events_schedule.parse(expression)
    path = name if bus.name == DEFAULT else f"{bus.name}/{name}"
    with call.store(State).lock:
        rule = bus.rules.get(name)
        if rule is None:
            if len(bus.rules) >= MOST:
                raise AwsError("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
            tags = {each["Key"]: each["Value"] for each in parameters.get("Tags") or []}
            rule = Rule(name, place.arn("events", f"rule/{path}"), bus.name, {}, enabled=True, tags=tags)
            bus.rules[name] = rule
        rule.request = {key: value for key, value in parameters.items() if key != "Tags"}
        rule.enabled = parameters.get("State", "ENABLED") != "DISABLED"
        rule.pattern = pattern
        _set_timer(place, rule)
    return {"RuleArn": rule.arn}


def _set_timer(place: Place, rule: Rule) -> None:
    """Starts the timer of an enabled scheduled rule anew, and stops that of any other."""
    if rule.timer is not None:
        rule.timer.close()
    expression = rule.request.get("ScheduleExpression")
    rule.timer = events_schedule.start(place, rule, str(expression)) if expression and rule.enabled else None


def _pattern(text: str) -> Pattern:
    try:
        return Pattern(text)
    except InvalidPattern as problem:
        message = f"Event pattern is not valid. Reason: {problem}"
        raise AwsError("InvalidEventPatternException", message) from None


def delete_rule(call: Call, parameters: Parameters) -> None:
    bus = find_bus(Place.of(call), parameters.get("EventBusName"))
    with call.store(State).lock:
        rule = bus.rules.get(parameters["Name"])
        if rule is None:
            return
        if rule.targets:
            raise invalid("Rule can't be deleted since it has targets.")
        del bus.rules[rule.name]
        if rule.timer is not None:
            rule.timer.close()


def describe_rule(call: Call, parameters: Parameters) -> Parameters:
    rule = find_rule(Place.of(call), parameters["Name"], parameters.get("EventBusName"))
    return _shown(rule) | {"CreatedBy": call.account}


def _shown(rule: Rule) -> Parameters:
    kept = ("EventPattern", "ScheduleExpression", "Description", "RoleArn")
    return {
        "Name": rule.name,
        "Arn": rule.arn,
        "State": rule.request.get("State", "ENABLED") if rule.enabled else "DISABLED",
        "EventBusName": rule.bus,
        **{name: rule.request[name] for name in kept if name in rule.request},
    }


def enable_rule(call: Call, parameters: Parameters) -> None:
    _switch(call, parameters, enabled=True)


def disable_rule(call: Call, parameters: Parameters) -> None:
    _switch(call, parameters, enabled=False)


def _switch(call: Call, parameters: Parameters, *, enabled: bool) -> None:
    place = Place.of(call)
    rule = find_rule(place, parameters["Name"], parameters.get("EventBusName"))
    with call.store(State).lock:
        if enabled == rule.enabled:
            return
        rule.request = {**rule.request, "State": "ENABLED" if enabled else "DISABLED"}
        rule.enabled = enabled
        _set_timer(place, rule)


def list_rules(call: Call, parameters: Parameters) -> Parameters:
    bus = find_bus(Place.of(call), parameters.get("EventBusName"))
    names = [name for name in sorted(bus.rules) if name.startswith(parameters.get("NamePrefix", ""))]
    shown, token = page(names, parameters)
    return {"Rules": [_shown(bus.rules[name]) for name in shown], "NextToken": token}


def list_rule_names_by_target(call: Call, parameters: Parameters) -> Parameters:
    bus = find_bus(Place.of(call), parameters.get("EventBusName"))
    wanted = parameters["TargetArn"]
    names = [rule.name for rule in bus.rules.values() if any(each["Arn"] == wanted for each in rule.targets.values())]
    shown, token = page(sorted(names), parameters)
    return {"RuleNames": shown, "NextToken": token}


def page(names: Sequence[str], parameters: Parameters) -> tuple[Sequence[str], str | None]:
    """A page of a sorted list, and the token for the next one: the last name shown."""
    left = [name for name in names if name > (parameters.get("NextToken") or "")]
    limit = parameters.get("Limit", 100)
    return left[:limit], left[limit - 1] if len(left) > limit else None


def test_event_pattern(call: Call, parameters: Parameters) -> Parameters:
    pattern = _pattern(parameters["EventPattern"])
    try:
        event = json.loads(parameters["Event"])
    except ValueError:
        raise invalid("Parameter Event is not valid.") from None
    if not isinstance(event, dict) or (absent := [name for name in _ENVELOPE if name not in event]):
        missing = f" Reason: {absent[0]} is required." if isinstance(event, dict) else ""
        raise invalid(f"Parameter Event is not valid.{missing}")
    return {"Result": pattern.matches(event)}


def tagged(call: Call, arn: str) -> Bus | Rule:
    """The bus or rule that an ARN names; raises :class:`AwsError`."""
    place = Place.of(call)
    kind, _, path = arn.split(":", 5)[5].partition("/")
    if kind == "event-bus":
        return find_bus(place, path)
    bus, _, name = path.rpartition("/")
    return find_rule(place, name, bus or None)
