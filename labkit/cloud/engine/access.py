"""Who is calling, and the one place that says whether they may.

A dialect verifies the signature or token and makes the :class:`Caller`; :class:`Access` decides, by the model of
permissions that the caller's cloud has given it. It says no to a missing or wrong credential whatever the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from labkit.cloud.engine.errors import Denied, Unauthenticated


@dataclass(frozen=True, slots=True)
class Caller:
    """The identity behind a request, from the first byte to the audit trail.

    ``principal`` is the cloud's own name for it (an ARN, an object id, an e-mail address); ``scope`` the account,
    tenant or project that it belongs to; ``region`` where the request was sent; ``credential`` the public part of
    what was presented (an access key id, a token's id), never a secret.
    """

    cloud: str
    principal: str
    scope: str
    region: str
    credential: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes, or no with the sentence and, where the cloud has several, the error code that its clients are told."""

    allowed: bool
    message: str = ""
    code: str | None = None


ALLOWED = Decision(True)


class Model(Protocol):
    """How one cloud decides: its policies, roles and bindings, asked about one action on one resource."""

    def decide(self, caller: Caller, action: str, resource: str, context: Mapping[str, Any]) -> Decision:
        """The decision; raises :class:`Unsupported` for a condition or feature that the kit does not evaluate.

        ``context`` holds what the cloud's conditions may ask about (AWS's condition keys, an object's name), by the
        cloud's own names.
        """


class Access:
    """Says yes or no to one action of one caller on one resource. A cloud without a model allows every caller."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}

    def use(self, cloud: str, model: Model) -> None:
        """From now on ``model`` decides what callers of ``cloud`` may do."""
        self._models[cloud] = model

    def authorize(
        self, caller: Caller | None, action: str, resource: str = "*", context: Mapping[str, Any] | None = None
    ) -> Caller:
        """Returns the caller, or raises :class:`Unauthenticated` or :class:`Denied`.

        ``action`` and ``resource`` are written as the cloud's policies write them (``sagemaker:CreateEndpoint``,
        ``arn:aws:sagemaker:...``): they are what a policy is asked about.
        """
        if caller is None:
            raise Unauthenticated(f"{action} was sent without a credential.")
        if model := self._models.get(caller.cloud):
            decision = model.decide(caller, action, resource, context or {})
            if not decision.allowed:
                raise Denied(decision.message, code=decision.code)
        return caller
