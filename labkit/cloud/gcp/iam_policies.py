"""Policies: which members have which roles on a resource, with their versions, etags and conditions.

https://cloud.google.com/iam/docs/reference/rest/v1/Policy, https://cloud.google.com/iam/docs/policies
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from labkit.cloud.gcp.errors import GcpError, invalid
from labkit.cloud.gcp.iam_conditions import Condition

#: Bindings of members in one policy at most. https://cloud.google.com/iam/quotas#limits
MOST_MEMBERS = 1500
BASIC = ("roles/owner", "roles/editor", "roles/viewer")
#: Full names of projects and of buckets begin so.
PROJECT = "//cloudresourcemanager.googleapis.com/projects/"
BUCKET = "//storage.googleapis.com/projects/_/buckets/"
_VERSIONS = "https://cloud.google.com/iam/docs/policies#versions"


@dataclass(frozen=True, slots=True)
class Binding:
    """Members that have a role, where the condition holds."""

    role: str
    members: tuple[str, ...]
    condition: Condition | None = None
    title: str = ""
    description: str = ""
    location: str = ""

    @property
    def condition_fields(self) -> tuple[tuple[str, str], ...]:
        """What the API shows of the condition, nothing where there is none."""
        if self.condition is None:
            return ()
        shown = (("expression", self.condition.expression), ("title", self.title), ("description", self.description))
        return tuple((name, text) for name, text in shown if text)


@dataclass(frozen=True, slots=True)
class Policy:
    """A resource's policy. ``audits`` is service -> log type (``DATA_READ``) -> members whose calls are not logged."""

    bindings: tuple[Binding, ...] = ()
    audits: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    etag: bytes = b"\0\x20\x01"

    @property
    def version(self) -> int:
        return 3 if any(each.condition for each in self.bindings) else 1

    def shown_as(self, binding: Binding, version: int) -> str:
        """The binding's role for a reader who knows no conditions: one that names it as conditional."""
        if version >= 3 or binding.condition is None:
            return binding.role
        digest = hashlib.sha256(f"{binding.title}{binding.condition.expression}".encode()).hexdigest()
        return f"{binding.role}_withcond_{digest[:20]}"


class Policies:
    """The policies of all resources by their full names (``//aiplatform.googleapis.com/projects/p/...``).

    A project's and a bucket's start as ``initial`` says. Safe to use from any thread. ``changes`` counts whatever can
    change a decision, so that decisions can be remembered while it stays.
    """

    def __init__(self, initial: Callable[[str], Policy]) -> None:
        self._initial = initial
        self._policies: dict[str, Policy] = {}
        self._etags = itertools.count(1)
        self.lock = threading.RLock()
        self.changes = 0

    def get(self, resource: str) -> Policy | None:
        """A resource's policy, None where nobody has set one."""
        found = self._policies.get(resource)
        if found is None and resource.startswith((PROJECT, BUCKET)):
            with self.lock:
                found = self._policies.setdefault(resource, replace(self._initial(resource), etag=self._etag()))
        return found

    def set(self, resource: str, policy: Policy, *, version: int, etag: bytes) -> Policy:
        """Puts a policy in the place of the one that was read, whose etag the caller sends back; raises ABORTED."""
        if version not in (0, 1, 3):
            raise invalid(f"Policy version {version} is not valid: it is 0, 1 or 3. See {_VERSIONS}.", "policy.version")
        with self.lock:
            held = self.get(resource) or Policy()
            if etag and etag != held.etag:
                sent, current = (base64.b64encode(each).decode() for each in (etag, held.etag))
                raise GcpError(
                    "ABORTED",
                    "There were concurrent policy changes. Please retry the whole read-modify-write with exponential "
                    f"backoff. The request's ETag '{sent}' did not match the current policy's ETag '{current}'.",
                )
            lowest = max(policy.version, held.version if etag else 1)
            if lowest == 3 and version != 3:
                raise invalid(
                    f"Specified policy version ({version}) cannot be less than the "
                    f"{'existing' if held.version == 3 else 'required'} policy version (3). For more information, "
                    f"please refer to {_VERSIONS}.",
                    "policy.version",
                )
            made = replace(policy, etag=self._etag())
            self._policies[resource] = made
            self.changes += 1
            return made

    def remove(self, resource: str) -> None:
        """Forgets the policy of a resource that is gone, and of what is below it."""
        with self.lock:
            for name in [each for each in self._policies if each == resource or each.startswith(f"{resource}/")]:
                del self._policies[name]
            self.changes += 1

    def rename_member(self, old: str, new: str) -> None:
        """Names a member otherwise wherever it is bound: an account that is deleted, or comes back."""
        with self.lock:
            for name, policy in self._policies.items():
                bindings = tuple(
                    replace(each, members=tuple(new if member == old else member for member in each.members))
                    for each in policy.bindings
                )
                self._policies[name] = replace(policy, bindings=bindings)
            self.changes += 1

    def changed(self) -> None:
        """Notes that roles or accounts have changed."""
        with self.lock:
            self.changes += 1

    def clear(self) -> None:
        with self.lock:
            self._policies.clear()
            self.changes += 1

    def _etag(self) -> bytes:
        return b"\x07" + (0x063A_0000_0000_00 + next(self._etags)).to_bytes(7, "big")


def merged(bindings: Iterable[Binding]) -> Iterator[Binding]:
    """The bindings with those of one role and condition made one, members once and in order; empty ones left out."""
    found: dict[tuple[str, str, str], Binding] = {}
    for each in bindings:
        key = (each.role, each.condition.expression if each.condition else "", each.title)
        members = (found[key].members if key in found else ()) + each.members
        found[key] = replace(each, members=tuple(sorted(set(members))))
    return (each for each in found.values() if each.members)


def check_size(bindings: Iterable[Binding]) -> None:
    count = sum(len(each.members) for each in bindings)
    if count > MOST_MEMBERS:
        raise invalid(f"The number of members in the policy ({count}) is larger than the maximum allowed size 1500.")
