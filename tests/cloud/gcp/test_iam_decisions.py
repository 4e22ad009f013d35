"""What IAM decides: cases in groups, each with the page of Google's documentation that it follows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from labkit.cloud.engine import Engine
from labkit.cloud.gcp import GcpCloud, iam_policy_service, iam_resources
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.iam_policies import PROJECT, Policy
from labkit.cloud.gcp.iam_roles import CustomRole
from labkit.cloud.gcp.identity import LEARNER
from labkit.cloud.gcp.service_accounts import Account
from labkit.cloud.gcp.storage_store import Bucket

_numbers = itertools.count(1)
P, B, S, E = "project", "bucket", "service account", "endpoint"


@dataclass
class Setting:
    """A project with an account, a bucket and names of resources; policies are set on them as callers set them."""

    cloud: GcpCloud
    project: str = field(default_factory=lambda: f"decided-{next(_numbers)}")

    def __post_init__(self) -> None:
        iam, now = self.cloud.iam, self.cloud.engine.clock.now()
        self.account: Account = iam.accounts.create(self.project, "worker", "", "")
        self.other: Account = iam.accounts.create(self.project, "runs-model", "", "")
        self.bucket = f"{self.project}-bucket"
        uniform = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
        self.cloud.buckets.add(Bucket(self.bucket, self.project, "US", now, now, properties=dict(uniform)))
        for name, included in {
            "predicts": {"aiplatform.endpoints.predict"},
            "reads": {"storage.objects.get", "storage.objects.list"},
        }.items():
            iam.roles.add(CustomRole(f"projects/{self.project}/roles/{name}", "", "", "GA", frozenset(included)))

    @property
    def endpoint(self) -> str:
        return f"projects/{self.project}/locations/us-central1/endpoints/42"

    def named(self, what: str) -> str:
        """A resource as a call names it."""
        bucket = f"projects/_/buckets/{self.bucket}"
        return {
            P: f"projects/{self.project}",
            B: bucket,
            S: f"projects/{self.project}/serviceAccounts/{self.other.email}",
            E: self.endpoint,
            "other endpoint": f"{self.endpoint}1",
            "models": f"projects/{self.project}/locations/us-central1",
        }.get(what, f"{bucket}/objects/{what}")

    def bind(self, what: str, role: str, member: str = "", condition: str = "") -> None:
        """Binds the account (or another member) to a role on a resource, beside what is bound there."""
        full = {
            P: f"{PROJECT}{self.project}",
            B: iam_resources.bucket_name(self.bucket),
            S: iam_resources.account_name(self.project, self.other.email),
            E: f"//aiplatform.googleapis.com/{self.endpoint}",
        }[what]
        iam = self.cloud.iam
        held = iam.policies.get(full) or Policy()
        role = role.replace("roles/custom.", f"projects/{self.project}/roles/")
        asked: dict[str, Any] = {"role": role, "members": [member or self.account.member]}
        if condition:
            asked["condition"] = {"title": "a condition", "expression": condition.replace("BUCKET", self.bucket)}
        made = Policy((*held.bindings, *iam_policy_service.read_bindings(iam, full, [asked])))
        iam.policies.set(full, made, version=3, etag=held.etag)

    def may(self, permission: str, what: str, email: str = "") -> bool:
        caller = self.cloud.iam.caller(email or self.account.email)
        return self.cloud.iam.decide(caller, permission, self.named(what), {}).allowed


@pytest.fixture
def setting(cloud: GcpCloud) -> Setting:
    return Setting(cloud)


GET, PUT, DELETE, LIST = (f"storage.objects.{verb}" for verb in ("get", "create", "delete", "list"))
PREDICT, DEPLOY = "aiplatform.endpoints.predict", "aiplatform.endpoints.deploy"
ACT, TOKEN = "iam.serviceAccounts.actAs", "iam.serviceAccounts.getAccessToken"
USER, TOKENS = "roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator"
BELOW_A = 'resource.name.startsWith("projects/_/buckets/BUCKET/objects/a/")'

#: (name, [(resource, role[, condition])], permission, on what, whether it is granted), by the page that says so.
CASES: dict[str, list[tuple[str, list[tuple[str, ...]], str, str, bool]]] = {
    # Nothing is granted that is not bound.
    "https://cloud.google.com/iam/docs/overview": [
        ("nobody may predict", [], PREDICT, E, False),
        ("nobody may read", [], GET, "a/1", False),
        ("nobody may look", [], "resourcemanager.projects.get", P, False),
        ("nobody may act as", [], ACT, S, False),
    ],
    "https://cloud.google.com/iam/docs/roles-overview#basic": [
        ("viewer reads endpoints", [(P, "roles/viewer")], "aiplatform.endpoints.get", E, True),
        ("viewer predicts: the basic role has more than Vertex AI's", [(P, "roles/viewer")], PREDICT, E, True),
        ("viewer does not deploy", [(P, "roles/viewer")], DEPLOY, E, False),
        ("editor deploys", [(P, "roles/editor")], DEPLOY, E, True),
        ("editor sets no policy", [(P, "roles/editor")], "resourcemanager.projects.setIamPolicy", P, False),
        ("owner sets the policy", [(P, "roles/owner")], "resourcemanager.projects.setIamPolicy", P, True),
        ("owner makes no tokens", [(P, "roles/owner")], TOKEN, S, False),
        ("owner acts as", [(P, "roles/owner")], ACT, S, True),
        ("editor acts as", [(P, "roles/editor")], ACT, S, True),
        ("viewer does not act as", [(P, "roles/viewer")], ACT, S, False),
    ],
    "https://cloud.google.com/storage/docs/access-control/iam-roles#basic-roles-modifiable": [
        ("owner reads by the bucket", [(P, "roles/owner")], GET, "a/1", True),
        ("editor writes by the bucket", [(P, "roles/editor")], PUT, "a/1", True),
        ("viewer reads by the bucket", [(P, "roles/viewer")], GET, "a/1", True),
        ("viewer writes nothing", [(P, "roles/viewer")], PUT, "a/1", False),
        ("editor sets a bucket's policy", [(P, "roles/editor")], "storage.buckets.setIamPolicy", B, True),
    ],
    "https://cloud.google.com/vertex-ai/docs/general/access-control#predefined-roles": [
        ("user predicts", [(P, "roles/aiplatform.user")], PREDICT, E, True),
        ("user uploads models", [(P, "roles/aiplatform.user")], "aiplatform.models.upload", "models", True),
        ("user sets no policy", [(P, "roles/aiplatform.user")], "aiplatform.endpoints.setIamPolicy", E, False),
        ("admin sets a policy", [(P, "roles/aiplatform.admin")], "aiplatform.endpoints.setIamPolicy", E, True),
        ("viewer reads", [(P, "roles/aiplatform.viewer")], "aiplatform.endpoints.list", "models", True),
        ("viewer does not predict", [(P, "roles/aiplatform.viewer")], PREDICT, E, False),
        ("user reads no objects", [(P, "roles/aiplatform.user")], GET, "a/1", False),
        ("user acts as nobody", [(P, "roles/aiplatform.user")], ACT, S, False),
    ],
    "https://cloud.google.com/storage/docs/access-control/iam-roles": [
        ("objectViewer reads", [(B, "roles/storage.objectViewer")], GET, "a/1", True),
        ("objectViewer lists", [(B, "roles/storage.objectViewer")], LIST, B, True),
        ("objectViewer writes nothing", [(B, "roles/storage.objectViewer")], PUT, "a/1", False),
        ("objectCreator writes", [(B, "roles/storage.objectCreator")], PUT, "a/1", True),
        ("objectCreator does not read", [(B, "roles/storage.objectCreator")], GET, "a/1", False),
        ("objectCreator does not replace", [(B, "roles/storage.objectCreator")], DELETE, "a/1", False),
        ("objectUser deletes", [(B, "roles/storage.objectUser")], DELETE, "a/1", True),
        ("objectUser deletes no bucket", [(B, "roles/storage.objectUser")], "storage.buckets.delete", B, False),
        ("objectAdmin deletes", [(B, "roles/storage.objectAdmin")], DELETE, "a/1", True),
        ("objectAdmin deletes no bucket", [(B, "roles/storage.objectAdmin")], "storage.buckets.delete", B, False),
        ("admin deletes the bucket", [(P, "roles/storage.admin")], "storage.buckets.delete", B, True),
        ("legacyBucketReader lists", [(B, "roles/storage.legacyBucketReader")], LIST, B, True),
        ("legacyBucketReader reads nothing", [(B, "roles/storage.legacyBucketReader")], GET, "a/1", False),
        ("legacyObjectReader reads", [(B, "roles/storage.legacyObjectReader")], GET, "a/1", True),
        ("legacyObjectReader lists nothing", [(B, "roles/storage.legacyObjectReader")], LIST, B, False),
    ],
    # What is granted on the project holds below it; what is granted below holds there only; both add up.
    "https://cloud.google.com/iam/docs/resource-hierarchy-access-control": [
        ("project's reaches a bucket", [(P, "roles/storage.objectViewer")], GET, "a/1", True),
        ("bucket's stays there", [(B, "roles/storage.admin")], "storage.buckets.create", P, False),
        ("bucket's reaches no endpoint", [(B, "roles/storage.admin")], PREDICT, E, False),
        ("both add up", [(P, "roles/viewer"), (B, "roles/storage.objectCreator")], PUT, "a/1", True),
    ],
    "https://cloud.google.com/vertex-ai/docs/general/endpoint-access-control": [
        ("endpoint's role", [(E, "roles/aiplatform.user")], PREDICT, E, True),
        ("not another endpoint", [(E, "roles/aiplatform.user")], PREDICT, "other endpoint", False),
        ("not the project", [(E, "roles/aiplatform.user")], "aiplatform.endpoints.list", "models", False),
        ("a custom role there", [(E, "roles/custom.predicts")], PREDICT, E, True),
    ],
    "https://cloud.google.com/iam/docs/creating-custom-roles": [
        ("a custom role gives what it has", [(P, "roles/custom.predicts")], PREDICT, E, True),
        ("and nothing else", [(P, "roles/custom.predicts")], "aiplatform.endpoints.get", E, False),
        ("on a bucket", [(B, "roles/custom.reads")], GET, "a/1", True),
        ("on a bucket, nothing else", [(B, "roles/custom.reads")], PUT, "a/1", False),
    ],
    "https://cloud.google.com/iam/docs/service-account-permissions": [
        ("User acts as", [(S, USER)], ACT, S, True),
        ("User makes no tokens", [(S, USER)], TOKEN, S, False),
        ("TokenCreator makes tokens", [(S, TOKENS)], TOKEN, S, True),
        ("TokenCreator does not act as", [(S, TOKENS)], ACT, S, False),
        ("User on the project", [(P, USER)], ACT, S, True),
        ("KeyAdmin makes keys", [(P, "roles/iam.serviceAccountKeyAdmin")], "iam.serviceAccountKeys.create", S, True),
        (
            "KeyAdmin makes no accounts",
            [(P, "roles/iam.serviceAccountKeyAdmin")],
            "iam.serviceAccounts.create",
            P,
            False,
        ),
    ],
    "https://cloud.google.com/logging/docs/access-control": [
        ("viewer reads entries", [(P, "roles/logging.viewer")], "logging.logEntries.list", P, True),
        ("viewer not private ones", [(P, "roles/logging.viewer")], "logging.privateLogEntries.list", P, False),
        ("private", [(P, "roles/logging.privateLogViewer")], "logging.privateLogEntries.list", P, True),
        ("writer writes", [(P, "roles/logging.logWriter")], "logging.logEntries.create", P, True),
        ("writer reads nothing", [(P, "roles/logging.logWriter")], "logging.logEntries.list", P, False),
    ],
    "https://cloud.google.com/iam/docs/conditions-attribute-reference": [
        ("name begins so", [(B, "roles/storage.objectViewer", BELOW_A)], GET, "a/1", True),
        ("name begins otherwise", [(B, "roles/storage.objectViewer", BELOW_A)], GET, "b/1", False),
        ("a list has the bucket's name", [(B, "roles/storage.objectViewer", BELOW_A)], LIST, B, False),
        ("name ends so", [(B, "roles/storage.objectViewer", 'resource.name.endsWith(".csv")')], GET, "a.csv", True),
        ("name ends otherwise", [(B, "roles/storage.objectViewer", 'resource.name.endsWith(".csv")')], GET, "a", False),
        (
            "extract",
            [(B, "roles/storage.objectViewer", 'resource.name.extract("/objects/{top}/") == "a"')],
            GET,
            "a/b/c",
            True,
        ),
        (
            "type of an object",
            [(P, "roles/storage.admin", 'resource.type == "storage.googleapis.com/Object"')],
            GET,
            "a/1",
            True,
        ),
        (
            "type of a bucket",
            [(P, "roles/storage.admin", 'resource.type == "storage.googleapis.com/Object"')],
            "storage.buckets.delete",
            B,
            False,
        ),
        (
            "service",
            [(P, "roles/storage.admin", 'resource.service != "storage.googleapis.com"')],
            GET,
            "a/1",
            False,
        ),
        ("Vertex AI gives no names", [(P, "roles/aiplatform.user", 'resource.name.endsWith("42")')], PREDICT, E, False),
        (
            "in time",
            [(P, "roles/aiplatform.user", 'request.time < timestamp("2099-01-01T00:00:00Z")')],
            PREDICT,
            E,
            True,
        ),
        (
            "too late",
            [(P, "roles/aiplatform.user", 'request.time < timestamp("2020-01-01T00:00:00Z")')],
            PREDICT,
            E,
            False,
        ),
        (
            "or",
            [(P, "roles/aiplatform.user", '!(request.time.getHours("Europe/Berlin") < 0) || false')],
            PREDICT,
            E,
            True,
        ),
        (
            "an unconditional one beside it",
            [(B, "roles/storage.objectViewer", "false"), (B, "roles/storage.objectViewer")],
            GET,
            "a/1",
            True,
        ),
    ],
}


@pytest.mark.parametrize(
    ("bindings", "permission", "what", "granted"),
    [
        pytest.param(*case[1:], id=f"{page.rpartition('/')[2]}: {case[0]}")
        for page, cases in CASES.items()
        for case in cases
    ],
)
def test_it_is_decided(
    setting: Setting, bindings: list[tuple[str, ...]], permission: str, what: str, granted: bool
) -> None:
    for on, role, *condition in bindings:
        setting.bind(on, role, condition=condition[0] if condition else "")
    assert setting.may(permission, what) is granted


def test_there_are_enough_cases() -> None:
    assert sum(len(cases) for cases in CASES.values()) >= 60


# who is bound ----------------------------------------------------------------------------------------------------


def test_another_projects_account_has_what_it_is_bound_to(setting: Setting, cloud: GcpCloud) -> None:
    stranger = Setting(cloud)
    stranger.bind(P, "roles/owner")
    assert not setting.may(GET, "a/1", stranger.account.email)
    setting.bind(B, "roles/storage.objectViewer", stranger.account.member)
    assert setting.may(GET, "a/1", stranger.account.email)
    assert not setting.may(PUT, "a/1", stranger.account.email)


def test_all_users_are_nobody_too_unless_the_bucket_is_closed(setting: Setting, cloud: GcpCloud) -> None:
    place = iam_resources.bucket_place(setting.project, setting.bucket, "a/1")
    setting.bind(B, "roles/storage.objectViewer", "allAuthenticatedUsers")
    assert setting.may(GET, "a/1")
    assert not cloud.iam.allowed("", GET, place)
    setting.bind(B, "roles/storage.objectViewer", "allUsers")
    assert cloud.iam.allowed("", GET, place)
    bucket = cloud.buckets.get(setting.bucket)
    bucket.properties["iamConfiguration"] = {"publicAccessPrevention": "enforced"}
    assert not cloud.iam.allowed("", GET, place)
    assert not setting.may(GET, "a/1")


def test_a_deleted_account_is_bound_no_more_even_when_its_name_is_back(setting: Setting, cloud: GcpCloud) -> None:
    """https://cloud.google.com/iam/docs/service-accounts-delete-undelete"""
    setting.bind(P, "roles/aiplatform.user")
    accounts, policies = cloud.iam.accounts, cloud.iam.policies
    account = setting.account
    accounts.delete(account)
    policies.rename_member(account.member, account.deleted_member)
    assert cloud.iam.state(account.email) == "gone"
    again = accounts.create(setting.project, "worker", "", "")
    assert (again.email, setting.may(PREDICT, E)) == (account.email, False)
    accounts.delete(again)
    accounts.undelete(account.unique_id)
    policies.rename_member(account.deleted_member, account.member)
    assert setting.may(PREDICT, E)


