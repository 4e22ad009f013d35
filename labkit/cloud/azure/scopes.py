"""Scopes: the tenant, the subscription, a resource group, a resource, a container; and whether they exist.

https://learn.microsoft.com/azure/role-based-access-control/scope-overview
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from labkit.cloud.azure.errors import AzureError, refusal

if TYPE_CHECKING:
    from labkit.cloud.azure.front import AzureCloud

_CONTAINER = re.compile(
    r"(?P<account>/.+/storageAccounts/[^/]+)/blobServices/default(?:/containers/(?P<container>[^/]+))?", re.IGNORECASE
)


def find(cloud: AzureCloud, text: str) -> str:
    """A scope as it is spelled where it was made, without a slash at its end; ``""`` for the tenant.

    Raises :class:`AzureError` for one that does not exist or is not served.
    """
    parts = [part for part in text.split("/") if part]
    if not parts:
        return ""
    if [part.lower() for part in parts[:2]] == ["providers", "microsoft.management"]:
        raise refusal("management groups")
    if parts[0].lower() != "subscriptions" or len(parts) < 2:
        raise AzureError("InvalidScope", f"The scope '{text}' is not valid.", 400)
    subscription = cloud.identities.subscription
    if parts[1].lower() != subscription:
        raise no_subscription(parts[1])
    top = f"/subscriptions/{subscription}"
    if len(parts) == 2:
        return top
    scope = f"{top}/{'/'.join(parts[2:])}"
    if len(parts) < 4 or parts[2].lower() != "resourcegroups":
        raise AzureError("InvalidScope", f"The scope '{text}' is not valid.", 400)
    group = cloud.resources.get(f"{top}/resourceGroups/{parts[3]}")
    if group is None:
        raise AzureError("ResourceGroupNotFound", f"Resource group '{parts[3]}' could not be found.", 404)
    if (found := cloud.resources.get(scope)) is not None:
        return found.id
    if matched := _CONTAINER.fullmatch(scope):
        account = cloud.resources.require(matched["account"])
        name = matched["container"]
        if name is None or name in account.state.containers:
            return account.id + scope[len(matched["account"]) :]
    return cloud.resources.require(scope).id


def no_subscription(subscription: str) -> AzureError:
    """What is answered about a subscription that is not the lab's."""
    try:
        uuid.UUID(subscription)
    except ValueError:
        message = f"The provided subscription identifier '{subscription}' is malformed or invalid."
        return AzureError("InvalidSubscriptionId", message, 400)
    return AzureError("SubscriptionNotFound", f"The subscription '{subscription}' could not be found.", 404)
