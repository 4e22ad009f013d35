"""Who is calling, and the one place that says whether they may.

A dialect verifies the signature or token and makes the :class:`Caller`; :class:`Access` decides. Until permissions
are enforced it says yes to every valid credential and no to a missing or wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.cloud.engine.errors import Unauthenticated


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


class Access:
    """Says yes or no to one action of one caller on one resource."""

    def authorize(self, caller: Caller | None, action: str, resource: str = "*") -> Caller:
        """Returns the caller, or raises :class:`Unauthenticated`.

        ``action`` and ``resource`` are written as the cloud's policies write them (``sagemaker:CreateEndpoint``,
        ``arn:aws:sagemaker:...``): they are what a policy will be asked about.
        """
        if caller is None:
            raise Unauthenticated(f"{action} was sent without a credential.")
        return caller
