"""What the event history knows of the lab ``foundations/aws``, and the checks of what learners read in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from labkit.labs.beginner.aws_checks import client
from labkit.labs.foundations.files import DENIAL, DENIED_CALL, moment, one_of, records
from labkit.labs.task import NotAttempted, Work, Wrong

#: The attempts of section 7: the name of the event.
ATTEMPTS = ("CreateAccessKey", "CreateUser", "DeleteBucket")
#: Why a call can be denied, as the task has it.
WHYS = ("no policy allows it", "explicit deny", "boundary")
_SENTENCE = re.compile(r'User: (\S+) is not authorized to perform: (\S+) on resource: "?([^\s"]+)"? .*')


def events() -> Iterator[dict[str, Any]]:
    """The account's event history, newest first, as records."""
    for page in client("cloudtrail").get_paginator("lookup_events").paginate():
        for found in page["Events"]:
            yield json.loads(found["CloudTrailEvent"])


def denied_events() -> list[dict[str, Any]]:
    """The denied calls of the lab's identities, the checks' own left out."""
    return [
        event
        for event in events()
        if event.get("errorCode") == "AccessDenied"
        and "who-lab-" in event["userIdentity"]["arn"]
        and not event["userIdentity"]["arn"].endswith("/check")
    ]


def denial(work: Work) -> str:
    """The learner's answers are what the event history says of the three attempts."""
    answers = records(work, "answers.json", DENIAL, "a list of three denials")
    known: dict[tuple[str, str, str], str] = {}
    there = set()
    for event in denied_events():
        if event["eventName"] in ATTEMPTS and (said := _SENTENCE.fullmatch(event["errorMessage"])):
            # The newest comes first, and counts: an attempt may have been made before the limits were right.
            known.setdefault((said[1], said[2], said[3]), _why(event["errorMessage"]))
            there.add(event["eventName"])
    if missing := [name for name in ATTEMPTS if name not in there]:
        raise NotAttempted(
            f"{len(there)} of the three attempts in the event history",
            "all three, and denied",
            f"run the two cells above again, the bucket's policy and the attempts, once the checks of the earlier "
            f"tasks are right; what is missing is {' and '.join(missing)}",
        )
    if not answers:
        raise NotAttempted("an empty list of answers", "three denials, each with who, action, resource and why")
    given = {(each["who"], each["action"], each["resource"]): each["why"] for each in answers}
    for key, why in given.items():
        if key not in known:
            raise Wrong(f"{key[1]} of {key[0]} on {key[2]}", "who, action and resource as AWS's sentences name them")
        if why not in WHYS:
            raise Wrong(f"{why!r} as the reason of {key[1]}", one_of(WHYS))
        if why != known[key]:
            raise Wrong(
                f"{why!r} for {key[1]}",
                "the reason in the last words of AWS's sentence",
                "the list above says what each ending means",
            )
    for name in ATTEMPTS:
        if name not in {action.partition(":")[2] for _, action, _ in given}:
            raise Wrong(f"no answer about {name}", "one for each of the three attempts")
    return f"three denials with their reasons: {', '.join(sorted(set(given.values())))}"


def _why(sentence: str) -> str:
    if "explicit deny" in sentence:
        return "explicit deny"
    return "boundary" if "no permissions boundary" in sentence else "no policy allows it"


def audit(work: Work) -> str:
    """The learner's list has the denied calls of the event history, and no others."""
    listed = records(work, "denied.json", DENIED_CALL, "the denied calls, each with id, when, who and what")
    if not listed:
        raise NotAttempted("an empty list of denied calls", "those of the two identities")
    known = {event["eventID"]: event for event in events() if event.get("errorCode") == "AccessDenied"}
    for each in listed:
        event = known.get(each["id"])
        if event is None:
            raise Wrong(f"{each['what']} with an id that no denied call has", "eventID of calls with AccessDenied")
        when, who, what = event["eventTime"], event["userIdentity"]["arn"], event["eventName"]
        if (each["who"], each["what"]) != (who, what) or moment(each["when"]) != moment(when):
            raise Wrong(
                f"{each['what']} of {each['who']} at {each['when']}", f"{what} of {who} at {when} under that id"
            )
        if "who-lab-" not in each["who"]:
            raise Wrong(f"a call of {each['who']}", "those of the two identities")
    newest = max(known[each["id"]]["eventTime"] for each in listed)
    missing = [
        event
        for event in denied_events()
        if event["eventTime"] <= newest and event["eventID"] not in {each["id"] for each in listed}
    ]
    if missing:
        raise Wrong(
            f"a list without {missing[0]['eventName']} of {missing[0]['userIdentity']['arn']}",
            "every denied call of both",
            "answers come in pages: a paginator reads them all",
        )
    if not {each["what"] for each in listed} >= set(ATTEMPTS):
        raise Wrong("a list without the three attempts of section 7", "every denied call of both")
    return f"{len(listed)} denied calls, all of them in the event history"
