"""The checks of ``foundations/gcp``: each right, wrong in ways that somebody could be, and not attempted."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.cloud import client
from labkit.cloud.state import Lab
from labkit.labs.beginner.gcp_cloud import Cloud, Refused
from labkit.labs.foundations import gcp_checks, gcp_trail
from labkit.labs.task import NotAttempted, Work, Wrong

PROJECT = "mlops-lab"
BUCKET = f"who-lab-{PROJECT}"
ME = f"serviceAccount:learner@{PROJECT}.iam.gserviceaccount.com"
IAM = "https://iam.googleapis.com/v1"
ACCOUNTS = f"{IAM}/projects/{PROJECT}/serviceAccounts"
DEPLOYER, CALLER = (f"who-lab-{name}@{PROJECT}.iam.gserviceaccount.com" for name in ("deployer", "caller"))
BELOW = f'resource.name.startsWith("projects/_/buckets/{BUCKET}/objects/scores/")'
OR_BUCKET = f'{BELOW} || resource.type == "storage.googleapis.com/Bucket"'
VIEWER, CREATOR, USER = (f"roles/storage.object{what}" for what in ("Viewer", "Creator", "User"))
ROLE = f"projects/{PROJECT}/roles/whoLabScores"
Binding = tuple[str, str, str]
RIGHT: list[Binding] = [(VIEWER, DEPLOYER, OR_BUCKET), (CREATOR, DEPLOYER, BELOW), (VIEWER, CALLER, BELOW)]


@pytest.fixture
def work(lab_clouds: Lab, tmp_path: Path) -> Work:
    """Empty clouds and an empty folder."""
    client.control(lab_clouds, "POST", "reset")
    (tmp_path / "gcp" / "build").mkdir(parents=True)
    return Work(tmp_path / "gcp", Path())


def post(url: str, body: Any = None) -> Any:
    return Cloud().call("POST", url, json=body or {})


def make_account(name: str) -> None:
    post(ACCOUNTS, {"accountId": f"who-lab-{name}"})


def bind(url: str, role: str, *members: str) -> None:
    policy = post(f"{url}:getIamPolicy")
    policy.setdefault("bindings", []).append({"role": role, "members": list(members)})
    post(f"{url}:setIamPolicy", {"policy": policy})


def make_deployer(*members: str) -> None:
    make_account("deployer")
    bind(f"{ACCOUNTS}/{DEPLOYER}", gcp_checks.CREATOR, *(members or (ME,)))


def make_key(work: Work, address: str = CALLER, file: str = "caller.json") -> str:
    made = post(f"{ACCOUNTS}/{address}/keys")
    path = work.folder / "build" / file
    path.write_bytes(base64.b64decode(made["privateKeyData"]))
    path.chmod(0o600)
    return str(made["name"])


def make_bucket(bindings: list[Binding]) -> None:
    cloud, storage = Cloud(), "https://storage.googleapis.com"
    settings = {"uniformBucketLevelAccess": {"enabled": True}}
    body = {"name": BUCKET, "iamConfiguration": settings}
    cloud.call("POST", f"{storage}/storage/v1/b?project={PROJECT}", json=body)
    for name in ("scores/2026-11.csv", "customers/customers.csv"):
        cloud.call("POST", f"{storage}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", data=b"x")
    set_bindings(bindings)


def set_bindings(bindings: list[Binding]) -> None:
    cloud, url = Cloud(), f"https://storage.googleapis.com/storage/v1/b/{BUCKET}/iam"
    held = cloud.call("GET", url, params={"optionsRequestedPolicyVersion": 3})
    kept = [each for each in held["bindings"] if "legacy" in each["role"]]
    for role, address, expression in bindings:
        binding: dict[str, Any] = {"role": role, "members": [f"serviceAccount:{address}"]}
        kept.append(binding | ({"condition": {"title": "t", "expression": expression}} if expression else {}))
    cloud.call("PUT", url, json={"version": 3, "etag": held["etag"], "bindings": kept})


@pytest.fixture
def both(work: Work) -> Work:
    """Both accounts, with the caller's key."""
    make_deployer()
    make_account("caller")
    make_key(work)
    return work


