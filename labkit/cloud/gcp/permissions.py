"""The permission that each method needs, as roles and audit logs name it: ``aiplatform.endpoints.predict``.

https://cloud.google.com/iam/docs/permissions-reference. Most follow from the method's name; a service's module names
the others in its ``PERMISSIONS``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.cloud.gcp.schema import Method

#: Beginnings of names that are verbs of every resource; what follows is the resource.
_STANDARD = re.compile(r"(Get|List|Create|Update|Delete|Cancel|Search|Query|Export|Import)([A-Z]\w*)")


def of(method: Method, own: Mapping[str, str]) -> str:
    """The permission of a method; ``own`` are those that a service's module names."""
    if named := own.get(method.name):
        return named
    if method.name.endswith(("IamPolicy", "IamPermissions")):
        return f"{method.api}.{_lower(method.name)}"
    found = _STANDARD.fullmatch(method.name)
    if not found:
        return (
            f"{method.api}.{_lower(method.service.rpartition('.')[2].removesuffix('Service'))}s.{_lower(method.name)}"
        )
    verb, resource = found.groups()
    return f"{method.api}.{_lower(resource if resource.endswith('s') else _plural(resource))}.{verb.lower()}"


def _plural(word: str) -> str:
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def _lower(word: str) -> str:
    return word[:1].lower() + word[1:]
