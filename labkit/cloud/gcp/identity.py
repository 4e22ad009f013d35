"""Who calls: the learner's service account, those that models run as, and the metadata server that gives out tokens.

The learner's programs find the metadata server as code on Compute Engine finds its own, so ``google.auth.default()``
works unchanged; the address in ``GCE_METADATA_HOST`` holds a secret, for others on the machine can reach the port too.
https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from labkit.cloud.engine.access import Caller
from labkit.cloud.gcp import locations, projects, schema, service_account_keys
from labkit.cloud.gcp.errors import GcpError
from labkit.cloud.gcp.hosts import Target
from labkit.cloud.gcp.tokens import LIFETIME, Claims, Rejected, Tokens
from labkit.cloud.http import Request, Response

if TYPE_CHECKING:
    from labkit.cloud.gcp.service_accounts import Account

#: Where the metadata server is on the plain front; a secret follows.
PATH = "/_gcp/metadata/"
#: The variables that hold its address: two for the client libraries, one for the gcloud command.
VARIABLES = ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")
SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_ROOT = "/computeMetadata/v1/"
_FLAVOR = ("Metadata-Flavor", "Google")
#: Why a token is not accepted -> what the error's details say.
_REASONS = {
    "expired": "ACCESS_TOKEN_EXPIRED",
    "disabled": "ACCOUNT_STATE_INVALID",
    "gone": "ACCOUNT_STATE_INVALID",
}
_CHALLENGE = 'Bearer realm="https://accounts.google.com/"'
_EXPECTED = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


class KnownAccounts(Protocol):
    """What is asked of IAM about accounts."""

    def state(self, email: str) -> str:
        """``"active"``, ``"disabled"`` or ``"gone"``."""

    def account(self, email: str) -> Account | None:
        """The account of an address."""


class LabSettings(Protocol):
    """What the dialect asks of the lab: its folders, its secret, and its address."""

    @property
    def run(self) -> Path:
        """Where files are kept that do not outlive the server."""

    @property
    def token(self) -> str:
        """The lab's secret, from which others are derived."""

    @property
    def url(self) -> str:
        """The gateway's address."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account, and the id of the project that its programs work in."""

    email: str
    project: str

    @property
    def unique_id(self) -> str:
        """Its number, always the same for the same account: 21 digits."""
        digest = hashlib.sha256(self.email.encode()).digest()
        return str(10**20 + int.from_bytes(digest[:8], "big"))


LEARNER = ServiceAccount(f"learner@{projects.ID}.iam.gserviceaccount.com", projects.ID)