# deployer and caller -----------------------------------------------------------------------------------------------


def test_deployer_right(work: Work) -> None:
    make_deployer()
    assert gcp_checks.deployer(work) == f"{DEPLOYER}, which you can impersonate, without a key"


def test_deployer_not_attempted(work: Work) -> None:
    with pytest.raises(NotAttempted, match=f"no service account {DEPLOYER}"):
        gcp_checks.deployer(work)


def test_a_deployer_that_nobody_can_be_is_wrong(work: Work) -> None:
    make_account("deployer")
    with pytest.raises(Wrong, match=r"cannot impersonate \(Permission 'iam\.serviceAccounts\.getAccessToken' denied"):
        gcp_checks.deployer(work)


def test_a_deployer_that_others_can_be_is_wrong(work: Work) -> None:
    make_account("caller")
    make_deployer(ME, f"serviceAccount:{CALLER}")
    with pytest.raises(Wrong, match=f"on it for serviceAccount:{CALLER}"):
        gcp_checks.deployer(work)


def test_impersonation_of_the_whole_project_is_wrong(work: Work) -> None:
    make_account("deployer")
    bind(f"https://cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}", gcp_checks.CREATOR, ME)
    with pytest.raises(Wrong, match="on the whole project for"):
        gcp_checks.deployer(work)


def test_a_deployer_with_a_key_is_wrong(work: Work) -> None:
    make_deployer()
    make_key(work, DEPLOYER, "deployer.json")
    with pytest.raises(Wrong, match="an account with a key"):
        gcp_checks.deployer(work)


def test_caller_right(both: Work) -> None:
    assert gcp_checks.caller(both) == f"a key that signs in as {CALLER}"


def test_caller_not_attempted(work: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file gcp/build/caller\.json"):
        gcp_checks.caller(work)


def deleted_key(work: Work) -> None:
    delete(Cloud(), f"{IAM}/{make_key(work)}")


def open_file(work: Work) -> None:
    (work.folder / "build" / "caller.json").chmod(0o644)


def no_json(work: Work) -> None:
    (work.folder / "build" / "caller.json").write_text("key")


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (deleted_key, r"does not take \(invalid_grant: Invalid JWT Signature"),
        (lambda work: make_key(work, DEPLOYER), f"a key of {DEPLOYER}"),
        (open_file, "that others on this machine can read"),
        (no_json, "that is no JSON"),
    ],
)
def test_caller_wrong(both: Work, spoil: Callable[[Work], None], found: str) -> None:
    spoil(both)
    with pytest.raises(Wrong, match=found):
        gcp_checks.caller(both)


# policy and boundary -----------------------------------------------------------------------------------------------


def test_policy_right(both: Work) -> None:
    make_bucket(RIGHT)
    assert gcp_checks.policy(both) == "14 calls tried: what is needed is allowed, all else denied"
    assert gcp_checks.found(Cloud(), gcp_checks._object(Cloud(), gcp_checks.MARK)) is None


def test_policy_not_attempted(both: Work) -> None:
    with pytest.raises(NotAttempted, match=f"no bucket named {BUCKET}"):
        gcp_checks.policy(both)
    make_bucket([])
    with pytest.raises(NotAttempted, match="neither account in the bucket's policy"):
        gcp_checks.policy(both)


