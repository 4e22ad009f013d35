"""What the lab ``foundations/gcp`` checks: it signs in as the learner's accounts and tries what they can do.

It asks over REST (:mod:`labkit.labs.beginner.gcp_cloud`): importing the SDK would take longer than all the checks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import requests
from google.auth import impersonated_credentials
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport.requests import AuthorizedSession
from google.auth.transport.requests import Request as AuthRequest
from google.oauth2 import service_account

from labkit.labs import trials
from labkit.labs.beginner.churn import shown
from labkit.labs.beginner.gcp_cloud import SCOPE, TIMEOUT, Cloud, Refused, Resource
from labkit.labs.foundations.files import record
from labkit.labs.foundations.gcp_trail import entries
from labkit.labs.phrases import together
from labkit.labs.task import NotAttempted, Work, Wrong
from labkit.labs.trials import Trial

IAM = "https://iam.googleapis.com/v1"
STORAGE = "https://storage.googleapis.com/storage/v1/b"
UPLOAD = "https://storage.googleapis.com/upload/storage/v1/b"
CREATOR = "roles/iam.serviceAccountTokenCreator"
#: What the custom role has.
PERMISSIONS = {"storage.objects.create", "storage.objects.get", "storage.objects.list"}
#: What every key of an account has, and where a key comes from.
KEY, KEY_HINT = (
    ("client_email", "private_key_id"),
    "private_key_data holds the whole file, as create_service_account_key answers it",
)
#: What helps with a call that ends otherwise than it has to.
LIST_HINT = "a list is asked of the bucket: the binding of who is to list has the condition or_the_bucket, no other has"
NEED_HINT = "this needs a binding of a role that has the permission, with a condition just as in below_scores"
REACH_HINT = "a binding without a condition, or with a wider one, reaches the whole bucket: below_scores narrows it"
WRITE_HINT = (
    "storage.objects.create alone writes new objects: objectCreator has it, while objectUser and objectAdmin also "
    "replace and delete"
)
MORE_HINT = "some binding gives a role that is about more than objects, on the bucket, the account or the project"
#: The object that a check writes and takes away again.
MARK = "scores/check"


def email(cloud: Cloud, name: str) -> str:
    """The address of ``deployer`` or ``caller``."""
    return f"who-lab-{name}@{cloud.project}.iam.gserviceaccount.com"


def bucket(cloud: Cloud) -> str:
    return f"who-lab-{cloud.project}"


# -- signing in ----------------------------------------------------------------------------------------------------


def as_deployer(cloud: Cloud) -> AuthorizedSession:
    """A session of the deployer; what Google says where it cannot be impersonated is :class:`Wrong`."""
    credentials = impersonated_credentials.Credentials(cloud.credentials, email(cloud, "deployer"), [SCOPE])
    try:
        credentials.refresh(AuthRequest())
    except RefreshError as error:
        raise Wrong(
            f"an account that you cannot impersonate ({_said(error)})", f"{CREATOR} on it for {me(cloud)}"
        ) from None
    return AuthorizedSession(credentials)


def as_caller(work: Work, file: str = "caller.json") -> AuthorizedSession:
    """A session of the caller, by the key in a file of the learner's; raises ``RefreshError`` where it is refused."""
    path = work.folder / "build" / file
    record(work, file, KEY, "a key of the account as JSON", KEY_HINT, KEY_HINT)
    try:
        credentials = service_account.Credentials.from_service_account_file(str(path), scopes=[SCOPE])
    except (ValueError, GoogleAuthError) as error:
        raise Wrong(f"a {shown(work, path)} that is no key ({error})", "what private_key_data holds") from None
    credentials.refresh(AuthRequest())
    return AuthorizedSession(credentials)


def me(cloud: Cloud) -> str:
    cloud.credentials.refresh(AuthRequest())
    return str(getattr(cloud.credentials, "service_account_email", "you"))


def _said(error: RefreshError) -> str:
    """Google's sentence in an error of its authentication library."""
    for part in error.args:
        try:
            return str(json.loads(part)["error"]["message"])
        except (ValueError, TypeError, KeyError):
            continue
    return str(error.args[0]) if error.args else "no token"


def found(cloud: Cloud, url: str) -> Resource | None:
    """A resource, None where there is none."""
    try:
        return cloud.call("GET", url)
    except Refused as refused:
        if refused.status == 404:
            return None
        raise


# -- tasks ---------------------------------------------------------------------------------------------------------


def deployer(_: Work) -> str:
    """The account is there, has no key, and the learner alone can impersonate it."""
    cloud = Cloud()
    address = email(cloud, "deployer")
    name = f"{IAM}/projects/{cloud.project}/serviceAccounts/{address}"
    expected = f"an account {address.partition('@')[0]} that you can impersonate, and nobody else"
    if found(cloud, name) is None:
        raise NotAttempted(f"no service account {address}", expected)
    if cloud.call("GET", f"{name}/keys", params={"keyTypes": "USER_MANAGED"}).get("keys"):
        raise Wrong("an account with a key", "one without: who impersonates it needs none")
    you = f"serviceAccount:{me(cloud)}"
    own = cloud.call("POST", f"{name}:getIamPolicy").get("bindings", [])
    for bindings, where in ((own, "it"), (_of_project(cloud), "the whole project")):
        for binding in bindings:
            others = [each for each in binding["members"] if each != you or where != "it"]
            if binding["role"] == CREATOR and others:
                raise Wrong(f"{CREATOR} on {where} for {others[0]}", expected)
    as_deployer(cloud)
    return f"{address}, which you can impersonate, without a key"


