"""Azure RBAC: the table of cases, through the engine; and what is asked of it through the clouds."""

from __future__ import annotations

import uuid

import pytest

from labkit.cloud.azure import AzureCloud, roles
from labkit.cloud.azure.roles import CUSTOM, Permission, Role
from labkit.cloud.engine.access import Caller
from labkit.cloud.engine.errors import Denied
from tests.cloud.azure.rbac_cases import CASES, Case

_ALL = [(page, case) for page, cases in CASES.items() for case in cases]


def test_there_are_enough_cases() -> None:
    assert len(_ALL) >= 60


@pytest.mark.parametrize(("page", "case"), _ALL, ids=[case[0] for _, case in _ALL])
def test_case(cloud: AzureCloud, page: str, case: Case) -> None:
    _, given, action, resource, allowed = case
    subscription = cloud.identities.subscription
    who = cloud.identities.assign(f"/subscriptions/{subscription}/case")
    for role, scope in given:
        chosen = roles.named(role) if isinstance(role, str) else custom(role)
        cloud.authorization.assign(chosen, who.object_id, scope.format(subscription=subscription))
    caller = Caller("azure", who.object_id, cloud.identities.tenant, "")
    resource = resource.format(subscription=subscription)
    try:
        decision = cloud.authorization.decide(caller, action, resource, {})
        assert decision.allowed == allowed, page
        if not allowed:
            assert decision.message == (
                f"The client '{who.client_id}' with object id '{who.object_id}' does not have authorization to perform "
                f"action '{action}' over scope '{resource}' or the scope is invalid. If access was recently granted, "
                "please refresh your credentials."
            )
            with pytest.raises(Denied):
                cloud.engine.access.authorize(caller, action, resource)
    finally:
        for each in cloud.authorization.of(who.object_id):
            cloud.authorization.remove(each)


def custom(permission: dict[str, list[str]]) -> Role:
    """A custom role of one permission."""
    return Role(str(uuid.uuid4()), "A role", "", CUSTOM, (Permission.read(permission),))


def test_built_in_roles_are_azures() -> None:
    assert roles.named("Owner").guid == "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
    assert roles.named("Storage Blob Data Reader").guid == "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
    assert all(uuid.UUID(guid) for guid in roles.built_in())
    assert len(roles.built_in()) > 30
