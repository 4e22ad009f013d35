"""Members of role bindings: who a binding may name, and in which form.

https://cloud.google.com/iam/docs/principal-identifiers. In the lab only service accounts sign in: users, groups and
domains are kept, and nobody calls as one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from labkit.cloud.gcp.errors import GcpError, invalid, refusal

ALL_USERS, ALL_AUTHENTICATED = "allUsers", "allAuthenticatedUsers"
#: Members that stand for the holders of a basic role of a project; Cloud Storage's policies have them.
CONVENIENCE = {"projectOwner": "roles/owner", "projectEditor": "roles/editor", "projectViewer": "roles/viewer"}

_EMAIL = re.compile(r"[^@\s:]+@[^@\s:]+\.[^@\s:]+")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_DELETED = re.compile(r"deleted:(user|serviceAccount|group):[^?\s]+\?uid=\d+")


def check(member: str, exists: Callable[[str], bool], *, convenience: bool = False) -> str:
    """The member as it is kept (addresses in lower case); raises :class:`GcpError` in Google's words.

    ``exists`` says whether there is a service account of an address; ``convenience`` whether projects' owners,
    editors and viewers may be named.
    """
    if member in (ALL_USERS, ALL_AUTHENTICATED):
        return member
    if member.startswith("deleted:"):
        if not _DELETED.fullmatch(member):
            raise invalid(f"The member {member} is not valid: a deleted member ends with ?uid= and its number.")
        return member
    if member.startswith(("principal:", "principalSet:")):
        raise refusal(
            "principal:// and principalSet://", f"The local clouds do not serve workload identity federation: {member}."
        )
    kind, colon, value = member.partition(":")
    if not colon:
        raise invalid(
            f"The member {member} is of an unknown type. Please set a valid type prefix for the member."
            if member
            else 'Policy members must be of the form "<type>:<value>".'
        )
    if kind in CONVENIENCE and convenience:
        return member
    if kind == "domain":
        if not _DOMAIN.fullmatch(value.lower()):
            raise invalid(f"Domain name {value} is not valid.")
        return f"domain:{value.lower()}"
    if kind not in ("user", "group", "serviceAccount"):
        raise invalid(f"The member {member} is of an unknown type. Please set a valid type prefix for the member.")
    return f"{kind}:{_address(kind, value, exists)}"


def _address(kind: str, value: str, exists: Callable[[str], bool]) -> str:
    email = value.lower()
    if not _EMAIL.fullmatch(email):
        raise invalid(f"Invalid {kind} address: {value}.")
    is_account = email.endswith(".gserviceaccount.com")
    if kind == "serviceAccount" and not is_account:
        raise _other_type(value, "user")
    if kind != "serviceAccount" and is_account:
        raise _other_type(value, "serviceAccount")
    if kind == "serviceAccount" and not exists(email):
        raise invalid(f"Service account {value} does not exist.")
    return email


def _other_type(value: str, kind: str) -> GcpError:
    return invalid(f'Account {value} is of type "{kind}". Please set the type prefix to be "{kind}:".')
