"""What the audit log knows of the lab ``foundations/gcp``, and the checks of what learners read in it."""

from __future__ import annotations

from labkit.labs.beginner.gcp_cloud import Cloud, Resource
from labkit.labs.foundations.files import DENIAL, DENIED_CALL, moment, one_of, records
from labkit.labs.task import NotAttempted, Work, Wrong

#: The attempts of section 7: the permission -> why it was denied.
ATTEMPTS = {
    "iam.serviceAccountKeys.create": "no binding",
    "iam.serviceAccounts.create": "bound elsewhere",
    "storage.buckets.delete": "condition",
}


def entries(cloud: Cloud, more: str) -> list[Resource]:
    """The entries of the project's Admin Activity log that a filter means, oldest first."""
    log = f"projects/{cloud.project}/logs/cloudaudit.googleapis.com%2Factivity"
    body = {"resourceNames": [f"projects/{cloud.project}"], "filter": f'logName="{log}" AND {more}', "pageSize": 1000}
    return list(cloud.call("POST", "https://logging.googleapis.com/v2/entries:list", json=body).get("entries", []))


def denied_entries(cloud: Cloud) -> list[Resource]:
    """The denied calls of the lab's accounts."""
    return entries(cloud, 'protoPayload.status.code=7 AND protoPayload.authenticationInfo.principalEmail:"who-lab-"')


def told(entry: Resource) -> dict[str, str]:
    """Who was denied which permission on what, by an entry."""
    payload = entry["protoPayload"]
    asked = payload["authorizationInfo"][-1]
    return {
        "who": payload["authenticationInfo"]["principalEmail"],
        "action": asked["permission"],
        "resource": payload["resourceName"],
    }


def denial(work: Work) -> str:
    """The learner's answers are what the audit log says of the three attempts."""
    answers = records(work, "answers.json", DENIAL, "a list of three denials")
    wanted = {}
    for entry in denied_entries(Cloud()):
        said = told(entry)
        if said["action"] in ATTEMPTS:
            wanted[said["action"]] = said
    if len(wanted) < len(ATTEMPTS):
        found = f"{len(wanted)} of the three attempts in the audit log"
        raise NotAttempted(found, "all three", "run the cell with the three attempts again")
    if not answers:
        raise NotAttempted("an empty list of answers", "three denials, each with who, action, resource and why")
    given = {answer["action"]: answer for answer in answers}
    for action in given:
        if action not in wanted:
            raise Wrong(f"a permission {action!r}", "the permissions that Google's sentences name")
    for action, said in wanted.items():
        if action not in given:
            raise Wrong(f"no answer about {action}", "one for each of the three attempts")
        for field in ("who", "resource"):
            if given[action][field] != said[field]:
                raise Wrong(f"{given[action][field]!r} for {field} of {action}", "what the call was made by and on")
        why = given[action]["why"]
        if why not in ATTEMPTS.values():
            raise Wrong(f"{why!r} as the reason of {action}", one_of(list(ATTEMPTS.values())))
        if why != ATTEMPTS[action]:
            raise Wrong(
                f"{why!r} for {action}",
                "the reason that the policies show",
                "look at what two cells above was bound, where, and until when",
            )
    return f"three denials with their reasons: {', '.join(sorted(ATTEMPTS.values()))}"


def audit(work: Work) -> str:
    """The learner's list has the denied calls of the audit log, and no others."""
    listed = records(work, "denied.json", DENIED_CALL, "the denied calls, each with id, when, who and what")
    if not listed:
        raise NotAttempted("an empty list of denied calls", "those of the two accounts")
    known = {entry["insertId"]: entry for entry in denied_entries(Cloud())}
    newest = ""
    for each in listed:
        entry = known.get(each["id"])
        if entry is None:
            raise Wrong(f"{each['what']} with an id that no denied call has", "insert_id of calls with status.code 7")
        payload = entry["protoPayload"]
        truth = (payload["authenticationInfo"]["principalEmail"], payload["methodName"])
        if (each["who"], each["what"]) != truth:
            raise Wrong(f"{each['what']} of {each['who']}", f"{truth[1]} of {truth[0]} under that id")
        if moment(each["when"]) != moment(entry["timestamp"]):
            raise Wrong(f"{each['what']} at {each['when']}", f"{entry['timestamp']}, when that call was made")
        newest = max(newest, entry["timestamp"])
    missing = [
        entry for entry in known.values() if entry["timestamp"] <= newest and entry["insertId"] not in _ids(listed)
    ]
    if missing:
        raise Wrong(f"a list without {missing[0]['protoPayload']['methodName']}", "every denied call of both")
    tried = {told(known[each["id"]])["action"] for each in listed}
    if not tried >= set(ATTEMPTS):
        raise Wrong("a list without the three attempts of section 7", "every denied call of both")
    return f"{len(listed)} denied calls, all of them in the audit log"


def _ids(listed: list[Resource]) -> set[str]:
    return {str(each["id"]) for each in listed}
