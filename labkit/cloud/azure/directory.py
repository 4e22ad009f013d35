"""Applications of the tenant, their secrets, and their service principals: what Microsoft Graph shows and changes.

https://learn.microsoft.com/graph/api/resources/application. Secrets expire by the lab's clock.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.cloud.azure.identity import Identities, Identity

#: Secrets that an application or a service principal may have.
MOST_SECRETS = 20
_LETTERS = string.ascii_letters + string.digits + "_.~-"


@dataclass(frozen=True, slots=True)
class Secret:
    """A client secret: kept as its digest, and shown once, when it is made."""

    key_id: str
    hint: str
    digest: bytes
    starts: datetime
    ends: datetime
    name: str | None = None

    def is_of(self, text: str) -> bool:
        return hmac.compare_digest(self.digest, hashlib.sha256(text.encode()).digest())

    def view(self, text: str | None = None) -> dict[str, Any]:
        return {
            "customKeyIdentifier": None,
            "displayName": self.name,
            "endDateTime": _time(self.ends),
            "hint": self.hint,
            "keyId": self.key_id,
            "secretText": text,
            "startDateTime": _time(self.starts),
        }


@dataclass
class Application:
    """An application. ``client_id`` (``appId``) is what programs sign in with, ``id`` its object's id."""

    id: str
    client_id: str
    name: str
    created: datetime
    tags: list[str] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)
    principal: Identity | None = None
    #: Secrets that were added to the service principal, not to the application.
    own_secrets: list[Secret] = field(default_factory=list)


class Directory:
    """The tenant's applications; safe to use from any thread that holds ``lock``."""

    def __init__(self, identities: Identities, now: Callable[[], datetime]) -> None:
        self.lock = threading.RLock()
        self._identities = identities
        self.now = now
        self._applications: dict[str, Application] = {}

    def applications(self) -> list[Application]:
        with self.lock:
            return list(self._applications.values())

    def create(self, name: str) -> Application:
        """A new application, without a service principal."""
        made = Application(str(uuid.uuid4()), str(uuid.uuid4()), name, self.now())
        with self.lock:
            self._applications[made.id] = made
        return made

    def find(self, *, id: str = "", client_id: str = "", principal: str = "") -> Application | None:
        """The application with this object id, this client id, or this service principal's object id; or None."""
        for each in self.applications():
            mine = each.principal.object_id if each.principal else ""
            if (id and each.id == id.lower()) or (client_id and each.client_id == client_id.lower()):
                return each
            if principal and mine == principal.lower():
                return each
        return None

    def enable(self, application: Application) -> Identity:
        """Gives an application its service principal, which roles can be given to."""
        made = Identity(application.name, str(uuid.uuid4()), application.client_id)
        with self.lock:
            application.principal = made
            self._identities.add(made)
        return made

    def disable(self, application: Application) -> None:
        """Takes an application's service principal away, with its secrets."""
        with self.lock:
            if application.principal is not None:
                self._identities.remove(application.principal)
            application.principal, application.own_secrets = None, []

    def delete(self, application: Application) -> None:
        """Deletes an application with its service principal."""
        with self.lock:
            self.disable(application)
            self._applications.pop(application.id, None)

    def reset(self) -> None:
        """Forgets every application."""
        with self.lock:
            self._applications.clear()


def new_secret(starts: datetime, ends: datetime, name: str | None) -> tuple[Secret, str]:
    """A new secret, and its text, which is kept nowhere."""
    # As Microsoft Entra writes them: three characters, the generation, a tilde in fourth or fifth place.
    text = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(3))
    text += "8Q~" + "".join(secrets.choice(_LETTERS) for _ in range(34))
    made = Secret(str(uuid.uuid4()), text[:3], hashlib.sha256(text.encode()).digest(), starts, ends, name)
    return made, text


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