def _of_project(cloud: Cloud) -> list[Resource]:
    """The bindings of the project's policy."""
    url = f"https://cloudresourcemanager.googleapis.com/v3/projects/{cloud.project}:getIamPolicy"
    return list(cloud.call("POST", url).get("bindings", []))


def caller(work: Work) -> str:
    """The key in the file is the caller's, and is taken."""
    cloud = Cloud()
    address = email(cloud, "caller")
    expected = f"a key of {address}"
    key = record(work, "caller.json", KEY, expected, KEY_HINT, KEY_HINT)
    if key["client_email"] != address:
        raise Wrong(f"a key of {key['client_email']}", expected)
    try:
        as_caller(work)
    except RefreshError as error:
        raise Wrong(f"a key that Google does not take ({_said(error)})", expected) from None
    if (work.folder / "build" / "caller.json").stat().st_mode & 0o077:
        raise Wrong("a key file that others on this machine can read", "one for you alone", "key_file.chmod(0o600)")
    return f"a key that signs in as {address}"


def policy(work: Work) -> str:
    """Each account can do what it needs and nothing else: all of it tried."""
    cloud = Cloud()
    if not any(_bound(cloud, email(cloud, name)) for name in ("deployer", "caller")):
        raise NotAttempted("neither account in the bucket's policy", "conditional bindings for both")
    try:
        tried = trials.run("the deployer", _of_deployer(cloud, as_deployer(cloud)), is_denied)
        tried += trials.run("the caller", _of_caller(cloud, as_caller(work)), is_denied)
    finally:
        _forget_mark(cloud)
    for binding in _of_project(cloud):
        for name in ("deployer", "caller"):
            if f"serviceAccount:{email(cloud, name)}" in binding["members"]:
                raise Wrong(f"{binding['role']} on the whole project for the {name}", "bindings on the bucket alone")
    return f"{tried} calls tried: what is needed is allowed, all else denied"


def _bound(cloud: Cloud, address: str) -> list[tuple[str, bool]]:
    """The roles that an account has in the bucket's policy, each with whether there is a condition."""
    try:
        held = cloud.call("GET", f"{STORAGE}/{bucket(cloud)}/iam", params={"optionsRequestedPolicyVersion": 3})
    except Refused as refused:
        if refused.status != 404:
            raise
        raise NotAttempted(f"no bucket named {bucket(cloud)}", "the bucket of section 3") from None
    member = f"serviceAccount:{address}"
    return [(each["role"], "condition" in each) for each in held.get("bindings", []) if member in each["members"]]


def _of_deployer(cloud: Cloud, session: AuthorizedSession) -> Iterator[Trial]:
    def objects(method: str, name: str) -> Callable[[], requests.Response]:
        return lambda: session.request(method, _object(cloud, name), timeout=TIMEOUT)

    def listing() -> requests.Response:
        return session.get(f"{at}/o", params={"prefix": "scores/"}, timeout=TIMEOUT)

    at = f"{STORAGE}/{bucket(cloud)}"
    yield Trial("list the bucket", True, listing, LIST_HINT)
    yield Trial("write below scores/", True, lambda: _put(cloud, session, MARK), NEED_HINT)
    yield Trial("read below scores/", True, objects("GET", MARK), NEED_HINT)
    yield Trial("read customers/", False, objects("GET", "customers/customers.csv"), REACH_HINT)
    yield Trial("write below customers/", False, lambda: _put(cloud, session, "customers/check"), REACH_HINT)
    yield Trial("replace what is below scores/", False, lambda: _put(cloud, session, MARK), WRITE_HINT)
    yield Trial("delete below scores/", False, objects("DELETE", MARK), WRITE_HINT)
    yield Trial("read the bucket's policy", False, lambda: session.get(f"{at}/iam", timeout=TIMEOUT), MORE_HINT)
    yield Trial("list the project's accounts", False, lambda: _accounts(cloud, session), MORE_HINT)


def _of_caller(cloud: Cloud, session: AuthorizedSession) -> Iterator[Trial]:
    def ask(url: str) -> Callable[[], requests.Response]:
        return lambda: session.get(url, timeout=TIMEOUT)

    keys = f"{IAM}/projects/{cloud.project}/serviceAccounts/{email(cloud, 'caller')}/keys"
    reads = "reading is all that the caller needs: objectViewer, with the condition below_scores"
    yield Trial("read below scores/", True, ask(_object(cloud, MARK)), NEED_HINT)
    yield Trial("write below scores/", False, lambda: _put(cloud, session, "scores/check-2"), reads)
    yield Trial("list the bucket", False, ask(f"{STORAGE}/{bucket(cloud)}/o"), LIST_HINT)
    yield Trial("read customers/", False, ask(_object(cloud, "customers/customers.csv")), REACH_HINT)
    yield Trial("list its own keys", False, ask(keys), MORE_HINT)


