"""Identity and Access Management of the whole cloud: its accounts, roles and policies, and what they decide.

Bindings on a resource and on what is above it add up; nothing takes a permission away but a condition that does not
hold, a role that is disabled, or an account that is. https://cloud.google.com/iam/docs/overview
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.engine.access import ALLOWED, Caller, Decision
from labkit.cloud.gcp import iam_resources, permissions
from labkit.cloud.gcp.iam_members import ALL_AUTHENTICATED, ALL_USERS, CONVENIENCE
from labkit.cloud.gcp.iam_policies import BUCKET, PROJECT, Binding, Policies, Policy
from labkit.cloud.gcp.iam_resources import Place
from labkit.cloud.gcp.iam_roles import CustomRoles
from labkit.cloud.gcp.identity import LEARNER
from labkit.cloud.gcp.resource_names import parse
from labkit.cloud.gcp.service_accounts import Account, Accounts, project_named

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud

#: Decisions that are remembered until something changes.
KEPT = 4096
#: What every project's own accounts of Google's may do. https://cloud.google.com/iam/docs/service-agents
_AGENTS = {
    "roles/aiplatform.serviceAgent": "service-{number}@gcp-sa-aiplatform.iam.gserviceaccount.com",
    "roles/aiplatform.customCodeServiceAgent": "service-{number}@gcp-sa-aiplatform-cc.iam.gserviceaccount.com",
    "roles/editor": "{number}-compute@developer.gserviceaccount.com",
}


class Iam:
    """The cloud's model of permissions: an :class:`labkit.cloud.engine.access.Model`."""

    def __init__(self, cloud: GcpCloud) -> None:
        self._cloud = cloud
        self.roles = CustomRoles()
        self.policies = Policies(self._initial)
        self.accounts = Accounts(
            lambda project: cloud.projects.find(project).number,
            cloud.projects.id_of,
            cloud.engine.clock.now,
        )
        self._remembered: dict[tuple[str, str, str], bool] = {}
        self._of = -1
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forgets all but what was there in the beginning."""
        self.accounts.clear()
        self.roles.clear()
        self.policies.clear()
        self.accounts.given(LEARNER.project, LEARNER.email, LEARNER.unique_id, "The learner of this lab")

    # -- decisions -------------------------------------------------------------------------------------------------

    def decide(self, caller: Caller, action: str, resource: str, context: Mapping[str, Any]) -> Decision:
        """Whether the caller has the permission ``action`` on ``resource``, named as requests name it.

        Cloud Storage's are ``projects/_/buckets/BUCKET/objects/NAME``. ``context`` may have ``service`` (an API's
        name, such as ``aiplatform``), whose resource it is where the permission's own is another.
        """
        key = (caller.principal, action, resource)
        with self._lock:
            if self._of != self.policies.changes:
                self._remembered.clear()
                self._of = self.policies.changes
            known = self._remembered.get(key)
        if known is not None:
            return ALLOWED if known else Decision(False, permissions.denial(caller.principal, action, resource))
        changes = self.policies.changes
        place = self.place(action, resource, str(context.get("service", "")))
        if place is None:
            return ALLOWED
        allowed, always = self._granted(caller.principal, action, place)
        if always and place.service != "storage.googleapis.com":
            with self._lock:
                if len(self._remembered) >= KEPT:
                    self._remembered.clear()
                if changes == self._of:
                    self._remembered[key] = allowed
        return ALLOWED if allowed else Decision(False, permissions.denial(caller.principal, action, resource))

    def place(self, action: str, resource: str, service: str = "") -> Place | None:
        """The place of a resource; None for a bucket that does not exist, of which there is nothing to protect."""
        names = parse(resource)
        if bucket := names.get("buckets") if names.get("projects") == "_" else None:
            found = self._cloud.buckets.find(bucket)
            inner = resource.partition(f"/buckets/{bucket}/objects/")[2]
            return iam_resources.bucket_place(found.project, bucket, inner) if found else None
        if "serviceAccounts" in names:
            account = self.accounts.find(names["serviceAccounts"])
            if account is not None:
                return iam_resources.account_place(account.project, account.email, account.unique_id)
        named = names.get("projects", "-")
        if named == "-":
            named = project_named(names.get("serviceAccounts", "")) or self._cloud.projects.own.id
        project = self._cloud.projects.find(named)
        if len(names) <= 1:
            return iam_resources.project_place(project.id, project.number)
        return iam_resources.other_place(service or action.partition(".")[0], resource, project.id)

    def allowed(self, principal: str, action: str, place: Place) -> bool:
        """Whether a principal (an address; ``""``: nobody known) has a permission on what is at ``place``."""
        return self._granted(principal, action, place)[0]

    def _granted(self, principal: str, action: str, place: Place) -> tuple[bool, bool]:
        """Whether it is granted, and whether that stays so as long as no policy changes."""
        always = True
        for name in place.policies:
            policy = self.policies.get(name)
            for binding in policy.bindings if policy else ():
                if not self._is_member(principal, binding, name) or action not in self.roles.granted(binding.role):
                    continue
                if binding.condition is None:
                    return True, True
                always = False
                if binding.condition.holds(self._attributes(place)):
                    return True, False
        return False, always

    def _attributes(self, place: Place) -> dict[str, Any]:
        return {
            "request.time": self._cloud.engine.clock.now(),
            "resource.service": place.service,
            "resource.type": place.kind,
            "resource.name": place.name,
        }

    def _is_member(self, principal: str, binding: Binding, resource: str) -> bool:
        public = resource.startswith("//storage.googleapis.com/") and self._is_closed(resource)
        for member in binding.members:
            if member in (ALL_USERS, ALL_AUTHENTICATED):
                if not public and (member == ALL_USERS or principal):
                    return True
                continue
            if principal and member == f"serviceAccount:{principal}":
                return True
            kind, _, project = member.partition(":")
            if kind in CONVENIENCE and self._has_basic(principal, CONVENIENCE[kind], project):
                return True
        return False

    def _has_basic(self, principal: str, role: str, project: str) -> bool:
        policy = self.policies.get(f"{PROJECT}{project}")
        member = f"serviceAccount:{principal}"
        return any(each.role == role and member in each.members for each in policy.bindings) if policy else False

    def _is_closed(self, resource: str) -> bool:
        """Whether public access to a bucket is prevented, whatever its policy says."""
        bucket = self._cloud.buckets.find(resource.rpartition("/")[2])
        settings = bucket.properties.get("iamConfiguration") if bucket else None
        return isinstance(settings, dict) and settings.get("publicAccessPrevention") == "enforced"

    def project_of(self, resource: str) -> str:
        """The id of the project that a resource (its full name) is in, ``""`` for a bucket that is not there."""
        if resource.startswith(BUCKET):
            bucket = self._cloud.buckets.find(resource.removeprefix(BUCKET))
            return bucket.project if bucket else ""
        return resource.split("/")[4]

    def _initial(self, resource: str) -> Policy:
        """The policy that a project or bucket begins with.

        The learner owns each project, and Google's accounts have their roles in it. A bucket's owners are its
        project's: https://cloud.google.com/storage/docs/access-control/iam-roles#basic-roles-modifiable.
        """
        if resource.startswith(BUCKET):
            project = self.project_of(resource)
            owners = (f"projectEditor:{project}", f"projectOwner:{project}")
            viewers = (f"projectViewer:{project}",)
            return Policy(
                tuple(
                    Binding(f"roles/storage.legacy{what}", members)
                    for what, members in (
                        ("BucketOwner", owners),
                        ("BucketReader", viewers),
                        ("ObjectOwner", owners),
                        ("ObjectReader", viewers),
                    )
                )
            )
        of = self._cloud.projects.find(resource.removeprefix(PROJECT))
        bindings = [
            Binding(role, (f"serviceAccount:{email.format(number=of.number)}",)) for role, email in _AGENTS.items()
        ]
        return Policy((*bindings, Binding("roles/owner", (f"serviceAccount:{LEARNER.email}",))))

    # -- identities ------------------------------------------------------------------------------------------------

    def act_as(self, caller: Caller, email: str) -> None:
        """Raises ``PERMISSION_DENIED`` unless the caller may hand work over to a service account.

        https://cloud.google.com/iam/docs/service-account-permissions#act-as
        """
        from labkit.cloud.engine.errors import Denied
        from labkit.cloud.gcp.errors import GcpError

        account = self.accounts.find(email)
        project = account.project if account else "-"
        resource = f"projects/{project}/serviceAccounts/{email}"
        try:
            if not self.accounts.exists(email):
                raise Denied(f"There is no account {email}.")
            self._cloud.engine.access.authorize(caller, "iam.serviceAccounts.actAs", resource)
        except Denied:
            raise GcpError(
                "PERMISSION_DENIED",
                f"You do not have permission to act as service_account: {email}. (or it may not exist).",
            ) from None

    def account(self, email: str) -> Account | None:
        """The account of an address, None for one that is not there, or is Google's own."""
        return self.accounts.find(email)

    def state(self, email: str) -> str:
        """``"active"``, ``"disabled"`` or ``"gone"``: whether an account may call."""
        account = self.accounts.find(email)
        if account is None:
            return "active" if self.accounts.exists(email) else "gone"
        return "disabled" if account.disabled else "active"

    def caller(self, email: str) -> Caller:
        """An account as a caller: of what the clouds do in its name."""
        account = self.accounts.find(email)
        return Caller("gcp", email, account.project if account else "", "")

    def missing(self, email: str, actions: tuple[str, ...], resource: str) -> list[str]:
        """Which permissions on a resource an account lacks."""
        caller = self.caller(email)
        return [each for each in actions if not self.decide(caller, each, resource, {}).allowed]
