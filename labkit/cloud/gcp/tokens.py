"""Access tokens: opaque to clients, signed by the lab, good for an hour of the machine's time.

https://cloud.google.com/docs/authentication/token-types#access
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache

#: Seconds that a token is good for.
LIFETIME = 3599
#: Verified tokens that are remembered.
KEPT = 1024

_PREFIX = "ya29.c."


class Rejected(Exception):
    """A token that is not accepted: ``reason`` is ``malformed``, ``signature`` or ``expired``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. ``expires`` are seconds since 1970; ``identifier`` is fit for logs.

    ``key`` is the full name of the key that it was given for, or ``""``; ``delegation`` those who had it made for the
    account, the first of them first.
    """

    email: str
    scopes: tuple[str, ...]
    expires: int
    identifier: str
    key: str = ""
    delegation: tuple[str, ...] = ()


class Tokens:
    """Issues and verifies tokens with a secret that outlives the server, as do the tokens that open kernels hold."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        # A program sends its token with every call. What is rejected is not remembered.
        self._claims = lru_cache(KEPT)(self._read)

    def issue(
        self,
        email: str,
        scopes: tuple[str, ...],
        lifetime: int = LIFETIME,
        *,
        key: str = "",
        delegation: tuple[str, ...] = (),
    ) -> str:
        """A token for a service account; ``key`` and ``delegation`` as :class:`Claims` has them."""
        claims = [email, scopes, int(time.time()) + lifetime, secrets.token_hex(8), key, delegation]
        payload = _encode(json.dumps(claims).encode())
        return f"{_PREFIX}{payload}.{self._sign(payload)}"

    def verify(self, token: str) -> Claims:
        """What ``token`` says, if the lab signed it and it is in force; raises :class:`Rejected`."""
        claims = self._claims(token)
        if time.time() >= claims.expires:
            raise Rejected("expired")
        return claims

    def _read(self, token: str) -> Claims:
        payload, _, signature = token.removeprefix(_PREFIX).partition(".")
        if not token.startswith(_PREFIX) or not signature:
            raise Rejected("malformed")
        if not hmac.compare_digest(signature.encode(), self._sign(payload).encode()):
            raise Rejected("signature")
        email, scopes, expires, identifier, key, via = json.loads(
            urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        )
        return Claims(email, tuple(scopes), expires, identifier, key, tuple(via))

    def _sign(self, payload: str) -> str:
        return _encode(hmac.digest(self._secret, payload.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