@pytest.mark.parametrize(
    ("bindings", "found", "hint"),
    [
        ([(VIEWER, DEPLOYER, BELOW), *RIGHT[1:]], "the deployer denied to list the bucket", gcp_checks.LIST_HINT),
        ([(VIEWER, DEPLOYER, ""), *RIGHT[1:]], "the deployer allowed to read customers/", gcp_checks.REACH_HINT),
        ([RIGHT[0], RIGHT[2]], "the deployer denied to write below scores/", gcp_checks.NEED_HINT),
        (
            [RIGHT[0], (CREATOR, DEPLOYER, ""), RIGHT[2]],
            "the deployer allowed to write below customers/",
            gcp_checks.REACH_HINT,
        ),
        (
            [(USER, DEPLOYER, OR_BUCKET), RIGHT[2]],
            "the deployer allowed to replace what is below scores/",
            gcp_checks.WRITE_HINT,
        ),
        (RIGHT[:2], "the caller denied to read below scores/", gcp_checks.NEED_HINT),
        ([*RIGHT[:2], (VIEWER, CALLER, OR_BUCKET)], "the caller allowed to list the bucket", gcp_checks.LIST_HINT),
        ([*RIGHT[:2], (VIEWER, CALLER, "")], "the caller allowed to list the bucket", gcp_checks.LIST_HINT),
        (
            [*RIGHT, (CREATOR, CALLER, BELOW)],
            "the caller allowed to write below scores/",
            "reading is all that the caller needs: objectViewer, with the condition below_scores",
        ),
    ],
)
def test_policy_wrong(both: Work, bindings: list[Binding], found: str, hint: str) -> None:
    make_bucket(bindings)
    with pytest.raises(Wrong, match=found) as wrong:
        gcp_checks.policy(both)
    assert wrong.value.hint == hint


def test_a_role_on_the_project_that_shows_in_no_call_is_wrong(both: Work) -> None:
    make_bucket(RIGHT)
    project = f"https://cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}"
    bind(project, "roles/aiplatform.user", f"serviceAccount:{CALLER}")
    with pytest.raises(Wrong, match=r"roles/aiplatform\.user on the whole project for the caller"):
        gcp_checks.policy(both)


def make_role(*permissions: str, **more: str) -> None:
    included = list(permissions or gcp_checks.PERMISSIONS)
    role = {"title": "Scores", "includedPermissions": included, "stage": "GA", **more}
    post(f"{IAM}/projects/{PROJECT}/roles", {"roleId": "whoLabScores", "role": role})


def test_boundary_right(both: Work) -> None:
    make_role()
    make_bucket([(ROLE, DEPLOYER, OR_BUCKET), RIGHT[2]])
    assert gcp_checks.boundary(both).startswith("a role of three permissions")


def test_boundary_not_attempted(both: Work) -> None:
    make_bucket(RIGHT)
    with pytest.raises(NotAttempted, match="no role whoLabScores"):
        gcp_checks.boundary(both)


@pytest.mark.parametrize(
    ("permissions", "stage", "bindings", "found"),
    [
        ((*gcp_checks.PERMISSIONS, "storage.objects.delete"), "GA", [], r"a role with storage\.objects\.delete"),
        (("storage.objects.get", "storage.objects.list"), "GA", [], r"a role without storage\.objects\.create"),
        ((), "DISABLED", [], "switched off"),
        ((), "GA", [], "no conditional binding of that role"),
        ((), "GA", [(ROLE, DEPLOYER, "")], "no conditional binding of that role"),
        ((), "GA", [(ROLE, DEPLOYER, OR_BUCKET), RIGHT[0]], f"{VIEWER} beside it"),
        ((), "GA", [(ROLE, DEPLOYER, BELOW)], "the deployer denied to list the bucket"),
    ],
)
def test_boundary_wrong(both: Work, permissions: Any, stage: str, bindings: list[Binding], found: str) -> None:
    make_role(*permissions, stage=stage)
    make_bucket(bindings)
    with pytest.raises(Wrong, match=found):
        gcp_checks.boundary(both)


# denial and audit --------------------------------------------------------------------------------------------------


