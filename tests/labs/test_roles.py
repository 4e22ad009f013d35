"""What the checks read out of Azure role definitions."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.labs import roles

ML = "Microsoft.MachineLearningServices/workspaces"


@pytest.mark.parametrize(
    ("role", "action", "allowed"),
    [
        ({"Actions": [f"{ML}/read"]}, f"{ML}/read", True),
        ({"actions": [f"{ML}/READ".lower()]}, f"{ML}/read", True),
        ({"Actions": [f"{ML}/read"]}, f"{ML}/write", False),
        ({"Actions": [f"{ML}/*/read"]}, f"{ML}/onlineEndpoints/deployments/read", True),
        ({"Actions": ["*"], "NotActions": ["Microsoft.Authorization/*/write"]}, f"{ML}/read", True),
        (
            {"Actions": ["*"], "NotActions": ["Microsoft.Authorization/*/Write"]},
            "Microsoft.Authorization/roleAssignments/write",
            False,
        ),
        ({"DataActions": ["*"]}, f"{ML}/read", False),
        ({"Actions": f"{ML}/read"}, f"{ML}/read", True),
        ({"Actions": None}, f"{ML}/read", False),
        ({"Actions": [f"{ML}/rea?"]}, f"{ML}/read", False),
    ],
)
def test_what_a_role_allows(role: dict[str, Any], action: str, allowed: bool) -> None:
    assert roles.allows(role, action) is allowed


def test_what_a_role_allows_with_data() -> None:
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
    role = {"actions": ["*/read"], "dataActions": [f"{blobs}/*"], "notDataActions": [f"{blobs}/delete"]}
    assert roles.allows(role, f"{blobs}/write", data=True)
    assert not roles.allows(role, f"{blobs}/delete", data=True)
    assert not roles.allows(role, f"{blobs}/write")


@pytest.mark.parametrize(
    ("scope", "resource", "holds"),
    [
        ("/subscriptions/1", "/subscriptions/1/resourceGroups/a", True),
        ("/subscriptions/1/", "/Subscriptions/1", True),
        ("/subscriptions/1", "/subscriptions/12", False),
        ("/subscriptions/1/resourceGroups/a", "/subscriptions/1", False),
        ("/", "/subscriptions/1", True),
    ],
)
def test_where_an_assignment_holds(scope: str, resource: str, holds: bool) -> None:
    assert roles.within(scope, resource) is holds