def _object(cloud: Cloud, name: str) -> str:
    return f"{STORAGE}/{bucket(cloud)}/o/{name.replace('/', '%2F')}"


def _put(cloud: Cloud, session: AuthorizedSession, name: str) -> requests.Response:
    where = {"uploadType": "media", "name": name}
    return session.post(f"{UPLOAD}/{bucket(cloud)}/o", params=where, data=b"check", timeout=TIMEOUT)


def _accounts(cloud: Cloud, session: AuthorizedSession) -> requests.Response:
    return session.get(f"{IAM}/projects/{cloud.project}/serviceAccounts", timeout=TIMEOUT)


def _forget_mark(cloud: Cloud) -> None:
    for name in (MARK, "scores/check-2", "customers/check"):
        if found(cloud, _object(cloud, name)) is not None:
            AuthorizedSession(cloud.credentials).delete(_object(cloud, name), timeout=TIMEOUT)


def is_denied(call: Callable[[], Any]) -> bool:
    """Whether Google denies a call; that it fails for another reason is no denial."""
    answer = call()
    if answer.status_code == 401:
        raise Refused(answer)
    return bool(answer.status_code == 403)


def boundary(work: Work) -> str:
    """The deployer has one role on the bucket, a custom one of three permissions, and can do its work with it."""
    cloud = Cloud()
    name = f"projects/{cloud.project}/roles/whoLabScores"
    expected = "a custom role whoLabScores with the three permissions"
    role = found(cloud, f"{IAM}/{name}")
    if role is None or role.get("deleted"):
        raise NotAttempted("no role whoLabScores in the project", expected)
    has = set(role.get("includedPermissions", []))
    if has != PERMISSIONS:
        odd = sorted(has ^ PERMISSIONS)[0]
        raise Wrong(f"a role {'with' if odd in has else 'without'} {odd}", expected)
    if role.get("stage") == "DISABLED":
        raise Wrong("a role that is switched off (stage DISABLED)", "stage GA")
    bound = [each for each in _bound(cloud, email(cloud, "deployer")) if each[0] != "roles/storage.admin"]
    if (name, True) not in bound:
        raise Wrong("no conditional binding of that role for the deployer", f"{name} with the condition or_the_bucket")
    if others := [each for each, _ in bound if each != name]:
        raise Wrong(f"{others[0]} beside it", "that role alone", "take the deployer's other bindings out of the policy")
    try:
        trials.run("the deployer", _of_deployer(cloud, as_deployer(cloud)), is_denied)
    finally:
        _forget_mark(cloud)
    return "a role of three permissions, the deployer's only one, and enough for its work"


def rotate(work: Work) -> str:
    """The new key works, the old one does not."""
    old = record(work, "caller-old.json", KEY, "a copy of the old key, which the cell above makes", KEY_HINT, KEY_HINT)
    new = record(work, "caller.json", KEY, "the new key", KEY_HINT, KEY_HINT)
    if old["private_key_id"] == new["private_key_id"]:
        raise NotAttempted("the same key as before", "a new one in build/caller.json")
    caller(work)
    try:
        as_caller(work, "caller-old.json")
    except RefreshError:
        cloud = Cloud()
        name = f"projects/{cloud.project}/serviceAccounts/{email(cloud, 'caller')}/keys/{old['private_key_id']}"
        if found(cloud, f"{IAM}/{name}"):
            hint = "a key that is disabled can be enabled again; delete_service_account_key takes its name"
            raise Wrong("an old key that is disabled and still there", "that it is deleted", hint) from None
        return "a new key that works and an old one that is refused"
    raise Wrong("an old key that still works", "a refusal of it", "delete_service_account_key takes the old key's name")


def cleanup(_: Work) -> str:
    """Nothing of the lab is left, and there was something once."""
    cloud = Cloud()
    role = found(cloud, f"{IAM}/projects/{cloud.project}/roles/whoLabScores")
    kept = [f"the bucket {bucket(cloud)}"] if cloud.storage(bucket(cloud)) else []
    for name in ("deployer", "caller"):
        if found(cloud, f"{IAM}/projects/{cloud.project}/serviceAccounts/{email(cloud, name)}"):
            kept.append(f"the account who-lab-{name}")
    kept += ["the role whoLabScores"] if role and not role.get("deleted") else []
    expected = "a project without anything of this lab"
    if kept:
        raise (NotAttempted if len(kept) == 4 else Wrong)(f"{together(kept)} still there", expected)
    made = 'protoPayload.methodName="google.iam.admin.v1.CreateServiceAccount" AND severity=NOTICE'
    if not entries(cloud, made):
        raise NotAttempted("no account ever made", "one that was used and then deleted")
    return "no account, role or bucket of this lab left"