def test_a_custom_role_that_is_disabled_or_deleted_gives_nothing(setting: Setting, cloud: GcpCloud) -> None:
    setting.bind(P, "roles/custom.predicts")
    role = cloud.iam.roles.find(f"projects/{setting.project}/roles/predicts")
    assert role is not None
    assert setting.may(PREDICT, E)
    role.stage = "DISABLED"
    cloud.iam.policies.changed()
    assert not setting.may(PREDICT, E)


def test_a_condition_follows_the_labs_time(setting: Setting, engine: Engine) -> None:
    until = (engine.clock.now() + timedelta(hours=1)).isoformat()
    setting.bind(P, "roles/aiplatform.user", condition=f'request.time < timestamp("{until}")')
    assert setting.may(PREDICT, E)
    engine.clock.advance(timedelta(hours=2), progress=lambda _: None)
    assert not setting.may(PREDICT, E)


# what cannot be set --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "member", "condition", "code", "message"),
    [
        (
            "roles/viewer",
            "worker@x.iam.gserviceaccount.com",
            "",
            "INVALID_ARGUMENT",
            "is of an unknown type. Please set",
        ),
        ("roles/viewer", "robot:x@y.z", "", "INVALID_ARGUMENT", "is of an unknown type"),
        ("roles/viewer", "serviceAccount:a@b.iam.gserviceaccount.com", "", "INVALID_ARGUMENT", "does not exist."),
        ("roles/viewer", "serviceAccount:jo@example.com", "", "INVALID_ARGUMENT", 'is of type "user". Please set the'),
        ("roles/viewer", "principal://iam.googleapis.com/x", "", "UNIMPLEMENTED", "workload identity federation"),
        ("roles/viewer", "deleted:jo", "", "INVALID_ARGUMENT", "ends with ?uid="),
        (
            "roles/nothing",
            "user:jo@example.com",
            "",
            "INVALID_ARGUMENT",
            "Role roles/nothing is not supported for this",
        ),
        ("roles/storage.legacyBucketOwner", "user:jo@example.com", "", "INVALID_ARGUMENT", "is not supported for this"),
        (
            "projects/p12345/roles/mine",
            "user:jo@example.com",
            "",
            "INVALID_ARGUMENT",
            "does not exist in the resource's",
        ),
        (
            "roles/viewer",
            "user:jo@example.com",
            "true",
            "INVALID_ARGUMENT",
            "Conditions cannot be set on the basic role",
        ),
        (
            "roles/browser",
            "user:jo@example.com",
            "request.auth.access_levels",
            "UNIMPLEMENTED",
            "do not evaluate request.auth",
        ),
        ("roles/browser", "user:jo@example.com", 'resource.matchTag("a/b", "c")', "UNIMPLEMENTED", "resource.matchTag"),
        ("roles/browser", "user:jo@example.com", 'api.getAttribute("x", [])', "UNIMPLEMENTED", "api.getAttribute"),
        (
            "roles/browser",
            "user:jo@example.com",
            'resource.name.matches("x")',
            "UNIMPLEMENTED",
            "matches() of a string",
        ),
        ("roles/browser", "user:jo@example.com", "true ? true : false", "UNIMPLEMENTED", "the operator ?"),
        ("roles/viewer", "allUsers", "", "INVALID_ARGUMENT", "Member allUsers is invalid due to membership type"),
        ("roles/browser", "user:jo@example.com", "request.time <", "INVALID_ARGUMENT", "compilation failed"),
        ("roles/browser", "user:jo@example.com", "resource.name", "INVALID_ARGUMENT", "has to be true or false"),
        ("roles/browser", "user:jo@example.com", "resource.name < 3", "INVALID_ARGUMENT", "no matching overload"),
        (
            "roles/browser",
            "user:jo@example.com",
            'request.time < timestamp("soon")',
            "INVALID_ARGUMENT",
            "is no timestamp",
        ),
    ],
)
def test_a_binding_that_cannot_be(
    setting: Setting, role: str, member: str, condition: str, code: str, message: str
) -> None:
    with pytest.raises(GcpError) as caught:
        setting.bind(P, role, member, condition)
    assert caught.value.code == code
    assert message in caught.value.message


