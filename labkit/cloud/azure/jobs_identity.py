"""What a job acts as: the user who submitted it, a managed identity, or its compute's.

https://learn.microsoft.com/azure/machine-learning/how-to-setup-authentication-data-access-for-training-jobs says that a
job without an identity of its own has its compute's, and on serverless compute that of the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.cloud.azure import managed_identities
from labkit.cloud.azure.errors import AzureError
from labkit.cloud.azure.identity import Identity
from labkit.cloud.azure.resources import Resource
from labkit.cloud.engine.access import Caller

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud, Call

_KINDS = {
    "useridentity": "UserIdentity",
    "user_identity": "UserIdentity",
    "managed": "Managed",
    "managed_identity": "Managed",
    "amltoken": "AMLToken",
    "aml_token": "AMLToken",
}


def read(call: Call, given: Any) -> dict[str, Any]:
    """The identity of a job or step as its request writes it, in one spelling; ``{}`` where there is none."""
    if not isinstance(given, dict) or not given:
        return {}
    asked = str(given.get("identityType") or given.get("identity_type") or given.get("type") or "")
    kind = _KINDS.get(asked.lower())
    if kind is None:
        raise call.user_error(f"The identity type '{asked}' of the job is unknown.", 400, "BadArgument")
    found = {"identityType": kind}
    for camel, snake in (("clientId", "client_id"), ("objectId", "object_id"), ("resourceId", "resource_id")):
        if value := given.get(camel) or given.get(snake):
            found[camel] = str(value)
    return found


def acting(cloud: AzureCloud, given: Mapping[str, Any], compute: Resource | None, submitter: Caller) -> Identity | None:
    """The identity of a job: the one it names, else its compute's, else on serverless compute its submitter's.

    None where there is none: a job on a cluster without a managed identity has none, and gets no tokens. Raises
    :class:`AzureError` for a managed identity that the compute does not have.
    """
    kind = given.get("identityType", "")
    user = cloud.identities.find(submitter.principal)
    assigned = managed_identities.of(cloud, compute)
    if kind == "UserIdentity" or (not kind and compute is None):
        return user
    if kind == "AMLToken":
        return None
    wanted = [given[name] for name in ("clientId", "objectId", "resourceId") if name in given]
    if not wanted:
        return assigned[0] if assigned else None
    for each in assigned:
        if all(value.lower() in (each.client_id, each.object_id, each.resource_id.lower()) for value in wanted):
            return each
    message = f"The managed identity {wanted[0]} is not assigned to the job's compute; give it to the cluster first."
    raise AzureError("UserError", message, 400)
