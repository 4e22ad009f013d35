"""Who calls: the tenant's principals, and the endpoint that gives programs in the clouds their tokens.

The learner is a service principal. Its programs find the endpoint as code in Azure App Service finds its own
(``IDENTITY_ENDPOINT``, ``IDENTITY_HEADER``), so ``DefaultAzureCredential()`` works unchanged:
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

from labkit.cloud.azure.tokens import Claims, Rejected, Tokens
from labkit.cloud.azure.wire import json_response
from labkit.cloud.http import Request, Response

#: Where the learner's programs, and code that runs in the clouds, ask for tokens, on the plain front.
PATH = "/_azure/identity"
#: The versions of App Service's endpoint that clients send.
VERSIONS = ("2019-08-01", "2017-09-01")

#: The parameters with which a program that has several identities says which one it means.
_NAMING = ("client_id", "clientid", "object_id", "principal_id", "mi_res_id", "msi_res_id")

LEARNER = "learner"
_KIT = uuid.UUID("6f0d1c4e-5a0b-4d5e-9f53-0d6a3c6b1a52")


class LabSettings(Protocol):
    """What the dialect asks of the lab: where it is, its secret, and its folders."""

    @property
    def folder(self) -> Path:
        """What outlives the server."""

    @property
    def run(self) -> Path:
        """What does not."""

    @property
    def token(self) -> str:
        """The lab's secret, from which others are derived."""

    @property
    def url(self) -> str:
        """The gateway's address."""

    def write(self, file: Path, text: str) -> None:
        """Stores a file that only its owner can read."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A service principal. ``resource_id`` is that of the resource whose managed identity it is, or ``""``.

    ``client_id`` is its application's id: it names the identity to programs, ``object_id`` to roles.
    """

    name: str
    object_id: str
    client_id: str
    resource_id: str = ""


