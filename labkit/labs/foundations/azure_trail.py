"""What the Activity Log knows of the lab ``foundations/azure``, and the checks of what learners read in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from labkit.labs.azure_rest import MANAGEMENT, arm, call, subscription, token
from labkit.labs.foundations.azure_identities import CALLER, CONTAINERS, DEPLOYER, identity
from labkit.labs.foundations.files import DENIAL, DENIED_CALL, moment, one_of, records
from labkit.labs.task import NotAttempted, Work, Wrong

#: Why a call can be denied, as the task has it.
WHYS = ("no role", "another scope", "notActions")


def denial(work: Work) -> str:
    """The answers say who was denied what, and why; the Activity Log agrees."""
    expected = "a list of three, each with who, action, resource and why"
    answers = records(work, "answers.json", DENIAL, expected)
    if not answers:
        raise NotAttempted("no answers", expected)
    if len(answers) != 3:
        raise Wrong(f"{len(answers)} answers", expected)
    denied = {(each["caller"], action_of(each).lower(), each["resourceId"].lower()) for each in refusals(work)}
    whys = dict(zip(wanted(work), WHYS, strict=True))
    for number, each in enumerate(answers, 1):
        at = (each["who"], each["action"].lower(), each["resource"].lower().rstrip("/"))
        if at not in denied:
            raise Wrong(
                f"answer {number}: {each['who']} denied {each['action']}",
                "a call that the Activity Log has as denied",
                "the message has all three: the object id, the action and the scope, each between quotation marks",
            )
        why = whys.get((each["who"], each["action"].lower()))
        if why is None:
            raise Wrong(f"answer {number}, which is not one of the three attempts of this section", expected)
        if each["why"] not in WHYS:
            raise Wrong(f"{each['why']!r} as the reason of answer {number}", one_of(WHYS))
        if each["why"] != why:
            raise Wrong(f"answer {number} with the reason {each['why']!r}", "another one", REASONS[why])
    if len({(each["who"], each["action"].lower()) for each in answers}) != 3:
        raise Wrong("the same call twice", "each of the three attempts once")
    return "three denials, each as the Activity Log has it, each with its reason"


#: What tells one reason from another.
REASONS = {
    "no role": "none of its roles holds the action at all",
    "another scope": "its role holds the action, but was given on another container",
    "notActions": "its role holds the action by a wildcard and takes it off again",
}


def audit(work: Work) -> str:
    """``denied.json`` has every denied call of the two identities that the Activity Log has."""
    expected = "every denied call of the two, each with id, when, who and what"
    listed = records(work, "denied.json", DENIED_CALL, expected)
    if not listed:
        raise NotAttempted("no denied calls", expected)
    known = {each["eventDataId"]: each for each in refusals(work)}
    for each in listed:
        event = known.get(each["id"])
        if event is None:
            raise Wrong(f"{each['what']} with an id that no denied call of the two has ({each['id']})", expected)
        for name, truth in (("who", event["caller"]), ("what", action_of(event))):
            if each[name].lower() != truth.lower():
                raise Wrong(f"the {name} {each[name]!r} of the event {each['id']}", repr(truth))
        if moment(each["when"]) != moment(event["eventTimestamp"]):
            raise Wrong(f"the when {each['when']!r} of the event {each['id']}", repr(event["eventTimestamp"]))
    there = {each["id"] for each in listed}
    # What was denied after the list was made, by checks too, need not be in it.
    last = max(known[id]["eventTimestamp"] for id in there)
    earlier = [each for each in known.values() if each["eventTimestamp"] <= last]
    left = [each for each in earlier if each["eventDataId"] not in there]
    late = set(wanted(work)) - {(each["caller"], action_of(each).lower()) for each in earlier}
    if left or late:
        missing = f"{action_of(left[0])} of {left[0]['caller']}" if left else "{1} of {0}".format(*sorted(late)[0])
        hint = "answers come in pages, and the SDK's iterator reads them all"
        raise Wrong(f"{len(there)} denied calls, without {missing}", expected, hint)
    return f"all {len(there)} denied calls, as the Activity Log has them"


def wanted(work: Work) -> list[tuple[str, str]]:
    """Who and what the three attempts of section 7 were, in the order of their reasons."""
    mine = {
        name: identity(work, name, file)["id"] for name, file in ((CALLER, "caller.json"), (DEPLOYER, "deployer.json"))
    }
    return [
        (mine[CALLER], "microsoft.authorization/roleassignments/write"),
        (mine[DEPLOYER], f"{CONTAINERS}/write".lower()),
        (mine[DEPLOYER], f"{CONTAINERS}/delete".lower()),
    ]


def refusals(work: Work) -> list[dict[str, Any]]:
    """The denied calls of the two identities in the Activity Log."""
    mine = {who for who, _ in wanted(work)}
    group = os.environ["AZURE_RESOURCE_GROUP"]
    found = events(f"resourceGroupName eq '{group}' and status eq 'Failed'")
    return [each for each in found if each["caller"] in mine and each["subStatus"]["value"] == "Forbidden"]


def events(condition: str) -> list[dict[str, Any]]:
    """The events of the Activity Log that a filter chooses."""
    since = datetime.now(UTC) - timedelta(days=1)
    query = f"$filter=eventTimestamp ge '{since:%Y-%m-%dT%H:%M:%SZ}' and {condition}"
    path = f"/subscriptions/{subscription()}/providers/Microsoft.Insights/eventtypes/management/values?{query}"
    answer = arm("GET", path, "2015-04-01")
    found: list[dict[str, Any]] = []
    while True:
        answer.raise_for_status()
        page = answer.json()
        found += page["value"]
        if not page.get("nextLink"):
            return found
        answer = call("GET", page["nextLink"], token(MANAGEMENT))


def action_of(event: Mapping[str, Any]) -> str:
    return str(event["authorization"]["action"])