class Identities:
    """Service accounts, their tokens, and which program is which; safe to use from any thread."""

    def __init__(self, lab: LabSettings, accounts: Callable[[], KnownAccounts] | None = None) -> None:
        """``accounts`` gives what is known of accounts, for those who verify callers."""
        self._accounts = accounts
        self._secret = lab.token.encode()
        self._address = lab.url.partition("://")[2]
        self.tokens = Tokens(self.derived("access tokens"))
        self._admitted: dict[str, ServiceAccount] = {}
        self._lock = threading.Lock()

    def accounts(self) -> KnownAccounts:
        """What IAM knows of accounts."""
        assert self._accounts is not None
        return self._accounts()

    @cached_property
    def signing_key(self) -> service_account_keys.Key:
        """The key with which Google signs identity tokens."""
        return service_account_keys.new_key(datetime.now(UTC), managed=True)

    def identity_token(self, email: str, unique_id: str, audience: str, *, include_email: bool) -> str:
        """An OpenID Connect token that says who an account is, to whoever expects ``audience``; good for an hour.

        https://cloud.google.com/docs/authentication/token-types#id
        """
        now = int(time.time())
        claims: dict[str, Any] = {"iss": "https://accounts.google.com", "aud": audience, "azp": unique_id}
        claims |= {"sub": unique_id, "iat": now, "exp": now + 3600}
        if include_email:
            claims |= {"email": email, "email_verified": True}
        return service_account_keys.signed(self.signing_key, claims)

    def derived(self, purpose: str) -> bytes:
        """A secret of 64 bytes of the lab's own for ``purpose``, the same each time."""
        return hmac.digest(self._secret, f"gcp {purpose}".encode(), hashlib.sha512)

    def learners_variables(self) -> dict[str, str]:
        """The variables by which the learner's programs find their metadata server."""
        return self._variables(self._learners_key)

    def admit(self, account: ServiceAccount) -> dict[str, str]:
        """The variables by which a program that the clouds start gets tokens for ``account``."""
        key = secrets.token_hex(24)
        with self._lock:
            self._admitted[key] = account
        return self._variables(key)

    def dismiss(self, variables: dict[str, str]) -> None:
        """Ends the right to ask for tokens that :meth:`admit` gave with these variables."""
        with self._lock:
            self._admitted.pop(variables[VARIABLES[0]].rpartition("/")[2], None)

    def reset(self) -> None:
        """Forgets every program but the learner's."""
        with self._lock:
            self._admitted.clear()

    # -- callers -----------------------------------------------------------------------------------------------------

    def caller(self, request: Request, target: Target, method: str) -> Caller:
        """Who sent a request; raises ``UNAUTHENTICATED`` as Google's APIs do."""
        token = _presented(request)
        if not token:
            raise _unauthenticated(
                f"Request is missing required authentication credential. {_EXPECTED}",
                "CREDENTIALS_MISSING",
                target.api,
                method,
            )
        try:
            claims = self.verified(token, target)
        except Rejected as rejected:
            raise _unauthenticated(
                f"Request had invalid authentication credentials. {_EXPECTED}",
                _REASONS.get(rejected.reason, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
                target.api,
                method,
                expired=rejected.reason == "expired",
            ) from None
        return self.of_claims(claims, target)

    def claims(self, request: Request, target: Target) -> Claims | None:
        """What the token of a request says that was answered already; None where it has none, or a bad one."""
        try:
            return self.verified(_presented(request), target)
        except Rejected:
            return None

    def verified(self, token: str, target: Target) -> Claims:
        """What a token says: one of the lab's, or one that a service account's key has signed for this service.

        Raises :class:`Rejected`. https://google.aip.dev/auth/4111 has the second kind.
        """
        claims = self._self_signed(token, target) if token.count(".") == 2 else None
        claims = claims or self.tokens.verify(token)
        if (state := self.accounts().state(claims.email)) != "active":
            raise Rejected(state)
        return claims

    def _self_signed(self, token: str, target: Target) -> Claims | None:
        assertion = service_account_keys.parsed(token)
        if assertion is None or assertion.header.get("alg") != "RS256":
            return None
        email = str(assertion.claims.get("iss", ""))
        account = self.accounts().account(email)
        key = account.keys.get(str(assertion.header.get("kid", ""))) if account else None
        if key is None or key.disabled or assertion.claims.get("sub", email) != email:
            raise Rejected("signature")
        if not service_account_keys.verifies(key, assertion.content, assertion.signature):
            raise Rejected("signature")
        audience, scopes = str(assertion.claims.get("aud", "")), str(assertion.claims.get("scope", "")).split()
        if not scopes and f"{target.api}.googleapis.com" not in audience:
            raise Rejected("audience")
        issued, expires = (assertion.claims.get(each) for each in ("iat", "exp"))
        if not isinstance(issued, int | float) or not isinstance(expires, int | float) or expires - issued > 3600 + 60:
            raise Rejected("malformed")
        if time.time() >= expires:
            raise Rejected("expired")
        assert account is not None
        return Claims(email, tuple(scopes) or (SCOPE,), int(expires), key.id, account.key_name(key))

    def of_claims(self, claims: Claims, target: Target) -> Caller:
        """The caller who holds a verified token."""
        project = claims.email.partition("@")[2].partition(".")[0]
        return Caller("gcp", claims.email, project, target.region, claims.identifier)

    # -- the metadata server -----------------------------------------------------------------------------------------

    def metadata_request(self, path: str) -> bool:
        """Whether a path of the plain front is the metadata server's."""
        return path.startswith(PATH)

    def answer(self, request: Request) -> Response:
        """Answers as the metadata server does."""
        key, slash, rest = request.path.removeprefix(PATH).partition("/")
        account = self._holder(key)
        if account is None:
            return _text(404, "No program of this lab has this metadata server.")
        if request.headers.get("metadata-flavor") != "Google":
            return _text(403, "Missing required header: Metadata-Flavor: Google")
        if "x-forwarded-for" in request.headers:
            return _text(403, "A request with X-Forwarded-For is not answered.")
        if request.method not in ("GET", "HEAD"):
            return _text(405, f"The metadata server does not take {request.method} here.")
        if not rest:
            return _text(200, "computeMetadata/\n")
        path, query = f"{slash}{rest}", dict(parse_qsl(request.query))
        if not path.startswith(_ROOT):
            return _text(404, f"{path} is no path of the metadata server.")
        return self._metadata(account, path.removeprefix(_ROOT).strip("/"), query)

    def _metadata(self, account: ServiceAccount, path: str, query: dict[str, str]) -> Response:
        for alias in ("default", account.email):
            beginning = f"instance/service-accounts/{alias}/"
            if path == f"{beginning}token":
                if self.accounts().state(account.email) != "active":
                    return _text(404, f"The service account {account.email} is disabled or deleted.")
                scopes = tuple(each for each in query.get("scopes", SCOPE).split(",") if each)
                token = self.tokens.issue(account.email, scopes)
                return _json({"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"})
            if path == f"{beginning}identity":
                if not query.get("audience"):
                    return _text(400, "non-empty audience parameter required\n")
                full = query.get("format") == "full"
                known = self.accounts().account(account.email)
                unique_id = known.unique_id if known else account.unique_id
                return _text(200, self.identity_token(account.email, unique_id, query["audience"], include_email=full))
        found: Any = _tree(account)
        for part in path.split("/") if path else ():
            if not isinstance(found, dict) or part not in found:
                return _text(404, f"{path} is no key of the metadata server.")
            found = found[part]
        if query.get("recursive", "").lower() == "true" or query.get("alt") == "json":
            return _json(_recursive(found))
        if isinstance(found, dict):
            return _text(200, "".join(f"{name}/\n" if isinstance(found[name], dict) else f"{name}\n" for name in found))
        return _text(200, "\n".join(found) if isinstance(found, list) else str(found))

    @property
    def _learners_key(self) -> str:
        return self.derived("metadata server")[:24].hex()

    def _holder(self, key: str) -> ServiceAccount | None:
        if hmac.compare_digest(key.encode(), self._learners_key.encode()):
            return LEARNER
        with self._lock:
            return self._admitted.get(key)

    def _variables(self, key: str) -> dict[str, str]:
        address = f"{self._address}{PATH}{key}"
        return dict.fromkeys(VARIABLES, address)


def _presented(request: Request) -> str:
    """The token that a request came with, or ``""``."""
    presented = request.headers.get("authorization")
    scheme, _, token = presented.partition(" ")
    if not presented:
        return dict(parse_qsl(request.query)).get("access_token", "")
    return token if scheme.lower() == "bearer" else presented


def _tree(account: ServiceAccount) -> dict[str, Any]:
    described = {"aliases": ["default"], "email": account.email, "scopes": [SCOPE]}
    return {
        "instance": {
            "id": "3141592653589793238",
            "name": "learner",
            "zone": f"projects/{projects.NUMBER}/zones/{locations.DEFAULT}-a",
            "service-accounts": {"default": described, account.email: described},
        },
        "project": {"project-id": account.project, "numeric-project-id": projects.NUMBER},
        "universe": {"universe-domain": "googleapis.com"},
    }


def _recursive(found: Any) -> Any:
    """Keys as JSON has them: in camel case."""
    if not isinstance(found, dict):
        return found
    return {name if "@" in name else _camel(name): _recursive(value) for name, value in found.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(each.title() for each in rest)


def _text(status: int, text: str) -> Response:
    return Response(status, [("Content-Type", "application/text"), _FLAVOR], text.encode())


def _json(value: Any) -> Response:
    return Response(200, [("Content-Type", "application/json"), _FLAVOR], json.dumps(value).encode())


def _unauthenticated(message: str, reason: str, api: str, method: str, *, expired: bool | None = None) -> GcpError:
    info = schema.message("google.rpc.ErrorInfo")(
        reason=reason, domain="googleapis.com", metadata={"service": f"{api}.googleapis.com", "method": method}
    )
    challenge = _CHALLENGE if expired is None else f'{_CHALLENGE}, error="invalid_token"'
    return GcpError("UNAUTHENTICATED", message, [info], headers=[("WWW-Authenticate", challenge)])