class Identities:
    """The tenant's identities; safe to use from any thread."""

    def __init__(self, lab: LabSettings) -> None:
        self._secret = lab.token.encode()
        self.tenant = self._fixed_id("tenant")
        self.subscription = self._fixed_id("subscription")
        self.learner = Identity(LEARNER, self._fixed_id("learner"), self._fixed_id("learner's application"))
        self.tokens = Tokens(self.tenant, lab.folder / "azure-token-key.pem", lab.write)
        #: By object id: every principal but the learner.
        self._principals: dict[str, Identity] = {}
        self._managed: dict[str, Identity] = {}
        self._headers: dict[str, Identity] = {}
        self._lock = threading.Lock()

    def derived(self, purpose: str) -> bytes:
        """A secret of 64 bytes of the lab's own for ``purpose``, the same each time."""
        return hmac.digest(self._secret, f"azure {purpose}".encode(), hashlib.sha512)

    @property
    def learners_header(self) -> str:
        """What the learner's programs show to the identity endpoint."""
        return self.derived("identity header")[:24].hex()

    # -- managed identities ----------------------------------------------------------------------------------------

    def assign(self, resource_id: str) -> Identity:
        """A new system-assigned identity for a resource, in place of one that it had."""
        identity = Identity(resource_id.rpartition("/")[2], str(uuid.uuid4()), str(uuid.uuid4()), resource_id)
        with self._lock:
            if (old := self._managed.get(resource_id.lower())) is not None:
                self._end(old)
            self._managed[resource_id.lower()] = identity
            self._principals[identity.object_id] = identity
        return identity

    def unassign(self, resource_id: str) -> None:
        """Ends the identities of a resource and of those below it: their tokens are refused from now on."""
        mine = resource_id.lower()
        with self._lock:
            for each in [known for known in self._managed if known == mine or known.startswith(f"{mine}/")]:
                self._end(self._managed.pop(each))

    def find(self, object_id: str) -> Identity | None:
        """The identity with this object id, or None."""
        if object_id == self.learner.object_id:
            return self.learner
        return self._principals.get(object_id)

    def named(self, *, client_id: str = "", object_id: str = "", resource_id: str = "") -> Identity | None:
        """The identity that has every one of the ids given, without regard to case; None where there is none."""
        wanted = [
            (kind, each.lower()) for kind, each in (("c", client_id), ("o", object_id), ("r", resource_id)) if each
        ]
        with self._lock:
            known = [self.learner, *self._principals.values()]
        for one in known if wanted else ():
            mine = {"c": one.client_id.lower(), "o": one.object_id.lower(), "r": one.resource_id.lower()}
            if all(mine[kind] == each for kind, each in wanted):
                return one
        return None

    # -- service principals of applications ------------------------------------------------------------------------

    def add(self, identity: Identity) -> None:
        """Takes a service principal in."""
        with self._lock:
            self._principals[identity.object_id] = identity

    def remove(self, identity: Identity) -> None:
        """Ends a service principal: its tokens are refused from now on."""
        with self._lock:
            self._end(identity)

    def _end(self, identity: Identity) -> None:
        self._principals.pop(identity.object_id, None)
        self._headers = {key: who for key, who in self._headers.items() if who is not identity}

    # -- tokens ----------------------------------------------------------------------------------------------------

    def verify(self, token: str, accepts: Callable[[str], bool]) -> Claims:
        """What a token says that is good and of a principal in the tenant; raises :class:`Rejected`."""
        claims = self.tokens.verify(token, accepts)
        if self.find(claims.object_id) is None:
            raise Rejected("principal", claims={"oid": claims.object_id})
        return claims

    def admit(self, identity: Identity) -> str:
        """An ``IDENTITY_HEADER`` with which a process started by the clouds gets tokens for ``identity``."""
        header = secrets.token_hex(24)
        with self._lock:
            self._headers[header] = identity
        return header

    def dismiss(self, header: str) -> None:
        """Ends a process's right to ask for tokens."""
        with self._lock:
            self._headers.pop(header, None)

    def reset(self) -> None:
        """Forgets every identity but the learner's."""
        with self._lock:
            self._principals.clear()
            self._managed.clear()
            self._headers.clear()

    # -- the endpoint ----------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        """Answers a request for a token, as App Service's endpoint does."""
        query = {name.lower(): value for name, value in parse_qsl(request.query)}
        if request.method != "GET":
            return _refused(405, f"The identity endpoint does not take {request.method}.")
        presented = request.headers.get("x-identity-header") or request.headers.get("secret") or query.get("obo", "")
        identity = self._holder(presented)
        if identity is None:
            return _refused(401, "The X-IDENTITY-HEADER of the request is missing or is not the one of this program.")
        if query.get("api-version") not in VERSIONS:
            return _refused(400, f"The api-version has to be one of {', '.join(VERSIONS)}.")
        resource = query.get("resource", "")
        if not resource:
            return _refused(400, "The request names no resource to get a token for.")
        wanted = [query[name] for name in _NAMING if name in query]
        mine = (identity.client_id, identity.object_id, identity.resource_id.lower())
        if any(not each or each.lower() not in mine for each in wanted):
            return _refused(
                400,
                "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
            )
        token, expires = self.tokens.issue(identity, resource)
        return json_response(
            200,
            {
                "access_token": token,
                "expires_on": str(expires),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": identity.client_id,
            },
        )

    def _holder(self, header: str) -> Identity | None:
        if hmac.compare_digest(header.encode(), self.learners_header.encode()):
            return self.learner
        return self._headers.get(header)

    def _fixed_id(self, what: str) -> str:
        """An id that is the lab's for good, and tells nothing of its secret."""
        return str(uuid.uuid5(_KIT, hmac.digest(self._secret, what.encode(), hashlib.sha256).hex()))


def _refused(status: int, message: str) -> Response:
    body: dict[str, Any] = {"statusCode": status, "message": message, "correlationId": str(uuid.uuid4())}
    return json_response(status, body)
