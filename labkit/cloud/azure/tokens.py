"""Access tokens as Microsoft Entra ID issues them: JSON Web Tokens that the lab signs with a key of its own.

https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference (version 1.0 tokens). The key outlives
the server, as do the tokens that open kernels hold; both follow the machine's time.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from labkit.cloud.azure.identity import Identity

#: Seconds that a managed identity's token is good for.
LIFETIME = 86_400
#: Seconds by which clocks may differ.
SKEW = 300


class Rejected(Exception):
    """A token that is not accepted, with what it says of itself, as far as it can be read.

    ``reason`` is ``malformed``, ``signature``, ``expired``, ``early``, ``audience``, ``issuer`` or ``principal``.
    """

    def __init__(self, reason: str, claims: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.claims = claims or {}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. ``identifier`` is the token's own id, fit for logs."""

    object_id: str
    app_id: str
    tenant: str
    audience: str
    expires: int
    identifier: str


class Tokens:
    """Issues and verifies the tokens of one tenant; safe to use from any thread.

    ``file`` keeps the signing key, PEM; ``write`` stores text in a file that only its owner can read.
    """

    def __init__(self, tenant: str, file: Path, write: Callable[[Path, str], None]) -> None:
        self.tenant = tenant
        self.issuer = f"https://sts.windows.net/{tenant}/"
        self._file = file
        self._write = write
        self._lock = threading.Lock()
        self._signed = lru_cache(maxsize=256)(self._read)

    def issue(self, identity: Identity, resource: str, lifetime: int = LIFETIME) -> tuple[str, int]:
        """A token for ``identity`` to be shown to ``resource``, and when it expires (seconds since 1970)."""
        import jwt

        now = int(time.time())
        expires = now + lifetime
        claims = {
            "aud": resource,
            "iss": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": expires,
            "aio": urlsafe_b64encode(secrets.token_bytes(24)).decode(),
            "appid": identity.client_id,
            "appidacr": "2" if identity.resource_id else "1",
            "idp": self.issuer,
            "idtyp": "app",
            "oid": identity.object_id,
            "sub": identity.object_id,
            "tid": self.tenant,
            "uti": urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode(),
            "ver": "1.0",
        }
        if identity.resource_id:
            claims["xms_mirid"] = identity.resource_id
        return jwt.encode(claims, self._key, "RS256", {"kid": self._key_id, "x5t": self._key_id}), expires

    def verify(self, token: str, accepts: Callable[[str], bool]) -> Claims:
        """What ``token`` says, if the lab signed it, it is in force, and ``accepts`` says yes to its audience.

        Raises :class:`Rejected`.
        """
        claims = self._signed(token)
        now = time.time()
        if claims.get("iss") != self.issuer:
            raise Rejected("issuer", claims)
        if not accepts(str(claims.get("aud", ""))):
            raise Rejected("audience", claims)
        if now >= claims["exp"] + SKEW:
            raise Rejected("expired", claims)
        if now < claims["nbf"] - SKEW:
            raise Rejected("early", claims)
        return Claims(claims["oid"], claims["appid"], claims["tid"], claims["aud"], claims["exp"], claims["uti"])

    def public_keys(self) -> dict[str, Any]:
        """The keys with which anyone can verify the tokens: a JSON Web Key Set."""
        from jwt.algorithms import RSAAlgorithm

        key = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        shown = {name: key[name] for name in ("kty", "n", "e")}
        return {"keys": [shown | {"use": "sig", "alg": "RS256", "kid": self._key_id, "x5t": self._key_id}]}

    def _read(self, token: str) -> dict[str, Any]:
        """The claims of a token that the lab signed; the same token need be checked once only."""
        import jwt

        try:
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise Rejected("malformed") from None
        try:
            jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise Rejected("signature", claims) from None
        return claims

    @cached_property
    def _key(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        with self._lock:
            if self._file.exists():
                key = serialization.load_pem_private_key(self._file.read_bytes(), None)
                if isinstance(key, rsa.RSAPrivateKey):
                    return key
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            text = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self._write(self._file, text.decode())
            return key

    @cached_property
    def _key_id(self) -> str:
        modulus = self._key.public_key().public_numbers().n
        digest = hashlib.sha256(modulus.to_bytes(256, "big")).digest()[:20]
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


def one_of(audiences: Collection[str]) -> Callable[[str], bool]:
    """Accepts any of ``audiences``, with or without a slash at the end."""
    known = {audience.rstrip("/") for audience in audiences}
    return lambda audience: audience.rstrip("/") in known
