"""Service accounts and their keys, as IAM keeps them.

https://cloud.google.com/iam/docs/service-account-overview. The learner's own account and each project's default account
of Compute Engine are there from the beginning; Google's own accounts (service agents) exist without being listed.
"""

from __future__ import annotations

import itertools
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.service_account_keys import Key, new_key

#: Accounts of one project, and keys of a user's of one account, at most. https://cloud.google.com/iam/quotas#limits
MOST_ACCOUNTS, MOST_KEYS = 100, 10
#: How long a deleted account can be brought back.
UNDELETE = timedelta(days=30)

_OWN = re.compile(r"[a-z0-9-]+@([a-z0-9.:-]+)\.iam\.gserviceaccount\.com")
_COMPUTE = re.compile(r"([0-9]+)-compute@developer\.gserviceaccount\.com")
_AGENT = re.compile(r"[^@]+@(gcp-sa-[a-z0-9-]+|gs-project-accounts|[a-z0-9-]+-system)\.iam\.gserviceaccount\.com")
_GOOGLES = re.compile(r"[^@]+@(cloudservices|cloudbuild|appspot)\.gserviceaccount\.com")


@dataclass(eq=False)
class Account:
    """A service account of a project (its id); ``deleted`` is lab time, None while it exists."""

    project: str
    email: str
    unique_id: str
    created: datetime
    display_name: str = ""
    description: str = ""
    disabled: bool = False
    deleted: datetime | None = None
    keys: dict[str, Key] = field(default_factory=dict)
    etag: bytes = b"\x07\x06\x3a\x01"

    @property
    def member(self) -> str:
        return f"serviceAccount:{self.email}"

    @property
    def deleted_member(self) -> str:
        """The member that stands in policies for the account once it is deleted."""
        return f"deleted:serviceAccount:{self.email}?uid={self.unique_id}"

    def key_name(self, key: Key) -> str:
        """The full name of a key of the account's."""
        return f"//iam.googleapis.com/projects/{self.project}/serviceAccounts/{self.email}/keys/{key.id}"

    @cached_property
    def system_key(self) -> Key:
        """Google's own key of the account, with which it signs for those who may ask it to."""
        key = new_key(self.created, managed=True)
        self.keys[key.id] = key
        return key


class Accounts:
    """Every project's service accounts; safe to use from any thread."""

    def __init__(
        self, number: Callable[[str], str], project: Callable[[str], str], now: Callable[[], datetime]
    ) -> None:
        """``number`` gives a project's number by its id, ``project`` its id by its number."""
        self._number = number
        self._project = project
        self._now = now
        self._accounts: dict[str, Account] = {}
        self._removed: list[Account] = []
        self._etags = itertools.count(1)
        self.lock = threading.RLock()

    def of_project(self, project: str) -> list[Account]:
        """A project's accounts, in order of their addresses."""
        self.compute_default(project)
        with self.lock:
            return sorted((each for each in self._accounts.values() if each.project == project), key=_email)

    def find(self, identifier: str) -> Account | None:
        """The account of an address or a unique id."""
        with self.lock:
            if (found := self._accounts.get(identifier)) is not None:
                return found
            if identifier.isdecimal():
                return next((each for each in self._accounts.values() if each.unique_id == identifier), None)
            default = _COMPUTE.fullmatch(identifier)
            project = self._project(default[1]) if default else ""
            return self.compute_default(project) if project else None

    def exists(self, email: str) -> bool:
        """Whether there is an account of this address, Google's own included."""
        return self.find(email) is not None or is_googles(email)

    def compute_default(self, project: str) -> Account:
        """The account that Compute Engine makes in each project for what has none of its own."""
        email = f"{self._number(project)}-compute@developer.gserviceaccount.com"
        with self.lock:
            if email not in self._accounts:
                self._accounts[email] = self._made(project, email, "Compute Engine default service account", "")
            return self._accounts[email]

    def given(self, project: str, email: str, unique_id: str, display_name: str) -> Account:
        """Puts an account there that nobody has made: the learner's."""
        with self.lock:
            account = self._made(project, email, display_name, "")
            account.unique_id = unique_id
            self._accounts[email] = account
            return account

    def create(self, project: str, account_id: str, display_name: str, description: str) -> Account:
        email = f"{account_id}@{project}.iam.gserviceaccount.com"
        with self.lock:
            if email in self._accounts:
                raise GcpError(
                    "ALREADY_EXISTS", f"Service account {account_id} already exists within project projects/{project}."
                )
            if sum(each.project == project for each in self._accounts.values()) >= MOST_ACCOUNTS:
                raise GcpError(
                    "RESOURCE_EXHAUSTED", f"Maximum number of service accounts on project {project} reached."
                )
            account = self._accounts[email] = self._made(project, email, display_name, description)
            return account

    def delete(self, account: Account) -> None:
        with self.lock:
            account.deleted = self._now()
            self._accounts.pop(account.email, None)
            self._removed.append(account)

    def undelete(self, unique_id: str) -> Account | None:
        """Brings a deleted account back, if it can be; None for one that is not there any more."""
        with self.lock:
            for account in self._removed:
                if account.unique_id == unique_id and account.deleted and self._now() - account.deleted < UNDELETE:
                    if account.email in self._accounts:
                        raise GcpError(
                            "FAILED_PRECONDITION", f"There is another service account with the name {account.email}."
                        )
                    account.deleted = None
                    self._removed.remove(account)
                    self._accounts[account.email] = account
                    return account
        return None

    def touched(self, account: Account) -> None:
        """Gives an account that was changed a new etag."""
        account.etag = self._etag()

    def clear(self) -> None:
        with self.lock:
            self._accounts.clear()
            self._removed.clear()

    def _made(self, project: str, email: str, display_name: str, description: str) -> Account:
        unique_id = str(10**20 + secrets.randbelow(10**20))
        return Account(project, email, unique_id, self._now(), display_name, description, etag=self._etag())

    def _etag(self) -> bytes:
        return b"\x07\x06\x3a" + next(self._etags).to_bytes(4, "big")


def is_googles(email: str) -> bool:
    """Whether an address is that of an account of Google's own, which no project lists."""
    return bool(_AGENT.fullmatch(email) or _GOOGLES.fullmatch(email))


def project_named(email: str) -> str:
    """The project that a user's account's address names, or ``""``."""
    found = _OWN.fullmatch(email)
    return found[1] if found and not is_googles(email) else ""


def _email(account: Account) -> str:
    return account.email
