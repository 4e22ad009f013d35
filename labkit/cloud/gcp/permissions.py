"""The permission that each method needs, as roles and audit logs name it, and what a caller without it is told.

https://cloud.google.com/iam/docs/permissions-reference. Most follow from the method's name; a service's module names
the others in its ``PERMISSIONS``, ``""`` for a method that needs none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.cloud.gcp.errors import GcpError

if TYPE_CHECKING:
    from labkit.cloud.gcp.schema import Method

#: Beginnings of names that are verbs of every resource; what follows is the resource.
_STANDARD = re.compile(r"(Get|List|Create|Update|Delete|Cancel|Search|Query|Export|Import)([A-Z]\w*)")
#: APIs whose permissions begin otherwise than their hosts.
_SERVICES = {"cloudresourcemanager": "resourcemanager"}


#: A permission, or what gives it by the name of the resource that is asked for.
Needed = str | Callable[[str], str]


def of(method: Method, own: Mapping[str, Needed], resource: str = "") -> str:
    """The permission of a method; ``own`` are those that a service's module names."""
    if method.name in own:
        needed = own[method.name]
        return needed if isinstance(needed, str) else needed(resource)
    service = _SERVICES.get(method.api, method.api)
    if method.name.endswith(("IamPolicy", "IamPermissions")):
        return f"{service}.{_lower(method.name)}"
    found = _STANDARD.fullmatch(method.name)
    if not found:
        return f"{service}.{_lower(method.service.rpartition('.')[2].removesuffix('Service'))}s.{_lower(method.name)}"
    verb, resource = found.groups()
    return f"{service}.{_lower(resource if resource.endswith('s') else _plural(resource))}.{verb.lower()}"


def _plural(word: str) -> str:
    return f"{word[:-1]}ies" if re.search("[^aeiou]y$", word) else f"{word}s"


def _lower(word: str) -> str:
    return word[:1].lower() + word[1:]


def denial(principal: str, permission: str, resource: str) -> str:
    """The sentence that the permission's service says to a caller who does not have it on a resource."""
    service = permission.partition(".")[0]
    if service == "storage":
        what = "project" if "/buckets/" not in resource else "object" if "/objects/" in resource else "bucket"
        who = principal or "Anonymous caller"
        return (
            f"{who} does not have {permission} access to the Google Cloud {'' if what == 'project' else 'Storage '}"
            f"{what}. Permission '{permission}' denied on resource (or it may not exist)."
        )
    if service == "monitoring":
        return f"Permission {permission} denied (or the resource may not exist)."
    if service in ("aiplatform", "resourcemanager"):
        host = "cloudresourcemanager" if service == "resourcemanager" else service
        return (
            f"Permission '{permission}' denied on resource '//{host}.googleapis.com/{resource}' (or it may not exist)."
        )
    return f"Permission '{permission}' denied on resource (or it may not exist)."


def of_account(email: str, lacking: Sequence[str], what: str) -> str:
    """What Vertex AI says of an account that it was to read or write with; ``what`` is ``bucket "b"`` or the like."""
    return (
        f"Service account `{email}` does not have `[{', '.join(lacking)}]` IAM permission(s) to the {what}. Please "
        "either copy the files to the Google Cloud Storage bucket owned by your project, or grant the required IAM "
        "permission(s) to the service account."
    )


def denied(message: str, api: str, permission: str, resource: str) -> GcpError:
    """``PERMISSION_DENIED`` with the details by which clients know the permission.

    https://cloud.google.com/apis/design/errors#error_info
    """
    from labkit.cloud.gcp import schema

    of_iam = api in ("iam", "iamcredentials")
    metadata = {"permission": permission, **({} if of_iam else {"resource": resource})}
    info = schema.message("google.rpc.ErrorInfo")(
        reason="IAM_PERMISSION_DENIED", domain=f"{'iam' if of_iam else api}.googleapis.com", metadata=metadata
    )
    return GcpError("PERMISSION_DENIED", message, [info])
