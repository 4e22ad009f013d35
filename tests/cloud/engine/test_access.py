"""Who may do what: the engine asks the caller's cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from labkit.cloud.engine.access import ALLOWED, Access, Caller, Decision
from labkit.cloud.engine.errors import Denied, Unauthenticated

ANNA = Caller("aws", "arn:aws:iam::123456789012:user/anna", "123456789012", "us-east-1")


class Named:
    """Allows one principal, and remembers what it was asked."""

    def __init__(self, principal: str) -> None:
        self.principal = principal
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def decide(self, caller: Caller, action: str, resource: str, context: Mapping[str, Any]) -> Decision:
        self.asked.append((action, resource, dict(context)))
        return ALLOWED if caller.principal == self.principal else Decision(False, "That may not be.", "Forbidden")


def test_nobody_is_never_allowed() -> None:
    with pytest.raises(Unauthenticated, match=r"s3:GetObject was sent without a credential"):
        Access().authorize(None, "s3:GetObject")


def test_the_model_of_the_callers_cloud_decides() -> None:
    access, aws, azure = Access(), Named(ANNA.principal), Named("somebody else")
    access.use("aws", aws)
    access.use("azure", azure)
    assert access.authorize(ANNA, "s3:GetObject", "arn:aws:s3:::b/k", {"aws:SourceIp": "127.0.0.1"}) is ANNA
    assert aws.asked == [("s3:GetObject", "arn:aws:s3:::b/k", {"aws:SourceIp": "127.0.0.1"})]
    assert azure.asked == []


def test_a_denial_carries_the_models_words() -> None:
    access = Access()
    access.use("aws", Named("somebody else"))
    with pytest.raises(Denied) as denied:
        access.authorize(ANNA, "s3:GetObject")
    assert (denied.value.message, denied.value.code) == ("That may not be.", "Forbidden")