@pytest.fixture
def attempted(both: Work) -> Work:
    """The three attempts of section 7, made."""
    make_bucket([*RIGHT, ("roles/storage.admin", DEPLOYER, 'request.time < timestamp("2026-01-01T00:00:00Z")')])
    bind(f"{ACCOUNTS}/{CALLER}", "roles/iam.serviceAccountAdmin", f"serviceAccount:{DEPLOYER}")
    deployer, caller = gcp_checks.as_deployer(Cloud()), gcp_checks.as_caller(both)
    statuses = [
        caller.post(f"{ACCOUNTS}/{CALLER}/keys", json={}).status_code,
        deployer.post(ACCOUNTS, json={"accountId": "who-lab-intruder"}).status_code,
        deployer.delete(f"https://storage.googleapis.com/storage/v1/b/{BUCKET}").status_code,
    ]
    assert statuses == [403, 403, 403]
    return both


ANSWERS = [
    ("iam.serviceAccountKeys.create", CALLER, f"projects/{PROJECT}/serviceAccounts/{CALLER}", "no binding"),
    ("iam.serviceAccounts.create", DEPLOYER, f"projects/{PROJECT}", "bound elsewhere"),
    ("storage.buckets.delete", DEPLOYER, f"projects/_/buckets/{BUCKET}", "condition"),
]


def answer(work: Work, change: Callable[[list[dict[str, str]]], object] = lambda _: None) -> None:
    fields = ("action", "who", "resource", "why")
    answers = [dict(zip(fields, each, strict=True)) for each in ANSWERS]
    change(answers)
    (work.folder / "build" / "answers.json").write_text(json.dumps(answers))


def test_denial_right(attempted: Work) -> None:
    answer(attempted)
    assert gcp_trail.denial(attempted) == "three denials with their reasons: bound elsewhere, condition, no binding"


def test_denial_not_attempted(both: Work) -> None:
    with pytest.raises(NotAttempted, match=r"no file gcp/build/answers\.json"):
        gcp_trail.denial(both)
    answer(both)
    with pytest.raises(NotAttempted, match="0 of the three attempts in the audit log"):
        gcp_trail.denial(both)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda answers: answers.pop(), r"no answer about storage\.buckets\.delete"),
        (lambda answers: answers[0].update(why="condition"), r"'condition' for iam\.serviceAccountKeys\.create"),
        (lambda answers: answers[1].update(who=CALLER), f"'{CALLER}' for who of iam"),
        (lambda answers: answers[2].update(resource="the bucket"), "'the bucket' for resource"),
        (lambda answers: answers[2].update(action="storage.objects.get"), r"a permission 'storage\.objects\.get'"),
        (lambda answers: answers[1].pop("why"), r"entry 2 of gcp/build/answers\.json without why"),
        (lambda answers: answers[0].update(who=None), r"entry 1 of gcp/build/answers\.json with null under who"),
    ],
)
def test_denial_wrong(attempted: Work, change: Callable[[Any], object], found: str) -> None:
    answer(attempted, change)
    with pytest.raises(Wrong, match=found):
        gcp_trail.denial(attempted)


def test_a_reason_that_there_is_not(attempted: Work) -> None:
    answer(attempted, lambda answers: answers[0].update(why="no role"))
    with pytest.raises(Wrong, match="'no role' as the reason of iam") as wrong:
        gcp_trail.denial(attempted)
    assert wrong.value.expected == "one of 'no binding', 'bound elsewhere', 'condition'"


def list_denied(work: Work, change: Callable[[list[dict[str, str]]], object] = lambda _: None) -> None:
    listed = [
        {
            "id": entry["insertId"],
            "when": entry["timestamp"],
            "who": entry["protoPayload"]["authenticationInfo"]["principalEmail"],
            "what": entry["protoPayload"]["methodName"],
        }
        for entry in gcp_trail.denied_entries(Cloud())
    ]
    change(listed)
    (work.folder / "build" / "denied.json").write_text(json.dumps(listed))


def test_audit_right(attempted: Work) -> None:
    list_denied(attempted)
    assert gcp_trail.audit(attempted) == "3 denied calls, all of them in the audit log"