def test_bindings_to_a_role_that_was_deleted_stay_and_no_new_ones_come(setting: Setting) -> None:
    """https://cloud.google.com/iam/docs/creating-custom-roles#deleting-custom-role"""
    role, member = f"projects/{setting.project}/roles/predicts", f"serviceAccount:{setting.account.email}"
    setting.bind(P, role, member)
    custom = setting.cloud.iam.roles.find(role)
    assert custom is not None
    custom.deleted = setting.cloud.engine.clock.now()
    iam, name = setting.cloud.iam, f"{PROJECT}{setting.project}"
    policy = iam.policies.get(name)
    assert policy is not None
    sent = [{"role": each.role, "members": list(each.members)} for each in policy.bindings]
    read = iam_policy_service.read_bindings(iam, name, [*sent, {"role": "roles/viewer", "members": [member]}])
    assert {role, "roles/viewer"} <= {each.role for each in read}
    with pytest.raises(GcpError, match="does not exist in the resource's hierarchy"):
        setting.bind(B, role, member)


def test_users_groups_and_domains_are_kept(setting: Setting) -> None:
    for member in ("user:Jo@Example.com", "group:ops@example.com", "domain:example.com"):
        setting.bind(P, "roles/viewer", member)
    policy = setting.cloud.iam.policies.get(f"{PROJECT}{setting.project}")
    assert policy is not None
    kept = {member for binding in policy.bindings if binding.role == "roles/viewer" for member in binding.members}
    assert kept == {"user:jo@example.com", "group:ops@example.com", "domain:example.com"}


# the methods -----------------------------------------------------------------------------------------------------


def test_every_served_method_needs_a_permission_that_there_is_and_that_the_learner_has() -> None:
    from labkit.cloud.gcp import front, iam_roles, permissions, schema, storage

    asked = {route.permission for route in storage.tables()} - {""}
    resource = "projects/p/locations/l/endpoints/1"
    for methods in schema.methods().values():
        for method in methods.values():
            service = front.service_of(method)
            if service and method.name in service.METHODS:
                asked.add(permissions.of(method, getattr(service, "PERMISSIONS", {}), resource))
    unknown = asked - {""} - iam_roles.permissions()
    assert not unknown
    of_buckets = ("storage.objects", "storage.buckets", "storage.managedFolders")
    of_objects = {each for each in asked if each.startswith(of_buckets)}
    assert not asked - {""} - of_objects - iam_roles.predefined()["roles/owner"].permissions


def test_the_learner_owns_every_project(cloud: GcpCloud) -> None:
    caller = cloud.iam.caller(LEARNER.email)
    for project in ("mlops-lab", "any-other-one"):
        assert cloud.iam.decide(caller, DEPLOY, f"projects/{project}/locations/l/endpoints/1", {}).allowed
