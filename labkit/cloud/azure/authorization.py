"""Azure RBAC: who has which role on what, and the decision that follows for each action.

A role counts on the scope that it was given on and on all below it; what several roles grant adds up; nothing but a
role that grants an action allows it. https://learn.microsoft.com/azure/role-based-access-control/overview#how-azure-rbac-determines-if-a-user-has-access-to-a-resource
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from labkit.cloud.azure import roles
from labkit.cloud.azure.identity import Identities, Identity
from labkit.cloud.azure.roles import Role
from labkit.cloud.azure.wire import time_text
from labkit.cloud.engine.access import ALLOWED, Caller, Decision

TYPE = "Microsoft.Authorization/roleAssignments"
#: What the learner is from the beginning: an administrator of the subscription and of the data in it.
LEARNERS_ROLES = ("Owner", "Storage Blob Data Owner")
#: Ends of the actions that ask after an operation of the caller's own; a provider declares them free of roles.
_FREE = ("/mfeoperationsstatus/read", "/mfeoperationresults/read", "/operationstatuses/read", "/operationresults/read")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One role of one principal on one scope (a resource's id, without a slash at its end)."""

    name: str
    scope: str
    role: Role
    principal: str
    principal_type: str = "ServicePrincipal"
    description: str | None = None
    created: datetime | None = None
    updated: datetime | None = None
    by: str = ""

    @property
    def id(self) -> str:
        return f"{self.scope}/providers/{TYPE}/{self.name}"

    def covers(self, resource: str) -> bool:
        """Whether the scope is the resource, or is above it."""
        mine, asked = self.scope.lower(), resource.lower()
        return asked == mine or asked.startswith(f"{mine}/")

    def view(self, subscription: str) -> dict[str, Any]:
        return {
            "properties": {
                "roleDefinitionId": self.role.id(subscription),
                "principalId": self.principal,
                "principalType": self.principal_type,
                "scope": self.scope,
                "condition": None,
                "conditionVersion": None,
                "createdOn": time_text(self.created) if self.created else None,
                "updatedOn": time_text(self.updated) if self.updated else None,
                "createdBy": self.by,
                "updatedBy": self.by,
                "delegatedManagedIdentityResourceId": None,
                "description": self.description,
            },
            "id": self.id,
            "type": TYPE,
            "name": self.name,
        }


class Authorization:
    """The roles and assignments of the lab's subscription: a :class:`labkit.cloud.engine.access.Model`.

    Safe to use from any thread.
    """

    def __init__(self, identities: Identities, now: Callable[[], datetime]) -> None:
        self._identities = identities
        self._now = now
        #: Held by whoever looks first and then changes.
        self.lock = threading.RLock()
        self._custom: dict[str, Role] = {}
        self._assigned: dict[str, dict[str, Assignment]] = {}
        self.reset()

    def reset(self) -> None:
        """Forgets every role and assignment but the learner's own."""
        with self.lock:
            self._custom, self._assigned = {}, {}
            for name in LEARNERS_ROLES:
                scope = f"/subscriptions/{self._identities.subscription}"
                self.assign(roles.named(name), self._identities.learner.object_id, scope)

    # -- deciding --------------------------------------------------------------------------------------------------

    def decide(self, caller: Caller, action: str, resource: str, context: Mapping[str, Any]) -> Decision:
        """Whether a caller's roles allow an action on a resource, with Resource Manager's sentence where not."""
        if self.allows(caller.principal, action, resource):
            return ALLOWED
        return Decision(
            False,
            f"{self.client(caller.principal)} does not have authorization to perform action '{action}' over scope "
            f"'{resource}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
        )

    def allows(self, principal: str, action: str, resource: str) -> bool:
        """Whether a principal (an object id) may do ``action`` on a resource (its id)."""
        if action.lower().endswith(_FREE):
            return True
        mine = self._assigned.get(principal, {})
        return any(each.covers(resource) and each.role.grants(action) for each in list(mine.values()))

    def client(self, principal: str) -> str:
        """A principal as Azure's sentences begin with it."""
        known = self._identities.find(principal)
        return f"The client '{known.client_id if known else principal}' with object id '{principal}'"

    # -- assignments -----------------------------------------------------------------------------------------------

    def assign(
        self, role: Role, principal: str, scope: str, *, name: str = "", by: str = "", description: str | None = None
    ) -> Assignment:
        """Gives a principal a role on a scope; one of the same name is replaced."""
        now = self._now()
        with self.lock:
            old = self.assignment(name) if name else None
            made = Assignment(
                name or str(uuid.uuid4()), scope.rstrip("/"), role, principal, description=description, by=by
            )
            made = replace(made, created=old.created if old else now, updated=now)
            self._assigned.setdefault(principal, {})[made.name.lower()] = made
        return made

    def assignments(self) -> list[Assignment]:
        """Every assignment, the oldest first."""
        with self.lock:
            return [each for mine in self._assigned.values() for each in mine.values()]

    def assignment(self, name: str) -> Assignment | None:
        """The assignment with this name (a GUID), or None."""
        return next((each for each in self.assignments() if each.name.lower() == name.lower()), None)

    def has_any(self, principal: str) -> bool:
        """Whether a principal has a role anywhere in the subscription."""
        return bool(self._assigned.get(principal))

    def of(self, principal: str) -> list[Assignment]:
        """A principal's assignments."""
        with self.lock:
            return list(self._assigned.get(principal, {}).values())

    def remove(self, assignment: Assignment) -> None:
        """Takes an assignment away."""
        with self.lock:
            self._assigned.get(assignment.principal, {}).pop(assignment.name.lower(), None)

    def forget(self, resource: str) -> None:
        """Takes away the assignments on a resource that is no more, and on what was below it."""
        for each in self.assignments():
            if replace(each, scope=resource).covers(each.scope):
                self.remove(each)

    def grant(self, identity: Identity, name: str, scope: str) -> None:
        """Gives a managed identity a built-in role, as a service does for its own resources, unless it has it."""
        role = roles.named(name)
        with self.lock:
            mine = self._assigned.get(identity.object_id, {}).values()
            if not any(each.role is role and each.scope.lower() == scope.lower() for each in mine):
                self.assign(role, identity.object_id, scope)

    # -- definitions -----------------------------------------------------------------------------------------------

    def roles(self) -> Iterator[Role]:
        """Every role, the built-in ones first."""
        with self.lock:
            yield from [*roles.built_in().values(), *self._custom.values()]

    def role(self, guid: str) -> Role | None:
        """The role with this GUID, or None."""
        return roles.built_in().get(guid.lower()) or self._custom.get(guid.lower())

    def define(self, role: Role) -> None:
        """Makes a custom role, or changes one: who has it has the new permissions."""
        with self.lock:
            self._custom[role.guid.lower()] = role
            for mine in self._assigned.values():
                for name, each in mine.items():
                    if each.role.guid.lower() == role.guid.lower():
                        mine[name] = replace(each, role=role)

    def undefine(self, role: Role) -> None:
        """Deletes a custom role that nobody has."""
        with self.lock:
            self._custom.pop(role.guid.lower(), None)

    def missing(self, principal: str, action: str, scopes: Collection[str]) -> list[str]:
        """The scopes among ``scopes`` on which a principal may not do ``action``."""
        return [scope for scope in scopes if not self.allows(principal, action, scope)]