def test_audit_not_attempted(attempted: Work) -> None:
    list_denied(attempted, lambda listed: listed.clear())
    with pytest.raises(NotAttempted, match="an empty list of denied calls"):
        gcp_trail.audit(attempted)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda listed: listed.pop(0), "a list without google"),
        (lambda listed: listed.pop(), "a list without the three attempts"),
        (lambda listed: listed[0].update(id="x"), "with an id that no denied call has"),
        (lambda listed: listed[0].update(who=DEPLOYER), f"of {DEPLOYER}"),
        (lambda listed: listed[0].update(when="2020-01-01T00:00:00"), "at 2020-01-01"),
        (lambda listed: listed.append("one more"), r"text as entry 4 of gcp/build/denied\.json"),
    ],
)
def test_audit_wrong(attempted: Work, change: Callable[[Any], object], found: str) -> None:
    list_denied(attempted, change)
    with pytest.raises(Wrong, match=found):
        gcp_trail.audit(attempted)


# rotate and cleanup ------------------------------------------------------------------------------------------------


def test_rotate(both: Work) -> None:
    old = both.folder / "build" / "caller.json"
    (both.folder / "build" / "caller-old.json").write_bytes(old.read_bytes())
    with pytest.raises(NotAttempted, match="the same key as before"):
        gcp_checks.rotate(both)
    identifier = json.loads(old.read_text())["private_key_id"]
    make_key(both)
    with pytest.raises(Wrong, match="an old key that still works"):
        gcp_checks.rotate(both)
    cloud = Cloud()
    post(f"{ACCOUNTS}/{CALLER}/keys/{identifier}:disable")
    with pytest.raises(Wrong, match="an old key that is disabled and still there"):
        gcp_checks.rotate(both)
    delete(cloud, f"{ACCOUNTS}/{CALLER}/keys/{identifier}")
    assert gcp_checks.rotate(both) == "a new key that works and an old one that is refused"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", r"caller-old\.json that is no JSON \(line 1, column 2: "),
        ("[]", r"a list as gcp/build/caller-old\.json"),
        ('{"client_email": "x"}', r"caller-old\.json without private_key_id"),
        ('{"client_email": "x", "private_key_id": "y"}', r"caller-old\.json that is no key"),
    ],
)
def test_rotate_with_an_old_key_that_is_none(both: Work, text: str, found: str) -> None:
    (both.folder / "build" / "caller-old.json").write_text(text)
    with pytest.raises(Wrong, match=found):
        gcp_checks.rotate(both)


def test_cleanup(both: Work) -> None:
    make_bucket(RIGHT)
    make_role()
    with pytest.raises(NotAttempted, match=f"the bucket {BUCKET}, the account who-lab-deployer, the account who-lab-c"):
        gcp_checks.cleanup(both)
    cloud = Cloud()
    storage = f"https://storage.googleapis.com/storage/v1/b/{BUCKET}"
    for name in ("scores%2F2026-11.csv", "customers%2Fcustomers.csv"):
        delete(cloud, f"{storage}/o/{name}")
    delete(cloud, storage)
    delete(cloud, f"{ACCOUNTS}/{DEPLOYER}")
    with pytest.raises(Wrong, match="the account who-lab-caller and the role whoLabScores still there"):
        gcp_checks.cleanup(both)
    delete(cloud, f"{ACCOUNTS}/{CALLER}")
    delete(cloud, f"{IAM}/{ROLE}")
    assert gcp_checks.cleanup(both) == "no account, role or bucket of this lab left"


def delete(cloud: Cloud, url: str) -> None:
    """Deletes; Cloud Storage answers that with nothing at all."""
    from google.auth.transport.requests import AuthorizedSession

    answer = AuthorizedSession(cloud.credentials).delete(url)
    if not answer.ok:
        raise Refused(answer)


def test_cleanup_before_anything_was_done_is_not_attempted(work: Work) -> None:
    with pytest.raises(NotAttempted, match="no account ever made"):
        gcp_checks.cleanup(work)
